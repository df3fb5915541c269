//! `polychron bench data`: time of reading a training set and of encoding sound.

use super::cpu_model;
use crate::cli::print::say;
use crate::config::require;
use crate::error::Result;
use crate::report::median;
use polychron_core::rng::Rng;
use polychron_datasets::encode::Cochlea;
use polychron_datasets::{About, BinOptions, Dataset, Recording, Recordings, TimeFormat, shd};
use serde::Serialize;
use std::time::Instant;

/// Samples per second of sound.
const RATE: usize = 16_000;
const CLASSES: u64 = 20;
/// Streams of random numbers.
const TIMES: u64 = 5;
const UNITS: u64 = 6;
const SOUND: u64 = 7;

/// Options of `bench data`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// Recordings of 0.8 s in the generated file [default: as in SHD]
    #[arg(long, default_value_t = 8156)]
    recordings: usize,
    /// Spikes per recording [default: about the mean of SHD]
    #[arg(long, default_value_t = 8000)]
    spikes: usize,
    /// Seconds of noise to encode with a cochlea of 700 channels on one core
    #[arg(long, default_value_t = 20)]
    sound: usize,
    /// Number of timed passes; the median is reported
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    recordings: usize,
    spikes: usize,
    cores: usize,
    /// Time to read the file and bin it into steps of 10 ms and 140 channels, on all cores.
    read_s: f64,
    /// Number of entries of the binned recordings.
    entries: usize,
    /// Seconds of sound encoded per second, on one core.
    cochlea_times_real_time: f64,
    cpu: Option<String>,
}

/// Runs `bench data`.
pub(in crate::cli) fn data(args: &Args) -> Result<()> {
    for (field, value) in [
        ("--recordings", args.recordings),
        ("--spikes", args.spikes),
        ("--sound", args.sound),
        ("--repeats", args.repeats),
    ] {
        require(value > 0, field, value, "is not at least 1")?;
    }
    let bytes = shd::to_bytes(&recordings(args.recordings, args.spikes))?;
    let options = BinOptions { group: 5, ..BinOptions::default() };
    let mut entries = 0;
    let mut read = || -> Result<f64> {
        let bytes = bytes.clone();
        let start = Instant::now();
        let recordings = shd::from_bytes(bytes, "made", &shd::Options::default())?;
        let data = Dataset::from_recordings(&recordings, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        entries = data.samples.iter().map(|sample| sample.entries.len()).sum();
        Ok(seconds)
    };
    let read_s = median((0..args.repeats).map(|_| read()).collect::<Result<Vec<_>>>()?.into_iter());

    let cochlea = Cochlea::new(shd::CHANNELS as u16);
    let rng = Rng::new(0, SOUND);
    let sound: Vec<f32> = (0..(args.sound * RATE) as u64).map(|n| rng.uniform(n)).collect();
    let encode = || {
        let start = Instant::now();
        std::hint::black_box(cochlea.spikes(&sound, rng));
        args.sound as f64 / start.elapsed().as_secs_f64()
    };
    let timing = Timing {
        recordings: args.recordings,
        spikes: args.spikes,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        read_s,
        entries,
        cochlea_times_real_time: median((0..args.repeats).map(|_| encode())),
        cpu: cpu_model(),
    };
    if args.json {
        return say(&format!("{}\n", serde_json::to_string(&timing)?));
    }
    let Timing { recordings, spikes, cores, cpu, .. } = &timing;
    say(&format!(
        "{}, median of {} passes\n\n  \
         {recordings} recordings of {spikes} spikes read and binned in {read_s:.2} s \
         on {cores} cores\n  \
         sound encoded in {} channels on one core: {:.0} times real time\n",
        cpu.as_deref().unwrap_or("unknown processor"),
        args.repeats,
        cochlea.channels(),
        timing.cochlea_times_real_time,
    ))
}

/// Recordings with spikes drawn uniformly over the channels and 0.8 s.
fn recordings(items: usize, spikes: usize) -> Recordings {
    let item = |n: u64| {
        let (time, unit) = (Rng::new(n, TIMES), Rng::new(n, UNITS));
        let mut times: Vec<f32> =
            (0..spikes as u64).map(|i| 0.8 * time.uniform::<f32>(i)).collect();
        times.sort_unstable_by(f32::total_cmp);
        let channel = |i| (unit.uniform::<f64>(i) * shd::CHANNELS as f64) as u16;
        let units = (0..spikes as u64).map(channel).collect();
        Recording { times, units, label: (n % CLASSES) as u16, speaker: 0 }
    };
    Recordings {
        source: "made".into(),
        channels: shd::CHANNELS,
        keys: (0..CLASSES).map(|class| class.to_string()).collect(),
        time_format: TimeFormat::F32,
        about: About::default(),
        items: (0..items as u64).map(item).collect(),
    }
}
