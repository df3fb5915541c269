use crate::algorithm::Algorithm;
use crate::lanes::Lanes;
use crate::raw::gemm;
use crate::scratch::Scratch;
use crate::vectors::{Vectors, Width};
use ndarray::Array2;
use polychron_core::num::Real;
use polychron_core::shape::ShapeError;
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
    /// A [`Stream`](crate::Stream) cannot run the network of a model.
    #[error("a stream runs a chain of layers; remove skip and recurrent connections")]
    NotAChain,
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
