//! The stages of the paper's SHD network and of a layer with steps of 1 ms, with every algorithm.
//!
//! `cargo bench -p polychron-cpu -- project` runs the stages whose name contains `project`.
//! `RAYON_NUM_THREADS` sets the number of threads; the default is one per core. Items are the
//! multiply-adds of a computation tap by tap.

mod work;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use polychron_core::shape::Shape;
use polychron_cpu::{Algorithm, Error};
use std::fmt;
use work::{Size, Work};

const LAYERS: [(&str, Size); 5] = [
    ("shd 140-256", Size { x: Shape::new(100, 256, 140), outputs: 256, taps: 25, sigma: 12.0 }),
    ("shd 256-256", Size { x: Shape::new(112, 256, 256), outputs: 256, taps: 25, sigma: 12.0 }),
    (
        "shd 256-256 late",
        Size { x: Shape::new(112, 256, 256), outputs: 256, taps: 25, sigma: 0.23 },
    ),
    ("shd 256-20", Size { x: Shape::new(124, 256, 256), outputs: 20, taps: 25, sigma: 12.0 }),
    ("1ms 256-256", Size { x: Shape::new(1000, 16, 256), outputs: 256, taps: 257, sigma: 128.0 }),
];

/// A layer and its algorithm.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    size: Size,
    algorithm: Option<Algorithm>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.algorithm.map_or(Ok(()), |algorithm| write!(f, " {algorithm:?}"))
    }
}

fn layers() -> impl Iterator<Item = Case> {
    LAYERS.into_iter().map(|(name, size)| Case { name, size, algorithm: None })
}

fn cases() -> impl Iterator<Item = Case> {
    let with =
        |case| Algorithm::ALL.map(|(_, algorithm)| Case { algorithm: Some(algorithm), ..case });
    layers().flat_map(with)
}

impl Case {
    fn work(&self) -> Work {
        Work::new(self.size, self.algorithm, 0).unwrap()
    }
}

/// Times a stage of `passes` projections.
fn projections(
    bencher: Bencher<'_, '_>,
    case: Case,
    passes: usize,
    mut work: Work,
    stage: impl Fn(&mut Work) -> Result<(), Error>,
) {
    let items = ItemsCount::new(passes * case.size.dense());
    bencher.counter(items).bench_local(|| stage(&mut work).unwrap());
}

/// Times a stage that reads or writes `numbers` numbers.
fn bytes<T>(
    bencher: Bencher<'_, '_>,
    case: Case,
    numbers: usize,
    stage: impl Fn(&mut Work) -> Result<T, Error>,
) {
    let mut work = case.work();
    bencher.counter(BytesCount::of_many::<f32>(numbers)).bench_local(|| stage(&mut work).unwrap());
}

#[divan::bench(args = cases())]
fn project(bencher: Bencher<'_, '_>, case: Case) {
    projections(bencher, case, 1, case.work(), Work::project);
}

#[divan::bench(args = cases())]
fn project_backward(bencher: Bencher<'_, '_>, case: Case) {
    projections(bencher, case, 1, case.work(), |work| work.project_backward(false));
}

#[divan::bench(args = cases())]
fn project_backward_to_input(bencher: Bencher<'_, '_>, case: Case) {
    projections(bencher, case, 2, case.work(), |work| work.project_backward(true));
}

#[divan::bench(args = cases())]
fn layer_forward(bencher: Bencher<'_, '_>, case: Case) {
    projections(bencher, case, 1, case.work(), Work::layer_forward);
}

/// Bytes: the input, the upstream gradient and the gradient.
#[divan::bench(args = layers())]
fn neuron_backward(bencher: Bencher<'_, '_>, case: Case) {
    bytes(bencher, case, 3 * case.size.output().len(), Work::neuron_backward);
}

/// Bytes: the input and the gradient.
#[divan::bench(args = layers().filter(|case| case.size.outputs == 20))]
fn readout(bencher: Bencher<'_, '_>, case: Case) {
    bytes(bencher, case, 2 * case.size.output().len(), Work::readout);
}

/// Bytes: the gradient, the parameters and the moments.
#[divan::bench(args = layers())]
fn adam(bencher: Bencher<'_, '_>, case: Case) {
    bytes(bencher, case, 4 * case.size.synapses().weights(), Work::adam);
}

#[divan::bench(args = layers())]
fn dropout(bencher: Bencher<'_, '_>, case: Case) {
    let Shape { batch, width, .. } = case.size.output();
    bytes(bencher, case, batch * width, Work::dropout);
}

#[divan::bench(args = layers())]
fn upload(bencher: Bencher<'_, '_>, case: Case) {
    bytes(bencher, case, case.size.x.len(), Work::upload);
}

fn main() {
    divan::Divan::default()
        .sample_count(20)
        .max_time(std::time::Duration::from_secs(2))
        .config_with_args()
        .main();
}
