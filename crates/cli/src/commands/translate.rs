//! `unspool translate`: standard input to standard output, or a prompt.

use std::error::Error;
use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedI64ValueParser;
use ndarray::Array2;
use unspool_decode::{Beam, Hypothesis, LengthPenalty, Sampling};
use unspool_seq2seq::batch::Source;
use unspool_seq2seq::vocabulary::{EOS, UNK};
use unspool_seq2seq::{Limits, Seq2Seq, SourceSide, Strategy, Translator};
use unspool_tensor::Context;
use unspool_tensor::random::Key;
use unspool_train::data::read::read_lines;
use unspool_train::data::vectors::parse_vectors;

use crate::console::{Console, Outcome, naming_stdout};
use crate::plot::{Heatmap, PictureFormat};
use crate::runs;

/// Translate lines of standard input, a file, or what you type
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool translate --model runs/demo                        a prompt
  echo \"the black cat sleeps\" | unspool translate --model runs/demo --beam 5
  unspool translate --model runs/m30k --input test.de --output test.out --beam 5
  unspool translate --model runs/a --model runs/b            both as one
  echo \"the black cat sleeps\" | unspool translate --model runs/demo --attention look.svg
  echo \"3 1 4\" | unspool translate --model runs/rev --top-p 0.9 --temperature 0.8 --seed 2")]
pub struct Translate {
    /// A run's folder or a checkpoint; several are averaged
    #[arg(long, required = true, value_name = "RUN")]
    model: Vec<PathBuf>,
    /// The file to translate, a sentence a line, plain or gzip
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The file to write; it appears when all is translated
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    search: SearchOptions,
    /// Draw the attention of each translation: out.svg, out-2.svg, …
    #[arg(long, value_name = "FILE")]
    attention: Option<PathBuf>,
    /// Print a JSON object for each sentence, with scores
    #[arg(long)]
    json: bool,
    /// Sentences at a time
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = batch_size())]
    batch: u16,
}

/// How translations are searched for.
#[derive(Clone, Debug, clap::Args)]
pub struct SearchOptions {
    /// The likeliest translations of a beam of this size; 1 is greedy
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = beam_size())]
    beam: u16,
    /// Give so many translations, the best first
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = beam_size())]
    n_best: u16,
    /// Compare translations by score / length^ALPHA
    #[arg(long, default_value_t = 1.0, value_name = "ALPHA", allow_negative_numbers = true)]
    length_penalty: f64,
    /// Draw at random from the likeliest tokens that have this probability together
    #[arg(long, value_name = "P", conflicts_with = "beam", allow_negative_numbers = true)]
    top_p: Option<f64>,
    /// Draw at random from so many tokens
    #[arg(long, value_name = "K", conflicts_with = "beam")]
    top_k: Option<usize>,
    /// Draw at random; below 1 sharpens, above 1 flattens
    #[arg(long, value_name = "T", conflicts_with = "beam", allow_negative_numbers = true)]
    temperature: Option<f64>,
    /// What random draws come from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The fewest tokens of a translation
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = length())]
    min_length: u32,
    /// The most tokens of a translation, its end included; else twice the source's and 20
    #[arg(long, value_name = "N", value_parser = length())]
    max_length: Option<u32>,
}

fn batch_size() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

/// More would only exhaust the memory.
fn beam_size() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1000)
}

/// As [`beam_size`].
fn length() -> RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=1_000_000)
}

impl SearchOptions {
    /// The strategy that the options ask for.
    pub fn strategy(&self) -> Result<Strategy, Box<dyn Error>> {
        if let Some(most) = self.max_length.filter(|&most| most <= self.min_length) {
            let least = self.min_length;
            let problem = "the most tokens include the end, so they are more than the fewest";
            return Err(format!("--max-length {most}, --min-length {least}: {problem}").into());
        }
        if !(self.length_penalty.is_finite() && self.length_penalty >= 0.0) {
            return Err(format!("--length-penalty {}: is at least 0", self.length_penalty).into());
        }
        let samples = self.top_p.is_some() || self.top_k.is_some() || self.temperature.is_some();
        if samples {
            if self.n_best > 1 {
                return Err("--n-best goes with --beam; a random draw gives one".into());
            }
            let default = Sampling::default();
            let sampling = Sampling {
                temperature: self.temperature.unwrap_or(default.temperature),
                top_k: self.top_k.or(default.top_k),
                top_p: self.top_p.unwrap_or(default.top_p),
            };
            return Ok(Strategy::Sample(sampling, Key::new(self.seed).named("sample")));
        }
        let (size, n_best) = (usize::from(self.beam), usize::from(self.n_best));
        if size == 1 && n_best == 1 {
            return Ok(Strategy::Greedy);
        }
        if n_best > size {
            let beam = self.beam;
            return Err(
                format!("--n-best {n_best} needs at least --beam {n_best}, not {beam}").into()
            );
        }
        let length_penalty = match self.length_penalty {
            0.0 => LengthPenalty::None,
            alpha => LengthPenalty::Average { alpha },
        };
        Ok(Strategy::Beam(Beam { size, n_best, length_penalty }))
    }

