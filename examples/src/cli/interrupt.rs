//! Requests to stop: Ctrl-C, or the signal that precedes a kill.

use super::print::note;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// Exit code of a program that a signal stopped.
pub(super) const CODE: u8 = 130;

static REQUESTED: OnceLock<Request> = OnceLock::new();
static STOPPED: AtomicBool = AtomicBool::new(false);

/// The flags of the signal handlers.
#[derive(Default)]
struct Request {
    arrived: Arc<AtomicBool>,
    /// Whether the program has seen the request.
    seen: Arc<AtomicBool>,
}

/// Installs the signal handlers. The first signal requests a stop. Another one ends the program at
/// once, but only after the program has seen the request: some tools send every signal twice. An
/// ignored signal stays ignored; shells start background programs that way.
pub(super) fn listen() {
    REQUESTED.get_or_init(|| {
        let request = Request::default();
        for signal in [SIGINT, SIGTERM].into_iter().filter(|&signal| !is_ignored(signal)) {
            // Without a handler, the signal still ends the program.
            let _ = flag::register_conditional_shutdown(signal, CODE.into(), request.seen.clone());
            let _ = flag::register(signal, request.arrived.clone());
        }
        request
    });
}

fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Whether a signal has arrived.
pub(super) fn requested() -> bool {
    REQUESTED.get().is_some_and(|request| {
        let arrived = request.arrived.load(Ordering::Relaxed);
        request.seen.fetch_or(arrived, Ordering::Relaxed);
        arrived
    })
}

/// Reports that a signal has stopped the work.
pub(super) fn report_stop(line: &str) {
    STOPPED.store(true, Ordering::Relaxed);
    note(line);
}

/// Whether a signal has stopped the work.
pub(super) fn has_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}
