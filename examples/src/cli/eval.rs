//! `polychron eval`.

use super::print::{note, note_rounding, percent, say, say_json};
use super::train::{DataFolder, load};
use crate::config::Backend;
use crate::error::{Error, Result, at, fail};
use crate::eval::{ClassFigures, Confusion, Evaluation, SpeakerFigures};
use crate::model::Model;
use crate::task::Task;
use crate::{files, plot};
use polychron_core::loss::Loss;
use polychron_datasets::Part;
use polychron_datasets::encode::Encoder;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Most classes of a confusion matrix that is printed.
const PRINTED: usize = 20;

/// Options of `eval`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a run; if it is unfinished, its best epoch so far is used
    run: PathBuf,
    #[command(flatten)]
    data: DataFolder,
    /// Items to evaluate: test, valid or train
    #[arg(
        long,
        value_name = "PART",
        value_parser = part,
        default_value = "test",
        conflicts_with = "file"
    )]
    split: Part,
    /// Evaluate all items of a file of spikes that was not there when the model was trained
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
    /// Evaluate the sound files in the folders of a folder, which are classes
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "file", "split"])]
    wav: Option<PathBuf>,
    /// Encoder of sound, such as "delta" or "cochlea seed 0" [default: that of the training data]
    #[arg(long, requires = "wav", conflicts_with = "file")]
    encoder: Option<Encoder>,
    /// Evaluate the items one by one on one CPU thread, as in a live system
    #[arg(long, conflicts_with = "backend")]
    stream: bool,
    /// Backend to evaluate on [default: the one that trained]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// New folder for evaluation.json, confusion.svg and predictions.csv
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn part(name: &str) -> Result<Part> {
    Part::of(name).ok_or_else(|| Error::new("name test, valid or train"))
}

/// Runs `eval`.
pub(super) fn eval(args: &Args) -> Result<()> {
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        fail!("{}: exists; name another folder", out.display())
    }
    let backend = if args.stream { Some(Backend::Cpu) } else { args.backend };
    let model = Model::load_on(&args.run, backend)?;
    model.warnings.iter().for_each(|warning| note(warning));
    let task = match (&args.file, &args.wav) {
        (Some(file), _) => model.task_of_file(file)?,
        (_, Some(folder)) => model.task_of_sound(folder, args.encoder)?,
        _ => {
            let task = load(&model.config, &args.data)?;
            model.changed(&task).iter().for_each(|warning| note(warning));
            task
        }
    };
    if args.wav.is_some() || args.file.is_some() {
        task.warnings.iter().for_each(|warning| note(warning));
    }
    let evaluation = if args.stream {
        model.evaluate_one_by_one(&task, args.split)?
    } else {
        model.evaluate(&task, args.split)?
    };
    let rounding = model.config.train.rounding;
    note_rounding(rounding, rounding, evaluation.accuracy_as_trained, evaluation.accuracy);
    if let Some((items, accuracy)) = model.decided_by_padding(&task, &evaluation.predictions)? {
        let (of, accuracy) = (evaluation.items, percent(accuracy));
        note(&format!(
            "data.mask = false: the length of the batch decides {items} of {of} items; alone, \
             {accuracy} are classified correctly"
        ));
    }
    if let Some(out) = &args.out {
        let json = serde_json::to_string_pretty(&args.about(&evaluation)?)? + "\n";
        write(out, &json, &task, &evaluation, model.loss()?)?;
    }
    if args.json { say_json(&args.about(&evaluation)?) } else { say(&table(&evaluation)) }
}

impl Args {
    /// An evaluation with the run and the new recordings that it is of.
    fn about(&self, evaluation: &Evaluation) -> Result<Value> {
        let mut json = serde_json::to_value(evaluation)?;
        let new = self.file.as_ref().or(self.wav.as_ref());
        if let Some(object) = json.as_object_mut() {
            let text = |path: &PathBuf| Value::from(path.display().to_string());
            object.insert("run".into(), text(&self.run));
            if let Some(new) = new {
                object.insert("file".into(), text(new));
                object.retain(|key, _| key != "split");
            }
        }
        Ok(json)
    }
}

/// Writes the files of an evaluation to a new folder.
fn write(
    folder: &Path,
    json: &str,
    task: &Task,
    evaluation: &Evaluation,
    loss: Loss,
) -> Result<()> {
    std::fs::create_dir(folder).map_err(at(folder.display()))?;
    files::replace(&folder.join("evaluation.json"), json.as_bytes())?;
    let names: Vec<_> = evaluation.classes.iter().map(|class| class.class.clone()).collect();
    plot::draw_confusion(&folder.join("confusion.svg"), &names, &evaluation.confusion)?;
    let (data, predictions) = (&task.data, &evaluation.predictions);
    let mut rows = csv::Writer::from_writer(Vec::new());
    let path = folder.join("predictions.csv");
    rows.write_record(["item", "name", "speaker", "class", "predicted", "share"])
        .map_err(Error::wrap)?;
    for (position, (&i, &class)) in predictions.items.iter().zip(&predictions.classes).enumerate() {
        let sample = &data.samples[i];
        let share = predictions.shares(position, loss).get(class).copied().unwrap_or_default();
        let (own, predicted) = (&data.class_names[usize::from(sample.label)], class);
        let (name, speaker) = (data.item_name(i), data.speaker_name(sample.speaker));
        let (item, share) = (i.to_string(), format!("{share:.4}"));
        let row = [&item, &name, &speaker, own, &data.class_names[predicted], &share];
        rows.write_record(row).map_err(Error::wrap)?;
    }
    let rows = rows.into_inner().map_err(|error| Error::wrap(error.into_error()))?;
    files::replace(&path, &rows)
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
    for SpeakerFigures { speaker, items, accuracy } in &evaluation.speakers {
        let accuracy = percent(*accuracy);
        let _ = writeln!(text, "  speaker {speaker:<5} {accuracy} of {items} items");
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
    if evaluation.classes.len() <= PRINTED {
        text += &confusion_table(evaluation);
    }
    text
}

/// The confusion matrix: a row per class, a column per decision.
fn confusion_table(evaluation: &Evaluation) -> String {
    let short = |class: &ClassFigures, most| class.class.chars().take(most).collect::<String>();
    let classes = &evaluation.classes;
    let mut text = format!("\n{:<12}", "class");
    for class in classes {
        let _ = write!(text, " {:>6}", short(class, 6));
    }
    text += "  <- decision\n";
    for (class, counts) in classes.iter().zip(&evaluation.confusion) {
        let _ = write!(text, "{:<12}", short(class, 12));
        for count in counts {
            let _ = write!(text, " {count:>6}");
        }
        text.push('\n');
    }
    text
}
