//! Whole models, over every choice that a configuration has: their gradients against differences,
//! what padding, shards and precision may change, scheduled sampling, and that they learn.

use ndarray::{Array2, ArrayD, Axis, IxDyn, Zip, array, concatenate, s};
use unspool_decode::Beam;
use unspool_layers::attention::AttentionKind;
use unspool_layers::recurrent::CellKind;
use unspool_seq2seq::batch::{Batch, Example, Source, SourceBatch};
use unspool_seq2seq::config::{Bridge, DropoutConfig, Query, Readout};
use unspool_seq2seq::decoder::arg_max;
use unspool_seq2seq::vocabulary::{PAD, SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{
    Limits, LossOptions, ModelConfig, Seq2Seq, SourceSide, Statistics, Strategy, TeacherForcing,
    Translator,
};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, ParamId, ParamStore, Real, Tape, Tensor};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

const TOKENS: &str = "tokens";
const VECTORS: &str = "vectors";

/// What a source consists of; cell, attention, query, bridge, readout; the encoder's and the
/// decoder's layers, the encoder's directions; whether embeddings are tied.
type Row = (&'static str, [&'static str; 5], [usize; 3], bool);

const ROWS: [Row; 16] = [
    (TOKENS, ["lstm", "additive", "previous", "tanh", "tanh"], [2, 2, 2], false),
    (TOKENS, ["gru", "additive", "between", "tanh", "tanh"], [1, 1, 2], true),
    (TOKENS, ["rnn", "dot", "new", "last", "state"], [1, 2, 1], false),
    (TOKENS, ["lstm", "scaled_dot", "previous", "last", "linear"], [2, 2, 1], false),
    (TOKENS, ["gru", "general", "new", "mean", "tanh"], [2, 1, 2], false),
    (TOKENS, ["lstm", "general", "between", "zero", "linear"], [1, 2, 1], false),
    (TOKENS, ["gru", "concat", "previous", "tanh", "linear"], [1, 2, 2], false),
    (TOKENS, ["rnn", "concat", "between", "mean", "tanh"], [1, 1, 1], false),
    (TOKENS, ["lstm", "multi_head", "new", "mean", "state"], [1, 1, 2], false),
    (TOKENS, ["gru", "multi_head", "previous", "zero", "tanh"], [2, 1, 1], true),
    (TOKENS, ["lstm", "none", "previous", "tanh", "tanh"], [2, 2, 2], false),
    (TOKENS, ["gru", "none", "previous", "last", "tanh"], [1, 1, 1], true),
    (TOKENS, ["rnn", "none", "previous", "mean", "linear"], [1, 2, 2], false),
    (VECTORS, ["lstm", "additive", "new", "tanh", "tanh"], [1, 1, 2], false),
    (VECTORS, ["gru", "dot", "between", "mean", "linear"], [2, 2, 1], false),
    (VECTORS, ["rnn", "none", "previous", "tanh", "state"], [1, 1, 2], false),
];

/// The model of a row, small, with dropout everywhere and random parameters, biases included.
fn model<T: Real>(row: &Row) -> Seq2Seq<T> {
    let &(source, [cell, attention, query, bridge, readout], [encoder, decoder, directions], tied) =
        row;
    let config = format!(
        r#"
        cell = "{cell}"
        attention = "{attention}"
        query = "{query}"
        bridge = "{bridge}"
        readout = "{readout}"
        encoder_layers = {encoder}
        decoder_layers = {decoder}
        bidirectional = {}
        tied_embeddings = {tied}
        embedding = 5
        hidden = 6
        attention_size = 4
        attention_heads = 2
        attentional_bias = {}
        output_bias = {}
        [dropout]
        embedding = 0.2
        layers = 0.3
        memory = 0.1
        attentional = 0.2
        fed = 0.1
        readout = 0.2
        "#,
        directions == 2,
        // Both in half of the rows.
        encoder == 1,
        directions == 2,
    );
    let config: ModelConfig = toml::from_str(&config).unwrap();
    let source = match source {
        VECTORS => {
            SourceSide::Vectors(Statistics { mean: vec![0.5, -1.0], deviation: vec![2.0, 0.5] })
        }
        _ => SourceSide::Tokens(vocabulary(6)),
    };
    // Drawn in single precision, so that the same model exists in both.
    let mut model = new_model(config, source, vocabulary(7));
    let params = random_params::<f32>(model.params(), Key::new(1), 0.6);
    model.params_mut().copy_from(&params).unwrap();
    model
}

