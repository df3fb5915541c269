use std::f64::consts::PI;

use rustfft::algorithm::Radix4;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection};

use super::{CHANNELS, STEPS};
use crate::mel::{self, Band, Bins, hann};
use crate::sound::RATE;

/// Half the sample rate of the recordings.
const LOW_RATE: usize = RATE as usize / 2;
const WINDOW: usize = 256;
const HOP: usize = LOW_RATE / 100;
/// Low-pass filter of the resampler: zero crossings on either side, and cutoff as a fraction of the
/// new Nyquist frequency.
const CROSSINGS: f64 = 6.0;
const ROLLOFF: f64 = 0.99;
/// `ceil(2 CROSSINGS / ROLLOFF)` samples before the middle one; one more after it.
const REACH: usize = 13;
const TAPS: usize = 2 * REACH + 2;
const LOWEST_HZ: f64 = 50.0;
/// Upper end of the highest band of the paper.
const PAPER_HZ: f64 = 14_000.0;
/// Floor of the power: -100 dB.
const FLOOR: f64 = 1e-10;

/// Frequency range of the 140 mel bands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bands {
    /// From 50 Hz to 4 kHz, half the sample rate. Each band extends at least one bin (31.25 Hz) to
    /// either side of its centre, so none is empty.
    #[default]
    Full,
    /// From 50 Hz to 14 kHz, as in the published code. The upper 53 bands are above 4 kHz and
    /// always at the floor.
    Paper,
}

/// Computes the mel spectra of one second of sound in decibels: resampling from 16 to 8 kHz with a
/// windowed sinc, a Hann window of 256 samples every 10 ms, power, 140 mel bands, decibels.
///
/// This is what `Resample`, `Spectrogram`, `MelScale` and `AmplitudeToDB` of the Python package
/// `torchaudio` compute with their default arguments, in double precision.
pub struct FrontEnd {
    taps: [f64; TAPS],
    window: [f64; WINDOW],
    fft: Radix4<f64>,
    bands: Vec<Band>,
}

impl FrontEnd {
    /// Computes the filters.
    #[must_use]
    pub fn new(bands: Bands) -> Self {
        Self {
            taps: std::array::from_fn(tap),
            window: std::array::from_fn(|n| hann(n as f64 / WINDOW as f64)),
            fft: Radix4::new(WINDOW, FftDirection::Forward),
            bands: filters(bands),
        }
    }

    /// Decibels, `[101, 140]` (steps, bands) in row-major order. `samples` at 16 kHz are padded
    /// with zeros or truncated to one second.
    #[must_use]
    pub fn decibels(&self, samples: &[f32]) -> Vec<f32> {
        let low = self.resample(samples);
        let mut frame = vec![Complex::default(); WINDOW];
        let mut scratch = vec![Complex::default(); self.fft.get_inplace_scratch_len()];
        let mut rows = Vec::with_capacity(STEPS * CHANNELS);
        for t in 0..STEPS {
            for (n, (x, w)) in frame.iter_mut().zip(&self.window).enumerate() {
                *x = (w * low[reflect(t * HOP + n)]).into();
            }
            self.fft.process_with_scratch(&mut frame, &mut scratch);
            rows.extend(self.bands.iter().map(|band| decibels(band.power(&frame))));
        }
        rows
    }

    fn resample(&self, samples: &[f32]) -> Vec<f64> {
        let mut padded = vec![0.0; RATE as usize + TAPS];
        for (x, &sample) in padded[REACH..].iter_mut().zip(samples.iter().take(RATE as usize)) {
            *x = f64::from(sample);
        }
        let at = |n| {
            let window: &[f64] = &padded[2 * n..2 * n + TAPS];
            window.iter().zip(&self.taps).map(|(x, tap)| x * tap).sum()
        };
        (0..LOW_RATE).map(at).collect()
    }
}

fn decibels(power: f64) -> f32 {
    (10.0 * power.max(FLOOR).log10()) as f32
}

/// Index of a sample in the sound, which is extended by its mirror image on either side by half a
/// window.
fn reflect(n: usize) -> usize {
    let place = n.abs_diff(WINDOW / 2);
    place.min(2 * (LOW_RATE - 1) - place)
}

fn tap(k: usize) -> f64 {
    let edge = ROLLOFF / 2.0;
    let t = (edge * (k as f64 - REACH as f64)).clamp(-CROSSINGS, CROSSINGS);
    let sinc = if t == 0.0 { 1.0 } else { (PI * t).sin() / (PI * t) };
    edge * sinc * hann(0.5 + 0.5 * t / CROSSINGS)
}

fn filters(bands: Bands) -> Vec<Band> {
    let bins = Bins { count: WINDOW / 2 + 1, hz: LOW_RATE as f64 / WINDOW as f64 };
    match bands {
        Bands::Full => mel::bands(CHANNELS, LOWEST_HZ, LOW_RATE as f64 / 2.0, bins.hz, &bins),
        Bands::Paper => mel::bands(CHANNELS, LOWEST_HZ, PAPER_HZ, 0.0, &bins),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_papers_bands_are_empty_and_only_those_beyond_half_the_rate() {
        assert!(filters(Bands::Full).iter().all(|band| !band.is_empty()));
        let empty: Vec<_> =
            (0..CHANNELS).filter(|&n| filters(Bands::Paper)[n].is_empty()).collect();
        assert_eq!(empty, (87..140).collect::<Vec<_>>());
    }

    #[test]
    fn sound_is_mirrored_at_both_ends() {
        assert_eq!([0, 127, 128, 129].map(reflect), [128, 1, 0, 1]);
        let last = LOW_RATE - 1;
        assert_eq!([last + 128, last + 129, last + 256].map(reflect), [last, last - 1, last - 128]);
    }

    #[test]
    fn a_tone_is_loudest_in_its_band() {
        for hz in [300.0, 1000.0, 3000.0] {
            let tone: Vec<f32> =
                (0..16_000).map(|n| (2.0 * PI * hz * n as f64 / 16e3).sin() as f32).collect();
            let decibels = FrontEnd::new(Bands::Full).decibels(&tone);
            let row = &decibels[50 * CHANNELS..51 * CHANNELS];
            let loudest = (0..CHANNELS).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
            let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
            let expected = (mel(hz) - mel(50.0)) / (mel(4000.0) - mel(50.0)) * 141.0 - 1.0;
            assert!((loudest as f64 - expected).abs() <= 2.0, "{hz} Hz: {loudest}, {expected}");
        }
    }

    #[test]
    fn silence_is_at_the_floor() {
        assert_eq!(FrontEnd::new(Bands::Full).decibels(&[]), vec![-100.0; STEPS * CHANNELS]);
    }
}
