//! Reads a model at run time and runs it. This image links only if nothing in it can panic.
#![no_std]
#![no_main]

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

use core::hint::black_box;
use core::panic::PanicInfo;
use core::slice;
use polychron_core::format::ModelFile;
#[cfg(feature = "whole")]
use polychron_core::infer::Arithmetic;
use polychron_core::infer::{Engine, EngineState};
// The vector table.
#[cfg(target_arch = "arm")]
use polychron_firmware as _;

unsafe extern "C" {
    /// Not defined anywhere.
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    // SAFETY: an image that can reach this call does not link.
    unsafe { a_panic_is_reachable() }
}

fn run() -> Option<usize> {
    // SAFETY: never executed; a device would have its model at this address.
    let file =
        unsafe { slice::from_raw_parts(black_box(0x0010_0000 as *const u8), black_box(1 << 18)) };
    let mut state = EngineState::<4096, 2048, 8192>::new();
    let model: ModelFile = ModelFile::parse(file).ok()?;
    let mut engine = Engine::new(&model, &mut state).ok()?;
    for _ in 0..black_box(100) {
        engine.step(black_box(&[3, 17])).ok()?;
    }
    #[cfg(feature = "whole")]
    {
        whole(file, &mut engine)?;
        let model: ModelFile<f32> = ModelFile::parse(file).ok()?;
        let mut state = EngineState::<4096, 2048, 8192>::new();
        whole(file, &mut Engine::new(&model, &mut state).ok()?)?;
    }
    #[cfg(feature = "control")]
    black_box(black_box([1u8; 4])[black_box(2)]);
    Some(engine.decide())
}

/// Calls everything that an engine does.
#[cfg(feature = "whole")]
fn whole<W: Arithmetic>(file: &[u8], engine: &mut Engine<W>) -> Option<()> {
    let values: &[i8; 140] = black_box(&[1; 140]);
    engine.step(black_box(&[3, 17])).ok()?;
    engine.step_bits(black_box(file)).ok()?;
    engine.step_values(values).ok()?;
    engine.finish();
    engine.forget_scores();
    black_box((engine.scores(), engine.membranes(black_box(1)), engine.spikes(black_box(1))));
    black_box(engine.spiking(black_box(1)).count());
    black_box(engine.model().label(engine.decide()));
    black_box(engine.model().layer(black_box(1)));
    engine.reset();
    Some(())
}

#[entry]
fn main() -> ! {
    loop {
        black_box(run());
    }
}
