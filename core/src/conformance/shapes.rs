use super::host::{Host, Part, same_bits};
use super::{Conforming, Failure, Report, Verdict};
use crate::backend::{
    Activation, ActivationGradients, Firing, NeuronStage, NormMode, SynapseGradients, SynapseParams,
};
use crate::delay::AnyKernel;
use crate::loss::{Loss, RatePenalty};
use crate::neuron::{AnyNeuron, CubaLif, Li, Lif};
use crate::norm::{BatchNorm, ValidSteps};
use crate::num::Real;
use crate::optim::{Optimizer, Step};
use crate::shape::{Shape, Synapses};
use crate::surrogate::{AnySurrogate, Atan};
use alloc::format;
use alloc::vec;

/// Copies of the wrong size and sequences whose size overflows are errors, and change nothing.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn memory_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let (shape, values) = (Shape::new(3, 2, 2), [0.5; 12]);
    let (mut buffer, mut sequence) = (host.buffer(&values)?, host.sequence(shape, &values)?);
    for len in [0, 11, 13] {
        let mut block = vec![R::one(); len];
        rejected("upload", backend.upload(&block, &mut buffer))?;
        rejected("upload_sequence", backend.upload_sequence(&block, &mut sequence))?;
        rejected("download", backend.download(&buffer, &mut block))?;
        rejected("download_sequence", backend.download_sequence(&sequence, &mut block))?;
        if block.iter().any(|&x| x != R::one()) {
            return Err(Failure("a rejected download has written".into()));
        }
    }
    for wrong in [Shape::new(2, 2, 2), Shape::new(3, 3, 2), Shape::new(3, 2, 3)] {
        rejected("add", backend.add(&backend.sequence(wrong)?, &mut sequence))?;
    }
    for wrong in [Shape::new(4, 2, 2), Shape::new(2, 3, 2), Shape::new(2, 2, 3)] {
        let (part, whole) = (backend.sequence(wrong)?, backend.sequence(Shape::new(5, 2, 2))?);
        let rest = backend.sequence(Shape::new(1, 2, 2))?;
        rejected("join", backend.join(&part, &rest, &mut sequence))?;
        rejected("join", backend.join(&rest, &part, &mut sequence))?;
        let mut last = backend.sequence(Shape { steps: wrong.steps + 2, ..wrong })?;
        rejected("copy_last", backend.copy_last(&whole, &mut last))?;
    }
    for len in [0, 11, 13] {
        rejected("add_buffer", backend.add_buffer(&backend.buffer(len)?, &mut buffer, 12))?;
        rejected("add_buffer", backend.add_buffer(&host.buffer(&values)?, &mut buffer, len))?;
    }
    for len in [11, 13] {
        rejected("square_sum", backend.square_sum(&buffer, len))?;
        rejected("scale", backend.scale(R::one() + R::one(), &mut buffer, len))?;
    }
    host.same_buffer(&buffer, &values)?;
    host.same_sequence(&sequence, &values)?;
    for shape in [Shape::new(usize::MAX, 2, 2), Shape::new(2, 2, usize::MAX)] {
        rejected("sequence", backend.sequence(shape))?;
    }
    Ok(Report::default())
}

const SYNAPSES: Synapses = Synapses { inputs: 3, outputs: 4, kernel_count: 2, taps: 5, padding: 2 };
const X: Shape = Shape::new(6, 2, 3);
const Y: Shape = Shape::new(8, 2, 4);
/// Shapes that differ from Y in one dimension.
const NOT_Y: [Shape; 3] = [Shape::new(7, 2, 4), Shape::new(8, 3, 4), Shape::new(8, 2, 5)];
const N: usize = 24;

