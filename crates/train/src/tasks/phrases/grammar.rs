//! Sentences without a language: what both [`english`](super::english) and
//! [`french`](super::french) put into words, and how they are drawn at random.

use super::lexicon::{
    ADJECTIVES, Adjective, Gender, Kind, NOUNS, Noun, Preposition, Scope, VERBS, Verb,
};
use crate::tasks::Choices;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tense {
    Present,
    Past,
    Future,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Polarity {
    Positive,
    Not,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Determiner {
    The,
    /// Singular only.
    A,
    This,
    My,
    His,
    Her,
    Their,
    /// Plural only, as the next two.
    Some,
    Two,
    Many,
}

/// Nouns, adjectives and verbs are indices into the tables of the lexicon.
#[derive(Clone, Debug)]
pub(super) struct NounPhrase {
    pub determiner: Determiner,
    pub plural: bool,
    /// An adjective that stands before the noun in French, then one that stands behind it.
    pub adjectives: [Option<usize>; 2],
    pub noun: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// Masculine.
    I,
    He,
    She,
    /// Masculine.
    They,
    Phrase(NounPhrase),
}

#[derive(Clone, Debug)]
pub(super) enum Object {
    Him,
    Her,
    /// Masculine.
    Them,
    Phrase(NounPhrase),
}

#[derive(Clone, Debug)]
pub(super) enum Predicate {
    /// To do something, maybe to somebody or something.
    Do { verb: usize, object: Option<Object> },
    /// To be somehow.
    Be { adjective: usize },
    /// To be somewhere: the sentence's place.
    BeThere,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    Today,
    /// Present only.
    Now,
    /// Past only.
    Yesterday,
    /// Future only.
    Tomorrow,
}

#[derive(Clone, Debug)]
pub(super) struct Sentence {
    pub subject: Subject,
    pub tense: Tense,
    pub polarity: Polarity,
    pub often: bool,
    pub predicate: Predicate,
    pub place: Option<(Preposition, NounPhrase)>,
    pub time: Option<Time>,
    /// Whether the time comes first, not last.
    pub time_first: bool,
}

/// Words that a sentence brings together, as indices into the lexicon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Combination {
    /// A noun and an adjective that is said of it.
    Quality { noun: usize, adjective: usize },
    /// The noun of a subject, and its verb.
    Action { noun: usize, verb: usize },
}

impl NounPhrase {
    pub(super) fn noun(&self) -> &'static Noun {
        &NOUNS[self.noun]
    }

    pub(super) fn adjective(&self, place: usize) -> Option<&'static Adjective> {
        self.adjectives[place].map(|adjective| &ADJECTIVES[adjective])
    }
}

impl Subject {
    pub(super) fn is_plural(&self) -> bool {
        match self {
            Subject::They => true,
            Subject::Phrase(phrase) => phrase.plural,
            Subject::I | Subject::He | Subject::She => false,
        }
    }

    pub(super) fn gender(&self) -> Gender {
        match self {
            Subject::She => Gender::Feminine,
            Subject::Phrase(phrase) => phrase.noun().gender,
            Subject::I | Subject::He | Subject::They => Gender::Masculine,
        }
    }
}

impl Object {
    fn phrase(&self) -> Option<&NounPhrase> {
        match self {
            Object::Phrase(phrase) => Some(phrase),
            Object::Him | Object::Her | Object::Them => None,
        }
    }
}

impl Sentence {
    /// All combinations of words in the sentence.
    pub(super) fn combinations(&self) -> Vec<Combination> {
        let subject = match &self.subject {
            Subject::Phrase(phrase) => Some(phrase),
            _ => None,
        };
        let object = match &self.predicate {
            Predicate::Do { object, .. } => object.as_ref().and_then(Object::phrase),
            _ => None,
        };
        let place = self.place.as_ref().map(|(_, phrase)| phrase);
        let mut combinations = Vec::new();
        for phrase in [subject, object, place].into_iter().flatten() {
            for adjective in phrase.adjectives.into_iter().flatten() {
                combinations.push(Combination::Quality { noun: phrase.noun, adjective });
            }
        }
        if let Some(noun) = subject.map(|phrase| phrase.noun) {
            match self.predicate {
                Predicate::Do { verb, .. } => combinations.push(Combination::Action { noun, verb }),
                Predicate::Be { adjective } => {
                    combinations.push(Combination::Quality { noun, adjective });
                }
                Predicate::BeThere => {}
            }
        }
        combinations
    }

