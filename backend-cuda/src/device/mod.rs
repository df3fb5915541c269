//! The machine that runs the kernels, its memory, and all unsafe code of the crate.

mod driver;
#[cfg(feature = "emulator")]
mod emulator;
pub(crate) mod kernels;
mod requirements;

use crate::error::Error;
use polychron_core::num::Real;
use polychron_core::shape::{ShapeError, expect};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::rc::Rc;

mod plain {
    use crate::arguments::Field;

    /// A type for device memory: every pattern of bits is a value of it.
    pub trait Plain: Field + Copy + Default + 'static {}

    impl Plain for f32 {}
    impl Plain for f64 {}
    impl Plain for u32 {}
    impl<R: Plain> Plain for crate::arguments::Complex<R> {}
}

pub(crate) use plain::Plain;

/// A number type with compiled kernels: `f32`, and `f64` for gradient checks.
pub trait Number: Real + Plain {}

impl Number for f32 {}
impl Number for f64 {}

/// A block of numbers that a kernel reads; empty by default.
pub(crate) struct In<'a, T> {
    address: u64,
    len: usize,
    borrowed: PhantomData<&'a T>,
}

/// A block of numbers that a kernel writes; empty by default.
pub(crate) struct Out<'a, T> {
    address: u64,
    len: usize,
    borrowed: PhantomData<&'a mut T>,
}

impl<T> Default for In<'_, T> {
    fn default() -> Self {
        Self { address: 0, len: 0, borrowed: PhantomData }
    }
}

impl<T> Default for Out<'_, T> {
    fn default() -> Self {
        Self { address: 0, len: 0, borrowed: PhantomData }
    }
}

impl<T> In<'_, T> {
    /// The address on the device; 0 if there is no block.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<T> Out<'_, T> {
    /// The address on the device; 0 if there is no block.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl<'a, T> Out<'a, T> {
    /// The same block as an input, for a kernel that reads each number before it writes it.
    pub(crate) fn as_input(&self) -> In<'a, T> {
        In { address: self.address, len: self.len, borrowed: PhantomData }
    }

    /// The same block for the next kernel.
    pub(crate) fn reborrow(&self) -> Out<'a, T> {
        Out { address: self.address, len: self.len, borrowed: PhantomData }
    }
}

impl<T> Clone for In<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for In<'_, T> {}

impl<T> fmt::Debug for In<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}

impl<T> fmt::Debug for Out<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address)
    }
}

/// The shared memory, in bytes, that a block can have on every device of compute capability 7.5.
pub(crate) const SHARED: usize = 64 * 1024;

/// The threads that run a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launch {
    pub(crate) grid: [u32; 3],
    pub(crate) threads: u32,
    /// Bytes of shared memory per block.
    pub(crate) shared: usize,
}

impl Launch {
    /// One thread for each of `len` results, up to a limit; beyond it a thread computes several.
    pub(crate) fn each(len: usize, threads: u32) -> Self {
        /// Enough blocks for any device.
        const MOST: usize = 1 << 16;
        let blocks = len.div_ceil(threads as usize).clamp(1, MOST) as u32;
        Self { grid: [blocks, 1, 1], threads, shared: 0 }
    }

    /// Whether every device of compute capability 7.5 supports this launch.
    fn fits(&self) -> bool {
        let [x, y, z] = self.grid;
        x <= i32::MAX as u32 && y.max(z) <= 65_535 && self.threads <= 1024 && self.shared <= SHARED
    }
}

enum Machine {
    Driver(driver::Driver),
    #[cfg(feature = "emulator")]
    Emulator(emulator::Emulator),
}

/// Calls a method of the machine.
macro_rules! on {
    ($machine:expr, $($call:tt)*) => {
        match $machine {
            Machine::Driver(machine) => machine.$($call)*,
            #[cfg(feature = "emulator")]
            Machine::Emulator(machine) => machine.$($call)*,
        }
    };
}

/// Why a machine refused a call.
pub(crate) enum Refusal {
    OutOfMemory,
    Other(Error),
}

/// A machine and its memory. Work runs in the order of the calls.
pub(crate) struct Device {
    machine: Machine,
    memory: RefCell<Ledger>,
}

/// The blocks of a device. Released blocks are kept for reuse, since an allocation by the driver
/// waits for the device.
#[derive(Default)]
struct Ledger {
    /// Released blocks by size.
    idle: HashMap<usize, Vec<u64>>,
    /// The size of every block by address.
    blocks: BTreeMap<u64, usize>,
}

impl Device {
    /// The GPU with this number.
    pub(crate) fn new(ordinal: u32) -> Result<Self, Error> {
        Ok(Self::of(Machine::Driver(driver::Driver::new(ordinal)?)))
    }

    /// The emulator.
    #[cfg(feature = "emulator")]
    pub(crate) fn emulated(limits: crate::Emulated) -> Self {
        Self::of(Machine::Emulator(emulator::Emulator::new(limits)))
    }

    fn of(machine: Machine) -> Self {
        Self { machine, memory: RefCell::default() }
    }

