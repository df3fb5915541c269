//! `polychron inspect`: what a model consists of.

use crate::checkpoint;
use crate::config::Delays;
use crate::error::{Failure, Result};
use crate::machine::{self};
use crate::model_file;
use crate::network::{self, Ends};
use crate::report::say;
use crate::sparse::Absent;
use polychron_core::train::{State, Tensor};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Options of `inspect`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a run, or a model file
    #[arg(value_name = "RUN|MODEL.pcn")]
    run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Inspection {
    epoch: u64,
    step: u64,
    /// Trained numbers.
    parameters: usize,
    layers: Vec<Layer>,
}

#[derive(Serialize)]
struct Layer {
    name: String,
    /// Outputs, inputs, kernel elements a synapse.
    shape: Vec<usize>,
    parameters: usize,
    weight: Moments,
    /// In steps.
    delay: Moments,
    /// Shares of delays that round to 0 and to the longest.
    delays_at_zero: f64,
    delays_at_longest: f64,
    sigma: f64,
    /// Of the norm, where there is one.
    gamma: Option<Moments>,
    beta: Option<Moments>,
    running_mean: Option<Moments>,
    running_var: Option<Moments>,
    /// Raw parameters of the neurons.
    neuron: Vec<f32>,
}

#[derive(Serialize)]
struct Moments {
    mean: f64,
    deviation: f64,
    min: f64,
    max: f64,
}

/// Runs `inspect`.
pub(crate) fn inspect(args: &Args) -> Result<()> {
    if !args.run.is_dir() {
        let model = model_file::describe(&args.run)?;
        let text = if args.json { serde_json::to_string(&model)? + "\n" } else { model.table() };
        return say(&text);
    }
    let model = args.run.join("model.safetensors");
    let path = if model.exists() { model } else { args.run.join("checkpoint.safetensors") };
    let (state, config) = checkpoint::read_run(&path)?;
    let learned = config.train.delays == Delays::Learned;
    let mut trained = vec![".weight", ".gamma", ".beta"];
    trained.extend(learned.then_some(".delay"));
    trained.extend(config.train.train_neurons.then_some(".neuron"));
    let longest = if config.train.delays == Delays::Zero { 0 } else { config.network.max_delay };
    let hidden = (0..config.network.hidden.len()).map(|l| format!("hidden.{l}"));
    let layers = hidden.chain(["output".into()]);
    let layers = layers.map(|name| {
        layer(&state, name, longest, &trained)
            .map_err(|name| Failure(format!("{}: tensor {name} is missing", path.display())))
    });
    let mut layers = layers.collect::<Result<Vec<_>>>()?;
    let end = |layer: &Layer, axis| layer.shape.get(axis).map_or(1, |&n: &usize| n.max(1));
    let (channels, classes) = (end(&layers[0], 1), end(&layers[layers.len() - 1], 0));
    let ends = Ends { channels, classes, dt_ms: config.data.dt_ms.into() };
    machine::restored(machine::cpu(&config)?, &config, ends, &state, &path)?;
    let absent = Absent::of(&config, &network::network(&config, ends)?);
    for (layer, absent) in layers.iter_mut().zip(absent.parameters()) {
        layer.parameters -= absent;
    }
    let State { epoch, step, .. } = state;
    let parameters = layers.iter().map(|layer| layer.parameters).sum();
    let inspection = Inspection { epoch, step, parameters, layers };
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&inspection)?));
    }
    say(&inspection.table())
}

fn layer(
    state: &State<f32>,
    name: String,
    longest: usize,
    trained: &[&str],
) -> std::result::Result<Layer, String> {
    let tensor = |part: &str| -> Option<&Tensor<f32>> {
        state.tensors.iter().find(|t| t.name.strip_prefix(&name) == Some(part))
    };
    let need = |part: &str| tensor(part).ok_or_else(|| format!("{name}{part}"));
    let (weight, delay, sigma) = (need(".weight")?, need(".delay")?, need(".sigma")?);
    let share = |at: usize| {
        let there = delay.values.iter().filter(|d| d.round_ties_even() == at as f32);
        there.count() as f64 / delay.values.len() as f64
    };
    let optional = |part| tensor(part).map(|t| moments(&t.values));
    Ok(Layer {
        shape: weight.shape.clone(),
        parameters: trained.iter().filter_map(|part| tensor(part)).map(|t| t.values.len()).sum(),
        weight: moments(&weight.values),
        delay: moments(&delay.values),
        delays_at_zero: share(0),
        delays_at_longest: share(longest),
        sigma: sigma.values.first().map_or(0.0, |&s| s.into()),
        gamma: optional(".gamma"),
        beta: optional(".beta"),
        running_mean: optional(".running_mean"),
        running_var: optional(".running_var"),
        neuron: tensor(".neuron").map_or(Vec::new(), |t| t.values.clone()),
        name,
    })
}

fn moments(values: &[f32]) -> Moments {
    let values = || values.iter().map(|&v| f64::from(v));
    let n = values().count().max(1) as f64;
    let mean = values().sum::<f64>() / n;
    Moments {
        mean,
        deviation: (values().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
        min: values().fold(f64::INFINITY, f64::min),
        max: values().fold(f64::NEG_INFINITY, f64::max),
    }
}

impl Inspection {
    fn table(&self) -> String {
        let Self { epoch, step, parameters, .. } = self;
        let mut text = format!("{parameters} parameters after epoch {epoch}, step {step}\n");
        for layer in &self.layers {
            let shape: Vec<_> = layer.shape.iter().map(usize::to_string).collect();
            let (name, parameters) = (&layer.name, layer.parameters);
            let _ = writeln!(
                text,
                "\n{name}  {} (out x in x elements), {parameters} parameters",
                shape.join(" x ")
            );
            let all = [
                ("weight", Some(&layer.weight)),
                ("delay, steps", Some(&layer.delay)),
                ("gamma", layer.gamma.as_ref()),
                ("beta", layer.beta.as_ref()),
                ("running mean", layer.running_mean.as_ref()),
                ("running var", layer.running_var.as_ref()),
            ];
            for (name, moments) in all {
                let Some(Moments { mean, deviation, min, max }) = moments else { continue };
                let _ = writeln!(
                    text,
                    "  {name:<13} {mean:>8.3} +- {deviation:<8.3} from {min:.3} to {max:.3}"
                );
            }
            let (zero, longest) = (100.0 * layer.delays_at_zero, 100.0 * layer.delays_at_longest);
            let _ = writeln!(
                text,
                "  delays at the edges: {zero:.1} % at 0, {longest:.1} % at the longest"
            );
            let _ = writeln!(text, "  sigma         {:>8.3}", layer.sigma);
            if !layer.neuron.is_empty() {
                let _ = writeln!(text, "  neuron, raw   {:?}", layer.neuron);
            }
        }
        text
    }
}
