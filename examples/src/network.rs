//! Conversion of a configuration to a network and a training recipe.

use crate::backend::TrainingBackend;
use crate::config::{
    self, Config, DelayPlace, DelayStart, Delays, From, InitialState, Input, Rounding, require,
    to_single,
};
use crate::error::{Error, Result, at, fail};
use crate::{initial, models};
use polychron_core::delay::{self, AnyKernel};
use polychron_core::init::DelayInit;
use polychron_core::loss::{Loss, Objective, RatePenalty, objectives};
use polychron_core::neuron::{ErasedNeuron, Li};
use polychron_core::norm::BatchNorm;
use polychron_core::reference::Reference;
use polychron_core::schedule::Schedule;
use polychron_core::shape::Synapses;
use polychron_core::train::{
    self, Connection, Edge, Graph, Layer, Network, NetworkError, Readout, Recipe, Recurrence,
    Sigma, Source,
};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The properties of the data that determine the shape of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interface {
    /// Number of input channels.
    pub channels: usize,
    /// Number of classes.
    pub classes: usize,
    /// Length of a step in ms.
    pub dt_ms: f64,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { channels, classes, dt_ms } = self;
        write!(f, "{channels} channels, {classes} classes and steps of {dt_ms} ms")
    }
}

/// Checks the network of a configuration without its data.
pub(crate) fn check(config: &Config) -> Result<()> {
    let interface = Interface { channels: 1, classes: 1, dt_ms: config.data.dt_ms.into() };
    // How many channels and classes there are, only the data say.
    let network = config.network.clone().connected_densely();
    graph(&Config { network, ..config.clone() }, interface).map(|_| ())
}

/// Who is connected to whom in the network of a configuration.
///
/// # Errors
/// Names the field whose value is invalid.
pub fn graph(config: &Config, interface: Interface) -> Result<Graph> {
    network::<Reference<f32>>(config, interface)?.graph().map_err(|error| match error {
        NetworkError::Unused { layer } => Error::new(format!(
            "network.hidden[{layer}] = {}: no layer has it as an input; add it to the inputs of a \
             later layer or remove it",
            config.network.hidden[layer]
        )),
        error => at("network")(error),
    })
}

/// Makes the network that a configuration describes.
///
/// # Errors
/// Names the field whose value is invalid.
pub fn network<B: TrainingBackend>(config: &Config, interface: Interface) -> Result<Network<B>> {
    let from = &config.network;
    let mut widths = vec![interface.channels];
    widths.extend(&from.hidden);
    let mut hidden = Vec::new();
    for (l, &outputs) in from.hidden.iter().enumerate() {
        let own = from.layer(l)?;
        let place = |field: &str| from.place(l, 0, field);
        let initial =
            initial::parameters::<B>(config, &own.neuron, [l, outputs], interface.dt_ms, &place)?;
        let neuron = models::neuron::<B>(config.backend, &own.neuron, interface.dt_ms, &place)?;
        if own.neuron.per_neuron && neuron.param_count() == 0 {
            let (field, kind) = (place("neuron"), &own.neuron.kind);
            fail!("{field}.per_neuron = true, but {kind:?} has no parameters that learn; plif has")
        }
        let is_recurrent = own.inputs.last().is_some_and(|input| input.from.is_itself());
        let mut inputs = connections(config, own.inputs, &widths, l, outputs)?;
        let recurrent = if is_recurrent { inputs.pop() } else { None };
        let dropout = own.recurrent_dropout;
        hidden.push(Layer {
            inputs,
            recurrence: recurrent.map(|connection| Recurrence { connection, dropout }),
            norm: own.norm.then(BatchNorm::default),
            bias: own.bias,
            neuron,
            per_neuron: own.neuron.per_neuron,
            initial,
            initial_state: match own.neuron.initial_state {
                InitialState::Rest => train::InitialState::Rest,
                InitialState::Random => train::InitialState::Random,
            },
            surrogate: models::surrogate::<B>(
                config.backend,
                &own.surrogate,
                interface.dt_ms,
                &place("surrogate"),
            )?,
            dropout: own.dropout,
        });
    }
    let tau = tau_in_steps("network.readout_tau_ms", from.readout_tau_ms, interface.dt_ms)?;
    let own = from.layer(from.hidden.len())?;
    let output = Readout {
        inputs: connections(config, own.inputs, &widths, from.hidden.len(), interface.classes)?,
        bias: own.bias,
        integrator: Li::new(tau),
    };
    Ok(Network {
        hidden,
        output,
        objective: objective(&from.objective)?,
        loss: parse_name(|| "network.loss".into(), &from.loss, Loss::from_name, &Loss::ALL)?,
        rounding: match config.train.rounding {
            Rounding::Split if from.has_delays(Delays::Learned) => delay::Rounding::Split,
            _ => delay::Rounding::Nearest,
        },
        window: config.train.window_steps.and_then(NonZeroUsize::new),
    })
}

