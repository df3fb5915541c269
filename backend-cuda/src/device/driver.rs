//! A GPU through `cust`, whose driver library is looked for when it is first needed.
#![allow(unsafe_code)]

use super::{Launch, Plain, Refusal};
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
use std::ffi::c_void;
use std::sync::OnceLock;

unsafe extern "C" {
    fn polychron_load_driver() -> i32;
}

/// The driver that reads the kernels' PTX (ISA 9.0).
const DRIVER: i32 = 13;
/// The compute capability that the kernels are built for.
const CAPABILITY: (i32, i32) = (7, 5);

pub(super) struct Driver {
    /// By file; dropped before the context.
    modules: RefCell<HashMap<*const u8, Module>>,
    functions: RefCell<HashMap<&'static str, sys::CUfunction>>,
    stream: Stream,
    context: Context,
}

fn unavailable(reason: String) -> Error {
    Error::Unavailable(reason)
}

/// `Display` of a `CudaError` asks the driver, which may be what fails.
fn failed(call: &str) -> impl Fn(CudaError) -> Error + '_ {
    move |error| Error::Driver { call: call.to_owned(), reason: format!("{error:?}") }
}

fn check(status: sys::cudaError_enum, call: &str) -> Result<(), Error> {
    if status == sys::cudaError_enum::CUDA_SUCCESS {
        return Ok(());
    }
    Err(Error::Driver { call: call.to_owned(), reason: format!("{status:?}") })
}

impl Driver {
    pub(super) fn new(ordinal: u32) -> Result<Self, Error> {
        static FOUND: OnceLock<bool> = OnceLock::new();
        // SAFETY: the function fills the table behind the driver's names, here and only once.
        if !FOUND.get_or_init(|| unsafe { polychron_load_driver() } == 0) {
            return Err(unavailable("this machine has no NVIDIA driver (libcuda.so.1)".into()));
        }
        cust::init(CudaFlags::empty())
            .map_err(|error| unavailable(format!("the driver does not start: {error:?}")))?;
        let version = CudaApiVersion::get().map_err(failed("cuDriverGetVersion"))?;
        if version.major() < DRIVER {
            let (major, minor) = (version.major(), version.minor());
            return Err(unavailable(format!(
                "the driver is for CUDA {major}.{minor}; the kernels need one for {DRIVER}.0 (r580) or newer"
            )));
        }
        let devices = Gpu::num_devices().map_err(failed("cuDeviceGetCount"))?;
        if ordinal >= devices {
            return Err(unavailable(format!(
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
            return Err(unavailable(format!(
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

    /// Other users of the library may have made another context current.
    fn enter(&self) -> Result<(), Error> {
        CurrentContext::set_current(&self.context).map_err(failed("cuCtxSetCurrent"))
    }

    pub(super) fn free_bytes(&self) -> Option<usize> {
        mem_get_info().ok().map(|(free, _)| free)
    }

    pub(super) fn synchronize(&self) -> Result<(), Error> {
        self.stream.synchronize().map_err(failed("cuStreamSynchronize"))
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
        // SAFETY: `allocate` gave that address; the driver waits for the work that uses it.
        let _ = unsafe { cuda_free(DevicePointer::<u8>::from_raw(address)) };
    }

    pub(super) fn zero(&self, address: u64, bytes: usize) -> Result<(), Error> {
        // SAFETY: a live block of as many bytes lies there.
        let status = unsafe { sys::cuMemsetD8Async(address, 0, bytes, self.stream.as_inner()) };
        check(status, "cuMemsetD8Async")
    }

    pub(super) fn upload<T: Plain>(&self, from: &[T], address: u64) -> Result<(), Error> {
        let (bytes, stream) = (size_of_val(from), self.stream.as_inner());
        // SAFETY: a live block of at least as many bytes lies there; the driver has read pageable memory when it returns.
        let status =
            unsafe { sys::cuMemcpyHtoDAsync_v2(address, from.as_ptr().cast(), bytes, stream) };
        check(status, "cuMemcpyHtoDAsync")
    }

    pub(super) fn download<T: Plain>(&self, address: u64, to: &mut [T]) -> Result<(), Error> {
        let (bytes, stream) = (size_of_val(to), self.stream.as_inner());
        // SAFETY: a live block of at least as many bytes lies there, every pattern of bits is a `T`, and `to` is borrowed until the
        // copy is done.
        let status =
            unsafe { sys::cuMemcpyDtoHAsync_v2(to.as_mut_ptr().cast(), address, bytes, stream) };
        let done = self.synchronize();
        check(status, "cuMemcpyDtoHAsync")?;
        done
    }

    /// # Safety
    /// As `kernels::run`.
    pub(super) unsafe fn launch(
        &self,
        name: &'static str,
        code: &'static str,
        launch: Launch,
        arguments: *const c_void,
    ) -> Result<(), Error> {
        let call = || name.trim_end_matches('\0');
        let function = self.function(name, code)?;
        let Launch { grid: [x, y, z], threads, shared } = launch;
        let mut arguments = [arguments.cast_mut()];
        // SAFETY: the function is that kernel, which takes the one structure that the caller points to.
        let status = unsafe {
            sys::cuLaunchKernel(
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
        check(status, call())
    }

    fn function(&self, name: &'static str, code: &'static str) -> Result<sys::CUfunction, Error> {
        if let Some(&function) = self.functions.borrow().get(name) {
            return Ok(function);
        }
        self.enter()?;
        let named = |text: &str| format!("{text} of {}", name.trim_end_matches('\0'));
        let mut modules = self.modules.borrow_mut();
        let module = match modules.entry(code.as_ptr()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let load: CudaResult<Module> = Module::from_ptx(code, &[]);
                entry.insert(load.map_err(failed(&named("cuModuleLoadData")))?)
            }
        };
        let found = module.get_function(name.trim_end_matches('\0'));
        let function = found.map_err(failed(&named("cuModuleGetFunction")))?.to_raw();
        self.functions.borrow_mut().insert(name, function);
        Ok(function)
    }
}
