//! The wish to end early: Ctrl-C, or what a system sends before it kills.

use crate::error::note;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What a program ends with that a signal has ended.
pub(crate) const CODE: u8 = 130;

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static LEFT: AtomicBool = AtomicBool::new(false);

/// From now on the first signal is a wish, the second ends the program at once. A signal that is ignored stays so: who started the
/// program in the background wants that.
pub(crate) fn listen() {
    ASKED.get_or_init(|| {
        let asked = Arc::<AtomicBool>::default();
        for signal in [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)) {
            // Where a signal cannot be handled it ends the program, as before.
            let _ = flag::register_conditional_shutdown(signal, CODE.into(), asked.clone());
            let _ = flag::register(signal, asked.clone());
        }
        asked
    });
}

fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether there was a signal.
pub(crate) fn asked() -> bool {
    ASKED.get().is_some_and(|asked| asked.load(Ordering::Relaxed))
}

/// Says where work was left because there was a signal.
pub(crate) fn leave(line: &str) {
    LEFT.store(true, Ordering::Relaxed);
    note(line);
}

/// Whether work was left.
pub(crate) fn has_left() -> bool {
    LEFT.load(Ordering::Relaxed)
}
