//! The wish to end early: Ctrl-C, or what a system sends before it kills.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a program ends with that a signal has ended.
pub(crate) const CODE: u8 = 130;

static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on the first signal is a wish, the second ends the program at once.
pub(crate) fn listen() {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(|| {
        let ask = || {
            if ASKED.swap(true, Ordering::Relaxed) {
                std::process::exit(CODE.into())
            }
            eprintln!("finishing this step; once more ends at once");
        };
        // Where signals cannot be handled they end the program, as before.
        let _ = ctrlc::set_handler(ask);
    });
}

/// Whether there was a signal.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
