use std::f64::consts::PI;

use polychron_core::rng::Rng;
use pulp::{Arch, Simd, WithSimd};
use rustfft::num_complex::Complex;

use super::{QUIET_DB, Spikes, power};
use crate::sound::RATE;

/// Channels that are computed together.
const LANES: usize = 16;
/// Samples in a millisecond, the grid of the spikes.
const TICK: usize = RATE as usize / 1000;
const DT: f64 = 1.0 / RATE as f64;

const PRE_EMPHASIS: f32 = 0.9;
/// Level to which a recording is scaled. An amplitude of 1 at the synapse is 30 dB.
const LEVEL_DB: f64 = 69.0;
const UNIT_DB: f64 = 30.0;
/// Added to every sample: in silence, the filters would decay to subnormal numbers, which are slow.
const HUM: f32 = 1e-12;

const LOWEST_HZ: f64 = 80.0;
const HIGHEST_HZ: f64 = 7600.0;
/// Bandwidth of a filter in equivalent rectangular bandwidths.
const BANDWIDTH: f64 = 1.019;
const ORDER: usize = 4;

/// Parameters of the synapse of Meddis; rates per second are multiplied by [`DT`].
const A: f32 = 5.0;
const B: f32 = 300.0;
const G: f32 = (2000.0 * DT) as f32;
const Y: f32 = (5.05 * DT) as f32;
const L: f32 = (2500.0 * DT) as f32;
const R: f32 = (6580.0 * DT) as f32;
const X: f32 = (66.31 * DT) as f32;
const H: f32 = (50_000.0 * DT) as f32;

const FIBRES: f32 = 40.0;
/// Bushy cell: time constant of the membrane in s, threshold in coincident inputs, and refractory
/// period in samples.
const MEMBRANE: f64 = 0.5e-3;
const THRESHOLD: f32 = 6.0;
const REFRACTORY: f32 = (3 * TICK) as f32;
/// Standard deviation of the sum of four random bytes.
const DEVIATION: f32 = 147.8;

/// A model of the inner ear. Every channel has a fourth-order gammatone filter, a hair-cell synapse
/// with 40 fibres, and a bushy cell that spikes when fibres coincide. The filters are equally
/// spaced on the ERB-rate scale from 80 Hz to 7.6 kHz.
///
/// * Input: scaled to a level of 69 dB, with a pre-emphasis of 0.9. A recording below -50 dB of
///   full scale is scaled as one of -50 dB.
/// * Filters: Slaney, *An Efficient Implementation of the Patterson-Holdsworth Auditory Filter
///   Bank* (1993); bandwidth 1.019 ERB; four complex poles.
/// * Synapse: Meddis, Hewitt, Shackleton, *Implementation details of a computation model of the
///   inner hair-cell/auditory-nerve synapse* (1990); A 5, B 300, g 2000, y 5.05, l 2500, r 6580, x
///   66.31, h 50000; Euler's method at 16 kHz. The spikes of the fibres in one sample are a Poisson
///   count in Gaussian approximation.
/// * Bushy cell: leaky integrate-and-fire, membrane time constant 0.5 ms, threshold 6 inputs,
///   refractory period 3 ms.
///
/// The structure follows Cramer et al., *The Heidelberg Spiking Data Sets* (2020), who use another
/// model of the basilar membrane.
pub struct Cochlea {
    channels: usize,
    groups: Vec<Filters>,
}

/// Pole and gain of the filters of neighbouring channels.
struct Filters {
    re: [f32; LANES],
    im: [f32; LANES],
    gain: [f32; LANES],
}

/// State of neighbouring channels.
struct State {
    re: [[f32; LANES]; ORDER],
    im: [[f32; LANES]; ORDER],
    /// Transmitter that is free, in the cleft, and in the reprocessing store.
    free: [f32; LANES],
    cleft: [f32; LANES],
    store: [f32; LANES],
    membrane: [f32; LANES],
    /// Remaining samples of the refractory period.
    refractory: [f32; LANES],
    noise: [u32; LANES],
    /// 1 if the cell has spiked in this millisecond.
    spiked: [f32; LANES],
}

