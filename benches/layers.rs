//! Every fused layer beside its composed twin: one table, forward, and forward and backward to all
//! inputs, on one thread.
//!
//! Both take turns in one run. The ratio of medians stands with its interval of 95%, beside the
//! fused layer against itself: "the same" means that no difference can be told. Outputs and
//! gradients of both are held to the twin in `f64`, before, while and after they are timed. Of the
//! decoder, which is a layer of models, the whole model takes turns with the same around the twin.
//!
//! `cargo bench --bench layers`; after it, any part of a name selects rows.

mod workload;

use std::error::Error;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};
use unspool_bench::machine::Evictor;
use unspool_bench::on_tape::Graph;
use unspool_bench::{
    Comparison, Cost, Expected, Identity, NumberType, OnTape, Settings, TapePass, Verdict, Work,
    Workload, Wrong, compare,
};
use unspool_layers::attention::{self, AdditiveAttention, DotAttention};
use unspool_layers::embedding::{self, EmbeddingOp};
use unspool_layers::linear::{self, LinearOp};
use unspool_layers::linear_cross_entropy::{self, LinearCrossEntropy};
use unspool_layers::recurrent::{CellKind, CellStep, Gru, Lstm, Rnn, Sequence, composed};
use unspool_seq2seq::batch::{Batch, Example, Source};
use unspool_seq2seq::{LossOptions, ModelError, Seq2Seq, TeacherForcing};
use unspool_tensor::cases::{Domain, Input};
use unspool_tensor::op::DynOp;
use unspool_tensor::ops::cross_entropy::{CrossEntropy, CrossEntropyOptions, Smoothing};
use unspool_tensor::ops::softmax::{LogSoftmax, Softmax};
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Real, Result, Tape, Var};

/// Arrays of one step are kept for the next.
#[global_allocator]
static ALLOCATOR: unspool_tensor::memory::Recycling = unspool_tensor::memory::Recycling;

/// How many roundings of an array's largest number any of its numbers may be off: as many as the
/// longest sum here has terms.
const ROUNDINGS: f64 = 8000.0;

/// A fused layer and its twin.
struct Row {
    name: String,
    shape: String,
    inputs: Vec<Input>,
    fused: Arc<dyn DynOp<f32>>,
    composed: Arc<Graph<f32>>,
    exact: Arc<Graph<f64>>,
}

impl Row {
    fn compare(&self, pass: TapePass) -> std::result::Result<Comparison, Box<dyn Error>> {
        let context = Context::sequential();
        let op = self.fused.clone();
        let fused: Arc<Graph<f32>> = Arc::new(move |tape, v| tape.apply_shared(op.clone(), v));
        let work = |variant: &str, run: &Arc<Graph<f32>>| {
            let (run, exact, inputs) = (run.clone(), self.exact.clone(), self.inputs.clone());
            OnTape::new([&self.name, variant], inputs, pass, &context, run, exact, ROUNDINGS)
        };
        let (mut fused, mut twin) = (work("fused", &fused)?, work("composed", &self.composed)?);
        Ok(compare(&mut fused, &mut twin, &Settings::default(), |_| {})?)
    }
}

/// Numbers in ±1/√(the last length): what keeps a sum of products at a size of 1.
fn input(name: &'static str, shape: &[usize]) -> Input {
    let bound = (shape.last().copied().unwrap_or(1) as f64).sqrt().recip();
    Input::new(name, "", shape).over(Domain::Between(-bound, bound))
}

fn linear_layer() -> Row {
    fn twin<T: Real>() -> Arc<Graph<T>> {
        Arc::new(|_, v| Ok(vec![linear::composed(v[0], v[1], Some(v[2]))?]))
    }
    let [time, batch, inputs, outputs] = [26, 64, 256, 512];
    Row {
        name: "linear".into(),
        shape: format!("{time}·{batch}, {inputs} to {outputs}"),
        inputs: vec![
            input("x", &[time, batch, inputs]),
            input("weight", &[outputs, inputs]),
            input("bias", &[outputs]),
        ],
        fused: Arc::new(LinearOp),
        composed: twin(),
        exact: twin(),
    }
}

