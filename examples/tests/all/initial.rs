//! Neurons whose parameters start from draws.

use polychron::network::{Interface, network};
use polychron::{Config, Model, Run, Task};
use polychron_core::neuron::{AdLif, SeAdLif};
use polychron_core::reference::Reference;

const WIDTH: usize = 2000;
const ADLIF: &str = "{ kind = \"adlif\", bounds = \"adlif\", per_neuron = true, \
    tau_ms = { from = 5.52, to = 25.5, uniform_in = \"rate\" }, \
    tau_w_ms = { from = 30.51, to = 120.5, uniform_in = \"rate\" }, \
    a = { from = 0, to = 1 }, b = { from = 0, to = 2 } }";
const SE_ADLIF: &str = "{ kind = \"se-adlif\", per_neuron = true, \
    tau_ms = { from = 5.52, to = 25.5 }, tau_w_ms = { from = 60.51, to = 300.5 }, \
    a = { from = 0, to = 1 }, b = { from = 0, to = 2 } }";
const SILIF: &str = "{ kind = \"silif\", per_neuron = true, \
    tau_ms = { from = 1.582, to = 25.5, uniform_in = \"raw\" }, \
    tau_w_ms = { from = 25.5, to = 100.5, uniform_in = \"raw\" }, \
    a = { from = 0, to = 1 }, b = { from = 0, to = 2 } }";

fn config(neuron: &str, set: &[&str]) -> Result<Config, polychron::Error> {
    let mut config = Config::default();
    let neuron = format!("network.neuron={neuron}");
    let first = ["data.dt_ms=1", "network.hidden=[2000]", &neuron];
    first.iter().chain(set).try_for_each(|assignment| config.set(assignment))?;
    config.check()?;
    Ok(config)
}

/// The raw parameters of the neurons of layer `l`, `[P][width]`.
fn drawn(config: &Config, l: usize) -> Vec<Vec<f64>> {
    let dt_ms = config.data.dt_ms.into();
    let interface = Interface { channels: 3, classes: 2, dt_ms };
    let network = network::<Reference<f32>>(config, interface).unwrap();
    let initial = &network.hidden[l].initial;
    initial.chunks(WIDTH).map(|row| row.iter().map(|&raw| raw.into()).collect()).collect()
}

/// Asserts that the values are uniform between the ends, by Kolmogorov and Smirnov.
fn uniform(mut values: Vec<f64>, from: f64, to: f64) {
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    for (n, value) in values.iter().enumerate() {
        let expected = (value - from) / (to - from);
        let found = (n as f64 + 0.5) / count;
        assert!((found - expected).abs() < 1.95 / count.sqrt(), "{from} to {to}: {value}");
    }
}

fn logistic_decay(raw: &f64) -> f64 {
    1.0 / (1.0 + raw.exp())
}

fn exponential_decay(raw: &f64) -> f64 {
    (-raw.exp()).exp()
}

#[test]
fn draws_are_uniform_in_what_the_range_says() {
    let of = |row: &Vec<f64>, f: &dyn Fn(&f64) -> f64| row.iter().map(f).collect::<Vec<f64>>();
    let decay = |tau: f64| 1.0 - 1.0 / tau;
    let tau = |raw: &f64| 1.0 / (1.0 - logistic_decay(raw));
    let raw = |tau: f64| (-decay(tau).ln()).ln();

    let adlif = drawn(&config(ADLIF, &[]).unwrap(), 0);
    uniform(of(&adlif[0], &logistic_decay), decay(5.52), decay(25.5));
    uniform(of(&adlif[1], &logistic_decay), decay(30.51), decay(120.5));
    uniform(adlif[2].clone(), 0.0, 1.0);
    uniform(adlif[3].clone(), 0.0, 2.0);
    let symplectic = drawn(&config(SE_ADLIF, &[]).unwrap(), 0);
    uniform(of(&symplectic[0], &tau), 5.52, 25.5);
    uniform(of(&symplectic[1], &tau), 60.51, 300.5);
    let silif = drawn(&config(SILIF, &[]).unwrap(), 0);
    uniform(silif[0].clone(), raw(25.5), raw(1.582));
    uniform(silif[1].clone(), raw(100.5), raw(25.5));
}

