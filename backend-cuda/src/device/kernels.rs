//! Every kernel as a function of its argument structure.
#![allow(unsafe_code)]

use super::requirements::{self, FEW_ROWS, MANY_ROWS};
use super::{Device, Launch, Machine, Number};
use crate::arguments::*;
use crate::error::Error;
use crate::neuron::NEURONS;
use std::ffi::c_void;

/// The names of a kernel in single and double precision, from the parts of its label.
macro_rules! names {
    ($($part:expr),+) => {
        [concat!($($part,)+ "_f32\0"), concat!($($part,)+ "_f64\0")]
    };
}

fn in_precision<R: Number>([single, double]: [&'static str; 2]) -> &'static str {
    if R::BYTES == 4 { single } else { double }
}

macro_rules! kernels {
    ($($file:literal: $($name:ident($arguments:ident, $required:expr))*;)*) => {
        $($(
            pub(crate) fn $name<R: Number>(
                device: &Device,
                launch: Launch,
                arguments: &$arguments<'_, R>,
            ) -> Result<(), Error> {
                check(device, &launch, arguments, stringify!($name))?;
                $required(arguments, &launch)?;
                let name = in_precision::<R>(names!(stringify!($name)));
                let raw = arguments.raw();
                // SAFETY: the structure is the one the kernel takes: `arguments.h` is generated
                // from its definition, and this macro pairs it with the kernel by name. Every
                // address in it belongs to a block of `device` that is borrowed during the call
                // and, once released, is reused only by later work. The kernel stays within these
                // blocks and within its shared memory, as `requirements` checked.
                unsafe { run(device, $file, name, launch, std::ptr::from_ref(&raw).cast()) }
            }
        )*)*

        /// The PTX of every file without neurons.
        static CODE: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../", $file, ".ptx")))),*];

        #[cfg(test)]
        const NAMES: &[&[&str]] = &[$(&[$(stringify!($name)),*]),*];
    };
}

kernels! {
    "memory/memory":
        dropout(Dropout, requirements::dropout)
        find_not_finite(Finite, requirements::find_not_finite)
        scatter(Events, requirements::scatter)
        copy(Elementwise, requirements::elementwise)
        add(Elementwise, requirements::elementwise)
        scale(Scale, requirements::scale)
        square_sums(Squares, requirements::square_sums)
        sum_rows(SumRows, requirements::sum_rows)
        repeat_rows(RepeatRows, requirements::repeat_rows);
    "optim/optim":
        adam(AdamStep, requirements::adam);
    "norm/norm":
        norm_sums(NormStatistics, requirements::norm_sums)
        norm_squares(NormStatistics, requirements::norm_squares)
        norm_finish(NormFinish, requirements::norm_finish)
        norm_apply(NormApply, requirements::norm_apply)
        norm_gradient_sums(NormBackward, requirements::norm_gradient_sums)
        norm_gradient_finish(NormBackward, requirements::norm_gradient_finish)
        norm_backward(NormBackward, requirements::norm_backward)
        rate_penalty(RatePenalty, requirements::rate_penalty);
    "readout/readout":
        readout(Readout, requirements::readout)
        readout_backward(Readout, requirements::readout_backward);
    "projection/transform":
        sequence_to_spectrum(ToSpectrum, requirements::sequence_to_spectrum)
        spectrum_to_sequence(ToSequence, requirements::spectrum_to_sequence);
    "projection/taps":
        taps_to_spectrum(Taps, requirements::taps_to_spectrum)
        taps_from_spectrum(Taps, requirements::taps_from_spectrum)
        taps_to_dense(Taps, requirements::taps_to_dense)
        taps_from_dense(Taps, requirements::taps_from_dense)
        taps_of_lines(Lines, requirements::taps_of_lines)
        taps_by_sender(BySender, requirements::taps_by_sender);
    "projection/product":
        product_forward(Product, |a, launch| requirements::product_forward(a, launch, MANY_ROWS))
        product_forward_few_rows(
            Product,
            |a, launch| requirements::product_forward(a, launch, FEW_ROWS)
        )
        product_input(Product, |a, launch| requirements::product_input(a, launch, MANY_ROWS))
        product_input_few_rows(
            Product,
            |a, launch| requirements::product_input(a, launch, FEW_ROWS)
        )
        product_kernel(Product, |a, launch| requirements::product_kernel(a, launch, MANY_ROWS))
        product_kernel_few_rows(
            Product,
            |a, launch| requirements::product_kernel(a, launch, FEW_ROWS)
        );
    "projection/direct":
        direct_forward(Direct, requirements::direct_forward)
        direct_input(Direct, requirements::direct_input)
        direct_kernel(Direct, requirements::direct_kernel);
}

/// The kernels of a neuron: those that `NEURON` in `kernels.h` defines in the neuron's file. Made by
/// `neuron_kernels!`.
#[derive(Clone, Copy)]
pub(crate) struct NeuronKernels {
    pub(crate) file: &'static str,
    /// By pass; for any firing and surrogate, and for step spikes with the slope of the arc
    /// tangent; by precision.
    pub(crate) names: [[[&'static str; 2]; 2]; 2],
    /// Of recurrent neurons: by pass; by precision.
    pub(crate) recurrent: [[&'static str; 2]; 2],
}

/// The [`NeuronKernels`] of `neuron/NAME.cu`.
macro_rules! neuron_kernels {
    ($name:literal) => {
        NeuronKernels {
            file: concat!("neuron/", $name),
            names: [
                [names!("neuron_forward_", $name), names!("neuron_forward_", $name, "_atan")],
                [names!("neuron_backward_", $name), names!("neuron_backward_", $name, "_atan")],
            ],
            recurrent: [names!("recurrent_forward_", $name), names!("recurrent_backward_", $name)],
        }
    };
}

pub(crate) use {names, neuron_kernels};

/// A pass of a neuron over time.
#[derive(Clone, Copy)]
pub(crate) enum Pass {
    Forward,
    Backward,
}

impl NeuronKernels {
    /// Launches a pass of a neuron with this many components of its state and raw parameters.
    /// `atan` selects the kernel for step spikes with the slope of the arc tangent.
    pub(crate) fn launch<R: Number>(
        &self,
        pass: Pass,
        atan: bool,
        [states, params]: [usize; 2],
        device: &Device,
        launch: Launch,
        arguments: &NeuronStage<'_, R>,
    ) -> Result<(), Error> {
        let names = self.names[pass as usize][usize::from(atan)];
        let name = in_precision::<R>(names);
        check(device, &launch, arguments, name.trim_end_matches('\0'))?;
        match pass {
            Pass::Forward => requirements::neuron_forward(arguments, states, params)?,
            Pass::Backward => requirements::neuron_backward(arguments, states, params)?,
        }
        let raw = arguments.raw();
        // SAFETY: as in `kernels!`. The kernels of `NEURON` take a `NeuronStage`. The numbers of
        // states and parameters are those of the model in polychron-core; a test holds the
        // neuron's file to them.
        unsafe { run(device, self.file, name, launch, std::ptr::from_ref(&raw).cast()) }
    }

    /// Launches a pass of recurrent neurons, for any firing and surrogate.
    pub(crate) fn launch_recurrent<R: Number>(
        &self,
        pass: Pass,
        [states, params]: [usize; 2],
        device: &Device,
        launch: Launch,
        arguments: &RecurrentStage<'_, R>,
    ) -> Result<(), Error> {
        let name = in_precision::<R>(self.recurrent[pass as usize]);
        check(device, &launch, arguments, name.trim_end_matches('\0'))?;
        match pass {
            Pass::Forward => {
                requirements::recurrent_forward(arguments, &launch, states, params)?;
            }
            Pass::Backward => {
                requirements::recurrent_backward(arguments, &launch, states, params)?;
            }
        }
        let raw = arguments.raw();
        // SAFETY: as in `launch`. The recurrent kernels of `NEURON` take a `RecurrentStage`.
        unsafe { run(device, self.file, name, launch, std::ptr::from_ref(&raw).cast()) }
    }
}

/// The PTX of a file.
pub(super) fn code(file: &str) -> Option<&'static str> {
    let neurons = NEURONS.iter().map(|(neuron, ptx)| (neuron.file, *ptx));
    CODE.iter().copied().chain(neurons).find(|(known, _)| *known == file).map(|(_, ptx)| ptx)
}

/// What every launch requires: blocks of this device, and a size that all devices support.
fn check(
    device: &Device,
    launch: &Launch,
    arguments: &impl Field,
    name: &str,
) -> Result<(), Error> {
    let failed = |reason: &str| Error::Driver { call: name.into(), reason: reason.into() };
    let mut foreign = false;
    arguments.addresses(&mut |address| foreign |= !device.owns(address));
    if foreign {
        return Err(failed("a block belongs to another device"));
    }
    if !launch.fits() {
        return Err(failed("the launch needs more blocks or shared memory than a device has"));
    }
    Ok(())
}

/// # Safety
/// `arguments` points to the structure that the kernel `name` takes. Every address in it points to
/// a block of this device that covers all the kernel reads and writes there.
unsafe fn run(
    device: &Device,
    file: &'static str,
    name: &'static str,
    launch: Launch,
    arguments: *const c_void,
) -> Result<(), Error> {
    if launch.grid.contains(&0) {
        return Ok(());
    }
    match &device.machine {
        // SAFETY: guaranteed by the caller.
        Machine::Driver(driver) => unsafe { driver.launch(file, name, launch, arguments) },
        #[cfg(feature = "emulator")]
        // SAFETY: guaranteed by the caller.
        Machine::Emulator(emulator) => unsafe { emulator.launch(name, launch, arguments) },
    }
}

#[cfg(test)]
mod tests {
    use super::{CODE, Device, Dropout, Launch, NAMES, Product, dropout, product_forward};
    use crate::device::Buffer;
    use crate::error::Error;
    use crate::neuron::NEURONS;
    use sha2::{Digest, Sha256};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::rc::Rc;

    fn headers(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut headers: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "h")).collect();
        headers.sort();
        headers
    }

    /// The committed PTX names the hash of its sources; `kernels.sh` writes both.
    #[test]
    fn the_ptx_matches_its_sources() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        let others = CODE.iter().zip(NAMES).map(|((file, ptx), names)| {
            let both = |name: &&str| ["f32", "f64"].map(|real| format!("{name}_{real}"));
            (*file, *ptx, names.iter().flat_map(both).collect::<Vec<_>>())
        });
        let neurons = NEURONS.iter().map(|(neuron, ptx)| {
            let names = [neuron.names.concat().concat(), neuron.recurrent.concat()].concat();
            let name = |name: &str| name.trim_end_matches('\0').to_owned();
            (neuron.file, *ptx, names.into_iter().map(name).collect())
        });
        for (file, ptx, names) in others.chain(neurons) {
            let kernel = root.join(file).with_extension("cu");
            let mut hash = Sha256::new();
            for path in [headers(root), headers(kernel.parent().unwrap()), vec![kernel]].concat() {
                hash.update(fs::read(path).unwrap());
            }
            let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            let stated = ptx.strip_prefix("// ").and_then(|line| line.get(..64));
            assert!(
                stated == Some(&hash),
                "{file}.ptx is out of date: run backend-cuda/kernels.sh"
            );
            for name in names {
                assert!(ptx.contains(&format!(".visible .entry {name}(")), "{name}");
            }
        }
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn a_kernel_refuses_a_block_that_is_too_small() {
        let device = Rc::new(Device::emulated(crate::Emulated::default()));
        let block = |len| Buffer::<f32>::new(&device, len, || "a block".into()).unwrap();
        let mut mask = block(8);
        let mut launch = |len| {
            let arguments = Dropout { mask: mask.get_mut(), len, ..Dropout::default() };
            dropout(&device, Launch::each(8, 256), &arguments)
        };
        launch(8).unwrap();
        match launch(9) {
            Err(Error::Shape(error)) => assert_eq!((error.expected, error.found), (9, 8)),
            other => panic!("{other:?}"),
        }
    }

    #[cfg(feature = "emulator")]
    #[test]
    fn a_kernel_refuses_a_launch_of_another_kind() {
        let device = Device::emulated(crate::Emulated::default());
        let launch = |threads, shared| {
            let launch = Launch { grid: [1; 3], threads, shared };
            product_forward::<f32>(&device, launch, &Product::default())
        };
        launch(256, 64 << 10).unwrap();
        assert!(matches!(launch(64, 64 << 10), Err(Error::Shape(_))));
        assert!(matches!(launch(256, 1 << 10), Err(Error::Shape(_))));
        assert!(matches!(launch(256, 65 << 10), Err(Error::Driver { .. })));
    }
}
