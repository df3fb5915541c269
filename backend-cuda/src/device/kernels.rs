//! Every kernel as a function, with the structure that it takes.
#![allow(unsafe_code)]

use super::{Device, Launch, Machine, Number};
use crate::arguments::*;
use crate::error::Error;
use std::ffi::c_void;

macro_rules! kernels {
    ($($file:literal: $($name:ident($arguments:ident))*;)*) => {
        $($(
            pub(crate) fn $name<R: Number>(
                device: &Device,
                launch: Launch,
                arguments: &$arguments<'_, R>,
            ) -> Result<(), Error> {
                let mut foreign = false;
                arguments.addresses(|address| foreign |= !device.owns(address));
                let single = concat!(stringify!($name), "_f32\0");
                let name = if R::BYTES == 4 { single } else { concat!(stringify!($name), "_f64\0") };
                if foreign || !launch.fits() {
                    let reason = if foreign { "a block of another device" } else { "more blocks or memory than a device has" };
                    return Err(Error::Driver { call: stringify!($name).into(), reason: reason.into() });
                }
                // SAFETY: the structure is the kernel's own (`arguments.h` is generated from it, and this macro pairs both by
                // name); its addresses are of blocks of `device`, borrowed for as long as the call, and blocks are
                // reused only in the order of the work. Callers check sizes before; the kernels stay within them, which the
                // conformance suite holds on the emulator, whose blocks are guarded on either side.
                unsafe { run(device, $file, name, launch, std::ptr::from_ref(arguments).cast()) }
            }
        )*)*

        /// Every file's code.
        pub(super) static CODE: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../", $file, ".ptx")))),*];

        #[cfg(test)]
        const NAMES: &[&[&str]] = &[$(&[$(stringify!($name)),*]),*];
    };
}

kernels! {
    "memory/memory": dropout(Dropout) find_not_finite(Finite) sum_rows(SumRows);
    "optim/optim": adam(AdamStep);
    "norm/norm": norm_sums(NormStatistics) norm_squares(NormStatistics) norm_finish(NormFinish) norm_apply(NormApply)
        norm_gradient_sums(NormBackward) norm_gradient_finish(NormBackward) norm_backward(NormBackward);
    "readout/readout": readout(Readout);
    "neuron/lif": neuron_forward_lif(NeuronStage) neuron_backward_lif(NeuronStage)
        neuron_forward_lif_atan(NeuronStage) neuron_backward_lif_atan(NeuronStage);
    "neuron/plif": neuron_forward_plif(NeuronStage) neuron_backward_plif(NeuronStage)
        neuron_forward_plif_atan(NeuronStage) neuron_backward_plif_atan(NeuronStage);
    "neuron/li": neuron_forward_li(NeuronStage) neuron_backward_li(NeuronStage);
    "neuron/cuba_lif": neuron_forward_cuba_lif(NeuronStage) neuron_backward_cuba_lif(NeuronStage)
        neuron_forward_cuba_lif_atan(NeuronStage) neuron_backward_cuba_lif_atan(NeuronStage);
    "neuron/adlif": neuron_forward_adlif(NeuronStage) neuron_backward_adlif(NeuronStage)
        neuron_forward_adlif_atan(NeuronStage) neuron_backward_adlif_atan(NeuronStage);
    "projection/transform": sequence_to_spectrum(ToSpectrum) spectrum_to_sequence(ToSequence);
    "projection/taps": taps_to_spectrum(Taps) taps_from_spectrum(Taps) taps_to_dense(Taps) taps_from_dense(Taps);
    "projection/product": product_forward(Product) product_forward_few_rows(Product) product_input(Product)
        product_input_few_rows(Product) product_kernel(Product) product_kernel_few_rows(Product);
    "projection/direct": direct_forward(Direct) direct_input(Direct) direct_kernel(Direct);
}

/// # Safety
/// `arguments` points to the structure that the kernel of that name takes, and its addresses to blocks of this device that are as large as
/// the kernel reads and writes.
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
        // SAFETY: the caller's.
        Machine::Driver(driver) => unsafe { driver.launch(file, name, launch, arguments) },
        #[cfg(feature = "emulator")]
        // SAFETY: the caller's.
        Machine::Emulator(emulator) => unsafe { emulator.launch(name, launch, arguments) },
    }
}

#[cfg(test)]
mod tests {
    use super::{CODE, NAMES};
    use sha2::{Digest, Sha256};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn headers(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut headers: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|e| e == "h")).collect();
        headers.sort();
        headers
    }

    /// The committed code says of which sources it is; `kernels.sh` makes it again.
    #[test]
    fn the_code_is_that_of_the_sources() {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
        for ((file, ptx), names) in CODE.iter().zip(NAMES) {
            let kernel = root.join(file).with_extension("cu");
            let mut hash = Sha256::new();
            for path in [headers(root), headers(kernel.parent().unwrap()), vec![kernel]].concat() {
                hash.update(fs::read(path).unwrap());
            }
            let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
            let said = ptx.strip_prefix("// ").and_then(|line| line.get(..64));
            assert!(said == Some(&hash), "{file}.ptx is of other sources: run kernels.sh");
            for name in *names {
                for suffix in ["f32", "f64"] {
                    assert!(ptx.contains(&format!(".visible .entry {name}_{suffix}(")), "{name}");
                }
            }
        }
    }
}
