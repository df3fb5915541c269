use super::neuron::{NeuronArgs, neuron_backward, neuron_forward};
use super::recurrent::{RecurrentArgs, recurrent_backward, recurrent_forward};
use super::zeros::zeros;
use super::{
    norm_apply, norm_backward, norm_statistics, project, project_backward, project_input, readout,
};
use crate::backend::{
    Backend, HasKernel, HasNeuron, HasSurrogate, NeuronStage, NormMode, RecurrentGradients,
    RecurrentStage, SynapseGradients, SynapseParams, View, ViewMut,
};
use crate::delay::{DelayKernel, Rounding, dense_kernel};
use crate::loss::Loss;
use crate::neuron::{ErasedNeuron, Firing, Li, LinearMembrane, Neuron, NeuronModel, NeuronVisitor};
use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::shape::{Shape, ShapeError, Synapses, expect};
use crate::surrogate::Surrogate;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::marker::PhantomData;

/// A host block `[time, batch, width]`, time-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Block<R> {
    /// The shape.
    pub shape: Shape,
    /// The values.
    pub values: Vec<R>,
}

/// The backend of the scalar reference: slow, single-threaded, the oracle of the conformance suite.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference<R>(PhantomData<R>);

impl<R: Real> Reference<R> {
    /// The backend.
    #[must_use]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R: Real> Backend for Reference<R> {
    type Real = R;
    type Buffer = Vec<R>;
    type Sequence = Block<R>;
    type Kernel = Rc<dyn DelayKernel<R>>;
    type Neuron = Rc<dyn ScalarNeuron<R>>;
    type Surrogate = Rc<dyn Surrogate<R>>;
    type Error = ShapeError;