fn embedding_layer() -> Row {
    fn twin<T: Real>(indices: Arc<ArrayD<usize>>) -> Arc<Graph<T>> {
        Arc::new(move |_, v| Ok(vec![embedding::composed(v[0], &indices, Some(0))?]))
    }
    let [time, batch, rows, size] = [20, 64, 8000, 128];
    let key = Key::new(9);
    let number = |at: IxDyn| key.below((at[0] * batch + at[1]) as u64, rows as u64) as usize;
    let indices = Arc::new(ArrayD::from_shape_fn(IxDyn(&[time, batch]), number));
    Row {
        name: "embedding".into(),
        shape: format!("{time}·{batch} of {rows}x{size}"),
        inputs: vec![input("table", &[rows, size])],
        fused: Arc::new(EmbeddingOp { indices: indices.clone(), padding: Some(0) }),
        composed: twin(indices.clone()),
        exact: twin(indices),
    }
}

/// x less its largest element, as a column.
fn shifted<T: Real>(x: Var<'_, T>, [rows, columns]: [usize; 2]) -> Result<Var<'_, T>> {
    debug_assert_eq!(x.shape(), [rows, columns]);
    x - x.max(1)?.reshape(&[rows, 1])?
}

fn softmax([rows, columns]: [usize; 2]) -> Row {
    fn twin<T: Real>([rows, columns]: [usize; 2]) -> Arc<Graph<T>> {
        Arc::new(move |_, v| {
            let exps = shifted(v[0], [rows, columns])?.exp()?;
            Ok(vec![(exps / exps.sum(1)?.reshape(&[rows, 1])?)?])
        })
    }
    Row {
        name: "softmax".into(),
        shape: format!("{rows}x{columns}"),
        inputs: vec![Input::new("x", "", &[rows, columns])],
        fused: Arc::new(Softmax { axis: 1, keep: None }),
        composed: twin([rows, columns]),
        exact: twin([rows, columns]),
    }
}

fn log_softmax([rows, columns]: [usize; 2]) -> Row {
    fn twin<T: Real>([rows, columns]: [usize; 2]) -> Arc<Graph<T>> {
        Arc::new(move |_, v| {
            let shifted = shifted(v[0], [rows, columns])?;
            Ok(vec![(shifted - shifted.exp()?.sum(1)?.ln()?.reshape(&[rows, 1])?)?])
        })
    }
    Row {
        name: "log-softmax".into(),
        shape: format!("{rows}x{columns}"),
        inputs: vec![Input::new("x", "", &[rows, columns])],
        fused: Arc::new(LogSoftmax { axis: 1, keep: None }),
        composed: twin([rows, columns]),
        exact: twin([rows, columns]),
    }
}

/// The twin is a log-softmax, and one number of each of its rows.
fn cross_entropy() -> Row {
    fn twin<T: Real>(targets: &[usize], classes: usize) -> Arc<Graph<T>> {
        let tokens = targets.len();
        let places: Vec<usize> =
            targets.iter().enumerate().map(|(row, target)| row * classes + target).collect();
        Arc::new(move |_, v| {
            let log_probs = v[0].log_softmax(1)?.reshape(&[tokens * classes, 1])?;
            let sum = log_probs.gather_rows(&places, &[tokens])?.sum_all()?;
            Ok(vec![(sum / T::from_f64(-(tokens as f64)))?])
        })
    }
    let [tokens, classes] = [512, 8000];
    let key = Key::new(10);
    let targets: Vec<usize> =
        (0..tokens as u64).map(|at| key.below(at, classes as u64) as usize).collect();
    Row {
        name: "cross-entropy".into(),
        shape: format!("{tokens}x{classes}"),
        inputs: vec![Input::new("logits", "", &[tokens, classes])],
        composed: twin(&targets, classes),
        exact: twin(&targets, classes),
        fused: Arc::new(CrossEntropy { targets, options: CrossEntropyOptions::default() }),
    }
}

/// The output layer and its loss, which never has all scores at once.
fn output_layer() -> Row {
    fn twin<T: Real>(targets: Vec<usize>) -> Arc<Graph<T>> {
        Arc::new(move |_, v| {
            let options = CrossEntropyOptions::default();
            Ok(vec![linear_cross_entropy::composed(v[0], v[1], Some(v[2]), &targets, options)?])
        })
    }
    let [tokens, inputs, classes] = [512, 256, 8000];
    let key = Key::new(11);
    let targets: Vec<usize> =
        (0..tokens as u64).map(|at| key.below(at, classes as u64) as usize).collect();
    Row {
        name: "linear and cross-entropy".into(),
        shape: format!("{tokens}, {inputs} to {classes}"),
        inputs: vec![
            input("x", &[tokens, inputs]),
            input("weight", &[classes, inputs]),
            input("bias", &[classes]),
        ],
        composed: twin(targets.clone()),
        exact: twin(targets.clone()),
        fused: Arc::new(LinearCrossEntropy { targets, options: CrossEntropyOptions::default() }),
    }
}

/// A cell's inputs: x, the states, the weights.
fn cell_inputs(cell: CellKind, x: &[usize], batch: usize, hidden: usize) -> Vec<Input> {
    let gates = cell.gates().len() * hidden;
    let columns = x.last().copied().unwrap_or_default();
    let mut inputs = vec![input("x", x), input("h", &[batch, hidden])];
    if cell.has_cell_state() {
        inputs.push(input("c", &[batch, hidden]));
    }
    inputs.extend([
        input("weight_ih", &[gates, columns]),
        input("weight_hh", &[gates, hidden]),
        input("bias_ih", &[gates]),
        input("bias_hh", &[gates]),
    ]);
    inputs
}

fn step(cell: CellKind, [batch, columns, hidden]: [usize; 3]) -> Row {
    fn twin<T: Real>(cell: CellKind) -> Arc<Graph<T>> {
        Arc::new(move |_, v| composed::step(cell, None, v))
    }
    Row {
        name: format!("{cell} step"),
        shape: format!("{batch}, {columns} to {hidden}"),
        inputs: cell_inputs(cell, &[batch, columns], batch, hidden),
        fused: match cell {
            CellKind::Rnn => Arc::new(CellStep::new(Rnn)),
            CellKind::Lstm => Arc::new(CellStep::new(Lstm)),
            CellKind::Gru => Arc::new(CellStep::new(Gru)),
        },
        composed: twin(cell),
        exact: twin(cell),
    }
}

fn sequence(cell: CellKind, [batch, steps, columns, hidden]: [usize; 4]) -> Row {
    fn twin<T: Real>(cell: CellKind) -> Arc<Graph<T>> {
        Arc::new(move |_, v| composed::sequence(cell, None, false, v))
    }
    Row {
        name: format!("{cell} sequence"),
        shape: format!("{steps}·{batch}, {columns} to {hidden}"),
        inputs: cell_inputs(cell, &[steps, batch, columns], batch, hidden),
        fused: match cell {
            CellKind::Rnn => Arc::new(Sequence::new(Rnn)),
            CellKind::Lstm => Arc::new(Sequence::new(Lstm)),
            CellKind::Gru => Arc::new(Sequence::new(Gru)),
        },
        composed: twin(cell),
        exact: twin(cell),
    }
}

fn additive([batch, source, size, memory]: [usize; 4]) -> Row {
    fn twin<T: Real>(lengths: Arc<[usize]>) -> Arc<Graph<T>> {
        Arc::new(move |_, v| {
            attention::composed::additive(v[0], v[1], v[2], v[3], &lengths).map(|(c, w)| vec![c, w])
        })
    }
    let lengths: Arc<[usize]> = vec![source; batch].into();
    Row {
        name: "additive attention".into(),
        shape: format!("{batch}, {source} keys of {size}, values of {memory}"),
        inputs: vec![
            input("query", &[batch, size]),
            input("keys", &[batch, source, size]),
            input("v", &[size]),
            input("values", &[batch, source, memory]),
        ],
        fused: Arc::new(AdditiveAttention { lengths: lengths.clone() }),
        composed: twin(lengths.clone()),
        exact: twin(lengths),
    }
}

fn dot(name: &str, [batch, queries, source, size]: [usize; 4], heads: usize) -> Row {
    fn twin<T: Real>(op: DotAttention) -> Arc<Graph<T>> {
        Arc::new(move |_, v| {
            attention::composed::dot(&op, v[0], v[1], v[2]).map(|(c, w)| vec![c, w])
        })
    }
    let lengths: Arc<[usize]> = vec![source; batch].into();
    let op = DotAttention { scale: 1.0, heads, causal: false, lengths };
    Row {
        name: name.into(),
        shape: format!("{batch}·{queries}, {source} keys of {size}"),
        inputs: vec![
            input("query", &[batch, queries, size]),
            input("keys", &[batch, source, size]),
            input("values", &[batch, source, size]),
        ],
        fused: Arc::new(op.clone()),
        composed: twin(op.clone()),
        exact: twin(op),
    }
}

fn rows() -> Vec<Row> {
    let mut rows = vec![linear_layer(), embedding_layer()];
    for cell in CellKind::ALL {
        rows.push(step(cell, [64, 384, 256]));
        rows.push(step(cell, [1, 384, 256]));
        rows.push(sequence(cell, [64, 20, 256, 256]));
        rows.push(sequence(cell, [1, 50, 256, 256]));
    }
    rows.extend([
        additive([64, 20, 128, 256]),
        additive([1, 20, 128, 256]),
        dot("dot attention", [64, 1, 20, 256], 1),
        dot("dot attention", [1, 1, 20, 256], 1),
        dot("dot attention, 8 heads", [64, 20, 20, 256], 8),
        softmax([1280, 20]),
        softmax([64, 8000]),
        log_softmax([64, 8000]),
        cross_entropy(),
        output_layer(),
    ]);
    rows
}

/// A model's loss of a batch, with its gradients or without, as work: by the fused decoder or by its
/// twin.
struct Decoding {
    context: Context,
    model: Seq2Seq<f32>,
    exact: Seq2Seq<f64>,
    examples: Vec<Example>,
    is_fused: bool,
    pass: TapePass,
    found: Vec<Vec<f64>>,
}

impl Decoding {
    const BATCH: usize = 64;

    fn new(is_fused: bool, pass: TapePass) -> std::result::Result<Self, Box<dyn Error>> {
        let context = Context::sequential();
        let model = workload::model(context.clone(), workload::SIZES);
        let (config, target) = (model.config().clone(), model.target().clone());
        let mut exact =
            Seq2Seq::new(config, model.source().clone(), target, context.clone(), Key::new(1))?;
        exact.params_mut().copy_from(model.params())?;
        let examples = workload::examples(Self::BATCH, workload::SIZES);
        Ok(Decoding { context, model, exact, examples, is_fused, pass, found: Vec::new() })
    }

    /// Whether the decoder is faster, for one pass.
    fn compare(pass: TapePass) -> std::result::Result<Comparison, Box<dyn Error>> {
        let (mut fused, mut twin) = (Self::new(true, pass)?, Self::new(false, pass)?);
        Ok(compare(&mut fused, &mut twin, &Settings::default(), |_| {})?)
    }

    /// The loss, then the gradients of all parameters. Tokens are forced: a prediction could be
    /// another one in `f64`.
    fn compute<T: Real>(
        &self,
        model: &Seq2Seq<T>,
        is_fused: bool,
    ) -> std::result::Result<Vec<Vec<f64>>, ModelError> {
        let batch = Batch::new(&self.examples.iter().collect::<Vec<_>>())?;
        let divisor = (Self::BATCH * workload::SIZES.target) as f64;
        let forcing = TeacherForcing(1.0);
        let options = LossOptions { forcing, smoothing: Smoothing::None, divisor };
        let context = self.context.clone().with_key(Key::new(3));
        let tape = match self.pass {
            TapePass::Forward => Tape::inference(context),
            TapePass::ForwardBackward => Tape::new(context),
        };
        let loss = match is_fused {
            true => model.training_loss(&tape, &batch, options)?,
            false => model.composed_training_loss(&tape, &batch, options)?,
        };
        let loss = loss.loss;
        let mut found = vec![loss.value().iter().map(|x| x.to_f64()).collect()];
        if self.pass == TapePass::ForwardBackward {
            let gradients = tape.backward_once(loss)?.into_gradients();
            found.extend(gradients.iter().map(|(_, gradient)| {
                gradient.dense().iter().map(|x| x.to_f64()).collect::<Vec<_>>()
            }));
        }
        Ok(found)
    }

    fn each_number(&mut self, mut change: impl FnMut(usize, &mut f64)) {
        let mut at = 0;
        for example in &mut self.examples {
            if let Source::Vectors(frames) = &mut example.source {
                for number in frames {
                    change(at, number);
                    at += 1;
                }
            }
        }
    }
}

impl Workload for Decoding {
    fn identity(&self) -> Identity {
        let variant = if self.is_fused { "fused" } else { "composed" };
        Identity::new("decoder", variant, "a model", NumberType::F32, &self.context)
    }

    fn cost(&self) -> Cost {
        let amount = (Self::BATCH * workload::SIZES.target) as f64;
        Cost { work: Work::Numbers, amount, bytes: 4.0 * self.model.params().numel() as f64 }
    }

    fn context(&self) -> &Context {
        &self.context
    }

    fn renew(&mut self, key: Key) {
        self.each_number(|at, number| *number = 2.0 * key.uniform(at as u64) - 1.0);
        self.found.clear();
    }

    fn touch(&mut self, count: u64) {
        let len = Self::BATCH * workload::SOURCE * workload::FRAME;
        let place = Key::new(count).below(0, len as u64) as usize;
        let [example, number] = [place / (len / Self::BATCH), place % (len / Self::BATCH)];
        if let Source::Vectors(frames) = &mut self.examples[example].source {
            frames.iter_mut().skip(number).take(1).for_each(|number| *number = -*number);
        }
    }

    fn rewrite(&mut self, change: bool) {
        self.each_number(|_, number| *number *= if change { -1.0 } else { 1.0 });
    }

    fn run(&mut self) {
        self.found = self.compute(&self.model, self.is_fused).unwrap_or_default();
    }

    fn verify(&mut self) -> std::result::Result<f64, Wrong> {
        let exact = self.compute(&self.exact, false).unwrap_or_default();
        let nothing = Vec::new();
        let mut largest = 0.0_f64;
        for (array, exact) in exact.iter().enumerate() {
            let found = self.found.get(array).unwrap_or(&nothing);
            let size = exact.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
            let bound = ROUNDINGS * f64::from(f32::EPSILON) * size;
            for (at, &value) in exact.iter().enumerate() {
                let found = found.get(at).copied().unwrap_or(f64::NAN);
                largest = largest.max(Expected { value, bound }.hold(found, || vec![array, at])?);
            }
        }
        match exact.is_empty() {
            true => Err(Wrong::Number { place: vec![], found: 0.0, expected: 1.0, bound: 0.0 }),
            false => Ok(largest),
        }
    }

    fn relocate(&mut self) {
        self.examples = self.examples.clone();
    }

    fn evict(&self, _: &Evictor) {}
}

/// Both times, and how many times as fast the fused one is.
fn cells(found: &Comparison) -> String {
    let time = |seconds: f64| unspool_bench::measure::time(seconds);
    let [fused, composed] = [&found.a, &found.b].map(|found| time(found.seconds.median));
    let speed = found.speed;
    let verdict = match found.verdict {
        Verdict::AFaster => "",
        Verdict::NoDifference => ", the same",
        Verdict::BFaster => ", SLOWER",
    };
    format!(
        "{fused} | {composed} | {:.2} ({:.2} to {:.2}){verdict}",
        speed.value, speed.low, speed.high
    )
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    // Cargo says `--bench`.
    let parts: Vec<String> = std::env::args().skip(1).filter(|x| !x.starts_with("--")).collect();
    println!(
        "| layer | sizes | forward: fused | composed | ratio | and backward: fused | composed | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let is_wanted =
        |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part.as_str()));
    for row in rows() {
        if !is_wanted(&row.name) {
            continue;
        }
        let [forward, both] = TapePass::ALL.map(|pass| row.compare(pass));
        let (forward, both) = (cells(&forward?), cells(&both?));
        println!("| {} | {} | {forward} | {both} |", row.name, row.shape);
    }
    if is_wanted("decoder") {
        let [forward, both] = TapePass::ALL.map(Decoding::compare);
        let (forward, both) = (cells(&forward?), cells(&both?));
        println!("| decoder, in a model | {}·26 tokens | {forward} | {both} |", Decoding::BATCH);
    }
    Ok(())
}
