//! Reading a model at run time and running it, in an image that links only if nothing in it can panic.
#![no_std]
#![no_main]

#[cfg(target_arch = "arm")]
use cortex_m_rt::entry;
#[cfg(target_arch = "riscv32")]
use riscv_rt::entry;

use core::hint::black_box;
use core::panic::PanicInfo;
use core::slice;
use polychron_core::format::Model;
use polychron_core::infer::{Engine, State};

#[cfg(target_arch = "arm")]
#[path = "../interrupts.rs"]
mod interrupts;

unsafe extern "C" {
    /// Defined nowhere.
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo) -> ! {
    // SAFETY: an image that could come here does not link.
    unsafe { a_panic_is_reachable() }
}

fn run() -> Option<usize> {
    // SAFETY: never executed; a device would have its model there.
    let file =
        unsafe { slice::from_raw_parts(black_box(0x0010_0000 as *const u8), black_box(1 << 18)) };
    let mut state = State::<4096, 2048, 8192>::new();
    let model: Model = Model::parse(file).ok()?;
    let mut engine = Engine::new(&model, &mut state).ok()?;
    for _ in 0..black_box(100) {
        engine.step(black_box(&[3, 17])).ok()?;
    }
    #[cfg(feature = "control")]
    black_box(black_box([1u8; 4])[black_box(2)]);
    Some(engine.decide())
}

#[entry]
fn main() -> ! {
    loop {
        black_box(run());
    }
}
