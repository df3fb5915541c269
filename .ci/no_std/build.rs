fn main() {
    println!("cargo:rustc-link-arg=-lc");
}
