use super::host::{Draw, Host, same_bits};
use super::projection::{Case, params};
use super::stage::{ATAN, Mode, StageCase};
use super::{Conforming, Failure, Report, Verdict};
use crate::backend::Event;
use crate::delay::AnyKernel;
use crate::num::Real;
use crate::shape::{Shape, Synapses};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// New buffers and sequences hold zeros, also empty ones, and a sequence reports its shape.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn memory_starts_at_zero<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for len in [0, 1, 5, 1000] {
        host.same_buffer(&backend.buffer(len)?, &vec![0.0; len])?;
    }
    for shape in [Shape::new(3, 2, 5), Shape::new(0, 2, 5), Shape::new(1, 1, 1)] {
        let sequence = backend.sequence(shape)?;
        if backend.shape(&sequence) != shape {
            return Err(Failure(format!("a sequence of {shape:?} has another shape")));
        }
        host.same_sequence(&sequence, &vec![0.0; shape.len()])?;
    }
    Ok(Report::default())
}

/// A download returns the bits of the upload, sequences in time-major order.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn memory_round_trip<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for (len, seed) in [(1, 1), (37, 2), (4099, 3)] {
        let mut values = Draw::<R>::new(6000 + seed).uniform(len, -1.0, 1.0);
        values[len / 2] = -0.0;
        host.same_buffer(&host.buffer(&values)?, &values)?;
    }
    for (shape, seed) in [(Shape::new(13, 3, 5), 4), (Shape::new(2, 17, 67), 5)] {
        let mut values = Draw::<R>::new(6000 + seed).uniform(shape.len(), -1.0, 1.0);
        values[1] = -0.0;
        host.same_sequence(&host.sequence(shape, &values)?, &values)?;
    }
    backend.synchronize()?;
    Ok(Report::default())
}

/// A sequence written from few or many events, the first and the last value among them, holds them
/// and zeros. Events that are out of range or order are errors and change nothing.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn events_are_written<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let (small, large) = (Shape::new(13, 3, 5), Shape::new(40, 17, 67));
    for (shape, density, seed) in [(small, 0.1, 1), (large, 0.1, 2), (small, 0.9, 3)] {
        let mut draw = Draw::<R>::new(6300 + seed);
        let (mut events, mut values) = (Vec::new(), vec![0.0; shape.len()]);
        for b in 0..shape.batch {
            for t in 0..shape.steps {
                for n in 0..shape.width {
                    let at = shape.at(t, b, n);
                    if draw.unit() < density || at == 0 || at + 1 == shape.len() {
                        let value = draw.uniform(1, -1.0, 3.0)[0];
                        values[at] = value;
                        let [sample, step, channel] = [b as u32, t as u32, n as u32];
                        events.push(Event { sample, step, channel, value: R::of(value) });
                    }
                }
            }
        }
        let mut to = host.blank_sequence(shape)?;
        backend.upload_events(&events, &mut to)?;
        let wrote = |_| Failure("upload_events: other values".into());
        host.same_sequence(&to, &values).map_err(wrote)?;
        let mut wrong = [events.clone(), events.clone(), events.clone()];
        wrong[0].swap(1, 2);
        wrong[1][3] = wrong[1][2];
        wrong[2].push(Event { sample: shape.batch as u32, step: 0, channel: 0, value: R::one() });
        for events in &wrong {
            if backend.upload_events(events, &mut to).is_ok() {
                return Err(Failure("upload_events: accepted events out of order".into()));
            }
        }
        host.same_sequence(&to, &values)?;
        backend.upload_events(&[], &mut to)?;
        host.same_sequence(&to, &vec![0.0; shape.len()]).map_err(wrote)?;
    }
    Ok(Report::default())
}

/// A sum of sequences has the sum of their values, also if one of them holds spikes.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn sequences_add_up<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for (shape, seed) in [(Shape::new(13, 3, 5), 1), (Shape::new(2, 17, 67), 2)] {
        let mut draw = Draw::<R>::new(6200 + seed);
        let blocks = [draw.uniform(shape.len(), -1.0, 1.0), draw.spikes(shape.len(), 0.5)];
        for (x, sum) in [(0, 1), (1, 0), (0, 0)] {
            let (x, before) = (&blocks[x], &blocks[sum]);
            let (from, mut to) = (host.sequence(shape, x)?, host.sequence(shape, before)?);
            backend.add(&from, &mut to)?;
            let values = before.iter().zip(x).map(|(&a, &b)| (R::of(a) + R::of(b)).as_f64());
            let named = |_| Failure("add: other values".into());
            host.same_sequence(&to, &values.collect::<Vec<_>>()).map_err(named)?;
            host.same_sequence(&from, x)?;
        }
    }
    Ok(Report::default())
}