/// The name of the source of a connection: `input`, `hidden.0`, `hidden.1`, ...
pub(crate) fn source_name(edge: &Edge) -> String {
    edge.from.map_or("input".into(), |from| format!("hidden.{from}"))
}

/// The name of the place of a connection's delays in configurations.
pub(crate) fn place_name(edge: &Edge) -> &'static str {
    if edge.synapses.taps > 1 { edge.place.name() } else { "none" }
}

/// The dimensions of the weights of a connection that is not dense, after what they are.
pub(crate) fn packed_name(edge: &Edge) -> Option<String> {
    let shape: Vec<_> = edge.connectivity.as_ref()?.shape().iter().map(usize::to_string).collect();
    Some(format!("convolution of {}", shape.join(" x ")))
}

/// The connections of layer `l`. `widths` holds the number of channels, then those of the neurons
/// of the hidden layers.
fn connections<B: TrainingBackend>(
    config: &Config,
    inputs: Vec<Input>,
    widths: &[usize],
    l: usize,
    outputs: usize,
) -> Result<Vec<Connection<B>>> {
    let last = inputs.len() - 1;
    let connection = |(c, input): (usize, Input)| {
        let max_delay = config.network.max_delay(l, c, &input, config.data.dt_ms)?;
        let Input { from, delays, delay_place, connect, kernel, count, .. } = input;
        let place = |field: &str| config.network.place(l, c, field);
        let (from, inputs) = match &from {
            From::Layer(from) if *from < l => (Source::Layer(*from), widths[from + 1]),
            from if from.is_itself() && c == last => (Source::Layer(l), widths[l + 1]),
            From::Name(name) if name == "previous" => (Source::Previous, widths[l]),
            From::Name(name) if name == "input" => (Source::Input, widths[0]),
            From::Layer(from) if *from == l && l + 1 < widths.len() => fail!(
                "{} = {from} is the layer itself; use network.layers[{l}].recurrent = {{}}",
                place("from")
            ),
            From::Layer(from) => {
                let earlier = match l {
                    0 => "this layer has none".into(),
                    1 => "which has the index 0".into(),
                    _ => format!("which have the indices 0 to {}", l - 1),
                };
                fail!("{} = {from} is not an earlier hidden layer, {earlier}", place("from"))
            }
            From::Name(name) => fail!(
                "{} = {name:?} is not \"previous\", \"input\" or the index of a hidden layer",
                place("from")
            ),
        };
        let kernel = match delays {
            Some(Delays::Learned) => {
                let name = kernel.unwrap_or_default();
                models::kernel::<B>(config.backend, &name, &|| place("kernel"))?
            }
            _ => B::kernel(AnyKernel::Discrete),
        };
        let fixed_delays = matches!(delays, Some(Delays::Fixed | Delays::Given));
        let learned = delays == Some(Delays::Learned);
        let synapses = Synapses::new(inputs, outputs, max_delay + 1);
        let synapses = Synapses { kernel_count: count.unwrap_or(1), ..synapses };
        // Without delays there is nothing to share.
        let spread = config.network.spread_place;
        let spreads = max_delay > 0 && learned && spread != DelayPlace::None;
        let spread = spreads.then(|| spread.place());
        let place = delay_place.filter(|_| max_delay > 0).unwrap_or_default().place();
        let source = match from {
            Source::Previous => l.checked_sub(1),
            Source::Input => None,
            Source::Layer(from) => Some(from),
        };
        let sizes = [inputs, outputs];
        let connectivity = config.network.connectivity((l, c), connect, source, sizes)?;
        let connectivity = connectivity.map(Arc::new);
        Ok(Connection { from, synapses, connectivity, place, kernel, fixed_delays, spread })
    };
    inputs.into_iter().enumerate().map(connection).collect()
}

/// The loss of a name; `None` for the cross entropy, which backends compute themselves.
fn objective(name: &str) -> Result<Option<&'static dyn Objective<f32>>> {
    let all = objectives();
    let names = all.map(|(name, _)| name);
    let problem = format!("is not one of {names:?}");
    require(names.contains(&name), "network.objective", name, &problem)?;
    let found = all.into_iter().find(|(known, _)| *known == name);
    Ok(found.map(|(_, objective)| objective).filter(|_| name != "cross_entropy"))
}

/// Makes the training recipe that a configuration describes.
#[must_use]
pub fn recipe(config: &Config) -> Recipe {
    let from = &config.train;
    let learned = config.network.has_delays(Delays::Learned);
    let delays = match from.delay_init {
        DelayStart::Zero => DelayInit::Zero,
        DelayStart::Uniform => DelayInit::Uniform,
        DelayStart::Paper => DelayInit::Paper,
    };
    let schedule = |name: &str| {
        Schedule::from_name(name, from.step_epochs, from.step_factor).unwrap_or_default()
    };
    Recipe {
        epochs: from.epochs,
        optimizer: from.optimizer().unwrap_or_default(),
        rate: from.rate,
        schedule: schedule(&from.schedule),
        delay_rate: learned.then_some(from.delay_rate),
        delay_schedule: schedule(&from.delay_schedule),
        neuron_rate: from.neuron_rate,
        warmup: from.warmup_epochs,
        clip: from.clip_norm,
        rate_penalty: from
            .rate_penalty
            .map(|config::RatePenalty { weight, low, high }| RatePenalty { weight, low, high }),
        l2: from.l2,
        decoupled: from.decoupled,
        train_neurons: from.train_neurons,
        sigma: Sigma {
            start: from.sigma_start,
            end: from.sigma_end,
            epochs: from.sigma_epochs.unwrap_or((from.epochs / 4).max(1)),
        },
        delays,
        rounded_epochs: match from.rounding {
            Rounding::Nearest | Rounding::Split if learned => {
                from.rounded_epochs.unwrap_or(from.epochs.div_ceil(4))
            }
            _ => 0,
        },
    }
}

