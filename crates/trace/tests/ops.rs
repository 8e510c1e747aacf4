//! Every op there is can be recorded: it is explained, its source is found, it opens into what it is
//! equal to, and its gradients are checked. An op of one's own can, too, and a wrong one is caught.

use std::sync::Arc;

use ndarray::{ArrayD, arr1};
use unspool_layers::attention::AttentionKind;
use unspool_layers::recurrent::CellKind;
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::config::{AttentionChoice, DropoutConfig, Query, Readout};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{ModelConfig, Seq2Seq, SourceSide};
use unspool_tensor::op::{DynOp, Forward, inputs_of};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, GradSink, Op, OutputGrads, Tape, Tensor};
use unspool_trace::explain::{explained, explanation};
use unspool_trace::model::trace_model;
use unspool_trace::{Explanation, Extent, Limits, Recorder, Result, Settings, Trace, UpdateRule};

/// How far a fused op may be from what it opens into.
const TWIN: f64 = 1e-10;

/// A trace of one op at the inputs of a case.
fn trace_of(case: &unspool_tensor::cases::Case) -> Result<Trace> {
    let key = Key::new(5);
    let tape = Tape::new(Context::sequential().with_key(key));
    let recorder = Recorder::new(&tape, case.name.clone());
    let inputs: Vec<_> = case.sample(key).into_iter().map(|x| tape.input(x)).collect();
    let op: Arc<dyn DynOp<f64>> = case.op.clone();
    let outputs = tape.apply_shared(op, &inputs)?;
    let seeds = outputs.iter().enumerate().map(|(k, &output)| {
        let mut counter = 0;
        let seed: ArrayD<f64> = output.value().map(|y| {
            counter += 1;
            let number = key.with(k as u64).uniform(counter) - 0.5;
            // The logarithm of a masked element is a constant.
            if y.is_finite() { number } else { 0.0 }
        });
        (output, seed)
    });
    recorder.finish_from(&seeds.collect::<Vec<_>>())
}

#[test]
fn every_op_of_the_tables_is_explained_opened_and_checked() {
    let cases: Vec<_> =
        unspool_tensor::cases::cases().into_iter().chain(unspool_layers::cases()).collect();
    let mut names: Vec<&str> = Vec::new();
    let (mut opened, mut numbers, mut untold) = (0, 0, 0);
    for case in &cases {
        let name = &case.name;
        let trace = trace_of(case).unwrap_or_else(|error| panic!("{name}: {error}"));
        let node = &trace.nodes[0];
        names.push(explained().find(|op| *op == node.op).unwrap_or_else(|| panic!("{name}")));
        let about = &trace.explanations[&node.explanation];
        assert!(!about.title.is_empty() && !about.forward.is_empty(), "{name}");
        assert!(!about.forward_source.is_empty() && !about.backward_source.is_empty(), "{name}");
        for (k, port) in node.inputs.iter().enumerate() {
            assert!(!about.rule(&port.name).is_empty(), "{name}: no formula for {}", port.name);
            assert_eq!(about.input_name(k), port.name);
        }
        // What it keeps for the backward pass can be looked at: the letters are those of inputs and
        // outputs, or of values inside.
        assert!(!about.saved.is_empty(), "{name}");
        let kept = about.saved.split(':').next().unwrap_or_default();
        let mut letters = kept.split(|c: char| !c.is_alphanumeric() && c != '_');
        let ports: Vec<&str> =
            node.inputs.iter().chain(&node.outputs).map(|port| &port.name[..]).collect();
        let unknown = letters.find(|word| word.chars().count() == 1 && !ports.contains(word));
        let shown = unknown.is_none_or(|word| matches!(word, "a" | "A"));
        assert!(shown || node.can_open, "{name} keeps {kept:?}");
        if let Some(opened_node) = &node.opened {
            opened += 1;
            let apart = opened_node.distance();
            assert!(apart < TWIN, "{name} is {apart:e} from its twin");
        }
        for part in &node.contributions {
            let check = &part.check;
            assert!(check.wrong.is_empty(), "{name}, input {}: {check:?}", part.input);
            numbers += check.checked();
            untold += check.untold.len();
        }
    }
    println!("{} cases, {opened} open, {numbers} numbers checked, {untold} untold", cases.len());
    assert!(opened > 90 && numbers > 5000 && untold * 50 < numbers);
    // What no case runs is the decoder; a model does, below.
    let left: Vec<_> = explained().filter(|op| !names.contains(op)).collect();
    assert_eq!(left, ["decoder"]);
    assert!(explanation("decoder").is_some_and(|about| !about.backward_source.is_empty()));
}

/// A small model of this kind with random weights.
fn model(config: ModelConfig) -> Seq2Seq<f64> {
    let words = (0..6).map(|number| format!("w{number}"));
    let tokens = SPECIALS.iter().map(|&special| special.to_owned()).chain(words);
    let words = Vocabulary::from_tokens(Segmentation::Word, tokens.collect()).unwrap();
    let (side, context) = (SourceSide::Tokens(words.clone()), Context::sequential());
    let mut model = Seq2Seq::new(config, side, words, context, Key::new(3)).unwrap();
    for id in model.params().ids() {
        let key = Key::new(4).with(id.index() as u64);
        for (i, x) in model.params_mut().get_mut(id).iter_mut().enumerate() {
            *x = 1.2 * key.uniform(i as u64) - 0.6;
        }
    }
    model
}

