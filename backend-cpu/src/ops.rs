use crate::backend::{Cpu, Error};
use crate::lanes::Lanes;
use crate::models::CpuNeuron;
use crate::neuron::Stage;
use crate::norm::{Norm, StepCounts, begin_norm, finish_norm, norm_params, write_norm_gradient};
use crate::projection::KernelPasses;
use crate::recurrent;
use crate::scratch::zeros;
use crate::sequence::Sequence;
use crate::stages::Stages;
use core::ops::Range;
use ndarray::{ArrayViewMut2, Axis};
use polychron_core::backend::{
    Activation, ActivationGradients, Backend, Event, NeuronStage, NormMode, RecurrentGradients,
    RecurrentStage, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::loss::{Loss, RatePenalty};
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::optim::Step;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, Synapses, expect};
use polychron_core::surrogate::Surrogate;
use rayon::prelude::*;
use std::sync::Arc;

/// Numbers per task of an elementwise operation.
const CHUNK: usize = 1 << 14;

impl<R: Lanes> Backend for Cpu<R> {
    type Real = R;
    type Buffer = Vec<R>;
    type Sequence = Sequence<R>;
    type Kernel = Arc<dyn KernelPasses<R>>;
    type Neuron = CpuNeuron<R>;
    type Surrogate = Arc<dyn Surrogate<R>>;
    type Error = Error;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn buffer(&self, len: usize) -> Result<Vec<R>, Error> {
        zeros(len)
    }

    fn sequence(&self, shape: Shape) -> Result<Sequence<R>, Error> {
        let mut sequence = Sequence::try_new(shape, self.scratch())?;
        self.install(|| sequence.clear());
        Ok(sequence)
    }

    fn shape(&self, sequence: &Sequence<R>) -> Shape {
        sequence.shape()
    }

