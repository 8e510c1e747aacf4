//! The quiz: a gradient is hidden until it is guessed.

use std::collections::{BTreeMap, BTreeSet};

use unspool_trace::{Contribution, Step, Trace};

use crate::app::App;
use crate::hint::Rule;
use crate::look::number;
use crate::names;

/// A guess is right when it is within 1% of the number, or within 0.1% of its array's largest.
pub const TOLERANCE: (f64, f64) = (0.01, 0.001);

/// So many guesses can be made: the second for half a point.
pub const TRIES: usize = 2;

/// Which question: the trace, the open nodes and the node.
type Asked = (usize, Vec<usize>, usize);

/// The guesses until now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quiz {
    answers: BTreeMap<Asked, Answer>,
    hints: BTreeSet<Asked>,
}

/// What was guessed at a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// In their order.
    pub guesses: Vec<f64>,
    /// Whether the last of them is right.
    pub right: bool,
}

impl Answer {
    /// Whether there is no further guess.
    fn is_over(&self) -> bool {
        self.right || self.guesses.len() >= TRIES
    }

    fn points(&self) -> f64 {
        match (self.right, self.guesses.len()) {
            (true, 1) => 1.0,
            (true, _) => 0.5,
            _ => 0.0,
        }
    }
}

/// A number to guess.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Which of the node's contributions.
    pub contribution: usize,
    /// Which of its numbers.
    pub element: usize,
    /// What it is, in words.
    pub name: String,
    answer: f64,
    /// The largest number of its array.
    largest: f64,
}

impl Quiz {
    /// How many points there are, of how many.
    pub fn score(&self) -> (f64, usize) {
        // A sum of none would be −0.
        let points = self.answers.values().fold(0.0, |sum, answer| sum + answer.points());
        (points, self.answers.len())
    }
}

/// Whether a guess is near enough.
fn is_right(guess: f64, answer: f64, largest: f64) -> bool {
    (guess - answer).abs() <= (TOLERANCE.0 * answer.abs()).max(TOLERANCE.1 * largest)
}

/// The numbers of an array that can be asked for: a zero is no question, and what is not finite is no
/// answer.
fn askable(part: &Contribution) -> Vec<usize> {
    let numbers = part.value.numbers().unwrap_or_default();
    let asked = |at: &usize| numbers[*at] != 0.0 && numbers[*at].is_finite();
    (0..numbers.len()).filter(asked).collect()
}

/// A number below `count`, which the seed and the node determine (the mixer of SplitMix64).
fn drawn(seed: u64, node: usize, count: usize) -> usize {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(node as u64 + 1));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) % count.max(1) as u64) as usize
}

impl App {
    pub(crate) fn start_quiz(&mut self) {
        self.quiz = Some(Quiz::default());
        // The question stands on top.
        self.scroll = 0;
        // From the way forward, and from the end, to the first question.
        if !matches!(self.current(), Step::Backward(_)) {
            let trace = self.trace();
            let asks = |step: &Step| match *step {
                Step::Backward(node) => self.question_at(trace, node).is_some(),
                _ => false,
            };
            match trace.steps.iter().position(asks) {
                Some(step) => self.go_to_step(step),
                None => self.go_to_pass(true),
            }
        }
        self.say(match self.no_question() {
            Some(why) => format!("quiz: {why}; z ends it and tells the score"),
            None => "quiz: enter guesses, n goes on, z ends it and tells the score".into(),
        });
    }

