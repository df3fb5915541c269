//! Neurons within their bounds are stable.

use polychron_core::neuron::{
    AdLif, AnyNeuron, ErasedNeuron, Neuron, NeuronModel, NeuronVisitor, SeAdLif, SiLif,
};
use polychron_core::parameter::Value::{Number, Word};
use polychron_core::rng::Rng;

/// The largest component of any state in `steps` steps without input and spikes.
struct Silence {
    raw: Vec<f64>,
    steps: usize,
}

impl NeuronVisitor<f64> for &Silence {
    type Output = f64;

    fn visit<N: Neuron<Real = f64>>(self, neuron: &N) -> f64 {
        let neuron = neuron.with_set(&self.raw, 1, 0);
        let (mut state, mut largest) = (N::fill_state(1.0), 0.0);
        for _ in 0..self.steps {
            state = neuron.reset(neuron.charge(state, 0.0), 0.0);
            largest = state.as_ref().iter().fold(largest, |top: f64, x| top.max(x.abs()));
            if largest > UNBOUNDED {
                break;
            }
        }
        largest
    }
}

const UNBOUNDED: f64 = 1e9;

/// Draws of couplings, every second one near an end of the law.
fn stable_exactly_within(
    law: impl Fn(f64, f64) -> (f64, f64),
    raw: impl Fn(f64) -> f64,
    neuron: &impl NeuronModel<Real = f64>,
) {
    let (rng, mut inside) = (Rng::new(3, 0), 0);
    for n in 0..400u64 {
        let draw = |k: u64| rng.uniform_f64(5 * n + k);
        let [alpha, beta] = [0, 1].map(|k: u64| 0.02 + 0.96 * draw(k));
        let (least, most) = law(alpha, beta);
        let side = (0.01 + 0.02 * draw(2)) * (draw(3) - 0.5).signum();
        let a = match n % 4 {
            0 => least * (1.0 + side),
            1 => most * (1.0 + side),
            _ => 2.0 * least + (most - 3.0 * least) * 1.5 * draw(3),
        };
        let stable = least < a && a < most;
        let raw = vec![raw(alpha), raw(beta), a, 0.5];
        let largest = neuron.visit(&Silence { raw, steps: 250_000 });
        assert_eq!(largest < UNBOUNDED, stable, "{alpha} {beta} {a}: {least} to {most}");
        inside += u32::from(stable);
    }
    assert!((100..300).contains(&inside), "{inside}");
}

#[test]
fn adaptive_neurons_are_stable_exactly_within_the_law() {
    let adlif = AdLif::new(2.0, 2.0, 0.0, 0.0);
    let logit = |decay: f64| (1.0 / decay - 1.0).ln();
    stable_exactly_within(AdLif::stable_couplings, logit, &adlif);
    let law = |alpha, beta| SeAdLif::stable_couplings(alpha, beta, 3.0);
    stable_exactly_within(law, logit, &SeAdLif::new(adlif, 3.0));
    stable_exactly_within(AdLif::stable_couplings, |decay| (-decay.ln()).ln(), &SiLif::new(adlif));
}

#[test]
fn default_bounds_lie_within_the_law() {
    let decay = |raw: f64| 1.0 / (1.0 + raw.exp());
    let (adlif, symplectic) = ("adlif", "se-adlif");
    for (kind, name) in
        [(adlif, "stable"), (adlif, "adlif"), (adlif, "cadlif"), (symplectic, symplectic)]
    {
        let given = [("bounds", Word(name)), ("tau_ms", Number(10.0)), ("tau_w_ms", Number(80.0))];
        let neuron = AnyNeuron::<f64>::from_name(kind, &given, 1.0).unwrap();
        let bounds = |p| neuron.param_bounds(p).unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let law = |alpha, beta| match kind {
            "adlif" => AdLif::stable_couplings(alpha, beta),
            _ => SeAdLif::stable_couplings(alpha, beta, 120.0),
        };
        let [alpha, beta] = [0, 1].map(bounds);
        let most = law(decay(alpha.1), decay(beta.1)).1;
        let least = law(decay(alpha.0), decay(beta.0)).0;
        let a = bounds(2);
        assert!(least <= a.0 && a.0 < a.1 && a.1 <= most, "{name}: {a:?}, not {least} to {most}");
    }
}

/// Raw parameters at their bounds and between them, for every neuron that configurations name.
#[test]
fn neurons_within_their_default_bounds_stay_bounded() {
    let rng = Rng::new(4, 0);
    for name in AnyNeuron::<f64>::names() {
        let neuron = AnyNeuron::<f64>::from_name(name, &[], 1.0).unwrap();
        for n in 0..50 {
            let bounds = |p| neuron.param_bounds(p).unwrap_or((f64::MIN, f64::MAX));
            let raw = (0..neuron.param_count()).map(|p| {
                let (least, most) = bounds(p);
                let (least, most) = (least.max(-5.0), most.min(5.0));
                let at = 1.5 * rng.uniform_f64(8 * n + p as u64) - 0.25;
                least + (most - least) * at.clamp(0.0, 1.0)
            });
            let silence = Silence { raw: raw.collect(), steps: 50_000 };
            let largest = neuron.visit(&silence);
            assert!(largest < 1e4, "{name} {:?}: {largest}", silence.raw);
        }
    }
}
