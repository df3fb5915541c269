//! The tables of several seeds, with mean, deviation and confidence interval.

use crate::error::{Result, fail};
use crate::files;
use crate::report::{Figures, Report};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use toml::Value;

const CONFIDENCE: f64 = 0.95;
/// Number of seeds from which an interval is given. For two, Student's t has a factor of 12.7.
const MIN_SEEDS: usize = 3;

/// The results of a reproduction: a table for each setting, at least one.
#[derive(Debug)]
pub struct Results(pub(super) Vec<Table>);

/// The results of one setting.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    preset: String,
    /// The values of the swept fields.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    setting: BTreeMap<String, Value>,
    /// Other fields that differ from the preset.
    set: Vec<String>,
    /// The protocol in words.
    protocol: String,
    /// Distinct versions of the program that finished the runs.
    versions: Vec<String>,
    /// Number of trained parameters.
    parameters: usize,
    /// Number of seeds requested.
    asked: u64,
    /// The finished seeds.
    seeds: Vec<Seed>,
    #[serde(flatten)]
    summary: Summary,
    /// Wall-clock seconds of all epochs of all runs.
    seconds: f64,
}

/// The result of a seed.
#[derive(Debug, Serialize)]
struct Seed {
    seed: u64,
    /// Accuracy on the test items of all its runs.
    test_accuracy: f64,
    runs: Vec<Row>,
}

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// The speaker left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<u16>,
    #[serde(skip)]
    test_accuracy: f64,
    #[serde(skip)]
    version: String,
    #[serde(flatten)]
    figures: Figures,
}

/// Mean of the seeds and its uncertainty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Summary {
    mean: f64,
    /// The sample standard deviation, for two seeds or more.
    deviation: Option<f64>,
    /// The 95 % confidence interval of the mean by Student's t, limited to [0, 1]; for three seeds
    /// or more.
    interval: Option<[f64; 2]>,
}

impl Row {
    /// The row of a report in `folder`.
    pub(super) fn new(speaker: Option<u16>, report: Report, folder: &Path) -> Result<Self> {
        let version = report.version;
        match report.figures {
            Some(figures) => match figures.test_accuracy {
                Some(test_accuracy) => Ok(Self { speaker, test_accuracy, version, figures }),
                None => fail!("{}: report.json has no test_accuracy", folder.display()),
            },
            None => fail!("{}: report.json has no figures", folder.display()),
        }
    }
}

impl Summary {
    fn new(values: &[f64]) -> Result<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n.max(1.0);
        if values.len() < 2 {
            return Ok(Self { mean, deviation: None, interval: None });
        }
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (n - 1.0)).sqrt();
        if values.len() < MIN_SEEDS {
            return Ok(Self { mean, deviation: Some(deviation), interval: None });
        }
        let t = StudentsT::new(0.0, 1.0, n - 1.0)?.inverse_cdf(0.5 + 0.5 * CONFIDENCE);
        let half = t * deviation / n.sqrt();
        let interval = Some([mean - half, mean + half].map(|end| end.clamp(0.0, 1.0)));
        Ok(Self { mean, deviation: Some(deviation), interval })
    }

    /// Mean and deviation in percent.
    fn text(&self) -> String {
        let spread = self.deviation.map(percent);
        percent(self.mean) + &spread.map_or(String::new(), |deviation| format!(" ± {deviation}"))
    }
}

