//! Links `polychron-core` without features into a program with neither `std` nor an allocator. A
//! crate that needed `std` would add a second panic handler; one that needed `alloc` would lack a
//! global allocator.
#![no_std]
#![no_main]

use polychron_core::delay::{DelayKernel, Gauss};
use polychron_core::neuron::{Lif, Neuron};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The precompiled `core` refers to this function; no code here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    let mut taps = [0.0f32; 25];
    Gauss.taps(3.0, 0.23, &mut taps);
    let lif = Lif::new(1.5);
    let charged = lif.charge(lif.rest(), 3.0 * taps[3]);
    if lif.excess(charged) >= 0.0 { 0 } else { 1 }
}
