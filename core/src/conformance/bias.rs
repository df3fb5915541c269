use super::host::{Draw, Host, Output, compare, same_bits};
use super::shapes::{BEYOND, rejected, zero_part};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::gradcheck::largest;
use crate::num::Real;
use crate::shape::Shape;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

const SHAPES: [Shape; 5] = [
    Shape::new(1, 1, 1),
    Shape::new(9, 2, 5),
    Shape::new(0, 3, 4),
    Shape::new(33, 7, 41),
    Shape::new(100, 16, 130),
];

/// The bias of a neuron is added to each of its values, bit for bit.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn biases_are_added<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for shape in SHAPES {
        let mut draw = Draw::<R>::new(5400);
        let (values, bias) =
            (draw.uniform(shape.len(), -2.0, 2.0), draw.uniform(shape.width, -1.0, 1.0));
        let (part, mut y) = (host.part(&bias)?, host.sequence(shape, &values)?);
        backend.add_bias(part.view(), part.len(), &mut y)?;
        let sum = |(n, y): (usize, &f64)| (R::of(*y) + R::of(bias[n % shape.width])).as_f64();
        let expected: Vec<_> = values.iter().enumerate().map(sum).collect();
        let named = |_| Failure(format!("add_bias: other values ({shape:?})"));
        host.same_sequence(&y, &expected).map_err(named)?;
        host.same_part(&part, &bias)?;
    }
    Ok(Report::default())
}

/// The gradient of a bias is the sum of those of the values of its neuron, with the same bits on
/// every call.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn gradients_of_biases_are_sums<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let (stage, mut report) = (Stage::NormBackward, Report::default());
    for shape in SHAPES {
        let (d, problem) =
            (Draw::<R>::new(5500).uniform(shape.len(), -1.0, 1.0), format!("{shape:?}"));
        let d_y = host.sequence(shape, &d)?;
        let sums = || {
            let mut part = host.blank_part(shape.width)?;
            let len = part.len();
            backend.bias_backward(&d_y, part.view_mut(), len)?;
            host.read_part(&part)
        };
        let found = sums()?;
        if !same_bits(&found, &sums()?) {
            return Err(Failure(format!(
                "bias_backward: a second call gives other bits ({problem})"
            )));
        }
        host.same_sequence(&d_y, &d)?;
        let mut expected = vec![0.0; shape.width];
        d.iter().enumerate().for_each(|(n, d)| expected[n % shape.width] += d);
        let floor = largest(&d);
        let expected = Output { floor, ..Output::new(stage, "d_bias", expected) };
        compare::<R>(&mut report, &problem, &[Output::new(stage, "d_bias", found)], &[expected])?;
    }
    Ok(report)
}

/// Other numbers of biases than neurons, and parts beyond their buffers, are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn biases_reject_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let shape = SHAPES[1];
    for biases in [shape.width, shape.width - 1, shape.width + 1, BEYOND + shape.width] {
        let mut part = zero_part(&host, biases)?;
        let len = host.part(&vec![0.0; biases % BEYOND])?.len();
        let mut y = host.sequence(shape, &vec![0.0; shape.len()])?;
        let added = backend.add_bias(part.view(), len, &mut y);
        let summed = backend.bias_backward(&y, part.view_mut(), len);
        if biases == shape.width {
            added?;
            summed?;
        } else {
            rejected(&format!("add_bias, {biases}"), added)?;
            rejected(&format!("bias_backward, {biases}"), summed)?;
        }
    }
    Ok(Report::default())
}