    pub(crate) fn name(&self) -> &'static str {
        on!(&self.machine, name())
    }

    /// Bytes of all blocks, including those kept for reuse.
    pub(crate) fn used(&self) -> usize {
        self.memory.borrow().blocks.values().sum()
    }

    /// Waits for all work to finish.
    pub(crate) fn synchronize(&self) -> Result<(), Error> {
        on!(&self.machine, synchronize())
    }

    fn allocate(&self, bytes: usize, what: &dyn Fn() -> String) -> Result<u64, Error> {
        if let Some(address) = self.memory.borrow_mut().idle.get_mut(&bytes).and_then(Vec::pop) {
            return Ok(address);
        }
        let mut attempt = on!(&self.machine, allocate(bytes));
        if matches!(attempt, Err(Refusal::OutOfMemory)) {
            self.release_idle();
            attempt = on!(&self.machine, allocate(bytes));
        }
        match attempt {
            Ok(address) => {
                self.memory.borrow_mut().blocks.insert(address, bytes);
                Ok(address)
            }
            Err(Refusal::OutOfMemory) => {
                let (used, free) = (self.used(), on!(&self.machine, free_bytes()));
                Err(Error::OutOfMemory { what: what(), bytes, used, free })
            }
            Err(Refusal::Other(error)) => Err(error),
        }
    }

    /// Whether the address is 0 or inside a block of this device.
    fn owns(&self, address: u64) -> bool {
        let memory = self.memory.borrow();
        let block = memory.blocks.range(..=address).next_back();
        address == 0 || block.is_some_and(|(start, &bytes)| address - start <= bytes as u64)
    }

    fn release_idle(&self) {
        let mut memory = self.memory.borrow_mut();
        for (bytes, addresses) in std::mem::take(&mut memory.idle) {
            for address in addresses {
                on!(&self.machine, release(address, bytes));
                memory.blocks.remove(&address);
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.synchronize();
        self.release_idle();
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("name", &self.name()).field("used", &self.used()).finish()
    }
}

/// A block of numbers in device memory. Dropping it releases the block for reuse.
pub struct Buffer<T> {
    device: Rc<Device>,
    address: u64,
    bytes: usize,
    len: usize,
    kind: PhantomData<T>,
}

impl<T> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.device.memory.borrow_mut().idle.entry(self.bytes).or_default().push(self.address);
        }
    }
}

impl<T: Plain> Buffer<T> {
    /// `len` uninitialised numbers; `what` names the block in an error.
    pub(crate) fn new(
        device: &Rc<Device>,
        len: usize,
        what: impl Fn() -> String,
    ) -> Result<Self, Error> {
        let bytes = len.checked_mul(size_of::<T>());
        let bytes = bytes.filter(|&bytes| bytes <= isize::MAX as usize);
        let Some(bytes) = bytes else {
            let (bytes, used) = (usize::MAX, device.used());
            return Err(Error::OutOfMemory { what: what(), bytes, used, free: None });
        };
        let bytes = on!(&device.machine, rounded(bytes));
        let address = if bytes > 0 { device.allocate(bytes, &what)? } else { 0 };
        Ok(Self { device: device.clone(), address, bytes, len, kind: PhantomData })
    }

    /// `len` zeros.
    pub(crate) fn zeros(
        device: &Rc<Device>,
        len: usize,
        what: impl Fn() -> String,
    ) -> Result<Self, Error> {
        let mut buffer = Self::new(device, len, what)?;
        buffer.clear()?;
        Ok(buffer)
    }

    /// Sets all numbers to zero.
    pub(crate) fn clear(&mut self) -> Result<(), Error> {
        if self.bytes == 0 {
            return Ok(());
        }
        on!(&self.device.machine, zero(self.address, self.bytes))
    }

    /// A copy of a slice.
    pub(crate) fn of(device: &Rc<Device>, from: &[T], what: &str) -> Result<Self, Error> {
        let mut buffer = Self::new(device, from.len(), || what.to_owned())?;
        buffer.upload(from)?;
        Ok(buffer)
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// `true` if the buffer has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn upload(&mut self, from: &[T]) -> Result<(), Error> {
        expect("upload", self.len, from.len())?;
        if from.is_empty() {
            return Ok(());
        }
        on!(&self.device.machine, upload(from, self.address))
    }

    pub(crate) fn download(&self, to: &mut [T]) -> Result<(), Error> {
        expect("download", self.len, to.len())?;
        if to.is_empty() {
            return Ok(());
        }
        on!(&self.device.machine, download(self.address, to))
    }

    /// All numbers, for a kernel to read.
    pub(crate) fn get(&self) -> In<'_, T> {
        In { address: self.address, len: self.len, borrowed: PhantomData }
    }

    /// All numbers, for a kernel to write.
    pub(crate) fn get_mut(&mut self) -> Out<'_, T> {
        Out { address: self.address, len: self.len, borrowed: PhantomData }
    }

    /// A part, for a kernel to read.
    pub(crate) fn part(&self, range: &Range<usize>) -> Result<In<'_, T>, Error> {
        Ok(In { address: self.offset(range)?, len: range.len(), borrowed: PhantomData })
    }

    /// A part, for a kernel to write.
    pub(crate) fn part_mut(&mut self, range: &Range<usize>) -> Result<Out<'_, T>, Error> {
        Ok(Out { address: self.offset(range)?, len: range.len(), borrowed: PhantomData })
    }

    fn offset(&self, range: &Range<usize>) -> Result<u64, ShapeError> {
        if range.start > range.end || range.end > self.len {
            let (expected, found) = (range.end, self.len);
            return Err(ShapeError { what: "part of a buffer", expected, found });
        }
        Ok(self.address + (range.start * size_of::<T>()) as u64)
    }
}
