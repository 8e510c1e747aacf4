//! Vocabularies: the numbering of words or characters that a model reads and writes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The number of an entry of a [`Vocabulary`].
pub type Token = u32;

/// Fills the rest of a row in a batch; never part of a sentence.
pub const PAD: Token = 0;
/// Stands for everything that the vocabulary does not hold.
pub const UNK: Token = 1;
/// Begins a target sentence.
pub const BOS: Token = 2;
/// Ends a sentence.
pub const EOS: Token = 3;

/// How the special tokens are written, by their number.
///
/// No text can produce them: a word in a text that is spelt like one is an unknown word.
pub const SPECIALS: [&str; 4] = ["<pad>", "<unk>", "<bos>", "<eos>"];

/// How a space is written where characters are tokens, so that it can be seen.
const VISIBLE_SPACE: &str = "␣";

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Segmentation {
    /// Whatever stands between white space. [`Vocabulary::decode`] puts one space between words.
    Word,
    /// Each Unicode scalar value. The space is written `␣`; a `␣` in a text is read as a space.
    Character,
}

impl Segmentation {
    /// The tokens of a text, in order, as the vocabulary spells them.
    pub fn segment(self, text: &str) -> Vec<&str> {
        match self {
            Segmentation::Word => text.split_whitespace().collect(),
            Segmentation::Character => text
                .char_indices()
                .map(|(start, character)| match character {
                    ' ' => VISIBLE_SPACE,
                    _ => &text[start..start + character.len_utf8()],
                })
                .collect(),
        }
    }

    /// Whether a token of this kind can be spelt so.
    fn allows(self, token: &str) -> bool {
        match self {
            Segmentation::Word => !token.is_empty() && !token.contains(char::is_whitespace),
            Segmentation::Character => token.chars().count() == 1 && token != " ",
        }
    }
}

/// Which tokens are kept when a vocabulary is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VocabularyLimits {
    /// Rarer tokens are left out. 0 and 1 keep all.
    pub min_frequency: u64,
    /// The most entries, the four special ones included; `None` is without limit.
    pub max_size: Option<usize>,
}

impl Default for VocabularyLimits {
    fn default() -> Self {
        VocabularyLimits { min_frequency: 1, max_size: None }
    }
}

/// A one-to-one numbering of tokens, the special ones first.
///
/// It is stored as its list of tokens in the order of their numbers, and checked when it is read.
///
/// ```
/// use unspool_seq2seq::vocabulary::{EOS, Segmentation, UNK, Vocabulary, VocabularyLimits};
///
/// let texts = ["the cat sleeps", "the dog"];
/// let words = Vocabulary::build(Segmentation::Word, texts, VocabularyLimits::default());
/// let tokens = words.encode("the cow sleeps");
/// assert_eq!(tokens[1], UNK);
/// assert_eq!(words.decode(&[&tokens[..], &[EOS]].concat()), "the <unk> sleeps");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Vocabulary {
    segmentation: Segmentation,
    tokens: Vec<String>,
    /// The ordinary tokens only: what a text can contain.
    ids: HashMap<String, Token>,
}

/// What is written into a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    segmentation: Segmentation,
    tokens: Vec<String>,
}

/// Why a list of tokens is not a vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// One of [`SPECIALS`] is not at its place.
    #[error("entry {id} of a vocabulary must be {expected}, not {found:?}")]
    Special {
        /// The number of the entry.
        id: usize,
        /// The special token that belongs there.
        expected: &'static str,
        /// What is there, if anything.
        found: Option<String>,
    },
    /// Two entries are the same.
    #[error("entries {first} and {second} of a vocabulary are both {token:?}")]
    Duplicate {
        /// The token.
        token: String,
        /// The number of the first of the two.
        first: usize,
        /// The number of the second.
        second: usize,
    },
    /// An entry that no text can contain: empty, with white space, or longer than a character.
    #[error("entry {id} of a vocabulary, {token:?}, is not a {segmentation:?} token")]
    Spelling {
        /// The number of the entry.
        id: usize,
        /// The token.
        token: String,
        /// What it should be.
        segmentation: Segmentation,
    },
    /// More entries than [`Token`] has numbers.
    #[error("a vocabulary of {size} entries is too large")]
    TooLarge {
        /// The number of entries.
        size: usize,
    },
}

