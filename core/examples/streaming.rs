//! Runs a model file on a stream of spikes.
//!
//! ```sh
//! cargo run --release -p polychron-core --features alloc --example streaming -- MODEL.pcn [SPIKES]
//! ```
//!
//! Every line of the file SPIKES is a tick and lists the channels that spike, separated by spaces.
//! An empty line is a silent tick. Without a file, the ticks are read from standard input. The
//! leading class is printed whenever it changes, and at the end.

use polychron_core::format::ModelFile;
use polychron_core::infer::{Engine, HeapState};
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::process::ExitCode;

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
    let mut leader = None;
    for (tick, line) in lines.lines().enumerate() {
        let at = |error: &dyn std::fmt::Display| format!("line {}: {error}", tick + 1);
        let line = line?;
        let channels: Result<Vec<u16>, _> = line.split_whitespace().map(str::parse).collect();
        engine.step(&channels.map_err(|error| at(&error))?).map_err(|error| at(&error))?;
        let class = engine.decide();
        if leader.replace(class) != Some(class) {
            println!("{:>8.2} s  {}", tick as f64 * f64::from(model.tick_us()) * 1e-6, name(class));
        }
    }
    engine.finish();
    println!("at the end  {}", name(engine.decide()));
    Ok(())
}
