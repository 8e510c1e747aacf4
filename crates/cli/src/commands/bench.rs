//! `unspool bench`: how fast are the kernels, beside what the machine can do and beside each other?

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::ProgressBar;
use unspool_bench::report::aligned;
use unspool_bench::{
    CellPass, Change, Comparison, Function, Identity, Machine, MachineSettings, Measurement,
    Mismatch, Number, NumberType, OnTape, Oracle, Packing, Pass, Product, Report, Settings, Shape,
    Shares, TapePass, WeightPacking, Workload, compare, measure, thread_counts,
};
use unspool_layers::attention::{AdditiveAttention, DotAttention};
use unspool_layers::embedding::EmbeddingOp;
use unspool_layers::recurrent::{CellKind, fast_kernel, naive_kernel, reference};
use unspool_tensor::cases::{Case, Input};
use unspool_tensor::kernels::matmul::MatmulKernel;
use unspool_tensor::kernels::pointwise::Pointwise;
use unspool_tensor::kernels::rows::{self, RowKernel};
use unspool_tensor::kernels::weights::Side;
use unspool_tensor::random::Key;
use unspool_tensor::{Context, Kernels};

use crate::console::{Console, Outcome, print};
use crate::paths;
use unspool_plot::{PictureFormat, rates_over_size, roofline};

/// Measure the kernels: beside what the machine can do, and beside each other
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool bench --quick                            a few shapes, in a few seconds
  unspool bench peak                               what this machine can do
  unspool bench product --shape 64x640x1024        all kernels and passes on one shape
  unspool bench product --shapes mine.txt --cold   on your shapes, in the caches and out of them
  unspool bench product --compare avx512 matrixmultiply
  unspool bench cells attention --cold             other kernels, forward and backward
  unspool bench pointwise cells --compare fast naive
  unspool bench product --squares --plot rates.svg --roofline roof.svg
  unspool bench --quick --save before              then change something, and:
  unspool bench --quick --against before
  unspool bench --show before --plot rates.png     what was kept, by your own crate too