fn new_model<T: Real>(config: ModelConfig, source: SourceSide, target: Vocabulary) -> Seq2Seq<T> {
    Seq2Seq::new(config, source, target, Context::sequential(), Key::new(2)).unwrap()
}

/// A vocabulary of so many ordinary tokens.
fn vocabulary(size: usize) -> Vocabulary {
    let ordinary = (0..size).map(|number| format!("w{number}"));
    let tokens = SPECIALS.iter().map(|&special| special.to_owned()).chain(ordinary).collect();
    Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap()
}

/// Arrays like `params`, uniform in `-bound` to `bound`.
fn random_params<T: Real>(params: &ParamStore<impl Real>, key: Key, bound: f64) -> ParamStore<T> {
    let mut random = params.cast::<T>();
    for id in random.ids() {
        let key = key.with(id.index() as u64);
        for (counter, x) in random.get_mut(id).iter_mut().enumerate() {
            *x = T::from_f64(bound * (2.0 * key.uniform(counter as u64) - 1.0));
        }
    }
    random
}

/// Sentence pairs of several lengths, a source of one position and an empty target among them.
fn examples(row: &Row) -> Vec<Example> {
    let key = Key::new(3);
    let tokens = |key: Key, length: usize, ordinary: u64| -> Vec<Token> {
        let token = |i: usize| (SPECIALS.len() as u64 + key.below(i as u64, ordinary)) as Token;
        (0..length).map(token).collect()
    };
    ([(3, 2), (1, 4), (5, 0), (2, 5), (4, 1)].into_iter().enumerate())
        .map(|(number, (source, target))| {
            let key = key.with(number as u64);
            let source = match row.0 {
                VECTORS => Source::Vectors(Array2::from_shape_fn((source, 2), |(i, j)| {
                    4.0 * key.uniform((100 + 2 * i + j) as u64) - 2.0
                })),
                // The end token comes in addition.
                _ => Source::Tokens(tokens(key.with(0), source - 1, 6)),
            };
            Example { source, target: tokens(key.with(1), target, 7) }
        })
        .collect()
}

fn batch(examples: &[Example]) -> Batch {
    Batch::new(&examples.iter().collect::<Vec<_>>()).unwrap()
}

/// What every loss here is computed with, unless it says otherwise.
fn options(examples: &[Example], forcing: f64) -> LossOptions {
    let forcing = TeacherForcing(forcing);
    let divisor = batch(examples).target_tokens() as f64;
    LossOptions { forcing, smoothing: Smoothing::Uniform(0.1), divisor }
}

fn context() -> Context {
    Context::sequential().with_key(Key::new(4))
}

/// Loss, logits and gradients of a training step.
struct Step<T: Real> {
    loss: f64,
    logits: Tensor<T>,
    grads: Vec<(ParamId, Tensor<T>)>,
}

fn step<T: Real>(
    model: &Seq2Seq<T>,
    context: Context,
    batch: &Batch,
    options: LossOptions,
) -> Step<T> {
    let tape = Tape::new(context);
    let loss = model.training_loss(&tape, batch, options).unwrap();
    let grads = tape.backward(loss.loss).unwrap().into_params();
    Step { loss: scalar(&loss.loss.value()), logits: loss.logits().unwrap().value(), grads }
}

/// The loss alone.
fn loss<T: Real>(model: &Seq2Seq<T>, batch: &Batch, options: LossOptions) -> f64 {
    let tape = Tape::inference(context());
    scalar(&model.training_loss(&tape, batch, options).unwrap().loss.value())
}