    fn upload(&self, from: &[R], to: &mut Vec<R>) -> Result<(), Error> {
        expect("upload", to.len(), from.len())?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn download(&self, from: &Vec<R>, to: &mut [R]) -> Result<(), Error> {
        expect("download", from.len(), to.len())?;
        to.copy_from_slice(from);
        Ok(())
    }

    fn upload_sequence(&self, from: &[R], to: &mut Sequence<R>) -> Result<(), Error> {
        Ok(self.install(|| to.write(from))?)
    }

    fn upload_events(&self, events: &[Event<R>], to: &mut Sequence<R>) -> Result<(), Error> {
        Ok(self.install(|| to.write_events(events))?)
    }

    fn download_sequence(&self, from: &Sequence<R>, to: &mut [R]) -> Result<(), Error> {
        Ok(self.install(|| from.read(to))?)
    }

    fn synchronize(&self) -> Result<(), Error> {
        Ok(())
    }

    fn are_finite(&self, buffers: &[(&Vec<R>, usize)]) -> Result<bool, Error> {
        for (buffer, len) in buffers {
            expect("buffer", buffer.len(), *len)?;
        }
        Ok(buffers.iter().all(|(buffer, _)| buffer.iter().all(|x| x.is_finite())))
    }

    fn add(&self, x: &Sequence<R>, sum: &mut Sequence<R>) -> Result<(), Error> {
        Ok(self.install(|| sum.add(x))?)
    }

    fn add_bias(
        &self,
        bias: View<'_, Vec<R>>,
        _len: usize,
        y: &mut Sequence<R>,
    ) -> Result<(), Error> {
        let bias = bias.slice()?;
        expect("biases", y.shape().width, bias.len())?;
        self.install(|| y.add_to_each(bias));
        Ok(())
    }

    fn bias_backward(
        &self,
        d_y: &Sequence<R>,
        d_bias: ViewMut<'_, Vec<R>>,
        _len: usize,
    ) -> Result<(), Error> {
        let d_bias = d_bias.slice()?;
        expect("biases' gradient", d_y.shape().width, d_bias.len())?;
        self.install(|| d_y.sum_each(d_bias));
        Ok(())
    }

    fn join(
        &self,
        first: &Sequence<R>,
        second: &Sequence<R>,
        joined: &mut Sequence<R>,
    ) -> Result<(), Error> {
        self.install(|| joined.join(first, second))
    }

    fn copy_last(&self, x: &Sequence<R>, last: &mut Sequence<R>) -> Result<(), Error> {
        self.install(|| last.copy_last(x))
    }

    fn add_buffer(&self, x: &Vec<R>, sum: &mut Vec<R>, len: usize) -> Result<(), Error> {
        expect("sum of buffers", len, x.len())?;
        expect("sum of buffers", len, sum.len())?;
        self.install(|| {
            let parts = sum.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
            parts.for_each(|(sum, x)| sum.iter_mut().zip(x).for_each(|(sum, &x)| *sum += x));
        });
        Ok(())
    }

    fn project(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Vec<R>>,
        x: &Sequence<R>,
        y: &mut Sequence<R>,
    ) -> Result<(), Error> {
        <R as Stages>::project(self, synapses, &**kernel, params, x, y)
    }

    fn project_backward(
        &self,
        synapses: &Synapses,
        kernel: &Self::Kernel,
        params: SynapseParams<'_, Vec<R>>,
        x: &Sequence<R>,
        d_y: &Sequence<R>,
        gradients: SynapseGradients<'_, Vec<R>>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<(), Error> {
        <R as Stages>::project_backward(self, synapses, &**kernel, params, x, d_y, gradients, d_x)
    }

    fn norm_forward(
        &self,
        norm: &BatchNorm<R>,
        params: View<'_, Vec<R>>,
        mode: NormMode<'_, Vec<R>>,
        valid: ValidSteps<'_>,
        y: &Sequence<R>,
        saved: &mut Vec<R>,
        z: &mut Sequence<R>,
    ) -> Result<(), Error> {
        let width = y.shape().width;
        let params = norm_params(&params, width)?;
        y.shape().expect("norm's output", z.shape())?;
        if let Some(running) = begin_norm(norm, mode, width, saved)? {
            let step_counts = StepCounts::new(valid, y.shape());
            let source = Norm::Batch { norm, params };
            let norms: Vec<_> = self.install(|| {
                (0..width).into_par_iter().map(|n| source.of(n, &step_counts, y)).collect()
            });
            finish_norm(
                norm,
                &norms,
                valid.count(y.shape().steps, y.shape().batch),
                running,
                saved,
            );
        }
        self.apply_norm(Norm::Saved { params, saved }, y, z);
        Ok(())
    }

    fn norm_apply(
        &self,
        params: View<'_, Vec<R>>,
        saved: &Vec<R>,
        y: &Sequence<R>,
        z: &mut Sequence<R>,
    ) -> Result<(), Error> {
        let params = norm_params(&params, y.shape().width)?;
        expect("norm's statistics", 2 * y.shape().width, saved.len())?;
        y.shape().expect("norm's output", z.shape())?;
        self.apply_norm(Norm::Saved { params, saved }, y, z);
        Ok(())
    }

    fn norm_backward(
        &self,
        params: View<'_, Vec<R>>,
        saved: &Vec<R>,
        valid: ValidSteps<'_>,
        y: &Sequence<R>,
        d_z: &Sequence<R>,
        d_y: &mut Sequence<R>,
        d_params: ViewMut<'_, Vec<R>>,
    ) -> Result<(), Error> {
        let (shape, width) = (y.shape(), y.shape().width);
        let (params, d_params) = (norm_params(&params, width)?, d_params.slice()?);
        expect("norm's gradient", 2 * width, d_params.len())?;
        expect("norm's statistics", 2 * width, saved.len())?;
        shape.expect("norm's output gradient", d_z.shape())?;
        shape.expect("norm's input gradient", d_y.shape())?;
        let step_counts = StepCounts::new(valid, shape);
        let norm = Norm::Saved { params, saved };
        let gradients: Vec<_> = self.install(|| {
            let backward = |(n, d_y): (usize, ArrayViewMut2<'_, R>)| {
                let d_y = d_y.into_slice().unwrap_or_default();
                d_y.copy_from_slice(&d_z.block(n));
                norm.of(n, &step_counts, y).backward(&step_counts, &y.block(n), d_y)
            };
            d_y.view_mut()
                .axis_iter_mut(Axis(0))
                .into_par_iter()
                .enumerate()
                .map(backward)
                .collect()
        });
        write_norm_gradient(gradients.into_iter(), d_params);
        Ok(())
    }

    fn neuron_forward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Sequence<R>,
        spikes: &mut Sequence<R>,
        end: Option<&mut Vec<R>>,
    ) -> Result<(), Error> {
        let end = end.map(Vec::as_mut_slice);
        Stage::new(stage, Norm::Identity, x)?.forward(self, spikes, end)?;
        Ok(())
    }

