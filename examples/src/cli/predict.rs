//! `polychron predict`.

use super::print::{note, say};
use crate::config::Backend;
use crate::error::{Error, Result, fail};
use crate::model::Model;
use crate::task::{Predictions, Task};
use polychron_core::loss::Loss;
use polychron_datasets::encode::Encoder;
use polychron_datasets::sound;
use std::path::{Path, PathBuf};

/// Options of `predict`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Folder of a run
    run: PathBuf,
    /// Sound files, files of spikes with or without labels, or folders of sound files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Form of the decisions
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Encoder of sound, such as "delta" or "cochlea seed 0" [default: that of the training data]
    #[arg(long)]
    encoder: Option<Encoder>,
    /// Fail at the first file that cannot be used, instead of leaving it out
    #[arg(long)]
    strict: bool,
    /// Backend to run on [default: the one that trained]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
}

/// Form of the decisions.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Name, class and share of the two best classes: with the default loss, the mean over the
    /// steps of the readout's softmax
    Text,
    /// Name, class, share, and the share of every class
    Csv,
    /// One object a line
    Json,
}

/// Runs `predict`.
pub(super) fn predict(args: &Args) -> Result<()> {
    let model = Model::load_on(&args.run, args.backend)?;
    model.warnings.iter().for_each(|warning| note(warning));
    let loss = model.loss()?;
    let (mut files, mut decided) = (Vec::new(), 0);
    for path in &args.files {
        if path.is_dir() {
            files.extend(sound::files(path)?);
        } else {
            files.push(path.clone());
        }
    }
    let strict = args.strict || files.len() == 1;
    for file in &files {
        let task = match model.task_to_predict(file, args.encoder) {
            Ok(task) => task,
            Err(error) if strict => return Err(error),
            Err(error) => {
                note(&format!("left out: {error}"));
                continue;
            }
        };
        task.warnings.iter().for_each(|warning| note(warning));
        let predictions = model.predict(&task, &task.split.test)?;
        say(&text(args.format, file, &task, &predictions, loss, decided == 0)?)?;
        decided += predictions.items.len();
    }
    if decided == 0 {
        let (first, files) = (args.files[0].display(), files.len());
        fail!("{first}: none of {files} files can be used; folders are searched for sound files")
    }
    Ok(())
}

/// The decisions on the items of a file. `begins` is true for the first of all.
fn text(
    form: Form,
    file: &Path,
    task: &Task,
    predictions: &Predictions,
    loss: Loss,
    begins: bool,
) -> Result<String> {
    let (data, single) = (&task.data, predictions.items.len() == 1);
    let mut rows = csv::Writer::from_writer(Vec::new());
    if form == Form::Csv && begins {
        let columns = ["name", "class", "share"].into_iter();
        let columns = columns.chain(data.class_names.iter().map(String::as_str));
        rows.write_record(columns).map_err(Error::wrap)?;
    }
    let mut text = String::new();
    for (position, (&item, &class)) in
        predictions.items.iter().zip(&predictions.classes).enumerate()
    {
        let shares = predictions.shares(position, loss);
        let name = match data.about.names.get(item) {
            Some(name) if !name.is_empty() => name.clone(),
            _ if single => file.display().to_string(),
            _ => format!("{}[{item}]", file.display()),
        };
        let (word, share) = (&data.class_names[class], shares[class]);
        match form {
            Form::Text => {
                let others = (0..shares.len()).filter(|&other| other != class);
                let second = others.max_by(|&a, &b| shares[a].total_cmp(&shares[b]));
                text += &format!("{name}  {word}  {:.1} %", 100.0 * share);
                if let Some(second) = second {
                    let (word, share) = (&data.class_names[second], 100.0 * shares[second]);
                    text += &format!("  ({word} {share:.1} %)");
                }
                text.push('\n');
            }
            Form::Csv => {
                let shares = shares.iter().map(|share| format!("{share:.4}"));
                let row = [name, word.clone(), format!("{share:.4}")].into_iter().chain(shares);
                rows.write_record(row).map_err(Error::wrap)?;
            }
            Form::Json => {
                let shares: serde_json::Map<_, _> = data
                    .class_names
                    .iter()
                    .cloned()
                    .zip(shares.iter().map(|&s| s.into()))
                    .collect();
                let object = serde_json::json!({
                    "name": name, "class": word, "share": share, "shares": shares,
                });
                text += &format!("{object}\n");
            }
        }
    }
    if form == Form::Csv {
        let rows = rows.into_inner().map_err(|error| Error::wrap(error.into_error()))?;
        text = String::from_utf8(rows).map_err(Error::wrap)?;
    }
    Ok(text)
}
