//! Triangular filters that are equally spaced on the mel scale of HTK, `2595 log10(1 + f / 700)`.

use rustfft::num_complex::Complex;

/// The frequencies of a spectrum: bins from 0 Hz.
pub(crate) struct Bins {
    /// Number of bins.
    pub(crate) count: usize,
    /// Width of a bin in Hz.
    pub(crate) hz: f64,
}

/// A filter: the weights of neighbouring bins, starting at `first`.
pub(crate) struct Band {
    first: usize,
    weights: Vec<f64>,
}

/// `count` filters with a peak of 1 between two frequencies in Hz. Each side of a triangle is at
/// least `narrowest` wide.
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
        let inside = || (0..bins.count).filter(|&k| weight(k) > 0.0);
        Band { first: inside().next().unwrap_or(0), weights: inside().map(weight).collect() }
    };
    (0..count).map(band).collect()
}

impl Band {
    /// The power of a spectrum that passes the filter.
    pub(crate) fn power(&self, spectrum: &[Complex<f64>]) -> f64 {
        let bins = spectrum[self.first..].iter().zip(&self.weights);
        bins.map(|(bin, weight)| weight * bin.norm_sqr()).sum()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }
}

/// A Hann window at `x` between 0 and 1.
pub(crate) fn hann(x: f64) -> f64 {
    (std::f64::consts::PI * x).sin().powi(2)
}
