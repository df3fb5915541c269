//! Spoken digits: a trained network in flash, checked by the compiler, replays recorded utterances.
#![no_std]
#![no_main]

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

use polychron_core::format::ModelFile;
use polychron_core::infer::{Engine, EngineState};
use polychron_firmware::replay::replay;

static FILE: &[u8] = include_bytes!("../../data/digits.pcn");
static UTTERANCES: &[u8] = include_bytes!("../../data/utterances.bin");
#[allow(long_running_const_eval)]
const MODEL: ModelFile = ModelFile::parse_static(FILE);

type State =
    EngineState<{ MODEL.state_words() }, { MODEL.state_halves() }, { MODEL.state_bytes() }>;

#[entry]
fn main() -> ! {
    let mut state = State::new();
    let mut engine = Engine::new(&MODEL, &mut state).expect("a state of the size of the model");
    replay("digits", &MODEL, &mut engine, UTTERANCES, |_, _| true);
    semihosting::process::exit(0)
}