    /// Why nothing is asked here, in words; `None` at a question, and without a quiz.
    pub(crate) fn no_question(&self) -> Option<&'static str> {
        match (&self.quiz, self.question()) {
            (None, _) | (_, Some(_)) => None,
            _ if self.asks_inside() => Some("no question here: i goes in"),
            _ => Some("no question here"),
        }
    }

    pub(crate) fn end_quiz(&mut self) {
        let Some(quiz) = self.quiz.take() else { return };
        let (points, all) = quiz.score();
        let lines = vec![
            format!("{points} of {all} points; hints: {}", quiz.hints.len()),
            String::new(),
            "a point for the first guess, half of one for the second".into(),
            tolerance(),
            "the same seed asks the same questions".into(),
        ];
        self.tell("Score", lines);
    }

    /// The question of this step, if there is one.
    pub fn question(&self) -> Option<Question> {
        self.quiz.as_ref()?;
        let Step::Backward(index) = self.current() else { return None };
        self.question_at(self.trace(), index)
    }

    /// The question at a node: of a gradient whose rule has no letter that lives inside of the node
    /// alone.
    fn question_at(&self, trace: &Trace, index: usize) -> Option<Question> {
        let node = trace.nodes.get(index)?;
        let explanation = self.root().explanations.get(&node.explanation);
        let can_be_found = |part: &Contribution| {
            Rule::new(trace, explanation, node, part).is_some_and(|rule| rule.is_on_screen())
        };
        let parts = node.contributions.iter().enumerate();
        let parts = parts.filter(|(_, part)| can_be_found(part));
        let asked = parts.map(|(number, part)| (number, askable(part)));
        let asked: Vec<_> = asked.filter(|(_, elements)| !elements.is_empty()).collect();
        let (contribution, elements) = asked.get(drawn(self.seed(), index, asked.len()))?;
        let part = node.contributions.get(*contribution)?;
        let numbers = part.value.numbers()?;
        let finite = numbers.iter().filter(|x| x.is_finite());
        let largest = finite.fold(0.0, |top, x| x.abs().max(top));
        // What nearly cancels is another number by what the screen rounds: the next one is asked for.
        let rule = Rule::new(trace, explanation, node, part)?;
        let fair = |element: &usize| match (rule.as_rounded(*element), numbers.get(*element)) {
            (Some(found), Some(&answer)) => is_right(found, answer, largest),
            _ => true,
        };
        let (before, from) = elements.split_at(drawn(self.seed() ^ 1, index, elements.len()));
        let element = *from.iter().chain(before).find(|element| fair(element))?;
        Some(Question {
            contribution: *contribution,
            element,
            name: names::number_added(trace, node, part, element),
            answer: *numbers.get(element)?,
            largest,
        })
    }

    /// Whether this node has no question but those that are still to be answered inside of it.
    pub fn asks_inside(&self) -> bool {
        if self.quiz.is_none() || self.question().is_some() {
            return false;
        }
        let Step::Backward(index) = self.current() else { return false };
        self.asks_in(self.trace(), index, &mut self.place.path.clone())
    }

    /// The same of a node of a trace inside of these open nodes.
    fn asks_in(&self, trace: &Trace, index: usize, path: &mut Vec<usize>) -> bool {
        let opened = trace.nodes.get(index).and_then(|node| node.opened.as_ref());
        let Some(inner) = opened.map(|opened| &opened.trace) else { return false };
        path.push(index);
        let any = inner.steps.iter().any(|step| match *step {
            Step::Backward(node) => match self.question_at(inner, node) {
                Some(_) => !self.is_answered(&(self.place.trace, path.clone(), node)),
                None => self.asks_in(inner, node, path),
            },
            _ => false,
        });
        path.pop();
        any
    }

    fn is_answered(&self, asked: &Asked) -> bool {
        let answer = self.quiz.as_ref().and_then(|quiz| quiz.answers.get(asked));
        answer.is_some_and(Answer::is_over)
    }

    /// Whether what goes out here is hidden.
    pub(crate) fn hides(&self) -> bool {
        self.has_question() || self.asks_inside()
    }

    /// The rule of the question.
    pub(crate) fn rule(&self) -> Option<Rule<'_>> {
        let question = self.question()?;
        let (_, node) = self.node()?;
        let part = node.contributions.get(question.contribution)?;
        Rule::new(self.trace(), self.root().explanations.get(&node.explanation), node, part)
    }

    /// What was guessed here, once it was right or there are no more tries.
    pub fn answer(&self) -> Option<&Answer> {
        let answer = self.quiz.as_ref()?.answers.get(&self.asked()?)?;
        answer.is_over().then_some(answer)
    }

    /// All guesses made here.
    pub(crate) fn guesses(&self) -> &[f64] {
        let answer = self.quiz.as_ref().zip(self.asked());
        let answer = answer.and_then(|(quiz, asked)| quiz.answers.get(&asked));
        answer.map_or(&[], |answer| &answer.guesses)
    }

    /// Whether a guess is still to be made here, so that what goes out is hidden.
    pub fn has_question(&self) -> bool {
        self.question().is_some() && self.answer().is_none()
    }

    fn asked(&self) -> Option<Asked> {
        let (node, _) = self.node()?;
        Some((self.place.trace, self.place.path.clone(), node))
    }

    pub(crate) fn guess_question(&self) -> String {
        match self.question() {
            Some(question) => format!("{} = ", question.name),
            None => "no question here: ".into(),
        }
    }

    pub(crate) fn guess(&mut self, text: &str) {
        let (Some(question), Some(asked)) = (self.question(), self.asked()) else {
            self.say("no question here");
            return;
        };
        if self.answer().is_some() {
            self.say("this one is answered: n goes on to the next");
            return;
        }
        let Some(guess) = text.parse::<f64>().ok().filter(|guess| guess.is_finite()) else {
            self.say("a guess is a number, such as -0.25");
            return;
        };
        let Some(quiz) = &mut self.quiz else { return };
        let answer = quiz.answers.entry(asked).or_default();
        answer.guesses.push(guess);
        answer.right = is_right(guess, question.answer, question.largest);
        let (name, told) = (&question.name, number(question.answer));
        let guess = number(guess);
        let told = match (answer.right, answer.guesses.len() < TRIES) {
            (true, _) => format!("right: {name} = {told}"),
            (false, true) => format!("wrong: not {guess}; once more, for half a point"),
            (false, false) => format!("wrong: {name} = {told}, not {guess}"),
        };
        self.say(told);
    }

    pub(crate) fn hint(&mut self) {
        if self.question().is_none() {
            self.say(match self.quiz {
                Some(_) => self.no_question().unwrap_or_default(),
                None => "hints are for the quiz: z begins one",
            });
            return;
        }
        if self.answer().is_some() {
            self.say("this one is answered: n goes on to the next");
            return;
        }
        if self.numbers_in_rule().is_none() {
            self.say("there is no more than the rule here");
            return;
        }
        if let (Some(asked), Some(quiz)) = (self.asked(), &mut self.quiz) {
            quiz.hints.insert(asked);
        }
        self.say("the hint stands beneath the question");
    }

    /// Whether there is a hint here.
    pub(crate) fn has_hint(&self) -> bool {
        self.has_question() && self.numbers_in_rule().is_some()
    }

    fn numbers_in_rule(&self) -> Option<String> {
        self.rule()?.with_numbers(self.question()?.element)
    }

    /// The hint that was asked for here.
    pub(crate) fn hint_shown(&self) -> Option<String> {
        let asked_for = self.quiz.as_ref()?.hints.contains(&self.asked()?);
        self.numbers_in_rule().filter(|_| asked_for)
    }

    /// Other numbers are other questions: the quiz begins anew. Says so, if there was anything.
    pub(crate) fn forget_answers(&mut self) -> &'static str {
        match &mut self.quiz {
            Some(quiz) if *quiz != Quiz::default() => {
                *quiz = Quiz::default();
                "; the quiz begins anew"
            }
            _ => "",
        }
    }
}

