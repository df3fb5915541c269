use super::host::{Draw, Host, Output, Problem, agree};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict};
use crate::num::Real;
use crate::optim::Adam;
use crate::rng::Rng;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// Parameters and moments after several steps equal those of the reference, for both kinds of
/// weight decay, with and without bounds. Values outside the range do not change.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn adam<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let mut report = Report::default();
    for decoupled in [false, true] {
        for (l2, bounds) in [(0.0, None), (0.125, None), (0.125, Some((-0.5, 0.75)))] {
            for (len, range) in [(37, 5..29), (1, 0..1), (9, 4..4), (1500, 3..1499)] {
                let name = format!(
                    "decoupled {decoupled}, decay {l2}, bounds {bounds:?}, {range:?} of {len}"
                );
                let mut draw = Draw::<R>::new(4000);
                let mut gradients: Vec<_> = (0..4).map(|_| draw.uniform(len, -1.0, 1.0)).collect();
                gradients[1][0] = 0.0;
                let params = draw.uniform(len, -1.0, 1.0);
                let case = Case { decoupled, l2, bounds, range, gradients, params };
                agree(backend, &mut report, &name, &case)?;
            }
        }
    }
    Ok(report)
}

/// Value `n` of the mask is 0 if `rng.uniform(n) < p`, else `1 / (1 - p)`, bit for bit.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn dropout<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let rng = Rng::new(11, 3);
    for p in [0.0, 0.1, 0.4, 0.5, 0.9] {
        for len in [1, 7, 1000] {
            let keep = R::of(1.0 / (1.0 - p)).as_f64();
            let draw = |place| if rng.uniform::<f64>(place) < p { 0.0 } else { keep };
            let mask: Vec<f64> = (0..len).map(draw).collect();
            let found = backend.dropout(rng, p, mask.len())?;
            let named = |_| Failure(format!("dropout: not the mask of p = {p}, {len} values"));
            host.same_buffer(&found, &mask).map_err(named)?;
        }
    }
    Ok(Report::default())
}

struct Case {
    decoupled: bool,
    l2: f64,
    bounds: Option<(f64, f64)>,
    range: Range<usize>,
    /// One block per step.
    gradients: Vec<Vec<f64>>,
    params: Vec<f64>,
}

impl Problem for Case {
    fn run<Q: Real, B: Conforming<Real = Q>>(&self, backend: &B) -> Result<Vec<Output>, Failure> {
        let host = Host::<Q, B>::new(backend);
        let len = self.params.len();
        let mut params = host.buffer(&self.params)?;
        let (mut first, mut second) =
            (host.buffer(&vec![0.0; len])?, host.buffer(&vec![0.0; len])?);
        for (gradient, step) in self.gradients.iter().zip(1..) {
            let adam = Adam {
                beta1: Q::of(0.875),
                beta2: Q::of(1.0 - 1.0 / 1024.0),
                epsilon: Q::of(1.0 / 67_108_864.0),
                l2: Q::of(self.l2),
                decoupled: self.decoupled,
                bounds: self.bounds.map(|(low, high)| (Q::of(low), Q::of(high))),
                ..Adam::new(Q::of(0.125), step)
            };
            let g = host.buffer(gradient)?;
            backend.adam(&adam, self.range.clone(), &g, &mut params, &mut first, &mut second)?;
            host.same_buffer(&g, gradient)?;
        }
        let blocks = [("params", &params), ("first moment", &first), ("second moment", &second)];
        blocks
            .map(|(what, buffer)| {
                let values = host.read(buffer, len)?;
                let before = |at: usize| if what == "params" { self.params[at] } else { 0.0 };
                let outside = (0..len).filter(|at| !self.range.contains(at));
                for at in outside {
                    if values[at].to_bits() != before(at).to_bits() {
                        return Err(Failure(format!(
                            "adam, {what}: changed outside its range, at {at}"
                        )));
                    }
                }
                Ok(Output::new(Stage::Adam, what, values))
            })
            .into_iter()
            .collect()
    }
}
