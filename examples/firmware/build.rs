use std::{env, fs, path::PathBuf};

fn main() {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").unwrap();
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let (layout, arguments) = match arch.as_str() {
        "arm" => ("memory-arm.x", ["--nmagic", "-Tlink.x"].as_slice()),
        "riscv32" => ("memory-riscv32.x", ["-Tmemory.x", "-Tlink.x"].as_slice()),
        _ => panic!("no memory layout for {arch}: choose one of the targets in .cargo/config.toml"),
    };
    fs::copy(layout, out.join("memory.x")).unwrap();
    fs::write(out.join("device.x"), "").unwrap();
    println!("cargo:rustc-link-search={}", out.display());
    for argument in arguments {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed={layout}");
}
