//! Models of this program, in configurations; and how configurations describe neurons.

#[path = "../../examples/own_neuron.rs"]
#[allow(dead_code)]
mod own_neuron;

use own_neuron::Resonator;
use polychron::config::Setting;
use polychron::{Config, Model, Run, Task, models};
use polychron_core::delay::{DelayKernel, Gauss, Tap};
use polychron_core::parameter::{Domain, Parameter};
use polychron_core::surrogate::Atan;
use std::sync::Once;

/// A Gaussian of a constant width.
#[derive(Clone, Debug)]
struct Constant;

impl DelayKernel<f32> for Constant {
    fn width(&self, _sigma: f32) -> (f32, f32) {
        (1.0, 0.0)
    }
    fn tap(&self, j: usize, delay: f32, width: f32) -> Tap<f32> {
        Gauss.tap(j, delay, width)
    }
    fn reach(&self, width: f32) -> f32 {
        Gauss.reach(width)
    }
}

const STEEPNESS: &[Parameter] = &[Parameter::new("steepness", Domain::Number(3.0))];

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        models::register_neuron::<Resonator<f32>>().unwrap();
        models::register_kernel("constant", Constant).unwrap();
        models::register_surrogate("steep", STEEPNESS, |settings| {
            Ok(Atan { alpha: settings.number("steepness")? })
        })
        .unwrap();
    });
}

fn config(set: &[&str]) -> Result<Config, polychron::Error> {
    register();
    let mut config = Config::preset("order")?;
    let small = ["network.hidden=[8]", "train.epochs=2"];
    small.iter().chain(set).try_for_each(|assignment| config.set(assignment))?;
    Ok(config)
}

fn refused(set: &[&str]) -> String {
    config(set).unwrap_err().to_string()
}

#[test]
fn an_own_neuron_trains_resumes_is_drawn_and_exported() {
    register();
    let folder = tempfile::tempdir().unwrap();
    own_neuron::show(folder.path()).unwrap();
}

#[test]
fn own_kernels_and_surrogates_train() {
    let set = [
        "network.kernel=constant",
        "network.surrogate.kind=steep",
        "network.surrogate.steepness=5",
    ];
    let config = config(&set).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    Run::create(&config, Task::load(&config, None).unwrap(), &path).unwrap();
    Run::resume(&config, Task::load(&config, None).unwrap(), &path)
        .unwrap()
        .train(&mut ())
        .unwrap();
    assert!(Model::load(&path).unwrap().state().tensors.iter().all(|t| !t.values.is_empty()));
    let line = refused(&[&set[..], &["network.surrogate.alpha=1"]].concat());
    assert!(line.contains("network.surrogate: steep has no parameter \"alpha\""), "{line}");
    let line = refused(&["network.kernel=box"]);
    assert!(line.contains("network.kernel = \"box\" is not one of"), "{line}");
    assert!(line.contains("constant"), "{line}");
}

#[test]
fn names_are_taken_once() {
    register();
    for failure in [
        models::register_neuron::<Resonator<f32>>(),
        models::register_kernel("gauss", Constant),
        models::register_kernel("triangle", Constant),
        models::register_surrogate("atan", STEEPNESS, |_| Ok(Atan { alpha: 1.0 })),
    ] {
        let line = failure.unwrap_err().to_string();
        assert!(line.contains("exists already; choose another name"), "{line}");
    }
}

#[test]
fn fields_of_own_neurons_are_checked() {
    let own = "network.neuron.kind=resonator";
    for (set, expected) in [
        ("network.neuron.damping=2", "network.neuron.damping = 2.0 is not between 0 and 1"),
        ("network.neuron.damping=strong", "network.neuron.damping = \"strong\" is not a number"),
        ("network.neuron.angle=1e300", "network.neuron.angle = 1e300 is not finite"),
        ("network.neuron.dampin=0.5", "network.neuron: unknown field `dampin`"),
        ("backend=cuda", "network.neuron.kind = \"resonator\" is a model of this program, which"),
    ] {
        let line = refused(&[own, set]);
        assert!(line.contains(expected), "{line}");
    }
    // Fields of other kinds are ignored.
    config(&[own, "network.neuron.threshold=-7", "network.neuron.tau_w_ms=0"]).unwrap();
    config(&["network.neuron.damping=2"]).unwrap();
}

#[test]
fn layers_change_fields_of_the_networks_neurons() {
    let layers = "network.layers=[{neuron = {kind = \"adlif\", b = 0.25}}]";
    let tau = ["network.neuron.tau_ms=30", "network.neuron.a=0.5"];
    let config = config(&[&tau[..], &[layers]].concat()).unwrap();
    let neuron = config.network.layer(0).unwrap().neuron;
    assert_eq!(neuron.kind, "adlif");
    let number = |field: &str| match neuron.parameters[field] {
        Setting::Number(number) => number,
        ref other => panic!("{other:?}"),
    };
    assert_eq!([number("tau_ms"), number("a"), number("b")], [30.0, 0.5, 0.25]);
    // The file of a run says the same, although the defaults of another kind are spelled out.
    let again = Config::parse(&config.to_toml().unwrap(), "file").unwrap();
    let neuron = again.network.layer(0).unwrap().neuron;
    assert_eq!(config.to_toml().unwrap(), again.to_toml().unwrap());
    assert_eq!(neuron.parameters["a"], Setting::Number(0.5));
    let line = refused(&["network.layers=[{neuron = {bb = 0.25}}]"]);
    assert!(line.contains("unknown field `bb`"), "{line}");
}

