use core::fmt;

/// The state of an engine in arrays whose lengths the model states: membranes and scores, sums that
/// are still to arrive, and past spikes.
///
/// With a model in a constant, the compiler checks the lengths: see [`Engine`](super::Engine).
#[derive(Clone, Copy, Debug)]
pub struct EngineState<const WORDS: usize, const HALVES: usize, const BYTES: usize> {
    words: [i32; WORDS],
    halves: [i16; HALVES],
    bytes: [u8; BYTES],
}

impl<const WORDS: usize, const HALVES: usize, const BYTES: usize>
    EngineState<WORDS, HALVES, BYTES>
{
    /// A state of zeros.
    #[must_use]
    pub const fn new() -> Self {
        Self { words: [0; WORDS], halves: [0; HALVES], bytes: [0; BYTES] }
    }
}

impl<const WORDS: usize, const HALVES: usize, const BYTES: usize> Default
    for EngineState<WORDS, HALVES, BYTES>
{
    fn default() -> Self {
        Self::new()
    }
}

/// The state of an engine in buffers that the caller owns, for example from a linker section.
///
/// The contents do not matter: [`Engine::new`](super::Engine::new) erases them.
pub struct StateBuffers<'s> {
    /// At least [`state_words`](crate::format::ModelFile::state_words) numbers.
    pub words: &'s mut [i32],
    /// At least [`state_halves`](crate::format::ModelFile::state_halves) numbers.
    pub halves: &'s mut [i16],
    /// At least [`state_bytes`](crate::format::ModelFile::state_bytes) bytes.
    pub bytes: &'s mut [u8],
}

impl StateBuffers<'_> {
    /// The size of all buffers in bytes.
    pub(super) fn len(&self) -> usize {
        size_of_val(self.words)
            .saturating_add(size_of_val(self.halves))
            .saturating_add(self.bytes.len())
    }
}

impl fmt::Debug for StateBuffers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateBuffers({} bytes)", self.len())
    }
}

impl<'s, const WORDS: usize, const HALVES: usize, const BYTES: usize>
    From<&'s mut EngineState<WORDS, HALVES, BYTES>> for StateBuffers<'s>
{
    fn from(state: &'s mut EngineState<WORDS, HALVES, BYTES>) -> Self {
        Self { words: &mut state.words, halves: &mut state.halves, bytes: &mut state.bytes }
    }
}

/// The state of an engine on the heap, for a model that is known only at run time.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct HeapState {
    words: alloc::vec::Vec<i32>,
    halves: alloc::vec::Vec<i16>,
    bytes: alloc::vec::Vec<u8>,
}

#[cfg(feature = "alloc")]
impl HeapState {
    /// A state of zeros in the sizes that the model states.
    #[must_use]
    pub fn new<W: crate::format::Weight>(model: &crate::format::ModelFile<'_, W>) -> Self {
        Self {
            words: alloc::vec![0; model.state_words()],
            halves: alloc::vec![0; model.state_halves()],
            bytes: alloc::vec![0; model.state_bytes()],
        }
    }
}

#[cfg(feature = "alloc")]
impl<'s> From<&'s mut HeapState> for StateBuffers<'s> {
    fn from(state: &'s mut HeapState) -> Self {
        Self { words: &mut state.words, halves: &mut state.halves, bytes: &mut state.bytes }
    }
}
