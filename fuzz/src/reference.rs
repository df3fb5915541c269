use polychron_core::format::{Decision, ModelFile};
use polychron_core::infer::{Arithmetic, Engine, HeapState};
use polychron_core::quant::reference::{Tick, in_floats, simulate};
use polychron_core::quant::{Decay, LayerSpec, ModelSpec};

/// Integers below this limit are exact in single precision.
const EXACT: i64 = 1 << 24;

/// The number of ticks that run again after a reset, as lists of channels.
const AGAIN: usize = 8;

/// An input, and the state of a network after every tick as plain loops compute it.
pub struct Reference {
    inputs: Vec<Vec<i8>>,
    ticks: Vec<Tick>,
    /// The number of ticks before a score leaves 32 bits, where the scores of the engine saturate.
    narrow: usize,
}

impl Reference {
    pub fn new(spec: &ModelSpec<i8>, inputs: Vec<Vec<i8>>) -> Self {
        let ticks = simulate(spec, &inputs);
        let narrow = |tick: &Tick| tick.scores.iter().all(|&score| i32::try_from(score).is_ok());
        let narrow = ticks.iter().take_while(|tick| narrow(tick)).count();
        Self { inputs, ticks, narrow }
    }

    /// Runs an integer model on the same input. Every membrane, spike and score has to be equal.
    pub fn check(&self, model: &ModelFile<'_>) {
        self.run(model, i64::from);
    }

    /// The same for the network in single precision, if nothing is rounded there.
    pub fn check_floats(&self, spec: &ModelSpec<i8>) {
        let numbers = self.ticks.iter().flat_map(|tick| &tick.scores);
        let whole = |leak| matches!(leak, Decay::Fixed { factor: 0, shift: 0, .. });
        let exact = spec.decision != Decision::SoftmaxSum
            && spec.layers.iter().all(|layer| whole(layer.decay) && most(layer) < EXACT)
            && numbers.clone().all(|&x| x == i64::from(i32::MIN) || x.abs() < EXACT);
        if !exact {
            return;
        }
        let file = in_floats(spec).to_bytes().unwrap();
        self.run(&ModelFile::<f32>::parse(&file).unwrap(), |word| {
            let x = f32::number(word);
            if x == f32::NEG_INFINITY { i32::MIN.into() } else { x as i64 }
        });
    }

    fn run<W: Arithmetic>(&self, model: &ModelFile<'_, W>, number: impl Fn(i32) -> i64) {
        let numbers = |words: &[i32]| words.iter().map(|&word| number(word)).collect::<Vec<_>>();
        let mut state = HeapState::new(model);
        let mut engine = Engine::new(model, &mut state).unwrap();
        for (ticks, values) in [(self.ticks.len(), true), (AGAIN, false)] {
            let ticks = self.ticks.iter().take(ticks);
            for (t, (x, expected)) in self.inputs.iter().zip(ticks).enumerate() {
                if !values && x.iter().all(|x| x & 1 == *x) {
                    engine.step(&spikes(x)).unwrap();
                } else {
                    engine.step_values(x).unwrap();
                }
                for (l, expected) in expected.membranes.iter().enumerate() {
                    assert_eq!(numbers(engine.membranes(l)), *expected, "tick {t}, layer {l}");
                }
                for (l, expected) in expected.spikes.iter().enumerate() {
                    assert_eq!(engine.spikes(l), expected.len(), "tick {t}, layer {l}");
                    let spiking: Vec<_> = engine.spiking(l).collect();
                    assert_eq!(spiking, *expected, "tick {t}, layer {l}");
                }
                if t < self.narrow {
                    assert_eq!(numbers(engine.scores()), expected.scores, "tick {t}");
                }
            }
            engine.reset();
        }
    }
}

/// An upper bound of all sums in a layer with a decay of zero.
fn most(layer: &LayerSpec<i8>) -> i64 {
    let weights = layer.synapses.iter().map(|s| i64::from(s.weight.unsigned_abs())).sum::<i64>();
    let biases = layer.neurons.iter().map(|neuron| neuron.bias.abs() + neuron.threshold);
    127 * weights + biases.fold(0.0, f64::max) as i64
}

fn spikes(values: &[i8]) -> Vec<u16> {
    (0..).zip(values).filter(|(_, x)| **x != 0).map(|(channel, _)| channel).collect()
}
