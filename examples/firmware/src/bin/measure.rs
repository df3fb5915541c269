//! What a tick costs: networks 140-256-256-20 whose hidden neurons fire in 1, 5 and 15 % of the ticks, at 5 % also in the
//! scheme of small memory and with 64 delays; at worst every channel and every neuron fires on every tick.
#![no_std]
#![no_main]

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

use polychron_core::format::ModelFile;
use polychron_core::infer::{Engine, EngineState};
use polychron_firmware::{probe::region_next, replay::replay};

/// Ticks until spikes of every delay arrive.
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
