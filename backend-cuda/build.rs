//! Compiles the jump table of the driver and, for tests, the emulated kernels.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=driver");
    driver();
    if env::var_os("CARGO_FEATURE_EMULATOR").is_some() {
        emulator();
    }
}

/// Compiles a jump through a table for every function of the driver, so that programs start without
/// one.
fn driver() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let names = fs::read_to_string("driver/functions.txt").expect("driver/functions.txt");
    let (mut jumps, mut list) = (String::new(), String::new());
    for (place, name) in names.lines().enumerate() {
        let _ = write!(jumps, "JUMP({place}, {name}) ");
        let _ = write!(list, "\"{name}\", ");
    }
    let count = names.lines().count();
    let header = format!("#define COUNT {count}\n#define JUMPS {jumps}\n#define NAMES {list}\n");
    fs::write(out.join("functions.h"), header).expect("OUT_DIR is writable");
    cc::Build::new().file("driver/lazy.c").include(&out).compile("polychron_driver");
}

/// Compiles every kernel for the host.
fn emulator() {
    println!("cargo::rerun-if-changed=src");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(2)
        .flag("-ffp-contract=off")
        .flag("-Wno-unused-function")
        .define("POLYCHRON_EMULATOR", None)
        .include("src")
        .link_lib_modifier("+whole-archive")
        .file("src/device/emulator.cpp");
    for kernel in kernels(Path::new("src")) {
        build.flag("-xc++").file(kernel);
    }
    build.compile("polychron_emulator");
}

fn kernels(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("src is readable");
    let mut found: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .flat_map(|path| match path.extension() {
            Some(extension) if extension == "cu" => vec![path],
            _ if path.is_dir() => kernels(&path),
            _ => Vec::new(),
        })
        .collect();
    found.sort();
    found
}
