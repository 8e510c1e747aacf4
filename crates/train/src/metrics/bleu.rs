//! Corpus BLEU, the same number as sacrebleu's.
//!
//! The score is that of Papineni, Roukos, Ward and Zhu, "BLEU: a method for automatic evaluation
//! of machine translation" (2002); the smoothing methods are those of Chen and Cherry, "A
//! systematic comparison of smoothing techniques for sentence-level BLEU" (2014); the tokeniser
//! `13a` is the one of NIST's `mteval-v13a`. What they leave open is settled as in sacrebleu (Post,
//! "A call for clarity in reporting BLEU scores", 2018), and a [signature](Bleu::signature) names
//! the choices.

use std::collections::HashMap;
use std::fmt;

/// The longest n-grams that are counted.
pub const MAX_ORDER: usize = 4;

/// How a line becomes words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tokenization {
    /// Splits punctuation off as `mteval-v13a` does: for ordinary text.
    #[default]
    Mteval13a,
    /// Splits at white space only: for text that already is tokens.
    None,
}

/// What becomes of n-gram orders without a match, whose logarithm would be −∞.
///
/// Without a match of any order the score is 0 under each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Smoothing {
    /// The k-th such order counts as 2⁻ᵏ matches (method 3, `mteval-v13a`'s own).
    #[default]
    Exponential,
    /// Such an order counts as this many matches (method 1).
    Floor(f64),
    /// This many are added to matches and totals of all orders above 1 (method 2).
    AddK(f64),
    /// Nothing: one such order makes the score 0.
    None,
}

impl Smoothing {
    /// [`Smoothing::Floor`] with the paper's 0.1.
    pub const FLOOR: Self = Smoothing::Floor(0.1);
    /// [`Smoothing::AddK`] with the paper's 1.
    pub const ADD_K: Self = Smoothing::AddK(1.0);
}

/// The settings of a BLEU score.
///
/// ```
/// use unspool_train::metrics::bleu::Bleu;
///
/// let hypotheses = ["the cat sat on a mat."];
/// let references = ["the cat sat on the mat."];
/// let score = Bleu::default().score(&hypotheses, &[&references[..]])?;
/// assert_eq!(format!("{:.2}", score.score), "48.89");
/// # Ok::<(), unspool_train::metrics::bleu::BleuError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bleu {
    /// How lines become words.
    pub tokenization: Tokenization,
    /// What becomes of orders without a match.
    pub smoothing: Smoothing,
    /// Whether case is ignored.
    pub lowercase: bool,
}

/// A corpus's score and what it is made of. Prints as sacrebleu's one verbose line.
#[derive(Clone, Debug, PartialEq)]
pub struct BleuScore {
    /// BLEU, 0 to 100 (but for rounding).
    pub score: f64,
    /// The precision of each order in percent, after smoothing; all 0 when nothing matches.
    pub precisions: [f64; MAX_ORDER],
    /// How many of the hypotheses' n-grams of each order match, before smoothing.
    pub matches: [u64; MAX_ORDER],
    /// How many n-grams of each order the hypotheses have, before smoothing.
    pub totals: [u64; MAX_ORDER],
    /// `exp(1 − reference / hypothesis)` where the hypotheses are too short, else 1.
    pub brevity_penalty: f64,
    /// Words in all hypotheses.
    pub hypothesis_length: u64,
    /// Words in the references, for each hypothesis the one closest in length.
    pub reference_length: u64,
    /// The settings, as [`Bleu::signature`] writes them.
    pub signature: String,
}

/// Why there is no score.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BleuError {
    /// There is nothing to compare with.
    #[error("BLEU needs at least one reference for each hypothesis")]
    NoReferences,
    /// References and hypotheses do not pair up.
    #[error("{hypotheses} hypotheses but {references} references")]
    Unequal {
        /// The number of hypotheses.
        hypotheses: usize,
        /// The number of references in the first list that differs.
        references: usize,
    },
}

