//! Whole trainings, once on each side: W4 beside JoeyNMT, W6 beside PyTorch.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use unspool_seq2seq::{Limits, Strategy};
use unspool_tensor::Context;
use unspool_tensor::random::Key;
use unspool_train::config::Config;
use unspool_train::evaluate::decode;
use unspool_train::metrics::bleu::{Bleu, Tokenization};
use unspool_train::trainer::{Event, Trainer};

/// How W4 and W6 are called, and what they are.
pub const WORKLOADS: [(&str, &str); 2] = [
    ("W4", "an epoch of JoeyNMT's benchmark: reversing up to 25 of 50 symbols, batch 10"),
    ("W6", "an epoch of Multi30k, English to German: bi-GRU 256, BPE of 8000, batch 64"),
];

/// Where the others are.
pub struct Places<'a> {
    /// Python with PyTorch.
    pub python: &'a Path,
    /// Python with JoeyNMT.
    pub joeynmt: &'a Path,
    /// The folder of Multi30k.
    pub data: Option<&'a Path>,
}

/// What a side's epoch was like.
#[derive(Debug, Serialize)]
pub struct Epoch {
    /// Whose.
    pub side: String,
    /// What its randomness came from.
    pub seed: u64,
    /// How many numbers are learned.
    pub parameters: u64,
    /// Without validation.
    pub seconds: f64,
    /// Target tokens, ends included.
    pub tokens: u64,
    /// Of greedy output on the validation part.
    pub bleu: f64,
}

/// A training's data and configuration, ready for both sides.
struct Prepared {
    /// Holds `train.source`, `train.target`, `val.source` and `val.target`, pieces between spaces.
    folder: PathBuf,
    /// Ours.
    config: &'static str,
    /// The most tokens of an output, as on the other side.
    limits: Limits,
    /// Pieces to words.
    join: fn(&str) -> String,
}

impl Prepared {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// BLEU of lines of pieces, over words.
    fn bleu(&self, hypotheses: &[String]) -> Result<f64, Box<dyn Error>> {
        let references = fs::read_to_string(self.path("val.target"))?;
        let references: Vec<String> = references.lines().map(self.join).collect();
        let hypotheses: Vec<String> = hypotheses.iter().map(|line| (self.join)(line)).collect();
        let bleu = Bleu { tokenization: Tokenization::None, ..Bleu::default() };
        Ok(bleu.score(&hypotheses, &[&references])?.score)
    }

