//! The cases of linear, embedding and attention: gradients and twins; and what padding and batches may not
//! change.

use std::sync::Arc;

use ndarray::{Array2, Array3, ArrayD, Axis, IxDyn, arr2, s};
use unspool_layers::attention::{
    self, AdditiveAttention, Attention, AttentionConfig, AttentionKind, DotAttention,
    MultiHeadAttention, MultiHeadConfig,
};
use unspool_layers::embedding::Embedding;
use unspool_layers::init::Init;
use unspool_layers::{Bound, embedding, linear};
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::{Oracle, check_case};
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Op, ParamStore, Tape, Tensor};

fn cases() -> Vec<Case> {
    [linear::cases(), embedding::cases(), attention::cases()].into_iter().flatten().collect()
}

#[test]
fn gradients_agree_with_both_oracles() {
    for case in cases() {
        for (oracle, tolerance) in [(Oracle::Differences, 1e-9), (Oracle::DualNumbers, 1e-12)] {
            for worst in check_case(&case, oracle, Key::new(1)).unwrap() {
                assert!(worst.error <= tolerance, "{} by {oracle:?}: {worst:?}", case.name);
            }
        }
    }
}

/// `max|a - b| ≤ tolerance·max(1, max|b|)`.
fn close(what: &str, a: &ArrayD<f64>, b: &ArrayD<f64>, tolerance: f64) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    let scale = b.iter().fold(1.0, |top: f64, b| top.max(b.abs()));
    let error = a.iter().zip(b).fold(0.0, |top: f64, (a, b)| top.max((a - b).abs()));
    assert!(error <= tolerance * scale, "{what}: {error:e}");
    assert!(a.iter().all(|a| a.is_finite()), "{what}");
}

#[test]
fn fused_ops_agree_with_their_twins() {
    for case in cases() {
        let key = Key::new(2);
        let run = |fused: bool| {
            let tape = Tape::<f64>::new(Context::sequential());
            let inputs: Vec<_> = case.sample(key).into_iter().map(|x| tape.input(x)).collect();
            let outputs = match fused {
                true => tape.apply_shared(case.op.clone(), &inputs).unwrap(),
                false => case.twin.as_ref().unwrap()(&tape, &inputs).unwrap(),
            };
            let values: Vec<_> = outputs.iter().map(|y| y.value().to_owned()).collect();
            let seeds: Vec<_> = (outputs.iter().enumerate())
                .map(|(k, &y)| (y, y.value().mapv(|x| (3.0 * x + k as f64 + 1.0).sin())))
                .collect();
            let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
            let grads = inputs.iter().map(|&x| {
                grads.wrt(x).map_or_else(|| ArrayD::zeros(x.value().raw_dim()), |d| d.to_owned())
            });
            values.into_iter().chain(grads).collect::<Vec<ArrayD<f64>>>()
        };
        for (i, (fused, twin)) in run(true).iter().zip(run(false)).enumerate() {
            close(&format!("{} {i}", case.name), fused, &twin, 1e-11);
        }
    }
}

/// Numbers in -1 to 1, one stream per name.
fn random(name: &str, shape: &[usize]) -> ArrayD<f32> {
    let key = Key::new(7).named(name);
    let mut counter = 0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        counter += 1;
        2.0 * key.uniform(counter) as f32 - 1.0
    })
}

const BATCH: usize = 8;
const SOURCE: usize = 9;
const LENGTHS: [usize; BATCH] = [9, 1, 0, 5, 7, 9, 2, 8];

/// The bits of an array's numbers.
fn bits(x: &ArrayD<f32>) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_row_has_the_same_bits_alone_in_a_batch_padded_and_on_threads() {
    // Sizes beside multiples of the kernels' blocks, and one large enough for threads.
    for (kind, size, wide) in [
        (AttentionKind::Additive, 19, 33),
        (AttentionKind::Additive, 2048, 2048),
        (AttentionKind::Dot, 8, 33),
        (AttentionKind::ScaledDot, 8, 2048),
        (AttentionKind::General, 8, 33),
        (AttentionKind::Concat, 19, 33),
        (AttentionKind::MultiHead, 12, 33),
    ] {
        let query = match kind {
            AttentionKind::Dot | AttentionKind::ScaledDot => wide,
            _ => 21,
        };
        let config = AttentionConfig { kind, query, memory: wide, size, heads: 3 };
        let mut store = ParamStore::<f32>::new();
        let attention =
            Attention::new(&mut store, "attention", config, Init::XavierUniform, Key::new(3))
                .unwrap();
        let memory = random("memory", &[SOURCE, BATCH, wide]);
        let queries = random("query", &[BATCH, query]);
        let run = |memory: ArrayD<f32>, queries: ArrayD<f32>, lengths: &[usize], context| {
            let tape = Tape::new(context);
            let bound = Bound::evaluation(&tape, &store);
            let memory = tape.input(memory);
            let queries = tape.input(queries);
            let prepared = attention.prepare(bound, memory, lengths).unwrap();
            let (context, weights) = attention.attend(bound, &prepared, queries).unwrap();
            let seeds = [context, weights].map(|y| (y, y.value().mapv(|x| x + 0.5)));
            let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
            [
                context.value().to_owned(),
                weights.value().to_owned(),
                grads.wrt(queries).unwrap().to_owned(),
                grads.wrt(memory).unwrap().to_owned(),
            ]
        };
        let whole = run(memory.clone(), queries.clone(), &LENGTHS, Context::sequential());
        assert!(whole.iter().flatten().all(|x| x.is_finite()), "{kind}");

        let threaded =
            run(memory.clone(), queries.clone(), &LENGTHS, Context::with_threads(3).unwrap());
        for (a, b) in whole.iter().zip(&threaded) {
            assert_eq!(bits(a), bits(b), "{kind} on threads");
        }
        for b in 0..BATCH {
            let of_row =
                |x: &ArrayD<f32>, axis: usize| x.slice_axis(Axis(axis), (b..=b).into()).to_owned();
            for source in [LENGTHS[b].max(1), SOURCE, SOURCE + 17] {
                let mut alone = ArrayD::from_elem(IxDyn(&[source, 1, wide]), f32::NAN);
                alone.slice_mut(s![..LENGTHS[b], .., ..]).assign(&of_row(&memory, 1).slice(s![
                    ..LENGTHS[b],
                    ..,
                    ..
                ]));
                let [context, weights, d_query, _] =
                    run(alone, of_row(&queries, 0), &LENGTHS[b..=b], Context::sequential());
                let what = format!("{kind}, row {b} of {source}");
                assert_eq!(bits(&context), bits(&of_row(&whole[0], 0)), "{what}");
                assert_eq!(bits(&d_query), bits(&of_row(&whole[2], 0)), "{what}");
                let (present, padding) = weights.view().split_at(Axis(1), LENGTHS[b]);
                let wanted = of_row(&whole[1], 0);
                let wanted = wanted.slice(s![.., ..LENGTHS[b]]);
                assert_eq!(
                    bits(&present.to_owned()),
                    bits(&wanted.to_owned().into_dyn()),
                    "{what}"
                );
                assert!(padding.iter().all(|&w| w == 0.0), "{what}");
            }
            if LENGTHS[b] == 0 && kind != AttentionKind::MultiHead {
                assert!(whole[0].index_axis(Axis(0), b).iter().all(|&c| c == 0.0), "{kind}");
            }
            let padding = whole[3].slice(s![LENGTHS[b].., b, ..]);
            assert!(padding.iter().all(|&d| d == 0.0), "{kind} reads its padding");
        }
    }
}
