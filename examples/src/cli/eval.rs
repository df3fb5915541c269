//! `polychron eval`.

use super::print::{note, note_rounding, percent, say, say_json};
use super::train::{DataFolder, load};
use crate::config::Backend;
use crate::error::Result;
use crate::eval::{ClassFigures, Confusion, Evaluation};
use crate::model::Model;
use crate::task::Part;
use std::fmt::Write as _;
use std::path::PathBuf;

/// Options of `eval`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a run; if it is unfinished, its best epoch so far is used
    run: PathBuf,
    #[command(flatten)]
    data: DataFolder,
    /// Items to evaluate
    #[arg(long, value_enum, default_value = "test")]
    split: Part,
    /// Evaluate the items one by one on one CPU thread, as in a live system
    #[arg(long, conflicts_with = "backend")]
    stream: bool,
    /// Backend to evaluate on [default: the one that trained]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs `eval`.
pub(super) fn eval(args: &Args) -> Result<()> {
    let backend = if args.stream { Some(Backend::Cpu) } else { args.backend };
    let model = Model::load_on(&args.run, backend)?;
    model.warnings.iter().for_each(|warning| note(warning));
    let task = load(&model.config, &args.data)?;
    let evaluation = if args.stream {
        model.evaluate_one_by_one(&task, args.split)?
    } else {
        model.evaluate(&task, args.split)?
    };
    let rounding = model.config.train.rounding;
    note_rounding(rounding, rounding, evaluation.accuracy_as_trained, evaluation.accuracy);
    if args.json { say_json(&evaluation) } else { say(&table(&evaluation)) }
}

fn table(evaluation: &Evaluation) -> String {
    let mut text =
        format!("accuracy        {} of {} items\n", percent(evaluation.accuracy), evaluation.items);
    let _ = writeln!(text, "  as trained    {}", percent(evaluation.accuracy_as_trained));
    if let Some(class) = &evaluation.most_frequent_class {
        let balanced = percent(evaluation.balanced_accuracy);
        let _ = writeln!(text, "  mean recall   {balanced} over the classes");
        let share = percent(evaluation.most_frequent_accuracy);
        let _ = writeln!(text, "  always {class}: {share}");
    }
    for (name, accuracy) in
        [("seen", evaluation.seen_accuracy), ("unseen", evaluation.unseen_accuracy)]
    {
        if accuracy.is_some() {
            let _ = writeln!(text, "speakers {name:<6} {}", percent(accuracy));
        }
    }
    for (speaker, accuracy) in &evaluation.speakers {
        let _ = writeln!(text, "  speaker {speaker:<5} {}", percent(*accuracy));
    }
    for (n, rate) in evaluation.rates.iter().enumerate() {
        let _ = writeln!(text, "hidden layer {}  {rate:.3} spikes per neuron and step", n + 1);
    }
    if let Some(ms) = evaluation.ms_per_item {
        let _ = writeln!(text, "time            {ms:.3} ms per item");
    }
    for Confusion { class, taken_for, items, of } in &evaluation.confusions {
        let _ = writeln!(text, "{class} classified as {taken_for}: {items} of {of}");
    }
    for ClassFigures { class, items, recall, precision, .. } in &evaluation.classes {
        let (recall, precision) = (percent(*recall), percent(*precision));
        let _ = writeln!(text, "{class}: {items} items, recall {recall}, precision {precision}");
    }
    text
}