impl Cochlea {
    /// Designs the filters of `channels` channels. SHD has 700.
    #[must_use]
    pub fn new(channels: u16) -> Self {
        let channels = usize::from(channels);
        let filters = |group| {
            let pole = |lane| pole(group * LANES + lane, channels);
            let of = |part: fn(Pole) -> f64| std::array::from_fn(|lane| part(pole(lane)) as f32);
            Filters {
                re: of(|p| p.radius * p.angle.cos()),
                im: of(|p| p.radius * p.angle.sin()),
                gain: of(|p| p.gain()),
            }
        };
        Self { channels, groups: (0..channels.div_ceil(LANES)).map(filters).collect() }
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Encodes a recording at 16 kHz. Spikes are at whole milliseconds. `rng` draws the noise of
    /// the fibres.
    #[must_use]
    pub fn spikes(&self, samples: &[f32], rng: Rng) -> Spikes {
        let sound = prepare(samples);
        let mut spikes = Vec::new();
        for (n, filters) in self.groups.iter().enumerate() {
            let state = State::new(n * LANES, rng);
            let first = (n * LANES) as u16;
            Arch::new().dispatch(Encoding {
                filters,
                state,
                sound: &sound,
                first,
                spikes: &mut spikes,
            });
        }
        spikes.retain(|&(_, channel)| usize::from(channel) < self.channels);
        Spikes::on_grid(spikes)
    }
}

/// The encoding of a sound by a group of channels, compiled for each width of vectors.
struct Encoding<'a> {
    filters: &'a Filters,
    state: State,
    sound: &'a [f32],
    first: u16,
    spikes: &'a mut Vec<(u32, u16)>,
}

impl WithSimd for Encoding<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        for (ms, sound) in (0..).zip(self.sound.chunks_exact(TICK)) {
            self.state.advance(self.filters, sound);
            let spiked = self.state.spiked.iter().enumerate().filter(|(_, s)| **s > 0.0);
            self.spikes.extend(spiked.map(|(lane, _)| (ms, self.first + lane as u16)));
        }
    }
}

impl State {
    /// The steady state in silence.
    fn new(first: usize, rng: Rng) -> Self {
        let k = G * A / (A + B);
        let cleft = Y * k / (L * k + Y * (L + R));
        Self {
            re: [[0.0; LANES]; ORDER],
            im: [[0.0; LANES]; ORDER],
            free: [cleft * (L + R) / k; LANES],
            cleft: [cleft; LANES],
            store: [cleft * R / X; LANES],
            membrane: [0.0; LANES],
            refractory: [0.0; LANES],
            noise: std::array::from_fn(|lane| rng.bits((first + lane) as u64).max(1)),
            spiked: [0.0; LANES],
        }
    }

    /// Processes a millisecond of sound.
    #[inline(always)]
    fn advance(&mut self, filters: &Filters, sound: &[f32]) {
        let decay = (-DT / MEMBRANE).exp() as f32;
        self.spiked = [0.0; LANES];
        for &sample in sound {
            for n in 0..LANES {
                let (a, b) = (filters.re[n], filters.im[n]);
                let (mut re, mut im) = (sample * filters.gain[n], 0.0);
                for stage in 0..ORDER {
                    let (u, v) = (self.re[stage][n], self.im[stage][n]);
                    (re, im) = (re + (a * u - b * v), im + (a * v + b * u));
                    (self.re[stage][n], self.im[stage][n]) = (re, im);
                }
                let open = positive(re + A);
                let ejected = G * open / (open + B) * self.free[n];
                let reused = X * self.store[n];
                let taken = R * self.cleft[n];
                let expected = FIBRES * H * self.cleft[n];
                self.free[n] += Y * (1.0 - self.free[n]) + reused - ejected;
                self.cleft[n] = ejected + (1.0 - L - R) * self.cleft[n];
                self.store[n] += taken - reused;

                let (noise, deviate) = deviate(self.noise[n]);
                self.noise[n] = noise;
                let inputs = positive(expected + expected.sqrt() * deviate);
                let gate = if self.refractory[n] > 0.0 { 0.0 } else { 1.0 };
                let membrane = gate * (decay * self.membrane[n] + inputs);
                let fires = membrane >= THRESHOLD;
                self.membrane[n] = if fires { 0.0 } else { membrane };
                self.refractory[n] = if fires { REFRACTORY } else { self.refractory[n] - 1.0 };
                self.spiked[n] = if fires { 1.0 } else { self.spiked[n] };
            }
        }
    }
}

/// `x.max(0.0)` in one instruction.
#[inline(always)]
fn positive(x: f32) -> f32 {
    if x > 0.0 { x } else { 0.0 }
}

