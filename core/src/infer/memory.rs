use core::fmt;

/// The state of a network, of the sizes that its [`ModelFile`](crate::format::ModelFile) names: membranes and scores, sums that are yet
/// to arrive, and past spikes.
#[derive(Clone, Copy, Debug)]
pub struct EngineState<const WORDS: usize, const HALVES: usize, const BYTES: usize> {
    words: [i32; WORDS],
    halves: [i16; HALVES],
    bytes: [u8; BYTES],
}

impl<const WORDS: usize, const HALVES: usize, const BYTES: usize>
    EngineState<WORDS, HALVES, BYTES>
{
    /// An empty state.
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

/// A state in memory of one's own.
pub struct Memory<'s> {
    /// [`ModelFile::words`](crate::format::ModelFile::words) numbers, or more.
    pub words: &'s mut [i32],
    /// [`ModelFile::halves`](crate::format::ModelFile::halves) numbers, or more.
    pub halves: &'s mut [i16],
    /// [`ModelFile::bytes`](crate::format::ModelFile::bytes), or more.
    pub bytes: &'s mut [u8],
}

impl Memory<'_> {
    /// Bytes of all parts.
    pub(super) fn len(&self) -> usize {
        size_of_val(self.words)
            .saturating_add(size_of_val(self.halves))
            .saturating_add(self.bytes.len())
    }
}

impl fmt::Debug for Memory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} bytes)", self.len())
    }
}

impl<'s, const WORDS: usize, const HALVES: usize, const BYTES: usize>
    From<&'s mut EngineState<WORDS, HALVES, BYTES>> for Memory<'s>
{
    fn from(state: &'s mut EngineState<WORDS, HALVES, BYTES>) -> Self {
        Self { words: &mut state.words, halves: &mut state.halves, bytes: &mut state.bytes }
    }
}

/// The state of a model that is known only at run time.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct HeapState {
    words: alloc::vec::Vec<i32>,
    halves: alloc::vec::Vec<i16>,
    bytes: alloc::vec::Vec<u8>,
}

#[cfg(feature = "alloc")]
impl HeapState {
    /// An empty state for a model.
    pub fn new<W: crate::format::Weight>(model: &crate::format::ModelFile<'_, W>) -> Self {
        Self {
            words: alloc::vec![0; model.words()],
            halves: alloc::vec![0; model.halves()],
            bytes: alloc::vec![0; model.bytes()],
        }
    }
}

#[cfg(feature = "alloc")]
impl<'s> From<&'s mut HeapState> for Memory<'s> {
    fn from(state: &'s mut HeapState) -> Self {
        Self { words: &mut state.words, halves: &mut state.halves, bytes: &mut state.bytes }
    }
}
