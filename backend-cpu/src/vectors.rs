use crate::backend::Error;
use core::cell::Cell;
use core::fmt;
use pulp::Arch;

/// The vector instructions that a backend computes with.
///
/// Results of different instructions agree to rounding. On one machine, results of the same
/// instructions are equal to the byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vectors {
    /// The widest of the machine: AVX-512, AVX2 with FMA, NEON, or [`Vectors::Portable`].
    #[default]
    Native,
    /// AVX-512: vectors of 16 `f32` or 8 `f64`.
    Avx512,
    /// AVX2 with FMA: vectors of 8 `f32` or 4 `f64`.
    Avx2,
    /// Instructions of every processor of the architecture. A multiply-add rounds its product.
    Portable,
}

impl Vectors {
    /// The environment variable that [`Cpu::new`](crate::Cpu::new) reads, and
    /// [`Stream::new`](crate::Stream::new) for a model of another backend.
    pub const VARIABLE: &str = "POLYCHRON_VECTORS";

    /// Every choice with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("native", Self::Native),
        ("avx512", Self::Avx512),
        ("avx2", Self::Avx2),
        ("portable", Self::Portable),
    ];

    /// The choice with this name; `None` if the name is unknown.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|&(_, vectors)| vectors)
    }

    /// The name of this choice, as in [`Vectors::ALL`].
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// Whether the machine has these instructions.
    #[must_use]
    pub fn are_available(self) -> bool {
        Width::new(self).is_some()
    }

    /// The choice that [`Vectors::VARIABLE`] names; [`Vectors::Native`] if the variable is not set.
    ///
    /// # Errors
    /// [`Error::UnknownVectors`] if the variable has an unknown value.
    pub fn from_env() -> Result<Self, Error> {
        let Some(value) = std::env::var_os(Self::VARIABLE) else { return Ok(Self::Native) };
        let name = value.to_string_lossy();
        Self::from_name(&name).ok_or_else(|| Error::UnknownVectors { name: name.into_owned() })
    }
}

impl fmt::Display for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Available vector instructions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Width {
    pub(crate) arch: Arch,
    /// Whether these are the widest of the machine.
    pub(crate) native: bool,
}

thread_local! {
    /// The instructions of this thread; `None` for the widest of the machine.
    static WIDTH: Cell<Option<Width>> = const { Cell::new(None) };
}

impl Width {
    /// `None` if the machine lacks the instructions.
    pub(crate) fn new(vectors: Vectors) -> Option<Self> {
        let native = Arch::new();
        let arch = match vectors {
            Vectors::Native => native,
            Vectors::Portable => Arch::Scalar,
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Vectors::Avx512 => Arch::V4(pulp::x86::V4::try_new()?),
            #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
            Vectors::Avx2 => Arch::V3(pulp::x86::V3::try_new()?),
            #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
            Vectors::Avx512 | Vectors::Avx2 => return None,
        };
        let native = core::mem::discriminant(&arch) == core::mem::discriminant(&native);
        Some(Self { arch, native })
    }

    /// The instructions that [`Vectors::VARIABLE`] names.
    pub(crate) fn from_env() -> Result<Self, Error> {
        let vectors = Vectors::from_env()?;
        Self::new(vectors).ok_or(Error::MissingVectors { vectors })
    }

    /// The instructions of this thread.
    #[inline]
    pub(crate) fn current() -> Self {
        WIDTH.get().unwrap_or_else(|| Self { arch: Arch::new(), native: true })
    }

    /// Sets the instructions of this thread.
    pub(crate) fn set(self) {
        WIDTH.set(Some(self));
    }

    /// Runs `work` on this thread with these instructions.
    pub(crate) fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Width>);
        impl Drop for Restore {
            fn drop(&mut self) {
                WIDTH.set(self.0);
            }
        }
        let _restore = Restore(WIDTH.replace(Some(self)));
        work()
    }
}

/// The instructions of this thread.
#[inline]
pub(crate) fn arch() -> Arch {
    Width::current().arch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_its_choice() {
        for (name, vectors) in Vectors::ALL {
            assert_eq!((vectors.name(), Vectors::from_name(name)), (name, Some(vectors)));
        }
        assert_eq!(Vectors::from_name("avx3"), None);
    }

    #[test]
    fn scope_restores_the_previous_instructions() {
        let portable = Width::new(Vectors::Portable).unwrap();
        let is_portable = || matches!(arch(), Arch::Scalar);
        let before = is_portable();
        assert!(portable.scope(is_portable));
        assert_eq!(is_portable(), before);
    }
}
