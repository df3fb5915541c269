//! `polychron compare`.

use super::print::{note, percent, say, say_json};
use crate::compare::{Comparison, Entry};
use crate::error::Result;
use crate::files;
use std::path::PathBuf;

/// Options of `compare`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folders of runs, finished or not, or of `reproduce`
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Draw the validation accuracy of all runs (the training accuracy where there is none)
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `compare`.
pub(super) fn compare(args: &Args) -> Result<()> {
    if let Some(path) = &args.out {
        files::check_suffix(path, "svg", "SVG")?;
    }
    let comparison = Comparison::read(&args.runs)?;
    if let Some(path) = &args.out {
        comparison.draw(path)?;
    }
    comparison.note.iter().for_each(|line| note(line));
    if args.json { say_json(&comparison) } else { say(&table(&comparison)) }
}

/// A row for each run, with columns as wide as their longest cell.
fn table(comparison: &Comparison) -> String {
    let fixed = ["run", "epochs", "test", "validation", "parameters", "time, s"];
    let title = fixed.into_iter().map(String::from).chain(comparison.differing.iter().cloned());
    let mut rows = vec![title.collect::<Vec<_>>()];
    for run in &comparison.runs {
        let Entry { finished, epochs_done, epochs, parameters, seconds, .. } = run;
        let state = if *finished { "" } else { ", unfinished" };
        let mut row = vec![
            run.run.display().to_string(),
            format!("{epochs_done} of {epochs}{state}"),
            percent(run.test_accuracy),
            percent(run.valid_accuracy),
            parameters.to_string(),
            format!("{seconds:.1}"),
        ];
        let value = |key| run.settings.get(key).map_or("-".into(), ToString::to_string);
        row.extend(comparison.differing.iter().map(value));
        rows.push(row);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..rows[0].len()).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    rows.iter().map(line).collect()
}
