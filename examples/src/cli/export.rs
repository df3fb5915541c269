//! `polychron export`.

use super::inspect::describe;
use super::print::{note, percent, say, say_json};
use super::train::load;
use crate::config::Backend;
use crate::error::{Result, fail};
use crate::export::{ExportOptions, Saving, Summary, Weights};
use crate::files;
use crate::model::Model;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Options of `export`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a finished run
    run: PathBuf,
    /// The model file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Type of the weights
    #[arg(long, value_enum, default_value = "i8")]
    weights: Weights,
    /// Resource to save: instructions (fast) or memory (small)
    #[arg(long, value_enum, default_value = "fast")]
    scheme: Saving,
    /// Also write test items with the results of the integer engine, to replay on a device
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Number of items in the recording
    #[arg(long, default_value_t = 40)]
    recorded: usize,
    /// Overwrite files
    #[arg(long)]
    force: bool,
    /// Folder of the data files
    #[arg(long, value_name = "DIR", env = "POLYCHRON_DATA")]
    data: Option<PathBuf>,
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
    let written = [Some(&args.output), args.recording.as_ref()];
    let mut existing = written.into_iter().flatten().filter(|path| path.exists());
    if let Some(path) = existing.find(|_| !args.force) {
        return exists(path);
    }
    if args.recording.as_ref() == Some(&args.output) {
        fail!("--recording: {} is the model's own file", args.output.display())
    }
    let model = Model::load_on(&args.run, Some(Backend::Cpu))?;
    model.warnings.iter().for_each(|warning| note(warning));
    let task = load(&model.config, args.data.as_deref())?;
    let export = model.export(
        &task,
        &ExportOptions {
            weights: args.weights,
            scheme: args.scheme,
            recorded: args.recording.is_some().then_some(args.recorded),
        },
    )?;
    args.write(&args.output, &export.file)?;
    if let (Some(path), Some(bytes)) = (&args.recording, &export.recording) {
        args.write(path, bytes)?;
    }
    let (file, summary) = (args.output.display().to_string(), &export.summary);
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
    let mut text = format!("{}\n\naccuracy on {} held-out items\n", file, summary.items);
    let engine = match summary.weights {
        Weights::I8 => "weights of 8 bits",
        Weights::F32 => "single precision",
    };
    for (what, accuracy) in [
        ("as trained", summary.float_accuracy),
        ("delays rounded", summary.rounded_accuracy),
        (engine, summary.engine_accuracy),
    ] {
        let _ = writeln!(text, "  {what:<18} {}", percent(accuracy));
    }
    let _ = writeln!(text, "  decisions as rounded  {}\n", percent(summary.agreement));
    for (l, why) in summary.schemes.iter().enumerate() {
        let _ = writeln!(text, "layer {} by {why}", l + 1);
    }
    text.push('\n');
    text + &describe(&summary.model)
}
