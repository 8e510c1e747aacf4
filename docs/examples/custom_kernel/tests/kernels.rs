//! Every kernel of this crate keeps the contract, is measured, and trains a model as ours does.

use std::sync::Arc;

use custom_kernel::OnePass;
use ndarray::{Array2, s};
use unspool_bench::{
    CellPass, Function, Packing, Pass, Product, Settings, Shape, Workload, compare, measure,
};
use unspool_layers::recurrent::{self, CellKind};
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{LossOptions, ModelConfig, Seq2Seq, SourceSide, TeacherForcing};
use unspool_tensor::kernels::cells::{CellKernel, ForwardRow};
use unspool_tensor::kernels::matmul::{Element, MatmulKernel, conformance};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels, Tape};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

/// Our own, the fastest here.
fn ours() -> Arc<dyn MatmulKernel<f32>> {
    let name = Kernels::default().matmul_f32().name().to_owned();
    f32::variants().into_iter().find(|kernel| kernel.name() == name).unwrap()
}

#[test]
fn every_kernel_keeps_the_contract() {
    let kernels = custom_kernel::kernels();
    assert!(kernels.len() >= 6);
    for kernel in kernels {
        conformance(&*kernel).unwrap();
    }
}

#[test]
fn blocks_of_all_sizes_give_the_bits_of_one() {
    let numbers = |shape: [usize; 2], seed| {
        let mut at = 0;
        Array2::from_shape_simple_fn(shape, || {
            at += 1;
            Key::new(seed).uniform(at) as f32 - 0.5
        })
    };
    // More rows and more depth than a block.
    let (a, b) = (numbers([150, 1100], 1), numbers([1100, 70], 2));
    let product = |kernel: &dyn MatmulKernel<f32>, rows| {
        let mut c = Array2::zeros((rows, 70));
        kernel.product_unpacked(a.slice(s![..rows, ..]), b.view(), false, c.view_mut());
        c
    };
    let whole = product(&custom_kernel::Tiled::PACKED, 150);
    for rows in [1, 127, 130, 150] {
        let found = product(&custom_kernel::Tiled::BLOCKS, rows);
        assert_eq!(found, whole.slice(s![..rows, ..]), "{rows} rows");
    }
}

#[test]
fn every_kernel_is_measured_and_compared() {
    let settings = Settings { most_samples: 5, ..Settings::quick() };
    let context = Context::sequential();
    let shape = Shape::new(11, 40, 70).unwrap();
    for pass in Pass::ALL {
        let product = |kernel| Product::new(kernel, pass, Packing::None, shape, &context);
        let mut products: Vec<_> = custom_kernel::kernels().into_iter().map(product).collect();
        let mut workloads: Vec<_> =
            products.iter_mut().map(|product| product as &mut dyn Workload).collect();
        for found in measure(&mut workloads, &settings, |_| {}) {
            assert!(found.unwrap().rate() > 0.0);
        }
        let mut theirs = product(ours());
        compare(&mut products[0], &mut theirs, &settings, |_| {}).unwrap();
    }
}

/// The cell with vectors, where there are any, and without.
fn cells() -> [Arc<dyn CellKernel<f32>>; 2] {
    [Arc::new(OnePass::new()), Arc::new(OnePass::portable())]
}

#[test]
fn the_cell_conforms() {
    for cell in cells() {
        recurrent::conformance(&*cell).unwrap();
    }
}

#[test]
fn nan_and_infinity_are_what_they_should_be() {
    let sums = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30, 0.0];
    let hidden = sums.len();
    for cell in cells() {
        let mut gates = sums.repeat(4);
        let (h, c) = ([0.0; 6], [0.5; 6]);
        let [mut h_next, mut c_next, mut extras] = [[-1.0_f32; 6]; 3];
        cell.forward(ForwardRow {
            gates: &mut gates,
            hidden_gates: &[],
            h: &h,
            c: &c,
            h_next: &mut h_next,
            c_next: &mut c_next,
            extras: &mut extras,
        });
        let near = |found: f32, expected: f32| (found - expected).abs() < 1e-6;
        // One unit a column: i and o as the logistic function, g as tanh.
        for (unit, (logistic, tanh)) in
            [(1.0, 1.0), (0.0, -1.0), (1.0, 1.0), (0.0, -1.0), (0.5, 0.0)].into_iter().enumerate()
        {
            let unit = unit + 1;
            assert!(near(gates[unit], logistic), "{}: {}", cell.name(), gates[unit]);
            assert!(near(gates[2 * hidden + unit], tanh), "{}: unit {unit}", cell.name());
            assert!(near(c_next[unit], logistic * (0.5 + tanh)), "{}: unit {unit}", cell.name());
        }
        assert!(h_next[0].is_nan() && c_next[0].is_nan() && gates[0].is_nan(), "{}", cell.name());
    }
}

