//! A GPU through `cust`, whose driver library is loaded on first use.
#![allow(unsafe_code)]

use super::kernels::code;
use super::{Launch, Plain, Refusal, SHARED};
use crate::error::Error;
use cust::context::{Context, CurrentContext};
use cust::device::{Device as Gpu, DeviceAttribute};
use cust::error::{CudaError, CudaResult};
use cust::memory::{DevicePointer, cuda_free, cuda_malloc, mem_get_info};
use cust::module::Module;
use cust::stream::{Stream, StreamFlags};
use cust::sys;
use cust::{CudaApiVersion, CudaFlags};
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

// Statuses are plain numbers: a newer driver may return some that the enumeration of cust lacks.
#[allow(clashing_extern_declarations)]
unsafe extern "C" {
    fn polychron_load_driver() -> i32;
    fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, stream: sys::CUstream) -> i32;
    fn cuMemcpyHtoDAsync_v2(
        to: u64,
        from: *const c_void,
        bytes: usize,
        stream: sys::CUstream,
    ) -> i32;
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: sys::CUstream)
    -> i32;
    fn cuStreamSynchronize(stream: sys::CUstream) -> i32;
    fn cuFuncSetAttribute(function: sys::CUfunction, attribute: i32, value: i32) -> i32;
    fn cuLaunchKernel(
        function: sys::CUfunction,
        grid_x: u32,
        grid_y: u32,
        grid_z: u32,
        threads_x: u32,
        threads_y: u32,
        threads_z: u32,
        shared: u32,
        stream: sys::CUstream,
        arguments: *mut *mut c_void,
        extra: *mut *mut c_void,
    ) -> i32;
    fn cuGetErrorName(status: i32, name: *mut *const c_char) -> i32;
}

/// CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const SHARED_BYTES: i32 = 8;

/// The driver that reads the kernels' PTX (ISA 9.0).
const DRIVER: i32 = 13;
/// The compute capability that the kernels are built for.
const CAPABILITY: (i32, i32) = (7, 5);

pub(super) struct Driver {
    /// By file. Dropped before the context.
    modules: RefCell<HashMap<&'static str, Module>>,
    functions: RefCell<HashMap<&'static str, sys::CUfunction>>,
    stream: Stream,
    context: Context,
}

/// Uses `Debug`, since `Display` of a `CudaError` calls the driver, which may be failing.
fn failed(call: &str) -> impl Fn(CudaError) -> Error + '_ {
    move |error| Error::Driver { call: call.to_owned(), reason: format!("{error:?}") }
}

/// A fault in a kernel is reported by a later call.
fn check(status: i32, call: &str) -> Result<(), Error> {
    if status == 0 {
        return Ok(());
    }
    let mut name = std::ptr::null();
    // SAFETY: the driver writes the address of a static string, or none.
    let known = unsafe { cuGetErrorName(status, &raw mut name) } == 0 && !name.is_null();
    // SAFETY: the string ends with 0 and lives as long as the driver.
    let name = known.then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy());
    let name = name.map_or(String::new(), |name| format!(" ({name})"));
    Err(Error::Driver {
        call: format!("at or before {call}"),
        reason: format!("error {status}{name}"),
    })
}

