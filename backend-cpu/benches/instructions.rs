//! `instructions KERNEL CALLS` calls one stage `CALLS` times on one thread. The size of the stage
//! makes one kernel do most of the work. A call runs the whole stage: `product` includes
//! transforms, and `transform` includes a few products. `.ci/instructions` counts the instructions.

mod work;

use polychron_core::shape::Shape;
use polychron_cpu::Algorithm;
use std::error::Error;
use work::{Size, Work};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [kernel, calls] = arguments.as_slice() else {
        return Err("usage: instructions KERNEL CALLS".into());
    };
    let size = |steps, inputs, taps| Size {
        x: Shape::new(steps, 64, inputs),
        outputs: 128,
        taps,
        sigma: 12.0,
    };
    let (size, stage): (_, fn(&mut Work) -> _) = match kernel.as_str() {
        "product" => (size(20, 128, 9), Work::project),
        "transform" => (size(100, 1, 25), Work::project),
        "neuron_backward" => (size(100, 1, 25), Work::neuron_backward),
        _ => return Err("KERNEL is product, transform or neuron_backward".into()),
    };
    let mut work = Work::new(size, Some(Algorithm::Frequency), 1)?;
    for _ in 0..calls.parse()? {
        stage(&mut work)?;
    }
    Ok(())
}