    fn name(&self) -> &'static str {
        "reference"
    }

    fn buffer(&self, len: usize) -> Result<Vec<R>, ShapeError> {
        zeros("buffer", len)
    }

    fn sequence(&self, shape: Shape) -> Result<Block<R>, ShapeError> {
        Ok(Block { shape, values: zeros("sequence", shape.try_len()?)? })
    }

    fn shape(&self, sequence: &Block<R>) -> Shape {
        sequence.shape
    }

    fn upload(&self, from: &[R], to: &mut Vec<R>) -> Result<(), ShapeError> {
        expect("upload", to.len(), from.len())?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn download(&self, from: &Vec<R>, to: &mut [R]) -> Result<(), ShapeError> {
        expect("download", from.len(), to.len())?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn upload_sequence(&self, from: &[R], to: &mut Block<R>) -> Result<(), ShapeError> {
        self.upload(from, &mut to.values)
    }

    fn download_sequence(&self, from: &Block<R>, to: &mut [R]) -> Result<(), ShapeError> {
        self.download(&from.values, to)
    }

    fn synchronize(&self) -> Result<(), ShapeError> {
        Ok(())
    }

    fn add(&self, x: &Block<R>, sum: &mut Block<R>) -> Result<(), ShapeError> {
        expect("sum of sequences", sum.values.len(), x.values.len())?;
        for (sum, &x) in sum.values.iter_mut().zip(&x.values) {
            *sum += x;
        }
        Ok(())
    }

    fn project(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Vec<R>>,
        x: &Block<R>,
        y: &mut Block<R>,
    ) -> Result<(), ShapeError> {
        synapses.check(x.shape, y.shape)?;
        let rounded = params.rounding.map(Rounding::kernel);
        let kernel = rounded.as_ref().map_or(&**kernel, |rounded| rounded);
        let dense = dense(synapses, kernel, &params)?;
        project(synapses, &dense, &x.values, x.shape, &mut y.values)
    }

    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Vec<R>>,
        x: &Block<R>,
        d_y: &Block<R>,
        gradients: SynapseGradients<'_, Vec<R>>,
        d_x: Option<&mut Block<R>>,
    ) -> Result<(), ShapeError> {
        synapses.check(x.shape, d_y.shape)?;
        let rounded = params.rounding.map(Rounding::kernel);
        let kernel = rounded.as_ref().map_or(&**kernel, |rounded| rounded);
        if let Some(d_x) = d_x {
            synapses.check(d_x.shape, d_y.shape)?;
            let dense = dense(synapses, kernel, &params)?;
            project_input(synapses, &dense, &d_y.values, x.shape, &mut d_x.values)?;
        }
        let values = [params.weights.slice()?, params.delays.slice()?, params.sigma.slice()?];
        let SynapseGradients { weights, delays, sigma } = gradients;
        let gradients = [weights.slice()?, delays.slice()?, sigma.slice()?];
        project_backward(synapses, kernel, values, &x.values, x.shape, &d_y.values, gradients)
    }

    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Block<R>,
        spikes: &mut Block<R>,
        end: Option<&mut Vec<R>>,
    ) -> Result<(), ShapeError> {
        stage.neuron.forward(stage, x, spikes, end)
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Block<R>,
        d_spikes: &Block<R>,
        d_x: &mut Block<R>,
        d_params: ViewMut<'_, Vec<R>>,
    ) -> Result<(), ShapeError> {
        stage.neuron.backward(stage, x, d_spikes, d_x, d_params.slice()?)
    }

    fn recurrent_forward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        x: &Block<R>,
        [input, fired, spikes]: [&mut Block<R>; 3],
        end: Option<&mut Vec<R>>,
    ) -> Result<(), ShapeError> {
        let dense = recurrent_kernel(recurrent, x.shape)?;
        let args = recurrent_arguments(recurrent, &dense);
        stage.neuron.recurrent_forward(&args, stage, x, [input, fired, spikes], end)
    }

    fn recurrent_backward(
        &self,
        recurrent: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        [input, fired]: [&Block<R>; 2],
        d: &mut Block<R>,
        gradients: RecurrentGradients<'_, Vec<R>>,
    ) -> Result<(), ShapeError> {
        let dense = recurrent_kernel(recurrent, input.shape)?;
        let args = recurrent_arguments(recurrent, &dense);
        expect("recurrent spikes", input.values.len(), fired.values.len())?;
        let RecurrentGradients { synapses: by_synapse, neuron: by_neuron } = gradients;
        stage.neuron.recurrent_backward(&args, stage, input, d, by_neuron.slice()?)?;
        let (shape, [x, d_y]) = args.projected(&fired.values, &d.values, input.shape)?;
        let [x, d_y] = [x, d_y].map(|values| Block { shape, values });
        let RecurrentStage { synapses, kernel, params, .. } = recurrent;
        self.project_backward(synapses, kernel, params.clone(), &x, &d_y, by_synapse, None)
    }

    fn norm_forward(
        &self,
        norm: &BatchNorm<R>,
        params: View<'_, Vec<R>>,
        mode: NormMode<'_, Vec<R>>,
        valid: ValidSteps<'_>,
        y: &Block<R>,
        saved: &mut Vec<R>,
        z: &mut Block<R>,
    ) -> Result<(), ShapeError> {
        expect("norm's statistics", 2 * y.shape.width, saved.len())?;
        let (mean, var) = saved.split_at_mut(y.shape.width);
        match mode {
            NormMode::Batch { running } => {
                let running = running.slice()?;
                expect("norm's running statistics", 2 * y.shape.width, running.len())?;
                norm_statistics(valid, &y.values, y.shape, mean, var)?;
                norm.finish(running, mean, var, valid.count(y.shape.steps, y.shape.batch));
            }
            NormMode::Running(running) => {
                let running = running.slice()?;
                expect("norm's running statistics", 2 * y.shape.width, running.len())?;
                mean.copy_from_slice(&running[..y.shape.width]);
                for (to, &from) in var.iter_mut().zip(&running[y.shape.width..]) {
                    *to = norm.inverse_deviation(from);
                }
            }
        }
        norm_apply(params.slice()?, saved, &y.values, y.shape, &mut z.values)
    }

    fn norm_apply(
        &self,
        params: View<'_, Vec<R>>,
        saved: &Vec<R>,
        y: &Block<R>,
        z: &mut Block<R>,
    ) -> Result<(), ShapeError> {
        norm_apply(params.slice()?, saved, &y.values, y.shape, &mut z.values)
    }

    fn norm_backward(
        &self,
        params: View<'_, Vec<R>>,
        saved: &Vec<R>,
        valid: ValidSteps<'_>,
        y: &Block<R>,
        d_z: &Block<R>,
        d_y: &mut Block<R>,
        d_params: ViewMut<'_, Vec<R>>,
    ) -> Result<(), ShapeError> {
        let (params, d_params) = (params.slice()?, d_params.slice()?);
        let (y, d_z, shape) = (&y.values, &d_z.values, y.shape);
        norm_backward(params, saved, valid, y, d_z, shape, &mut d_y.values, d_params)
    }

    fn readout(
        &self,
        li: &Li<R>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Block<R>,
        targets: Option<&Vec<R>>,
        scores: &mut Vec<R>,
        d_x: Option<&mut Block<R>>,
    ) -> Result<R, ShapeError> {
        let targets = targets.map(Vec::as_slice);
        let d_x = d_x.map(|d_x| d_x.values.as_mut_slice());
        readout(li, loss, valid, (&x.values, x.shape), targets, scores, d_x)
    }
}

