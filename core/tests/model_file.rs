//! Model files are written, read and checked, and engines match their definition bit for bit.
#![cfg(feature = "conformance")]

use polychron_core::format::{Decision, Fault, Input, LayerInfo, ModelFile, Scheme};
use polychron_core::infer::{Arithmetic, Engine, EngineError, HeapState, StateBuffers};
use polychron_core::quant::reference::{
    Draws, SCHEMES, Tick, in_floats, inputs, network, simulate,
};
use polychron_core::quant::{Decay, LayerSpec, ModelSpec, NeuronSpec, SpecError, SynapseSpec};
use proptest::prelude::*;

/// A small network with every feature. `tests/golden` keeps its file in every version.
fn small() -> ModelSpec<i8> {
    let synapse = |n: usize, outputs: usize, taps: usize| SynapseSpec {
        source: n / outputs,
        target: n % outputs,
        delay: n * 7 % taps,
        weight: (n * 37 % 255) as i8,
    };
    let hidden = LayerSpec {
        outputs: 5,
        taps: 6,
        padding: 3,
        synapses: (0..20).map(|n| synapse(n, 5, 6)).collect(),
        neurons: (0..5)
            .map(|n| NeuronSpec { threshold: 60.0 + f64::from(n), bias: f64::from(n) })
            .collect(),
        decay: Decay::Fixed { factor: 29491, shift: 15, bias_shift: 11 },
        soft: false,
        gain: (0, 0),
        scheme: Scheme::Groups { list: 2 },
    };
    let output = LayerSpec {
        outputs: 3,
        taps: 4,
        padding: 1,
        synapses: (0..15).map(|n| synapse(n, 3, 4)).collect(),
        neurons: Vec::new(),
        gain: (5, 3),
        scheme: Scheme::Ring { list: 0 },
        ..hidden.clone()
    };
    ModelSpec {
        tick_us: 10_000,
        input: Input::Spikes,
        channels: 4,
        decision: Decision::SoftmaxSum,
        labels: ["one", "two", "three"].map(String::from).to_vec(),
        layers: vec![hidden, output],
    }
}

const GOLDEN: &[u8] = include_bytes!("golden/small.pcn");

#[test]
fn files_of_version_1_never_change() {
    assert_eq!(small().to_bytes().unwrap(), GOLDEN);
    #[allow(long_running_const_eval)]
    const MODEL: ModelFile = ModelFile::parse_static(GOLDEN);
    assert_eq!(
        (MODEL.channels(), MODEL.classes(), MODEL.tick_us(), MODEL.padding()),
        (4, 3, 10_000, 4)
    );
    assert_eq!(["one", "two", "three"].map(Some), [0, 1, 2].map(|class| MODEL.label(class)));
    assert_eq!(MODEL.label(3), None);
    let bare = ModelSpec { labels: Vec::new(), ..small() }.to_bytes().unwrap();
    assert_eq!(<ModelFile>::parse(&bare).unwrap().label(0), None);
}

#[test]
fn layer_info_matches_the_layer() {
    let model = <ModelFile>::parse(GOLDEN).unwrap();
    let hidden = &small().layers[0];
    let present = hidden.synapses.iter().filter(|s| s.weight != 0);
    let due: std::collections::BTreeSet<_> = present.clone().map(|s| (s.source, s.delay)).collect();
    // Fields and one block, 5 neurons, 7 lines of 4 inputs, 4 rows.
    let rows = (0..4).map(|i| present.clone().filter(|s| s.source == i).count()).max().unwrap();
    let hidden = LayerInfo {
        inputs: 4,
        outputs: 5,
        taps: 6,
        scheme: Scheme::Groups { list: 2 },
        synapses: present.count(),
        groups: due.len(),
        blocks: 1,
        flash: 32 + 20 + 5 * 4 + 7 * 4 + (4 * rows * 2).next_multiple_of(4),
        ram: [5 * 4, 0, 6 * (4 + 1 + 2)],
    };
    let output = LayerInfo {
        inputs: 5,
        outputs: 3,
        taps: 4,
        scheme: Scheme::Ring { list: 0 },
        synapses: 15,
        groups: 5,
        blocks: 0,
        flash: 32 + 32,
        ram: [3 * 4 + 3 * 4, 3 * 4 * 2, 4],
    };
    assert_eq!(
        [model.layer(0), model.layer(1), model.layer(2)],
        [Some(hidden), Some(output), None]
    );
    assert_eq!((model.depth(), model.flash()), (2, GOLDEN.len()));
}