fn scalar<T: Real>(x: &Tensor<T>) -> f64 {
    x.iter().map(|x| x.to_f64()).sum()
}

fn largest<T: Real>(x: &Tensor<T>) -> f64 {
    x.iter().fold(0.0, |top, x| f64::max(top, x.to_f64().abs()))
}

/// What differences between gradients are measured by: the array's largest gradient, or a
/// thousandth of the model's largest. Some arrays have a gradient of 0 but for rounding: the bias
/// of multi-head attention's keys moves all scores of a query alike.
fn scale<T: Real>(grads: &[(ParamId, Tensor<T>)], array: &Tensor<T>) -> f64 {
    let model = grads.iter().map(|(_, grad)| largest(grad)).fold(0.0, f64::max);
    f64::max(largest(array), 1e-3 * model)
}

/// Holds the gradients of the same model equal within `tolerance`, by the [`scale`] of `b`.
fn assert_near<T: Real, U: Real>(
    model: &Seq2Seq<impl Real>,
    what: &str,
    a: &[(ParamId, Tensor<T>)],
    b: &[(ParamId, Tensor<U>)],
    tolerance: f64,
) {
    assert_eq!(a.len(), b.len(), "{what}: gradients of other parameters");
    for ((id, a), (other, b_grad)) in a.iter().zip(b) {
        assert_eq!(id.index(), other.index(), "{what}");
        let mut worst = 0.0f64;
        Zip::from(a).and(b_grad).for_each(|a, b| {
            let difference = (a.to_f64() - b.to_f64()).abs();
            worst = if difference.is_nan() { difference } else { worst.max(difference) };
        });
        let error = worst / scale(b, b_grad);
        let name = model.params().name(*id);
        assert!(error <= tolerance, "{what}: the gradient of {name} is {error:e} off");
    }
}

#[test]
fn the_rows_have_every_choice() {
    let configs = ROWS.map(|row| model::<f64>(&row).config().clone());
    let some = |what: String, has: &dyn Fn(&ModelConfig) -> bool| {
        assert!(configs.iter().any(has), "no row has {what}");
    };
    for kind in CellKind::ALL {
        some(kind.to_string(), &|c| c.cell == kind);
    }
    for kind in AttentionKind::ALL {
        some(kind.to_string(), &|c| c.attention.0 == Some(kind));
    }
    some("no attention".into(), &|c| c.attention.0.is_none());
    for query in [Query::Previous, Query::New, Query::Between] {
        some(format!("{query:?}"), &|c| c.query == query);
    }
    for bridge in [Bridge::Zero, Bridge::Last, Bridge::Tanh, Bridge::Mean] {
        some(format!("{bridge:?}"), &|c| c.bridge == bridge);
    }
    for readout in [Readout::State, Readout::Linear, Readout::Tanh] {
        some(format!("{readout:?}"), &|c| c.readout == readout);
    }
    some("tied embeddings".into(), &|c| c.tied_embeddings);
    some("more layers in the encoder".into(), &|c| c.encoder_layers > c.decoder_layers);
    some("more layers in the decoder".into(), &|c| c.encoder_layers < c.decoder_layers);
}