    /// The limits that the options ask for.
    pub fn limits(&self, attention: bool) -> Limits {
        let max_length = self.max_length.map(|most| most as usize);
        Limits { min_length: self.min_length as usize, max_length, attention }
    }
}

/// A source line as the model reads it.
pub fn source_of(model: &Seq2Seq<f32>, line: &str) -> Result<Source, Box<dyn Error>> {
    match model.source() {
        SourceSide::Tokens(vocabulary) => Ok(Source::Tokens(vocabulary.encode(line))),
        SourceSide::Vectors(statistics) => {
            Ok(Source::Vectors(parse_vectors(line, Some(statistics.mean.len()))?))
        }
    }
}

/// The source's positions in words, for pictures: one for each that is attended to.
pub fn source_labels(model: &Seq2Seq<f32>, line: &str, source: &Source) -> Vec<String> {
    match (model.source(), source) {
        (SourceSide::Tokens(vocabulary), Source::Tokens(tokens)) => {
            let segments = vocabulary.segmentation().segment(line);
            let mut labels: Vec<String> = (segments.into_iter().zip(tokens))
                .map(|(text, &token)| if token == UNK { format!("{text}?") } else { text.into() })
                .collect();
            labels.push(vocabulary.token(EOS).unwrap_or_default().into());
            labels
        }
        _ => (1..=source.length()).map(|position| position.to_string()).collect(),
    }
}

/// A hypothesis's tokens in words, with its end.
pub fn target_labels(model: &Seq2Seq<f32>, hypothesis: &Hypothesis) -> Vec<String> {
    let end = hypothesis.finished.then_some(EOS);
    (hypothesis.tokens.iter().copied().chain(end))
        .map(|token| model.target().token(token).unwrap_or("?").into())
        .collect()
}

/// Draws where a translation attended.
pub fn draw_attention(
    model: &Seq2Seq<f32>,
    line: &str,
    source: &Source,
    hypothesis: &Hypothesis,
    out: &Path,
) -> Result<(), Box<dyn Error>> {
    let source = source_labels(model, line, source);
    let mut target = target_labels(model, hypothesis);
    target.truncate(hypothesis.attention.len());
    let heatmap =
        Heatmap { title: "", source: &source, target: &target, weights: &hypothesis.attention };
    Ok(heatmap.draw().save(out)?)
}