/// Wrong sizes of parameters, gradients, input or output, views beyond their buffers, and
/// dimensions whose products overflow are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn projection_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let forward = |sizes: [usize; 3], x: Shape, y: Shape| -> Result<(), Failure> {
        let [w, d, s] = zero_parts(&host, sizes)?;
        let params =
            SynapseParams { weights: w.view(), delays: d.view(), sigma: s.view(), rounding: None };
        let (x, mut y) = (backend.sequence(x)?, backend.sequence(y)?);
        Ok(backend.project(&SYNAPSES, &B::kernel(AnyKernel::Gauss), params, &x, &mut y)?)
    };
    let backward = |sizes: [usize; 3],
                    d_sizes: [usize; 3],
                    x: Shape,
                    y: Shape,
                    d_x: Shape|
     -> Result<(), Failure> {
        let [w, d, s] = zero_parts(&host, sizes)?;
        let [mut d_w, mut d_d, mut d_s] = zero_parts(&host, d_sizes)?;
        let params =
            SynapseParams { weights: w.view(), delays: d.view(), sigma: s.view(), rounding: None };
        let into = SynapseGradients {
            weights: d_w.view_mut(),
            delays: d_d.view_mut(),
            sigma: d_s.view_mut(),
        };
        let (x, y, mut d_x) = (backend.sequence(x)?, backend.sequence(y)?, backend.sequence(d_x)?);
        Ok(backend.project_backward(
            &SYNAPSES,
            &B::kernel(AnyKernel::Gauss),
            params,
            &x,
            &y,
            into,
            Some(&mut d_x),
        )?)
    };
    let right = [N, N, N];
    forward(right, X, Y)?;
    forward([N, N, 1], X, Y)?;
    backward(right, right, X, Y, X)?;
    for wrong in [
        [N - 1, N, N],
        [N, N + 1, N],
        [N, N, 2],
        [BEYOND + N, N, N],
        [N, BEYOND + N, N],
        [N, N, BEYOND + N],
    ] {
        rejected("project, parameters", forward(wrong, X, Y))?;
        rejected("project_backward, parameters", backward(wrong, right, X, Y, X))?;
        rejected("project_backward, gradients", backward(right, wrong, X, Y, X))?;
    }
    rejected("project_backward, sigma's gradient", backward(right, [N, N, 1], X, Y, X))?;
    for y in NOT_Y {
        rejected("project, output", forward(right, X, y))?;
        rejected("project_backward, upstream", backward(right, right, X, y, X))?;
    }
    for x in [Shape::new(5, 2, 3), Shape::new(6, 1, 3), Shape::new(6, 2, 4)] {
        rejected("project, input", forward(right, x, Y))?;
        rejected("project_backward, input", backward(right, right, x, Y, X))?;
        rejected("project_backward, input's gradient", backward(right, right, X, Y, x))?;
    }
    for overflowing in [
        Synapses { taps: usize::MAX, ..SYNAPSES },
        Synapses { kernel_count: usize::MAX, ..SYNAPSES },
        Synapses { padding: usize::MAX, ..SYNAPSES },
    ] {
        let [w, d, s] = zero_parts(&host, right)?;
        let params =
            SynapseParams { weights: w.view(), delays: d.view(), sigma: s.view(), rounding: None };
        let (x, mut y) = (backend.sequence(X)?, backend.sequence(Y)?);
        let result =
            backend.project(&overflowing, &B::kernel(AnyKernel::Gauss), params, &x, &mut y);
        rejected("project, dimensions", result)?;
    }
    Ok(Report::default())
}