#[test]
fn no_drawn_neuron_is_unstable() {
    for (neuron, decay) in [
        (ADLIF, logistic_decay as fn(&f64) -> f64),
        (SE_ADLIF, logistic_decay),
        (SILIF, exponential_decay),
    ] {
        for seed in 0..5 {
            let raw = drawn(&config(neuron, &[&format!("seed={seed}")]).unwrap(), 0);
            for n in 0..WIDTH {
                let (alpha, beta, a) = (decay(&raw[0][n]), decay(&raw[1][n]), raw[2][n]);
                let (least, most) = match neuron {
                    SE_ADLIF => SeAdLif::stable_couplings(alpha, beta, 120.0),
                    _ => AdLif::stable_couplings(alpha, beta),
                };
                assert!(least < a && a < most, "{neuron}: {alpha} {beta} {a}");
            }
        }
    }
}

#[test]
fn draws_follow_from_seed_layer_and_parameter() {
    let layers = ["network.hidden=[2000, 2000]"];
    let of = |neuron: &str, set: &[&str]| config(neuron, &[&layers, set].concat()).unwrap();
    let [first, again] = [0, 1].map(|_| drawn(&of(ADLIF, &[]), 0));
    assert_eq!(first, again);
    assert_ne!(first, drawn(&of(ADLIF, &["seed=1"]), 0));
    assert_ne!(first, drawn(&of(ADLIF, &[]), 1));
    assert_ne!(first[2], first[3].iter().map(|b| b / 2.0).collect::<Vec<_>>());
    // Other ranges change nothing.
    let fewer = drawn(&of(ADLIF, &["network.neuron.tau_ms=20"]), 0);
    assert!(fewer[0].iter().all(|raw| *raw == fewer[0][0]) && fewer[1..] == first[1..]);
    // The file of a run says the same.
    let config = of(ADLIF, &[]);
    let text = config.to_toml().unwrap();
    let again = Config::parse(&text, "file").unwrap();
    assert!(again == config && again.to_toml().unwrap() == text, "{text}");
    assert_eq!(drawn(&again, 0), first);
}

#[test]
fn runs_start_from_their_draws() {
    let mut config = Config::preset("order").unwrap();
    let neuron = "network.neuron={ kind = \"silif\", per_neuron = true, tau_ms = 20, \
                  tau_w_ms = { from = 255, to = 1005, uniform_in = \"raw\" }, \
                  a = { from = 0, to = 1 } }";
    for set in [neuron, "network.hidden=[64]", "train.epochs=1", "train.train_neurons=false"] {
        config.set(set).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = Run::create(&config, Task::load(&config, None).unwrap(), &path).unwrap();
    run.train(&mut ()).unwrap();
    let state = Model::load(&path).unwrap().state().clone();
    let kept = state.tensors.iter().find(|tensor| tensor.name == "hidden.0.neuron").unwrap();
    let expected: Vec<_> = drawn(&config, 0).into_iter().flatten().collect();
    assert!(kept.values.iter().map(|&raw| f64::from(raw)).eq(expected));
}

#[test]
fn ranges_that_no_neuron_can_start_from_are_refused() {
    for (set, expected) in [
        ("per_neuron=false", "network.neuron.a is a range, which needs network.neuron.per_neuron"),
        ("threshold={from=1, to=2}", "network.neuron.threshold is a range, but \"adlif\" does not"),
        ("reset={from=1, to=2}", "network.neuron.reset = 1.5 is not one of"),
        ("a={from=0, to=1.5}", "network.neuron.a = 1.5 is not between a_min and a_max"),
        ("tau_ms={from=5, to=20}", "network.neuron.tau_ms = 5.0 is outside `bounds`"),
        (
            "a={from=0.5, to=0.25}",
            "network.neuron.a.from = 0.5 is above network.neuron.a.to = 0.25",
        ),
        ("a={from=0, to=inf}", "network.neuron.a.to = inf is not finite"),
        ("a={from=0, to=1, uniform_in=\"rate\"}", "network.neuron.a.from = 0.0 is not above 0"),
        ("a={from=0, to=1, uniform_in=\"x\"}", "a range { from = .., to = .. }"),
    ] {
        let failed = config(ADLIF, &[&format!("network.neuron.{set}")]).unwrap_err().to_string();
        assert!(failed.contains(expected), "{failed}");
    }
    // A range of a field that the kind does not have is ignored, as a number is.
    config(ADLIF, &["network.neuron.q={from=1, to=2}"]).unwrap();
}
