use rubato::sinc_interpolator::{ScalarInterpolator, SincInterpolator};
use rubato::{WindowFunction, calculate_cutoff};

use super::RATE;

/// Length of the filter in samples of the lower rate.
const TAPS: u64 = 128;
/// Largest size of the table of filters.
const TABLE: u64 = 1 << 16;
const WINDOW: WindowFunction = WindowFunction::BlackmanHarris;

/// Resamples a sound to [`RATE`]: `ceil(samples RATE / rate)` samples, the first one at the same
/// time. `rest` continues the sound on either side.
///
/// The scalar interpolator gives the same numbers on every processor; that of the resamplers of
/// `rubato` depends on the vector instructions. If the table has a filter for every phase between
/// two samples, as for most rates, the filters are exact; else they are interpolated linearly.
pub(super) fn resample(samples: Vec<f32>, rate: u32, rest: f32) -> Vec<f32> {
    let (old, new) = (u64::from(rate), u64::from(RATE));
    let common = gcd(old, new);
    let (old, new) = (old / common, new / common);
    let taps = (TAPS * old / new).max(TAPS).next_multiple_of(8);
    let phases = new.min(TABLE / taps).max(1);
    let cutoff =
        calculate_cutoff::<f32>(TAPS as usize, WINDOW) * (new as f32 / old as f32).min(1.0);
    let filters = ScalarInterpolator::<f32>::new(taps as usize, phases as usize, cutoff, WINDOW);

    let half = taps as usize / 2;
    let count = (samples.len() as u64 * new).div_ceil(old);
    let mut sound = vec![rest; samples.len() + 2 * half + 2];
    sound[half..][..samples.len()].copy_from_slice(&samples);
    drop(samples);
    // The value at the time `at / phases`, in samples.
    let value = |at: u64| {
        let (sample, phase) = ((at / phases) as usize, (at % phases) as usize);
        let (index, filter) =
            if phase == 0 { (sample, phases as usize - 1) } else { (sample + 1, phase - 1) };
        filters.get_sinc_interpolated(&sound, index, filter)
    };
    (0..count)
        .map(|n| {
            let at = n * old * phases;
            let (at, part) = (at / new, at % new);
            let x = value(at);
            if part == 0 { x } else { x + (value(at + 1) - x) * (part as f32 / new as f32) }
        })
        .collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
