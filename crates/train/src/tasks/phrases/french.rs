//! Sentences in French.

use super::grammar::{
    Determiner, NounPhrase, Object, Polarity, Predicate, Sentence, Subject, Tense, Time,
};
use super::lexicon::{ADJECTIVES, Auxiliary, Gender, VERBS, Verb};

/// Avoir with "je", "il", "ils".
const AVOIR: [&str; 3] = ["ai", "a", "ont"];
/// Être, likewise: present, imperfect, and the future's stem.
const ETRE: [&str; 3] = ["suis", "est", "sont"];
const ETRE_IMPERFECT: [&str; 3] = ["étais", "était", "étaient"];
const ETRE_FUTURE_STEM: &str = "ser";
/// The endings of every future.
const FUTURE: [&str; 3] = ["ai", "a", "ont"];

/// The sentence as words. An elided word keeps its apostrophe and is a word: `l' homme`.
pub(super) fn words(sentence: &Sentence) -> Vec<String> {
    let time = sentence.time.map(|time| match time {
        Time::Today => "aujourd'hui",
        Time::Now => "maintenant",
        Time::Yesterday => "hier",
        Time::Tomorrow => "demain",
    });
    let mut words = Words::default();
    words.extend(time.filter(|_| sentence.time_first));
    match &sentence.subject {
        Subject::I => words.push("je"),
        Subject::He => words.push("il"),
        Subject::She => words.push("elle"),
        Subject::They => words.push("ils"),
        Subject::Phrase(phrase) => noun_phrase(phrase, false, &mut words),
    }
    let (gender, plural) = (sentence.subject.gender(), sentence.subject.is_plural());
    match &sentence.predicate {
        Predicate::Be { adjective } => {
            to_be(sentence, &mut words);
            words.push(agreeing(ADJECTIVES[*adjective].french, gender, plural, false));
        }
        Predicate::BeThere => to_be(sentence, &mut words),
        Predicate::Do { verb, object } => {
            to_do(sentence, &VERBS[*verb], object.as_ref(), &mut words);
        }
    }
    if let Some((preposition, phrase)) = &sentence.place {
        words.extend(preposition.french().split(' '));
        noun_phrase(phrase, false, &mut words);
    }
    words.extend(time.filter(|_| !sentence.time_first));
    contracted(elided(words.0))
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn push(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    fn extend<'w>(&mut self, words: impl IntoIterator<Item = &'w str>) {
        self.0.extend(words.into_iter().map(str::to_owned));
    }
}

/// `negated`: the direct object of a negated verb, whose indefinite article is "de".
fn noun_phrase(phrase: &NounPhrase, negated: bool, words: &mut Words) {
    let (noun, plural) = (phrase.noun(), phrase.plural);
    let name = noun.french[usize::from(plural)];
    let form = |place| {
        let adjective = phrase.adjective(place);
        // Only a word before the noun hears the noun's vowel.
        let vowel = place == 0 && begins_with_vowel_sound(name);
        adjective.map(|adjective| agreeing(adjective.french, noun.gender, plural, vowel))
    };
    let (before, after) = (form(0), form(1));
    let feminine = noun.gender == Gender::Feminine;
    let vowel = begins_with_vowel_sound(before.unwrap_or(name));
    // For words like "ma", which become "mon" where they would meet a vowel.
    let possessive = |masculine, feminine_form, plural_form| match (plural, feminine && !vowel) {
        (true, _) => plural_form,
        (false, true) => feminine_form,
        (false, false) => masculine,
    };
    words.push(match phrase.determiner {
        Determiner::The if plural => "les",
        Determiner::The if feminine => "la",
        Determiner::The => "le",
        Determiner::A | Determiner::Some if negated => "de",
        Determiner::A if feminine => "une",
        Determiner::A => "un",
        Determiner::This if plural => "ces",
        Determiner::This if feminine => "cette",
        Determiner::This if vowel => "cet",
        Determiner::This => "ce",
        Determiner::My => possessive("mon", "ma", "mes"),
        Determiner::His | Determiner::Her => possessive("son", "sa", "ses"),
        Determiner::Their if plural => "leurs",
        Determiner::Their => "leur",
        // "des" becomes "de" before an adjective.
        Determiner::Some if before.is_some() => "de",
        Determiner::Some => "des",
        Determiner::Two => "deux",
        Determiner::Many => "beaucoup",
    });
    if phrase.determiner == Determiner::Many {
        words.push("de");
    }
    words.extend(before);
    words.push(name);
    words.extend(after);
}

fn agreeing(
    forms: [&'static str; 5],
    gender: Gender,
    plural: bool,
    before_vowel: bool,
) -> &'static str {
    let [masculine, masculine_before_vowel, feminine, masculine_plural, feminine_plural] = forms;
    match (gender, plural) {
        (Gender::Masculine, false) if before_vowel => masculine_before_vowel,
        (Gender::Masculine, false) => masculine,
        (Gender::Feminine, false) => feminine,
        (Gender::Masculine, true) => masculine_plural,
        (Gender::Feminine, true) => feminine_plural,
    }
}