A shape is MxKxN: M rows of a batch, K inputs and N outputs of a layer. A file of shapes has one
on each line, or is TOML: shapes = [\"64x640x1024\"].

Every answer is held to an oracle in f64 before, while and after it is timed; a wrong one exits with
1. In the table, ± is half the distance between the quartiles; GB/s is what is read and written at
least; peak, own and roof are percentages of the most operations a second of this machine in the same
turns, of those with the kernel's own instructions, and of the roofline; error is the largest error as a share of
its bound. A comparison says \"no difference\" unless there is more of it than between a kernel and
itself. Kernels of your own are measured in the same way by a program: docs/kernels.md.")]
pub struct Bench {
    /// What to measure; all, without
    #[arg(value_name = "WHAT")]
    what: Vec<What>,
    /// A few shapes and kernels, each for some milliseconds
    #[arg(long)]
    quick: bool,
    /// A shape of matrix products, MxKxN; several add up
    #[arg(long, value_name = "MxKxN")]
    shape: Vec<Shape>,
    /// A file of shapes: one on each line, or TOML
    #[arg(long, value_name = "FILE")]
    shapes: Option<PathBuf>,
    /// Squares from 32 to 1024, and no others unless they are asked for
    #[arg(long)]
    squares: bool,
    /// Only kernels of this name; several add up [default: all; naive ones on small shapes]
    #[arg(long, value_name = "NAME")]
    kernel: Vec<String>,
    /// Only this pass of a layer; several add up [default: all; with --quick, forward]
    #[arg(long, value_name = "PASS")]
    pass: Vec<PassChoice>,
    /// In which numbers
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    number: Vec<NumberChoice>,
    /// Also with operands that are not in the caches
    #[arg(long)]
    cold: bool,
    /// Compare two kernels, or the variants fast and naive of a function: is A faster than B?
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    #[arg(conflicts_with_all = ["kernel", "save", "against", "plot", "roofline"])]
    compare: Vec<String>,
    /// For about how long each is measured [default: 0.2; with --quick 0.04; with --compare 1]
    #[arg(long, value_name = "X")]
    seconds: Option<f64>,
    /// What the inputs and the order of samples come from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Keep what is found: as target/bench/NAME.json, or in a file if this is a path
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// Compare with what was kept
    #[arg(long, value_name = "NAME")]
    against: Option<String>,
    /// Show what was kept, and measure nothing
    #[arg(long, value_name = "NAME")]
    #[arg(conflicts_with_all = ["what", "quick", "shape", "shapes", "squares", "kernel", "pass"])]
    #[arg(conflicts_with_all = ["cold", "compare", "seconds", "seed", "save"])]
    show: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Draw GFLOP/s over the size, as .svg or .png
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Draw the roofline, as .svg or .png
    #[arg(long, value_name = "FILE")]
    roofline: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The machine alone; it is measured in any case
    Peak,
    /// Matrix products
    Product,
    /// exp, tanh and the logistic function
    Pointwise,
    /// Softmax over rows, and its gradient
    Softmax,
    /// The pointwise part of the recurrent cells, forward and backward
    Cells,
    /// Additive and dot attention for a step of a batch, forward and backward
    Attention,
    /// Rows of a table by their numbers, and the table's gradient
    Embedding,
    /// Packing a weight, as training does once per update
    Packing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum PassChoice {
    /// y = x·Wᵀ
    Forward,
    /// d_x = d_y·W
    #[value(name = "d_x")]
    BackwardInput,
    /// d_W = d_yᵀ·x
    #[value(name = "d_W")]
    BackwardWeight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum NumberChoice {
    /// Single precision
    F32,
    /// Double precision
    F64,
}

impl From<PassChoice> for Pass {
    fn from(choice: PassChoice) -> Self {
        match choice {
            PassChoice::Forward => Pass::Forward,
            PassChoice::BackwardInput => Pass::BackwardInput,
            PassChoice::BackwardWeight => Pass::BackwardWeight,
        }
    }
}

/// Naive products of more multiply-adds than this are left out unless they are asked for.
const NAIVE_UP_TO: usize = 1 << 24;
/// Lengths of slices for pointwise functions: in the first cache, and in the second.
const LENGTHS: [usize; 2] = [4096, 65_536];
/// Rows and columns for softmax: attention over a sentence, and a large vocabulary.
const ROWS: [[usize; 2]; 2] = [[64, 20], [64, 8000]];
/// Rows of a batch and hidden units of a cell: a batch, and one sentence.
const CELLS: [[usize; 2]; 2] = [[64, 256], [1, 512]];
/// The batch, the source's length and the size of keys and values.
const ATTENTION: [usize; 3] = [64, 20, 128];
/// The rows of the table, their size, and how many are looked up.
const EMBEDDING: [usize; 3] = [4000, 128, 640];
/// The variants of functions.
const VARIANTS: [&str; 2] = ["naive", "fast"];

/// Workloads that are measured in turns.
type Group = Vec<Box<dyn Workload>>;

impl Bench {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        if let Some(seconds) = self.seconds.filter(|x| !(*x > 0.0 && *x <= 1e6)) {
            return Err(format!("--seconds {seconds}: must be above 0, and at most 1e6").into());
        }
        self.check_names()?;
        let shapes = self.shapes()?;
        for picture in [&self.plot, &self.roofline].into_iter().flatten() {
            PictureFormat::from_path(picture)?;
            paths::check_writable(picture)?;
        }
        let before = match &self.against {
            Some(name) => Some(Report::read(&baseline(name))?),
            None => None,
        };
        if let Some(name) = &self.show {
            let report = Report::read(&baseline(name))?;
            if !self.json {
                print(&report.machine)?;
            }
            return self.tell(&report, &[], before.as_ref(), console);
        }
        let save = self.save.as_ref().map(|name| baseline(name));
        if let Some(file) = &save {
            if let Some(folder) = file.parent().filter(|_| self.names_no_path()) {
                std::fs::create_dir_all(folder)
                    .map_err(|error| format!("{}: {error}", folder.display()))?;
            }
            paths::check_writable(file)?;
        }
        if cfg!(debug_assertions) {
            console.say("this program was built without --release; its figures say little");
        }
        let contexts = thread_counts(context.threads());
        let contexts: Result<Vec<_>, _> = contexts.into_iter().map(Context::with_threads).collect();
        let contexts = contexts?;
        if !self.compare.is_empty() {
            return self.run_comparisons(&shapes, &contexts, console);
        }
        let machine = self.machine(&contexts, console);
        if !self.json {
            print(&machine)?;
        }
        if let Some(text) = was_busy(&machine) {
            console.say(text);
        }
        let groups = self.all_groups(&shapes, &contexts)?;
        let (found, wrong) = self.measure(groups, machine.last_cache(), console);
        let report = Report::new(machine, found);
        let outcome = self.tell(&report, &wrong, before.as_ref(), console)?;
        if let Some(file) = save {
            report.write(&file)?;
            console.say(format!("kept in {}", file.display()));
        }
        Ok(outcome)
    }

    /// Prints and draws what was found, beside what was before.
    fn tell(
        &self,
        report: &Report,
        wrong: &[Mismatch],
        before: Option<&Report>,
        console: &Console,
    ) -> Outcome {
        let changes = before.map(|before| report.changes_since(before));
        self.show(report, wrong, changes.as_deref(), console)?;
        if let Some(text) =
            before.and_then(|before| other_machine(&before.machine, &report.machine))
        {
            console.say(text);
        }
        if let Some(file) = &self.plot {
            rates_over_size(report).draw().save(file)?;
        }
        if let Some(file) = &self.roofline {
            roofline(report).draw().save(file)?;
        }
        Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Whether `--save` gives a name, not a path.
    fn names_no_path(&self) -> bool {
        self.save.as_ref().is_some_and(|name| !is_path(name))
    }

    fn check_names(&self) -> Result<(), Box<dyn Error>> {
        for name in self.kernel.iter().chain(&self.compare) {
            if !VARIANTS.contains(&name.as_str()) {
                Kernels::named(name)?;
            }
        }
        Ok(())
    }

    /// The names that are asked for; of all, without.
    fn names(&self) -> &[String] {
        if self.compare.is_empty() { &self.kernel } else { &self.compare }
    }

    /// The shapes that are asked for.
    fn shapes(&self) -> Result<Vec<Shape>, Box<dyn Error>> {
        let mut shapes = self.shape.clone();
        if let Some(file) = &self.shapes {
            let text = paths::read_text(file)?;
            let is_toml = file.extension().is_some_and(|extension| extension == "toml");
            let read = if is_toml { Shape::parse_toml } else { Shape::parse_lines };
            shapes.extend(read(&text).map_err(|error| format!("{}: {error}", file.display()))?);
        }
        if self.squares {
            shapes.extend(Shape::squares());
        }
        Ok(match (shapes.is_empty(), self.quick || !self.compare.is_empty()) {
            (false, _) => shapes,
            (true, true) => Shape::few(),
            (true, false) => [Shape::of_models(), Shape::squares()].concat(),
        })
    }

    fn settings(&self, seconds: f64) -> Settings {
        let seconds = self.seconds.unwrap_or(seconds);
        let least_samples = if self.quick { 7 } else { Settings::default().least_samples };
        Settings { seconds, least_samples, seed: self.seed, ..Settings::default() }
    }

    fn has(&self, what: What) -> bool {
        self.what.is_empty() || self.what.contains(&what)
    }

    fn machine(&self, contexts: &[Context], console: &Console) -> Machine {
        let threads: Vec<_> = contexts.iter().map(Context::threads).collect();
        let mut settings = match self.quick {
            true => MachineSettings::quick(&threads),
            false => MachineSettings::new(&threads),
        };
        settings.memory |= self.cold;
        let bar = console.bar(100, "%");
        let machine = Machine::measure(&settings, |what, share| {
            bar.set_position((100.0 * share) as u64);
            bar.set_message(what.to_owned());
        });
        bar.finish_and_clear();
        machine
    }

    /// The kernels that are asked for, in that order, or all; for work of so many multiply-adds.
    fn kernels<T: Number>(&self, multiply_adds: usize) -> Vec<Arc<dyn MatmulKernel<T>>> {
        let supported = || T::variants().into_iter().filter(|kernel| kernel.is_supported());
        if !self.names().is_empty() {
            let named = |name| supported().find(|kernel| kernel.name() == name);
            return self.names().iter().filter_map(named).collect();
        }
        let default = T::matmul(&Kernels::default()).name().to_owned();
        let wanted = |name: &str| match self.quick {
            true => name == default || name == "matrixmultiply",
            false => name != "naive" || multiply_adds <= NAIVE_UP_TO,
        };
        supported().filter(|kernel| wanted(kernel.name())).collect()
    }

    /// The variants of functions that are asked for.
    fn variants<T: Number>(&self) -> Vec<(&'static str, Pointwise<T>)> {
        let of = |name| match name {
            "naive" => ("naive", Pointwise::naive()),
            _ => ("fast", Pointwise::fast()),
        };
        let names = self.names().iter();
        match self.names() {
            [] => VARIANTS.map(of).to_vec(),
            _ => names
                .filter_map(|name| VARIANTS.into_iter().find(|of| of == name))
                .map(of)
                .collect(),
        }
    }

    fn passes(&self) -> Vec<Pass> {
        match &self.pass[..] {
            [] if self.quick || !self.compare.is_empty() => vec![Pass::Forward],
            [] => Pass::ALL.to_vec(),
            choices => choices.iter().map(|&choice| choice.into()).collect(),
        }
    }

    /// All workloads in these numbers. What is in a group is measured in turns.
    fn groups<T: Number>(
        &self,
        shapes: &[Shape],
        contexts: &[Context],
        groups: &mut Vec<Group>,
    ) -> unspool_tensor::Result<()> {
        if self.has(What::Product) {
            for &shape in shapes {
                for pass in self.passes() {
                    for context in contexts.iter().filter(|context| pays(context, shape)) {
                        let oracle = Arc::new(Oracle::default());
                        let kernels = self.kernels::<T>(shape.multiply_adds());
                        let products = kernels.into_iter().flat_map(|kernel| {
                            let product = |&packing: &Packing| {
                                let kernel = kernel.clone();
                                let product = Product::new(kernel, pass, packing, shape, context);
                                Box::new(product.with_oracle(&oracle)) as Box<dyn Workload>
                            };
                            packings(pass).iter().map(product).collect::<Vec<_>>()
                        });
                        groups.push(products.collect());
                    }
                }
            }
        }
        if self.has(What::Packing) {
            let weights: BTreeSet<_> = shapes.iter().map(|shape| [shape.n, shape.k]).collect();
            for shape in weights {
                for side in [Side::Transposed, Side::Plain] {
                    for context in contexts.iter().filter(|context| packs(context, shape)) {
                        let packing = |kernel| WeightPacking::new(kernel, side, shape, context);
                        let kernels = self.kernels::<T>(1).into_iter();
                        groups.push(kernels.map(|kernel| Box::new(packing(kernel)) as _).collect());
                    }
                }
            }
        }
        let variants = self.variants::<T>();
        let sequential = Context::sequential();
        if self.has(What::Pointwise) {
            for len in LENGTHS {
                let functions = variants.iter().flat_map(|&(variant, pointwise)| {
                    Function::pointwise(variant, pointwise, len, &sequential)
                });
                groups.push(functions.map(|function| Box::new(function) as _).collect());
            }
        }
        if self.has(What::Softmax) {
            for shape in ROWS {
                let kernel = |&(variant, _): &(&str, Pointwise<T>)| -> Arc<dyn RowKernel<T>> {
                    if variant == "naive" { Arc::new(rows::Naive) } else { Arc::new(rows::Fast) }
                };
                let kernels: Vec<_> = variants.iter().map(kernel).collect();
                let forward = |kernel: &Arc<_>| {
                    Box::new(Function::softmax(Arc::clone(kernel), shape, &sequential)) as _
                };
                let backward = |kernel: &Arc<_>| {
                    Box::new(Function::softmax_backward(Arc::clone(kernel), shape, &sequential))
                        as _
                };
                groups.push(kernels.iter().map(forward).collect());
                groups.push(kernels.iter().map(backward).collect());
            }
        }
        if self.has(What::Cells) {
            let sizes = if self.quick { &CELLS[..1] } else { &CELLS[..] };
            for (size, kind) in
                sizes.iter().flat_map(|&size| CellKind::ALL.map(|kind| (size, kind)))
            {
                for pass in CellPass::ALL {
                    for context in contexts.iter().filter(|context| shares(context, size)) {
                        let cell = |&(variant, _): &(&str, Pointwise<T>)| {
                            let own = if variant == "naive" {
                                naive_kernel::<T>(kind)
                            } else {
                                fast_kernel(kind)
                            };
                            boxed(Function::cell(own, &reference(kind), pass, size, context))
                        };
                        // Backward there is no function, and so there are no variants.
                        let is_alike = pass == CellPass::Backward && self.compare.is_empty();
                        let wanted = |variant: &&(&str, _)| !is_alike || variant.0 == "fast";
                        let group = variants.iter().filter(wanted).map(cell);
                        groups.push(group.collect());
                    }
                }
            }
        }
        let mut cases: Vec<(fn() -> Case, usize)> = Vec::new();
        if self.has(What::Attention) {
            let [batch, source, size] = ATTENTION;
            let work = 2 * batch * source * size;
            cases.extend([(additive as fn() -> Case, work), (dot, work)]);
        }
        if self.has(What::Embedding) {
            cases.push((embedding, 0));
        }
        for (case, work) in cases {
            for pass in TapePass::ALL {
                let pays = |context: &&Context| context.threads() == 1 || context.parallel(work);
                for context in contexts.iter().filter(pays) {
                    let op = |&(variant, _): &(&str, _)| {
                        let kernels = match variant {
                            "naive" => Kernels::naive(),
                            _ => Kernels::default(),
                        };
                        let context = context.clone().with_kernels(kernels);
                        let work = OnTape::<T>::of_case(case(), variant, pass, &context)?;
                        Ok(boxed(work))
                    };
                    let group = variants.iter().map(op);
                    groups.push(group.collect::<unspool_tensor::Result<_>>()?);
                }
            }
        }
        Ok(())
    }

    /// Measures all groups, one after the other.
    fn measure(
        &self,
        groups: Vec<Group>,
        last_cache: usize,
        console: &Console,
    ) -> (Vec<Measurement>, Vec<Mismatch>) {
        let seconds = if self.quick { 0.04 } else { 0.2 };
        let warm = Settings { last_cache, ..self.settings(seconds) };
        let temperatures = match self.cold {
            true => vec![warm.clone(), warm.cold()],
            false => vec![warm],
        };
        let total = groups.iter().map(Vec::len).sum::<usize>() * temperatures.len();
        let bar = console.bar(total as u64, "kernels");
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        let mut done = 0;
        for mut group in groups {
            let mut workloads: Vec<&mut dyn Workload> =
                group.iter_mut().map(|workload| &mut **workload as &mut dyn Workload).collect();
            for settings in &temperatures {
                let count = workloads.len();
                say_what_is_measured(&bar, &workloads);
                let results = measure(&mut workloads, settings, |share| {
                    bar.set_position(done + (share * count as f64) as u64);
                });
                done += count as u64;
                for result in results {
                    match result {
                        Ok(measurement) => found.push(measurement),
                        Err(mismatch) => wrong.push(mismatch),
                    }
                }
            }
        }
        bar.finish_and_clear();
        (found, wrong)
    }

    fn show(
        &self,
        report: &Report,
        wrong: &[Mismatch],
        changes: Option<&[Change]>,
        console: &Console,
    ) -> Result<(), Box<dyn Error>> {
        if self.json {
            let measurements: Result<Vec<_>, _> = (report.measurements.iter())
                .map(|found| {
                    let mut value = serde_json::to_value(found)?;
                    value["rate"] = found.rate().into();
                    value["shares"] = serde_json::to_value(Shares::of(found, &report.machine))?;
                    Ok::<_, serde_json::Error>(value)
                })
                .collect();
            let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
            print(serde_json::json!({
                "machine": report.machine, "measurements": measurements?,
                "wrong": wrong, "changes": changes,
            }))?;
            return Ok(());
        }
        if !report.measurements.is_empty() {
            print(format!("\n{}", report.table()))?;
        }
        for mismatch in wrong {
            print(format!("WRONG {mismatch}"))?;
        }
        if let Some(changes) = changes {
            print(format!("\n{}", table_of_changes(changes)))?;
            let same = report.measurements.len() - changes.len();
            if same > 0 {
                console.say(format!("{same} were not measured then"));
            }
        }
        Ok(())
    }

    /// A against B on each shape and pass.
    fn run_comparisons(
        &self,
        shapes: &[Shape],
        contexts: &[Context],
        console: &Console,
    ) -> Outcome {
        let groups = self.all_groups(shapes, contexts)?;
        // Both have the same work, in the same order.
        let pairs = groups.into_iter().flat_map(|mut of_a| {
            let of_b = of_a.split_off(of_a.len() / 2);
            let is_whole = of_a.len() == of_b.len() && self.names_both(&of_a, &of_b);
            of_a.into_iter().zip(of_b).filter(move |_| is_whole)
        });
        let pairs: Vec<_> = pairs.collect();
        if pairs.is_empty() {
            let [a, b] = [0, 1].map(|at| self.compare.get(at).map_or("", |name| name));
            return Err(format!("--compare: {a} and {b} have no work in common").into());
        }
        let seconds = if self.quick { 0.1 } else { 1.0 };
        let warm = Settings { least_samples: 48, ..self.settings(seconds) };
        let settings = if self.cold { warm.cold() } else { warm };
        let bar = console.bar(100, "%");
        let count = pairs.len() as f64;
        let mut comparisons: Vec<Comparison> = Vec::new();
        for (number, (mut a, mut b)) in pairs.into_iter().enumerate() {
            say_what_is_measured(&bar, &[&mut *a]);
            let found = compare(&mut *a, &mut *b, &settings, |share| {
                bar.set_position((100.0 * (number as f64 + share) / count) as u64);
            });
            let found = found.inspect_err(|_| bar.finish_and_clear())?;
            if !self.json {
                // Told as they come; the bar stands below.
                let Identity { kernel, shape, number, threads, .. } = &found.a.identity;
                let plural = if *threads == 1 { "" } else { "s" };
                let what = format!("{kernel} {shape} {number}, {threads} thread{plural}");
                bar.suspend(|| print(format!("{what}: {found}")))?;
            }
            comparisons.push(found);
        }
        bar.finish_and_clear();
        if self.json {
            print(serde_json::json!({ "comparisons": comparisons }))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Whether these are the work of A, and those of B.
    fn names_both(&self, of_a: &Group, of_b: &Group) -> bool {
        let named = |group: &Group, at: usize| {
            let name = self.compare.get(at);
            group.iter().all(|work| Some(&work.identity().variant) == name)
        };
        named(of_a, 0) && named(of_b, 1)
    }

    /// All workloads.
    fn all_groups(
        &self,
        shapes: &[Shape],
        contexts: &[Context],
    ) -> unspool_tensor::Result<Vec<Group>> {
        let mut groups = Vec::new();
        for &number in &self.number {
            match number {
                NumberChoice::F32 => self.groups::<f32>(shapes, contexts, &mut groups)?,
                NumberChoice::F64 => self.groups::<f64>(shapes, contexts, &mut groups)?,
            }
        }
        Ok(groups)
    }
}

/// What to say when it is another machine, or the same in another state.
fn other_machine(before: &Machine, now: &Machine) -> Option<String> {
    if before.processor != now.processor {
        let processor = &before.processor;
        return Some(format!("what it is compared with was measured on another: {processor}"));
    }
    let counts: BTreeSet<_> = now.peaks.iter().map(|peak| peak.threads).collect();
    counts.into_iter().find_map(|threads| {
        let peak = |machine: &Machine| Some(machine.peak(NumberType::F32, threads)? / 1e9);
        let (before, now) = (peak(before)?, peak(now)?);
        let plural = if threads == 1 { "" } else { "s" };
        (!(0.95..1.05).contains(&(now / before))).then(|| {
            format!(
                "the machine itself has changed: with {threads} thread{plural} its peak was \
                 {before:.0} GFLOP/s, and is {now:.0}"
            )
        })
    })
}

/// What to say when several threads together did less than they should.
fn was_busy(machine: &Machine) -> Option<String> {
    let peak = |threads| machine.peak(NumberType::F32, threads);
    let most = machine.peaks.iter().map(|peak| peak.threads).max()?;
    let times = peak(most)? / peak(1)?;
    (times < 0.8 * most.min(machine.cores) as f64).then(|| {
        format!(
            "{most} threads reached {times:.1} times the peak of one: either they share cores, or \
             the machine is busy"
        )
    })
}

/// Whether a product of this shape uses the threads of the context.
fn pays(context: &Context, shape: Shape) -> bool {
    context.threads() == 1 || context.parallel(shape.multiply_adds())
}

/// Whether packing a weight of this shape uses the threads of the context.
fn packs(context: &Context, [n, k]: [usize; 2]) -> bool {
    context.threads() == 1 || context.parallel(n.saturating_mul(k).saturating_mul(16))
}

/// Whether the rows of a cell are shared among the threads of the context: with a product before
/// them, that pays from 16 rows on.
fn shares(context: &Context, [rows, _]: [usize; 2]) -> bool {
    context.threads() == 1 || rows >= 16 * context.threads()
}

fn boxed(work: impl Workload + 'static) -> Box<dyn Workload> {
    Box::new(work)
}

/// A step of additive attention for a batch.
fn additive() -> Case {
    let [batch, source, size] = ATTENTION;
    let inputs = vec![
        Input::new("query", "B A", &[batch, size]),
        Input::new("keys", "B S A", &[batch, source, size]),
        Input::new("v", "A", &[size]),
        Input::new("values", "B S M", &[batch, source, size]),
    ];
    Case::new(
        "additive attention",
        AdditiveAttention { lengths: [source].repeat(batch).into() },
        inputs,
    )
}

/// A step of dot attention for a batch.
fn dot() -> Case {
    let [batch, source, size] = ATTENTION;
    let inputs = vec![
        Input::new("query", "B T D", &[batch, 1, size]),
        Input::new("keys", "B S D", &[batch, source, size]),
        Input::new("values", "B S M", &[batch, source, size]),
    ];
    let (lengths, scale) = ([source].repeat(batch).into(), (size as f64).sqrt().recip());
    Case::new("dot attention", DotAttention { scale, heads: 1, causal: false, lengths }, inputs)
}

/// The words of a batch.
fn embedding() -> Case {
    let [rows, size, count] = EMBEDDING;
    let key = Key::new(1);
    let indices = (0..count as u64).map(|at| key.below(at, rows as u64) as usize);
    let indices = ndarray::Array1::from_iter(indices).into_dyn();
    let op = EmbeddingOp { indices: Arc::new(indices), padding: Some(0) };
    Case::new("embedding", op, vec![Input::new("table", "V E", &[rows, size])])
}

/// How the second factor may come.
fn packings(pass: Pass) -> &'static [Packing] {
    match pass {
        Pass::BackwardWeight => &[Packing::None],
        _ => &[Packing::Before, Packing::None],
    }
}

fn say_what_is_measured(bar: &ProgressBar, workloads: &[&mut (dyn Workload + '_)]) {
    let first = workloads.first().map(|workload| workload.identity());
    bar.set_message(first.map_or(String::new(), |id| format!("{} {}", id.kernel, id.shape)));
}

fn is_path(name: &str) -> bool {
    Path::new(name).components().count() > 1 || name.ends_with(".json")
}

/// The file of a baseline.
fn baseline(name: &str) -> PathBuf {
    match is_path(name) {
        true => name.into(),
        false => Path::new("target/bench").join(format!("{name}.json")),
    }
}

fn table_of_changes(changes: &[Change]) -> String {
    let head = ["kernel", "shape", "variant", "number", "threads", "operands", "speed", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for Change { identity, temperature, speed, direction } in changes {
        let Identity { kernel, variant, shape, number, threads } = identity.clone();
        rows.push(vec![
            kernel,
            shape,
            variant,
            number,
            threads.to_string(),
            temperature.name().into(),
            format!("{speed:.3}"),
            direction.to_string(),
        ]);
    }
    aligned(&rows, 4)
}
