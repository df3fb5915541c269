use polychron_core::delay::{DelayKernel, Gauss, LANES, SynapseGradient, Tap};
use polychron_core::neuron::{ChargeAdjoint, Lif, Neuron, Plif, ResetAdjoint};
use polychron_core::surrogate::{Atan, Surrogate, Triangle};

/// The fault of a neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WrongNeuron {
    None,
    /// The gradient by the state has the wrong sign of the decay.
    StateSign,
    /// The gradient by the input ignores its gain.
    InputGain,
    /// There is no gradient by the parameter.
    ParameterMissing,
    /// The reset's adjoint reads the membrane after the reset.
    AfterReset,
    /// The reset is detached, but its adjoint is not.
    NotDetached,
    /// The gradient by the state is at most 1.
    Clipped,
    /// `with_params` changes the threshold.
    OtherThreshold,
    /// `with_params` stores other parameters.
    OtherParameters,
    /// The slope of the excess is 2.
    SteepExcess,
}

impl WrongNeuron {
    pub(crate) fn neuron(self) -> Faulty {
        let detach = self == Self::NotDetached;
        Faulty { fault: self, plif: Plif::new(lif(detach)), moved: 0.0 }
    }
}

fn lif(detach: bool) -> Lif<f64> {
    Lif { decay_input: true, detach, ..Lif::new(2.5) }
}

/// A PLIF with one fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faulty {
    fault: WrongNeuron,
    plif: Plif<f64>,
    moved: f64,
}

impl Neuron for Faulty {
    type Real = f64;
    type State = [f64; 1];
    type Params = [f64; 1];

    fn fill_state(x: f64) -> [f64; 1] {
        [x]
    }
    fn fill_params(x: f64) -> [f64; 1] {
        [x]
    }
    fn params(&self) -> [f64; 1] {
        self.plif.params()
    }
    fn with_params(&self, [w]: [f64; 1]) -> Self {
        let w = if self.fault == WrongNeuron::OtherParameters { 0.5 * w } else { w };
        let moved = if self.fault == WrongNeuron::OtherThreshold { 0.01 } else { 0.0 };
        Self { plif: self.plif.with_params([w]), moved, ..*self }
    }
    fn rest(&self) -> [f64; 1] {
        self.plif.rest()
    }
    fn charge(&self, state: [f64; 1], x: f64) -> [f64; 1] {
        self.plif.charge(state, x)
    }
    fn charge_adjoint(
        &self,
        state: [f64; 1],
        x: f64,
        d: [f64; 1],
    ) -> ChargeAdjoint<[f64; 1], [f64; 1], f64> {
        let mut adjoint = self.plif.charge_adjoint(state, x, d);
        match self.fault {
            WrongNeuron::StateSign => adjoint.state = [d[0] * (1.0 + self.plif.lif().rate)],
            WrongNeuron::InputGain => adjoint.input = d[0],
            WrongNeuron::ParameterMissing => adjoint.params = [0.0],
            WrongNeuron::Clipped => adjoint.state[0] = adjoint.state[0].min(1.0),
            _ => {}
        }
        adjoint
    }
    fn excess(&self, charged: [f64; 1]) -> f64 {
        let factor = if self.fault == WrongNeuron::SteepExcess { 2.0 } else { 1.0 };
        factor * self.plif.excess(charged) - self.moved
    }
    fn reset(&self, charged: [f64; 1], s: f64) -> [f64; 1] {
        self.plif.reset(charged, s)
    }
    fn reset_adjoint(
        &self,
        charged: [f64; 1],
        s: f64,
        d: [f64; 1],
    ) -> ResetAdjoint<[f64; 1], [f64; 1], f64> {
        match self.fault {
            WrongNeuron::AfterReset => self.plif.reset_adjoint(self.plif.reset(charged, s), s, d),
            WrongNeuron::NotDetached => Plif::new(lif(false)).reset_adjoint(charged, s, d),
            _ => self.plif.reset_adjoint(charged, s, d),
        }
    }
    fn detached(&self) -> bool {
        self.plif.detached()
    }
}