/// The dense kernel of recurrent synapses for neurons with outputs of a shape.
fn recurrent_kernel<R: Real>(
    recurrent: &RecurrentStage<'_, Reference<R>>,
    shape: Shape,
) -> Result<Vec<R>, ShapeError> {
    recurrent.check(shape)?;
    let RecurrentStage { synapses, kernel, params, .. } = recurrent;
    let rounded = params.rounding.map(Rounding::kernel);
    dense(synapses, rounded.as_ref().map_or(&***kernel, |rounded| rounded), params)
}

fn recurrent_arguments<'a, R: Real>(
    recurrent: &RecurrentStage<'a, Reference<R>>,
    dense: &'a [R],
) -> RecurrentArgs<'a, R> {
    RecurrentArgs {
        dense,
        taps: recurrent.synapses.taps,
        mask: recurrent.mask.map(Vec::as_slice),
        before: recurrent.before.map(|before| before.values.as_slice()),
    }
}

fn dense<R: Real>(
    synapses: &Synapses,
    kernel: &dyn DelayKernel<R>,
    params: &SynapseParams<'_, Vec<R>>,
) -> Result<Vec<R>, ShapeError> {
    let mut scratch = zeros("kernel's scratch", synapses.taps)?;
    let mut out = zeros("dense kernel", synapses.dense_len())?;
    let (weights, delays) = (params.weights.slice()?, params.delays.slice()?);
    let sigma = params.sigma.slice()?;
    dense_kernel(kernel, synapses, weights, delays, sigma, &mut scratch, &mut out)?;
    Ok(out)
}

/// The scalar stages of a neuron whose type is erased.
pub trait ScalarNeuron<R: Real>: ErasedNeuron<R> {
    /// [`neuron_forward`](super::neuron_forward).
    ///
    /// # Errors
    /// [`ShapeError`] if the size of a block does not match.
    fn forward(
        &self,
        stage: &NeuronStage<'_, Reference<R>>,
        x: &Block<R>,
        spikes: &mut Block<R>,
        end: Option<&mut Vec<R>>,
    ) -> Result<(), ShapeError>;

    /// [`neuron_backward`](super::neuron_backward).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn backward(
        &self,
        stage: &NeuronStage<'_, Reference<R>>,
        x: &Block<R>,
        d_spikes: &Block<R>,
        d_x: &mut Block<R>,
        d_params: &mut [R],
    ) -> Result<(), ShapeError>;

    /// [`recurrent_forward`](super::recurrent_forward).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn recurrent_forward(
        &self,
        recurrent: &RecurrentArgs<'_, R>,
        stage: &NeuronStage<'_, Reference<R>>,
        x: &Block<R>,
        outputs: [&mut Block<R>; 3],
        end: Option<&mut Vec<R>>,
    ) -> Result<(), ShapeError>;

    /// [`recurrent_backward`](super::recurrent_backward); turns the gradient `d` by the spikes into
    /// that by the input.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn recurrent_backward(
        &self,
        recurrent: &RecurrentArgs<'_, R>,
        stage: &NeuronStage<'_, Reference<R>>,
        input: &Block<R>,
        d: &mut Block<R>,
        d_params: &mut [R],
    ) -> Result<(), ShapeError>;
}

impl<R: Real, N: Neuron<Real = R>> ScalarNeuron<R> for N {
    fn forward(
        &self,
        stage: &NeuronStage<'_, Reference<R>>,
        x: &Block<R>,
        spikes: &mut Block<R>,
        end: Option<&mut Vec<R>>,
    ) -> Result<(), ShapeError> {
        let neurons = configured(self, stage, x.shape.width)?;
        let args = arguments(&neurons, stage, x.shape);
        let end = end.map(Vec::as_mut_slice);
        neuron_forward(&args, &x.values, &mut spikes.values, None, end)
    }

