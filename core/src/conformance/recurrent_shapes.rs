use super::host::{Host, Part};
use super::shapes::{BEYOND, rejected, zero_part};
use super::{Conforming, Failure, Report, Verdict};
use crate::backend::{
    Firing, NeuronStage, RecurrentGradients, RecurrentStage, SynapseGradients, SynapseParams,
};
use crate::delay::{AnyKernel, Place};
use crate::neuron::{AnyNeuron, CubaLif, Lif};
use crate::norm::ValidSteps;
use crate::num::Real;
use crate::shape::{Shape, Synapses};
use crate::surrogate::{AnySurrogate, Atan};
use alloc::format;

/// Wrong sizes of synapses, parameters, gradients, masks, earlier spikes, inputs or outputs are
/// errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn recurrent_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let shape = Shape::new(6, 2, 4);
    let synapses = Synapses { kernel_count: 2, padding: 0, ..Synapses::new(4, 4, 3) };
    let right = Sizes {
        synapses,
        params: [32, 32, 32, 2],
        gradients: [32, 32, 32, 2],
        masks: [8, 8],
        past: Some(Shape { steps: 3, ..shape }),
        blocks: [shape; 4],
    };
    let both = |what: &str, wrong: Sizes| {
        rejected(&format!("recurrent_forward, {what}"), wrong.call(backend, false))?;
        rejected(&format!("recurrent_backward, {what}"), wrong.call(backend, true))
    };
    for back in [false, true] {
        right.call(backend, back)?;
        Sizes { past: None, ..right }.call(backend, back)?;
    }
    for synapses in [
        Synapses { inputs: 5, ..synapses },
        Synapses { outputs: 3, ..synapses },
        Synapses { padding: 1, ..synapses },
        Synapses { taps: 0, ..synapses },
        Synapses { taps: usize::MAX, ..synapses },
        Synapses { kernel_count: usize::MAX, ..synapses },
    ] {
        both("synapses", Sizes { synapses, past: None, ..right })?;
    }
    for (n, by) in (0..4).flat_map(|n| [1, BEYOND].map(|by| (n, by))) {
        let mut sizes = right;
        sizes.params[n] += by;
        both("parameters", sizes)?;
        let mut sizes = right;
        sizes.gradients[n] += by;
        rejected("recurrent_backward, gradients", sizes.call(backend, true))?;
    }
    for masks in [[7, 8], [9, 8], [8, 7], [8, 9]] {
        both("masks", Sizes { masks, ..right })?;
    }
    for past in [Shape::new(2, 2, 4), Shape::new(4, 2, 4), Shape::new(3, 3, 4)] {
        both("earlier spikes", Sizes { past: Some(past), ..right })?;
    }
    let others = [Shape::new(5, 2, 4), Shape::new(6, 3, 4), Shape::new(6, 2, 5)];
    for (n, other) in (0..4).flat_map(|n| others.map(|other| (n, other))) {
        let mut sizes = right;
        sizes.blocks[n] = other;
        rejected("recurrent_forward, inputs or spikes", sizes.call(backend, false))?;
        if n > 0 {
            rejected("recurrent_backward, inputs or spikes", sizes.call(backend, true))?;
        }
    }
    Ok(Report::default())
}

/// The sizes of a call.
#[derive(Clone, Copy)]
struct Sizes {
    synapses: Synapses,
    /// Weights, delays, sigma and the parameters of the neurons.
    params: [usize; 4],
    gradients: [usize; 4],
    /// The dropout mask of the current and that of the output.
    masks: [usize; 2],
    past: Option<Shape>,
    /// The input, that of the neurons, the spikes and the output, or its gradient.
    blocks: [Shape; 4],
}

impl Sizes {
    fn call<R: Real, B: Conforming<Real = R>>(
        self,
        backend: &B,
        back: bool,
    ) -> Result<(), Failure> {
        let host = Host::<R, B>::new(backend);
        let parts = |[a, b, c, d]: [usize; 4]| -> Result<[Part<B::Buffer>; 4], Failure> {
            let part = |len| zero_part(&host, len);
            Ok([part(a)?, part(b)?, part(c)?, part(d)?])
        };
        let [weights, delays, sigma, params] = parts(self.params)?;
        let mut gradients = parts(self.gradients)?;
        let [mask, dropped] = [backend.buffer(self.masks[0])?, backend.buffer(self.masks[1])?];
        let before = self.past.map(|past| backend.sequence(past)).transpose()?;
        let [x, input, fired, spikes] = self.blocks.map(|shape| backend.sequence(shape));
        let (x, mut input, mut fired, mut spikes) = (x?, input?, fired?, spikes?);
        let lif = CubaLif::new(Lif::new(R::of(2.0)), R::of(2.0));
        let stage = NeuronStage {
            neuron: &B::neuron(AnyNeuron::CubaLif(lif)),
            params: params.view(),
            surrogate: &B::surrogate(AnySurrogate::Atan(Atan { alpha: R::of(2.0) })),
            firing: Firing::Step,
            mask: Some(&dropped),
            valid: ValidSteps::default(),
            start: None,
        };
        let (weights, delays, sigma) = (weights.view(), delays.view(), sigma.view());
        let recurrent = RecurrentStage {
            synapses: &self.synapses,
            place: Place::Synaptic,
            kernel: &B::kernel(AnyKernel::Gauss),
            params: SynapseParams { weights, delays, sigma, rounding: None },
            spread: None,
            mask: Some(&mask),
            before: before.as_ref(),
        };
        if !back {
            let outputs = [&mut input, &mut fired, &mut spikes];
            return Ok(backend.recurrent_forward(&recurrent, &stage, &x, outputs, None)?);
        }
        let [weights, delays, sigma, neuron] = gradients.each_mut().map(Part::view_mut);
        let synapses = SynapseGradients { weights, delays, sigma };
        let into = RecurrentGradients { synapses, neuron };
        Ok(backend.recurrent_backward(&recurrent, &stage, [&input, &fired], &mut spikes, into)?)
    }
}