/// Runs a file and returns the state after every tick.
fn run<W: Arithmetic>(file: &[u8], inputs: &[Vec<i8>], number: impl Fn(i32) -> i64) -> Vec<Tick> {
    let model = ModelFile::<W>::parse(file).unwrap();
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state).unwrap();
    let mut ticks = Vec::new();
    for x in inputs {
        engine.step_values(x).unwrap();
        let all = |words: &[i32]| words.iter().map(|&word| number(word)).collect::<Vec<_>>();
        let layers = (0..).map_while(|l| Some(engine.membranes(l)).filter(|v| !v.is_empty()));
        let membranes: Vec<_> = layers.map(all).collect();
        let hidden = 0..membranes.len() - 1;
        let spikes: Vec<Vec<_>> = hidden.map(|l| engine.spiking(l).collect()).collect();
        assert!(spikes.iter().enumerate().all(|(l, spikes)| engine.spikes(l) == spikes.len()));
        ticks.push(Tick { membranes, spikes, scores: all(engine.scores()) });
    }
    ticks
}

/// The spec with other schemes, if they fit: a ring holds one synapse per pair and sums of 16 bits.
fn with_schemes(spec: &ModelSpec<i8>, mut pick: impl FnMut() -> Scheme) -> Option<ModelSpec<i8>> {
    let mut spec = spec.clone();
    spec.layers.iter_mut().for_each(|layer| layer.scheme = pick());
    spec.to_bytes().is_ok().then_some(spec)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engines_match_the_definition(seed in any::<u64>(), share in 0usize..=1000) {
        let elements = 1 + (seed % 2) as usize;
        let spec = network(seed, 60, elements);
        let inputs = inputs(&spec, seed, 60, share);
        let expected = simulate(&spec, &inputs);
        let mut draws = Draws::new(seed ^ 1);
        for n in 0..2 * SCHEMES.len() {
            let pick = || if n < SCHEMES.len() { SCHEMES[n] } else { draws.pick(&SCHEMES) };
            let Some(spec) = with_schemes(&spec, pick) else { continue };
            let found = run::<i8>(&spec.to_bytes().unwrap(), &inputs, i64::from);
            prop_assert!(found == expected, "{:?}", SCHEMES.get(n));
        }
    }

    #[test]
    fn damaged_files_are_refused_or_run_safely(seed in any::<u64>(), at in any::<usize>(), byte in any::<u8>()) {
        let spec = network(seed, 20, 1);
        let mut file = spec.to_bytes().unwrap();
        let at = at % file.len();
        // The checksum does not cover the input type at byte 7.
        if file[at] == byte || at == 7 {
            return Ok(());
        }
        file[at] = byte;
        prop_assert!(ModelFile::<i8>::parse(&file).is_err());
        seal(&mut file);
        if let Ok(model) = ModelFile::<i8>::parse(&file) {
            let mut state = HeapState::new(&model);
            let mut engine = Engine::new(&model, &mut state).unwrap();
            let all: Vec<u16> = (0..model.channels() as u16).collect();
            for t in 0..100 {
                engine.step(if t % 3 == 0 { &[] } else { &all }).unwrap();
                prop_assert!(engine.decide() < model.classes());
            }
        }
    }

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 1..400), whole in any::<bool>()) {
        let mut file = if whole { GOLDEN.to_vec() } else { Vec::new() };
        file.extend(&bytes);
        prop_assert!(ModelFile::<i8>::parse(&file).is_err());
        prop_assert!(ModelFile::<i8>::parse(&GOLDEN[..bytes.len()]).is_err());
    }
}