/// The next state of a xorshift generator (Marsaglia, 2003), and an approximately normal deviate
/// made of the sum of its bytes.
#[inline(always)]
fn deviate(mut x: u32) -> (u32, f32) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    let pairs = (x & 0x00ff_00ff) + (x >> 8 & 0x00ff_00ff);
    let sum = (pairs & 0xffff) + (pairs >> 16);
    (x, (sum as i32 - 510) as f32 * (1.0 / DEVIATION))
}

struct Pole {
    radius: f64,
    angle: f64,
}

impl Pole {
    /// The factor by which the real part of the output is as large as a tone at the frequency of
    /// the pole. The cascade responds to both the positive and the negative frequency of the tone.
    fn gain(&self) -> f64 {
        let response = |angle| {
            let shift = Complex::from_polar(self.radius, self.angle - angle);
            (1.0 - shift).powi(-(ORDER as i32))
        };
        2.0 / (response(self.angle) + response(-self.angle).conj()).norm()
    }
}

fn pole(channel: usize, channels: usize) -> Pole {
    let rate = |hz: f64| 21.4 * (1.0 + 4.37e-3 * hz).log10();
    let (low, high) = (rate(LOWEST_HZ), rate(HIGHEST_HZ));
    let place = channel.min(channels - 1) as f64 / (channels - 1).max(1) as f64;
    let hz = (10f64.powf((low + (high - low) * place) / 21.4) - 1.0) / 4.37e-3;
    let bandwidth = BANDWIDTH * 24.7 * (1.0 + 4.37e-3 * hz);
    Pole { radius: (-2.0 * PI * bandwidth * DT).exp(), angle: 2.0 * PI * hz * DT }
}

/// Scales a recording to the level (unless it is quiet), applies the pre-emphasis and pads it to
/// whole milliseconds.
fn prepare(samples: &[f32]) -> Vec<f32> {
    let level = (10.0 * power(samples).log10()).max(QUIET_DB);
    let gain = 10f64.powf((LEVEL_DB - UNIT_DB - level) / 20.0);
    let mut before = 0.0;
    let mut sound: Vec<f32> = samples
        .iter()
        .map(|&x| {
            let x = (f64::from(x) * gain) as f32;
            let emphasised = x - PRE_EMPHASIS * before + HUM;
            before = x;
            emphasised
        })
        .collect();
    sound.resize(sound.len().next_multiple_of(TICK), HUM);
    sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_synapse_rests_where_there_is_no_sound() {
        let cochlea = Cochlea::new(LANES as u16);
        let rng = Rng::new(1, 2);
        let (mut state, start) = (State::new(0, rng), State::new(0, rng));
        (0..1000).for_each(|_| state.advance(&cochlea.groups[0], &[0.0; TICK]));
        for (now, then) in
            [(state.free, start.free), (state.cleft, start.cleft), (state.store, start.store)]
        {
            assert!(now.iter().zip(then).all(|(now, then)| (now / then - 1.0).abs() < 1e-3));
        }
        // With k = 2000 5 / 305, the fraction 5.05 k / (2500 k + 5.05 (2500 + 6580)) is in the
        // cleft; the rate is 50000 times that.
        let rate = H * state.cleft[0] / DT as f32;
        assert!((rate - 64.76).abs() < 0.1, "{rate}");
    }

    #[test]
    fn deviates_have_mean_0_and_variance_1() {
        let (mut x, mut sum, mut squares) = (7, 0.0, 0.0);
        let n = 100_000;
        for _ in 0..n {
            let (next, z) = deviate(x);
            x = next;
            sum += f64::from(z);
            squares += f64::from(z).powi(2);
        }
        let (mean, variance) = (sum / f64::from(n), squares / f64::from(n));
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn a_filter_passes_its_own_tone_as_it_is() {
        for channel in [0, 350, 690, 699] {
            let pole = pole(channel, 700);
            let (gain, Pole { radius, angle }) = (pole.gain(), pole);
            let (mut state, mut peak) = ([(0.0, 0.0); ORDER], 0.0);
            for t in 0..8000 {
                let (mut re, mut im) = (gain * (angle * f64::from(t)).cos(), 0.0);
                for (u, v) in &mut state {
                    let (a, b) = (radius * angle.cos(), radius * angle.sin());
                    (re, im) = (re + a * *u - b * *v, im + a * *v + b * *u);
                    (*u, *v) = (re, im);
                }
                peak = if t > 6000 { f64::max(peak, re) } else { 0.0 };
            }
            assert!((peak - 1.0).abs() < 0.01, "{channel}: {peak}");
        }
    }
}