    /// Draws a sentence; `None` where the choices do not fit together.
    pub(super) fn draw(choices: &mut Choices) -> Option<Self> {
        let tense = choices.pick(&[Tense::Present, Tense::Past, Tense::Future])?;
        let polarity = match choices.below(10) {
            0..6 => Polarity::Positive,
            6..9 => Polarity::Not,
            _ => Polarity::Never,
        };
        let often = polarity != Polarity::Never && choices.percent(12);
        let (subject, predicate) = match choices.below(10) {
            0..2 => {
                let adjective = choices.below(ADJECTIVES.len());
                let subject = draw_subject(choices, |noun| fits(adjective, noun))?;
                let unfit = match &subject {
                    Subject::Phrase(phrase) => phrase.adjectives.contains(&Some(adjective)),
                    // Pronouns are people.
                    _ => ADJECTIVES[adjective].scope == Scope::NotPeople,
                };
                // "est nouveau" is not what "is new" means.
                if unfit || ADJECTIVES[adjective].scope == Scope::Things {
                    return None;
                }
                (subject, Predicate::Be { adjective })
            }
            2 => (draw_subject(choices, |_| true)?, Predicate::BeThere),
            _ => {
                let index = choices.below(VERBS.len());
                let verb = &VERBS[index];
                let subject = draw_subject(choices, |noun| verb.subjects.contains(&noun.kind))?;
                let object = if verb.objects.is_empty() {
                    None
                } else {
                    Some(draw_object(choices, verb, &subject)?)
                };
                (subject, Predicate::Do { verb: index, object })
            }
        };
        let place = if matches!(predicate, Predicate::BeThere) || choices.percent(30) {
            Some(draw_place(choices, &subject, &predicate)?)
        } else {
            None
        };
        let time = if often || polarity == Polarity::Never || !choices.percent(30) {
            None
        } else {
            let own = match tense {
                Tense::Present => Time::Now,
                Tense::Past => Time::Yesterday,
                Tense::Future => Time::Tomorrow,
            };
            choices.pick(&[Time::Today, own])
        };
        let time_first = time.is_some() && choices.percent(40);
        Some(Sentence { subject, tense, polarity, often, predicate, place, time, time_first })
    }
}

fn fits(adjective: usize, noun: &Noun) -> bool {
    match ADJECTIVES[adjective].scope {
        Scope::All => true,
        Scope::Beings => noun.kind.is_being(),
        Scope::Things => !noun.kind.is_being(),
        Scope::NotPeople => !noun.kind.is_person(),
    }
}

fn draw_subject(choices: &mut Choices, fits: impl Fn(&Noun) -> bool) -> Option<Subject> {
    if choices.percent(35) {
        // "i" has verb forms of its own in French: it comes up more often.
        return Some(match choices.below(5) {
            0 | 1 => Subject::I,
            2 => Subject::He,
            3 => Subject::She,
            _ => Subject::They,
        });
    }
    draw_phrase(choices, fits, true).map(Subject::Phrase)
}

fn draw_object(choices: &mut Choices, verb: &Verb, subject: &Subject) -> Option<Object> {
    if choices.percent(25) {
        // A pronoun in the singular is a person: "it" would not tell its gender.
        return match choices.below(3) {
            0 => Some(Object::Them),
            _ if !verb.objects.contains(&Kind::Person) => None,
            1 => Some(Object::Him),
            _ => Some(Object::Her),
        };
    }
    let object = draw_phrase(choices, |noun| verb.objects.contains(&noun.kind), true)?;
    match subject {
        Subject::Phrase(subject) if subject.noun == object.noun => None,
        _ => Some(Object::Phrase(object)),
    }
}

fn draw_place(
    choices: &mut Choices,
    subject: &Subject,
    predicate: &Predicate,
) -> Option<(Preposition, NounPhrase)> {
    let being = match subject {
        Subject::Phrase(phrase) => phrase.noun().kind.is_being(),
        Subject::I | Subject::He | Subject::She | Subject::They => true,
    };
    let sociable = match predicate {
        Predicate::Do { verb, .. } => VERBS[*verb].sociable,
        Predicate::Be { .. } => false,
        Predicate::BeThere => true,
    };
    if being && sociable && choices.percent(25) {
        let company = draw_phrase(choices, |noun| noun.kind.is_being(), true)?;
        return Some((Preposition::With, company));
    }
    let place = draw_phrase(choices, |noun| noun.kind == Kind::Place, false)?;
    let preposition = choices.pick(place.noun().prepositions)?;
    Some((preposition, place))
}

fn draw_phrase(
    choices: &mut Choices,
    fits_role: impl Fn(&Noun) -> bool,
    any_number: bool,
) -> Option<NounPhrase> {
    use Determiner::{A, Her, His, Many, My, Some as Several, The, Their, This, Two};
    let nouns: Vec<usize> = (0..NOUNS.len()).filter(|&noun| fits_role(&NOUNS[noun])).collect();
    let noun = choices.pick(&nouns)?;
    let plural = choices.percent(40);
    let determiner = match (plural, any_number) {
        (false, _) => choices.pick(&[The, The, The, A, A, A, This, My, His, Her, Their]),
        (true, true) => {
            choices.pick(&[The, The, The, Several, This, My, His, Her, Their, Two, Many])
        }
        (true, false) => choices.pick(&[The, The, The, This, My, His, Her, Their, Two]),
    }?;
    if NOUNS[noun].kind == Kind::Person && matches!(determiner, My | His | Her | Their) {
        return None;
    }
    let mut adjectives = [None; 2];
    for (place, adjective) in adjectives.iter_mut().enumerate() {
        if choices.percent(25) {
            let candidates: Vec<usize> = (0..ADJECTIVES.len())
                .filter(|&adjective| {
                    ADJECTIVES[adjective].before == (place == 0) && fits(adjective, &NOUNS[noun])
                })
                .collect();
            *adjective = choices.pick(&candidates);
        }
    }
    Some(NounPhrase { determiner, plural, adjectives, noun })
}