impl Bleu {
    /// Scores a corpus.
    ///
    /// `references` holds one list or more, each with one reference for each hypothesis.
    ///
    /// # Errors
    /// When there is no list of references, or one whose length is not the hypotheses'.
    pub fn score<H: AsRef<str>, R: AsRef<str>>(
        &self,
        hypotheses: &[H],
        references: &[&[R]],
    ) -> Result<BleuScore, BleuError> {
        if references.is_empty() {
            return Err(BleuError::NoReferences);
        }
        if let Some(list) = references.iter().find(|list| list.len() != hypotheses.len()) {
            return Err(BleuError::Unequal {
                hypotheses: hypotheses.len(),
                references: list.len(),
            });
        }
        let mut counts = Counts::default();
        for (i, hypothesis) in hypotheses.iter().enumerate() {
            let references: Vec<Vec<String>> =
                references.iter().map(|list| self.words(list[i].as_ref())).collect();
            counts.add(&self.words(hypothesis.as_ref()), &references);
        }
        Ok(self.score_of(&counts, self.signature(references.len())))
    }

    /// The settings in sacrebleu's notation; the version at its end is this crate's.
    ///
    /// `references` is the number of references for each hypothesis.
    pub fn signature(&self, references: usize) -> String {
        let case = if self.lowercase { "lc" } else { "mixed" };
        let tokenization = match self.tokenization {
            Tokenization::Mteval13a => "13a",
            Tokenization::None => "none",
        };
        let smoothing = match self.smoothing {
            Smoothing::Exponential => "exp".to_owned(),
            Smoothing::Floor(value) => format!("floor[{value:.2}]"),
            Smoothing::AddK(value) => format!("add-k[{value:.2}]"),
            Smoothing::None => "none".to_owned(),
        };
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "nrefs:{references}|case:{case}|eff:no|tok:{tokenization}|smooth:{smoothing}\
             |version:unspool-{version}"
        )
    }

    /// The words of a line, as this score counts them.
    pub fn words(&self, line: &str) -> Vec<String> {
        let lowered = if self.lowercase { line.to_lowercase() } else { String::new() };
        let line = if self.lowercase { &lowered } else { line };
        let line = line.trim_end_matches(is_space);
        let tokenized = match self.tokenization {
            Tokenization::Mteval13a => &tokenize_13a(line),
            Tokenization::None => line,
        };
        let words = tokenized.split(is_space);
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn score_of(&self, counts: &Counts, signature: String) -> BleuScore {
        let &Counts { matches, totals, hypothesis_length, reference_length } = counts;
        let brevity_penalty = if hypothesis_length >= reference_length {
            1.0
        } else if hypothesis_length == 0 {
            0.0
        } else {
            (1.0 - reference_length as f64 / hypothesis_length as f64).exp()
        };
        let (score, precisions) = if matches.iter().all(|&count| count == 0) {
            (0.0, [0.0; MAX_ORDER])
        } else {
            let precisions = self.precisions(&matches, &totals);
            let logarithms = precisions.iter().map(|precision| precision.ln()).sum::<f64>();
            // A precision of 0 has the logarithm −∞, and the mean the exponential 0.
            (brevity_penalty * (logarithms / MAX_ORDER as f64).exp(), precisions)
        };
        BleuScore {
            score,
            precisions,
            matches,
            totals,
            brevity_penalty,
            hypothesis_length,
            reference_length,
            signature,
        }
    }

    /// Smoothed precisions in percent. Orders longer than every hypothesis stay 0.
    fn precisions(
        &self,
        matches: &[u64; MAX_ORDER],
        totals: &[u64; MAX_ORDER],
    ) -> [f64; MAX_ORDER] {
        let mut precisions = [0.0; MAX_ORDER];
        let mut exponential = 1.0;
        for order in 0..MAX_ORDER {
            let added = match self.smoothing {
                Smoothing::AddK(k) if order > 0 => k,
                _ => 0.0,
            };
            let matches = matches[order] as f64 + added;
            let total = totals[order] as f64 + added;
            if total == 0.0 {
                break;
            }
            let smoothed = match self.smoothing {
                _ if matches != 0.0 => matches,
                Smoothing::Exponential => {
                    exponential /= 2.0;
                    exponential
                }
                Smoothing::Floor(floor) => floor,
                Smoothing::AddK(_) | Smoothing::None => 0.0,
            };
            precisions[order] = 100.0 * smoothed / total;
        }
        precisions
    }
}