/// `join` writes one sequence after the other, and `copy_last` the last steps of a sequence,
/// whether an upload or neurons have written them.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn sequences_are_joined_and_cut<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for (batch, width) in [(3, 5), (17, 67)] {
        let mut draw = Draw::<R>::new(6400);
        let mut parts = Vec::new();
        for steps in [0, 1, 4, 9] {
            let shape = Shape::new(steps, batch, width);
            let values = draw.uniform(shape.len(), -1.0, 1.0);
            parts.push(host.sequence(shape, &values)?);
            parts.push(backend.sequence(shape)?);
        }
        let mask = draw.mask(batch * width);
        for (steps, mask) in [(4, mask.clone()), (9, mask), (4, draw.mask(batch * width))] {
            let shape = Shape::new(steps, batch, width);
            let mut stage = StageCase::draw(&mut draw, 0, ATAN, Mode::Step, shape);
            (stage.mask, stage.lengths) = (Some(mask), None);
            let x = host.sequence(shape, &draw.uniform(shape.len(), 0.0, 2.0))?;
            let mut spikes = host.blank_sequence(shape)?;
            let on_backend = stage.upload(&host)?;
            backend.neuron_forward(&on_backend.get(&stage), &x, &mut spikes, None)?;
            parts.push(spikes);
        }
        let values: Result<Vec<_>, _> = parts.iter().map(|part| host.read_sequence(part)).collect();
        let values = values?;
        for (first, a) in parts.iter().zip(&values) {
            for (second, b) in parts.iter().zip(&values) {
                let expected = [&a[..], b].concat();
                let steps = backend.shape(first).steps + backend.shape(second).steps;
                let mut joined = host.blank_sequence(Shape::new(steps, batch, width))?;
                backend.join(first, second, &mut joined)?;
                let named = |what| move |_| Failure(format!("{what}: other values"));
                host.same_sequence(&joined, &expected).map_err(named("join"))?;
                for steps in [0, 1, steps / 2, steps] {
                    let shape = Shape::new(steps.min(backend.shape(&joined).steps), batch, width);
                    let mut last = host.blank_sequence(shape)?;
                    backend.copy_last(&joined, &mut last)?;
                    let expected = &expected[expected.len() - shape.len()..];
                    host.same_sequence(&last, expected).map_err(named("copy_last"))?;
                }
            }
        }
        for (part, values) in parts.iter().zip(&values) {
            host.same_sequence(part, values)?;
        }
    }
    Ok(Report::default())
}

/// `are_finite` finds a NaN or an infinity at both ends and in the middle of a buffer, and nothing
/// in finite buffers.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn what_is_not_finite_is_found<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for len in [1, 37, 4099] {
        let values = Draw::<R>::new(6050).uniform(len, -1.0, 1.0);
        let mut blocks = vec![(values.clone(), true)];
        for (place, value) in
            [(0, f64::NAN), (len / 2, f64::INFINITY), (len - 1, f64::NEG_INFINITY)]
        {
            let mut block = values.clone();
            block[place] = value;
            blocks.push((block, false));
        }
        for (block, finite) in blocks {
            let (other, block) = (host.buffer(&values)?, host.buffer(&block)?);
            if backend.are_finite(&[(&other, len), (&block, len)])? != finite {
                return Err(Failure(format!("are_finite is not {finite} of {len} numbers")));
            }
        }
    }
    if !backend.are_finite(&[(&backend.buffer(0)?, 0)])? || !backend.are_finite(&[])? {
        return Err(Failure("are_finite is false for no numbers".into()));
    }
    Ok(Report::default())
}

/// Operations use the current values of a block after an upload or an operation has replaced them.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn new_values_replace_old<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let synapses = Synapses { padding: 0, ..Synapses::new(4, 4, 5) };
    let mut draw = Draw::<R>::new(6100);
    let mut case = || Case::draw(&mut draw, AnyKernel::Gauss, synapses, (9, 2), Some(0.23), 0);
    let (old, new) = (case(), case());
    let shape = old.x_shape();
    let mut x = host.sequence(shape, &old.x)?;
    let (mut y, mut z) = (host.blank_sequence(shape)?, host.blank_sequence(shape)?);
    let mut parts = old.upload(&host)?;
    backend.project(&synapses, &B::kernel(old.kernel), params(&parts), &x, &mut y)?;
    backend.project(&synapses, &B::kernel(old.kernel), params(&parts), &y, &mut z)?;
    for (part, values) in parts.iter_mut().zip([&new.weights, &new.delays, &new.sigma]) {
        host.fill(part, values)?;
    }
    host.fill_sequence(&mut x, &new.x)?;
    backend.project(&synapses, &B::kernel(new.kernel), params(&parts), &x, &mut y)?;
    backend.project(&synapses, &B::kernel(new.kernel), params(&parts), &y, &mut z)?;
    let found = host.read_sequence(&z)?;

    let (parts, x) = (new.upload(&host)?, host.sequence(shape, &new.x)?);
    let (mut y, mut z) = (host.blank_sequence(shape)?, host.blank_sequence(shape)?);
    backend.project(&synapses, &B::kernel(new.kernel), params(&parts), &x, &mut y)?;
    backend.project(&synapses, &B::kernel(new.kernel), params(&parts), &y, &mut z)?;
    if same_bits(&found, &host.read_sequence(&z)?) {
        Ok(Report::default())
    } else {
        Err(Failure("a projection uses values that were replaced".into()))
    }
}
