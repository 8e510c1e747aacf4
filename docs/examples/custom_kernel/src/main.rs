//! Measures every step against the one before it, and the last ones and the cell against the
//! kernels of this project.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use unspool_bench::{
    CellPass, Function, Machine, MachineSettings, Packing, Pass, Product, Report, Settings, Shape,
    Workload, compare, measure,
};
use unspool_layers::recurrent::{self, CellKind};
use unspool_tensor::kernels::matmul::{Element, MatmulKernel, conformance};
use unspool_tensor::memory::Recycling;
use unspool_tensor::{Context, Kernels};

/// Keeps large blocks of memory for the next time: what a product packs to needs no new pages.
#[global_allocator]
static ALLOCATOR: Recycling = Recycling;

const HELP: &str = "\
Measure the steps from three loops to a packed micro-kernel, and a cell in one pass

Usage: cargo run --release -p custom_kernel -- [MxKxN]... [--from STEP] [--save FILE]
       cargo run --release -p custom_kernel -- cell

  MxKxN        a product of M rows with a matrix of K by N [default: 512x512x512]
  cell         the pointwise part of an LSTM alone
  --from STEP  leave out the steps before this one
  --save FILE  keep what is found, for `unspool bench --show FILE --plot steps.svg`";

fn main() -> Result<(), Box<dyn Error>> {
    let (mut shapes, mut from, mut save) = (Vec::<Shape>::new(), None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            "--from" => from = Some(arguments.next().ok_or("--from: which step?")?),
            "--save" => save = Some(PathBuf::from(arguments.next().ok_or("--save: which file?")?)),
            "cell" => return measure_cell(),
            shape => shapes.push(shape.parse()?),
        }
    }
    if shapes.is_empty() {
        shapes.push(Shape::new(512, 512, 512)?);
    }

    let mut steps = custom_kernel::kernels();
    if let Some(name) = from {
        let at = steps.iter().position(|kernel| kernel.name() == name);
        steps.drain(..at.ok_or_else(|| format!("--from: there is no step {name:?}"))?);
    }
    let ours = Kernels::default().matmul_f32().name().to_owned();
    let ours = f32::variants().into_iter().filter(|kernel| kernel.name() == ours);
    let kernels: Vec<_> = steps.into_iter().chain(ours).collect();
    for kernel in &kernels {
        conformance(&**kernel)?;
        eprintln!("{} keeps the contract", kernel.name());
    }

    let contexts = [Context::sequential(), Context::with_threads(0)?];
    let mut found = Vec::new();
    let mut comparisons = Vec::new();
    for shape in shapes {
        let oracle = Arc::default();
        // `a·b` with a `b` that stands row by row is what a layer does for the gradient of its
        // input.
        let product = |kernel: &Arc<dyn MatmulKernel<f32>>, packing, context| {
            let Shape { m, k, n } = shape;
            let shape = Shape { m, k: n, n: k };
            Product::new(kernel.clone(), Pass::BackwardInput, packing, shape, context)
                .with_oracle(&oracle)
        };
        let mut steps: Vec<_> =
            kernels.iter().map(|kernel| product(kernel, Packing::None, &contexts[0])).collect();
        let last = kernels.len().saturating_sub(3);
        let mut packed_before: Vec<_> = contexts
            .iter()
            .flat_map(|context| {
                kernels[last..].iter().map(move |kernel| (kernel, Packing::Before, context))
            })
            .map(|(kernel, packing, context)| product(kernel, packing, context))
            .collect();
        let settings = Settings::default();
        eprintln!("measuring {shape} …");
        for group in [&mut steps, &mut packed_before] {
            let mut workloads: Vec<_> =
                group.iter_mut().map(|product| product as &mut dyn Workload).collect();
            for result in measure(&mut workloads, &settings, |_| {}) {
                found.push(result?);
            }
        }
        // What differs by a factor needs no comparison.
        for after in steps.len().saturating_sub(4).max(1)..steps.len() {
            let [before, after] = steps.get_disjoint_mut([after - 1, after])?;
            comparisons.push(format!("{shape}: {}", compare(after, before, &settings, |_| {})?));
        }
    }
    let threads: Vec<_> = contexts.iter().map(Context::threads).collect();
    eprintln!("measuring this machine …");
    let report = Report::new(Machine::measure(&MachineSettings::new(&threads), |_, _| {}), found);
    println!("{}\n\n{}\n\n{}", report.machine, report.table(), comparisons.join("\n"));
    if let Some(file) = save {
        report.write(&file)?;
    }
    Ok(())
}

/// The pointwise part of an LSTM, ours and that of the layers, for a batch and for one sentence.
fn measure_cell() -> Result<(), Box<dyn Error>> {
    let mine = Arc::new(custom_kernel::OnePass::new());
    recurrent::conformance(&*mine)?;
    eprintln!("the cell conforms");
    let theirs = recurrent::fast_kernel::<f32>(CellKind::Lstm);
    let lstm = recurrent::reference(CellKind::Lstm);
    for context in [Context::sequential(), Context::with_threads(0)?] {
        for size in [[64, 256], [64, 512], [1, 512]] {
            for pass in CellPass::ALL {
                let mut mine = Function::cell(mine.clone(), &lstm, pass, size, &context);
                let mut theirs = Function::cell(theirs.clone(), &lstm, pass, size, &context);
                let found = compare(&mut mine, &mut theirs, &Settings::default(), |_| {})?;
                println!("{}\n{}\n{found}\n", found.a, found.b);
            }
        }
    }
    Ok(())
}