impl Results {
    /// Writes `table.json` and `table.md`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        files::replace(&folder.join("table.json"), self.json()?.as_bytes())?;
        files::replace(&folder.join("table.md"), self.markdown()?.as_bytes())
    }

    /// The results as one line of JSON: a table, or an object with the tables of a sweep as
    /// `settings`.
    ///
    /// # Errors
    /// None in practice.
    pub fn json(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Sweep<'a> {
            settings: &'a [Table],
        }
        Ok(match &self.0[..] {
            [only] if only.setting.is_empty() => serde_json::to_string(only)?,
            settings => serde_json::to_string(&Sweep { settings })?,
        } + "\n")
    }

    /// The results in Markdown: the table of one setting, or that of a sweep with a row for each
    /// setting.
    ///
    /// # Errors
    /// None in practice.
    pub fn markdown(&self) -> Result<String> {
        let Some(first) = self.0.first() else { return Ok(String::new()) };
        if first.setting.is_empty() {
            return Ok(first.markdown());
        }
        let keys: Vec<_> = first.setting.keys().map(String::as_str).collect();
        let (preset, asked, keys) = (&first.preset, first.asked, keys.join(" | "));
        let mut text = format!("# {preset}, sweep of {}\n\n", keys.replace(" | ", ", "));
        let _ =
            writeln!(text, "| {keys} | test, % | validation, % | seeds | parameters | time, s |");
        let _ = writeln!(text, "|{}", "---|".repeat(first.setting.len() + 5));
        for table in &self.0 {
            let Table { setting, seeds, parameters, seconds, .. } = table;
            let values: Vec<_> = setting.values().map(ToString::to_string).collect();
            let values = values.join(" | ");
            if seeds.is_empty() {
                let _ = writeln!(text, "| {values} | - | - | 0 of {asked} | - | - |");
                continue;
            }
            let valid = table.valid()?.map_or("-".into(), |valid| valid.text());
            let (test, done) = (table.summary.text(), seeds.len() as u64);
            let of = if done < asked { format!(" of {asked}") } else { String::new() };
            let _ = writeln!(
                text,
                "| {values} | {test} | {valid} | {done}{of} | {parameters} | {seconds:.1} |"
            );
        }
        let spread = "* ±: standard deviation, of the seeds for test, of all runs for validation";
        let of = |list: &dyn Fn(&Table) -> Vec<String>| {
            let mut all: Vec<_> = self.0.iter().flat_map(list).filter(|s| !s.is_empty()).collect();
            all.sort();
            all.dedup();
            all.join(", ")
        };
        let protocols = of(&|table| vec![table.protocol.clone()]);
        let versions = of(&|table| table.versions.clone());
        let _ = writeln!(text, "\n{spread}\n* protocol: {protocols}\n{}", first.settings());
        let _ = writeln!(text, "* program: polychron {versions}");
        Ok(text)
    }
}

impl Table {
    pub(super) fn new(
        preset: &str,
        set: Vec<String>,
        setting: BTreeMap<String, Value>,
        asked: u64,
    ) -> Self {
        Self {
            preset: preset.into(),
            setting,
            set,
            protocol: String::new(),
            versions: Vec::new(),
            parameters: 0,
            asked,
            seeds: Vec::new(),
            summary: Summary::default(),
            seconds: 0.0,
        }
    }

    /// Adds a seed with its runs.
    pub(super) fn push(&mut self, seed: u64, runs: Vec<Row>) {
        let items = |run: &Row| run.figures.test_items as f64;
        let correct: f64 = runs.iter().map(|run| (run.test_accuracy * items(run)).round()).sum();
        let test_accuracy = correct / runs.iter().map(items).sum::<f64>();
        self.seeds.push(Seed { seed, test_accuracy, runs });
    }

    /// Computes the summary of the seeds.
    pub(super) fn summarize(mut self) -> Result<Self> {
        let accuracies: Vec<_> = self.seeds.iter().map(|seed| seed.test_accuracy).collect();
        self.summary = Summary::new(&accuracies)?;
        let runs = || self.seeds.iter().flat_map(|seed| &seed.runs);
        let mut versions: Vec<_> = runs().map(|run| run.version.clone()).collect();
        versions.sort();
        versions.dedup();
        self.seconds = runs().map(|run| run.figures.seconds).sum();
        if let Some(first) = runs().next() {
            self.parameters = first.figures.parameters;
            self.protocol = first.figures.protocol_name().into();
            if first.speaker.is_some() {
                let speakers = self.seeds[0].runs.len();
                self.protocol += &format!(
                    "; leave-speaker-out: {speakers} runs per seed, \
                     each tested on the speaker left out"
                );
            }
        }
        self.versions = versions;
        Ok(self)
    }

