use super::host::{Draw, Host, Output, compare, error};
use super::shapes::{BEYOND, rejected, zero_part};
use super::tolerance::Stage;
use super::{Conforming, Failure, Report, Verdict, Worst};
use crate::connectivity::{Connectivity, Conv, Sharing};
use crate::delay::Place;
use crate::gradcheck::{dot, largest};
use crate::num::Real;
use crate::rng::Rng;
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

/// The packed index of every element of every synapse, by the definition.
fn indices(sharing: Sharing<'_>, synapses: &Synapses) -> Vec<Option<usize>> {
    let Synapses { inputs, outputs, kernel_count: count, .. } = *synapses;
    let mut all = Vec::new();
    for o in 0..outputs {
        for i in 0..inputs {
            all.extend((0..count).map(|j| {
                Some(match sharing {
                    Sharing::Place(Place::Synaptic) => (o * inputs + i) * count + j,
                    Sharing::Place(Place::Axonal) => i * count + j,
                    Sharing::Place(Place::Dendritic) => o * count + j,
                    Sharing::Place(Place::Shared) => j,
                    Sharing::Units(units) => units.unit(o, i)? * count + j,
                })
            }));
        }
    }
    all
}

/// A convolution, and a list of pairs in random order.
fn connectivities() -> Result<Vec<(&'static str, Synapses, Connectivity)>, Failure> {
    let conv = Conv { positions: 19, in_maps: 2, out_maps: 3, width: 5, stride: 2, padding: 1 };
    let mut pairs: Vec<_> = (0..41 * 37).step_by(5).map(|n| (n / 37, n % 37)).collect();
    Rng::new(5, 1).shuffle(&mut pairs);
    let all = [
        ("convolution", 2, Connectivity::conv(&conv)),
        ("convolution", 1, Connectivity::conv(&Conv { stride: 1, padding: 4, ..conv })),
        ("sparse", 3, Connectivity::sparse(37, 41, &pairs)),
        ("sparse", 1, Connectivity::sparse(3, 2, &[(1, 2), (0, 0), (1, 0)])),
    ];
    let sized = |(name, kernel_count, units): (_, _, Result<Connectivity, _>)| {
        let units = units.map_err(|error| Failure(format!("{name}: {error}")))?;
        let synapses = Synapses::new(units.inputs(), units.outputs(), 7);
        Ok((name, Synapses { kernel_count, ..synapses }, units))
    };
    all.into_iter().map(sized).collect()
}

fn with_problems(
    mut check: impl FnMut(Sharing<'_>, &Synapses, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut named = |name, sharing, synapses: &Synapses| {
        let Synapses { inputs, outputs, kernel_count, .. } = synapses;
        let problem = format!("{name}, {inputs} to {outputs}, count {kernel_count}");
        check(sharing, synapses, &problem)
    };
    for synapses in &SIZES {
        for (name, place) in Place::ALL {
            named(name, Sharing::Place(place), synapses)?;
        }
    }
    for (name, synapses, units) in &connectivities()? {
        named(name, Sharing::Units(units), synapses)?;
    }
    Ok(())
}

/// Every synapse has the value of its place or unit, bit for bit, and 0 if it does not exist.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn values_are_expanded<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    with_problems(|sharing, synapses, problem| {
        let packed = Draw::<R>::new(5200).uniform(sharing.len(synapses), 1.0, 24.0);
        let part = host.part(&packed)?;
        let mut full = host.blank(synapses.weights())?;
        backend.expand(synapses, sharing, part.view(), part.len(), &mut full)?;
        let indices = indices(sharing, synapses).into_iter();
        let expected = indices.map(|n| n.map_or(0.0, |n| packed[n])).collect::<Vec<_>>();
        let named = |_| Failure(format!("expand: other values ({problem})"));
        host.same_buffer(&full, &expected).map_err(named)?;
        host.same_part(&part, &packed)
    })?;
    Ok(Report::default())
}

/// The gradient of a value is the sum of those of its synapses, with the same bits on every call,
/// and `<expand(values), d> = <values, reduce(d)>`.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn gradients_are_reduced<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let (stage, mut report) = (Stage::Delays, Report::default());
    with_problems(|sharing, synapses, problem| {
        let mut draw = Draw::<R>::new(5300);
        let (n, packed) = (synapses.weights(), draw.uniform(sharing.len(synapses), 0.0, 24.0));
        let (d, indices) = (draw.uniform(n, -1.0, 1.0), indices(sharing, synapses));
        let full = host.buffer(&d)?;
        let reduce = || {
            let mut part = host.blank_part(packed.len())?;
            let len = part.len();
            backend.reduce(synapses, sharing, &full, part.view_mut(), len)?;
            host.read_part(&part)
        };
        let found = reduce()?;
        if !super::host::same_bits(&found, &reduce()?) {
            return Err(Failure(format!("reduce: a second call gives other bits ({problem})")));
        }
        host.same_buffer(&full, &d)?;
        let expanded: Vec<_> = indices.iter().map(|n| n.map_or(0.0, |n| packed[n])).collect();
        let (sides, scale) = ([dot(&expanded, &d), dot(&packed, &found)], largest(&expanded));
        let error = error(&sides[1..], &sides[..1], scale * (n as f64).sqrt());
        let (what, tolerance) = ("adjoint", stage.tolerance::<R>());
        report.measure(Worst { stage, what, error, tolerance }, problem)?;
        let mut expected = vec![0.0; packed.len()];
        let pairs = indices.iter().zip(&d).filter_map(|(n, d)| Some(((*n)?, d)));
        pairs.for_each(|(n, d)| expected[n] += d);
        let floor = largest(&d);
        let expected = Output { floor, ..Output::new(stage, "d_delays", expected) };
        let found = Output::new(stage, "d_delays", found);
        compare::<R>(&mut report, problem, &[found], &[expected])
    })?;
    Ok(report)
}

/// Wrong sizes of the values, and parts beyond their buffers, are errors.
///
/// # Errors
/// [`Failure`] if the backend violates the law.
pub fn places_reject_wrong_sizes<R: Real, B: Conforming<Real = R>>(backend: &B) -> Verdict {
    let host = Host::<R, B>::new(backend);
    let both = |synapses: &Synapses, sharing: Sharing<'_>, packed: usize, full: usize| {
        let mut part = zero_part(&host, packed)?;
        let (len, mut full) = (host.part(&vec![0.0; packed % BEYOND])?.len(), host.blank(full)?);
        let expanded = backend.expand(synapses, sharing, part.view(), len, &mut full);
        let reduced = backend.reduce(synapses, sharing, &full, part.view_mut(), len);
        Ok::<_, Failure>((expanded, reduced))
    };
    let connectivities = connectivities()?;
    let places = Place::ALL.map(|(name, place)| (name, SIZES[1], Sharing::Place(place)));
    let units = connectivities.iter().map(|(name, s, units)| (*name, *s, Sharing::Units(units)));
    for (name, synapses, sharing) in places.into_iter().chain(units) {
        let (n, packed) = (synapses.weights(), sharing.len(&synapses));
        let (expanded, reduced) = both(&synapses, sharing, packed, n)?;
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
            let (expanded, reduced) = both(synapses, sharing, packed, full)?;
            rejected(&format!("expand, {name}"), expanded)?;
            rejected(&format!("reduce, {name}"), reduced)?;
        }
    }
    Ok(Report::default())
}
