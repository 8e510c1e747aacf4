//! Matrix products of one's own, from three loops to a kernel near the limit of the machine: each
//! is a small change to the one before. The micro-kernel is there in Rust and in C. And the
//! pointwise part of an LSTM, in one pass over its units.
//!
//! `docs/kernels.md` walks through this crate. `cargo run --release -p custom_kernel` measures the
//! steps and the cell on your machine; the tests hold every kernel to the contract, measure it, and
//! train with it.
//!
//! One registration, and everything runs on a kernel: layers, training, translation.
//!
//! ```
//! use std::sync::Arc;
//! use unspool_tensor::{Context, Kernels};
//!
//! let mine = Arc::new(custom_kernel::Tiled::BLOCKS);
//! let context = Context::sequential().with_kernels(Kernels::default().with_matmul(mine));
//! # assert_eq!(context.kernels().matmul_f32().name(), "blocks");
//!
//! // And the cell:
//! let kernels = Kernels::default().with_cell(Arc::new(custom_kernel::OnePass::new()));
//! let context = Context::sequential().with_kernels(kernels);
//! # assert!(context.kernels().cell_f32("lstm").is_some());
//! ```
//!
//! | file | what it holds |
//! |---|---|
//! | `loops.rs` | steps 1 and 2: the definition, and its loops in another order |
//! | `tiled.rs` | steps 3 to 6: the loops around a micro-kernel, packing, blocks |
//! | `micro_kernel.rs` | the tile that stays in registers: portable, AVX2, AVX-512 |
//! | `micro_kernel.c` | the same in C, called in `in_c.rs` |
//! | `lstm.rs` | the pointwise part of an LSTM, forward and backward |

mod in_c;
mod loops;
mod lstm;
mod micro_kernel;
mod tiled;

use std::sync::Arc;

use unspool_tensor::kernels::matmul::MatmulKernel;

pub use self::in_c::in_c;
pub use self::loops::{LoopOrder, ThreeLoops};
pub use self::lstm::OnePass;
pub use self::micro_kernel::{MicroKernel, ROWS, Rows, Sums, WIDTH};
pub use self::tiled::{BLOCK, Tiled};

/// All matrix products of this crate that this machine can run, from the slowest to the fastest; the one in
/// C is the last.
pub fn kernels() -> Vec<Arc<dyn MatmulKernel<f32>>> {
    let mut kernels: Vec<Arc<dyn MatmulKernel<f32>>> =
        vec![Arc::new(ThreeLoops), Arc::new(LoopOrder)];
    for step in [Tiled::REGISTERS, Tiled::VECTORS, Tiled::PACKED, Tiled::BLOCKS] {
        kernels.push(Arc::new(step));
    }
    kernels.extend(in_c().map(|kernel| Arc::new(kernel) as Arc<dyn MatmulKernel<f32>>));
    kernels
}
