//! Sentences in English.

use super::grammar::{
    Determiner, NounPhrase, Object, Polarity, Predicate, Sentence, Subject, Tense, Time,
};
use super::lexicon::{ADJECTIVES, VERBS};

/// The sentence as words.
pub(super) fn words(sentence: &Sentence) -> Vec<&'static str> {
    let time = sentence.time.map(|time| match time {
        Time::Today => "today",
        Time::Now => "now",
        Time::Yesterday => "yesterday",
        Time::Tomorrow => "tomorrow",
    });
    let mut words: Vec<&'static str> = Vec::new();
    words.extend(time.filter(|_| sentence.time_first));
    match &sentence.subject {
        Subject::I => words.push("i"),
        Subject::He => words.push("he"),
        Subject::She => words.push("she"),
        Subject::They => words.push("they"),
        Subject::Phrase(phrase) => noun_phrase(phrase, false, &mut words),
    }
    match &sentence.predicate {
        Predicate::Be { adjective } => {
            to_be(sentence, &mut words);
            words.push(ADJECTIVES[*adjective].english);
        }
        Predicate::BeThere => to_be(sentence, &mut words),
        Predicate::Do { verb, object } => {
            to_do(sentence, VERBS[*verb].english, &mut words);
            words.extend(VERBS[*verb].particle.split_whitespace());
            let negated = sentence.polarity != Polarity::Positive && !VERBS[*verb].indirect;
            match object {
                None => {}
                Some(Object::Him) => words.push("him"),
                Some(Object::Her) => words.push("her"),
                Some(Object::Them) => words.push("them"),
                Some(Object::Phrase(phrase)) => noun_phrase(phrase, negated, &mut words),
            }
        }
    }
    if let Some((preposition, phrase)) = &sentence.place {
        words.extend(preposition.english().split(' '));
        noun_phrase(phrase, false, &mut words);
    }
    words.extend(time.filter(|_| !sentence.time_first));
    words
}

/// `negated`: the direct object of a negated verb, which has "any" for "some".
fn noun_phrase(phrase: &NounPhrase, negated: bool, words: &mut Vec<&'static str>) {
    let at = words.len();
    words.extend((0..2).filter_map(|place| phrase.adjective(place)).map(|word| word.english));
    words.push(phrase.noun().english[usize::from(phrase.plural)]);
    let before_vowel = words[at].starts_with(['a', 'e', 'i', 'o', 'u']);
    let determiner = match phrase.determiner {
        Determiner::The => "the",
        Determiner::A if before_vowel => "an",
        Determiner::A => "a",
        Determiner::This if phrase.plural => "these",
        Determiner::This => "this",
        Determiner::My => "my",
        Determiner::His => "his",
        Determiner::Her => "her",
        Determiner::Their => "their",
        Determiner::Some if negated => "any",
        Determiner::Some => "some",
        Determiner::Two => "two",
        Determiner::Many => "many",
    };
    words.insert(at, determiner);
}

/// The adverbs between an auxiliary and what follows it.
fn adverbs(sentence: &Sentence) -> impl Iterator<Item = &'static str> {
    let polarity = match sentence.polarity {
        Polarity::Positive => None,
        Polarity::Not => Some("not"),
        Polarity::Never => Some("never"),
    };
    polarity.into_iter().chain(sentence.often.then_some("often"))
}

fn to_be(sentence: &Sentence, words: &mut Vec<&'static str>) {
    let plural = sentence.subject.is_plural();
    words.push(match (sentence.tense, &sentence.subject) {
        (Tense::Present, Subject::I) => "am",
        (Tense::Present, _) if plural => "are",
        (Tense::Present, _) => "is",
        (Tense::Past, _) if plural => "were",
        (Tense::Past, _) => "was",
        (Tense::Future, _) => "will",
    });
    words.extend(adverbs(sentence));
    if sentence.tense == Tense::Future {
        words.push("be");
    }
}

fn to_do(sentence: &Sentence, forms: [&'static str; 3], words: &mut Vec<&'static str>) {
    let [infinitive, third_person, past] = forms;
    let third_singular = !sentence.subject.is_plural() && !matches!(sentence.subject, Subject::I);
    let auxiliary = match (sentence.tense, sentence.polarity) {
        (Tense::Future, _) => Some("will"),
        (Tense::Present, Polarity::Not) => Some(if third_singular { "does" } else { "do" }),
        (Tense::Past, Polarity::Not) => Some("did"),
        (Tense::Present | Tense::Past, Polarity::Positive | Polarity::Never) => None,
    };
    words.extend(auxiliary);
    words.extend(adverbs(sentence));
    words.push(match (auxiliary, sentence.tense) {
        (None, Tense::Past) => past,
        (None, _) if third_singular => third_person,
        _ => infinitive,
    });
}