impl Driver {
    pub(super) fn new(ordinal: u32) -> Result<Self, Error> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        // SAFETY: the function fills the jump table of the driver; this is its only call.
        if !FOUND.get_or_init(|| unsafe { polychron_load_driver() } == 0) {
            return Err(Error::Unavailable(
                "this machine has no NVIDIA driver (libcuda.so.1)".into(),
            ));
        }
        cust::init(CudaFlags::empty())
            .map_err(|error| Error::Unavailable(format!("the driver does not start: {error:?}")))?;
        let version = CudaApiVersion::get().map_err(failed("cuDriverGetVersion"))?;
        if version.major() < DRIVER {
            let (major, minor) = (version.major(), version.minor());
            return Err(Error::Unavailable(format!(
                "the driver is for CUDA {major}.{minor}; the kernels need one for {DRIVER}.0 (r580) or newer"
            )));
        }
        let devices = Gpu::num_devices().map_err(failed("cuDeviceGetCount"))?;
        if ordinal >= devices {
            return Err(Error::Unavailable(format!(
                "there is no GPU {ordinal}; the driver has {devices}"
            )));
        }
        let gpu = Gpu::get_device(ordinal).map_err(failed("cuDeviceGet"))?;
        let attribute = |of| gpu.get_attribute(of).map_err(failed("cuDeviceGetAttribute"));
        let (major, minor) = (
            attribute(DeviceAttribute::ComputeCapabilityMajor)?,
            attribute(DeviceAttribute::ComputeCapabilityMinor)?,
        );
        if (major, minor) < CAPABILITY {
            return Err(Error::Unavailable(format!(
                "GPU {ordinal} has compute capability {major}.{minor}; the kernels need {}.{}",
                CAPABILITY.0, CAPABILITY.1
            )));
        }
        let context = Context::new(gpu).map_err(failed("cuDevicePrimaryCtxRetain"))?;
        let stream =
            Stream::new(StreamFlags::NON_BLOCKING, None).map_err(failed("cuStreamCreate"))?;
        let (modules, functions) = (RefCell::default(), RefCell::default());
        Ok(Self { modules, functions, stream, context })
    }

    pub(super) fn name(&self) -> &'static str {
        "cuda"
    }

    /// Makes the context current; other users of the library may have changed it.
    fn enter(&self) -> Result<(), Error> {
        CurrentContext::set_current(&self.context).map_err(failed("cuCtxSetCurrent"))
    }

    /// Rounds up in steps of an eighth of a power of two, so that similar sizes share blocks.
    pub(super) fn rounded(&self, bytes: usize) -> usize {
        let grain = (bytes.checked_next_power_of_two().unwrap_or(bytes) / 16).max(256);
        bytes.checked_next_multiple_of(grain).unwrap_or(bytes)
    }

    pub(super) fn free_bytes(&self) -> Option<usize> {
        self.enter().ok()?;
        mem_get_info().ok().map(|(free, _)| free)
    }

    pub(super) fn synchronize(&self) -> Result<(), Error> {
        self.enter()?;
        // SAFETY: the stream lives as long as this driver.
        check(unsafe { cuStreamSynchronize(self.stream.as_inner()) }, "cuStreamSynchronize")
    }

    pub(super) fn allocate(&self, bytes: usize) -> Result<u64, Refusal> {
        self.enter().map_err(Refusal::Other)?;
        // SAFETY: the block is not read before a kernel, a copy or `zero` has written it.
        match unsafe { cuda_malloc::<u8>(bytes) } {
            Ok(block) => Ok(block.as_raw()),
            Err(CudaError::OutOfMemory) => Err(Refusal::OutOfMemory),
            Err(error) => Err(Refusal::Other(failed("cuMemAlloc")(error))),
        }
    }

    pub(super) fn release(&self, address: u64, _bytes: usize) {
        if self.enter().is_err() {
            return;
        }
        // SAFETY: `allocate` returned this address; the driver waits for the work that uses it.
        let _ = unsafe { cuda_free(DevicePointer::<u8>::from_raw(address)) };
    }

    pub(super) fn zero(&self, address: u64, bytes: usize) -> Result<(), Error> {
        self.enter()?;
        // SAFETY: the address is that of a live block of this size.
        let status = unsafe { cuMemsetD8Async(address, 0, bytes, self.stream.as_inner()) };
        check(status, "cuMemsetD8Async")
    }

    pub(super) fn upload<T: Plain>(&self, from: &[T], address: u64) -> Result<(), Error> {
        self.enter()?;
        let (bytes, stream) = (size_of_val(from), self.stream.as_inner());
        // SAFETY: the address is that of a live block of at least this size, and `from` is borrowed
        // until the copy is done.
        let status = unsafe { cuMemcpyHtoDAsync_v2(address, from.as_ptr().cast(), bytes, stream) };
        let done = self.synchronize();
        check(status, "cuMemcpyHtoDAsync")?;
        done
    }

    pub(super) fn download<T: Plain>(&self, address: u64, to: &mut [T]) -> Result<(), Error> {
        self.enter()?;
        let (bytes, stream) = (size_of_val(to), self.stream.as_inner());
        // SAFETY: the address is that of a live block of at least this size, every pattern of bits
        // is a `T`, and `to` is borrowed until the copy is done.
        let status =
            unsafe { cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), address, bytes, stream) };
        let done = self.synchronize();
        check(status, "cuMemcpyDtoHAsync")?;
        done
    }

    /// # Safety
    /// As for `kernels::run`.
    pub(super) unsafe fn launch(
        &self,
        file: &'static str,
        name: &'static str,
        launch: Launch,
        arguments: *const c_void,
    ) -> Result<(), Error> {
        self.enter()?;
        let function = self.function(file, name)?;
        let Launch { grid: [x, y, z], threads, shared } = launch;
        let mut arguments = [arguments.cast_mut()];
        // SAFETY: the function is this kernel, which takes the structure that the caller points to.
        let status = unsafe {
            cuLaunchKernel(
                function,
                x,
                y,
                z,
                threads,
                1,
                1,
                shared as u32,
                self.stream.as_inner(),
                arguments.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check(status, name.trim_end_matches('\0'))
    }

    fn function(&self, file: &'static str, name: &'static str) -> Result<sys::CUfunction, Error> {
        if let Some(&function) = self.functions.borrow().get(name) {
            return Ok(function);
        }
        let named = |text: &str| format!("{text} of {}", name.trim_end_matches('\0'));
        let mut modules = self.modules.borrow_mut();
        let module = match modules.entry(file) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let load: CudaResult<Module> = Module::from_ptx(code(file).unwrap_or(""), &[]);
                entry.insert(load.map_err(failed(&named("cuModuleLoadData")))?)
            }
        };
        let found = module.get_function(name.trim_end_matches('\0'));
        let function = found.map_err(failed(&named("cuModuleGetFunction")))?.to_raw();
        // SAFETY: the module with the function lives as long as this driver.
        let status = unsafe { cuFuncSetAttribute(function, SHARED_BYTES, SHARED as i32) };
        check(status, "cuFuncSetAttribute")?;
        self.functions.borrow_mut().insert(name, function);
        Ok(function)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The modules and the stream are dropped next and need the context.
        let _ = self.enter();
    }
}