    /// BLEU of a file of hypotheses.
    fn bleu_of(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let lines = fs::read_to_string(self.path(name))?;
        self.bleu(&lines.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    fn ours(&self, context: &Context, seed: u64) -> Result<Epoch, Box<dyn Error>> {
        let mut config: Config = toml::from_str(self.config)?;
        config.training.seed = seed;
        config.data.train = vec![self.path("train.source"), self.path("train.target")];
        config.data.validation = vec![self.path("val.source"), self.path("val.target")];
        let mut trainer = Trainer::start(config, &self.path("unspool"), context.clone(), true)?;
        let parameters = trainer.model().params().numel() as u64;
        let (begin, mut seconds, mut tokens) = (Instant::now(), 0.0, 0);
        trainer.run(&AtomicBool::new(false), |event| match event {
            Event::Update { update, .. } => tokens += update.tokens,
            Event::Validating => seconds = begin.elapsed().as_secs_f64(),
            Event::Validation(_) => {}
        })?;
        let (model, data) = (trainer.model(), trainer.data());
        let search = (&Strategy::Greedy, self.limits);
        let found = decode(model, context, &data.validation, search)?;
        let lines: Vec<String> = found.iter().map(|tokens| model.target().decode(tokens)).collect();
        let (side, bleu) = ("unspool".into(), self.bleu(&lines)?);
        Ok(Epoch { side, seed, parameters, seconds, tokens, bleu })
    }
}

/// One epoch on each side for each seed from 1 on, ours first.
///
/// # Errors
/// The other side is not there: the error says how to get it.
pub fn run(
    workload: &str,
    places: &Places<'_>,
    context: &Context,
    seeds: u64,
) -> Result<Vec<Epoch>, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    match workload {
        "W4" => reverse(folder.path(), places, context, seeds),
        _ => multi30k(folder.path(), places, context, seeds),
    }
}

fn reverse(
    folder: &Path,
    places: &Places<'_>,
    context: &Context,
    seeds: u64,
) -> Result<Vec<Epoch>, Box<dyn Error>> {
    const SYMBOLS: u64 = 50;
    let sides = |part: &str, pairs: usize, longest: u64| -> Result<(), Box<dyn Error>> {
        let (mut source, mut target) = (String::new(), String::new());
        for pair in 0..pairs {
            let key = Key::new(42).named(part).with(pair as u64);
            let length = 1 + key.below(0, longest);
            let symbols = (1..=length).map(|at| key.below(at, SYMBOLS).to_string());
            let symbols: Vec<String> = symbols.collect();
            let reversed: Vec<&str> = symbols.iter().rev().map(String::as_str).collect();
            writeln!(source, "{}", symbols.join(" "))?;
            writeln!(target, "{}", reversed.join(" "))?;
        }
        fs::write(folder.join(format!("{part}.source")), source)?;
        Ok(fs::write(folder.join(format!("{part}.target")), target)?)
    };
    sides("train", 50_000, 25)?;
    sides("val", 1_000, 30)?;
    let prepared = Prepared {
        folder: folder.into(),
        config: include_str!("reverse.toml"),
        // The `max_output_length` of reverse.yaml.
        limits: Limits { max_length: Some(30), ..Limits::default() },
        join: str::to_owned,
    };
    let get = "python3 -m venv target/joeynmt && target/joeynmt/bin/pip install \
               -r benches/peers/joeynmt.txt";
    output(Command::new(places.joeynmt).args(["-c", "import joeynmt"]), get)?;
    let mut epochs = Vec::new();
    for seed in 1..=seeds {
        epochs.push(prepared.ours(context, seed)?);
        epochs.push(joeynmt(&prepared, places, context, seed, get)?);
    }
    Ok(epochs)
}

fn joeynmt(
    prepared: &Prepared,
    places: &Places<'_>,
    context: &Context,
    seed: u64,
    get: &str,
) -> Result<Epoch, Box<dyn Error>> {
    let folder = &prepared.folder;
    let config = include_str!("reverse.yaml").replace("FOLDER", &folder.display().to_string());
    let config = config.replace("random_seed: 1", &format!("random_seed: {seed}"));
    fs::write(folder.join("reverse.yaml"), config)?;
    let mut command = Command::new(places.joeynmt);
    command.args(["-m", "joeynmt", "train"]).arg(folder.join("reverse.yaml")).arg("-t");
    command.env("OMP_NUM_THREADS", context.threads().to_string());
    output(&mut command, get)?;
    let log = fs::read_to_string(folder.join("joeynmt/train.log"))?;
    let after = |what: &str| {
        let found = log.lines().find_map(|line| Some(line.split_once(what)?.1));
        found.ok_or_else(|| format!("JoeyNMT's log does not tell its {what}"))
    };
    let epoch = after("num. of tokens: ")?.trim_end_matches("[sec]");
    let (tokens, seconds) = epoch.split_once(", ").ok_or("JoeyNMT's log is another")?;
    Ok(Epoch {
        side: "JoeyNMT 2.3.0".into(),
        seed,
        parameters: after("Total params: ")?.trim().parse()?,
        seconds: seconds.parse()?,
        tokens: tokens.parse()?,
        bleu: prepared.bleu_of("joeynmt/5000.hyps")?,
    })
}

/// What `multi30k.py` writes.
#[derive(Deserialize)]
struct Written {
    version: String,
    parameters: u64,
    seconds: f64,
    tokens: u64,
}

fn multi30k(
    folder: &Path,
    places: &Places<'_>,
    context: &Context,
    seeds: u64,
) -> Result<Vec<Epoch>, Box<dyn Error>> {
    let get = "python3 -m venv target/peers && target/peers/bin/pip install \
               -r benches/peers/requirements.txt";
    let data = places.data.ok_or(
        "W6 needs --data FOLDER with train.en, train.de, val.en and val.de, plain or gzip; \
         docs/reproduce.md says where from",
    )?;
    let script = || {
        let mut command = Command::new(places.python);
        command.arg("benches/peers/multi30k.py");
        command
    };
    output(script().arg("prepare").arg(data).arg(folder), get)?;
    let prepared = Prepared {
        folder: folder.into(),
        config: include_str!("multi30k.toml"),
        limits: Limits::default(),
        join: |line| line.replace(' ', "").replace("</w>", " "),
    };
    let threads = context.threads().to_string();
    let mut epochs = Vec::new();
    for seed in 1..=seeds {
        epochs.push(prepared.ours(context, seed)?);
        let train = [&threads, &seed.to_string()];
        let text = output(script().arg("train").arg(folder).args(train), get)?;
        let Written { version, parameters, seconds, tokens } = serde_json::from_str(&text)?;
        let bleu = prepared.bleu_of("hypotheses")?;
        epochs.push(Epoch { side: version, seed, parameters, seconds, tokens, bleu });
    }
    Ok(epochs)
}

/// What a program writes; where there is none, the error says how to get it.
fn output(command: &mut Command, get: &str) -> Result<String, Box<dyn Error>> {
    let program = command.get_program().display().to_string();
    let failed = |problem: String| format!("{program}: {problem}; get it with\n    {get}");
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(failed(output.status.to_string()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