/// Wrong sizes of parameters, statistics, input or output are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn norm_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let (norm, valid) = (BatchNorm::default(), ValidSteps::default());
    let apply = |[p, saved]: [usize; 2], z: Shape| -> Result<(), Failure> {
        let (p, saved) = (zero_part(&host, p)?, backend.buffer(saved)?);
        let (y, mut z) = (backend.sequence(Y)?, backend.sequence(z)?);
        Ok(backend.norm_apply(p.view(), &saved, &y, &mut z)?)
    };
    let forward = |[p, saved, running]: [usize; 3], z: Shape, batch: bool| -> Result<(), Failure> {
        let (p, mut running) = (zero_part(&host, p)?, zero_part(&host, running)?);
        let (y, mut z, mut saved) =
            (backend.sequence(Y)?, backend.sequence(z)?, backend.buffer(saved)?);
        let mode = if batch {
            NormMode::Batch { running: running.view_mut() }
        } else {
            NormMode::Running(running.view())
        };
        Ok(backend.norm_forward(&norm, p.view(), mode, valid, &y, &mut saved, &mut z)?)
    };
    let backward = |[p, saved, d_p]: [usize; 3], d_z: Shape, d_y: Shape| -> Result<(), Failure> {
        let (p, saved, mut d_p) =
            (zero_part(&host, p)?, backend.buffer(saved)?, zero_part(&host, d_p)?);
        let (y, d_z, mut d_y) =
            (backend.sequence(Y)?, backend.sequence(d_z)?, backend.sequence(d_y)?);
        Ok(backend.norm_backward(p.view(), &saved, valid, &y, &d_z, &mut d_y, d_p.view_mut())?)
    };
    apply([8, 8], Y)?;
    forward([8, 8, 8], Y, true)?;
    forward([8, 8, 8], Y, false)?;
    backward([8, 8, 8], Y, Y)?;
    for wrong in
        [[7, 8, 8], [8, 7, 8], [8, 9, 8], [8, 8, 7], [BEYOND + 8, 8, 8], [8, 8, BEYOND + 8]]
    {
        rejected("norm_forward, batch", forward(wrong, Y, true))?;
        rejected("norm_forward, running", forward(wrong, Y, false))?;
        rejected("norm_backward", backward(wrong, Y, Y))?;
    }
    rejected("norm_apply, parameters", apply([7, 8], Y))?;
    rejected("norm_apply, statistics", apply([8, 7], Y))?;
    for z in NOT_Y {
        rejected("norm_apply, output", apply([8, 8], z))?;
        rejected("norm_forward, output", forward([8, 8, 8], z, true))?;
        rejected("norm_backward, upstream", backward([8, 8, 8], z, Y))?;
        rejected("norm_backward, gradient", backward([8, 8, 8], Y, z))?;
    }
    Ok(Report::default())
}