/// Along random directions through all parameters at once, and in some elements of each array.
#[test]
fn gradients_agree_with_differences() {
    for row in &ROWS {
        let mut model = model::<f64>(row);
        let examples = examples(row);
        let (batch, options) = (batch(&examples), options(&examples, 1.0));
        let grads = step(&model, context(), &batch, options).grads;
        assert_eq!(grads.len(), model.params().len(), "{row:?}: a gradient is missing");

        let before = model.params().clone();
        let norm = grads.iter().flat_map(|(_, grad)| grad).map(|g| g * g).sum::<f64>().sqrt();
        for number in 0..6 {
            let direction = random_params::<f64>(&before, Key::new(5).with(number), 1.0);
            let along = |(id, grad): &(ParamId, Tensor<f64>)| (grad * direction.get(*id)).sum();
            let analytic: f64 = grads.iter().map(along).sum();
            let numeric = difference(1e-4, |shift| {
                for id in before.ids() {
                    let moved = before.get(id) + &(direction.get(id) * shift);
                    model.params_mut().set(id, moved).unwrap();
                }
                loss(&model, &batch, options)
            });
            let error = (analytic - numeric).abs() / f64::max(norm, numeric.abs());
            assert!(error <= 1e-8, "{row:?}: {error:e} off along direction {number}");
        }

        *model.params_mut() = before;
        for (id, grad) in &grads {
            let random = Key::new(6).below(id.index() as u64, grad.len() as u64) as usize;
            for element in [0, grad.len() / 2, grad.len() - 1, random] {
                let at = |x: &Tensor<f64>| x.iter().nth(element).copied().unwrap();
                let value = at(model.params().get(*id));
                let numeric = difference(1e-3, |shift| {
                    set(model.params_mut().get_mut(*id), element, value + shift);
                    loss(&model, &batch, options)
                });
                set(model.params_mut().get_mut(*id), element, value);
                let error = (at(grad) - numeric).abs() / scale(&grads, grad);
                let name = model.params().name(*id);
                assert!(error <= 1e-8, "{row:?}: {name}[{element}] is {error:e} off");
            }
        }
    }
}

/// The derivative at 0 by fourth-order central differences: the error is about h⁴ from the
/// formula, and 1e-16 / h from rounding.
fn difference(h: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    let near = f(h) - f(-h);
    let far = f(2.0 * h) - f(-2.0 * h);
    (8.0 * near - far) / (12.0 * h)
}

fn set(x: &mut Tensor<f64>, element: usize, value: f64) {
    *x.iter_mut().nth(element).unwrap() = value;
}

#[test]
fn more_padding_changes_no_bit_of_loss_and_gradients() {
    fn check<T: Real>(row: &Row) {
        let (model, examples) = (model::<T>(row), examples(row));
        let (batch, options) = (batch(&examples), options(&examples, 1.0));
        let plain = step(&model, context(), &batch, options);
        for (source, target) in [(9, 0), (0, 4), (23, 7)] {
            let padding = Array2::from_elem((target, examples.len()), PAD);
            let padded = |tokens: &Array2<Token>| {
                concatenate(Axis(0), &[tokens.view(), padding.view()]).unwrap()
            };
            let sources = examples.iter().map(|example| &example.source);
            let batch = Batch {
                source: SourceBatch::new(sources, source).unwrap(),
                target_input: padded(&batch.target_input),
                target_output: padded(&batch.target_output),
                target_lengths: batch.target_lengths.clone(),
            };
            let padded = step(&model, context(), &batch, options);
            assert_eq!(padded.loss.to_bits(), plain.loss.to_bits(), "{row:?}");
            for ((id, a), (_, b)) in padded.grads.iter().zip(&plain.grads) {
                assert_eq!(a, b, "{row:?}: {}", model.params().name(*id));
            }
        }
    }
    for row in &ROWS {
        check::<f64>(row);
        check::<f32>(row);
    }
}

/// Dropout and scheduled sampling on: they depend on a sentence's number in the batch, not on its
/// shard.
#[test]
fn shards_add_up_to_their_batch() {
    for row in &ROWS {
        for forcing in [1.0, 0.5] {
            let (model, examples) = (model::<f64>(row), examples(row));
            let options = options(&examples, forcing);
            let whole = step(&model, context(), &batch(&examples), options);
            let mut loss = 0.0;
            let mut grads: Vec<(ParamId, Tensor<f64>)> = Vec::new();
            for (first, last) in [(0, 1), (1, 4), (4, 5)] {
                let shard = batch(&examples[first..last]);
                let shard = step(&model, context().for_shard(first), &shard, options);
                loss += shard.loss;
                if grads.is_empty() {
                    grads = shard.grads;
                } else {
                    grads.iter_mut().zip(&shard.grads).for_each(|(sum, more)| sum.1 += &more.1);
                }
            }
            let what = format!("{row:?}, {forcing}");
            approx::assert_relative_eq!(loss, whole.loss, max_relative = 1e-13);
            assert_near(&model, &what, &grads, &whole.grads, 1e-12);
        }
    }
}

