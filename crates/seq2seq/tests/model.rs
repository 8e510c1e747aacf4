//! Whole models: how large they are, and what their tapes record.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::vocabulary::{SPECIALS, Segmentation, Token, Vocabulary};
use unspool_seq2seq::{
    Limits, LossOptions, ModelConfig, ModelError, Seq2Seq, SourceSide, Statistics, Strategy,
    TeacherForcing, Translator,
};
use unspool_tensor::kernels::cross_entropy::{Normaliser, TargetDistribution};
use unspool_tensor::kernels::rows::{Fast, RowKernel, Rows};
use unspool_tensor::ops::cross_entropy::Smoothing;
use unspool_tensor::random::Key;
use unspool_tensor::{BackwardMode, Context, Kernels, Tape};

/// A vocabulary of so many entries, the special ones included.
fn vocabulary(size: usize) -> Vocabulary {
    let ordinary = (SPECIALS.len()..size).map(|number| format!("w{number}"));
    let tokens = SPECIALS.into_iter().map(String::from).chain(ordinary).collect();
    Vocabulary::from_tokens(Segmentation::Word, tokens).unwrap()
}

fn frames(length: usize) -> SourceSide {
    SourceSide::Vectors(Statistics { mean: vec![0.0; length], deviation: vec![1.0; length] })
}

fn model(text: &str, source: SourceSide, target: usize) -> Result<Seq2Seq<f64>, ModelError> {
    let config: ModelConfig = toml::from_str(text).unwrap();
    Seq2Seq::new(config, source, vocabulary(target), Context::sequential(), Key::new(1))
}

#[test]
fn parameters_are_counted_before_they_are_drawn() {
    let rows = [
        "",
        "cell = 'gru'\nattention = 'dot'\nbidirectional = false\nbridge = 'last'\nquery = 'new'",
        "cell = 'rnn'\nattention = 'scaled_dot'\nbidirectional = false\nreadout = 'linear'",
        "attention = 'general'\nbridge = 'mean'\nquery = 'between'\nreadout = 'state'",
        "cell = 'gru'\nattention = 'general'\nquery = 'new'\nencoder_layers = 3",
        "attention = 'general'\nquery = 'new'\nattentional_bias = true\noutput_bias = false",
        "attentional_bias = true\noutput_bias = false\ntied_embeddings = true",
        "attention = 'concat'\ndecoder_layers = 2\ntied_embeddings = true",
        "attention = 'multi_head'\nattention_heads = 2\nreadout_size = 7",
        "attention = 'multi_head'\nattention_size = 6\nattention_heads = 1\nbidirectional = false",
        "attention = 'none'\nbridge = 'zero'\nencoder_layers = 2\ndecoder_layers = 3",
    ];
    for row in rows {
        let sizes = [("embedding", 5), ("hidden", 6), ("attention_size", 4)];
        let sizes = sizes.iter().filter(|(key, _)| !row.contains(key));
        let sizes: String = sizes.map(|(key, size)| format!("{key} = {size}\n")).collect();
        for source in [SourceSide::Tokens(vocabulary(9)), frames(3)] {
            let model = model(&format!("{sizes}{row}"), source, 11).unwrap();
            let counted = model.config().parameters(model.source().size(), 11);
            assert_eq!(counted, model.params().numel() as u64, "{row}");
        }
    }
}

#[test]
fn a_model_too_large_for_its_vocabularies_names_the_key() {
    // Each is possible with the smallest vocabularies.
    let rows = [
        ("embedding = 65536\nhidden = 8\nreadout = 'state'\nattention = 'none'", "embedding"),
        ("hidden = 2048\nembedding = 16\nreadout = 'linear'\nattention = 'general'", "hidden"),
        ("readout_size = 65536\nembedding = 8", "readout_size"),
    ];
    for (text, key) in rows {
        let config: ModelConfig = toml::from_str(text).unwrap();
        config.validate().unwrap();
        let source = SourceSide::Tokens(vocabulary(40_000));
        let error = model(text, source, 40_000).unwrap_err();
        let named = matches!(error, ModelError::Config { key: found, .. } if found == key);
        assert!(named, "{text}: {error}");
        assert!(error.to_string().contains("vocabulary of 40000"), "{error}");
    }
}

#[test]
fn what_is_recorded_of_a_step_has_its_time() {
    for query in ["previous", "new", "between"] {
        let text = format!("embedding = 5\nhidden = 6\nattention_size = 4\nquery = '{query}'");
        let model = model(&text, SourceSide::Tokens(vocabulary(9)), 11).unwrap();
        let example = |source: &[Token], target: &[Token]| Example {
            source: Source::Tokens(source.to_vec()),
            target: target.to_vec(),
        };
        let examples = [example(&[4, 5, 6], &[7, 8, 9, 10]), example(&[8], &[6, 4])];
        let batch = Batch::new(&examples.each_ref()).unwrap();
        for forcing in [1.0, 0.5] {
            let tape = Tape::new(Context::sequential());
            let forcing = TeacherForcing(forcing);
            let options = LossOptions { forcing, smoothing: Smoothing::None, divisor: 1.0 };
            let loss = model.training_loss(&tape, &batch, options).unwrap().loss;
            let one = [(loss, ndarray::arr0(1.0).into_dyn())];
            let grads = tape.vector_jacobian(&one, BackwardMode::Recording).unwrap();
            for (id, name, _) in model.params().iter() {
                if ["decoder.output.", "decoder.readout."].iter().any(|part| name.starts_with(part))
                {
                    let found = grads.contributions(tape.param(model.params(), id));
                    let mut times: Vec<_> = found.iter().map(|part| part.time).collect();
                    times.sort_unstable();
                    assert_eq!(times, [0, 1, 2, 3, 4].map(Some), "{query}, {forcing:?}: {name}");
                }
            }
        }
    }
}

