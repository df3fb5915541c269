use rustfft::algorithm::Radix4;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection};

use super::Spikes;
use crate::mel::{self, Bins, hann};
use crate::sound::RATE;

const WINDOW: usize = 512;
/// Samples between two values of the envelope: 1 ms.
const HOP: usize = RATE as usize / 1000;
const BANDS: usize = 24;
const LOWEST_HZ: f64 = 50.0;
/// Change of the envelope, in dB, that causes a spike.
const STEP_DB: f64 = 9.0;
/// Depth of the floor below the peak.
const DEPTH_DB: f64 = 55.0;
/// Least peak, so that the noise of a recording of silence stays below the floor: the power of a
/// sine in the middle of a band, 40 dB below full scale.
const QUIET: f64 = 1e-4 * (WINDOW * WINDOW) as f64 / 16.0;

/// Channels for rising bands, then channels for falling bands.
pub(super) const CHANNELS: usize = 2 * BANDS;

/// The spikes of [`Encoder::Delta`](super::Encoder::Delta).
pub(super) fn spikes(samples: &[f32]) -> Spikes {
    let bins = Bins { count: WINDOW / 2 + 1, hz: f64::from(RATE) / WINDOW as f64 };
    let bands = mel::bands(BANDS, LOWEST_HZ, f64::from(RATE) / 2.0, bins.hz, &bins);
    let fft = Radix4::new(WINDOW, FftDirection::Forward);
    let mut frame = vec![Complex::default(); WINDOW];
    let mut scratch = vec![Complex::default(); fft.get_inplace_scratch_len()];
    let window: Vec<f64> = (0..WINDOW).map(|n| hann(n as f64 / WINDOW as f64)).collect();

    let mut powers = Vec::with_capacity(samples.len() / HOP * BANDS);
    for middle in (0..samples.len()).step_by(HOP) {
        for (n, (x, w)) in frame.iter_mut().zip(&window).enumerate() {
            let sample = (middle + n).checked_sub(WINDOW / 2).and_then(|at| samples.get(at));
            *x = sample.map_or(0.0, |&sample| w * f64::from(sample)).into();
        }
        fft.process_with_scratch(&mut frame, &mut scratch);
        powers.extend(bands.iter().map(|band| band.power(&frame)));
    }
    let loudest = powers.iter().copied().fold(QUIET, f64::max);
    let mut levels = [0.0; BANDS];
    let mut spikes = Vec::new();
    for (ms, powers) in powers.chunks_exact(BANDS).enumerate() {
        for (band, (level, power)) in levels.iter_mut().zip(powers).enumerate() {
            let height = (10.0 * (power / loudest).log10() + DEPTH_DB).max(0.0);
            if height - *level >= STEP_DB {
                *level += STEP_DB;
                spikes.push((ms as u32, band as u16));
            } else if *level - height >= STEP_DB {
                *level -= STEP_DB;
                spikes.push((ms as u32, (BANDS + band) as u16));
            }
        }
    }
    Spikes::on_grid(spikes)
}
