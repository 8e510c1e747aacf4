//! The workloads in this engine.

use ndarray::Array3;
use unspool_decode::Beam;
use unspool_layers::Bound;
use unspool_layers::recurrent::{CellKind, Recurrent, RecurrentConfig, RecurrentInit};
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::{Limits, LossOptions, Seq2Seq, Strategy, TeacherForcing, Translator};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, ParamStore, Tape, Tensor};
use unspool_train::gradients::{self, Gradients, clip_by_global_norm};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

use super::workload;

/// A workload: runs once.
pub type Workload = Box<dyn FnMut()>;

/// A workload by its name, on so many threads; `None` when there is none of that name.
pub fn workload(name: &str, threads: usize) -> Option<Workload> {
    let context = Context::with_threads(threads).expect("threads");
    Some(match name {
        "W1a" => lstm(context, [64, 50, 256, 512, 1], true),
        "W1a-forward" => lstm(context, [64, 50, 256, 512, 1], false),
        "W1b" => lstm(context, [64, 20, 256, 256, 2], true),
        "W1b-forward" => lstm(context, [64, 20, 256, 256, 2], false),
        "W1c" => lstm(context, [1, 50, 256, 512, 1], true),
        "W1c-forward" => lstm(context, [1, 50, 256, 512, 1], false),
        "W2" | "W2-hoisted" => update(context),
        "W3" => decode(context, 1, Strategy::Greedy),
        "W5" | "W5-loop" => decode(context, 1, Strategy::Beam(Beam::new(5))),
        "W5-64" => decode(context, 64, Strategy::Beam(Beam::new(5))),
        _ => return None,
    })
}

/// An LSTM layer forward, and backward to its input and weights.
fn lstm(context: Context, sizes: [usize; 5], backward: bool) -> Workload {
    let [batch, steps, input, hidden, layers] = sizes;
    let cell = CellKind::Lstm;
    let config =
        RecurrentConfig { cell, input, hidden, layers, bidirectional: false, dropout: 0.0 };
    let (mut store, init) = (ParamStore::<f32>::new(), RecurrentInit::default());
    let layer = Recurrent::new(&mut store, "lstm", config, &init, Key::new(1)).expect("a layer");
    let inputs: Vec<Tensor<f32>> = (0..4)
        .map(|number| {
            let key = Key::new(number);
            let number = |at: usize| key.uniform(at as u64) as f32 - 0.5;
            let x = Array3::from_shape_fn((steps, batch, input), |(t, b, i)| {
                number((t * batch + b) * input + i)
            });
            x.into_dyn().into_shared()
        })
        .collect();
    let mut inputs = inputs.into_iter().cycle();
    Box::new(move || {
        // The weights change from update to update.
        if backward {
            for id in store.ids() {
                let _changed = store.get_mut(id);
            }
        }
        let x = inputs.next().expect("an input");
        let tape =
            if backward { Tape::new(context.clone()) } else { Tape::inference(context.clone()) };
        let x = tape.input(x);
        let bound = Bound::training(&tape, &store);
        let (y, _) = layer.forward(bound, x, None, None).expect("a forward pass");
        if backward {
            let grads = tape.backward(y.sum_all().expect("a sum")).expect("a backward pass");
            assert!(grads.wrt(x).is_some());
        }
    })
}

/// An update of the encoder-decoder: two shards, one a thread, as the trainer does.
fn update(context: Context) -> Workload {
    const BATCH: usize = 64;
    let (mut model, examples) = (workload::model(), workload::examples(BATCH));
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    let tokens: usize = examples.iter().map(|example| example.target.len() + 1).sum();
    let options = LossOptions {
        forcing: TeacherForcing(0.5),
        smoothing: Smoothing::None,
        divisor: tokens as f64,
    };
    let mut number = 0;
    Box::new(move || {
        number += 1;
        let key = Key::new(number);
        let shard = |model: &Seq2Seq<f32>, first: usize| -> Gradients<f32> {
            let rows: Vec<&Example> = examples[first..first + BATCH / 2].iter().collect();
            let batch = Batch::new(&rows).expect("a batch");
            let tape = Tape::new(context.clone().with_key(key).for_shard(first));
            let loss = model.training_loss(&tape, &batch, options).expect("a loss").loss;
            tape.backward(loss).expect("gradients").into_params()
        };
        let mut sum = context.install(|| {
            let (mut sum, more) = rayon::join(|| shard(&model, 0), || shard(&model, BATCH / 2));
            gradients::add(&mut sum, more);
            sum
        });
        clip_by_global_norm(&context, &mut sum, Some(1.0));
        optimiser.update(&context, model.params_mut(), &sum, 1e-3);
    })
}

/// 25 tokens for each of some sentences.
fn decode(context: Context, sentences: usize, strategy: Strategy) -> Workload {
    const TOKENS: usize = 25;
    let (model, examples) = (workload::model_on(context), workload::examples(sentences));
    let limits = Limits { min_length: TOKENS - 1, max_length: Some(TOKENS), attention: false };
    Box::new(move || {
        let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
        let translator = Translator::new(&[&model]).expect("a translator");
        let found = translator.translate(&sources, &strategy, limits, &[]).expect("hypotheses");
        assert!(found.iter().all(|hypotheses| hypotheses[0].length() == TOKENS));
    })
}