    fn neuron_backward(
        &self,
        stage: &NeuronStage<'_, Self>,
        x: &Sequence<R>,
        d_spikes: &Sequence<R>,
        d_x: &mut Sequence<R>,
        d_params: ViewMut<'_, Vec<R>>,
    ) -> Result<(), Error> {
        let stage = Stage::new(stage, Norm::Identity, x)?;
        let d_params = d_params.slice()?;
        x.shape().expect("neurons' output gradient", d_spikes.shape())?;
        x.shape().expect("neurons' input gradient", d_x.shape())?;
        self.install(|| d_x.copy(d_spikes));
        stage.backward(self, false, d_x, d_params)?;
        Ok(())
    }

    /// Groups of samples run on their own, one step after the other.
    fn recurrent_forward(
        &self,
        synapses: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        x: &Sequence<R>,
        outputs: [&mut Sequence<R>; 3],
        end: Option<&mut Vec<R>>,
    ) -> Result<(), Error> {
        recurrent::forward(self, synapses, stage, x, outputs, end)
    }

    fn recurrent_backward(
        &self,
        synapses: &RecurrentStage<'_, Self>,
        stage: &NeuronStage<'_, Self>,
        saved: [&Sequence<R>; 2],
        d: &mut Sequence<R>,
        gradients: RecurrentGradients<'_, Vec<R>>,
    ) -> Result<(), Error> {
        recurrent::backward(self, synapses, stage, saved, d, gradients)
    }

    /// Runs the norm, the neurons and the dropout in one pass over the neurons.
    fn activate(
        &self,
        layer: &Activation<'_, Self>,
        mode: NormMode<'_, Vec<R>>,
        y: &Sequence<R>,
        statistics: &mut Vec<R>,
        spikes: &mut Sequence<R>,
        end: Option<&mut Vec<R>>,
    ) -> Result<(), Error> {
        let Some((norm, params)) = &layer.norm else {
            return self.neuron_forward(&layer.neurons, y, spikes, end);
        };
        let shape = y.shape();
        let params = norm_params(params, shape.width)?;
        let running = begin_norm(norm, mode, shape.width, statistics)?;
        let source = match running {
            Some(_) => Norm::Batch { norm, params },
            None => Norm::Saved { params, saved: statistics },
        };
        let end = end.map(Vec::as_mut_slice);
        let norms = Stage::new(&layer.neurons, source, y)?.forward(self, spikes, end)?;
        if let Some(running) = running {
            let n = layer.neurons.valid.count(shape.steps, shape.batch);
            finish_norm(norm, &norms, n, running, statistics);
        }
        Ok(())
    }

    fn activate_backward(
        &self,
        layer: &Activation<'_, Self>,
        y: &Sequence<R>,
        statistics: &Vec<R>,
        d: &mut Sequence<R>,
        gradients: ActivationGradients<'_, Vec<R>>,
    ) -> Result<(), Error> {
        let width = y.shape().width;
        let norm = match &layer.norm {
            Some((_, params)) => {
                let params = norm_params(params, width)?;
                expect("norm's statistics", 2 * width, statistics.len())?;
                Norm::Saved { params, saved: statistics }
            }
            None => Norm::Identity,
        };
        let stage = Stage::new(&layer.neurons, norm, y)?;
        let by_norm = stage.backward(self, layer.norm.is_some(), d, gradients.neuron.slice()?)?;
        if layer.norm.is_some() {
            let d_params = gradients.norm.slice()?;
            expect("norm's gradient", 2 * width, d_params.len())?;
            write_norm_gradient(by_norm.into_iter(), d_params);
        }
        Ok(())
    }