/// A Gaussian delay kernel with one fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WrongKernel {
    None,
    /// The taps are not divided by their sum.
    NotNormalised,
    /// Tap j has the value of tap j + 1.
    TapOneLate,
    /// The gradient by the delay has the wrong sign.
    DelaySign,
    /// The gradient by sigma ignores the sign of sigma.
    SigmaSign,
    /// The taps of the lanes come in reverse order.
    LanesReversed,
    /// The gradient of the last lane by the weight is missing.
    LaneGradient,
    /// The reach is one width.
    ShortReach,
}

impl DelayKernel<f64> for WrongKernel {
    fn width(&self, sigma: f64) -> (f64, f64) {
        let (width, slope) = Gauss.width(sigma);
        (width, if *self == Self::SigmaSign { slope.abs() } else { slope })
    }

    fn tap(&self, j: usize, delay: f64, width: f64) -> Tap<f64> {
        let tap = Gauss.tap(j, delay, width);
        match self {
            Self::TapOneLate => Tap { value: Gauss.tap(j + 1, delay, width).value, ..tap },
            Self::DelaySign => Tap { d_delay: -tap.d_delay, ..tap },
            _ => tap,
        }
    }

    fn reach(&self, width: f64) -> f64 {
        if *self == Self::ShortReach { width } else { Gauss.reach(width) }
    }

    fn taps(&self, delay: f64, sigma: f64, out: &mut [f64]) {
        let width = self.width(sigma).0;
        let bump = |j| self.tap(j, delay, width).value;
        let mass: f64 = (0..out.len()).map(bump).sum();
        let scale = if *self == Self::NotNormalised { 1.0 } else { 1.0 / (mass + 1e-7) };
        out.iter_mut().enumerate().for_each(|(j, x)| *x = bump(j) * scale);
    }

    fn taps_lanes(&self, delays: &[f64; LANES], sigmas: &[f64; LANES], out: &mut [[f64; LANES]]) {
        Gauss.taps_lanes(delays, sigmas, out);
        if *self == Self::LanesReversed {
            out.iter_mut().for_each(|row| row.reverse());
        }
    }

    fn backward_lanes(
        &self,
        weights: &[f64; LANES],
        delays: &[f64; LANES],
        sigmas: &[f64; LANES],
        upstream: &[[f64; LANES]],
    ) -> SynapseGradient<[f64; LANES]> {
        let mut gradient = Gauss.backward_lanes(weights, delays, sigmas, upstream);
        if *self == Self::LaneGradient {
            gradient.weight[LANES - 1] = 0.0;
        }
        gradient
    }
}

/// An arc tangent with one fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum WrongSurrogate {
    None,
    /// The derivative is twice the slope.
    Factor,
    /// The derivative of a triangle jumps where the slope does not.
    Jump,
    /// The primitives of a slice are not those of its numbers.
    Slices,
    /// The primitive overflows.
    Infinite,
}

const ATAN: Atan<f64> = Atan { alpha: 2.0 };
const TRIANGLE: Triangle<f64> = Triangle { alpha: 1.0 };

impl Surrogate<f64> for WrongSurrogate {
    fn derivative(&self, u: f64) -> f64 {
        match self {
            Self::Factor => 2.0 * ATAN.derivative(u),
            Self::Jump => TRIANGLE.derivative(u) + if u > 0.5 { 0.1 } else { 0.0 },
            _ => ATAN.derivative(u),
        }
    }
    fn primitive(&self, u: f64) -> f64 {
        match self {
            Self::Jump => TRIANGLE.primitive(u),
            Self::Infinite => u.exp(),
            _ => ATAN.primitive(u),
        }
    }
    fn primitives(&self, u: &mut [f64]) {
        let shift = if *self == Self::Slices { 1e-15 } else { 0.0 };
        u.iter_mut().for_each(|u| *u = self.primitive(*u) + shift);
    }
}
