//! The emulated device, for tests: the same kernels, compiled for the host.
#![allow(unsafe_code)]

use super::{Launch, Plain, Refusal};
use crate::Emulated;
use crate::error::Error;
use std::alloc::{Layout, alloc, dealloc};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};

type Kernel = unsafe extern "C" fn(*const u32, u32, u32, *const c_void);

unsafe extern "C" {
    fn polychron_emulated(name: *const c_char) -> Option<Kernel>;
}

/// Bytes of the guards before and after every block. Kernels must not change them. The size is the
/// alignment of a driver.
const GUARD: usize = 256;
/// The content of the guards. As numbers they are large, so that a kernel that reads them gives a
/// wrong result.
const GUARDED: u8 = 0x5a;

pub(super) struct Emulator {
    limits: Emulated,
    /// Sizes by address.
    blocks: RefCell<BTreeMap<u64, usize>>,
    launches: Cell<usize>,
}

impl Emulator {
    pub(super) fn new(limits: Emulated) -> Self {
        let (blocks, launches) = Default::default();
        Self { limits, blocks, launches }
    }

    pub(super) fn name(&self) -> &'static str {
        "cuda, emulated"
    }

    /// The size as requested, so that the guards are adjacent.
    pub(super) fn rounded(&self, bytes: usize) -> usize {
        bytes
    }

    pub(super) fn free_bytes(&self) -> Option<usize> {
        let used: usize = self.blocks.borrow().values().sum();
        self.limits.memory.map(|memory| memory - used)
    }

    pub(super) fn synchronize(&self) -> Result<(), Error> {
        self.alive("synchronize")
    }

    fn alive(&self, call: &str) -> Result<(), Error> {
        if self.limits.launches.is_some_and(|most| self.launches.get() > most) {
            let reason = "the emulated device is lost".into();
            return Err(Error::Driver { call: call.into(), reason });
        }
        Ok(())
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<u64, Refusal> {
        if self.free_bytes().is_some_and(|free| free < bytes) {
            return Err(Refusal::OutOfMemory);
        }
        let layout = layout(bytes)?;
        // SAFETY: the size of the layout is not 0.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            return Err(Refusal::OutOfMemory);
        }
        // SAFETY: these bytes were just allocated: the block and its guards. All bits set is NaN,
        // so that a read before a write gives a wrong result.
        unsafe {
            start.write_bytes(GUARDED, layout.size());
            start.add(GUARD).write_bytes(0xff, bytes);
        }
        let address = (start.expose_provenance() + GUARD) as u64;
        self.blocks.borrow_mut().insert(address, bytes);
        Ok(address)
    }

    /// `true` if the guards of every block are unchanged.
    fn guarded(&self) -> bool {
        self.blocks.borrow().iter().all(|(&address, &bytes)| {
            [address - GUARD as u64, address + bytes as u64].into_iter().all(|guard| {
                // SAFETY: the block was allocated with a guard on either side, and all their bytes
                // were written.
                let guard = unsafe { std::slice::from_raw_parts(pointer(guard), GUARD) };
                guard.iter().all(|&byte| byte == GUARDED)
            })
        })
    }

    pub(super) fn release(&self, address: u64, bytes: usize) {
        if let Ok(layout) = layout(bytes) {
            self.blocks.borrow_mut().remove(&address);
            // SAFETY: `allocate` returned this address for this size, and nothing uses a released
            // block.
            unsafe { dealloc(pointer(address - GUARD as u64), layout) };
        }
    }

    pub(super) fn zero(&self, address: u64, bytes: usize) -> Result<(), Error> {
        self.alive("zero")?;
        // SAFETY: the address is that of a live block of this size.
        unsafe { pointer(address).write_bytes(0, bytes) };
        Ok(())
    }

    pub(super) fn upload<T: Plain>(&self, from: &[T], address: u64) -> Result<(), Error> {
        self.alive("upload")?;
        // SAFETY: the address is that of a live block of at least this many `T`, aligned for any of
        // them.
        unsafe { pointer(address).cast::<T>().copy_from_nonoverlapping(from.as_ptr(), from.len()) };
        Ok(())
    }

    pub(super) fn download<T: Plain>(&self, address: u64, to: &mut [T]) -> Result<(), Error> {
        self.alive("download")?;
        // SAFETY: the address is that of a live block of at least this many `T`; every pattern of
        // bits is a value.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(pointer(address).cast(), to.len()) };
        Ok(())
    }

    /// # Safety
    /// As for `kernels::run`.
    pub(super) unsafe fn launch(
        &self,
        name: &'static str,
        launch: Launch,
        arguments: *const c_void,
    ) -> Result<(), Error> {
        self.launches.set(self.launches.get() + 1);
        self.alive(name.trim_end_matches('\0'))?;
        let found = CStr::from_bytes_with_nul(name.as_bytes()).ok();
        // SAFETY: the argument is a string that ends with 0.
        let Some(kernel) = found.and_then(|name| unsafe { polychron_emulated(name.as_ptr()) })
        else {
            let reason = "no such kernel".into();
            return Err(Error::Driver { call: name.into(), reason });
        };
        // SAFETY: guaranteed by the caller; the grid has three numbers.
        unsafe {
            kernel(launch.grid.as_ptr(), launch.threads, launch.shared as u32, arguments);
        }
        if self.guarded() {
            return Ok(());
        }
        let reason = "wrote outside of a block".into();
        Err(Error::Driver { call: name.trim_end_matches('\0').into(), reason })
    }
}

fn pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

fn layout(bytes: usize) -> Result<Layout, Refusal> {
    let whole = bytes.checked_add(2 * GUARD).ok_or(Refusal::OutOfMemory)?;
    Layout::from_size_align(whole, GUARD).map_err(|_| Refusal::OutOfMemory)
}
