//! The source text of crates, built in: for those who show the lines beside what they compute.

/// A file of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path in the repository, such as `crates/tensor/src/ops/unary.rs`.
    pub path: &'static str,
    /// All of its text.
    pub text: &'static str,
}

/// A list of [`SourceFile`]s: the folder of a crate's sources in the repository, and the files in
/// it, beside the file that has the list.
///
/// ```ignore
/// const SOURCES: &[SourceFile] = unspool_tensor::source_files!("crates/own/src/": "lib.rs", "cube.rs");
/// ```
#[macro_export]
macro_rules! source_files {
    ($folder:literal: $($file:literal),* $(,)?) => {
        &[$($crate::sources::SourceFile {
            path: concat!($folder, $file),
            text: include_str!($file),
        }),*]
    };
}

/// The files of this crate with the passes of its ops, and the kernels beneath.
pub const SOURCES: &[SourceFile] = crate::source_files!("crates/tensor/src/":
    "kernels/cross_entropy.rs",
    "kernels/dropout.rs",
    "kernels/rows/fast.rs",
    "kernels/softmax.rs",
    "ops/arithmetic.rs",
    "ops/cross_entropy.rs",
    "ops/dropout.rs",
    "ops/index.rs",
    "ops/layer_norm.rs",
    "ops/mask.rs",
    "ops/matmul.rs",
    "ops/reduce.rs",
    "ops/shape.rs",
    "ops/softmax.rs",
    "ops/unary.rs",
);
