//! The workloads in this engine.

use std::error::Error;

use ndarray::{Array3, ArrayD, arr1};
use unspool_decode::{Beam, Hypothesis};
use unspool_layers::Bound;
use unspool_layers::recurrent::{CellKind, Recurrent, RecurrentConfig, RecurrentInit};
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::vocabulary::SPECIALS;
use unspool_seq2seq::{Limits, LossOptions, Seq2Seq, Strategy, TeacherForcing, Translator};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels, ParamStore, Real, Tape, Tensor};
use unspool_train::gradients::{self, Gradients, clip_by_global_norm};
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

use super::check::{Arrays, Given};
use super::workload;

/// A workload: runs once.
pub type Workload = Box<dyn FnMut()>;

/// Sentences of an update, and of the largest search.
const BATCH: usize = 64;
/// Tokens that are decoded.
const TOKENS: usize = 25;

/// What runs them: the kernels that the environment asks for, on so many threads.
///
/// # Errors
/// There are no such kernels, or the system gives no threads.
pub fn context(threads: usize) -> Result<Context, Box<dyn Error>> {
    Ok(Context::with_threads(threads)?.with_kernels(Kernels::from_environment()?))
}

/// Batch, steps, input, hidden and layers of the LSTM of a workload.
fn sizes(name: &str) -> Option<[usize; 5]> {
    Some(match name {
        "W1a" => [64, 50, 256, 512, 1],
        "W1b" => [64, 20, 256, 256, 2],
        "W1c" => [1, 50, 256, 512, 1],
        _ => return None,
    })
}

/// A workload by its name; `None` when there is none of that name.
pub fn workload(name: &str, context: &Context) -> Option<Workload> {
    let context = context.clone();
    let layer = name.strip_suffix("-forward");
    if let Some(sizes) = sizes(layer.unwrap_or(name)) {
        return Some(lstm(context, sizes, layer.is_none()));
    }
    Some(match name {
        "W2" | "W2-hoisted" => update(context),
        "W3" => decode(context, 1, Strategy::Greedy),
        "W5" | "W5-loop" => decode(context, 1, beam()),
        "W5-64" => decode(context, BATCH, beam()),
        _ => return None,
    })
}

fn beam() -> Strategy {
    Strategy::Beam(Beam::new(5))
}

/// The layer and its weights.
fn layer([_, _, input, hidden, layers]: [usize; 5]) -> (Recurrent, ParamStore<f32>) {
    let cell = CellKind::Lstm;
    let config =
        RecurrentConfig { cell, input, hidden, layers, bidirectional: false, dropout: 0.0 };
    let (mut store, init) = (ParamStore::new(), RecurrentInit::default());
    let layer = Recurrent::new(&mut store, "lstm", config, &init, Key::new(1)).expect("a layer");
    (layer, store)
}

/// Uniform numbers `[T, B, I]`.
fn input([batch, steps, input, ..]: [usize; 5], key: Key) -> Array3<f32> {
    Array3::from_shape_fn((steps, batch, input), |(t, b, i)| {
        key.uniform(((t * batch + b) * input + i) as u64) as f32 - 0.5
    })
}

/// Sentence pairs of 25 tokens to predict, the end included.
fn examples(count: usize) -> Vec<Example> {
    let mut examples = workload::examples(count, workload::SIZES);
    for example in &mut examples {
        example.target.truncate(TOKENS - 1);
        if let Source::Vectors(frames) = &mut example.source {
            frames.mapv_inplace(|x| f64::from(x as f32));
        }
    }
    examples
}

/// An LSTM layer forward, and backward to its input and weights.
fn lstm(context: Context, sizes: [usize; 5], backward: bool) -> Workload {
    let (layer, mut store) = layer(sizes);
    let inputs: Vec<Tensor<f32>> =
        (0..4).map(|number| input(sizes, Key::new(number)).into_dyn().into_shared()).collect();
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
            let grads = tape.backward_once(y.sum_all().expect("a sum")).expect("a backward pass");
            assert!(grads.wrt(x).is_some());
        }
    })
}

/// An update of the encoder-decoder: two shards, one a thread, as the trainer does.
fn update(context: Context) -> Workload {
    let (mut model, examples) =
        (workload::model(Context::sequential(), workload::SIZES), examples(BATCH));
    let mut optimiser = Optimiser::new(OptimiserConfig::default(), model.params());
    let options = LossOptions {
        forcing: TeacherForcing(0.5),
        smoothing: Smoothing::None,
        divisor: (BATCH * TOKENS) as f64,
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
            tape.backward_once(loss).expect("gradients").into_gradients()
        };
        let mut sum = context.install(|| {
            let (mut sum, more) = rayon::join(|| shard(&model, 0), || shard(&model, BATCH / 2));
            gradients::add(&context, &mut sum, more);
            sum
        });
        clip_by_global_norm(&context, &mut sum, Some(1.0));
        optimiser.update(&context, model.params_mut(), &sum, 1e-3);
        gradients::recycle(&context, sum);
    })
}

/// 25 tokens for each of some sentences.
fn decode(context: Context, sentences: usize, strategy: Strategy) -> Workload {
    let (model, examples) = (workload::model(context, workload::SIZES), examples(sentences));
    Box::new(move || {
        let found = search(&model, &examples, &strategy);
        assert!(found.iter().all(|best| best.length() == TOKENS));
    })
}

