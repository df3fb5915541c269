//! `polychron export`.

use super::inspect::describe;
use super::print::{note, note_rounding, percent, say, say_json};
use super::train::{DataFolder, load};
use crate::config::{Backend, Rounding};
use crate::error::{Result, fail};
use crate::export::{Delivery, ExportOptions, Summary, Weights};
use crate::files;
use crate::model::Model;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Options of `export`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a run; if it is unfinished, its best epoch so far is used
    run: PathBuf,
    /// Model file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Arithmetic of the model file
    #[arg(long, value_enum, default_value = "i8")]
    weights: Weights,
    /// Resource to save: instructions (fast) or memory (small)
    #[arg(long, value_enum, default_value = "fast")]
    scheme: Delivery,
    /// How delays become whole steps [default: as in training]
    #[arg(long, value_enum)]
    rounding: Option<Rounding>,
    /// Also record test items with the integer engine's results, to replay on a device
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Number of test items to record
    #[arg(long, default_value_t = 40)]
    recorded: usize,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    data: DataFolder,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Output<'a> {
    file: String,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// Runs `export`.
pub(super) fn export(args: &Args) -> Result<()> {
    files::check_suffix(&args.output, "pcn", "a PCN model file")?;
    let written = [Some(&args.output), args.recording.as_ref()];
    let mut existing = written.into_iter().flatten().filter(|path| path.exists());
    if let Some(path) = existing.find(|_| !args.force) {
        return exists(path);
    }
    if args.recording.as_ref() == Some(&args.output) {
        fail!("--recording {}: is also the --output file; name another", args.output.display())
    }
    if args.recording.is_some() && args.weights != Weights::I8 {
        fail!("--recording: the integer engine makes recordings; use --weights i8")
    }
    let model = Model::load_on(&args.run, Some(Backend::Cpu))?;
    model.warnings.iter().for_each(|warning| note(warning));
    let task = load(&model.config, &args.data);
    let task = task.and_then(|task| model.check(&task).map(|()| task));
    let (task, missing) = match task {
        Ok(task) => (Some(task), None),
        Err(failure) if args.recording.is_some() => return Err(failure.at("--recording")),
        Err(failure) if model.card().is_none() || args.data.is_given() => return Err(failure),
        Err(failure) => (None, Some(failure)),
    };
    let changed = task.as_ref().and_then(|task| model.changed(task));
    changed.iter().for_each(|warning| note(warning));
    let export = model.export(
        task.as_ref(),
        &ExportOptions {
            weights: args.weights,
            scheme: args.scheme,
            rounding: args.rounding,
            recorded: args.recording.is_some().then_some(args.recorded),
        },
    )?;
    args.write(&args.output, &export.file)?;
    if let (Some(path), Some(bytes)) = (&args.recording, &export.recording) {
        args.write(path, bytes)?;
    }
    if let Some(failure) = missing {
        note(&format!("not evaluated: {failure}"));
    }
    let (file, summary) = (args.output.display().to_string(), &export.summary);
    let trained = model.config.train.rounding;
    let used = args.rounding.unwrap_or(trained);
    note_rounding(trained, used, summary.float_accuracy, summary.rounded_accuracy);
    if args.json { say_json(&Output { file, summary }) } else { say(&table(&file, summary)) }
}

impl Args {
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if self.force {
            return files::replace(path, bytes);
        }
        if files::create(path, bytes)? { Ok(()) } else { exists(path) }
    }
}

fn exists(path: &Path) -> Result<()> {
    fail!("{}: exists; --force overwrites it", path.display())
}

fn table(file: &str, summary: &Summary) -> String {
    let mut text = format!("{file}\n\n");
    if summary.items > 0 {
        text += &accuracies(summary);
    }
    for (l, scheme) in summary.schemes.iter().enumerate() {
        let _ = writeln!(text, "layer {}  {scheme}", l + 1);
    }
    text.push('\n');
    text + &describe(&summary.model)
}

fn accuracies(summary: &Summary) -> String {
    let mut text = format!("accuracy on {} test items\n", summary.items);
    let engine = match summary.weights {
        Weights::I8 => "8-bit weights",
        Weights::F32 => "single precision",
    };
    for (what, accuracy) in [
        ("delays as trained", summary.float_accuracy),
        ("delays rounded", summary.rounded_accuracy),
        (engine, summary.engine_accuracy),
    ] {
        let _ = writeln!(text, "  {what:<18} {}", percent(accuracy));
    }
    let _ = writeln!(
        text,
        "  {:<18} {} (engine and rounded delays)\n",
        "same decisions",
        percent(summary.agreement)
    );
    text
}