/// What counts as right, in words.
pub fn tolerance() -> String {
    "right is within 1% of the number, or within 0.1% of the array's largest".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_right_within_the_tolerance_that_is_told() {
        for (guess, answer, largest, right) in [
            (1.0, 1.0, 1.0, true),
            (1.0099, 1.0, 1.0, true),
            (1.0101, 1.0, 1.0, false),
            (-1.0, 1.0, 1.0, false),
            (0.00109, 1e-4, 1.0, true),
            (0.00111, 1e-4, 1.0, false),
            // Small beside nothing.
            (0.0, 5e-4, 5e-4, false),
            (5.04e-4, 5e-4, 5e-4, true),
            (-99.0, -100.0, 100.0, true),
        ] {
            assert_eq!(is_right(guess, answer, largest), right, "{guess} for {answer}");
        }
    }

    #[test]
    fn the_numbers_on_the_screen_come_to_the_answer() {
        use unspool_trace::lessons::LESSONS;

        use crate::{App, Options, look::Look};

        let (look, size) = (Look { colour: false, ascii: false }, (80, 24));
        let mut found = 0;
        for (seed, listed) in (1..9).flat_map(|seed| LESSONS.iter().map(move |one| (seed, one))) {
            // The longest is looked at once.
            if seed > 1 && listed.name == "encoder-decoder" {
                continue;
            }
            let options = Options { look, size, quiz: true, seed };
            let app = App::new(listed.lesson().unwrap(), options).unwrap();
            app.root().walk(&mut |path, trace, node| {
                let Some(question) = app.question_at(trace, path[path.len() - 1]) else { return };
                let part = &node.contributions[question.contribution];
                let explanation = app.root().explanations.get(&node.explanation);
                let rule = Rule::new(trace, explanation, node, part).unwrap();
                if let Some(x) = rule.as_rounded(question.element) {
                    found += 1;
                    let right = is_right(x, question.answer, question.largest);
                    assert!(right, "{} {x} is not {}", question.name, question.answer);
                }
            });
        }
        assert!(found > 1000, "{found} questions");
    }
}
