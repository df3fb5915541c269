//! The functions of `polychron.h`, which states the contract of the caller. A C pointer that may be
//! NULL arrives as an `Option`.

use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use core::{ptr, slice};
use polychron_core::format::ModelFile;
use polychron_core::infer::{Engine, EngineError, StateBuffers};

type Network = Engine<'static>;

/// The alignment of the caller's memory.
const ALIGNMENT: usize = 8;
/// The memory holds the network, its model, then the words, 16-bit numbers and bytes of its state.
const MODEL_AT: usize = size_of::<Network>();
const STATE_AT: usize = MODEL_AT + size_of::<ModelFile<'static>>();
const _: () = {
    assert!(align_of::<Network>() <= ALIGNMENT && align_of::<ModelFile>() <= ALIGNMENT);
    assert!(MODEL_AT.is_multiple_of(align_of::<ModelFile>()));
    assert!(STATE_AT.is_multiple_of(align_of::<i32>()));
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Error {
    Null = 1,
    File,
    Alignment,
    Memory,
    Channel,
    Count,
    Value,
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Memory { .. } => Self::Memory,
            EngineError::Channel { .. } => Self::Channel,
            EngineError::Length { .. } => Self::Count,
            _ => Self::Value,
        }
    }
}

fn code(result: Result<(), Error>) -> c_int {
    result.map_or_else(|error| error as c_int, |()| 0)
}

/// # Safety
/// If `start` is neither NULL nor misaligned, `count` elements begin there and do not change during
/// `'a`.
unsafe fn array<'a, T>(start: *const T, count: usize) -> Result<&'a [T], Error> {
    if count == 0 && start.is_null() {
        return Ok(&[]);
    } else if start.is_null() {
        return Err(Error::Null);
    } else if !start.is_aligned() {
        return Err(Error::Alignment);
    } else if count > isize::MAX as usize / size_of::<T>() {
        return Err(Error::Count);
    }
    // SAFETY: neither NULL nor misaligned nor too long; the caller guarantees the rest.
    Ok(unsafe { slice::from_raw_parts(start, count) })
}

fn needed(model: &ModelFile<'_>) -> usize {
    STATE_AT.saturating_add(model.ram())
}

/// # Safety
/// `memory` is aligned to [`ALIGNMENT`] and has [`needed`] bytes, which nothing else uses for as
/// long as the network is used.
unsafe fn place(model: ModelFile<'static>, memory: *mut u8) -> Result<*mut Network, Error> {
    let (words, halves, bytes) = (model.state_words(), model.state_halves(), model.state_bytes());
    // SAFETY: the bytes belong to the caller, and zeros are valid numbers of any size.
    unsafe { memory.write_bytes(0, needed(&model)) };
    let halves_at = STATE_AT + words * size_of::<i32>();
    let bytes_at = halves_at + halves * size_of::<i16>();
    let at = |offset| memory.wrapping_add(offset);
    // SAFETY: STATE_AT is a multiple of 4; these zeros overlap no other part.
    let words = unsafe { slice::from_raw_parts_mut(at(STATE_AT).cast(), words) };
    // SAFETY: as above; after whole words the offset is a multiple of 2.
    let halves = unsafe { slice::from_raw_parts_mut(at(halves_at).cast(), halves) };
    // SAFETY: as above, up to the last byte needed.
    let bytes = unsafe { slice::from_raw_parts_mut(at(bytes_at), bytes) };
    let slot = at(MODEL_AT).cast::<MaybeUninit<ModelFile<'static>>>();
    // SAFETY: MODEL_AT is aligned; only the model uses the bytes up to STATE_AT.
    let model = unsafe { &mut *slot }.write(model);
    let engine = Engine::new(model, StateBuffers { words, halves, bytes })?;
    let network = memory.cast::<Network>();
    // SAFETY: ALIGNMENT is enough; only the network uses the bytes up to MODEL_AT.
    unsafe { network.write(engine) };
    Ok(network)
}

