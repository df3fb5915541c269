use crate::projection::{Analyse, Correlate, Gather, Multiply, Scatter, SumTaps, Synthesise};
use crate::raw::Gemm;
use crate::recurrent::MultiplyActive;
use crate::stages::Stages;
use crate::stream::StreamSums;
use crate::vectors::arch;
use polychron_core::num::Real;
use pulp::Simd;

/// Number types with vectors: `f32` and `f64`.
///
/// A vector has the width of the instructions that the machine has: AVX-512, AVX2, NEON, or one
/// lane.
pub trait Lanes: Gemm + Stages + Tasks {
    /// A vector.
    type Vector<S: Simd>: Copy + Send + Sync;

    /// The number of lanes.
    #[doc(hidden)]
    fn lanes<S: Simd>() -> usize;
    #[doc(hidden)]
    fn splat<S: Simd>(s: S, x: Self) -> Self::Vector<S>;
    #[doc(hidden)]
    fn add<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    #[doc(hidden)]
    fn sub<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    #[doc(hidden)]
    fn mul<S: Simd>(s: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// `a b + c`, rounded once if the instructions have a fused multiply-add.
    #[doc(hidden)]
    fn mul_add<S: Simd>(
        s: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The whole vectors of a slice.
    #[doc(hidden)]
    fn vectors<S: Simd>(values: &[Self]) -> &[Self::Vector<S>];
    #[doc(hidden)]
    fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [Self::Vector<S>];
    /// Loads the first lanes of a vector from `values`; the other lanes are 0.
    #[doc(hidden)]
    fn load<S: Simd>(s: S, values: &[Self]) -> Self::Vector<S>;
    /// Stores as many lanes as `to` holds.
    #[doc(hidden)]
    fn store<S: Simd>(s: S, to: &mut [Self], x: Self::Vector<S>);
}

macro_rules! lanes {
    ($t:ident, $vector:ident, $lanes:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $mul_add:ident,
     $vectors:ident, $vectors_mut:ident, $load:ident, $store:ident) => {
        impl Lanes for $t {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn lanes<S: Simd>() -> usize {
                S::$lanes
            }

            #[inline(always)]
            fn splat<S: Simd>(s: S, x: Self) -> S::$vector {
                s.$splat(x)
            }

            #[inline(always)]
            fn add<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$add(a, b)
            }

            #[inline(always)]
            fn sub<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$sub(a, b)
            }

            #[inline(always)]
            fn mul<S: Simd>(s: S, a: S::$vector, b: S::$vector) -> S::$vector {
                s.$mul(a, b)
            }

            #[inline(always)]
            fn mul_add<S: Simd>(s: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                s.$mul_add(a, b, c)
            }

            #[inline(always)]
            fn vectors<S: Simd>(values: &[Self]) -> &[S::$vector] {
                S::$vectors(values).0
            }

            #[inline(always)]
            fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [S::$vector] {
                S::$vectors_mut(values).0
            }

            #[inline(always)]
            fn load<S: Simd>(s: S, values: &[Self]) -> S::$vector {
                match S::$vectors(values).0.first() {
                    Some(&x) => x,
                    None => s.$load(values),
                }
            }

            #[inline(always)]
            fn store<S: Simd>(s: S, to: &mut [Self], x: S::$vector) {
                match S::$vectors_mut(to).0.first_mut() {
                    Some(to) => *to = x,
                    None => s.$store(to, x),
                }
            }
        }
    };
}

lanes!(
    f32,
    f32s,
    F32_LANES,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    mul_add_e_f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    partial_load_f32s,
    partial_store_f32s
);
lanes!(
    f64,
    f64s,
    F64_LANES,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    mul_add_e_f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    partial_load_f64s,
    partial_store_f64s
);

/// A vector together with its instructions.
#[derive(Clone, Copy)]
pub(crate) struct Vector<R: Lanes, S: Simd> {
    x: R::Vector<S>,
    s: S,
}

impl<R: Lanes, S: Simd> Vector<R, S> {
    #[inline(always)]
    pub(crate) fn splat(s: S, x: R) -> Self {
        Self { x: R::splat(s, x), s }
    }

    /// Loads the first lanes of a vector from `values`; the other lanes are 0.
    #[inline(always)]
    pub(crate) fn load(s: S, values: &[R]) -> Self {
        Self { x: R::load(s, values), s }
    }

    /// Stores as many lanes as `to` holds.
    #[inline(always)]
    pub(crate) fn store(self, to: &mut [R]) {
        R::store(self.s, to, self.x);
    }

    /// `self b + c`, rounded once if the instructions have a fused multiply-add.
    #[inline(always)]
    pub(crate) fn mul_add(self, b: Self, c: Self) -> Self {
        Self { x: R::mul_add(self.s, self.x, b.x, c.x), ..self }
    }
}