/// Corrects the checksum.
fn seal(file: &mut [u8]) {
    let mut crc = u32::MAX;
    for &byte in &file[16..] {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    file[12..16].copy_from_slice(&(!crc).to_le_bytes());
}

/// The random networks do spike, and fit every scheme, so that the laws above are not empty.
#[test]
fn random_networks_spike_and_fit_every_scheme() {
    let (mut hidden, mut spiking, mut rings) = (0, 0, 0);
    for seed in 0..40 {
        let spec = network(seed, 60, 1);
        let ticks = simulate(&spec, &inputs(&spec, seed, 40, 100));
        for l in 0..spec.layers.len() - 1 {
            let spikes: usize = ticks.iter().map(|tick| tick.spikes[l].len()).sum();
            hidden += 1;
            spiking += usize::from(spikes > 40 && spikes < 39 * spec.layers[l].outputs);
        }
        rings += usize::from(with_schemes(&spec, || Scheme::Ring { list: 5 }).is_some());
        assert!(with_schemes(&spec, || Scheme::Groups { list: 0 }).is_some());
    }
    assert!(3 * spiking > hidden && rings > 30, "{spiking} of {hidden} layers, {rings} rings");
}

#[test]
fn wide_layers_match_the_definition() {
    for (seed, elements) in [(3, 1), (4, 2), (5, 1), (10, 1)] {
        let spec = network(seed, 700, elements);
        let inputs = inputs(&spec, seed, 12, 100);
        let expected = simulate(&spec, &inputs);
        for scheme in SCHEMES {
            let Some(spec) = with_schemes(&spec, || scheme) else { continue };
            assert!(run::<i8>(&spec.to_bytes().unwrap(), &inputs, i64::from) == expected);
        }
    }
}

#[test]
fn a_group_of_256_synapses_is_split() {
    let synapses = (0..256).map(|target| SynapseSpec { source: 0, target, delay: 0, weight: 1 });
    let mut spec = small();
    let mut only =
        LayerSpec { outputs: 256, synapses: synapses.collect(), ..spec.layers[1].clone() };
    only.scheme = Scheme::Groups { list: 1 };
    (spec.layers, spec.labels) = (vec![only], Vec::new());
    let expected = simulate(&spec, &[vec![1, 0, 0, 0]]);
    assert_eq!(run::<i8>(&spec.to_bytes().unwrap(), &[vec![1, 0, 0, 0]], i64::from), expected);
}

#[test]
fn both_engines_agree_if_nothing_is_rounded() {
    let mut same = 0;
    for seed in 0..60 {
        let mut spec = network(seed, 40, 1);
        for layer in &mut spec.layers {
            // A decay of zero rounds nothing.
            layer.decay = Decay::Fixed { factor: 0, shift: 0, bias_shift: 0 };
        }
        if spec.decision == Decision::SoftmaxSum {
            spec.decision = Decision::MembraneSum;
        }
        let inputs = inputs(&spec, seed, 40, 200);
        for scheme in SCHEMES {
            let Some(spec) = with_schemes(&spec, || scheme) else { continue };
            let floats = run::<f32>(&in_floats(&spec).to_bytes().unwrap(), &inputs, |word| {
                let x = f32::number(word);
                assert_eq!(x, x.trunc());
                if x == f32::NEG_INFINITY { i64::from(i32::MIN) } else { x as i64 }
            });
            assert!(floats == simulate(&spec, &inputs), "seed {seed}, {scheme:?}");
            same += 1;
        }
    }
    assert!(same > 200);
}

#[test]
fn all_forms_of_input_run_the_same_tick() {
    let model = <ModelFile>::parse(GOLDEN).unwrap();
    let mut states = [(); 3].map(|()| HeapState::new(&model));
    let [a, b, c] = &mut states;
    let mut engines = [a, b, c].map(|state| Engine::new(&model, state).unwrap());
    for bits in [0b0101u8, 0, 0b1111, 0b0010].into_iter().cycle().take(40) {
        let channels: Vec<u16> = (0..4).filter(|c| bits >> c & 1 == 1).collect();
        let values: Vec<i8> = (0..4).map(|c| (bits >> c & 1) as i8).collect();
        engines[0].step(&[&channels[..], &channels[..]].concat()).unwrap();
        engines[1].step_bits(&[bits]).unwrap();
        engines[2].step_values(&values).unwrap();
        for l in 0..2 {
            assert_eq!(engines[0].membranes(l), engines[1].membranes(l));
            assert_eq!(engines[0].membranes(l), engines[2].membranes(l));
        }
    }
}

#[test]
fn invalid_inputs_are_errors_and_change_nothing() {
    let model = <ModelFile>::parse(GOLDEN).unwrap();
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state).unwrap();
    engine.step(&[1, 2]).unwrap();
    let before = (engine.membranes(0).to_vec(), engine.scores().to_vec());
    let channel = EngineError::Channel { found: 4, channels: 4 };
    assert_eq!(engine.step(&[0, 4]), Err(channel));
    assert_eq!(engine.step_bits(&[0b1_0001]), Err(channel));
    assert_eq!(
        engine.step_bits(&[0b1000_0001]),
        Err(EngineError::Channel { found: 7, channels: 4 })
    );
    assert_eq!(engine.step_bits(&[0, 0]), Err(EngineError::Length { expected: 1, found: 2 }));
    assert_eq!(engine.step_values(&[0; 5]), Err(EngineError::Length { expected: 4, found: 5 }));
    assert_eq!(engine.step_values(&[0, 0, 2, 0]), Err(EngineError::Value { channel: 2 }));
    assert_eq!(engine.step_values(&[0, -128, 0, 0]), Err(EngineError::Value { channel: 1 }));
    assert_eq!((engine.membranes(0), engine.scores()), (&before.0[..], &before.1[..]));
}

