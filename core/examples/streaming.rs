//! Runs a model file on a stream of spikes.
//!
//! ```sh
//! cargo run --release -p polychron-core --features alloc --example streaming -- MODEL.pcn [SPIKES]
//! ```
//!
//! Every line of the file SPIKES is a tick and lists the channels that spike, separated by spaces.
//! An empty line is a silent tick. Without a file, the ticks are read from standard input. A word
//! ends with 40 silent ticks, or with the stream: then its class is printed, and the scores start
//! anew for the next word.

use polychron_core::format::ModelFile;
use polychron_core::infer::{Engine, HeapState};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::process::ExitCode;

/// Number of silent ticks that end a word.
const PAUSE: usize = 40;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: streaming MODEL.pcn [SPIKES]")?;
    let bytes = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let model: ModelFile = ModelFile::parse(&bytes).map_err(|error| format!("{path}: {error}"))?;
    let lines: Box<dyn BufRead> = match arguments.next() {
        Some(path) => {
            let file = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
            Box::new(BufReader::new(file))
        }
        None => Box::new(stdin().lock()),
    };
    let mut state = HeapState::new(&model);
    let mut engine = Engine::new(&model, &mut state)?;
    let name = |class| model.label(class).map_or(format!("class {class}"), String::from);
    let (mut heard, mut silent) = (false, 0);
    for (tick, line) in lines.lines().enumerate() {
        let at = |error: &dyn std::fmt::Display| format!("line {}: {error}", tick + 1);
        let line = line?;
        let channels: Result<Vec<u16>, _> = line.split_whitespace().map(str::parse).collect();
        let channels = channels.map_err(|error| at(&error))?;
        engine.step(&channels).map_err(|error| at(&error))?;
        silent = if channels.is_empty() { silent + 1 } else { 0 };
        heard |= silent == 0;
        if heard && silent == PAUSE {
            let seconds = tick as f64 * f64::from(model.tick_us()) * 1e-6;
            println!("{seconds:>8.2} s  {}", name(engine.decide()));
            engine.forget_scores();
            heard = false;
        }
    }
    if heard {
        engine.finish();
        println!("at the end  {}", name(engine.decide()));
    }
    Ok(())
}