impl Translate {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        let strategy = self.search.strategy()?;
        if let Some(out) = &self.attention {
            PictureFormat::from_path(out)?;
        }
        // Found now rather than when all is translated.
        for path in [&self.output, &self.attention].into_iter().flatten() {
            check_place(path)?;
        }
        let checkpoints: Result<Vec<_>, _> =
            self.model.iter().map(|path| runs::load(path, &context, console)).collect();
        let checkpoints = checkpoints?;
        let models: Vec<&Seq2Seq<f32>> = checkpoints.iter().map(|c| &c.model).collect();
        let translator = Translator::new(&models)?;
        if self.attention.is_some() && models[0].config().attention.0.is_none() {
            return Err("--attention: the model has none".into());
        }
        if let Some(input) = &self.input {
            let lines = read_lines(input)?;
            self.translate_all(&translator, &strategy, console, lines.into_iter().map(Ok))?;
        } else if io::stdin().is_terminal() && self.output.is_none() {
            self.prompt(&translator, &strategy, console)?;
        } else {
            let lines = io::stdin().lock().split(b'\n').enumerate().map(|(index, line)| {
                let text = line.map_err(|error| error.to_string()).and_then(|line| text_of(&line));
                text.map_err(|error| format!("standard input, line {}: {error}", index + 1).into())
            });
            self.translate_all(&translator, &strategy, console, lines)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Every line, in batches; line n of the output belongs to line n of the input.
    fn translate_all(
        &self,
        translator: &Translator<'_, f32>,
        strategy: &Strategy,
        console: &Console,
        lines: impl Iterator<Item = Result<String, Box<dyn Error>>>,
    ) -> Result<(), Box<dyn Error>> {
        let mut whole = Vec::new();
        let (least, most) = lines.size_hint();
        let bar = match most {
            Some(most) if least == most => console.bar(most as u64, "sentences"),
            _ => indicatif::ProgressBar::hidden(),
        };
        let mut done = 0;
        let mut batch: Vec<String> = Vec::new();
        let mut lines = lines.peekable();
        while let Some(line) = lines.next() {
            batch.push(line?);
            if batch.len() < usize::from(self.batch) && lines.peek().is_some() {
                continue;
            }
            let text = self.translate_batch(translator, strategy, &batch, done)?;
            done += batch.len();
            bar.set_position(done as u64);
            batch.clear();
            match &self.output {
                Some(_) => whole.extend_from_slice(text.as_bytes()),
                None => {
                    let mut out = BufWriter::new(io::stdout().lock());
                    out.write_all(text.as_bytes())
                        .and_then(|()| out.flush())
                        .map_err(naming_stdout)?;
                }
            }
        }
        bar.finish_and_clear();
        if let Some(output) = &self.output {
            unspool_train::checkpoint::write_atomically(output, &whole)
                .map_err(|error| format!("{}: {error}", output.display()))?;
        }
        Ok(())
    }

    /// A batch of lines as the text to print; `first` is the number of the first, from 0. What is
    /// blank stays blank.
    fn translate_batch(
        &self,
        translator: &Translator<'_, f32>,
        strategy: &Strategy,
        lines: &[String],
        first: usize,
    ) -> Result<String, Box<dyn Error>> {
        let model = translator.model();
        let sources: Result<Vec<Source>, Box<dyn Error>> = (lines.iter().enumerate())
            .map(|(index, line)| {
                if is_blank(line) {
                    return Ok(stand_in(model));
                }
                source_of(model, line)
                    .map_err(|e| format!("line {}: {e}", first + index + 1).into())
            })
            .collect();
        let sources = sources?;
        let all: Vec<&Source> = sources.iter().collect();
        let limits = self.search.limits(self.attention.is_some() || self.json);
        let numbers: Vec<usize> = (first..first + all.len()).collect();
        let mut found = translator.translate(&all, strategy, limits, &numbers)?;
        for (hypotheses, _) in found.iter_mut().zip(lines).filter(|(_, line)| is_blank(line)) {
            *hypotheses = vec![Hypothesis { finished: true, ..Hypothesis::default() }];
        }
        let mut text = String::new();
        for (index, hypotheses) in found.iter().enumerate() {
            let number = first + index + 1;
            let best = hypotheses.first().filter(|best| !best.attention.is_empty());
            if let (Some(out), Some(best)) = (&self.attention, best) {
                let path = numbered(out, number);
                draw_attention(model, &lines[index], &sources[index], best, &path)?;
            }
            text += &match self.json {
                true => json_line(model, &lines[index], hypotheses),
                false => plain_lines(model, hypotheses, number, self.search.n_best),
            };
        }
        Ok(text)
    }

    fn prompt(
        &self,
        translator: &Translator<'_, f32>,
        strategy: &Strategy,
        console: &Console,
    ) -> Result<(), Box<dyn Error>> {
        console.say("Type a sentence and press Enter; Ctrl-D ends.");
        let mut editor = rustyline::DefaultEditor::new()?;
        let mut number = 0;
        loop {
            match editor.readline("> ") {
                Ok(line) if is_blank(&line) => {}
                Ok(line) => {
                    editor.add_history_entry(&line)?;
                    match self.translate_batch(translator, strategy, &[line], number) {
                        Ok(text) => {
                            io::stdout()
                                .lock()
                                .write_all(text.as_bytes())
                                .map_err(naming_stdout)?;
                        }
                        Err(error) => {
                            console.fail(error.as_ref());
                        }
                    }
                    number += 1;
                }
                Err(rustyline::error::ReadlineError::Eof) => return Ok(()),
                Err(rustyline::error::ReadlineError::Interrupted) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// What stands in a batch for a blank line, so that the others keep their numbers and random draws.
fn stand_in(model: &Seq2Seq<f32>) -> Source {
    match model.source() {
        SourceSide::Tokens(_) => Source::Tokens(Vec::new()),
        SourceSide::Vectors(statistics) => {
            Source::Vectors(Array2::zeros((1, statistics.mean.len())))
        }
    }
}

/// A line of standard input, without its end or a byte order mark.
fn text_of(line: &[u8]) -> Result<String, String> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&0) {
        return Err("not a text: it has a zero byte".into());
    }
    Ok(std::str::from_utf8(line).map_err(|_| "not valid UTF-8")?.into())
}

/// Checks that there is a folder to write a file in.
fn check_place(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err(format!("{}: is a directory, not a file", path.display()));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(format!("{}: there is no folder {}", path.display(), folder.display()))
        }
        _ => Ok(()),
    }
}

fn plain_lines(
    model: &Seq2Seq<f32>,
    hypotheses: &[Hypothesis],
    number: usize,
    n_best: u16,
) -> String {
    let text = |hypothesis: &Hypothesis| model.target().decode(&hypothesis.tokens);
    if n_best == 1 {
        return format!("{}\n", hypotheses.first().map(text).unwrap_or_default());
    }
    (hypotheses.iter())
        .map(|hypothesis| {
            format!("{number}\t{:.4}\t{}\n", hypothesis.normalised_score, text(hypothesis))
        })
        .collect()
}

fn json_line(model: &Seq2Seq<f32>, line: &str, hypotheses: &[Hypothesis]) -> String {
    let hypotheses: Vec<_> = (hypotheses.iter())
        .map(|hypothesis| {
            serde_json::json!({
                "text": model.target().decode(&hypothesis.tokens),
                "tokens": target_labels(model, hypothesis),
                "log_probability": hypothesis.score,
                "score": hypothesis.normalised_score,
                "finished": hypothesis.finished,
                "attention": hypothesis.attention,
            })
        })
        .collect();
    format!("{}\n", serde_json::json!({ "source": line, "translations": hypotheses }))
}

/// `out.svg` for the first sentence, then `out-2.svg`, and so on.
fn numbered(out: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return out.into();
    }
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let extension = out.extension().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{stem}-{number}.{extension}"))
}