/// The same parameters, which `f32` holds exactly, in both precisions.
///
/// On the longest way to the loss and back, a number is rounded about 50 times (sums of up to 30
/// products, a dozen steps), by 2⁻²⁴ = 6e-8 each time: 3e-6 at the worst, and much less as a rule.
/// The gradients of what scores attention are differences of numbers a few times larger.
#[test]
fn single_precision_agrees_with_double() {
    for row in &ROWS {
        let examples = examples(row);
        let (batch, options) = (batch(&examples), options(&examples, 1.0));
        let wide_model = model::<f64>(row);
        let wide = step(&wide_model, context(), &batch, options);
        let model = model::<f32>(row);
        let narrow = step(&model, context(), &batch, options);
        approx::assert_relative_eq!(narrow.loss, wide.loss, max_relative = 1e-6);
        assert_near(&model, &format!("{row:?}"), &narrow.grads, &wide.grads, 1e-5);
    }
}

#[test]
fn scheduled_sampling_depends_on_its_key_alone() {
    for row in &ROWS {
        let examples = examples(row);
        let (batch, options) = (batch(&examples), options(&examples, 0.5));
        let logits = |key: u64| {
            // Without dropout, so that nothing else depends on the key.
            let model = without_dropout(&model::<f64>(row));
            step(&model, context().with_key(Key::new(key)), &batch, options).logits
        };
        let first = logits(0);
        assert_eq!(first, logits(0), "{row:?}");
        let differ = (1..5).filter(|&key| logits(key) != first).count();
        assert!(differ > 0, "{row:?}: the same tokens for every key");
    }
}

fn without_dropout(model: &Seq2Seq<f64>) -> Seq2Seq<f64> {
    let config = ModelConfig { dropout: DropoutConfig::default(), ..model.config().clone() };
    let mut without = new_model(config, model.source().clone(), model.target().clone());
    without.params_mut().copy_from(model.params()).unwrap();
    without
}

/// Dropout on, forced and not; and recorded, each step's part of a weight's gradient is kept apart.
#[test]
fn the_fused_decoder_agrees_with_its_composed_twin() {
    for row in &ROWS {
        for forcing in [1.0, 0.5] {
            let (model, examples) = (model::<f64>(row), examples(row));
            let (batch, options) = (batch(&examples), options(&examples, forcing));
            let run = |composed: bool, mode: BackwardMode| {
                let tape = Tape::new(context());
                let loss = match composed {
                    true => model.composed_training_loss(&tape, &batch, options).unwrap(),
                    false => model.training_loss(&tape, &batch, options).unwrap(),
                };
                let seed = [(loss.loss, ArrayD::ones(IxDyn(&[])))];
                let grads = tape.vector_jacobian(&seed, mode).unwrap();
                let (loss, logits) = (scalar(&loss.loss.value()), loss.logits().unwrap().value());
                Step { loss, logits, grads: grads.into_params() }
            };
            let fused = run(false, BackwardMode::Adding);
            for (composed, mode) in [(true, BackwardMode::Adding), (false, BackwardMode::Recording)]
            {
                let other = run(composed, mode);
                let what = format!("{row:?}, {forcing}, composed: {composed}, {mode:?}");
                approx::assert_relative_eq!(fused.loss, other.loss, max_relative = 1e-13);
                for ((time, b), &token) in batch.target_output.indexed_iter() {
                    if token != PAD {
                        let [a, b] = [&fused, &other].map(|run| run.logits.slice(s![time, b, ..]));
                        assert_eq!(a, b, "{what}");
                    }
                }
                assert_eq!(fused.grads.len(), other.grads.len(), "{what}");
                assert_near(&model, &what, &fused.grads, &other.grads, 1e-12);
            }
        }
    }
}