#[test]
fn the_cell_is_measured_and_compared() {
    let settings = Settings { most_samples: 5, ..Settings::quick() };
    let lstm = recurrent::reference(CellKind::Lstm);
    let theirs = recurrent::fast_kernel(CellKind::Lstm);
    for context in [Context::sequential(), Context::with_threads(2).unwrap()] {
        for pass in CellPass::ALL {
            let work = |kernel| Function::cell(kernel, &lstm, pass, [9, 50], &context);
            let mut theirs = work(theirs.clone());
            for mine in cells() {
                compare(&mut work(mine), &mut theirs, &settings, |_| {}).unwrap();
            }
        }
    }
}

/// The losses of some updates of a small model of LSTMs that learns to reverse.
fn losses(kernels: Kernels) -> Vec<f64> {
    let context = Context::sequential().with_kernels(kernels);
    let words = (0..9).map(|number| format!("w{number}"));
    let tokens = SPECIALS.iter().map(|&special| special.to_owned()).chain(words).collect();
    let vocabulary = Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap();
    let config =
        ModelConfig { cell: CellKind::Lstm, embedding: 12, hidden: 20, ..ModelConfig::default() };
    let source = SourceSide::Tokens(vocabulary.clone());
    let mut model =
        Seq2Seq::<f32>::new(config, source, vocabulary, context.clone(), Key::new(1)).unwrap();
    let examples: Vec<_> = (0..16)
        .map(|number| {
            let key = Key::new(2).with(number);
            let token = |at| SPECIALS.len() as Token + key.below(at, 9) as Token;
            let source: Vec<Token> = (0..3 + number % 4).map(token).collect();
            let target = source.iter().rev().copied().collect();
            Example { source: Source::Tokens(source), target }
        })
        .collect();
    let batch = Batch::new(&examples.iter().collect::<Vec<_>>()).unwrap();
    let divisor = batch.target_tokens() as f64;
    let options =
        LossOptions { forcing: TeacherForcing::ALWAYS, smoothing: Smoothing::None, divisor };
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    (0..8)
        .map(|update| {
            let tape = Tape::new(context.clone().with_key(Key::new(3).with(update)));
            let loss = model.training_loss(&tape, &batch, options).unwrap().loss;
            let gradients = tape.backward(loss).unwrap().into_gradients();
            let value = loss.value().iter().map(|&x| f64::from(x)).sum();
            drop(tape);
            optimiser.update(&context, model.params_mut(), &gradients, 1e-2);
            value
        })
        .collect()
}

#[test]
fn every_kernel_trains_a_model_as_ours_does() {
    let expected = losses(Kernels::default());
    assert!(expected[7] < 0.95 * expected[0], "nothing was learned: {expected:?}");
    let products = custom_kernel::kernels().into_iter();
    let products = products.map(|kernel| Kernels::default().with_matmul(kernel));
    let cells = cells().map(|cell| Kernels::default().with_cell(cell));
    for kernels in products.chain(cells) {
        let name = kernels.name();
        let found = losses(kernels);
        // Rounding differs, and each update adds to the difference.
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-4 * expected, "{name}: {found} {expected}");
        }
    }
}

/// Without white space.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

#[test]
fn the_chapter_quotes_what_the_code_says() {
    let sources = [
        include_str!("../src/loops.rs"),
        include_str!("../src/micro_kernel.rs"),
        include_str!("../src/tiled.rs"),
        include_str!("../src/in_c.rs"),
        include_str!("../src/lstm.rs"),
    ];
    let sources = sources.map(squeezed).concat();
    let chapter = include_str!("../../../kernels.md");
    let blocks = chapter.split("```rust\n").skip(1).filter_map(|text| text.split("```").next());
    // Some have parts left out, or kernels of the reader's.
    let is_quote = |block: &&str| !["…", "MyKernel", "mine"].iter().any(|x| block.contains(x));
    let quotes: Vec<_> = blocks.filter(is_quote).collect();
    assert!(quotes.len() >= 6, "{quotes:#?}");
    for quote in quotes {
        let found = squeezed(quote);
        assert!(sources.contains(found.trim_end_matches('}')), "not in the code: {quote}");
    }
}
