//! `polychron data stats`: statistics of a data set.

use super::Source;
use crate::cli::print::{note, say};
use crate::error::Result;
use crate::report::median;
use polychron_datasets::{Dataset, SpikeTrain};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Most intervals in which the density over time is counted.
const INTERVALS: usize = 20;
/// Width of the longest bar in characters.
const BAR: f64 = 40.0;

/// Options of `data stats`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    source: Source,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Summary {
    name: String,
    samples: usize,
    channels: usize,
    dt_ms: u32,
    /// Shortest, mean and longest sample in steps.
    steps: [f64; 3],
    /// Shortest, median and longest sample in ms.
    durations_ms: [f64; 3],
    /// Mean spikes per sample.
    spikes: f64,
    /// Share of all pairs of channel and step that have a spike.
    density: f64,
    /// The end of each interval of time in ms, and the share in it among samples that have not
    /// ended.
    density_over_time: Vec<(f64, f64)>,
    /// Name, number of samples and mean spikes per sample of every class.
    classes: Vec<(String, usize, f64)>,
    /// Name or number, number of samples and mean spikes per sample of every speaker.
    speakers: Vec<(String, usize, f64)>,
    /// What is unusual.
    notes: Vec<String>,
}

/// Runs `data stats`.
pub(in crate::cli) fn stats(args: &Args) -> Result<()> {
    let (data, notes) = args.source.open()?;
    notes.iter().for_each(|text| note(text));
    let summary = summary(&data, notes);
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&summary)?));
    }
    say(&summary.table())
}

/// Number of samples and their spikes.
#[derive(Clone, Copy, Default)]
struct Count {
    samples: usize,
    spikes: f64,
}

impl Count {
    fn add(&mut self, sample: &SpikeTrain) {
        self.samples += 1;
        self.spikes += sample.entries.iter().map(|e| f64::from(e.count)).sum::<f64>();
    }

    fn mean(&self) -> f64 {
        self.spikes / self.samples.max(1) as f64
    }
}

fn summary(data: &Dataset, notes: Vec<String>) -> Summary {
    let samples = &data.samples;
    let (mut all, mut classes) = (Count::default(), vec![Count::default(); data.classes]);
    let mut speakers = BTreeMap::<u16, Count>::new();
    for sample in samples {
        all.add(sample);
        classes[usize::from(sample.label)].add(sample);
        speakers.entry(sample.speaker).or_default().add(sample);
    }
    let steps: usize = samples.iter().map(|s| s.steps).sum();
    let entries: usize = samples.iter().map(|s| s.entries.len()).sum();
    let lengths = || samples.iter().map(|s| s.steps as f64);
    let shortest = lengths().fold(f64::INFINITY, f64::min);
    let longest = lengths().fold(0.0, f64::max);
    let dt_ms = f64::from(data.dt_ms);
    let classes = data.class_names.iter().zip(classes);
    Summary {
        name: data.name.clone(),
        samples: samples.len(),
        channels: data.channels,
        dt_ms: data.dt_ms,
        steps: [shortest, steps as f64 / samples.len() as f64, longest],
        durations_ms: [shortest, median(lengths()), longest].map(|steps| steps * dt_ms),
        spikes: all.mean(),
        density: entries as f64 / (steps as f64 * data.channels as f64),
        density_over_time: density_over_time(data, longest as usize),
        classes: classes.map(|(word, c)| (word.clone(), c.samples, c.mean())).collect(),
        speakers: speakers
            .into_iter()
            .map(|(s, c)| (data.speaker_name(s), c.samples, c.mean()))
            .collect(),
        notes,
    }
}

fn density_over_time(data: &Dataset, longest: usize) -> Vec<(f64, f64)> {
    let interval = longest.div_ceil(INTERVALS).max(1);
    let mut counts = vec![(0usize, 0usize); longest.div_ceil(interval)];
    for sample in &data.samples {
        for (n, (_, steps)) in counts.iter_mut().enumerate() {
            *steps += sample.steps.saturating_sub(n * interval).min(interval);
        }
        sample.entries.iter().for_each(|e| counts[e.step as usize / interval].0 += 1);
    }
    let ends = (1..).map(|n| ((n * interval).min(longest) as f64) * f64::from(data.dt_ms));
    let share = |(entries, steps)| entries as f64 / (steps as f64 * data.channels as f64);
    ends.zip(counts.into_iter().map(share)).collect()
}