impl fmt::Display for BleuScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p1, p2, p3, p4] = self.precisions;
        let ratio = match self.reference_length {
            0 => 0.0,
            length => self.hypothesis_length as f64 / length as f64,
        };
        write!(
            f,
            "BLEU|{} = {:.2} {p1:.1}/{p2:.1}/{p3:.1}/{p4:.1} \
             (BP = {:.3} ratio = {ratio:.3} hyp_len = {} ref_len = {})",
            self.signature,
            self.score,
            self.brevity_penalty,
            self.hypothesis_length,
            self.reference_length
        )
    }
}

/// What is summed over the sentences of a corpus.
#[derive(Default)]
struct Counts {
    matches: [u64; MAX_ORDER],
    totals: [u64; MAX_ORDER],
    hypothesis_length: u64,
    reference_length: u64,
}

impl Counts {
    fn add(&mut self, hypothesis: &[String], references: &[Vec<String>]) {
        // Of two references as close in length, the shorter.
        let lengths = references.iter().map(Vec::len);
        let closest = lengths.min_by_key(|&length| (length.abs_diff(hypothesis.len()), length));
        self.reference_length += closest.unwrap_or(0) as u64;
        self.hypothesis_length += hypothesis.len() as u64;
        for order in 1..=MAX_ORDER {
            // An n-gram matches at most as often as it stands in one of the references.
            let mut allowed: HashMap<&[String], u64> = HashMap::new();
            for reference in references {
                for (ngram, count) in ngrams(reference, order) {
                    let most = allowed.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(hypothesis, order) {
                self.totals[order - 1] += count;
                self.matches[order - 1] += count.min(allowed.get(ngram).copied().unwrap_or(0));
            }
        }
    }
}

fn ngrams(words: &[String], order: usize) -> HashMap<&[String], u64> {
    let mut counts = HashMap::new();
    for ngram in words.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// White space as Python's `str.split` has it: Unicode's, and the four ASCII separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `mteval-v13a`'s tokeniser: puts spaces around what it takes for a token of its own.
///
/// It is a cascade of substitutions. Each reads from left to right what the one before it wrote,
/// and goes on *behind* the characters that it replaced: of two full stops in a row that follow
/// a letter, only the first is seen as following a character that is no digit.
fn tokenize_13a(line: &str) -> String {
    let line = line.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let line = line.replace("&quot;", "\"").replace("&amp;", "&");
    let line = line.replace("&lt;", "<").replace("&gt;", ">");

    let mut spaced = vec![' '];
    for character in line.chars() {
        if is_symbol(character) {
            spaced.extend([' ', character, ' ']);
        } else {
            spaced.push(character);
        }
    }
    spaced.push(' ');
    let is_point = |character: char| matches!(character, '.' | ',');
    let is_digit = |character: char| character.is_ascii_digit();
    // A full stop or comma is split off unless a digit stands before it …
    let spaced = replace_pairs(&spaced, |first, second| {
        (!is_digit(first) && is_point(second)).then(|| vec![first, ' ', second, ' '])
    });
    // … and unless a digit stands behind it; a hyphen when a digit stands before it.
    let spaced = replace_pairs(&spaced, |first, second| {
        (is_point(first) && !is_digit(second)).then(|| vec![' ', first, ' ', second])
    });
    let spaced = replace_pairs(&spaced, |first, second| {
        (is_digit(first) && second == '-').then(|| vec![first, ' ', second, ' '])
    });
    spaced.into_iter().collect()
}

/// ASCII punctuation but for the full stop, comma, hyphen and apostrophe.
fn is_symbol(character: char) -> bool {
    character.is_ascii_punctuation() && !matches!(character, '.' | ',' | '-' | '\'')
}

/// Replaces pairs of neighbours, from left to right, without overlap.
fn replace_pairs(
    text: &[char],
    replacement: impl Fn(char, char) -> Option<Vec<char>>,
) -> Vec<char> {
    let mut replaced = Vec::with_capacity(text.len() * 2);
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let pair = tail.first().and_then(|&second| replacement(*first, second));
        if let (Some(new), [_, after @ ..]) = (pair, tail) {
            replaced.extend(new);
            rest = after;
        } else {
            replaced.push(*first);
            rest = tail;
        }
    }
    replaced
}
