use super::host::{Draw, Host, Output, compare, error};
use super::shapes::{BEYOND, rejected, zero_part};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict, Worst};
use crate::delay::Place;
use crate::gradcheck::{dot, largest};
use crate::num::Real;
use crate::shape::Synapses;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// The sizes of connections.
const SIZES: [Synapses; 5] = [
    Synapses { inputs: 1, outputs: 1, kernel_count: 1, taps: 3, padding: 1 },
    Synapses { inputs: 3, outputs: 4, kernel_count: 2, taps: 5, padding: 2 },
    Synapses { inputs: 37, outputs: 5, kernel_count: 1, taps: 9, padding: 4 },
    Synapses { inputs: 2, outputs: 41, kernel_count: 3, taps: 1, padding: 0 },
    Synapses { inputs: 64, outputs: 130, kernel_count: 1, taps: 25, padding: 12 },
];

/// The index of the delay of every element of every synapse, by the definition of a place.
fn indices(place: Place, synapses: &Synapses) -> Vec<usize> {
    let Synapses { inputs, outputs, kernel_count: count, .. } = *synapses;
    let mut all = Vec::new();
    for o in 0..outputs {
        for i in 0..inputs {
            all.extend((0..count).map(|j| match place {
                Place::Synaptic => (o * inputs + i) * count + j,
                Place::Axonal => i * count + j,
                Place::Dendritic => o * count + j,
                Place::Shared => j,
            }));
        }
    }
    all
}

fn problems() -> impl Iterator<Item = (Place, Synapses, alloc::string::String)> {
    SIZES.into_iter().flat_map(|synapses| {
        Place::ALL.into_iter().map(move |(name, place)| {
            let Synapses { inputs, outputs, kernel_count, .. } = synapses;
            (place, synapses, format!("{name}, {inputs} to {outputs}, count {kernel_count}"))
        })
    })
}

/// Every synapse has the delay of its place, bit for bit.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn delays_are_expanded<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    for (place, synapses, problem) in problems() {
        let packed = Draw::<R>::new(5200).uniform(place.len(&synapses), 0.0, 24.0);
        let part = host.part(&packed)?;
        let mut full = host.blank(synapses.weights())?;
        backend.expand(&synapses, place, part.view(), part.len(), &mut full)?;
        let expected = indices(place, &synapses).into_iter().map(|n| packed[n]);
        let named = |_| Failure(format!("expand: other values ({problem})"));
        host.same_buffer(&full, &expected.collect::<Vec<_>>()).map_err(named)?;
        host.same_part(&part, &packed)?;
    }
    Ok(Report::default())
}

/// The gradient of a delay is the sum of those of its synapses, with the same bits on every call,
/// and `<expand(delays), d> = <delays, reduce(d)>`.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn gradients_of_delays_are_reduced<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let (stage, mut report) = (Stage::Delays, Report::default());
    for (place, synapses, problem) in problems() {
        let mut draw = Draw::<R>::new(5300);
        let (n, packed) = (synapses.weights(), draw.uniform(place.len(&synapses), 0.0, 24.0));
        let (d, indices) = (draw.uniform(n, -1.0, 1.0), indices(place, &synapses));
        let full = host.buffer(&d)?;
        let reduce = || {
            let mut part = host.blank_part(packed.len())?;
            let len = part.len();
            backend.reduce(&synapses, place, &full, part.view_mut(), len)?;
            host.read_part(&part)
        };
        let found = reduce()?;
        if !super::host::same_bits(&found, &reduce()?) {
            return Err(Failure(format!("reduce: a second call gives other bits ({problem})")));
        }
        host.same_buffer(&full, &d)?;
        let expanded: Vec<_> = indices.iter().map(|&n| packed[n]).collect();
        let (sides, scale) = ([dot(&expanded, &d), dot(&packed, &found)], largest(&expanded));
        let error = error(&sides[1..], &sides[..1], scale * (n as f64).sqrt());
        let (what, tolerance) = ("adjoint", stage.tolerance::<R>());
        report.measure(Worst { stage, what, error, tolerance }, &problem)?;
        let mut expected = vec![0.0; packed.len()];
        indices.iter().zip(&d).for_each(|(&n, d)| expected[n] += d);
        let floor = largest(&d);
        let expected = Output { floor, ..Output::new(stage, "d_delays", expected) };
        let found = Output::new(stage, "d_delays", found);
        compare::<R>(&mut report, &problem, &[found], &[expected])?;
    }
    Ok(report)
}

/// Wrong sizes of the delays, and parts beyond their buffers, are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn places_reject_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let synapses = SIZES[1];
    let both = |synapses: &Synapses, place: Place, packed: usize, full: usize| {
        let mut part = zero_part(&host, packed)?;
        let (len, mut full) = (host.part(&vec![0.0; packed % BEYOND])?.len(), host.blank(full)?);
        let expanded = backend.expand(synapses, place, part.view(), len, &mut full);
        let reduced = backend.reduce(synapses, place, &full, part.view_mut(), len);
        Ok::<_, Failure>((expanded, reduced))
    };
    let n = synapses.weights();
    for (name, place) in Place::ALL {
        let packed = place.len(&synapses);
        let (expanded, reduced) = both(&synapses, place, packed, n)?;
        expanded?;
        reduced?;
        let large = Synapses { inputs: usize::MAX, ..synapses };
        for (synapses, packed, full) in [
            (&synapses, packed + 1, n),
            (&synapses, packed - 1, n),
            (&synapses, packed, n - 1),
            (&synapses, packed, n + 1),
            (&synapses, BEYOND + packed, n),
            (&large, packed, n),
        ] {
            let (expanded, reduced) = both(synapses, place, packed, full)?;
            rejected(&format!("expand, {name}"), expanded)?;
            rejected(&format!("reduce, {name}"), reduced)?;
        }
    }
    Ok(Report::default())
}
