//! `unspool translate`: standard input to standard output, or a prompt.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedI64ValueParser;
use indicatif::ProgressBar;
use ndarray::Array2;
use unspool_decode::Hypothesis;
use unspool_seq2seq::batch::Source;
use unspool_seq2seq::vocabulary::{EOS, UNK};
use unspool_seq2seq::{Seq2Seq, SourceSide, Strategy, Translator};
use unspool_tensor::Context;
use unspool_train::data::read::read_lines;
use unspool_train::data::vectors::parse_vectors;

use super::search::SearchOptions;
use crate::console::{Console, Outcome, naming, print_whole};
use crate::{paths, runs};
use unspool_plot::{Heatmap, PictureFormat};

/// So many lines with unknown words are told one by one; the rest are counted.
const LINES_NOTED: usize = 10;

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

fn batch_size() -> RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
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
        let input = self.input.clone().unwrap_or("/dev/stdin".into());
        let models = self.model.iter().filter_map(|path| paths::checkpoint(path).ok());
        let read: Vec<PathBuf> = models.chain([input]).collect();
        for path in [&self.output, &self.attention].into_iter().flatten() {
            paths::check_writable(path)?;
            paths::check_apart(path, read.iter().map(PathBuf::as_path))?;
        }
        let checkpoints: Result<Vec<_>, _> =
            self.model.iter().map(|path| runs::load(path, &context, console)).collect();
        let checkpoints = checkpoints?;
        let models: Vec<&Seq2Seq<f32>> = checkpoints.iter().map(|c| &c.model).collect();
        let translator = Translator::new(&models)?;
        if self.attention.is_some() && models.iter().all(|m| m.config().attention.0.is_none()) {
            return Err(match models.len() {
                1 => "--attention: the model has none".into(),
                _ => "--attention: none of the models has any".into(),
            });
        }
        let mut work =
            Work { options: &self, translator, strategy, console, bar: ProgressBar::hidden() };
        if let Some(input) = &self.input {
            let lines = read_lines(input)?;
            work.bar = console.bar(lines.len() as u64, "sentences");
            work.translate_all(lines.into_iter().map(Ok))?;
        } else if io::stdin().is_terminal() && self.output.is_none() {
            work.prompt()?;
        } else {
            work.translate_all(io::stdin().lock().split(b'\n').map(|line| {
                line.map_err(|error| error.to_string()).and_then(|line| text_of(&line))
            }))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line to translate.
struct Line {
    text: String,
    /// What the model reads. Something stands in for a blank line, so that the others keep their
    /// numbers and random draws.
    source: Source,
    /// The words that the model does not know, each once.
    unknown: Vec<String>,
}

impl Line {
    fn new(model: &Seq2Seq<f32>, text: String) -> Result<Self, Box<dyn Error>> {
        let source = match model.source() {
            SourceSide::Vectors(statistics) if is_blank(&text) => {
                Source::Vectors(Array2::zeros((1, statistics.mean.len())))
            }
            _ if is_blank(&text) => Source::Tokens(Vec::new()),
            _ => source_of(model, &text)?,
        };
        let mut unknown: Vec<String> = Vec::new();
        if let (SourceSide::Tokens(vocabulary), false) = (model.source(), is_blank(&text)) {
            for word in vocabulary.segmentation().segment(&text) {
                if vocabulary.id(word).is_none() && !unknown.iter().any(|other| other == word) {
                    unknown.push(word.into());
                }
            }
        }
        Ok(Line { text, source, unknown })
    }
}

/// A translating under way.
struct Work<'a> {
    options: &'a Translate,
    translator: Translator<'a, f32>,
    strategy: Strategy,
    console: &'a Console,
    bar: ProgressBar,
}

