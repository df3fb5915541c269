//! Marks for `count.c`, and the depth of the stack.

use core::arch::asm;
use core::hint::black_box;
use core::ptr;

/// Starts counting.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn region_begin() {
    black_box(1);
}

/// Stops counting.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn region_end() {
    black_box(2);
}

/// Begins another region of counts.
#[inline(never)]
#[unsafe(no_mangle)]
pub extern "C" fn region_next() {
    black_box(3);
}

/// The number of bytes below the stack pointer that [`stack_depth`] observes.
const PAINTED: usize = 4096;
const PAINT: u32 = 0x5aa5_c33c;

/// Calls a function and returns how many bytes of stack it used. Words below the stack pointer are
/// painted before the call; the deepest one that lost its paint is the answer.
#[inline(always)]
pub fn stack_depth<R>(call: impl FnOnce() -> R) -> (R, usize) {
    let top: usize;
    // SAFETY: copies a register.
    unsafe {
        #[cfg(target_arch = "arm")]
        asm!("mov {}, sp", out(reg) top);
        #[cfg(target_arch = "riscv32")]
        asm!("mv {}, sp", out(reg) top);
    }
    let words = (top - PAINTED..top).step_by(4);
    for address in words.clone().rev() {
        // SAFETY: nothing uses RAM below the stack pointer, because no interrupt is enabled.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) };
    }
    let result = call();
    for address in words {
        // SAFETY: as above.
        if unsafe { ptr::with_exposed_provenance::<u32>(address).read_volatile() } != PAINT {
            return (result, top - address);
        }
    }
    (result, 0)
}