macro_rules! operator {
    ($operator:ident, $name:ident) => {
        impl<R: Lanes, S: Simd> core::ops::$operator for Vector<R, S> {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                Self { x: <R as Lanes>::$name(self.s, self.x, other.x), ..self }
            }
        }
    };
}

operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);

/// A vector of complex numbers.
#[derive(Clone, Copy)]
pub(crate) struct Complex<R: Lanes, S: Simd> {
    pub(crate) re: Vector<R, S>,
    pub(crate) im: Vector<R, S>,
}

impl<R: Lanes, S: Simd> Complex<R, S> {
    #[inline(always)]
    pub(crate) fn splat(s: S, [re, im]: [R; 2]) -> Self {
        Self { re: Vector::splat(s, re), im: Vector::splat(s, im) }
    }

    #[inline(always)]
    pub(crate) fn zero(self) -> Vector<R, S> {
        Vector::splat(self.re.s, R::zero())
    }

    #[inline(always)]
    pub(crate) fn conj(self) -> Self {
        Self { im: self.zero() - self.im, ..self }
    }

    /// Exchanges the real and the imaginary part.
    #[inline(always)]
    pub(crate) fn swap(self) -> Self {
        Self { re: self.im, im: self.re }
    }

    /// `self + i b`.
    #[inline(always)]
    pub(crate) fn plus_i(self, b: Self) -> Self {
        Self { re: self.re - b.im, im: self.im + b.re }
    }

    /// `self - i b`.
    #[inline(always)]
    pub(crate) fn minus_i(self, b: Self) -> Self {
        Self { re: self.re + b.im, im: self.im - b.re }
    }

    /// `self b`. `b` is its real part, its imaginary part and the negated imaginary part.
    #[inline(always)]
    pub(crate) fn times(self, &[re, im, minus]: &[R; 3]) -> Self {
        let of = |x| Vector::splat(self.re.s, x);
        Self {
            re: self.im.mul_add(of(minus), self.re * of(re)),
            im: self.im.mul_add(of(re), self.re * of(im)),
        }
    }

    /// `self` times the conjugate of `b`, in the form of [`Complex::times`].
    #[inline(always)]
    pub(crate) fn times_conj(self, &[re, im, minus]: &[R; 3]) -> Self {
        self.times(&[re, minus, im])
    }

    /// `self + x b`.
    #[inline(always)]
    pub(crate) fn plus(self, b: Self, x: R) -> Self {
        let x = Vector::splat(self.re.s, x);
        Self { re: b.re.mul_add(x, self.re), im: b.im.mul_add(x, self.im) }
    }

    #[inline(always)]
    pub(crate) fn scale(self, x: R) -> Self {
        let x = Vector::splat(self.re.s, x);
        Self { re: self.re * x, im: self.im * x }
    }

    #[inline(always)]
    pub(crate) fn twice(self) -> Self {
        self + self
    }
}

impl<R: Lanes, S: Simd> core::ops::Add for Complex<R, S> {
    type Output = Self;

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self { re: self.re + b.re, im: self.im + b.im }
    }
}

impl<R: Lanes, S: Simd> core::ops::Sub for Complex<R, S> {
    type Output = Self;

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self { re: self.re - b.re, im: self.im - b.im }
    }
}

macro_rules! tasks {
    ($($name:ident: $task:ident),*) => {
        /// Vector code that depends on the number type alone: compiled once for each, in this
        /// crate.
        #[doc(hidden)]
        pub trait Tasks: Sized {
            $(fn $name(task: $task<'_, Self>);)*
        }

        tasks!(f32, $($name: $task),*);
        tasks!(f64, $($name: $task),*);
    };
    ($t:ident, $($name:ident: $task:ident),*) => {
        impl Tasks for $t {
            $(
                #[inline(never)]
                fn $name(task: $task<'_, Self>) {
                    arch().dispatch(task);
                }
            )*
        }
    };
}

tasks!(
    multiply: Multiply,
    analyse: Analyse,
    synthesise: Synthesise,
    sum_taps: SumTaps,
    correlate: Correlate,
    scatter: Scatter,
    gather: Gather,
    multiply_active: MultiplyActive,
    stream_sums: StreamSums
);

/// The next multiple of the number of lanes.
pub(crate) fn whole_vectors<R: Lanes>(n: usize) -> usize {
    struct Width<R>(core::marker::PhantomData<R>);
    impl<R: Lanes> pulp::WithSimd for Width<R> {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            R::lanes::<S>()
        }
    }
    n.next_multiple_of(arch().dispatch(Width::<R>(core::marker::PhantomData)))
}

/// Runs `work` with the vector instructions of this thread. The compiler vectorises inlined loops.
#[inline(always)]
pub(crate) fn vectorize<T>(work: impl FnOnce() -> T) -> T {
    arch().dispatch(work)
}

/// Touches the cache lines in address order, before a pass in another order.
#[inline(always)]
pub(crate) fn fetch<R: Real>(values: &[R]) {
    for &x in values.iter().step_by(64 / R::BYTES) {
        core::hint::black_box(x);
    }
}
