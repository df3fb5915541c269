use crate::algorithm::Algorithm;
use crate::lanes::Lanes;
use crate::norm::{Norm, StepCounts, begin_norm, finish_norm, norm_params, write_norm_gradient};
use crate::raw::gemm;
use crate::scratch::{Scratch, zeros};
use crate::sequence::{Sequence, same};
use crate::vectors::{Vectors, Width};
use core::ops::Range;
use ndarray::{Array2, ArrayViewMut2, Axis};
use polychron_core::backend::{Backend, NormMode, View, ViewMut};
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::num::Real;
use polychron_core::optim::Adam;
use polychron_core::rng::Rng;
use polychron_core::shape::{Shape, ShapeError, expect};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::time::Instant;

/// The CPU backend, for `f32` and `f64`, with its own threads.
#[derive(Debug)]
pub struct Cpu<R> {
    pool: ThreadPool,
    width: Width,
    scratch: Scratch<R>,
    algorithm: Option<Algorithm>,
}

/// An error of the CPU backend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A block has the wrong size for its operation.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The allocation of a block failed. An operation that cannot allocate its temporary memory
    /// aborts the program instead.
    #[error("no memory for a block of {bytes} bytes; use a smaller batch")]
    OutOfMemory {
        /// The size of the block.
        bytes: usize,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {source}")]
    Threads {
        /// The requested number of threads; 0 for one per core.
        threads: usize,
        /// The error of the thread pool.
        source: ThreadPoolBuildError,
    },
    /// The environment variable [`Vectors::VARIABLE`] has an unknown value.
    #[error("{} is `{name}`; set it to native, avx512, avx2 or portable", Vectors::VARIABLE)]
    UnknownVectors {
        /// The value.
        name: String,
    },
    /// The machine lacks the requested vector instructions.
    #[error(
        "this machine has no {vectors} instructions; choose native or portable (`{}`)",
        Vectors::VARIABLE
    )]
    MissingVectors {
        /// The requested instructions.
        vectors: Vectors,
    },
    /// Another backend, whose model a [`Stream`](crate::Stream) runs, failed.
    #[error("cannot read the model from its backend: {source}")]
    Backend {
        /// The error of that backend.
        source: Box<dyn core::error::Error + Send + Sync>,
    },
}

impl Error {
    /// The error of a backend: itself if the backend is [`Cpu`].
    pub(crate) fn of_backend(error: impl core::error::Error + Send + Sync + 'static) -> Self {
        let error: Box<dyn core::error::Error + Send + Sync> = Box::new(error);
        match error.downcast() {
            Ok(error) => *error,
            Err(source) => Self::Backend { source },
        }
    }
}

impl<R: Real> Cpu<R> {
    /// A backend with `threads` threads of its own; 0 starts one per core. Its vector instructions
    /// are those that [`Vectors::VARIABLE`] names, by default the widest of the machine.
    ///
    /// # Errors
    /// [`Error::Threads`] if the threads cannot be started; [`Error::UnknownVectors`] or
    /// [`Error::MissingVectors`] if the machine does not have what the variable names.
    pub fn new(threads: usize) -> Result<Self, Error> {
        let (pool, width) = start(threads, Vectors::from_env()?)?;
        Ok(Self { pool, width, scratch: Scratch::default(), algorithm: None })
    }

    /// The same backend with other vector instructions. Overrides [`Vectors::VARIABLE`].
    ///
    /// ```
    /// use polychron_cpu::{Cpu, Vectors};
    /// let portable = Cpu::<f32>::new(2)?.with_vectors(Vectors::Portable)?;
    /// # Ok::<(), polychron_cpu::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::MissingVectors`] if the machine lacks them; [`Error::Threads`] if the new threads
    /// cannot be started.
    pub fn with_vectors(self, vectors: Vectors) -> Result<Self, Error> {
        let (pool, width) = start(self.pool.current_num_threads(), vectors)?;
        Ok(Self { pool, width, ..self })
    }

    /// The same backend with one algorithm for all projections; `None` picks the cheapest for each.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Option<Algorithm>) -> Self {
        Self { algorithm, ..self }
    }

    /// The vector instructions of the threads.
    pub(crate) fn width(&self) -> Width {
        self.width
    }

    pub(crate) fn scratch(&self) -> &Scratch<R> {
        &self.scratch
    }

    pub(crate) fn forced(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Runs `work` on the threads of this backend.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }
}

impl<R: Lanes> Cpu<R> {
    /// The measured rate of large matrix products in floating-point operations per second: the
    /// upper bound for the rate of a projection. Every thread multiplies its own matrices.
    ///
    /// Cost: six products of matrices of 1024 by 1024 per thread.
    #[must_use]
    pub fn gemm_rate(&self) -> f64 {
        const SIZE: usize = 1024;
        const ROUNDS: usize = 6;
        let factor = Array2::from_shape_fn((SIZE, SIZE), |(r, c)| R::count((7 * r + 3 * c) % 11));
        let mut products = vec![factor.clone(); self.pool.current_num_threads()];
        let seconds = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            self.install(|| {
                products.par_iter_mut().with_max_len(1).for_each(|product| {
                    gemm(product.view_mut(), R::zero(), R::one(), factor.view(), factor.view());
                });
            });
            start.elapsed().as_secs_f64()
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        2.0 * SIZE.pow(3) as f64 * products.len() as f64 / best
    }
}

/// Starts threads that compute with `vectors`.
fn start(threads: usize, vectors: Vectors) -> Result<(ThreadPool, Width), Error> {
    let width = Width::new(vectors).ok_or(Error::MissingVectors { vectors })?;
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(move |_| width.set())
        .build()
        .map_err(|source| Error::Threads { threads, source })?;
    Ok((pool, width))
}

/// Numbers per task of an elementwise operation.
const CHUNK: usize = 1 << 14;

impl<R: Real> Backend<R> for Cpu<R> {
    type Buffer = Vec<R>;
    type Sequence = Sequence<R>;
    type Error = Error;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn buffer(&self, len: usize) -> Result<Vec<R>, Error> {
        zeros(len)
    }

    fn sequence(&self, shape: Shape) -> Result<Sequence<R>, Error> {
        let mut sequence = Sequence::try_new(shape, &self.scratch)?;
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
        same("norm's output", y.shape(), z.shape())?;
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
        same("norm's output", y.shape(), z.shape())?;
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
        same("norm's output gradient", shape, d_z.shape())?;
        same("norm's input gradient", shape, d_y.shape())?;
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

    fn adam(
        &self,
        adam: &Adam<R>,
        range: Range<usize>,
        gradient: &Vec<R>,
        params: &mut Vec<R>,
        first: &mut Vec<R>,
        second: &mut Vec<R>,
    ) -> Result<(), Error> {
        let gradient = View::new(gradient, range.clone()).slice()?;
        let params = ViewMut::new(params, range.clone()).slice()?;
        let first = ViewMut::new(first, range.clone()).slice()?;
        let second = ViewMut::new(second, range).slice()?;
        self.install(|| {
            let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
            let params = params.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
            params.zip(moments).for_each(|((p, g), (m, v))| adam.update(g, p, m, v));
        });
        Ok(())
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

impl<R: Real> Cpu<R> {
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
