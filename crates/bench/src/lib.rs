//! Measures kernels against the machine's limits and against each other, and checks what they
//! compute.
//!
//! A figure of speed is worth what was checked beside it. So this crate
//!
//! - measures the **limits** first: the most multiply-adds a second of each instruction set, on one
//!   core and on several, and how fast memory is read and written at each level ([`Machine`]);
//! - measures a kernel as **work on operands of its own** ([`Workload`]): median time and
//!   quartiles, work a second, the share of the roofline and of the peak, which has its turns among
//!   those of the kernels ([`measure`](fn@measure), [`Shares`]), with operands in the caches or out of them ([`Temperature`]), on any number of
//!   threads;
//! - **trusts no answer**: before and after timing, on fresh inputs in the same memory, every
//!   number is held to an oracle in `f64` within a derived bound; while timing, an input changes
//!   before each run and a part of the answer that depends on it is looked at after each sample;
//!   and a run on inputs that are all new must not take longer. A kernel that returns zeros, skips
//!   work, or keeps its answers, is an error, not a record;
//! - **compares** two kernels in turns, with a confidence interval of the ratio, beside one of them
//!   against itself: it says so when there is no difference ([`compare`](fn@compare));
//! - keeps what it found, to compare a later commit with ([`Report`]).
//!
//! # A kernel of your own
//!
//! ```
//! use std::sync::Arc;
//! use unspool_bench::{Machine, MachineSettings, Packing, Pass, Product, Report, Settings, Shape};
//! use unspool_tensor::Context;
//! use unspool_tensor::kernels::matmul::{MatmulKernel, Naive, conformance};
//!
//! // In place of `Naive`, your own.
//! let mine: Arc<dyn MatmulKernel<f32>> = Arc::new(Naive);
//! conformance(&*mine)?;
//!
//! let context = Context::sequential();
//! let theirs: Arc<dyn MatmulKernel<f32>> = Arc::new(unspool_tensor::kernels::matmul::MatrixMultiply);
//! let shape = Shape::new(8, 40, 24)?;
//! let [mut a, mut b] = [mine, theirs]
//!     .map(|kernel| Product::new(kernel, Pass::Forward, Packing::Before, shape, &context));
//! let settings = Settings::quick();
//! println!("{}", unspool_bench::compare(&mut a, &mut b, &settings, |_| {})?);
//!
//! let found = unspool_bench::measure_one(&mut a, &settings)?;
//! let machine = Machine::measure(&MachineSettings::quick(&[1]), |_, _| {});
//! println!("{}", Report::new(machine, vec![found]).table());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The pointwise part of a cell is [`Function::cell`], softmax and `exp` are others of that kind, and
//! any function of slices is a [`Function`] with an oracle of your own. Ops, forward and backward,
//! are [`OnTape`]; packing is a [`WeightPacking`]. For what fits none, implement [`Workload`].
//!
//! # What a measurement is
//!
//! A *run* is one call of the kernel. A *sample* is as many runs as take some hundred microseconds:
//! long beside the clock, short beside the time slices of the system, so that most samples are
//! undisturbed; the median leaves out the others. When operands are warm, a run that is not timed
//! goes before. When they are cold, a sample is one run, and before it inputs and outputs are taken
//! out of the caches ([`Evictor`](machine::Evictor)). Several threads are those of the workload's
//! context; they are awake when timing starts. A kernel for which a second thread does not pay runs
//! on one, as it does in training ([`Context::with_parallel_from`]).
//!
//! Each run includes changing one number of the inputs, some nanoseconds.
//!
//! [`Context::with_parallel_from`]: unspool_tensor::Context::with_parallel_from

pub mod cell;
pub mod compare;
pub mod function;
pub mod machine;
pub mod measure;
pub mod on_tape;
pub mod packing;
pub mod product;
pub mod report;
pub mod shape;
pub mod statistics;
pub mod workload;

pub use cell::CellPass;
pub use compare::{Comparison, Verdict, compare};
pub use function::Function;
pub use machine::{Machine, MachineSettings, NumberType, Temperature, thread_counts};
pub use measure::{Measurement, Mismatch, Peaks, Settings, Stage, measure, measure_one};
pub use on_tape::{OnTape, TapePass};
pub use packing::WeightPacking;
pub use product::{Number, Oracle, Packing, Pass, Product};
pub use report::{Change, Direction, Report, ReportError, Shares};
pub use shape::{Shape, ShapeError};
pub use statistics::{Interval, Spread};
pub use workload::{Cost, Expected, Identity, Work, Workload, Wrong};
