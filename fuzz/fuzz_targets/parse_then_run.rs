#![no_main]
//! Every accepted model runs on any input; an integer model computes what `core/FORMAT.md` defines.
//!
//! The last bytes are input. The bytes before them are a file, whose sections, length and checksum
//! are corrected.

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use polychron_core::format::{Input, ModelFile};
use polychron_core::infer::{Arithmetic, Engine, HeapState};
use polychron_fuzz::file::{decode, lay_out, seal};
use polychron_fuzz::network::inputs;
use polychron_fuzz::reference::Reference;

/// The number of ticks.
const TICKS: usize = 200;
/// The largest state in bytes.
const STATE: usize = 1 << 20;
/// The largest cost of a tick, and of all ticks of plain loops.
const TICK: usize = 50_000;
const LOOPS: usize = 200_000;
/// The number of bytes of input, and of their repetitions.
const INPUT: usize = 64;
const REPEATS: usize = 64;

fuzz_target!(|data: &[u8]| {
    let (file, input) = data.split_at(data.len().saturating_sub(INPUT));
    let input = input.repeat(REPEATS);
    let mut file = file.to_vec();
    lay_out(&mut file);
    seal(&mut file);
    if let Ok(model) = ModelFile::<i8>::parse(&file)
        && let Some(cost) = cost(&model)
    {
        let _ = run(&model, &mut Unstructured::new(&input));
        let ticks = TICKS.min(LOOPS / cost);
        let u = &mut Unstructured::new(&input);
        if let Ok(inputs) = inputs(model.input(), model.channels(), ticks, u) {
            Reference::new(&decode(&file), inputs).check(&model);
        }
    }
    if let Ok(model) = ModelFile::<f32>::parse(&file)
        && cost(&model).is_some()
    {
        let _ = run(&model, &mut Unstructured::new(&input));
    }
});

/// An upper bound of the cost of a tick; `None` if it or the state is too large.
fn cost<W: Arithmetic>(model: &ModelFile<'_, W>) -> Option<usize> {
    let layers = (0..).map_while(|l| model.layer(l));
    let cost: usize = layers.map(|l| l.synapses + l.inputs + l.outputs + l.blocks * l.taps).sum();
    (model.ram() <= STATE && cost <= TICK).then_some(cost)
}

/// Makes the calls that the input selects, valid and invalid ones.
fn run<W: Arithmetic>(model: &ModelFile<'_, W>, u: &mut Unstructured) -> Result<()> {
    let mut state = HeapState::new(model);
    let mut engine = Engine::new(model, &mut state).unwrap();
    let channels = model.channels();
    let mut ticks = TICKS;
    while ticks > 0 {
        ticks -= 1;
        match u.int_in_range(0..=9)? {
            0 => engine.reset(),
            1 => engine.forget_scores(),
            2 if model.padding() <= ticks => {
                ticks -= model.padding();
                engine.finish();
            }
            3 | 4 => {
                let count = u.int_in_range(0..=20)?;
                let mut spikes = Vec::new();
                for _ in 0..count {
                    spikes.push(u.int_in_range(0..=channels + channels / 32)? as u16);
                }
                let right = spikes.iter().all(|&channel| usize::from(channel) < channels);
                assert_eq!(engine.step(&spikes).is_ok(), right);
            }
            5 | 6 => {
                let bytes = channels.div_ceil(8) + usize::from(u.ratio(1, 20)?);
                let mut bits = vec![0; bytes];
                u.fill_buffer(&mut bits)?;
                let all = bits.len() * 8;
                let beyond =
                    (channels..all).any(|channel| bits[channel / 8] >> (channel % 8) & 1 == 1);
                let right = bytes == channels.div_ceil(8) && !beyond;
                assert_eq!(engine.step_bits(&bits).is_ok(), right);
            }
            _ => {
                let mut values = vec![0; channels + usize::from(u.ratio(1, 20)?)];
                for x in &mut values {
                    *x = u.arbitrary()?;
                }
                if model.input() == Input::Spikes && u.ratio(9, 10)? {
                    values.iter_mut().for_each(|x| *x &= 1);
                }
                let allowed = |&x: &i8| match model.input() {
                    Input::Spikes => x == 0 || x == 1,
                    Input::Values => x != -128,
                };
                let right = values.len() == channels && values.iter().all(allowed);
                assert_eq!(engine.step_values(&values).is_ok(), right);
            }
        }
        assert!(engine.decide() < model.classes() && engine.scores().len() == model.classes());
        for l in 0..model.depth() - 1 {
            assert_eq!(engine.spiking(l).count(), engine.spikes(l));
        }
    }
    Ok(())
}
