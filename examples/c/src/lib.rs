//! Networks for programs in C: the functions that `polychron.h` declares.
#![no_std]
#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod interface;

/// Unreachable: `run.sh` checks that a linked program contains no panic.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
