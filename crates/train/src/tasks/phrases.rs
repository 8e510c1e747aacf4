//! The task `phrases`: English sentences and their French translations, from a small grammar.
//!
//! The two languages differ in ways that attention has to bridge:
//!
//! - articles, possessives, adjectives and some participles agree in gender and number, with
//!   nouns that may stand far away: *the cats … are tired*, *les chats … sont fatigués*;
//! - most adjectives stand behind the noun, a few before it: *a big red flower*, *une grande
//!   fleur rouge*;
//! - negation is two words around the verb: *does not sleep*, *ne dort pas*; the article of a
//!   negated object is *de*;
//! - pronouns that are objects stand before the verb: *i saw her*, *je l' ai vue*;
//! - past is the passé composé with *avoir*, *être* or a reflexive pronoun, but the imperfect of
//!   *to be*; present and future are one word in French, however many in English;
//! - adverbs move: *often sleeps*, *dort souvent*, *a souvent dormi*;
//! - words melt together: *l' homme*, *j' aime*, *au jardin*, *près des maisons*.
//!
//! There are 160 English words and 280 French ones, inflected forms counted apart. A sentence is
//! lower case, 3 to 14 tokens in each language, without punctuation. An elided
//! French word keeps its apostrophe and is a token of its own. English determines the French:
//! *i*, *they* and *them* are masculine, and there is no *you* and no *it*, whose translations
//! English does not tell.
//!
//! # Held-out combinations
//!
//! A *combination* is a noun with an adjective that is said of it, or the noun of a subject with
//! its verb. For each adjective and each verb, every eighth noun is held out, from a place that
//! the seed decides. No sentence in training has a held-out combination; each one in validation
//! and test has at least one. So these measure whether a model puts words together that it knows
//! only apart.

mod english;
mod french;
mod grammar;
mod lexicon;

use std::collections::HashSet;

use unspool_tensor::random::Key;

use super::{Choices, Sizes, Splits, Task, TaskError, collect};
use crate::data::read::Pair;
use grammar::{Combination, Sentence};

/// The fewest and the most tokens in a sentence, in both languages.
pub const LENGTHS: (usize, usize) = (3, 14);

/// Of so many nouns, one is held out with each adjective and each verb.
const HELD_OUT_STEP: u64 = 8;

pub(super) fn generate(key: Key, sizes: Sizes) -> Result<Splits, TaskError> {
    let [train, validation, test] =
        parts(key, sizes)?.map(|sentences| sentences.into_iter().map(|(_, pair)| pair).collect());
    Ok(Splits { train, validation, test, long: Vec::new() })
}

/// Training, validation and test, as sentences and their two languages.
fn parts(key: Key, sizes: Sizes) -> Result<[Vec<(Sentence, Pair)>; 3], TaskError> {
    let mut seen = HashSet::new();
    let mut part = |split, size, held_out: bool| {
        let key_of_split = key.named(split);
        collect(Task::Phrases, split, size, |i| {
            let sentence = Sentence::draw(&mut Choices::new(key_of_split.with(i)))?;
            if has_held_out(key, &sentence) != held_out {
                return None;
            }
            let pair = translated(&sentence)?;
            seen.insert(pair.source.clone()).then_some((sentence, pair))
        })
    };
    Ok([
        part("train", sizes.train, false)?,
        part("validation", sizes.validation, true)?,
        part("test", sizes.test, true)?,
    ])
}

/// Whether a combination of the sentence is kept out of training.
fn has_held_out(key: Key, sentence: &Sentence) -> bool {
    sentence.combinations().into_iter().any(|combination| is_held_out(key, combination))
}

fn is_held_out(key: Key, combination: Combination) -> bool {
    let (noun, offset) = match combination {
        Combination::Quality { noun, adjective } => {
            (noun, key.named("adjectives").below(adjective as u64, HELD_OUT_STEP))
        }
        Combination::Action { noun, verb } => {
            (noun, key.named("verbs").below(verb as u64, HELD_OUT_STEP))
        }
    };
    noun as u64 % HELD_OUT_STEP == offset
}