/// A ratio so near to 1 that every coin says so takes the way of scheduled sampling, one readout a
/// step. It gives the same bits; gradients are sums in another order.
#[test]
fn forcing_every_token_one_by_one_is_teacher_forcing() {
    for row in &ROWS {
        let (model, examples) = (model::<f64>(row), examples(row));
        let batch = batch(&examples);
        let [at_once, one_by_one] = [1.0, 1.0 - f64::EPSILON / 2.0]
            .map(|forcing| step(&model, context(), &batch, options(&examples, forcing)));
        assert_eq!(at_once.loss.to_bits(), one_by_one.loss.to_bits(), "{row:?}");
        assert_eq!(at_once.logits, one_by_one.logits, "{row:?}");
        let what = format!("{row:?}");
        assert_near(&model, &what, &one_by_one.grads, &at_once.grads, 1e-12);
    }
}

/// Without forcing, the decoder reads what it thought likeliest a step before, up to the target's
/// end: the same as being forced to read just that, gradients included, which differences prove.
#[test]
fn without_forcing_the_decoder_reads_its_own_predictions() {
    for row in &ROWS {
        let (model, examples) = (model::<f64>(row), examples(row));
        let batch = batch(&examples);
        let free = step(&model, context(), &batch, options(&examples, 0.0));
        let mut read = batch.target_input.clone();
        for time in 1..read.nrows() {
            let predicted = arg_max(free.logits.index_axis(Axis(0), time - 1));
            for (token, predicted) in read.row_mut(time).iter_mut().zip(predicted) {
                *token = if *token == PAD { PAD } else { predicted };
            }
        }
        assert_ne!(read, batch.target_input, "{row:?}: predictions that are the truth");
        let forced = Batch { target_input: read, ..batch };
        let forced = step(&model, context(), &forced, options(&examples, 1.0));
        assert_eq!(free.logits, forced.logits, "{row:?}");
        assert_eq!(free.loss.to_bits(), forced.loss.to_bits(), "{row:?}");
        assert_near(&model, &format!("{row:?}"), &free.grads, &forced.grads, 1e-12);
    }
}

/// Trains on all examples at once; the loss before the first update and after the last.
fn learn(model: &mut Seq2Seq<f32>, examples: &[Example], updates: usize) -> (f64, f64) {
    let batch = batch(examples);
    let (smoothing, divisor) = (Smoothing::None, batch.target_tokens() as f64);
    let options = LossOptions { forcing: TeacherForcing::ALWAYS, smoothing, divisor };
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    let mut losses = Vec::new();
    for update in 0..=updates {
        let context = context().with_key(Key::new(7).with(update as u64));
        let Step { loss, grads, .. } = step(model, context, &batch, options);
        losses.push(loss);
        if update < updates {
            let grads: Vec<_> = grads.into_iter().map(|(id, d)| (id, d.into())).collect();
            optimiser.update(&Context::sequential(), model.params_mut(), &grads, 0.02);
        }
    }
    (losses[0], losses[updates])
}

/// How often greedy search finds a target.
fn accuracy(models: &[&Seq2Seq<f32>], examples: &[Example]) -> f64 {
    let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
    let limits = Limits { min_length: 0, max_length: Some(10), attention: false };
    let translator = Translator::new(models).unwrap();
    let found = translator.translate(&sources, &Strategy::Greedy, limits, &[]).unwrap();
    let right = found.iter().zip(examples).filter(|(found, e)| found[0].tokens == e.target);
    right.count() as f64 / examples.len() as f64
}

/// All sequences of one to three of three tokens.
fn sequences() -> Vec<Vec<Token>> {
    let first = SPECIALS.len() as Token;
    let mut all: Vec<Vec<Token>> = vec![vec![]];
    let mut from = 0;
    for _ in 0..3 {
        let longest = all[from..].to_vec();
        from = all.len();
        let more = |start: &Vec<Token>| {
            (0..3).map(|token| [&start[..], &[first + token]].concat()).collect::<Vec<_>>()
        };
        all.extend(longest.iter().flat_map(more));
    }
    all.split_off(1)
}