/// The best hypothesis of 25 tokens for each example.
fn search<T: Real>(
    model: &Seq2Seq<T>,
    examples: &[Example],
    strategy: &Strategy,
) -> Vec<Hypothesis> {
    let limits = Limits { min_length: TOKENS - 1, max_length: Some(TOKENS), attention: false };
    let sources: Vec<&Source> = examples.iter().map(|example| &example.source).collect();
    let translator = Translator::new(&[model]).expect("a translator");
    let found = translator.translate(&sources, strategy, limits, &[]).expect("hypotheses");
    found.into_iter().flat_map(|all| all.into_iter().take(1)).collect()
}

/// What all sides compute functions of, to be compared.
pub struct Subjects {
    context: Context,
    layers: Vec<(&'static str, [usize; 5])>,
    model: Seq2Seq<f32>,
    examples: Vec<Example>,
}

impl Subjects {
    /// The numbers that all sides are given.
    ///
    /// # Errors
    /// As [`context`].
    pub fn new(threads: usize) -> Result<Self, Box<dyn Error>> {
        let context = context(threads)?;
        let layers =
            ["W1a", "W1b", "W1c"].into_iter().flat_map(|name| Some((name, sizes(name)?))).collect();
        let mut model = workload::model(context.clone(), workload::SIZES);
        // The end is not to come early: one side forbids it, others go on.
        if let Some(bias) = model.params().find("decoder.output.bias") {
            let bias = model.params_mut().get_mut(bias);
            bias.iter_mut().take(SPECIALS.len()).for_each(|bias| *bias = -2.0);
        }
        Ok(Subjects { context, layers, model, examples: examples(BATCH) })
    }

    fn batch(&self) -> Result<Batch, Box<dyn Error>> {
        Ok(Batch::new(&self.examples.iter().collect::<Vec<_>>())?)
    }

    /// Weights and inputs.
    ///
    /// # Errors
    /// There is no batch.
    pub fn given(&self) -> Result<Given, Box<dyn Error>> {
        let mut given = Given::default();
        for &(name, sizes) in &self.layers {
            given.reals.insert(format!("{name}/x"), input(sizes, Key::new(0)).into_dyn());
            for (_, weight, value) in layer(sizes).1.iter() {
                given.reals.insert(format!("{name}/{weight}"), value.to_owned());
            }
        }
        for (_, weight, value) in self.model.params().iter() {
            given.reals.insert(format!("W2/{weight}"), value.to_owned());
        }
        let batch = self.batch()?;
        if let unspool_seq2seq::batch::SourceValues::Vectors(frames) = batch.source.values {
            given.reals.insert("W2/source".into(), frames.mapv(|x| x as f32).into_dyn());
        }
        given.tokens.insert("W2/input".into(), batch.target_input.mapv(i64::from));
        given.tokens.insert("W2/output".into(), batch.target_output.mapv(i64::from));
        Ok(given)
    }

    /// The functions' results in this precision.
    ///
    /// # Errors
    /// The engine failed.
    pub fn results<T: Real>(&self) -> Result<Arrays, Box<dyn Error>> {
        let mut arrays = Arrays::new();
        let wide = |x: &Tensor<T>, factor: f64| x.mapv(|x| factor * x.to_f64());
        for &(name, sizes) in &self.layers {
            let (layer, store) = layer(sizes);
            let store = store.cast::<T>();
            let tape = Tape::new(self.context.clone());
            let x = tape.input(input(sizes, Key::new(0)).mapv(|x| T::from_f64(f64::from(x))));
            let (y, _) = layer.forward(Bound::evaluation(&tape, &store), x, None, None)?;
            let grads = tape.backward_once(y.sum_all()?)?;
            arrays.insert(format!("{name}/y"), wide(&y.value(), 1.0));
            let d_x = grads.wrt(x).ok_or("no gradient")?;
            arrays.insert(format!("{name}/d x"), wide(d_x, 1.0));
            for (id, weight, _) in store.iter() {
                let d = grads.param(id).ok_or("no gradient")?;
                arrays.insert(format!("{name}/d {weight}"), wide(d, 1.0));
            }
        }
        let model = self.model_in::<T>()?;
        let tape = Tape::new(self.context.clone());
        let loss = model.evaluation_loss(&tape, &self.batch()?)?.loss;
        let grads = tape.backward_once(loss)?;
        for workload in ["W2", "W2-hoisted"] {
            let mean = 1.0 / (BATCH * TOKENS) as f64;
            arrays.insert(format!("{workload}/loss"), wide(&loss.value(), mean));
            for (id, weight, _) in model.params().iter() {
                let d = grads.param(id).ok_or("no gradient")?;
                arrays.insert(format!("{workload}/d {weight}"), wide(d, mean));
            }
        }
        let one = &self.examples[..1];
        let greedy = search(&model, one, &Strategy::Greedy).swap_remove(0);
        let tokens: ArrayD<f64> =
            greedy.tokens.into_iter().map(f64::from).collect::<ndarray::Array1<_>>().into_dyn();
        arrays.insert("W3/tokens".into(), tokens);
        let score = search(&model, one, &beam()).swap_remove(0).score;
        for workload in ["W5", "W5-loop"] {
            arrays.insert(format!("{workload}/score"), arr1(&[score]).into_dyn());
        }
        let scores = search(&model, &self.examples, &beam()).into_iter().map(|best| best.score);
        let scores = scores.collect::<ndarray::Array1<f64>>().into_dyn();
        arrays.insert("W5-64/score".into(), scores);
        Ok(arrays)
    }

    /// The model in this precision.
    fn model_in<T: Real>(&self) -> Result<Seq2Seq<T>, Box<dyn Error>> {
        let (source, target) = (self.model.source().clone(), self.model.target().clone());
        let config = self.model.config().clone();
        let mut model = Seq2Seq::blank(config, source, target, self.context.clone())?;
        model.params_mut().copy_from(self.model.params())?;
        Ok(model)
    }
}