/// Both languages; `None` when the sentence is too short or too long in one of them.
fn translated(sentence: &Sentence) -> Option<Pair> {
    let (english, french) = (english::words(sentence), french::words(sentence));
    let fits = |length: usize| (LENGTHS.0..=LENGTHS.1).contains(&length);
    (fits(english.len()) && fits(french.len()))
        .then(|| Pair { source: english.join(" "), target: french.join(" ") })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::grammar::{
        Determiner, NounPhrase, Object, Polarity, Predicate, Subject, Tense, Time,
    };
    use super::lexicon::{ADJECTIVES, NOUNS, Preposition, VERBS};
    use super::*;

    /// The sentence of six parts: "present not often", and what may be empty.
    fn sentence(parts: [&str; 6]) -> Sentence {
        let [subject, manner, predicate, object, place, time] = parts;
        let subject = match subject {
            "i" => Subject::I,
            "he" => Subject::He,
            "she" => Subject::She,
            "they" => Subject::They,
            other => Subject::Phrase(noun_phrase(other)),
        };
        let has = |manner_word: &str| manner.split(' ').any(|word| word == manner_word);
        let adjective = |word: &str| ADJECTIVES.iter().position(|known| known.english == word);
        let predicate = match predicate.strip_prefix("be") {
            Some("") => Predicate::BeThere,
            Some(word) => Predicate::Be { adjective: adjective(word.trim()).expect(word) },
            None => Predicate::Do {
                verb: VERBS
                    .iter()
                    .position(|known| known.english[0] == predicate)
                    .expect(predicate),
                object: match object {
                    "" => None,
                    "him" => Some(Object::Him),
                    "her" => Some(Object::Her),
                    "them" => Some(Object::Them),
                    other => Some(Object::Phrase(noun_phrase(other))),
                },
            },
        };
        use Preposition::{Behind, In, InFrontOf, Near, On, Under, With};
        let place = [InFrontOf, In, On, Under, Behind, Near, With].into_iter().find_map(|known| {
            place.strip_prefix(known.english()).map(|phrase| (known, noun_phrase(phrase.trim())))
        });
        Sentence {
            subject,
            tense: match (has("past"), has("future")) {
                (true, _) => Tense::Past,
                (_, true) => Tense::Future,
                _ => Tense::Present,
            },
            polarity: match (has("not"), has("never")) {
                (true, _) => Polarity::Not,
                (_, true) => Polarity::Never,
                _ => Polarity::Positive,
            },
            often: has("often"),
            predicate,
            place,
            time: match time.trim_start_matches("first ") {
                "" => None,
                "today" => Some(Time::Today),
                "now" => Some(Time::Now),
                "yesterday" => Some(Time::Yesterday),
                "tomorrow" => Some(Time::Tomorrow),
                other => panic!("time {other}"),
            },
            time_first: time.starts_with("first"),
        }
    }

    fn noun_phrase(text: &str) -> NounPhrase {
        let words: Vec<&str> = text.split(' ').collect();
        let [determiner, between @ .., name] = &words[..] else { panic!("noun phrase {text}") };
        let noun = NOUNS.iter().position(|known| known.english.contains(name)).expect(text);
        let mut adjectives = [None; 2];
        for word in between {
            let known = ADJECTIVES.iter().position(|known| known.english == *word).expect(text);
            adjectives[usize::from(!ADJECTIVES[known].before)] = Some(known);
        }
        NounPhrase {
            determiner: match *determiner {
                "the" => Determiner::The,
                "a" | "an" => Determiner::A,
                "this" | "these" => Determiner::This,
                "my" => Determiner::My,
                "his" => Determiner::His,
                "her" => Determiner::Her,
                "their" => Determiner::Their,
                "some" => Determiner::Some,
                "two" => Determiner::Two,
                "many" => Determiner::Many,
                other => panic!("determiner {other}"),
            },
            plural: NOUNS[noun].english[1] == *name,
            adjectives,
            noun,
        }
    }

    #[test]
    fn translations_are_those_of_a_speaker() {
        let rows: [([&str; 6], &str, &str); 47] = [
            (
                ["the man", "present", "sleep", "", "in the garden", ""],
                "the man sleeps in the garden",
                "l' homme dort dans le jardin",
            ),
            (
                ["the black cats", "present not", "sleep", "", "", ""],
                "the black cats do not sleep",
                "les chats noirs ne dorment pas",
            ),
            (
                ["the hero", "past never", "sleep", "", "under a tree", ""],
                "the hero never slept under a tree",
                "le héros n' a jamais dormi sous un arbre",
            ),
            (["i", "present", "love", "an egg", "", ""], "i love an egg", "j' aime un œuf"),
            (
                ["i", "present not", "love", "the big red flowers", "", ""],
                "i do not love the big red flowers",
                "je n' aime pas les grandes fleurs rouges",
            ),
            (
                ["she", "past", "leave", "", "", "yesterday"],
                "she left yesterday",
                "elle est partie hier",
            ),
            (
                ["my old actresses", "past", "arrive", "", "", "first today"],
                "today my old actresses arrived",
                "aujourd'hui mes vieilles actrices sont arrivées",
            ),
            (
                ["my old actress", "future", "arrive", "", "", "tomorrow"],
                "my old actress will arrive tomorrow",
                "ma vieille actrice arrivera demain",
            ),
            (
                ["my actress", "present often", "wake", "", "", ""],
                "my actress often wakes up",
                "mon actrice se réveille souvent",
            ),
            (
                ["i", "past not", "wake", "", "", ""],
                "i did not wake up",
                "je ne me suis pas réveillé",
            ),
            (
                ["they", "past often", "wake", "", "", ""],
                "they often woke up",
                "ils se sont souvent réveillés",
            ),
            (
                ["his tired women", "past never", "wake", "", "", ""],
                "his tired women never woke up",
                "ses femmes fatiguées ne se sont jamais réveillées",
            ),
            (
                ["he", "future not often", "wake", "", "", ""],
                "he will not often wake up",
                "il ne se réveillera pas souvent",
            ),
            (["he", "past", "see", "her", "", ""], "he saw her", "il l' a vue"),
            (
                ["he", "past not", "see", "them", "", ""],
                "he did not see them",
                "il ne les a pas vus",
            ),
            (
                ["i", "future", "see", "him", "near the houses", ""],
                "i will see him near the houses",
                "je le verrai près des maisons",
            ),
            (
                ["i", "past", "find", "her", "in front of this school", ""],
                "i found her in front of this school",
                "je l' ai trouvée devant cette école",
            ),
            (
                ["they", "present", "look", "her", "", "now"],
                "they look for her now",
                "ils la cherchent maintenant",
            ),
            (
                ["they", "present", "look", "her key", "", "now"],
                "they look for her key now",
                "ils cherchent sa clé maintenant",
            ),
            (
                ["he", "present never", "look", "her story", "", ""],
                "he never looks for her story",
                "il ne cherche jamais son histoire",
            ),
            (
                ["a boy", "present", "talk", "the men", "", ""],
                "a boy talks to the men",
                "un garçon parle aux hommes",
            ),
            (
                ["the queen", "past", "talk", "the old man", "", ""],
                "the queen talked to the old man",
                "la reine a parlé au vieil homme",
            ),
            (
                ["the queen", "past not", "talk", "her", "", ""],
                "the queen did not talk to her",
                "la reine ne lui a pas parlé",
            ),
            (
                ["the young girl", "future", "talk", "them", "", ""],
                "the young girl will talk to them",
                "la jeune fille leur parlera",
            ),
            (
                ["their horses", "present not", "talk", "the child", "", ""],
                "their horses do not talk to the child",
                "leurs chevaux ne parlent pas à l' enfant",
            ),
            (
                ["she", "past not", "talk", "some birds", "", ""],
                "she did not talk to some birds",
                "elle n' a pas parlé à des oiseaux",
            ),
            (
                ["the girl", "present not", "eat", "an apple", "", ""],
                "the girl does not eat an apple",
                "la fille ne mange pas de pomme",
            ),
            (
                ["the girl", "past never", "eat", "some eggs", "", ""],
                "the girl never ate any eggs",
                "la fille n' a jamais mangé d' œufs",
            ),
            (
                ["she", "present", "eat", "some white eggs", "", ""],
                "she eats some white eggs",
                "elle mange des œufs blancs",
            ),
            (
                ["two women", "past", "buy", "some new books", "", ""],
                "two women bought some new books",
                "deux femmes ont acheté de nouveaux livres",
            ),
            (
                ["i", "present", "buy", "a new hat", "", ""],
                "i buy a new hat",
                "j' achète un nouveau chapeau",
            ),
            (
                ["many friends", "future", "write", "many letters", "", ""],
                "many friends will write many letters",
                "beaucoup d' amis écriront beaucoup de lettres",
            ),
            (
                ["i", "past", "write", "a beautiful story", "on the table", ""],
                "i wrote a beautiful story on the table",
                "j' ai écrit une belle histoire sur la table",
            ),
            (
                ["he", "past", "lose", "them", "in the house", ""],
                "he lost them in the house",
                "il les a perdus dans la maison",
            ),
            (
                ["these keys", "past", "fall", "", "behind the small table", ""],
                "these keys fell behind the small table",
                "ces clés sont tombées derrière la petite table",
            ),
            (
                ["this beautiful tree", "present", "be strange", "", "", ""],
                "this beautiful tree is strange",
                "ce bel arbre est étrange",
            ),
            (
                ["this tree", "present", "be old", "", "", ""],
                "this tree is old",
                "cet arbre est vieux",
            ),
            (
                ["this hero", "future never", "be tired", "", "", ""],
                "this hero will never be tired",
                "ce héros ne sera jamais fatigué",
            ),
            (
                ["the queens", "past not often", "be happy", "", "with their children", ""],
                "the queens were not often happy with their children",
                "les reines n' étaient pas souvent heureuses avec leurs enfants",
            ),
            (
                ["i", "past", "be happy", "", "", "yesterday"],
                "i was happy yesterday",
                "j' étais heureux hier",
            ),
            (
                ["i", "present", "be", "", "near the garden", ""],
                "i am near the garden",
                "je suis près du jardin",
            ),
            (
                ["she", "present not", "be", "", "near a school", ""],
                "she is not near a school",
                "elle n' est pas près d' une école",
            ),
            (
                ["the apples", "future", "be", "", "on my table", "tomorrow"],
                "the apples will be on my table tomorrow",
                "les pommes seront sur ma table demain",
            ),
            (
                ["i", "future", "be small", "", "", "first tomorrow"],
                "tomorrow i will be small",
                "demain je serai petit",
            ),
            (
                ["the man", "present", "sing", "", "with an old friend", ""],
                "the man sings with an old friend",
                "l' homme chante avec un vieil ami",
            ),
            (
                ["a strange child", "past", "sing", "", "near the tree", ""],
                "a strange child sang near the tree",
                "un enfant étrange a chanté près de l' arbre",
            ),
            (
                ["the woman", "past", "love", "him", "", ""],
                "the woman loved him",
                "la femme l' a aimé",
            ),
        ];
        for (parts, english, french) in rows {
            let sentence = sentence(parts);
            assert_eq!(english::words(&sentence).join(" "), english);
            assert_eq!(french::words(&sentence).join(" "), french, "{english}");
        }
    }

    fn sample(size: usize) -> Vec<Sentence> {
        let key = Key::new(11).named("sample");
        let draw = |i| Sentence::draw(&mut Choices::new(key.with(i)));
        collect(Task::Phrases, "sample", size, draw).expect("sentences")
    }

    #[test]
    fn there_are_many_pairs_and_english_determines_french() {
        let mut translations: HashMap<String, String> = HashMap::new();
        let (mut english_words, mut french_words) = (HashSet::new(), HashSet::new());
        for pair in sample(150_000).iter().filter_map(translated) {
            for (text, words) in
                [(&pair.source, &mut english_words), (&pair.target, &mut french_words)]
            {
                assert!((LENGTHS.0..=LENGTHS.1).contains(&text.split(' ').count()), "{text}");
                words.extend(text.split(' ').map(str::to_owned));
            }
            let Pair { source, target } = pair;
            let known = translations.entry(source.clone()).or_insert(target.clone());
            assert_eq!(*known, target, "{source}");
        }
        assert!(translations.len() >= 100_000, "{} pairs", translations.len());
        assert_eq!((english_words.len(), french_words.len()), (160, 280));
    }

    /// Each noun of an English text with the adjectives before it.
    fn qualities(text: &str) -> Vec<Combination> {
        let mut qualities = Vec::new();
        let mut adjectives = Vec::new();
        for word in text.split(' ') {
            if let Some(noun) = NOUNS.iter().position(|known| known.english.contains(&word)) {
                let found = adjectives.drain(..);
                qualities.extend(found.map(|adjective| Combination::Quality { noun, adjective }));
            } else if let Some(adjective) =
                ADJECTIVES.iter().position(|known| known.english == word)
            {
                adjectives.push(adjective);
            } else {
                adjectives.clear();
            }
        }
        qualities
    }

    #[test]
    fn held_out_combinations_are_never_seen_in_training() {
        let sizes = Sizes { train: 20_000, validation: 500, test: 500, long: 0 };
        for seed in 0..3 {
            let key = Key::new(seed).named("phrases");
            let [train, validation, test] = parts(key, sizes).expect("sentences");
            let seen: HashSet<Combination> =
                train.iter().flat_map(|(sentence, _)| sentence.combinations()).collect();
            for (_, pair) in &train {
                for quality in qualities(&pair.source) {
                    assert!(seen.contains(&quality) && !is_held_out(key, quality), "{pair:?}");
                }
            }
            let words = |pair: &Pair| {
                let text = format!("{} {}", pair.source, pair.target);
                text.split(' ').map(str::to_owned).collect::<Vec<_>>()
            };
            let known: HashSet<String> = train.iter().flat_map(|(_, pair)| words(pair)).collect();
            for (sentence, pair) in validation.iter().chain(&test) {
                let new = sentence.combinations().into_iter().any(|pair| !seen.contains(&pair));
                assert!(new, "{pair:?}");
                for word in words(pair) {
                    assert!(known.contains(&word), "{word} of {pair:?} is not in training");
                }
            }
        }
    }
}
