#![no_main]
//! Any bytes are a valid model file, or refused with an offset in the file; also with corrected
//! length and checksum.

use libfuzzer_sys::fuzz_target;
use polychron_core::format::{MAX_WIDTH, ModelFile, Weight};
use polychron_fuzz::file::seal;

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    for sealed in [false, true] {
        if sealed {
            seal(&mut file);
        }
        parse::<i8>(&file);
        parse::<f32>(&file);
    }
});

fn parse<W: Weight>(file: &[u8]) {
    match ModelFile::<W>::parse(file) {
        Err(error) => assert!(error.offset <= file.len(), "{error}"),
        Ok(model) => {
            assert!(model.depth() >= 1 && model.channels() >= 1 && model.flash() == file.len());
            let layers = (0..).map_while(|l| model.layer(l));
            let ram: usize = layers.map(|layer| layer.ram.iter().sum::<usize>()).sum();
            assert!(ram <= model.ram());
            let labels =
                (0..).take_while(|&class| class <= MAX_WIDTH && model.label(class).is_some());
            assert!(labels.count() <= model.classes());
        }
    }
}