impl Summary {
    fn table(&self) -> String {
        let Self { name, samples, channels, dt_ms, steps: [shortest, mean, longest], .. } = self;
        let mut text =
            format!("{name}: {samples} samples, {channels} channels, steps of {dt_ms} ms\n");
        let _ = writeln!(text, "steps     {shortest} to {longest}, mean {mean:.1}");
        let [shortest, median, longest] = self.durations_ms;
        let _ = writeln!(text, "duration  {shortest} to {longest} ms, median {median}");
        let (spikes, density) = (self.spikes, 100.0 * self.density);
        let _ = writeln!(
            text,
            "spikes    {spikes:.1} per sample, {density:.2} % of channels and steps have one"
        );
        self.histogram(&mut text);
        let words = self.classes.iter().map(|(word, n, spikes)| (word.clone(), *n, *spikes));
        write_counts(&mut text, "class", &words.collect::<Vec<_>>());
        write_counts(&mut text, "speaker", &self.speakers);
        text
    }

    fn histogram(&self, text: &mut String) {
        let top = self.density_over_time.iter().fold(0.0, |top: f64, (_, share)| top.max(*share));
        let _ = writeln!(
            text,
            "\n{:>8}  channels and steps with a spike, in samples that have not ended",
            "to ms"
        );
        for (end, share) in &self.density_over_time {
            let bar = "#".repeat((BAR * share / top.max(f64::MIN_POSITIVE)).round() as usize);
            let _ = writeln!(text, "{end:>8}  {:>6.2} % {bar}", 100.0 * share);
        }
    }
}

fn write_counts(text: &mut String, heading: &str, rows: &[(String, usize, f64)]) {
    let width = rows.iter().map(|(name, ..)| name.chars().count()).fold(heading.len(), usize::max);
    let _ = writeln!(text, "\n{heading:<width$}  samples  spikes per sample");
    for (name, samples, spikes) in rows {
        let _ = writeln!(text, "{name:<width$}  {samples:>7}  {spikes:>17.1}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_datasets::{About, Entry};

    #[test]
    fn statistics_of_three_samples() {
        let entry = |step, count| Entry { step, channel: 1, count };
        let sample = |steps, entries, label, speaker| SpikeTrain {
            steps,
            entries,
            label,
            speaker,
            dense: None,
        };
        let data = Dataset {
            name: "x".into(),
            channels: 2,
            classes: 2,
            class_names: vec!["a".into(), "b".into()],
            samples: vec![
                sample(20, vec![entry(0, 3), entry(19, 1)], 1, 7),
                sample(40, vec![entry(1, 1), entry(30, 2)], 1, 9),
                sample(1, vec![entry(0, 1)], 0, 7),
            ],
            dt_ms: 5,
            about: About::default(),
        };
        let summary = summary(&data, Vec::new());
        assert_eq!(summary.durations_ms, [5.0, 100.0, 200.0]);
        assert_eq!(summary.classes, [("a".into(), 1, 1.0), ("b".into(), 2, 3.5)]);
        assert_eq!(summary.speakers, [("7".into(), 2, 2.5), ("9".into(), 1, 3.0)]);
        assert_eq!(summary.density, 5.0 / 122.0);
        let over_time = &summary.density_over_time;
        assert_eq!(over_time.len(), 20);
        // Two steps of two samples and one of the third, on two channels.
        assert_eq!(over_time[0], (10.0, 3.0 / 10.0));
        assert_eq!(over_time[9], (100.0, 1.0 / 8.0));
        assert_eq!(over_time[15], (160.0, 1.0 / 4.0));
        assert_eq!(over_time[19], (200.0, 0.0));
        let table = summary.table();
        assert!(table.contains("duration  5 to 200 ms, median 100\n"), "{table}");
        assert!(table.contains("\n      10   30.00 % ########################################\n"));
        assert!(table.contains("\nb            2                3.5\n"), "{table}");
    }
}