/// Which of the forms with "je", "il" and "ils" a subject takes.
fn person(subject: &Subject) -> usize {
    match subject {
        Subject::I => 0,
        _ if subject.is_plural() => 2,
        _ => 1,
    }
}

/// A conjugated verb with what stands around it: "ne", a pronoun, and the adverbs behind it.
fn conjugated(sentence: &Sentence, pronoun: Option<&str>, verb: &str, words: &mut Words) {
    let negation = match sentence.polarity {
        Polarity::Positive => None,
        Polarity::Not => Some("pas"),
        Polarity::Never => Some("jamais"),
    };
    words.extend(negation.map(|_| "ne"));
    words.extend(pronoun);
    words.push(verb);
    words.extend(negation);
    words.extend(sentence.often.then_some("souvent"));
}

/// What lasts was in the imperfect.
fn to_be(sentence: &Sentence, words: &mut Words) {
    let person = person(&sentence.subject);
    let verb = match sentence.tense {
        Tense::Present => ETRE[person].to_owned(),
        Tense::Past => ETRE_IMPERFECT[person].to_owned(),
        Tense::Future => format!("{ETRE_FUTURE_STEM}{}", FUTURE[person]),
    };
    conjugated(sentence, None, &verb, words);
}

fn to_do(sentence: &Sentence, verb: &Verb, object: Option<&Object>, words: &mut Words) {
    let subject = &sentence.subject;
    let person = person(subject);
    let pronoun = match (object, verb.auxiliary, verb.indirect) {
        (None, Auxiliary::Reflexive, _) => Some(if person == 0 { "me" } else { "se" }),
        (Some(Object::Him | Object::Her), _, true) => Some("lui"),
        (Some(Object::Them), _, true) => Some("leur"),
        (Some(Object::Him), _, false) => Some("le"),
        (Some(Object::Her), _, false) => Some("la"),
        (Some(Object::Them), _, false) => Some("les"),
        (Some(Object::Phrase(_)) | None, _, _) => None,
    };
    match sentence.tense {
        Tense::Present => conjugated(sentence, pronoun, verb.present[person], words),
        Tense::Future => {
            let future = format!("{}{}", verb.future_stem, FUTURE[person]);
            conjugated(sentence, pronoun, &future, words);
        }
        Tense::Past => {
            let (auxiliary, agreement) = match verb.auxiliary {
                Auxiliary::Avoir => (AVOIR, object_agreement(object, verb)),
                Auxiliary::Etre | Auxiliary::Reflexive => {
                    (ETRE, Some((subject.gender(), subject.is_plural())))
                }
            };
            conjugated(sentence, pronoun, auxiliary[person], words);
            let ending = match agreement {
                None | Some((Gender::Masculine, false)) => "",
                Some((Gender::Feminine, false)) => "e",
                Some((Gender::Masculine, true)) => "s",
                Some((Gender::Feminine, true)) => "es",
            };
            words.push(format!("{}{ending}", verb.participle));
        }
    }
    if let Some(Object::Phrase(phrase)) = object {
        words.extend(verb.indirect.then_some("à"));
        let negated = sentence.polarity != Polarity::Positive && !verb.indirect;
        noun_phrase(phrase, negated, words);
    }
}

/// With what a participle with "avoir" agrees: a direct object that stands before it.
fn object_agreement(object: Option<&Object>, verb: &Verb) -> Option<(Gender, bool)> {
    match object {
        Some(Object::Her) if !verb.indirect => Some((Gender::Feminine, false)),
        Some(Object::Them) if !verb.indirect => Some((Gender::Masculine, true)),
        _ => None,
    }
}

fn begins_with_vowel_sound(word: &str) -> bool {
    // The h of the other words is mute.
    word != "héros" && word.starts_with(['a', 'e', 'é', 'h', 'i', 'o', 'œ', 'u'])
}

/// Words that end in a mute vowel lose it before a vowel sound.
fn elided(words: Vec<String>) -> Vec<String> {
    let following = words.iter().skip(1).map(Some).chain([None]);
    let elide = |(word, next): (&String, Option<&String>)| {
        let meets_vowel = next.is_some_and(|next| begins_with_vowel_sound(next));
        match word.as_str() {
            "je" if meets_vowel => "j'".to_owned(),
            "ne" if meets_vowel => "n'".to_owned(),
            "me" if meets_vowel => "m'".to_owned(),
            "se" if meets_vowel => "s'".to_owned(),
            "de" if meets_vowel => "d'".to_owned(),
            "le" | "la" if meets_vowel => "l'".to_owned(),
            _ => word.clone(),
        }
    };
    words.iter().zip(following).map(elide).collect()
}

/// "à" and "de" melt together with "le" and "les", which are articles wherever they follow them.
fn contracted(words: Vec<String>) -> Vec<String> {
    let mut contracted: Vec<String> = Vec::with_capacity(words.len());
    for word in words {
        let melted = match (contracted.last().map(String::as_str), word.as_str()) {
            (Some("à"), "le") => "au",
            (Some("à"), "les") => "aux",
            (Some("de"), "le") => "du",
            (Some("de"), "les") => "des",
            _ => {
                contracted.push(word);
                continue;
            }
        };
        contracted.pop();
        contracted.push(melted.to_owned());
    }
    contracted
}