/// # Safety
/// See `polychron.h`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn polychron_memory(file: *const u8, length: usize) -> usize {
    // SAFETY: the caller keeps the file.
    let Ok(file) = (unsafe { array(file, length) }) else { return 0 };
    ModelFile::parse(file).map_or(0, |model| needed(&model))
}

/// # Safety
/// See `polychron.h`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn polychron_fault(file: *const u8, length: usize) -> usize {
    // SAFETY: the caller keeps the file.
    let Ok(file) = (unsafe { array(file, length) }) else { return 0 };
    <ModelFile>::parse(file).map_or_else(|error| error.offset, |_| usize::MAX)
}

/// # Safety
/// See `polychron.h`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn polychron_open(
    file: *const u8,
    length: usize,
    memory: *mut u8,
    size: usize,
    network: Option<&mut MaybeUninit<*mut Network>>,
) -> c_int {
    let Some(network) = network else { return code(Err(Error::Null)) };
    let open = || {
        // SAFETY: the caller keeps the file for as long as the network is used.
        let file = unsafe { array(file, length) }?;
        let model = ModelFile::parse(file).map_err(|_| Error::File)?;
        if memory.is_null() {
            return Err(Error::Null);
        } else if !memory.addr().is_multiple_of(ALIGNMENT) {
            return Err(Error::Alignment);
        } else if size < needed(&model) {
            return Err(Error::Memory);
        }
        // SAFETY: aligned and large enough; the caller gives the memory to the network.
        unsafe { place(model, memory) }
    };
    let opened = open();
    network.write(opened.unwrap_or(ptr::null_mut()));
    code(opened.map(|_| ()))
}

/// # Safety
/// See `polychron.h`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn polychron_step(
    network: Option<&mut Network>,
    channels: *const u16,
    count: usize,
) -> c_int {
    let Some(network) = network else { return code(Err(Error::Null)) };
    // SAFETY: the caller keeps the array during the call.
    let channels = unsafe { array(channels, count) };
    code(channels.and_then(|channels| Ok(network.step(channels)?)))
}

/// # Safety
/// See `polychron.h`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn polychron_step_values(
    network: Option<&mut Network>,
    values: *const i8,
    count: usize,
) -> c_int {
    let Some(network) = network else { return code(Err(Error::Null)) };
    // SAFETY: the caller keeps the array during the call.
    let values = unsafe { array(values, count) };
    code(values.and_then(|values| Ok(network.step_values(values)?)))
}

fn change(network: Option<&mut Network>, how: impl FnOnce(&mut Network)) -> c_int {
    code(network.map(how).ok_or(Error::Null))
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_finish(network: Option<&mut Network>) -> c_int {
    change(network, Network::finish)
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_reset(network: Option<&mut Network>) -> c_int {
    change(network, Network::reset)
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_forget_scores(network: Option<&mut Network>) -> c_int {
    change(network, Network::forget_scores)
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_decide(network: Option<&Network>) -> usize {
    network.map_or(usize::MAX, Network::decide)
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_score(network: Option<&Network>, class: usize) -> i32 {
    network.and_then(|network| network.scores().get(class).copied()).unwrap_or(i32::MIN)
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_label(
    network: Option<&Network>,
    class: usize,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const c_char {
    let Some(length) = length else { return ptr::null() };
    let label = network.and_then(|network| network.model().label(class));
    length.write(label.map_or(0, str::len));
    label.map_or(ptr::null(), |label| label.as_ptr().cast())
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_tick_us(network: Option<&Network>) -> u32 {
    network.map_or(0, |network| network.model().tick_us())
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_channels(network: Option<&Network>) -> usize {
    network.map_or(0, |network| network.model().channels())
}

#[unsafe(no_mangle)]
pub extern "C" fn polychron_classes(network: Option<&Network>) -> usize {
    network.map_or(0, |network| network.model().classes())
}

#[cfg(test)]
mod tests;
