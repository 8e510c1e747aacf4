//! `unspool eval`: how good a model's translations, or any two files, are.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use unspool_seq2seq::batch::Example;
use unspool_seq2seq::{Seq2Seq, SourceSide};
use unspool_tensor::Context;
use unspool_train::data::read::{Pair, read_lines, read_parallel, read_tsv};
use unspool_train::data::vectors::read_vectors;
use unspool_train::dataset::{task_splits, text_examples, vector_examples};
use unspool_train::evaluate::evaluate;
use unspool_train::metrics::bleu::{Bleu, BleuScore, Tokenization};

use super::search::SearchOptions;
use crate::console::{Console, Outcome, print};
use crate::runs;

/// Score a model, or a file of translations
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  unspool eval --model runs/demo                              its task's test part
  unspool eval --model runs/rev --split long                  longer than any trained on
  unspool eval --model runs/m30k --data test.de test.en --beam 5
  unspool eval --hypotheses out.txt --references test.en --tokenisation 13a")]
pub struct Eval {
    /// A run's folder or a checkpoint
    #[arg(long, value_name = "RUN", required_unless_present = "hypotheses")]
    model: Option<PathBuf>,
    /// The pairs to score it on: source and target file, or one TSV; plain or gzip
    #[arg(long, num_args = 1..=2, value_name = "FILE", requires = "model")]
    data: Vec<PathBuf>,
    /// The part of its built-in task to score it on: train, validation, test or long
    #[arg(long, default_value = "test", conflicts_with = "data", value_name = "PART")]
    split: String,
    /// Translations, a sentence a line
    #[arg(long, value_name = "FILE", requires = "references")]
    #[arg(conflicts_with_all = ["model", "data"])]
    hypotheses: Option<PathBuf>,
    /// Their references; several files for several references
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "hypotheses")]
    #[arg(conflicts_with = "model")]
    references: Vec<PathBuf>,
    /// How BLEU sees words: none or 13a; a model's default is what it was trained with
    #[arg(long, value_name = "NAME", value_parser = ["none", "13a"])]
    tokenisation: Option<String>,
    /// Ignore case
    #[arg(long)]
    lowercase: bool,
    #[command(flatten)]
    search: SearchOptions,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Eval {
    /// Runs the subcommand.
    pub fn run(self, console: &Console, context: Context) -> Outcome {
        match &self.model {
            Some(model) => self.score_model(model, console, &context)?,
            None => self.score_files()?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn bleu(&self, default: Tokenization) -> Bleu {
        let tokenization = match self.tokenisation.as_deref() {
            Some("13a") => Tokenization::Mteval13a,
            Some(_) => Tokenization::None,
            None => default,
        };
        Bleu { tokenization, lowercase: self.lowercase, ..Bleu::default() }
    }

    fn score_files(&self) -> Result<(), Box<dyn Error>> {
        let Some(hypotheses) = &self.hypotheses else { return Ok(()) };
        let hypotheses = read_lines(hypotheses)?;
        let references: Result<Vec<Vec<String>>, _> =
            self.references.iter().map(|path| read_lines(path)).collect();
        let references = references?;
        for (path, lines) in self.references.iter().zip(&references) {
            if lines.len() != hypotheses.len() {
                let (path, found, wanted) = (path.display(), lines.len(), hypotheses.len());
                return Err(format!("{path}: {found} lines, but {wanted} hypotheses").into());
            }
        }
        let references: Vec<&[String]> = references.iter().map(Vec::as_slice).collect();
        let score = self.bleu(Tokenization::Mteval13a).score(&hypotheses, &references)?;
        Ok(print(if self.json { bleu_json(&score).to_string() } else { score.to_string() })?)
    }

    fn score_model(
        &self,
        path: &Path,
        console: &Console,
        context: &Context,
    ) -> Result<(), Box<dyn Error>> {
        let strategy = self.search.strategy()?;
        // Sentences are shared out over the threads, so each is computed on one.
        let checkpoint = runs::load(path, &context.for_shard(0), console)?;
        let model = &checkpoint.model;
        let ((examples, references), left_out) = match self.data.as_slice() {
            files if !files.is_empty() => read_examples(model, files)?,
            _ => {
                if checkpoint.config.data.task.is_empty() {
                    return Err("--data: which files shall the model be scored on?".into());
                }
                let splits = task_splits(&checkpoint.config)?;
                let named = splits.named().find(|(name, _)| *name == self.split);
                let (_, pairs) = named.ok_or_else(|| {
                    let names: Vec<_> = splits.named().map(|(name, _)| name).collect();
                    format!("--split {}: the task has {}", self.split, names.join(", "))
                })?;
                (encode(model, pairs)?, 0)
            }
        };
        let bleu = self.bleu(checkpoint.config.training.bleu_tokenisation.into());
        if left_out > 0 {
            console.say(format!("{left_out} pairs with a blank side left out"));
        }
        console.say(format!("scoring {} sentences", examples.len()));
        let search = (&strategy, self.search.limits(false));
        let found = evaluate(model, context, &examples, &references, bleu, search)?;
        if self.json {
            let mut json = bleu_json(&found.bleu);
            json["loss"] = found.loss.into();
            json["perplexity"] = found.perplexity.into();
            json["token_accuracy"] = found.token_accuracy.into();
            json["sequence_accuracy"] = found.sequence_accuracy.into();
            json["sentences"] = examples.len().into();
            json["left_out"] = left_out.into();
            return Ok(print(json)?);
        }
        print(format!(
            "{} sentences: loss {:.4}, perplexity {}, tokens right {:.2}%, sequences right {:.2}%",
            examples.len(),
            found.loss,
            runs::perplexity(found.perplexity),
            100.0 * found.token_accuracy,
            100.0 * found.sequence_accuracy
        ))?;
        Ok(print(found.bleu)?)
    }
}

type Examples = (Vec<Example>, Vec<String>);

/// Text pairs as examples and references.
pub fn encode(model: &Seq2Seq<f32>, pairs: &[Pair]) -> Result<Examples, Box<dyn Error>> {
    let SourceSide::Tokens(source) = model.source() else {
        return Err("the model reads vectors, not text".into());
    };
    let references = pairs.iter().map(|pair| pair.target.clone()).collect();
    Ok((text_examples(pairs, source, model.target()), references))
}

/// The examples of two parallel files or one TSV, and how many pairs with a blank side it leaves
/// out.
fn read_examples(
    model: &Seq2Seq<f32>,
    files: &[PathBuf],
) -> Result<(Examples, usize), Box<dyn Error>> {
    match (model.source(), files) {
        (SourceSide::Tokens(_), files) => {
            let corpus = match files {
                [source, target] => read_parallel(source, target)?,
                [both] => read_tsv(both)?,
                _ => return Err("--data: takes two parallel files, or one TSV".into()),
            };
            Ok((encode(model, &corpus.pairs)?, corpus.skipped_blank))
        }
        (SourceSide::Vectors(statistics), [source, target]) => {
            let corpus = read_vectors(source, target)?;
            let references = corpus.pairs.iter().map(|pair| pair.target.clone()).collect();
            let length = statistics.mean.len();
            let examples = vector_examples(corpus.pairs, length, model.target());
            let examples = examples.map_err(|found| {
                let source = source.display();
                format!("{source}: frames of {found} numbers, but the model reads {length}")
            })?;
            Ok(((examples, references), corpus.skipped_blank))
        }
        (SourceSide::Vectors(_), _) => {
            Err("--data: takes two parallel files when the model reads vectors".into())
        }
    }
}

fn bleu_json(score: &BleuScore) -> serde_json::Value {
    serde_json::json!({
        "bleu": score.score,
        "signature": score.signature,
        "precisions": score.precisions,
        "brevity_penalty": score.brevity_penalty,
        "hypothesis_length": score.hypothesis_length,
        "reference_length": score.reference_length,
    })
}