/// Sentences of several lengths, so that there is padding on both sides.
fn batch(lengths: &[(usize, usize)]) -> Batch {
    let tokens = |from: usize, length: usize| -> Vec<Token> {
        (0..length).map(|i| (SPECIALS.len() + (from + i) % 6) as Token).collect()
    };
    let examples: Vec<Example> = (lengths.iter().enumerate())
        .map(|(n, &(from, to))| Example {
            source: Source::Tokens(tokens(n, from)),
            target: tokens(n + 2, to),
        })
        .collect();
    Batch::new(&examples.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_decoder_of_every_model_opens_into_what_it_is_equal_to() {
    let dropout = DropoutConfig {
        embedding: 0.2,
        layers: 0.2,
        memory: 0.0,
        readout: 0.2,
        ..DropoutConfig::default()
    };
    let mut models = 0;
    for cell in CellKind::ALL {
        for query in [Query::Previous, Query::New, Query::Between] {
            for (kind, attention) in AttentionKind::ALL.into_iter().enumerate() {
                let readout = [Readout::State, Readout::Linear, Readout::Tanh][kind % 3];
                let config = ModelConfig {
                    cell,
                    query,
                    readout,
                    attention: AttentionChoice(Some(attention)),
                    embedding: 4,
                    hidden: 4,
                    attention_size: 4,
                    attention_heads: 2,
                    decoder_layers: 1 + kind % 2,
                    bidirectional: false,
                    dropout,
                    ..ModelConfig::default()
                };
                if config.validate().is_err() {
                    continue;
                }
                let limits = Limits { depth: 1, ..Limits::NONE };
                let settings = Settings { limits, extent: Extent::None, ..Settings::default() };
                let context = Context::sequential().with_key(Key::new(2));
                let batch = batch(&[(3, 2), (1, 4)]);
                let trace = trace_model(
                    &model(config),
                    &batch,
                    "",
                    UpdateRule::descent(0.1),
                    settings,
                    context,
                )
                .unwrap();
                let decoder = trace.nodes.iter().find(|node| node.op == "decoder").unwrap();
                let opened = decoder.opened.as_ref().unwrap();
                let apart = opened.distance();
                assert!(apart < TWIN, "{cell} {query:?} {attention}: {apart:e}, {opened:?}");
                models += 1;
            }
        }
    }
    assert!(models > 40, "{models}");
}

#[test]
fn of_a_real_model_hundreds_of_numbers_are_checked() {
    let config = ModelConfig {
        embedding: 12,
        hidden: 16,
        attention_size: 16,
        encoder_layers: 2,
        decoder_layers: 2,
        ..ModelConfig::default()
    };
    let context = Context::sequential().with_key(Key::new(2));
    let (batch, settings) = (batch(&[(7, 9)]), Settings::of_model());
    let trace =
        trace_model(&model(config), &batch, "", UpdateRule::descent(0.1), settings, context)
            .unwrap();
    let checks = trace.checks();
    let checked: usize = checks.iter().map(|check| check.checked()).sum();
    let wrong: Vec<_> = checks.iter().filter(|check| !check.wrong.is_empty()).collect();
    assert!(checked >= 500 && wrong.is_empty(), "{checked} checked, {wrong:?}");
    assert!(trace.update.unwrap().loss_after < trace.loss.unwrap());
}

/// `y = x²`, with a backward pass that forgets the 2 when it is told to.
#[derive(Debug)]
struct Square {
    slope: f64,
}

impl Op<f64> for Square {
    type Saved = Tensor<f64>;

    fn name(&self) -> &'static str {
        "square"
    }

    fn forward(
        &self,
        _: &Context,
        inputs: &[Tensor<f64>],
    ) -> unspool_tensor::Result<Forward<f64, Self::Saved>> {
        let [x] = inputs_of("square", inputs)?;
        Ok((vec![x.mapv(|x| x * x).into_shared()], x.clone()))
    }

    fn backward(
        &self,
        _: &Context,
        x: &Self::Saved,
        d_outputs: &OutputGrads<'_, f64>,
        sink: &mut GradSink<'_, f64>,
    ) -> unspool_tensor::Result<()> {
        let mut d_x = d_outputs.dense(0);
        d_x.zip_mut_with(x, |d, &x| *d *= self.slope * x);
        sink.add(0, d_x)
    }
}

/// The trace of `Σ tanh(x)²`, with an op of one's own in the middle.
fn own(slope: f64) -> Trace {
    let tape = Tape::new(Context::sequential());
    let recorder = Recorder::new(&tape, "my own");
    let about = Explanation::new("square", "The square, element by element")
        .input("x", "any shape")
        .output("y", "that of x");
    let about = about.forward("y = x²").unwrap().backward("x", "d_x = 2·x ⊙ d_y").unwrap();
    recorder.explain(about);
    let x = recorder.name("x", tape.input(arr1(&[0.3, -0.7])));
    let [y] = tape.apply(Square { slope }, &[x.tanh().unwrap()]).unwrap();
    recorder.finish(y.sum_all().unwrap()).unwrap()
}

#[test]
fn an_op_of_ones_own_is_explained_and_a_wrong_backward_pass_is_caught() {
    let right = own(2.0);
    assert!(right.checks().iter().all(|check| check.wrong.is_empty()));
    let about = &right.explanations["square"];
    assert_eq!(about.rule("x")[0].to_string(), "d_x = 2·x ⊙ d_y");
    assert_eq!(right.nodes[1].inputs[0].name, "x");

    // The node is guilty, and nobody else; but the gradient of x, which went through it, is wrong.
    let wrong = own(1.0);
    let guilty: Vec<&str> = (wrong.nodes.iter())
        .filter(|node| node.contributions.iter().any(|part| !part.check.passes()))
        .map(|node| node.op.as_str())
        .collect();
    assert_eq!(guilty, ["square"]);
    assert_eq!(wrong.nodes[1].contributions[0].check.wrong, [0, 1]);
    assert_eq!(wrong.find("x").unwrap().check.as_ref().unwrap().wrong, [0, 1]);
}