impl Vocabulary {
    /// Counts the tokens of `texts` and numbers them by falling count.
    ///
    /// Tokens of equal count are numbered in the order of their Unicode scalar values, so the
    /// order of the texts does not matter. Tokens spelt like a special one are not counted.
    pub fn build<'t>(
        segmentation: Segmentation,
        texts: impl IntoIterator<Item = &'t str>,
        limits: VocabularyLimits,
    ) -> Self {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for text in texts {
            for token in segmentation.segment(text) {
                *counts.entry(token).or_default() += 1;
            }
        }
        for special in SPECIALS {
            counts.remove(special);
        }
        let mut kept: Vec<(&str, u64)> =
            counts.into_iter().filter(|&(_, count)| count >= limits.min_frequency).collect();
        kept.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        // No list that fits in memory as text exceeds the numbers, but the types do not know.
        let numbers = usize::try_from(Token::MAX).unwrap_or(usize::MAX);
        let size = limits.max_size.unwrap_or(numbers).min(numbers);
        kept.truncate(size.saturating_sub(SPECIALS.len()));
        let ordinary = kept.into_iter().map(|(token, _)| token.to_owned());
        Self::numbered(
            segmentation,
            SPECIALS.iter().map(|&name| name.to_owned()).chain(ordinary).collect(),
        )
    }

    /// A vocabulary from its whole list of tokens, in the order of their numbers.
    ///
    /// # Errors
    /// When the list does not begin with [`SPECIALS`], repeats a token, or holds one that no
    /// text can contain.
    pub fn from_tokens(
        segmentation: Segmentation,
        tokens: Vec<String>,
    ) -> Result<Self, VocabularyError> {
        for (id, expected) in SPECIALS.into_iter().enumerate() {
            let found = tokens.get(id);
            if found.is_none_or(|token| token != expected) {
                return Err(VocabularyError::Special { id, expected, found: found.cloned() });
            }
        }
        if Token::try_from(tokens.len()).is_err() {
            return Err(VocabularyError::TooLarge { size: tokens.len() });
        }
        let mut seen: HashMap<&str, usize> = HashMap::with_capacity(tokens.len());
        for (id, token) in tokens.iter().enumerate() {
            if let Some(first) = seen.insert(token, id) {
                let token = token.clone();
                return Err(VocabularyError::Duplicate { token, first, second: id });
            }
            if id >= SPECIALS.len() && !segmentation.allows(token) {
                let token = token.clone();
                return Err(VocabularyError::Spelling { id, token, segmentation });
            }
        }
        Ok(Self::numbered(segmentation, tokens))
    }

    /// `tokens` is known to begin with the special ones and to fit the numbers.
    fn numbered(segmentation: Segmentation, tokens: Vec<String>) -> Self {
        let ordinary = (0..).zip(&tokens).skip(SPECIALS.len());
        let ids = ordinary.map(|(id, token)| (token.clone(), id)).collect();
        Vocabulary { segmentation, tokens, ids }
    }

    /// The numbers of a text's tokens, [`UNK`] for each one unknown; without [`BOS`] and [`EOS`].
    pub fn encode(&self, text: &str) -> Vec<Token> {
        let tokens = self.segmentation.segment(text).into_iter();
        tokens.map(|token| self.id(token).unwrap_or(UNK)).collect()
    }

    /// The text of a row of tokens, up to the first [`EOS`].
    ///
    /// [`PAD`] and [`BOS`] are left out. [`UNK`] and numbers beyond the vocabulary give `<unk>`.
    pub fn decode(&self, tokens: &[Token]) -> String {
        let mut text = String::new();
        for &id in tokens.iter().take_while(|&&id| id != EOS) {
            if id == PAD || id == BOS {
                continue;
            }
            let token = self.token(id).unwrap_or(SPECIALS[UNK as usize]);
            match self.segmentation {
                Segmentation::Word if text.is_empty() => text.push_str(token),
                Segmentation::Word => text.extend([" ", token]),
                Segmentation::Character if token == VISIBLE_SPACE => text.push(' '),
                Segmentation::Character => text.push_str(token),
            }
        }
        text
    }

    /// How the token with this number is written, also a special one; `None` beyond the end.
    pub fn token(&self, id: Token) -> Option<&str> {
        self.tokens.get(usize::try_from(id).ok()?).map(String::as_str)
    }

    /// The number of a token that a text contains; `None` when it is unknown.
    ///
    /// The special tokens have constants instead: no text contains them.
    pub fn id(&self, token: &str) -> Option<Token> {
        self.ids.get(token).copied()
    }

    /// All tokens in the order of their numbers, the special ones first.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// How many entries there are, the four special ones included.
    pub fn size(&self) -> usize {
        self.tokens.len()
    }

    /// What a token of this vocabulary is.
    pub fn segmentation(&self) -> Segmentation {
        self.segmentation
    }
}

