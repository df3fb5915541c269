//! Measures a tick of networks 140-256-256-20 whose hidden neurons fire in 1, 5 and 15 % of the
//! ticks, at 5 % also without lists of spikes and with 64 delays. In the worst case every channel
//! and every neuron fires in every tick.
#![no_std]
#![no_main]

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

use polychron_core::format::ModelFile;
use polychron_core::infer::{Engine, EngineState};
use polychron_firmware::{probe::region_next, replay::replay};

/// The number of ticks until spikes of every delay arrive.
const WARM: u32 = 64;

macro_rules! case {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(env!("FIRMWARE_MODELS"), "/", $name, ".pcn")).as_slice(),
            include_bytes!(concat!(env!("FIRMWARE_MODELS"), "/", $name, ".bin")).as_slice(),
        )
    };
}

static CASES: [(&str, &[u8], &[u8]); 6] =
    [case!("1"), case!("5"), case!("15"), case!("5-small"), case!("5-64"), case!("worst")];

#[entry]
fn main() -> ! {
    let mut state = EngineState::<4096, 2048, 8192>::new();
    for (name, file, recording) in &CASES {
        let model = ModelFile::parse(file).expect("a model");
        let mut engine = Engine::new(&model, &mut state).expect("enough state");
        replay(name, &model, &mut engine, recording, |tick, ticks| (WARM..ticks).contains(&tick));
        region_next();
    }
    semihosting::process::exit(0)
}
