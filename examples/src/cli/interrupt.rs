//! Requests to stop: Ctrl-C, or the signal that precedes a kill.

use super::print::note;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Exit code of a program that a signal stopped.
pub(super) const CODE: u8 = 130;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static LEFT: AtomicBool = AtomicBool::new(false);

/// From now on the first signal is a request to stop, and the second ends the program at once. A
/// signal that is ignored remains so: programs in the background are started that way.
pub(super) fn listen() {
    REQUESTED.get_or_init(|| {
        let requested = Arc::<AtomicBool>::default();
        for signal in [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)) {
            // A signal that cannot be handled ends the program, as before.
            let _ = flag::register_conditional_shutdown(signal, CODE.into(), requested.clone());
            let _ = flag::register(signal, requested.clone());
        }
        requested
    });
}

fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether there was a signal.
pub(super) fn requested() -> bool {
    REQUESTED.get().is_some_and(|requested| requested.load(Ordering::Relaxed))
}

/// Says where a signal has stopped the work.
pub(super) fn leave(line: &str) {
    LEFT.store(true, Ordering::Relaxed);
    note(line);
}

/// Whether a signal has stopped the work.
pub(super) fn has_left() -> bool {
    LEFT.load(Ordering::Relaxed)
}