#[test]
fn a_state_that_is_too_small_is_refused() {
    let model = <ModelFile>::parse(GOLDEN).unwrap();
    let sizes = [model.state_words(), model.state_halves(), model.state_bytes()];
    for (n, part) in ["words", "halves", "bytes"].into_iter().enumerate() {
        let mut found = sizes;
        found[n] -= 1;
        let (mut words, mut halves, mut bytes) =
            (vec![0; found[0]], vec![0; found[1]], vec![0; found[2]]);
        let memory = StateBuffers { words: &mut words, halves: &mut halves, bytes: &mut bytes };
        let error = Engine::new(&model, memory).unwrap_err();
        assert_eq!(error, EngineError::Memory { part, needed: sizes[n], found: found[n] });
    }
}

#[test]
fn forgetting_scores_keeps_membranes_and_spikes() {
    let model = <ModelFile>::parse(GOLDEN).unwrap();
    let mut states = [(); 2].map(|()| HeapState::new(&model));
    let [a, b] = &mut states;
    let mut engines = [a, b].map(|state| Engine::new(&model, state).unwrap());
    engines.iter_mut().for_each(|engine| engine.step(&[0, 1, 3]).unwrap());
    let before = engines[0].scores().to_vec();
    engines[1].forget_scores();
    engines.iter_mut().for_each(|engine| engine.step(&[2]).unwrap());
    for l in 0..2 {
        assert_eq!(engines[0].membranes(l), engines[1].membranes(l));
    }
    let sums = engines[1].scores().iter().zip(&before).map(|(now, before)| now + before);
    assert!(sums.eq(engines[0].scores().iter().copied()));
}

/// The largest accepted sums do not overflow: the definition computes in 64 bits.
#[test]
fn sums_at_their_limit_are_exact() {
    let mut spec = small();
    let layer = |sum: usize| {
        let weight = |source: usize| (sum / 259 + usize::from(source < sum % 259)) as i8;
        let synapse = |source| SynapseSpec { source, target: 0, delay: 0, weight: weight(source) };
        LayerSpec {
            outputs: 1,
            taps: 1,
            synapses: (0..259).map(synapse).collect(),
            decay: Decay::Fixed { factor: 0, shift: 15, bias_shift: 0 },
            gain: (0, 0),
            ..small().layers[1].clone()
        }
    };
    (spec.channels, spec.labels) = (259, Vec::new());
    for (sum, fits) in [(32767, true), (32768, false)] {
        spec.layers = vec![layer(sum)];
        assert_eq!(spec.to_bytes().is_ok(), fits, "a ring's sum of {sum}");
    }
    spec.layers = vec![layer(32767)];
    let inputs = vec![vec![1; 259]; 40];
    let expected = simulate(&spec, &inputs);
    assert!(run::<i8>(&spec.to_bytes().unwrap(), &inputs, i64::from) == expected);
    let accepted = |factor: u16| {
        let mut spec = spec.clone();
        spec.layers[0].decay = Decay::Fixed { factor, shift: 15, bias_shift: 0 };
        spec.to_bytes().ok().map(|file| (spec, file))
    };
    let (mut low, mut high) = (0, 32767);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if accepted(middle).is_some() { low = middle } else { high = middle }
    }
    assert!(low > 1000 && accepted(high).is_none());
    let (spec, file) = accepted(low).unwrap();
    let inputs = vec![vec![1; 259]; 400];
    assert!(run::<i8>(&file, &inputs, i64::from) == simulate(&spec, &inputs));
}