impl Work<'_> {
    /// Says something without cutting through the progress bar.
    fn say(&self, text: impl Display) {
        self.bar.suspend(|| self.console.say(text));
    }

    /// Every line, in batches; line n of the output belongs to line n of the input. What stands
    /// before a line that cannot be read is translated.
    fn translate_all(
        &self,
        lines: impl Iterator<Item = Result<String, String>>,
    ) -> Result<(), Box<dyn Error>> {
        let model = self.translator.model();
        let mut lines = lines.enumerate().map(|(index, line)| {
            let line = line.map_err(Into::into).and_then(|text| Line::new(model, text));
            line.map_err(|error| {
                let input = self.options.input.as_ref();
                let input =
                    input.map_or("standard input".into(), |path| path.display().to_string());
                format!("{input}, line {}: {error}", index + 1)
            })
        });
        let (mut whole, mut done, mut with_unknown) = (String::new(), 0, 0);
        let mut failure = None;
        while failure.is_none() {
            let mut batch: Vec<Line> = Vec::new();
            while batch.len() < usize::from(self.options.batch) {
                match lines.next() {
                    Some(Ok(line)) => batch.push(line),
                    Some(Err(error)) => {
                        failure = Some(error);
                        break;
                    }
                    None => break,
                }
            }
            if batch.is_empty() {
                break;
            }
            for (number, line) in (done + 1..).zip(&batch).filter(|(_, l)| !l.unknown.is_empty()) {
                with_unknown += 1;
                if with_unknown <= LINES_NOTED {
                    self.note_unknown(number, line);
                }
            }
            let text = self.translate_batch(&batch, done)?;
            done += batch.len();
            self.bar.set_position(done as u64);
            match &self.options.output {
                Some(_) => whole += &text,
                None => print_whole(&text)?,
            }
        }
        self.bar.finish_and_clear();
        if with_unknown > LINES_NOTED {
            let more = with_unknown - LINES_NOTED;
            self.say(format!("{more} more lines have words that are not in the vocabulary"));
        }
        if let Some(error) = failure {
            return Err(error.into());
        }
        if let Some(output) = &self.options.output {
            unspool_train::checkpoint::write_atomically(output, whole.as_bytes())
                .map_err(|error| naming(output.display(), error))?;
        }
        Ok(())
    }

    fn note_unknown(&self, number: usize, line: &Line) {
        let unknown = line.unknown.join(", ");
        self.say(format!("line {number}: not in the vocabulary: {unknown}"));
    }

    /// A batch of lines as the text to print; `first` is the number of the first, from 0. What is
    /// blank stays blank.
    fn translate_batch(&self, lines: &[Line], first: usize) -> Result<String, Box<dyn Error>> {
        let (options, model) = (self.options, self.translator.model());
        let sources: Vec<&Source> = lines.iter().map(|line| &line.source).collect();
        let limits = options.search.limits(options.attention.is_some() || options.json);
        let numbers: Vec<usize> = (first..first + lines.len()).collect();
        let mut found = self.translator.translate(&sources, &self.strategy, limits, &numbers)?;
        for (hypotheses, _) in found.iter_mut().zip(lines).filter(|(_, l)| is_blank(&l.text)) {
            *hypotheses = vec![Hypothesis { finished: true, ..Hypothesis::default() }];
        }
        let mut text = String::new();
        for ((number, line), hypotheses) in (first + 1..).zip(lines).zip(&found) {
            if let Some(out) = &options.attention {
                let path = numbered(out, number);
                match hypotheses.first().filter(|best| !best.attention.is_empty()) {
                    Some(best) => draw_attention(model, &line.text, &line.source, best, &path)?,
                    None => self.say(format!(
                        "line {number}: nothing to draw, so there is no {}",
                        path.display()
                    )),
                }
            }
            text += &match options.json {
                true => json_line(model, line, hypotheses),
                false => plain_lines(model, hypotheses, number, options.search.n_best()),
            };
        }
        Ok(text)
    }

    fn prompt(&self) -> Result<(), Box<dyn Error>> {
        self.console.say("Type a sentence and press Enter; Ctrl-D ends.");
        let mut editor = rustyline::DefaultEditor::new()?;
        let mut number = 0;
        loop {
            match editor.readline("> ") {
                Ok(text) if is_blank(&text) => {}
                Ok(text) => {
                    editor.add_history_entry(&text)?;
                    match self.answer(text, number) {
                        Ok(text) => print_whole(&text)?,
                        Err(error) => {
                            self.console.fail(error.as_ref());
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

    /// What is printed for a line that was typed, the one after `number` others.
    fn answer(&self, text: String, number: usize) -> Result<String, Box<dyn Error>> {
        let line = Line::new(self.translator.model(), text)?;
        if !line.unknown.is_empty() {
            self.note_unknown(number + 1, &line);
        }
        self.translate_batch(&[line], number)
    }
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
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

fn json_line(model: &Seq2Seq<f32>, line: &Line, hypotheses: &[Hypothesis]) -> String {
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
    let object = serde_json::json!({
        "source": line.text,
        "unknown": line.unknown,
        "translations": hypotheses,
    });
    format!("{object}\n")
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
