//! Triangular filters, equally spaced on the mel scale of HTK, `2595 log10(1 + f / 700)`.

use rustfft::num_complex::Complex;

/// A spectrum's frequencies: bins from 0 Hz on.
pub(crate) struct Bins {
    /// Their number.
    pub(crate) count: usize,
    /// From one to the next, Hz.
    pub(crate) hz: f64,
}

/// A filter: weights of neighbouring bins from `first` on.
pub(crate) struct Band {
    first: usize,
    weights: Vec<f64>,
}

/// `count` filters with peaks of 1 between two frequencies in Hz, no side narrower than `narrowest`.
pub(crate) fn bands(
    count: usize,
    lowest: f64,
    highest: f64,
    narrowest: f64,
    bins: &Bins,
) -> Vec<Band> {
    let mel = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let (low, high) = (mel(lowest), mel(highest));
    let hz = |n: usize| {
        let mel = low + (high - low) * n as f64 / (count + 1) as f64;
        700.0 * (10f64.powf(mel / 2595.0) - 1.0)
    };
    let band = |n| {
        let centre = hz(n + 1);
        let rise = (centre - hz(n)).max(narrowest);
        let fall = (hz(n + 2) - centre).max(narrowest);
        let weight = |k: usize| {
            let away = k as f64 * bins.hz - centre;
            (1.0 + away / rise).min(1.0 - away / fall).max(0.0)
        };
        let heard = || (0..bins.count).filter(|&k| weight(k) > 0.0);
        Band { first: heard().next().unwrap_or(0), weights: heard().map(weight).collect() }
    };
    (0..count).map(band).collect()
}

impl Band {
    /// What of a spectrum's power passes.
    pub(crate) fn power(&self, spectrum: &[Complex<f64>]) -> f64 {
        let heard = spectrum[self.first..].iter().zip(&self.weights);
        heard.map(|(bin, weight)| weight * bin.norm_sqr()).sum()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }
}

/// A Hann window at a place between 0 and 1.
pub(crate) fn hann(x: f64) -> f64 {
    (std::f64::consts::PI * x).sin().powi(2)
}