fn copy_task() -> Vec<Example> {
    let example =
        |tokens: Vec<Token>| Example { source: Source::Tokens(tokens.clone()), target: tokens };
    sequences().into_iter().map(example).collect()
}

/// Sequences as frames far from 0 with a large deviation, which the model must standardise.
fn frames_task() -> Vec<Example> {
    let centres = [[900.0, 30.0], [1100.0, 30.2], [1000.0, 29.8]];
    let noise = |key: Key, i: usize| key.uniform(i as u64) - 0.5;
    let example = |(number, tokens): (usize, Vec<Token>)| {
        let key = Key::new(8).with(number as u64);
        let frame = |(s, f): (usize, usize)| {
            let [centre, deviation] =
                [centres[tokens[s] as usize - SPECIALS.len()][f], [40.0, 0.08][f]];
            centre + deviation * noise(key, 2 * s + f)
        };
        let frames = Array2::from_shape_fn((tokens.len(), 2), frame);
        Example { source: Source::Vectors(frames), target: tokens }
    };
    sequences().into_iter().enumerate().map(example).collect()
}

fn small(attention: &str) -> ModelConfig {
    let text = format!("attention = \"{attention}\"\nembedding = 8\nhidden = 24");
    toml::from_str(&text).unwrap()
}

fn measured(examples: &[Example]) -> Statistics {
    Statistics::measure(examples.iter().filter_map(|example| match &example.source {
        Source::Vectors(frames) => Some(frames),
        Source::Tokens(_) => None,
    }))
}

#[test]
fn tokens_and_vectors_are_learned_with_and_without_attention() {
    let copies = copy_task();
    let frames = frames_task();
    let of_tokens = || SourceSide::Tokens(vocabulary(3));
    let of_frames = || SourceSide::Vectors(measured(&frames));
    // attention, source, examples, updates, the loss is divided by, accuracy
    let rows = [
        ("none", of_tokens(), &copies, 120, 20.0, 0.9),
        ("none", of_frames(), &frames, 120, 20.0, 0.9),
        ("additive", of_tokens(), &copies, 60, 20.0, 0.9),
        ("additive", of_frames(), &frames, 60, 20.0, 0.9),
    ];
    for (attention, source, examples, updates, factor, right) in rows {
        let mut model = new_model(small(attention), source, vocabulary(3));
        let (before, after) = learn(&mut model, examples, updates);
        let found = accuracy(&[&model], examples);
        let what = format!("{attention}: loss {before} to {after}, accuracy {found}");
        assert!(after * factor <= before && found >= right, "{what}");
    }
}

/// Raw frames with measured statistics, and frames standardised before with none.
#[test]
fn vectors_are_standardised_by_the_model() {
    let raw = frames_task();
    let statistics = measured(&raw);
    let nothing = Statistics { mean: vec![0.0; 2], deviation: vec![1.0; 2] };
    let mut standard = raw.clone();
    for example in &mut standard {
        if let Source::Vectors(frames) = &mut example.source {
            let mean = array![statistics.mean[0], statistics.mean[1]];
            let deviation = array![statistics.deviation[0], statistics.deviation[1]];
            *frames = (&*frames - &mean) / &deviation;
        }
    }
    let [raw, standard] = [(statistics, raw), (nothing, standard)].map(|(statistics, examples)| {
        let source = SourceSide::Vectors(statistics);
        let model = new_model::<f64>(small("additive"), source, vocabulary(3));
        step(&model, context(), &batch(&examples), options(&examples, 1.0))
    });
    assert_eq!(raw.loss, standard.loss);
    assert_eq!(raw.logits, standard.logits);
}