    /// The table in Markdown.
    fn markdown(&self) -> String {
        let mut text = String::new();
        let (finished, asked) = (self.seeds.len() as u64, self.asked);
        let of = if finished < asked { format!(" of {asked}") } else { String::new() };
        let seeds = if finished == 1 && of.is_empty() { "seed" } else { "seeds" };
        let _ = writeln!(text, "# {}, {finished}{of} {seeds}\n", self.preset);
        let _ = writeln!(text, "| seed | test, % | validation, % | epoch | test items | time, s |");
        let _ = writeln!(text, "|---|---|---|---|---|---|");
        for Seed { seed, test_accuracy, runs } in &self.seeds {
            for run in runs {
                let name = match run.speaker {
                    Some(speaker) => format!("{seed}, without speaker {speaker}"),
                    None => seed.to_string(),
                };
                let Figures { chosen_epoch, epochs, test_items, seconds, .. } = run.figures;
                let (test, valid) = (percent(run.test_accuracy), run.figures.valid_accuracy);
                let valid = valid.map_or("-".into(), percent);
                let _ = writeln!(
                    text,
                    "| {name} | {test} | {valid} | {chosen_epoch} of {epochs} | {test_items} \
                     | {seconds:.1} |"
                );
            }
            if runs.iter().any(|run| run.speaker.is_some()) {
                let items: usize = runs.iter().map(|run| run.figures.test_items).sum();
                let seconds: f64 = runs.iter().map(|run| run.figures.seconds).sum();
                let test = percent(*test_accuracy);
                let _ = writeln!(text, "| **{seed}** | {test} | | | {items} | {seconds:.1} |");
            }
        }
        let _ = writeln!(
            text,
            "| **mean** | **{}** | | | | {:.1} |\n",
            self.summary.text(),
            self.seconds
        );
        text + &self.notes()
    }

    /// Mean and deviation over all runs of the accuracy on the validation items, if they have one.
    fn valid(&self) -> Result<Option<Summary>> {
        let runs = self.seeds.iter().flat_map(|seed| &seed.runs);
        let all: Vec<_> = runs.filter_map(|run| run.figures.valid_accuracy).collect();
        (!all.is_empty()).then(|| Summary::new(&all)).transpose()
    }

    fn settings(&self) -> String {
        let set = if self.set.is_empty() {
            "unchanged".into()
        } else {
            format!("with {}", self.set.join(", "))
        };
        format!("* settings: preset {}, {set}", self.preset)
    }

    fn notes(&self) -> String {
        let mut text = String::new();
        if self.summary.deviation.is_some() {
            let interval = match self.summary.interval.map(|ends| ends.map(percent)) {
                Some([low, high]) => format!(
                    "95 % confidence interval of the mean: {low} to {high} \
                     (Student's t, limited to 0 to 100)"
                ),
                None => format!("no confidence interval for fewer than {MIN_SEEDS} seeds"),
            };
            let _ = writeln!(text, "* ±: standard deviation of the seeds; {interval}");
        }
        let _ = writeln!(text, "* protocol: {}", self.protocol);
        let _ = writeln!(text, "{}", self.settings());
        let _ = writeln!(text, "* parameters: {}", self.parameters);
        let _ = writeln!(text, "* program: polychron {}", self.versions.join(", "));
        text
    }
}

/// A share in percent with two decimals.
fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_follow_students_t() {
        // 2.5 % quantiles: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
        for (pairs, t) in [(1, 4.303), (2, 2.776), (15, 2.042), (50, 1.984)] {
            // As many of 0.4 as of 0.6, and one of 0.5: mean 0.5, deviation 0.1.
            let values = [[0.4, 0.6].repeat(pairs), vec![0.5]].concat();
            let Summary { mean, deviation, interval } = Summary::new(&values).unwrap();
            assert!((mean - 0.5).abs() < 1e-12);
            assert!((deviation.unwrap() - 0.1).abs() < 1e-12);
            let [low, high] = interval.unwrap();
            let half = t * 0.1 / ((2 * pairs + 1) as f64).sqrt();
            assert!((high - 0.5 - half).abs() < 3e-4 * half, "{values:?}: {high}");
            assert!((high + low - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn one_seed_has_no_deviation() {
        let one = Summary { mean: 0.9, deviation: None, interval: None };
        assert_eq!(Summary::new(&[0.9]).unwrap(), one);
    }

    #[test]
    fn intervals_need_three_seeds_and_stay_between_0_and_100_percent() {
        let mut table = Table::new("order", Vec::new(), BTreeMap::new(), 2);
        table.summary = Summary::new(&[0.5, 0.9]).unwrap();
        assert!(table.summary.deviation.is_some() && table.summary.interval.is_none());
        let notes = table.notes();
        assert!(notes.contains("no confidence interval for fewer than 3 seeds"), "{notes}");
        table.summary = Summary::new(&[0.0, 0.5, 1.0]).unwrap();
        assert_eq!(table.summary.interval, Some([0.0, 1.0]));
        let notes = table.notes();
        assert!(notes.contains("0.00 to 100.00 (Student's t, limited to 0 to 100)"), "{notes}");
    }
}
