//! `polychron inspect`.

use super::print::{note, say, say_json};
use crate::config::{Connect, Delays};
use crate::data_card::{DataCard, InputKind};
use crate::error::{Result, fail};
use crate::inspect::{Inspection, Moments, Neurons};
use crate::model_file::{self, Description, Layer, Work};
use crate::report;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Options of `inspect`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a run, or a model file
    #[arg(value_name = "RUN|MODEL.pcn")]
    run: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `inspect`.
pub(super) fn inspect(args: &Args) -> Result<()> {
    if !args.run.exists() {
        fail!("{}: neither the folder of a run nor a model file", args.run.display())
    }
    if !args.run.is_dir() {
        let model = model_file::describe(&args.run)?;
        return if args.json { say_json(&model) } else { say(&describe(&model)) };
    }
    let (inspection, warnings) = Inspection::read(&args.run)?;
    warnings.iter().for_each(|warning| note(warning));
    if args.json { say_json(&inspection) } else { say(&table(&inspection)) }
}

fn table(inspection: &Inspection) -> String {
    let Inspection { epoch, step, parameters, channels, classes, .. } = inspection;
    let mut text = format!("{channels} channels, {classes} classes\n");
    if let Some(DataCard { source, input, dt_ms, classes, .. }) = &inspection.data {
        let input = match input {
            InputKind::Spikes => "spikes".into(),
            InputKind::Counts { largest } => format!("counts of spikes up to {largest}"),
            InputKind::Values => "real values".into(),
        };
        let _ = writeln!(text, "input    {input}, steps of {dt_ms} ms");
        let _ = writeln!(text, "source   {source}");
        let _ = writeln!(text, "classes  {}", classes.join(", "));
    }
    let _ = writeln!(text, "\n{parameters} parameters after epoch {epoch}, step {step}");
    for layer in &inspection.layers {
        let shape: Vec<_> = layer.shape.iter().map(usize::to_string).collect();
        let (name, parameters) = (&layer.name, layer.parameters);
        let dimensions = match layer.connect {
            Connect::Dense => "outputs x inputs",
            Connect::Conv(_) => "output maps x input maps x width",
        };
        let _ = writeln!(
            text,
            "\n{name}  {} ({dimensions} x kernel elements), {parameters} parameters",
            shape.join(" x ")
        );
        let (from, kernel) = (&layer.from, &layer.kernel);
        let (steps, ms) = (layer.max_delay, layer.max_delay_ms);
        let place = &layer.delay_place;
        let place = match layer.delays {
            Delays::Learned | Delays::Zero => place.clone(),
            held => format!("{} {place}", report::name(&held).unwrap_or_default()),
        };
        let _ = match steps {
            0 => writeln!(text, "  from {from}, no delays"),
            _ => writeln!(
                text,
                "  from {from}, kernel {kernel}, {place} delays up to {steps} steps, {ms} ms"
            ),
        };
        if let Some(Neurons { model, surrogate, norm, dropout }) = &layer.neurons {
            let kind = report::name(&model.kind).unwrap_or_default();
            let norm = if *norm { "norm" } else { "no norm" };
            let surrogate = &surrogate.kind;
            let _ = writeln!(
                text,
                "  neurons {kind}, surrogate {surrogate}, {norm}, dropout {dropout}"
            );
        }
        let all = [
            ("weight", Some(&layer.weight)),
            ("delay, steps", Some(&layer.delay)),
            ("bias", layer.bias.as_ref()),
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

/// The contents and costs of a model file as a table.
pub(super) fn describe(description: &Description) -> String {
    let Description { channels, classes, input, tick_us, padding, flash, ram, .. } = description;
    let mut text = format!(
        "{channels} channels, {classes} classes, ticks of {} ms, \
         {padding} silent ticks at the end\n",
        f64::from(*tick_us) / 1000.0
    );
    let input = match *input {
        "spikes" => "spikes: the engine's step takes the channels that spike",
        _ => "numbers of spikes: the engine's step_values takes a number for every channel",
    };
    let _ = writeln!(text, "input {input}");
    let _ = writeln!(text, "flash {flash} bytes, RAM {ram} bytes\n");
    let _ = writeln!(
        text,
        "layer          taps  scheme   synapses   /group    flash  /synapse   \
         RAM: membranes + arriving + history"
    );
    for layer in &description.layers {
        let Layer { inputs, outputs, taps, scheme, synapses, group, .. } = layer;
        let Layer { flash, flash_per_synapse, membranes, arriving, history, .. } = layer;
        let _ = writeln!(
            text,
            "{:<14} {taps:>4}  {scheme:<7} {synapses:>9} {group:>8.1} {flash:>8} \
             {flash_per_synapse:>9.2} {:>12} + {arriving} + {history}",
            format!("{inputs}-{outputs}"),
            membranes
        );
    }
    if !description.work.is_empty() {
        text += "\nper tick, estimated for a Cortex-M4F (examples/firmware/run.sh measures)\n";
    }
    for &Work { activity, events, instructions, .. } in &description.work {
        let share = format!("{:.0} %", 100.0 * activity);
        let _ = writeln!(
            text,
            "  {share:>5} active {events:>9.0} events {:>9.1} k instructions",
            1e-3 * instructions
        );
    }
    text
}
