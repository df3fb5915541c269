//! Random models, shapes and blocks.

use polychron_core::connectivity::{Connectivity, Conv};
use polychron_core::delay::{AnyKernel, DelayKernel, Place};
use polychron_core::gradcheck::STEP;
use polychron_core::neuron::{AnyNeuron, Reset};
use polychron_core::parameter::Value::{Flag, Number, Word};
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{AnySurrogate, Scaled};
use std::rc::Rc;

/// A sequence of draws.
pub(crate) struct Draw {
    rng: Rng,
    index: u64,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, 0), index: 0 }
    }

    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.index += 1;
        low + (high - low) * self.rng.uniform_f64(self.index)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.uniform(0.0, n as f64) as usize).min(n - 1)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn block(&mut self, len: usize, low: f64, high: f64) -> Vec<f64> {
        (0..len).map(|_| self.uniform(low, high)).collect()
    }

    /// Lengths of samples, of which the first is full; `None` in half of the cases.
    pub(crate) fn lengths(&mut self, shape: Shape) -> Option<Vec<usize>> {
        let mut lengths: Vec<_> = (0..shape.batch).map(|_| self.below(shape.steps + 1)).collect();
        lengths[0] = shape.steps;
        self.coin().then_some(lengths)
    }

    /// A dropout mask `[batch, width]`; `None` in half of the cases.
    pub(crate) fn mask(&mut self, shape: Shape) -> Option<Vec<f64>> {
        let mask = (0..shape.batch * shape.width).map(|_| self.pick(&[0.0, 1.25, 1.25])).collect();
        self.coin().then_some(mask)
    }

    pub(crate) fn place(&mut self) -> Place {
        self.pick(&Place::ALL).1
    }

    /// The synapses of a convolution or of a list of pairs; `None` in a third of the cases.
    pub(crate) fn connectivity(
        &mut self,
        inputs: usize,
        outputs: usize,
    ) -> Option<Rc<Connectivity>> {
        let found = match self.below(3) {
            0 => return None,
            1 => {
                let pairs = (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i)));
                let mut pairs: Vec<_> = pairs.filter(|_| self.coin()).collect();
                if pairs.is_empty() {
                    pairs.push((self.below(outputs), self.below(inputs)));
                }
                self.rng.fork(self.index).shuffle(&mut pairs);
                Connectivity::sparse(inputs, outputs, &pairs)
            }
            _ => Connectivity::conv(&self.conv(inputs, outputs)),
        };
        Some(Rc::new(found.unwrap()))
    }

    fn conv(&mut self, inputs: usize, outputs: usize) -> Conv {
        let mut all = Vec::new();
        let parts = |n: usize| (1..=n).filter(move |maps| n.is_multiple_of(*maps));
        for (in_maps, out_maps) in parts(inputs).flat_map(|m| parts(outputs).map(move |n| (m, n))) {
            let positions = inputs / in_maps;
            for (width, stride) in (1..=positions).flat_map(|w| (1..4).map(move |s| (w, s))) {
                all.extend((0..width).map(|padding| Conv {
                    positions,
                    in_maps,
                    out_maps,
                    width,
                    stride,
                    padding,
                }));
            }
        }
        all.retain(|conv| conv.out_positions() * conv.out_maps == outputs);
        self.pick(&all)
    }

    pub(crate) fn synapses(&mut self, inputs: usize, outputs: usize) -> Synapses {
        let taps = 2 + self.below(7);
        let padding = self.pick(&[(taps - 1) / 2, 0, taps - 1]);
        Synapses {
            kernel_count: 1 + self.below(2),
            padding,
            ..Synapses::new(inputs, outputs, taps)
        }
    }

    /// Delays and sigmas of `count` kernel elements. Delays lie at both edges, at whole and half
    /// steps and between them; sigmas are 0, near 0 or large, with both signs. Every kink of the
    /// kernel is several steps of a difference quotient away.
    pub(crate) fn delays_and_sigma(
        &mut self,
        kernel: AnyKernel,
        taps: usize,
        count: usize,
        shared: bool,
    ) -> (Vec<f64>, Vec<f64>) {
        let mut sigma = self.sigma(kernel);
        let (mut delays, mut sigmas) = (Vec::new(), Vec::new());
        while delays.len() < count {
            if !shared {
                sigma = self.sigma(kernel);
            }
            // No delay may be smooth with a shared sigma: start again.
            let Some(delay) = self.delay(kernel, taps, sigma) else {
                sigma = self.sigma(kernel);
                (delays, sigmas) = (Vec::new(), Vec::new());
                continue;
            };
            delays.push(delay);
            sigmas.push(sigma);
        }
        if shared {
            sigmas.truncate(1);
        }
        (delays, sigmas)
    }

    fn sigma(&mut self, kernel: AnyKernel) -> f64 {
        // The kernel is an even function of sigma, so its quotient at exactly 0 is sign(0) = 0.
        let zero = if kernel == AnyKernel::Gauss { 0.0 } else { 0.0137 };
        let sizes = [zero, 0.0125, self.uniform(0.05, 3.0), self.uniform(3.0, 12.0)];
        self.pick(&[-1.0, 1.0]) * self.pick(&sizes)
    }

    fn delay(&mut self, kernel: AnyKernel, taps: usize, sigma: f64) -> Option<f64> {
        let last = (taps - 1) as f64;
        let whole = self.below(taps) as f64;
        let options = [
            0.0,
            last,
            whole,
            (whole + 0.5).min(last),
            self.uniform(0.0, last),
            0.011,
            last - 0.011,
        ];
        for _ in 0..20 {
            let delay = self.pick(&options).max(0.0);
            if smooth_at(kernel, taps, delay, sigma) {
                return Some(delay);
            }
        }
        None
    }

    pub(crate) fn any_surrogate(&mut self) -> Scaled<f64, AnySurrogate<f64>> {
        let names = AnySurrogate::<f64>::NAMES;
        surrogate(names[self.below(names.len())])
    }
}

