//! Compiles the micro-kernel in C. Where there is no C compiler, the crate does without it.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_c)");
    println!("cargo::rerun-if-changed=src/micro_kernel.c");
    let compiled = cc::Build::new()
        .file("src/micro_kernel.c")
        .opt_level(3)
        .warnings(false)
        .cargo_warnings(false)
        .try_compile("custom_kernel_micro_kernel");
    match compiled {
        Ok(()) => println!("cargo::rustc-cfg=has_c"),
        Err(error) => println!("cargo::warning=the kernel in C is left out: {error}"),
    }
}