    fn readout(
        &self,
        readout: &Li<R>,
        loss: Loss,
        valid: ValidSteps<'_>,
        x: &Sequence<R>,
        targets: Option<&Vec<R>>,
        scores: &mut Vec<R>,
        d_x: Option<&mut Sequence<R>>,
    ) -> Result<R, Error> {
        let targets = targets.map(Vec::as_slice);
        Ok(self
            .install(|| crate::readout::readout(readout, loss, valid, x, targets, scores, d_x))?)
    }

    fn optimize(
        &self,
        step: &Step<R>,
        range: Range<usize>,
        gradient: &Vec<R>,
        params: &mut Vec<R>,
        first: &mut Vec<R>,
        second: &mut Vec<R>,
        _len: usize,
    ) -> Result<(), Error> {
        let gradient = View::new(gradient, range.clone()).slice()?;
        let params = ViewMut::new(params, range.clone()).slice()?;
        let first = ViewMut::new(first, range.clone()).slice()?;
        let second = ViewMut::new(second, range).slice()?;
        self.install(|| {
            let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
            let params = params.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
            params.zip(moments).for_each(|((p, g), (m, v))| step.update(g, p, m, v));
        });
        Ok(())
    }

    fn penalize_rates(
        &self,
        penalty: &RatePenalty,
        valid: ValidSteps<'_>,
        spikes: &Sequence<R>,
        d: &mut Sequence<R>,
    ) -> Result<R, Error> {
        spikes.shape().expect("penalty's gradient", d.shape())?;
        let Shape { steps, batch, .. } = spikes.shape();
        let lengths: Vec<usize> = (0..batch).map(|b| valid.steps(b, steps)).collect();
        let count = lengths.iter().sum::<usize>().max(1) as f64;
        let penalize = |(n, d): (usize, &mut [R])| {
            let spikes = spikes.block(n);
            let places = (0..steps).flat_map(|t| (0..batch).map(move |b| (t, b)));
            let valid = places.enumerate().filter(|(_, (t, b))| *t < lengths[*b]);
            let spiked: f64 = valid.clone().map(|(at, _)| spikes[at].as_f64()).sum();
            let (value, slope) = penalty.of_rate(spiked / count);
            if slope != 0.0 {
                let slope = R::of(slope / count);
                valid.for_each(|(at, _)| d[at] += slope);
            }
            value
        };
        self.install(|| {
            if let Some(numbers) = d.to_dense() {
                *d = numbers;
            }
            let values: Vec<f64> = d.blocks_mut().enumerate().map(penalize).collect();
            Ok(R::of(values.into_iter().sum()))
        })
    }

    fn dropout(&self, rng: Rng, p: f64, len: usize) -> Result<Vec<R>, Error> {
        let keep = R::of(1.0 / (1.0 - p));
        let mut mask = vec![keep; len];
        let draw = |(n, mask): (usize, &mut [R])| {
            for (k, four) in mask.chunks_mut(4).enumerate() {
                let draws = rng.four_uniform::<f64>((n * CHUNK / 4 + k) as u64);
                for (mask, _) in four.iter_mut().zip(draws).filter(|(_, draw)| *draw < p) {
                    *mask = R::zero();
                }
            }
        };
        self.install(|| mask.par_chunks_mut(CHUNK).enumerate().for_each(draw));
        Ok(mask)
    }
}

impl<R: Lanes> Cpu<R> {
    fn apply_norm(&self, norm: Norm<'_, R>, y: &Sequence<R>, z: &mut Sequence<R>) {
        let step_counts = StepCounts::new(ValidSteps::default(), y.shape());
        self.install(|| {
            z.view_mut().axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(n, z)| {
                let normal = norm.of(n, &step_counts, y);
                let z = z.into_slice().unwrap_or_default();
                for (z, &y) in z.iter_mut().zip(y.block(n).iter()) {
                    *z = normal.apply(y);
                }
            });
        });
    }
}