/// Wrong sizes of parameters, mask, recorded spikes, input or output are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn neuron_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let neuron = B::neuron(AnyNeuron::CubaLif(CubaLif::new(Lif::new(R::of(2.0)), R::of(2.0))));
    let surrogate = B::surrogate(AnySurrogate::Atan(Atan { alpha: R::of(2.0) }));
    let run = |[params, mask, d_params]: [usize; 3],
               held: Shape,
               out: Shape,
               d_x: Shape,
               frozen: bool,
               back: bool|
     -> Result<(), Failure> {
        let (params, mask, mut d_params) =
            (zero_part(&host, params)?, backend.buffer(mask)?, zero_part(&host, d_params)?);
        let (x, held) = (backend.sequence(Y)?, backend.sequence(held)?);
        let (mut out, mut d_x) = (backend.sequence(out)?, backend.sequence(d_x)?);
        let stage = NeuronStage {
            neuron: &neuron,
            params: params.view(),
            surrogate: &surrogate,
            firing: if frozen { Firing::Frozen(&held) } else { Firing::SmoothHeld(&held) },
            mask: Some(&mask),
            valid: ValidSteps::default(),
            start: None,
        };
        if back {
            backend.neuron_backward(&stage, &x, &out, &mut d_x, d_params.view_mut())?;
        } else {
            backend.neuron_forward(&stage, &x, &mut out, None)?;
        }
        Ok(())
    };
    let right = [2, 8, 2];
    for back in [false, true] {
        run(right, Y, Y, Y, false, back)?;
        run([8, 8, 8], Y, Y, Y, false, back)?;
        for wrong in [
            [1, 8, 2],
            [3, 8, 2],
            [7, 8, 7],
            [9, 8, 9],
            [2, 7, 2],
            [2, 9, 2],
            [BEYOND + 2, 8, 2],
            [BEYOND + 8, 8, 8],
        ] {
            rejected("neuron, parameters or mask", run(wrong, Y, Y, Y, false, back))?;
        }
        for shape in NOT_Y {
            rejected("neuron, recorded spikes", run(right, shape, Y, Y, false, back))?;
            rejected("neuron, recorded spikes", run(right, shape, Y, Y, true, back))?;
            rejected("neuron, spikes", run(right, Y, shape, Y, false, back))?;
        }
    }
    // Two components for each of 2 samples and 4 neurons.
    let states = |first: usize, last: usize, back: bool| -> Result<(), Failure> {
        let (first, mut last) = (backend.buffer(first)?, backend.buffer(last)?);
        let (params, mut d_params) = (zero_part(&host, 2)?, zero_part(&host, 2)?);
        let (x, mut out, mut d_x) =
            (backend.sequence(Y)?, backend.sequence(Y)?, backend.sequence(Y)?);
        let stage = NeuronStage {
            neuron: &neuron,
            params: params.view(),
            surrogate: &surrogate,
            firing: Firing::Step,
            mask: None,
            valid: ValidSteps::default(),
            start: Some(&first),
        };
        if back {
            backend.neuron_backward(&stage, &x, &out, &mut d_x, d_params.view_mut())?;
        } else {
            backend.neuron_forward(&stage, &x, &mut out, Some(&mut last))?;
        }
        Ok(())
    };
    states(16, 16, false)?;
    states(16, 16, true)?;
    for wrong in [0, 8, 15, 17] {
        rejected("neuron, first states", states(wrong, 16, false))?;
        rejected("neuron, first states", states(wrong, 16, true))?;
        rejected("neuron, last states", states(16, wrong, false))?;
    }
    let penalty = RatePenalty { weight: 1.0, low: 0.5, high: 1.0 };
    for shape in NOT_Y {
        let (spikes, mut d) = (backend.sequence(Y)?, backend.sequence(shape)?);
        let result = backend.penalize_rates(&penalty, ValidSteps::default(), &spikes, &mut d);
        rejected("penalize_rates, gradient", result)?;
        rejected("neuron_backward, input's gradient", run(right, Y, Y, shape, false, true))?;
    }
    for wrong in [[2, 8, 1], [2, 8, 3], [2, 8, 8], [8, 8, 2], [2, 8, BEYOND + 2]] {
        rejected("neuron_backward, gradients", run(wrong, Y, Y, Y, false, true))?;
    }
    Ok(Report::default())
}

/// Wrong sizes of input, output, parameters or gradients are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn layer_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let neuron = B::neuron(AnyNeuron::CubaLif(CubaLif::new(Lif::new(R::of(2.0)), R::of(2.0))));
    let surrogate = B::surrogate(AnySurrogate::Atan(Atan { alpha: R::of(2.0) }));
    let norm = BatchNorm::default();
    let run =
        |[norms, neurons]: [usize; 2], y: Shape, out: Shape, back: bool| -> Result<(), Failure> {
            let (p, mut d_p) = (zero_part(&host, norms)?, zero_part(&host, 8)?);
            let (q, mut d_q) = (zero_part(&host, neurons)?, zero_part(&host, 2)?);
            let (mut running, mut statistics) = (zero_part(&host, 8)?, backend.buffer(8)?);
            let (y, mut out) = (backend.sequence(y)?, backend.sequence(out)?);
            let neurons = NeuronStage {
                neuron: &neuron,
                params: q.view(),
                surrogate: &surrogate,
                firing: Firing::Step,
                mask: None,
                valid: ValidSteps::default(),
                start: None,
            };
            let layer = Activation { norm: Some((&norm, p.view())), neurons };
            if !back {
                let mode = NormMode::Batch { running: running.view_mut() };
                return Ok(backend.activate(&layer, mode, &y, &mut statistics, &mut out, None)?);
            }
            let into = ActivationGradients { norm: d_p.view_mut(), neuron: d_q.view_mut() };
            Ok(backend.activate_backward(&layer, &y, &statistics, &mut out, into)?)
        };
    let right = [8, 2];
    for back in [false, true] {
        run(right, Y, Y, back)?;
        for wrong in [[7, 2], [8, 1], [BEYOND + 8, 2], [8, BEYOND + 2]] {
            rejected("layer, parameters", run(wrong, Y, Y, back))?;
        }
        for shape in NOT_Y {
            rejected("layer, spikes", run(right, Y, shape, back))?;
            rejected("layer, input", run(right, shape, Y, back))?;
        }
    }
    Ok(Report::default())
}