impl TryFrom<Stored> for Vocabulary {
    type Error = VocabularyError;

    fn try_from(stored: Stored) -> Result<Self, VocabularyError> {
        Vocabulary::from_tokens(stored.segmentation, stored.tokens)
    }
}

impl From<Vocabulary> for Stored {
    fn from(vocabulary: Vocabulary) -> Self {
        Stored { segmentation: vocabulary.segmentation, tokens: vocabulary.tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(texts: &[&str], min_frequency: u64, max_size: Option<usize>) -> Vocabulary {
        let limits = VocabularyLimits { min_frequency, max_size };
        Vocabulary::build(Segmentation::Word, texts.iter().copied(), limits)
    }

    #[test]
    fn tokens_are_numbered_by_count_and_then_by_spelling() {
        let rows: [(&str, u64, Option<usize>, &str); 8] = [
            ("b a c b", 1, None, "b a c"),
            ("c b\nb a", 0, None, "b a c"),
            ("b a c b", 2, None, "b"),
            ("b a c b", 3, None, ""),
            ("b a c b", 1, Some(6), "b a"),
            ("b a c b", 1, Some(0), ""),
            ("  été\tEst\u{a0}est ", 1, None, "Est est été"),
            ("<pad> a <eos> <unk> <bos> <s>", 1, None, "<s> a"),
        ];
        for (texts, min_frequency, max_size, expected) in rows {
            let texts: Vec<&str> = texts.lines().collect();
            let expected: Vec<&str> = expected.split_whitespace().collect();
            let vocabulary = words(&texts, min_frequency, max_size);
            assert_eq!(vocabulary.tokens()[..4], SPECIALS, "{texts:?}");
            assert_eq!(vocabulary.tokens()[4..], expected, "{texts:?}");
            assert_eq!(vocabulary.size(), 4 + expected.len());
        }
    }

    #[test]
    fn texts_become_tokens_and_tokens_texts() {
        let words = words(&["a b c"], 1, None);
        let limits = VocabularyLimits::default();
        let characters = Vocabulary::build(Segmentation::Character, ["ab é"], limits);
        // Equal counts: a, b, é and ␣ in the order of their scalar values.
        let rows: [(&Vocabulary, &str, &[Token], &str); 9] = [
            (&words, "", &[], ""),
            (&words, " c  a\n", &[6, 4], "c a"),
            (&words, "a x", &[4, UNK], "a <unk>"),
            (&words, "<pad> <unk> <bos> <eos> a", &[1, 1, 1, 1, 4], "<unk> <unk> <unk> <unk> a"),
            (&characters, "b a", &[5, 7, 4], "b a"),
            (&characters, " é ", &[7, 6, 7], " é "),
            (&characters, "a␣b", &[4, 7, 5], "a b"),
            (&characters, "a\tb", &[4, UNK, 5], "a<unk>b"),
            (&characters, "e\u{301}", &[UNK, UNK], "<unk><unk>"),
        ];
        for (vocabulary, text, tokens, back) in rows {
            assert_eq!(vocabulary.encode(text), tokens, "{text:?}");
            assert_eq!(vocabulary.decode(tokens), back, "{text:?}");
        }
    }

    #[test]
    fn decode_ends_at_eos_and_survives_foreign_numbers() {
        let vocabulary = words(&["a b"], 1, None);
        let rows: [(&[Token], &str); 5] = [
            (&[BOS, 4, PAD, 5, EOS, 4], "a b"),
            (&[EOS], ""),
            (&[], ""),
            (&[4, 6, 5], "a <unk> b"),
            (&[Token::MAX], "<unk>"),
        ];
        for (tokens, expected) in rows {
            assert_eq!(vocabulary.decode(tokens), expected, "{tokens:?}");
        }
    }

    #[test]
    fn ids_and_tokens_are_inverse() {
        let vocabulary = words(&["a b c"], 1, None);
        for id in 4..7 {
            let token = vocabulary.token(id).expect("an entry");
            assert_eq!(vocabulary.id(token), Some(id));
        }
        assert_eq!(vocabulary.token(PAD), Some("<pad>"));
        assert_eq!(vocabulary.token(7), None);
        assert_eq!(vocabulary.id("<pad>"), None);
    }

    #[test]
    fn a_damaged_list_is_refused() {
        use Segmentation::{Character, Word};
        let rows: [(Segmentation, &[&str], &str); 9] = [
            (Word, &[], "entry 0 of a vocabulary must be <pad>, not None"),
            (Word, &["<pad>", "<unk>", "<bos>"], "entry 3 of a vocabulary must be <eos>, not None"),
            (
                Word,
                &["<pad>", "<unk>", "<eos>", "<bos>"],
                "entry 2 of a vocabulary must be <bos>, not Some(\"<eos>\")",
            ),
            (
                Word,
                &["<pad>", "<unk>", "<bos>", "<eos>", "a", "b", "a"],
                "entries 4 and 6 of a vocabulary are both \"a\"",
            ),
            (
                Word,
                &["<pad>", "<unk>", "<bos>", "<eos>", "<pad>"],
                "entries 0 and 4 of a vocabulary are both \"<pad>\"",
            ),
            (
                Word,
                &["<pad>", "<unk>", "<bos>", "<eos>", ""],
                "entry 4 of a vocabulary, \"\", is not a Word token",
            ),
            (
                Word,
                &["<pad>", "<unk>", "<bos>", "<eos>", "a b"],
                "entry 4 of a vocabulary, \"a b\", is not a Word token",
            ),
            (
                Character,
                &["<pad>", "<unk>", "<bos>", "<eos>", "ab"],
                "entry 4 of a vocabulary, \"ab\", is not a Character token",
            ),
            (
                Character,
                &["<pad>", "<unk>", "<bos>", "<eos>", " "],
                "entry 4 of a vocabulary, \" \", is not a Character token",
            ),
        ];
        for (segmentation, tokens, expected) in rows {
            let tokens = tokens.iter().map(|&token| token.to_owned()).collect();
            let error = Vocabulary::from_tokens(segmentation, tokens).expect_err("damaged");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn it_is_stored_as_its_list_and_checked_when_read() {
        let vocabulary = words(&["a \"b\""], 1, None);
        let stored = toml::to_string(&vocabulary).expect("storable");
        assert_eq!(toml::from_str::<Vocabulary>(&stored), Ok(vocabulary));
        let damaged = toml::from_str::<Vocabulary>(&stored.replace("<bos>", "bos"));
        let message = damaged.expect_err("damaged").to_string();
        assert!(message.contains("must be <bos>"), "{message}");
    }

    proptest! {
        #[test]
        fn any_text_survives_and_the_known_ones_come_back(text in ".*", other in ".*") {
            let limits = VocabularyLimits::default();
            let known = [text.as_str()];
            let characters = Vocabulary::build(Segmentation::Character, known, limits);
            let back = characters.decode(&characters.encode(&text));
            prop_assert_eq!(back, text.replace('␣', " "));
            let words = Vocabulary::build(Segmentation::Word, known, limits);
            let back = words.decode(&words.encode(&text));
            prop_assert_eq!(back, text.split_whitespace().collect::<Vec<_>>().join(" "));
            for vocabulary in [characters, words] {
                vocabulary.decode(&vocabulary.encode(&other));
                let tokens = vocabulary.tokens().to_vec();
                let copy = Vocabulary::from_tokens(vocabulary.segmentation(), tokens);
                prop_assert_eq!(copy, Ok(vocabulary));
            }
        }
    }
}