#[test]
fn couplings_learn_within_their_bounds() {
    let adlif = ["network.neuron.kind=adlif", "network.neuron.a=0.25", "network.neuron.a_min=0.25"];
    let config = config(&[&adlif[..], &["network.neuron.a_max=0.25"]].concat()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = Run::create(&config, Task::load(&config, None).unwrap(), &path).unwrap();
    run.train(&mut ()).unwrap();
    let state = Model::load(&path).unwrap().state().clone();
    let learned = state.tensors.iter().find(|tensor| tensor.name == "hidden.0.neuron").unwrap();
    assert_eq!(learned.values[2], 0.25);
    assert!((learned.values[3] - 0.5).abs() > 1e-4, "{learned:?}");
    let text = config.to_toml().unwrap();
    assert!(text.contains("a_max = 0.25") && !text.contains("b_max"), "{text}");
    assert_eq!(Config::parse(&text, "file").unwrap().to_toml().unwrap(), text);
    for (set, expected) in [
        ("a=0.5", "network.neuron.a = 0.5 is not between a_min and a_max"),
        ("a_max=0.125", "network.neuron.a = 0.25 is not between a_min and a_max"),
        ("b_min=1", "network.neuron.b = 0.5 is not between b_min and b_max"),
        ("b_max=nan", "network.neuron.b_max = NaN is not a number"),
        ("b_max=high", "network.neuron.b_max = \"high\" is not a number"),
    ] {
        let mut other = config.clone();
        let set = other.set(&format!("network.neuron.{set}"));
        let line = set.and_then(|()| other.check()).unwrap_err().to_string();
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn adaptive_neurons_learn_within_their_bounds() {
    let slow = ["network.neuron.tau_ms=80", "network.neuron.tau_w_ms=900"];
    for (set, most, wrong) in [
        (["kind=adlif", "bounds=cadlif", "a=1"], 1.0, ("tau_ms=15", "is outside `bounds`")),
        (["kind=se-adlif", "a=1", "b=2"], 1.0, ("q=0", "is not above 0")),
        (
            ["kind=silif", "a=1", "b=2"],
            1.0,
            ("b=2.5", "is not between b_min and b_max, or is outside"),
        ),
        (["kind=alif", "beta=0", "reset=soft"], f32::MAX, ("beta=-1", "is below 0")),
    ] {
        let set = set.map(|field| format!("network.neuron.{field}"));
        let set: Vec<_> = slow.into_iter().chain(set.iter().map(String::as_str)).collect();
        let mut config = config(&set).unwrap();
        config.network.neuron.per_neuron = true;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut run = Run::create(&config, Task::load(&config, None).unwrap(), &path).unwrap();
        run.train(&mut ()).unwrap();
        let state = Model::load(&path).unwrap().state().clone();
        let learned = state.tensors.iter().find(|tensor| tensor.name == "hidden.0.neuron").unwrap();
        let mut rows = learned.values.chunks(learned.shape[1]);
        let moved = |row: &[f32]| row.iter().any(|raw| *raw != row[0]);
        assert!(rows.by_ref().take(2).all(moved), "{learned:?}");
        let within = |raw: &f32| (0.0..=most).contains(raw);
        assert!(rows.next().unwrap().iter().all(within), "{learned:?}");
        let text = config.to_toml().unwrap();
        assert_eq!(Config::parse(&text, "file").unwrap().to_toml().unwrap(), text);
        let (field, problem) = wrong;
        let set = config.set(&format!("network.neuron.{field}"));
        let line = set.and_then(|()| config.check()).unwrap_err().to_string();
        assert!(line.contains(problem), "{line}");
    }
}

#[test]
fn neurons_that_never_spike_are_no_hidden_neurons() {
    let line = refused(&["network.neuron.kind=li"]);
    assert!(line.contains("network.neuron.kind = \"li\" never spikes"), "{line}");
    let line = refused(&["network.neuron.kind=lifx"]);
    assert!(line.contains("network.neuron.kind = \"lifx\" is not one of"), "{line}");
    assert!(line.contains("\"cuba-lif\"") && !line.contains("\"li\""), "{line}");
}

/// A file as it was written when every kind had the same fields.
#[test]
fn files_with_every_field_of_every_kind_still_mean_the_same() {
    const NEURON: &str = "\
[network.neuron]
kind = \"KIND\"
tau_ms = 20.0
threshold = 1.0
reset = \"hard\"
v_reset = 0.0
detach = true
decay_input = false
tau_syn_ms = 20.0
tau_w_ms = 100.0
a = 0.1
b = 0.5
";
    for kind in ["lif", "plif", "if", "cuba-lif", "adlif"] {
        let set = [format!("network.neuron.kind={kind}"), "network.neuron.tau_ms=20".into()];
        let sparse = config(&[&set[0], &set[1]]).unwrap();
        let text = sparse.to_toml().unwrap();
        let (start, rest) = text.split_once("[network.neuron]").unwrap();
        let (_, end) = rest.split_once("\n[").unwrap();
        let whole = format!("{start}{}\n[{end}", NEURON.replace("KIND", kind));
        let whole = Config::parse(&whole, "file").unwrap();

        // A run of one resumes with the other.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        drop(Run::create(&whole, Task::load(&whole, None).unwrap(), &path).unwrap());
        Run::resume(&sparse, Task::load(&sparse, None).unwrap(), &path).unwrap();
        let mut other = sparse.clone();
        other.set("network.neuron.threshold=0.5").unwrap();
        let failure = Run::resume(&other, Task::load(&other, None).unwrap(), &path).err();
        let line = failure.unwrap().to_string();
        assert!(line.contains("network.neuron.threshold = 0.5"), "{line}");
    }
}