/// Wrong sizes in the readout and in the optimizer are errors. A rejected optimizer step changes
/// nothing.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn readout_rejects_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let run = |[scores, targets]: [usize; 2], d_x: Shape| -> Result<R, Failure> {
        let (mut scores, targets) = (backend.buffer(scores)?, backend.buffer(targets)?);
        let (x, mut d_x) = (backend.sequence(Y)?, backend.sequence(d_x)?);
        let li = Li::new(R::of(2.0));
        let (valid, targets, d_x) = (ValidSteps::default(), Some(&targets), Some(&mut d_x));
        Ok(backend.readout(&li, Loss::SoftmaxSum, valid, &x, targets, &mut scores, d_x)?)
    };
    run([8, 8], Y)?;
    for wrong in [[7, 8], [9, 8], [8, 7], [8, 9]] {
        rejected("readout, scores or targets", run(wrong, Y))?;
    }
    for shape in NOT_Y {
        rejected("readout, gradient", run([8, 8], shape))?;
    }
    let backward = |scores: usize, d_x: Shape| -> Result<(), Failure> {
        let (x, mut d_x) = (backend.sequence(Y)?, backend.sequence(d_x)?);
        let (li, valid, d) = (Li::new(R::of(2.0)), ValidSteps::default(), vec![R::one(); scores]);
        Ok(backend.readout_backward(&li, Loss::SoftmaxSum, valid, &x, &d, &mut d_x)?)
    };
    backward(8, Y)?;
    for scores in [7, 9] {
        rejected("readout, gradient of the scores", backward(scores, Y))?;
    }
    for shape in NOT_Y {
        rejected("readout, gradient by the scores", backward(8, shape))?;
    }
    for short in 0..5 {
        let blocks = [0, 1, 2, 3].map(|n| vec![0.5; if n == short { 9 } else { 10 }]);
        let [g, mut p, mut m, mut v] = [
            host.buffer(&blocks[0])?,
            host.buffer(&blocks[1])?,
            host.buffer(&blocks[2])?,
            host.buffer(&blocks[3])?,
        ];
        let range = if short == 4 { 5..11 } else { 5..10 };
        let step = Step::new(Optimizer::default(), R::of(0.1), 1);
        let result = backend.optimize(&step, range, &g, &mut p, &mut m, &mut v, 10);
        rejected("optimize", result)?;
        for (buffer, before) in [&g, &p, &m, &v].into_iter().zip(&blocks) {
            if !same_bits(&host.read(buffer, before.len())?, before) {
                return Err(Failure("a rejected optimizer step has written".into()));
            }
        }
    }
    Ok(Report::default())
}

pub(super) fn rejected<T, E>(what: &str, result: Result<T, E>) -> Result<(), Failure> {
    match result {
        Ok(_) => Err(Failure(format!("{what}: accepted a wrong size"))),
        Err(_) => Ok(()),
    }
}

/// Added to a length, it requests a view that exceeds its buffer.
pub(super) const BEYOND: usize = 1 << 20;

pub(super) fn zero_part<R: Real, B: Conforming<Real = R>>(
    host: &Host<'_, R, B>,
    len: usize,
) -> Result<Part<B::Buffer>, Failure> {
    let mut part = host.part(&vec![0.0; len % BEYOND])?;
    if len >= BEYOND {
        part.range = part.range.end..part.range.end + len % BEYOND + 1;
        part.range.start += 1;
    }
    Ok(part)
}

fn zero_parts<R: Real, B: Conforming<Real = R>>(
    host: &Host<'_, R, B>,
    [a, b, c]: [usize; 3],
) -> Result<[Part<B::Buffer>; 3], Failure> {
    Ok([zero_part(host, a)?, zero_part(host, b)?, zero_part(host, c)?])
}