#[test]
fn a_step_that_fails_leaves_no_time_behind() {
    let model = model("embedding = 5\nhidden = 6", SourceSide::Tokens(vocabulary(9)), 11).unwrap();
    let wrong = Example { source: Source::Tokens(vec![4]), target: vec![4, 99, 5] };
    let tape = Tape::new(Context::sequential());
    let batch = Batch::new(&[&wrong]).unwrap();
    assert!(model.evaluation_loss(&tape, &batch).is_err());
    let x = tape.input(ndarray::arr1(&[1.0]));
    let _ = (x * x).unwrap();
    let (op, time) = tape.node(tape.len() - 1, |node| (node.op.to_owned(), node.time)).unwrap();
    assert_eq!((op.as_str(), time), ("mul", None));
}

/// The fast row operations, which remember what was asked of them.
#[derive(Debug, Default)]
struct Told(Mutex<BTreeSet<&'static str>>);

macro_rules! told {
    ($($name:ident($($argument:ident: $type:ty),*) $(-> $output:ty)?;)*) => {
        impl RowKernel<f64> for Told {
            fn name(&self) -> &str {
                "told"
            }
            $(fn $name(&self, $($argument: $type),*) $(-> $output)? {
                self.0.lock().unwrap().insert(stringify!($name));
                Fast.$name($($argument),*)
            })*
        }
    };
}

told! {
    softmax(xs: &mut [f64], keep: Option<&[bool]>);
    softmax_backward(ys: &[f64], ds: &mut [f64]);
    log_softmax(xs: &mut [f64], keep: Option<&[bool]>);
    log_softmax_backward(ys: &[f64], ds: &mut [f64]);
    log_normaliser(xs: &[f64], scratch: &mut [f64]) -> (f64, f64);
    cross_entropy(q: &TargetDistribution<f64>, target: usize, scores: &mut [f64])
        -> (f64, Normaliser<f64>);
    cross_entropy_backward(
        q: &TargetDistribution<f64>, target: usize, sum: f64, d_loss: f64, exps: &mut [f64]
    );
    dot(scores: &mut [f64], scale: f64, query: &[f64], keys: &[f64], rows: Rows);
    add_weighted(sum: &mut [f64], weights: &[f64], elements: &[f64], rows: Rows);
    add_to_rows(elements: &mut [f64], weights: &[f64], y: &[f64], rows: Rows);
    gather(table: &[f64], width: usize, indices: &[usize], rows: &mut [f64]);
    scatter_add(
        d_table: &mut [f64], width: usize, indices: &[usize], skip: Option<usize>, ds: &[f64]
    );
}

#[test]
fn a_registered_row_kernel_trains_and_translates() {
    for attention in ["additive", "scaled_dot", "multi_head"] {
        // The gradients by a kernel, and a translation.
        let run = |kernels: Kernels| {
            let text = format!(
                "embedding = 5\nhidden = 6\nattention_size = 4\nattention_heads = 2\n\
                 bidirectional = false\nattention = '{attention}'"
            );
            let text = match attention {
                "multi_head" => text,
                "additive" => text.replace("attention_heads = 2\n", ""),
                _ => text.replace("attention_size = 4\nattention_heads = 2\n", ""),
            };
            let config: ModelConfig = toml::from_str(&text).unwrap();
            let context = Context::sequential().with_kernels(kernels);
            let source = SourceSide::Tokens(vocabulary(9));
            let target = vocabulary(11);
            let key = Key::new(1);
            let model = Seq2Seq::<f64>::new(config, source, target, context.clone(), key).unwrap();
            let source = Source::Tokens(vec![4, 5, 6]);
            let example = Example { source: source.clone(), target: vec![7, 8, 7] };
            let tape = Tape::new(context);
            let (forcing, smoothing) = (TeacherForcing::ALWAYS, Smoothing::None);
            let options = LossOptions { forcing, smoothing, divisor: 1.0 };
            let batch = Batch::new(&[&example]).unwrap();
            let loss = model.training_loss(&tape, &batch, options).unwrap().loss;
            let gradients = tape.backward(loss).unwrap().into_params().into_iter();
            let gradients: Vec<_> = gradients.map(|(_, d)| d).collect();
            let translator = Translator::new(&[&model]).unwrap();
            let limits = Limits::default();
            let found = translator.translate(&[&source], &Strategy::Greedy, limits, &[]).unwrap();
            (gradients, found[0][0].tokens.clone())
        };
        let kernel = Arc::new(Told::default());
        let found = run(Kernels::default().with_rows_f64(kernel.clone()));
        assert!(found == run(Kernels::default()), "{attention}: other bits");
        let told: Vec<_> = kernel.0.lock().unwrap().iter().copied().collect();
        let all = [
            "add_to_rows",
            "add_weighted",
            "cross_entropy",
            "cross_entropy_backward",
            "dot",
            "gather",
            "log_normaliser",
            "scatter_add",
            "softmax",
            "softmax_backward",
        ];
        assert_eq!(told, all, "{attention}");
    }
}
