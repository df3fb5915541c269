//! Every kernel as a function of its argument structure.
#![allow(unsafe_code)]

use super::requirements::{self, FEW_ROWS, MANY_ROWS};
use super::{Device, Launch, Machine, Number};
use crate::arguments::*;
use crate::error::Error;
use std::ffi::c_void;

macro_rules! kernels {
    ($($file:literal: $($name:ident($arguments:ident, $required:expr))*;)*) => {
        $($(
            pub(crate) fn $name<R: Number>(
                device: &Device,
                launch: Launch,
                arguments: &$arguments<'_, R>,
            ) -> Result<(), Error> {
                let failed = |reason: &str| {
                    Error::Driver { call: stringify!($name).into(), reason: reason.into() }
                };
                let mut foreign = false;
                arguments.addresses(|address| foreign |= !device.owns(address));
                if foreign {
                    return Err(failed("a block belongs to another device"));
                }
                if !launch.fits() {
                    return Err(failed("the launch needs more blocks or shared memory than a device has"));
                }
                $required(arguments, &launch)?;
                let single = concat!(stringify!($name), "_f32\0");
                let double = concat!(stringify!($name), "_f64\0");
                let name = if R::BYTES == 4 { single } else { double };
                let raw = arguments.raw();
                // SAFETY: the structure is the one the kernel takes: `arguments.h` is generated
                // from its definition, and this macro pairs it with the kernel by name. Every
                // address in it belongs to a block of `device` that is borrowed during the call
                // and, once released, is reused only by later work. The kernel stays within these
                // blocks and within its shared memory, as `requirements` checked.
                unsafe { run(device, $file, name, launch, std::ptr::from_ref(&raw).cast()) }
            }
        )*)*

        /// The PTX of every file.
        pub(super) static CODE: &[(&str, &str)] =
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
        add(Add, requirements::add)
        scale(Scale, requirements::scale)
        square_sums(Squares, requirements::square_sums)
        sum_rows(SumRows, requirements::sum_rows);
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
    "neuron/lif":
        neuron_forward_lif(NeuronStage, requirements::neuron_forward::<R, 0>)
        neuron_backward_lif(NeuronStage, requirements::neuron_backward::<R, 1, 0>)
        neuron_forward_lif_atan(NeuronStage, requirements::neuron_forward::<R, 0>)
        neuron_backward_lif_atan(NeuronStage, requirements::neuron_backward::<R, 1, 0>);
    "neuron/plif":
        neuron_forward_plif(NeuronStage, requirements::neuron_forward::<R, 1>)
        neuron_backward_plif(NeuronStage, requirements::neuron_backward::<R, 1, 1>)
        neuron_forward_plif_atan(NeuronStage, requirements::neuron_forward::<R, 1>)
        neuron_backward_plif_atan(NeuronStage, requirements::neuron_backward::<R, 1, 1>);
    "neuron/li":
        neuron_forward_li(NeuronStage, requirements::neuron_forward::<R, 0>)
        neuron_backward_li(NeuronStage, requirements::neuron_backward::<R, 1, 0>);
    "neuron/cuba_lif":
        neuron_forward_cuba_lif(NeuronStage, requirements::neuron_forward::<R, 2>)
        neuron_backward_cuba_lif(NeuronStage, requirements::neuron_backward::<R, 2, 2>)
        neuron_forward_cuba_lif_atan(NeuronStage, requirements::neuron_forward::<R, 2>)
        neuron_backward_cuba_lif_atan(NeuronStage, requirements::neuron_backward::<R, 2, 2>);
    "neuron/adlif":
        neuron_forward_adlif(NeuronStage, requirements::neuron_forward::<R, 4>)
        neuron_backward_adlif(NeuronStage, requirements::neuron_backward::<R, 2, 4>)
        neuron_forward_adlif_atan(NeuronStage, requirements::neuron_forward::<R, 4>)
        neuron_backward_adlif_atan(NeuronStage, requirements::neuron_backward::<R, 2, 4>);
    "projection/transform":
        sequence_to_spectrum(ToSpectrum, requirements::sequence_to_spectrum)
        spectrum_to_sequence(ToSequence, requirements::spectrum_to_sequence);
    "projection/taps":
        taps_to_spectrum(Taps, requirements::taps_to_spectrum)
        taps_from_spectrum(Taps, requirements::taps_from_spectrum)
        taps_to_dense(Taps, requirements::taps_to_dense)
        taps_from_dense(Taps, requirements::taps_from_dense);
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
        for ((file, ptx), names) in CODE.iter().zip(NAMES) {
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
            for name in *names {
                for suffix in ["f32", "f64"] {
                    assert!(ptx.contains(&format!(".visible .entry {name}_{suffix}(")), "{name}");
                }
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
