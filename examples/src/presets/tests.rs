use super::*;
use crate::config::*;
use crate::network::{self, Interface};
use polychron_core::schedule::SigmaSchedule;
use polychron_core::shape::Synapses;

#[test]
fn the_size_of_a_configuration_is_limited() {
    let failed = |text: &str| parse(text, "file").unwrap_err().to_string();
    assert!(failed(&" ".repeat(MAX_TEXT + 1)).contains("longer than 65536 bytes"));
    let layers = |n| format!("[network]\nhidden = {:?}", vec![8; n]);
    assert!(parse(&layers(64), "file").is_ok());
    assert!(failed(&layers(65)).contains("layers of network.hidden = 65 is above 64"));
}

#[test]
fn stored_configurations_without_rounding_round_after_training() {
    for text in ["", "[train]\nepochs = 3"] {
        assert_eq!(parse_stored(text, "file").unwrap().train.rounding, Rounding::After);
    }
    let text = load(None, None, &[]).unwrap().to_toml().unwrap();
    assert_eq!(parse_stored(&text, "file").unwrap().train.rounding, Rounding::Split);
}

#[test]
fn stored_adaptive_neurons_without_bounds_have_none() {
    let bounds = |config: &Config, layer| {
        let neuron = config.network.layer(layer).unwrap().neuron.complete();
        format!("{:?}", neuron.parameters["bounds"])
    };
    let text = "[network]\nhidden = [8, 8]\n\
                layers = [{}, { neuron = { kind = \"adlif\", tau_ms = 30, tau_w_ms = 300 } }]\n\
                neuron = { kind = \"adlif\", tau_ms = 20, a = -0.1 }\n";
    let old = parse_stored(text, "file").unwrap();
    assert_eq!([0, 1].map(|layer| bounds(&old, layer)), [r#"Word("none")"#; 2]);
    old.check().unwrap();
    let new = parse(&text.replace("-0.1", "0.1"), "file").unwrap();
    let stored = parse_stored(&new.to_toml().unwrap(), "file").unwrap();
    assert_eq!([0, 1].map(|layer| bounds(&stored, layer)), [r#"Word("stable")"#; 2]);
    let line = parse(text, "file").unwrap_err().to_string();
    assert!(line.contains("network.neuron.a = -0.1 is not between a_min and a_max, or"), "{line}");
}

#[test]
fn text_and_file_mean_the_same_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let shown = path.display().to_string();
    for text in ["", "preset = \"shd\"", "preset = \"custom\"", "preset = \"none\"", "seed = -1"] {
        let text = format!("{text}\n[train]\nepochs = 7");
        std::fs::write(&path, &text).unwrap();
        match (Config::parse(&text, &shown), Config::read(&path)) {
            (Ok(parsed), Ok(read)) => assert_eq!(parsed, read),
            (parsed, read) => {
                let failures = [parsed, read].map(|result| result.unwrap_err().to_string());
                assert_eq!(failures[0], failures[1]);
            }
        }
    }
    let config = Config::parse("preset = \"shd\"\n[train]\nepochs = 7", "text").unwrap();
    let mut expected = Config::preset("shd").unwrap();
    expected.train.epochs = 7;
    assert_eq!(config, expected);
    let stored = parse_stored("preset = \"shd\"", "text").unwrap();
    let train = Train { rounding: Rounding::After, ..Train::default() };
    assert_eq!(stored, Config { preset: "shd".into(), train, ..Config::default() });
}

#[test]
fn presets_survive_a_round_trip_through_toml() {
    for (name, _) in PRESETS {
        let config = load(Some(name), None, &[]).unwrap();
        assert_eq!(config.preset, *name);
        let again: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
        assert_eq!(config.network.complete().unwrap(), again.network);
        assert_eq!(Config { network: again.network.clone(), ..config }, again);
    }
}

/// A column of the authors' table of published configurations.
struct Column {
    preset: &'static str,
    sizes: &'static [usize],
    kernel_count: usize,
    weights: usize,
    taps: usize,
    tau_ms: f64,
    epochs: usize,
    batch: usize,
    dropout: f64,
}

/// The published results on SSC and GSC have 2.5 M parameters: two kernel elements per synapse.
const PAPER: [Column; 3] = [
    Column {
        preset: "shd",
        sizes: &[140, 256, 256, 20],
        kernel_count: 1,
        weights: 106_496,
        taps: 25,
        tau_ms: 10.05,
        epochs: 150,
        batch: 256,
        dropout: 0.4,
    },
    Column {
        preset: "ssc",
        sizes: &[140, 512, 512, 512, 35],
        kernel_count: 2,
        weights: 2 * 613_888,
        taps: 31,
        tau_ms: 15.0,
        epochs: 60,
        batch: 128,
        dropout: 0.25,
    },
    Column {
        preset: "gsc",
        sizes: &[140, 512, 512, 512, 35],
        kernel_count: 2,
        weights: 2 * 613_888,
        taps: 31,
        tau_ms: 15.0,
        epochs: 100,
        batch: 128,
        dropout: 0.25,
    },
];

/// The common fields of the paper's three configurations and those of a column.
fn recipe(column: &Column) -> (Network, Train) {
    let network = Network {
        hidden: column.sizes[1..column.sizes.len() - 1].to_vec(),
        max_delay: Some(column.taps - 1),
        max_delay_ms: None,
        delays: Delays::Learned,
        delay_file: None,
        delay_place: DelayPlace::Synaptic,
        connect: Connect::Dense,
        spread_place: DelayPlace::None,
        kernel: "gauss".into(),
        count: column.kernel_count,
        recurrent: None,
        fan_in: 0,
        density: 1.0,
        dropout: column.dropout,
        norm: true,
        bias: false,
        loss: "softmax_sum".into(),
        objective: "cross_entropy".into(),
        readout_tau_ms: column.tau_ms,
        neuron: Neuron {
            kind: "lif".into(),
            per_neuron: false,
            initial_state: InitialState::Rest,
            parameters: [
                ("tau_ms".into(), Setting::Number(column.tau_ms)),
                ("threshold".into(), Setting::Number(1.0)),
                ("reset".into(), Setting::Word("hard".into())),
                ("v_reset".into(), Setting::Number(0.0)),
                ("detach".into(), Setting::Flag(true)),
                ("decay_input".into(), Setting::Flag(false)),
            ]
            .into(),
        }
        .complete(),
        surrogate: Surrogate { kind: "atan".into(), parameters: [("alpha".into(), 5.0)].into() },
        layers: Vec::new(),
        readout: ReadoutTable::default(),
    };
    let train = Train {
        epochs: column.epochs,
        rate: 5.0 * 1e-3,
        delay_rate: 100.0 * 1e-3,
        l2: 1e-5,
        decoupled: false,
        delay_init: DelayStart::Paper,
        sigma_start: None,
        sigma_end: 0.23,
        sigma_epochs: None,
        rounding: Rounding::After,
        ..Train::default()
    };
    (network, train)
}

#[test]
fn a_configuration_equals_itself_after_a_write_and_a_read() {
    let layers = "[network]\nhidden = [3, 4]\n[[network.layers]]\n[[network.layers]]\n\
                  neuron = { kind = \"adlif\", tau_ms = 20 }\nmax_delay = 3\n";
    for text in ["", "preset = \"shd\"", layers] {
        let config = Config::parse(text, "first").unwrap();
        let again = Config::parse(&config.to_toml().unwrap(), "again").unwrap();
        assert!(again == config, "{text}");
    }
    let mut other = Config::parse(layers, "other").unwrap();
    other.set("network.neuron.tau_ms=11").unwrap();
    assert!(other != Config::parse(layers, "first").unwrap());
}

#[test]
fn paper_presets_equal_the_published_recipe() {
    for column in &PAPER {
        let mut config = load(Some(column.preset), None, &[]).unwrap();
        config.network.neuron = config.network.neuron.complete();
        let (network, mut train) = recipe(column);
        let shd = column.preset == "shd";
        train.select = if shd { Select::Last } else { Select::Valid };
        assert_eq!((&config.network, &config.train), (&network, &train), "{}", column.preset);
        let data = &config.data;
        assert_eq!((data.batch, data.dt_ms, data.mask), (column.batch, 10, false));
        assert!(data.steps == 0 && data.augment == Augment::default());
        if column.preset == "gsc" {
            assert_eq!((data.source, data.bands), (Source::Gsc, Bands::Paper));
        } else {
            assert_eq!((data.source, data.binning), (Source::H5, Bins::Legacy2023));
            assert_eq!(data.channels / data.group, column.sizes[0]);
        }
        if shd {
            assert_eq!((config.protocol, data.valid), (Protocol::Paper, 0.0));
        } else {
            assert_eq!(config.protocol, Protocol::Clean);
        }
        let (channels, classes) = (column.sizes[0], column.sizes[column.sizes.len() - 1]);
        let interface = Interface { channels, classes, dt_ms: 10.0 };
        let synapses = network::graph(&config, interface).unwrap().chain().unwrap();
        let weights: usize = synapses.iter().map(Synapses::weights).sum();
        assert_eq!(weights, column.weights);
        assert!(synapses.iter().all(|s| s.taps == column.taps && s.padding == s.taps / 2));
        let sigma = network::recipe(&config).sigma;
        assert_eq!((sigma.start, sigma.end, sigma.epochs), (None, 0.23, column.epochs / 4));
    }
}

#[test]
fn clean_presets_differ_from_the_paper_only_in_data_and_protocol() {
    for column in &PAPER {
        let (paper, name) = (column.preset, format!("{}-clean", column.preset));
        let mut expected = load(Some(paper), None, &[]).unwrap();
        expected.preset.clone_from(&name);
        expected.protocol = Protocol::Clean;
        (expected.data.mask, expected.data.binning) = (true, Bins::Fixed);
        expected.data.bands = Bands::Full;
        expected.train.delay_init = DelayStart::Uniform;
        expected.train.rounding = Rounding::Split;
        expected.train.select = Select::Valid;
        if paper == "shd" {
            expected.data.valid = 0.2;
        }
        assert_eq!(load(Some(&name), None, &[]).unwrap(), expected);
    }
}

#[test]
fn the_clean_protocol_selects_on_validation_items() {
    let set = protocol_assignments(Some("shd"), Protocol::Clean).unwrap();
    let clean = load(Some("shd"), None, &set).unwrap();
    assert_eq!((clean.protocol, clean.train.select), (Protocol::Clean, Select::Valid));
    assert_eq!(clean.data.valid, 0.2);
    for preset in ["digits", "shd-clean", "ssc"] {
        let plain = load(Some(preset), None, &[]).unwrap();
        let set = protocol_assignments(Some(preset), Protocol::Clean).unwrap();
        assert_eq!(load(Some(preset), None, &set).unwrap(), plain);
    }
}

const VARIANTS: [Variant; 6] = [
    Variant::NoDelays,
    Variant::RandomDelays,
    Variant::ConstantSigma,
    Variant::KernelCount1,
    Variant::KernelCount2,
    Variant::Sparse,
];

#[test]
fn a_failed_assignment_changes_nothing() {
    let mut config = Config::preset("shd").unwrap();
    let before = config.clone();
    assert!(config.set("train.rate=-1").is_err() && config.set("train.speed=1").is_err());
    assert_eq!(config, before);
    config.set("network.surrogate.kind=rect").unwrap();
    assert!(config.network.surrogate.parameters.is_empty());
    config.set("train.epochs = 7").unwrap();
    assert_eq!(config.differences(&before).unwrap().len(), 3);
}

#[test]
fn every_variant_changes_at_most_one_field() {
    for variant in VARIANTS {
        let set = [variant.assignment()];
        let changed = |preset| {
            let plain = load(Some(preset), None, &[]).unwrap();
            load(Some(preset), None, &set).unwrap().differences(&plain).unwrap()
        };
        let (shd, ssc) = (changed("shd"), changed("ssc"));
        let (in_shd, in_ssc) = match variant {
            Variant::KernelCount1 => (0, 1),
            Variant::KernelCount2 => (1, 0),
            _ => (1, 1),
        };
        assert_eq!((shd.len(), ssc.len()), (in_shd, in_ssc), "{variant:?}: {shd:?} {ssc:?}");
    }
    let constant = [Variant::ConstantSigma.assignment()];
    let sigma = network::recipe(&load(Some("shd"), None, &constant).unwrap()).sigma;
    let schedule = SigmaSchedule { start: 12.0, end: sigma.end, epochs: sigma.epochs };
    assert!((0..150).all(|epoch| schedule.at(epoch) == 0.23));
}

#[test]
fn assignments_accept_numbers_lists_and_bare_words() {
    let set = [
        "network.hidden=[3, 4]",
        "data.source=order",
        "train.rate=1",
        "network.surrogate.kind=rect",
    ];
    let config = load(None, None, &set.map(String::from)).unwrap();
    assert_eq!(config.network.hidden, [3, 4]);
    assert_eq!(config.data.source, crate::config::Source::Order);
    assert_eq!(config.train.rate, 1.0);
    assert!(config.network.surrogate.parameters.is_empty());
}

#[test]
fn an_unknown_key_is_named() {
    let error = load(None, None, &["network.neuron.tau=3".into()]).unwrap_err().to_string();
    assert!(error.contains("unknown field `tau`") && error.contains("network.neuron"), "{error}");
}

#[test]
fn presets_of_published_figures_sum_five_channels_and_own_files_none() {
    for name in names() {
        let data = load(Some(name), None, &[]).unwrap().data;
        let group = if data.source == Source::H5 && name != "recordings" { 5 } else { 1 };
        assert_eq!(data.group, group, "{name}");
    }
    // A run of another source, which stores a group that was never read, is the same run.
    let old = load(Some("digits"), None, &["data.group=5".into()]).unwrap();
    let new = load(Some("digits"), None, &[]).unwrap();
    assert_eq!(old.difference(&new).unwrap(), None);
    let [one, five] = [1, 5]
        .map(|group| load(Some("recordings"), None, &[format!("data.group={group}")]).unwrap());
    let shown = ("data.group = 1".to_string(), "data.group = 5".to_string());
    assert_eq!(one.difference(&five).unwrap(), Some(shown));
}

#[test]
fn delays_in_ms_follow_the_step() {
    let with = |set: &[&str]| {
        let set: Vec<_> = set.iter().map(|set| set.to_string()).collect();
        load(Some("recordings"), None, &set)
    };
    let longest = |set: &[&str]| with(set).unwrap().longest_delay();
    assert_eq!(longest(&[]), (24, "network.max_delay_ms".into()));
    assert_eq!(longest(&["data.dt_ms=1"]).0, 240);
    // Steps replace ms, and ms replace steps.
    assert_eq!(
        longest(&["network.max_delay=24", "data.dt_ms=1"]),
        (24, "network.max_delay".into())
    );
    assert_eq!(longest(&["network.max_delay=24", "network.max_delay_ms=50"]).0, 5);
    let mut changed = with(&["network.max_delay_ms=300"]).unwrap();
    changed.set("data.dt_ms=5").unwrap();
    assert_eq!(changed.longest_delay().0, 60);
    assert!(Config::parse(&changed.to_toml().unwrap(), "x").unwrap() == changed);
    // Every input may have its own.
    let inputs =
        "network.readout={ max_delay_ms = 30, inputs = [{ max_delay = 50 }, { from = 0 }] }";
    let config = with(&[inputs]).unwrap();
    assert_eq!(config.longest_delay(), (50, "network.readout.inputs[0].max_delay".into()));
    let interface = Interface { channels: 3, classes: 2, dt_ms: 10.0 };
    let graph = network::graph(&config, interface).unwrap();
    let taps: Vec<_> = graph.edges().map(|edge| edge.synapses.taps).collect();
    assert_eq!(taps, [25, 25, 51, 4]);

    for (set, message) in [
        (
            ["data.dt_ms=7"],
            "network.max_delay_ms = 240 is not a multiple of data.dt_ms = 7; use 238 or 245",
        ),
        (["network.max_delay_ms=-10"], "network.max_delay_ms = -10 is not a length of time"),
        (["network.max_delay_ms=163850"], "network.max_delay_ms = 163850 is above 16384 steps"),
        (
            ["network.readout={ max_delay = 3, max_delay_ms = 30 }"],
            "network.readout.max_delay and network.readout.max_delay_ms exclude each other; remove \
             one",
        ),
    ] {
        assert_eq!(with(&set).unwrap_err().to_string(), message);
    }
    let both = "preset = \"recordings\"\n[network]\nmax_delay = 3\nmax_delay_ms = 30\n";
    let error = Config::parse(both, "both").unwrap_err().to_string();
    let place = "both: network.max_delay and network.max_delay_ms exclude each other";
    assert!(error.starts_with(place), "{error}");
}