    fn backward(
        &self,
        stage: &NeuronStage<'_, Reference<R>>,
        x: &Block<R>,
        d_spikes: &Block<R>,
        d_x: &mut Block<R>,
        d_params: &mut [R],
    ) -> Result<(), ShapeError> {
        let neurons = configured(self, stage, x.shape.width)?;
        let (args, d) = (arguments(&neurons, stage, x.shape), &d_spikes.values);
        neuron_backward(&args, &x.values, d, None, &mut d_x.values, d_params)
    }

    fn recurrent_forward(
        &self,
        recurrent: &RecurrentArgs<'_, R>,
        stage: &NeuronStage<'_, Reference<R>>,
        x: &Block<R>,
        outputs: [&mut Block<R>; 3],
        end: Option<&mut Vec<R>>,
    ) -> Result<(), ShapeError> {
        let neurons = configured(self, stage, x.shape.width)?;
        let args = arguments(&neurons, stage, x.shape);
        let (outputs, end) =
            (outputs.map(|block| block.values.as_mut_slice()), end.map(Vec::as_mut_slice));
        recurrent_forward(recurrent, &args, &x.values, outputs, end)
    }

    fn recurrent_backward(
        &self,
        recurrent: &RecurrentArgs<'_, R>,
        stage: &NeuronStage<'_, Reference<R>>,
        input: &Block<R>,
        d: &mut Block<R>,
        d_params: &mut [R],
    ) -> Result<(), ShapeError> {
        let neurons = configured(self, stage, input.shape.width)?;
        let (args, d_spikes) = (arguments(&neurons, stage, input.shape), d.values.clone());
        recurrent_backward(recurrent, &args, &input.values, &d_spikes, &mut d.values, d_params)
    }
}

/// The neuron of a stage, or its neurons if each has its own parameters.
fn configured<R: Real, N: Neuron<Real = R>>(
    neuron: &N,
    stage: &NeuronStage<'_, Reference<R>>,
    width: usize,
) -> Result<Vec<N>, ShapeError> {
    let (sets, params) = (stage.sets(width)?, stage.params.slice()?);
    Ok((0..sets).map(|n| neuron.with_set(params, sets, n)).collect())
}

fn arguments<'a, R: Real, N: Neuron<Real = R>>(
    neurons: &'a [N],
    stage: &'a NeuronStage<'_, Reference<R>>,
    shape: Shape,
) -> NeuronArgs<'a, R, N> {
    NeuronArgs {
        neurons,
        surrogate: &**stage.surrogate,
        firing: match stage.firing {
            Firing::Step => Firing::Step,
            Firing::Smooth => Firing::Smooth,
            Firing::SmoothHeld(held) => Firing::SmoothHeld(held.values.as_slice()),
            Firing::Frozen(held) => Firing::Frozen(held.values.as_slice()),
        },
        mask: stage.mask.map(Vec::as_slice),
        valid: stage.valid,
        shape,
        start: stage.start.map(Vec::as_slice),
    }
}

impl<R: Real, K: DelayKernel<R> + 'static> HasKernel<K> for Reference<R> {
    fn kernel(kernel: K) -> Self::Kernel {
        Rc::new(kernel)
    }
}

impl<R: Real, M: NeuronModel<Real = R>> HasNeuron<M> for Reference<R> {
    fn neuron(neuron: M) -> Self::Neuron {
        struct Erase;
        impl<R: Real> NeuronVisitor<R> for Erase {
            type Output = Rc<dyn ScalarNeuron<R>>;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
                Rc::new(*neuron)
            }
        }
        neuron.visit(Erase)
    }
}

impl<R: Real, S: Surrogate<R> + 'static> HasSurrogate<S> for Reference<R> {
    fn surrogate(surrogate: S) -> Self::Surrogate {
        Rc::new(surrogate)
    }
}

impl<R: Real> ErasedNeuron<R> for Rc<dyn ScalarNeuron<R>> {
    fn param_count(&self) -> usize {
        (**self).param_count()
    }
    fn state_count(&self) -> usize {
        (**self).state_count()
    }
    fn write_params(&self, out: &mut [R]) {
        (**self).write_params(out);
    }
    fn param_bounds(&self, index: usize) -> Option<(R, R)> {
        (**self).param_bounds(index)
    }
    fn membrane_with(&self, params: &[R]) -> Option<LinearMembrane<R>> {
        (**self).membrane_with(params)
    }
}