#[test]
fn two_models_decode_as_one() {
    let examples = copy_task();
    let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
    let models = ["none", "general"].map(|attention| {
        let source = SourceSide::Tokens(vocabulary(3));
        let mut model = new_model(small(attention), source, vocabulary(3));
        learn(&mut model, &examples, 40);
        model
    });
    let [first, second] = &models;
    let limits = Limits { min_length: 0, max_length: Some(8), attention: true };
    let beam = Strategy::Beam(Beam { n_best: 3, ..Beam::new(4) });
    for strategy in [Strategy::Greedy, beam] {
        let translate = |models: &[&Seq2Seq<f32>]| {
            Translator::new(models).unwrap().translate(&sources, &strategy, limits, &[]).unwrap()
        };
        // A model with itself is itself.
        let (alone, twice) = (translate(&[second]), translate(&[second, second]));
        for (alone, twice) in alone.iter().flatten().zip(twice.iter().flatten()) {
            assert_eq!(alone.tokens, twice.tokens);
            approx::assert_abs_diff_eq!(alone.score, twice.score, epsilon = 1e-5);
        }
        // Two score their output by the mean of their probabilities, token by token.
        for (source, found) in sources.iter().zip(translate(&[first, second])) {
            for found in found {
                let target = &found.tokens;
                let [p, q] = [first, second].map(|model| log_probs(model, source, target));
                let mean = |(p, q): (f64, f64)| (0.5 * (p.exp() + q.exp())).ln();
                let steps = p.into_iter().zip(q).take(found.length());
                let score: f64 = steps.map(mean).sum();
                approx::assert_abs_diff_eq!(found.score, score, epsilon = 1e-4);
            }
        }
    }
    let [one, other] = [first, second].map(|model| accuracy(&[model], &examples));
    let both = accuracy(&[first, second], &examples);
    assert!(both >= f64::min(one, other), "{one} and {other}, together {both}");
}

/// The log-probability of each token of a target, its end included.
fn log_probs(model: &Seq2Seq<f32>, source: &Source, target: &[Token]) -> Vec<f64> {
    let example = Example { source: source.clone(), target: target.into() };
    let batch = Batch::new(&[&example]).unwrap();
    let tape = Tape::inference(context());
    let logits = model.evaluation_loss(&tape, &batch).unwrap().logits().unwrap();
    let log_probs: ArrayD<f32> = logits.log_softmax(2).unwrap().value().into_owned();
    let at = |(time, &token): (usize, &Token)| f64::from(log_probs[[time, 0, token as usize]]);
    batch.target_output.iter().enumerate().map(at).collect()
}

#[test]
fn n_best_hypotheses_differ_and_come_in_order() {
    for row in &ROWS {
        let (model, examples) = (model::<f32>(row), examples(row));
        let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
        let translator = Translator::new(&[&model]).unwrap();
        let limits = Limits { min_length: 1, max_length: Some(6), attention: true };
        let beam = Strategy::Beam(Beam { n_best: 4, ..Beam::new(6) });
        let found = translator.translate(&sources, &beam, limits, &[]).unwrap();
        assert_eq!(found.len(), sources.len());
        for (source, found) in sources.iter().zip(&found) {
            assert_eq!(found.len(), 4, "{row:?}");
            for pair in found.windows(2) {
                assert!(pair[0].rank(&pair[1]).is_lt(), "{row:?}: {pair:?}");
                assert_ne!(pair[0].tokens, pair[1].tokens, "{row:?}");
            }
            for one in found {
                assert!(one.length() <= 6 && !one.tokens.is_empty(), "{row:?}: {one:?}");
                let likely = log_probs(&model, source, &one.tokens);
                let score: f64 = likely.iter().take(one.length()).sum();
                approx::assert_abs_diff_eq!(one.score, score, epsilon = 1e-4);
                let attends = model.config().attention.0.is_some();
                let rows = if attends { one.tokens.len() } else { 0 };
                assert_eq!(one.attention.len(), rows, "{row:?}");
                for weights in &one.attention {
                    assert_eq!(weights.len(), source.length(), "{row:?}");
                    let sum: f32 = weights.iter().sum();
                    approx::assert_abs_diff_eq!(sum, 1.0, epsilon = 1e-5);
                }
            }
        }
    }
}