#[test]
fn a_reset_engine_repeats_its_results() {
    let spec = network(21, 50, 1);
    let file = spec.to_bytes().unwrap();
    let inputs = inputs(&spec, 2, 30, 200);
    let model = ModelFile::<i8>::parse(&file).unwrap();
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state).unwrap();
    let mut scores = || {
        inputs.iter().for_each(|x| engine.step_values(x).unwrap());
        let scores = engine.scores().to_vec();
        engine.reset();
        scores
    };
    assert_eq!(scores(), scores());
}

/// Sizes that are all allowed, but not together: the error comes before the memory is taken.
#[test]
fn a_file_that_would_be_too_long_is_refused_before_it_is_written() {
    let synapse = |source, target, delay| SynapseSpec { source, target, delay, weight: 1i8 };
    let wide = |scheme, synapses| {
        let mut spec = small();
        let layer =
            LayerSpec { outputs: 4096, taps: 256, synapses, scheme, ..spec.layers.remove(1) };
        ModelSpec { channels: 4096, labels: Vec::new(), layers: vec![layer], ..spec }
    };
    // Every target needs a block of its own: tables of 4 GiB.
    let dense = (0..4096 * 255).map(|n| synapse(0, n / 255, n % 255)).collect();
    for spec in [
        wide(Scheme::Ring { list: 0 }, Vec::new()),
        wide(Scheme::Groups { list: 0 }, Vec::new()),
        wide(Scheme::Groups { list: 0 }, dense),
    ] {
        let error = spec.to_bytes().unwrap_err();
        assert_eq!(error, SpecError::Length { layer: 0 });
        assert_eq!(
            error.to_string(),
            "layer 0: the model file would be longer than 16777216 bytes"
        );
    }
    let names = ModelSpec { labels: vec!["x".repeat(6 << 20); 3], ..small() };
    assert_eq!(names.to_bytes(), Err(SpecError::Length { layer: 2 }));
}

#[cfg(feature = "heapless")]
#[test]
fn lists_of_spikes_need_no_allocator() {
    let model = <ModelFile>::parse(GOLDEN).unwrap();
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state).unwrap();
    let mut input = heapless::Vec::<u16, 4>::new();
    let mut most = 0;
    for tick in 0..40u16 {
        input.clear();
        input.extend((0..4).filter(|channel| (tick + channel) % 3 == 0));
        engine.step(&input).unwrap();
        let all: Vec<_> = engine.spiking(0).map(|neuron| neuron as u16).collect();
        assert_eq!(engine.spike_list::<5>(0), all[..]);
        assert_eq!(engine.spike_list::<1>(0), all[..all.len().min(1)]);
        most = most.max(all.len());
    }
    assert!(most > 1, "some list is longer than the shortest");
}

#[test]
fn sums_that_could_overflow_are_refused() {
    let mut spec = small();
    spec.layers[0].decay = Decay::Fixed { factor: 32767, shift: 15, bias_shift: 0 };
    let error = spec.to_bytes().unwrap_err();
    assert!(format!("{error}").contains("overflow"), "{error}");
    let mut floats = in_floats(&small());
    floats.layers[0].neurons[2].threshold = 0.0;
    assert!(floats.to_bytes().is_err());
    for labels in [vec!["a\nb".into(), "c".into(), "d".into()], vec!["a".into()]] {
        assert!(ModelSpec { labels, ..small() }.to_bytes().is_err());
    }
    assert!(ModelSpec { channels: usize::MAX, ..small() }.to_bytes().is_err());
    let parse = ModelFile::<f32>::parse(GOLDEN).unwrap_err();
    assert_eq!((parse.offset, parse.fault), (6, Fault::Weights));
}