/// Whether the kernel has a derivative by delay and sigma around these values.
fn smooth_at(kernel: AnyKernel, taps: usize, delay: f64, sigma: f64) -> bool {
    let width = match kernel {
        AnyKernel::Gauss => return true,
        _ => kernel.reach(kernel.width(sigma).0),
    };
    let margin = 10.0 * STEP;
    let apart = |u: f64| u.abs() > margin && (u.abs() - width).abs() > margin;
    let in_reach = (0..taps).any(|j| (j as f64 - delay).abs() < width - 0.1);
    in_reach && (0..taps).all(|j| apart(j as f64 - delay))
}

/// All kernels but `Discrete`, whose gradient by the delay is 0.
pub(crate) const KERNELS: [AnyKernel; AnyKernel::ALL.len() - 1] = {
    let mut kernels = [AnyKernel::Gauss; AnyKernel::ALL.len() - 1];
    let (mut from, mut to) = (0, 0);
    while from < AnyKernel::ALL.len() {
        let kernel = AnyKernel::ALL[from].1;
        if !matches!(kernel, AnyKernel::Discrete) {
            kernels[to] = kernel;
            to += 1;
        }
        from += 1;
    }
    kernels
};

pub(crate) fn neuron(
    kind: &str,
    tau: f64,
    reset: Reset<f64>,
    decay_input: bool,
    detach: bool,
) -> AnyNeuron<f64> {
    let (word, v_reset) = match reset {
        Reset::Hard(v_reset) => ("hard", v_reset),
        Reset::Soft => ("soft", 0.0),
    };
    let given = [
        ("tau_ms", Number(tau)),
        ("tau_syn_ms", Number(tau + 0.5)),
        ("tau_w_ms", Number(tau + 2.0)),
        ("threshold", Number(if kind == "adlif" { 1.2 } else { 0.8 })),
        ("bounds", Word("none")),
        ("a", Number(0.3)),
        ("b", Number(0.4)),
        ("q", Number(2.0)),
        ("reset", Word(word)),
        ("v_reset", Number(v_reset)),
        ("decay_input", Flag(decay_input)),
        ("detach", Flag(detach)),
    ];
    AnyNeuron::from_name(kind, &given, 1.0).unwrap()
}

pub(crate) fn all_neurons() -> Vec<AnyNeuron<f64>> {
    neurons(2.3)
}

/// Every kind with every reset, decay and detach.
pub(crate) fn neurons(tau: f64) -> Vec<AnyNeuron<f64>> {
    let mut all = Vec::new();
    for kind in AnyNeuron::<f64>::names() {
        for reset in [Reset::Hard(0.0), Reset::Hard(-0.3), Reset::Soft] {
            for (decay_input, detach) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                let neuron = neuron(kind, tau, reset, decay_input, detach);
                if !all.contains(&neuron) {
                    all.push(neuron);
                }
            }
        }
    }
    all
}

/// The surrogate of a name. Primitives far above 1 are scaled down, because a hard reset
/// `(1 - s) h + s v` with large smooth spikes grows without bound.
pub(crate) fn surrogate(name: &str) -> Scaled<f64, AnySurrogate<f64>> {
    let factor = match name {
        "straight_through" => 0.01,
        "leaky_k_relu" => 0.05,
        "spike_rate_escape" => 0.02,
        _ => 1.0,
    };
    Scaled { factor, surrogate: AnySurrogate::from_name(name, &[]).unwrap() }
}

pub(crate) fn all_surrogates() -> Vec<Scaled<f64, AnySurrogate<f64>>> {
    AnySurrogate::<f64>::NAMES.iter().map(|name| surrogate(name)).collect()
}
