//! Linear, embedding, dropout and attention as layers: PyTorch's numbers, errors, and what padding
//! and batches may not change. Their ops are walked by `tests/gradcheck.rs` and `tests/golden.rs`.

use std::sync::Arc;

use ndarray::{ArrayD, Axis, IxDyn, arr1, arr2, s};
use unspool_layers::attention::{
    Attention, AttentionConfig, AttentionKind, DotAttention, MultiHeadAttention, MultiHeadConfig,
    composed,
};
use unspool_layers::dropout::Dropout;
use unspool_layers::embedding::{self, Embedding};
use unspool_layers::init::Init;
use unspool_layers::linear::Linear;
use unspool_layers::{Bound, Result};
use unspool_tensor::gradcheck::distance;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, ParamStore, Tape, Var};

use common::{Golden, random};

mod common;

/// Compares outputs and the gradients of named variables, given those of the outputs.
fn check(golden: &Golden, case: &str, inputs: &[(String, Var<'_, f64>)], outputs: &[Var<'_, f64>]) {
    let seeds: Vec<_> = (outputs.iter().enumerate())
        .map(|(k, &y)| (y, golden.get(case, &format!("d_out.{k}"))))
        .collect();
    let Some((first, _)) = seeds.first() else { panic!("{case} has no output") };
    let grads = first.tape().vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
    for (k, y) in outputs.iter().enumerate() {
        golden.check(case, &format!("out.{k}"), &y.value());
    }
    for (name, x) in inputs {
        golden.check(case, &format!("d_in.{name}"), grads.wrt(*x).unwrap());
    }
}

/// Checks a layer against a golden row: its parameters and `inputs` are taken from there.
fn check_layer<L>(
    case: &str,
    inputs: &[&str],
    new: impl FnOnce(&mut ParamStore<f64>) -> Result<L>,
    forward: impl for<'t> Fn(&L, Bound<'t, f64>, &[Var<'t, f64>]) -> Result<Vec<Var<'t, f64>>>,
) {
    let golden = Golden::open("attention");
    let mut store = ParamStore::<f64>::new();
    let layer = new(&mut store).unwrap();
    for id in store.ids() {
        let name = store.name(id).strip_prefix("layer.").unwrap();
        let value = golden.get(case, &format!("in.{name}"));
        store.set(id, value).unwrap();
    }
    let tape = Tape::new(Context::sequential());
    let bound = Bound::evaluation(&tape, &store);
    let vars: Vec<_> =
        inputs.iter().map(|name| tape.input(golden.get(case, &format!("in.{name}")))).collect();
    let outputs = forward(&layer, bound, &vars).unwrap();
    let named = inputs.iter().map(|name| name.to_string()).zip(vars.iter().copied());
    let params = store.ids().map(|id| {
        let name = store.name(id).strip_prefix("layer.").unwrap();
        (name.to_string(), bound.param(id))
    });
    check(&golden, case, &named.chain(params).collect::<Vec<_>>(), &outputs);
}

const INIT: Init = Init::Uniform { bound: 1.0 };
const KEY: Key = Key::new(3);

/// Name of the golden row, inputs, sizes, lengths, whether it is causal.
type MultiHeadRow =
    (&'static str, &'static [&'static str], MultiHeadConfig, &'static [usize], bool);

fn multi_head_rows() -> [MultiHeadRow; 6] {
    let uniform = |heads| MultiHeadConfig::uniform(6, heads);
    let cross = MultiHeadConfig { key: 5, value: 3, ..uniform(2) };
    let projected = MultiHeadConfig { query: 4, heads: 3, output: 7, ..cross };
    let all = &["query", "key", "value"];
    [
        ("self", &["query"], uniform(3), &[4, 2, 1], false),
        ("causal", &["query"], uniform(2), &[4, 2, 1], true),
        ("one_head", &["query"], uniform(1), &[4, 2, 1], false),
        ("cross", all, cross, &[4, 1], false),
        ("causal_cross", all, cross, &[4, 2], true),
        ("projected", all, projected, &[4, 1], false),
    ]
}

#[test]
fn multi_head_attention_agrees_with_pytorch() {
    for (name, inputs, config, lengths, causal) in multi_head_rows() {
        check_layer(
            &format!("layer/multi_head/{name}"),
            inputs,
            |store| MultiHeadAttention::new(store, "layer", config, INIT, KEY),
            |layer, bound, x| {
                let (key, value) = (x.get(1).unwrap_or(&x[0]), x.get(2).unwrap_or(&x[0]));
                let (y, weights) = layer.forward(bound, x[0], *key, *value, lengths, causal)?;
                Ok(vec![y, weights])
            },
        );
    }
}

/// Every kind, over a memory as long as the query, and over another where that can be.
fn attention_rows() -> Vec<(String, AttentionConfig)> {
    let mut rows = Vec::new();
    for kind in AttentionKind::ALL {
        let (size, heads) = if kind == AttentionKind::MultiHead { (6, 2) } else { (4, 0) };
        let config = AttentionConfig { kind, query: 6, memory: 6, size, heads };
        rows.push((format!("layer/attention/{kind}"), config));
        if kind == AttentionKind::MultiHead {
            let one = AttentionConfig { heads: 1, ..config };
            rows.push((format!("layer/attention/{kind}/one_head"), one));
        }
        if !matches!(kind, AttentionKind::Dot | AttentionKind::ScaledDot) {
            let heads = if kind == AttentionKind::MultiHead { 3 } else { 0 };
            let other = AttentionConfig { memory: 5, heads, ..config };
            rows.push((format!("layer/attention/{kind}/other_memory"), other));
        }
    }
    rows
}

#[test]
fn attention_of_every_kind_agrees_with_pytorch() {
    for (name, config) in attention_rows() {
        check_layer(
            &name,
            &["memory", "query"],
            |store| Attention::new(store, "layer", config, INIT, KEY),
            |attention, bound, x| {
                let memory = attention.prepare(bound, x[0], &[4, 1, 3])?;
                let (context, weights) = attention.attend(bound, &memory, x[1])?;
                Ok(vec![context, weights])
            },
        );
    }
}

#[test]
fn every_golden_layer_is_compared() {
    let attention = attention_rows().into_iter().map(|(name, _)| name);
    let multi_head = multi_head_rows().map(|row| format!("layer/multi_head/{}", row.0));
    let rows = attention.chain(multi_head).chain([PADDED_EMBEDDING.to_owned()]);
    assert_eq!(Golden::open("attention").layers(), rows.collect());
}

/// The golden row of an embedding with a padding row.
const PADDED_EMBEDDING: &str = "layer/embedding/padding";

#[test]
fn a_padding_row_is_looked_up_and_never_learns() {
    let indices = arr2(&[[0, 4], [0, 1], [4, 4]]);
    let tape = Tape::<f64>::new(Context::sequential());
    let golden = Golden::open("attention");
    let case = PADDED_EMBEDDING;
    let table = tape.input(golden.get(case, "in.table"));
    let op =
        embedding::EmbeddingOp { indices: Arc::new(indices.clone().into_dyn()), padding: Some(0) };
    let fused = tape.apply_shared(Arc::new(op), &[table]).unwrap();
    check(&golden, case, &[("table".into(), table)], &fused);
    let twin = embedding::composed(table, &indices.clone().into_dyn(), Some(0)).unwrap();
    check(&golden, case, &[("table".into(), table)], &[twin]);

    let mut store = ParamStore::<f64>::new();
    let layer = Embedding::new(&mut store, "e", 5, 3, Some(2), INIT, KEY).unwrap();
    let table = store.get(layer.weight());
    let zero_rows = |row: &usize| table.index_axis(Axis(0), *row).iter().all(|&x| x == 0.0);
    assert_eq!((0..5).filter(zero_rows).collect::<Vec<_>>(), [2]);
    let bound = Bound::training(&tape, &store);
    assert_eq!(layer.forward(bound, &indices).unwrap().shape(), [3, 2, 3]);
    let error = layer.forward(bound, &arr1(&[1, 5])).unwrap_err().to_string();
    assert_eq!(error, "embedding: index 5 is not in a table of 5 rows");
}

#[test]
fn a_linear_layer_records_what_each_time_step_adds() {
    let mut store = ParamStore::<f64>::new();
    let layer = Linear::new(&mut store, "l", 3, 4, true, INIT, KEY).unwrap();
    let tape = Tape::new(Context::sequential());
    let bound = Bound::training(&tape, &store);
    let x = tape.input(random("x", &[5, 2, 3]));
    let y = layer.forward(bound, x).unwrap();
    let seed = [(y, y.value().mapv(|y| y * y))];
    let added = tape.vector_jacobian(&seed, BackwardMode::Adding).unwrap();
    let recorded = tape.vector_jacobian(&seed, BackwardMode::Recording).unwrap();
    for id in store.ids() {
        let param = bound.param(id);
        let parts = recorded.contributions(param);
        let times: Vec<_> = parts.iter().map(|part| part.time).collect();
        assert_eq!(times, [0, 1, 2, 3, 4].map(Some), "{}", store.name(id));
        let total =
            parts.iter().fold(ArrayD::zeros(IxDyn(&param.shape())), |sum, part| sum + &part.value);
        let name = store.name(id);
        assert!(distance(&total, added.param(id).unwrap()) <= 1e-14, "{name}");
    }
}

#[test]
fn dropout_drops_step_by_step_what_it_drops_at_once_and_nothing_in_evaluation() {
    let dropout = Dropout::new(0.4, "site").unwrap();
    let store = ParamStore::<f32>::new();
    let tape = Tape::new(Context::sequential().with_key(KEY));
    let training = Bound::training(&tape, &store);
    let x = tape.input(ArrayD::ones(IxDyn(&[5, 7, 11])));
    let whole = dropout.forward(training, x).unwrap().value();
    let dropped = whole.iter().filter(|&&y| y == 0.0).count();
    assert!((100..210).contains(&dropped), "{dropped} of 385");
    for time in 0..5 {
        let step = tape.input(ArrayD::ones(IxDyn(&[7, 11])));
        let step = dropout.forward_at(training, step, time).unwrap().value();
        assert_eq!(step, whole.index_axis(Axis(0), time));
    }
    let other = Dropout::new(0.4, "other").unwrap().forward(training, x).unwrap().value();
    assert_ne!(other, whole);
    let nothing = Dropout::new(0.0, "site").unwrap();
    for (layer, bound) in [(&dropout, Bound::evaluation(&tape, &store)), (&nothing, training)] {
        assert_eq!(layer.forward(bound, x).unwrap().slot(), x.slot());
    }
    for rate in [-0.1, 1.0, f64::NAN] {
        assert!(Dropout::new(rate, "site").is_err());
    }
}

#[test]
fn impossible_sizes_are_errors_that_say_so() {
    use AttentionKind::{Additive, Concat, Dot, MultiHead, ScaledDot};
    let rows = [
        (
            Dot,
            3,
            4,
            0,
            0,
            "attention: dot attention needs one size, not queries of 3 and memory of 4",
        ),
        (
            ScaledDot,
            4,
            3,
            0,
            0,
            "attention: scaled_dot attention needs one size, not queries of 4 and memory of 3",
        ),
        (Additive, 3, 4, 0, 0, "attention: additive attention has a size of 0"),
        (Concat, 3, 4, 0, 0, "attention: concat attention has a size of 0"),
        (Additive, 0, 4, 1, 0, "attention: the query or the memory has a size of 0"),
        (MultiHead, 3, 4, 5, 2, "multi-head attention: 2 heads do not divide a size of 5"),
        (MultiHead, 3, 4, 5, 0, "multi-head attention: 0 heads do not divide a size of 5"),
        (MultiHead, 3, 4, 0, 2, "multi-head attention: a size is 0"),
    ];
    for (kind, query, memory, size, heads, wanted) in rows {
        let config = AttentionConfig { kind, query, memory, size, heads };
        let mut store = ParamStore::<f32>::new();
        let error = Attention::new(&mut store, "a", config, INIT, KEY).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
    for kind in AttentionKind::ALL {
        assert_eq!(kind.to_string().parse::<AttentionKind>(), Ok(kind));
    }
    assert!("luong".parse::<AttentionKind>().unwrap_err().to_string().contains("scaled_dot"));
}

#[test]
fn wrong_shapes_and_lengths_are_errors() {
    let config =
        AttentionConfig { kind: AttentionKind::Additive, query: 2, memory: 3, size: 4, heads: 0 };
    let mut store = ParamStore::<f32>::new();
    let attention = Attention::new(&mut store, "a", config, INIT, KEY).unwrap();
    let tape = Tape::new(Context::sequential());
    let bound = Bound::training(&tape, &store);
    let array = |shape: &[usize]| tape.input(ArrayD::<f32>::zeros(IxDyn(shape)));
    let rows: [(&[usize], &[usize]); 4] =
        [(&[5, 2, 4], &[5, 5]), (&[5, 3], &[5]), (&[5, 2, 3], &[5]), (&[5, 2, 3], &[5, 6])];
    for (memory, lengths) in rows {
        assert!(attention.prepare(bound, array(memory), lengths).is_err(), "{memory:?}");
    }
    let memory = attention.prepare(bound, array(&[5, 2, 3]), &[5, 1]).unwrap();
    for query in [&[2, 3][..], &[3, 2], &[2], &[1, 2, 2]] {
        assert!(attention.attend(bound, &memory, array(query)).is_err(), "{query:?}");
    }
    // No keys at all, and no rows: nothing to find, nothing to panic at.
    for (source, batch) in [(0, 2), (3, 0)] {
        let memory = attention.prepare(bound, array(&[source, batch, 3]), &vec![0; batch]).unwrap();
        let (context, weights) = attention.attend(bound, &memory, array(&[batch, 2])).unwrap();
        assert_eq!((context.shape(), weights.shape()), (vec![batch, 3], vec![batch, source]));
        let grads = tape.backward(context.sum_all().unwrap()).unwrap();
        assert!(grads.into_params().iter().all(|(_, d)| d.iter().all(|&d| d == 0.0)));
    }
}

#[test]
fn composed_attentions_say_what_does_not_fit() {
    let tape = Tape::<f64>::new(Context::sequential());
    let array = |shape: &[usize]| tape.input(ArrayD::<f64>::zeros(IxDyn(shape)));
    // Two rows of three keys, of length 4.
    for (heads, lengths) in [(0, &[3, 1][..]), (3, &[3, 1]), (2, &[3]), (2, &[3, 4])] {
        let op = DotAttention { scale: 1.0, heads, causal: false, lengths: lengths.into() };
        let memory = array(&[2, 3, 4]);
        let inputs = [array(&[2, 1, 4]), memory, memory];
        let fused = tape.apply_shared(Arc::new(op.clone()), &inputs).unwrap_err();
        let twin = composed::dot(&op, inputs[0], memory, memory).unwrap_err();
        assert_eq!(twin.to_string(), fused.to_string());
    }
    for lengths in [&[3][..], &[3, 4]] {
        let (query, memory, v) = (array(&[2, 4]), array(&[2, 3, 4]), array(&[4]));
        assert!(composed::additive(query, memory, v, memory, lengths).is_err(), "{lengths:?}");
    }
}

/// Weights that queries share over the steps are cut out of the parameter once per sequence, on
/// whatever tape a search has put its memory.
#[test]
fn a_step_of_attention_cuts_no_weights_and_a_stored_memory_attends_the_same() {
    for kind in AttentionKind::ALL {
        let config = AttentionConfig { kind, query: 4, memory: 4, size: 4, heads: 2 };
        let mut store = ParamStore::<f32>::new();
        let attention = Attention::new(&mut store, "a", config, INIT, KEY).unwrap();
        let tape = Tape::new(Context::sequential());
        let bound = Bound::training(&tape, &store);
        let x = tape.input(random("memory", &[5, 2, 4]).mapv(|x| x as f32));
        let query = tape.input(random("query", &[2, 4]).mapv(|x| x as f32));
        let memory = attention.prepare(bound, x, &[5, 3]).unwrap();
        let first = tape.len();
        let (context, _) = attention.attend(bound, &memory, query).unwrap();
        for node in first..tape.len() {
            assert_ne!(tape.node(node, |node| node.op == "slice"), Some(true), "{kind}");
        }

        let other = Tape::inference(Context::sequential());
        let bound = Bound::evaluation(&other, &store);
        let [keys, values] = [memory.keys, memory.values].map(|part| other.constant(part.value()));
        let stored = attention.memory(bound, keys, values, memory.lengths.clone()).unwrap();
        let query = other.constant(query.value());
        let (again, _) = attention.attend(bound, &stored, query).unwrap();
        assert_eq!(again.value(), context.value(), "{kind}");
    }
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
        let memory = random("memory", &[SOURCE, BATCH, wide]).mapv(|x| x as f32);
        let queries = random("query", &[BATCH, query]).mapv(|x| x as f32);
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