/// The number of first epochs with wide kernels: rounding changes their networks.
pub(crate) fn wide_epochs(config: &Config) -> usize {
    let Recipe { sigma, epochs, rounded_epochs, .. } = recipe(config);
    let start = sigma.start.unwrap_or((config.longest_delay().0 / 2) as f64);
    let constant = !config.network.has_delays(Delays::Learned) || start <= sigma.end;
    if constant { 0 } else { sigma.epochs.min(epochs.saturating_sub(rounded_epochs)) }
}

/// The delays that a model has in training after some epochs.
pub(crate) fn trained_delays(config: &Config, epochs: u64) -> train::Delays {
    let spread = config.network.has_delays(Delays::Learned);
    if spread && !recipe(config).rounds_in(epochs.saturating_sub(1)) {
        train::Delays::Spread
    } else {
        train::Delays::Rounded
    }
}

/// Converts a time constant to steps. It must be at least one step.
fn tau_in_steps(field: &str, tau_ms: f64, dt_ms: f64) -> Result<f32> {
    to_single(field, tau_ms)?;
    let tau = (tau_ms / dt_ms) as f32;
    require(tau >= 1.0, field, tau_ms, &format!("is not at least one step of {dt_ms} ms"))?;
    Ok(tau)
}

fn parse_name<T>(
    field: impl Fn() -> String,
    name: &str,
    from_name: fn(&str) -> Option<T>,
    all: &[(&'static str, T)],
) -> Result<T> {
    let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
    let problem = || Error::new(format!("{} = {name:?} is not one of {names:?}", field()));
    from_name(name).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::train::Delays::{Rounded, Spread};

    #[test]
    fn delays_are_rounded_from_the_first_rounded_epoch_on() {
        let trained = |set: &[&str]| -> Vec<_> {
            let mut config = Config::preset("order").unwrap();
            for set in [&["train.epochs=5"], set].concat() {
                config.set(set).unwrap();
            }
            (0..=5).map(|epochs| trained_delays(&config, epochs)).collect()
        };
        let default = [Spread, Spread, Spread, Spread, Rounded, Rounded];
        assert_eq!(trained(&[]), default);
        assert_eq!(trained(&["train.rounding=nearest"]), default);
        assert_eq!(trained(&["train.rounding=after"]), [Spread; 6]);
        assert_eq!(trained(&["network.delays=fixed"]), [Rounded; 6]);
        let last = [Spread, Spread, Spread, Spread, Spread, Rounded];
        assert_eq!(trained(&["train.rounded_epochs=1"]), last);
        assert_eq!(trained(&["train.rounded_epochs=5"]), [Rounded; 6]);
    }

    #[test]
    fn spreads_sit_where_delays_learn() {
        let spreads = |set: &[&str]| {
            let mut config = Config::preset("order").unwrap();
            set.iter().for_each(|set| config.set(set).unwrap());
            let interface = Interface { channels: 3, classes: 2, dt_ms: 10.0 };
            let graph = graph(&config, interface).unwrap();
            graph.edges().map(|edge| edge.spread).collect::<Vec<_>>()
        };
        let axonal = "network.spread_place=axonal";
        let set = [axonal, "network.hidden=[8]", "network.readout={ max_delay = 0 }"];
        assert_eq!(spreads(&set), [Some(delay::Place::Axonal), None]);
        assert_eq!(spreads(&set[1..]), [None; 2]);
        assert_eq!(spreads(&[&set[..], &["train.delays=random"]].concat()), [None; 2]);
    }

    #[test]
    fn kernels_are_wide_until_sigma_has_shrunk_or_delays_are_rounded() {
        let wide = |set: &[&str]| {
            let mut config = Config::preset("order").unwrap();
            set.iter().for_each(|set| config.set(set).unwrap());
            wide_epochs(&config)
        };
        assert_eq!(wide(&[]), 5);
        assert_eq!(wide(&["train.sigma_epochs=20"]), 15);
        assert_eq!(wide(&["train.sigma_epochs=20", "train.rounding=after"]), 20);
        assert_eq!(wide(&["train.sigma_start=0.2"]), 0);
        assert_eq!(wide(&["network.max_delay=0"]), 0);
        assert_eq!(wide(&["network.delays=fixed"]), 0);
    }
}
