//! The quiz: a gradient is hidden until it is guessed.

use std::collections::BTreeMap;

use unspool_trace::Step;

use crate::app::App;
use crate::look::number;
use crate::what_if::place;

/// A guess is right when it is within 1% of the number, or within 0.001.
pub const TOLERANCE: (f64, f64) = (0.01, 1e-3);

/// Which question: the trace, the open nodes and the node.
type Asked = (usize, Vec<usize>, usize);

/// The guesses until now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quiz {
    answers: BTreeMap<Asked, (f64, bool)>,
    hints: usize,
}

/// A number to guess.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Which of the node's contributions.
    pub contribution: usize,
    /// Which of its numbers.
    pub element: usize,
    /// How it is written.
    pub name: String,
    answer: f64,
}

impl Quiz {
    /// How many guesses were right, of how many.
    pub fn score(&self) -> (usize, usize) {
        (self.answers.values().filter(|(_, right)| *right).count(), self.answers.len())
    }
}

/// Whether a guess is near enough.
fn is_right(guess: f64, answer: f64) -> bool {
    (guess - answer).abs() <= (TOLERANCE.0 * answer.abs()).max(TOLERANCE.1)
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
        if !self.is_backward() {
            self.go_to_pass(true);
        }
        self.say("quiz: enter guesses, y gives a hint, n goes on, z ends it and tells the score");
    }

    pub(crate) fn end_quiz(&mut self) {
        let Some(quiz) = self.quiz.take() else { return };
        let (right, all) = quiz.score();
        let lines = vec![
            format!("{right} of {all} right; hints: {}", quiz.hints),
            String::new(),
            tolerance(),
            "the same seed asks the same questions".into(),
        ];
        self.tell("Score", lines);
    }

    /// The question of this step, if there is one.
    pub fn question(&self) -> Option<Question> {
        self.quiz.as_ref()?;
        let Step::Backward(index) = self.current() else { return None };
        let node = self.trace().nodes.get(index)?;
        let whole: Vec<usize> = (node.contributions.iter().enumerate())
            .filter(|(_, part)| part.value.numbers().is_some_and(|numbers| !numbers.is_empty()))
            .map(|(number, _)| number)
            .collect();
        let contribution = *whole.get(drawn(self.seed(), index, whole.len()))?;
        let part = node.contributions.get(contribution)?;
        let numbers = part.value.numbers()?;
        // A zero is no question where there is something else.
        let told: Vec<usize> = (0..numbers.len()).filter(|&at| numbers[at] != 0.0).collect();
        let element = match told.is_empty() {
            true => 0,
            false => told[drawn(self.seed() ^ 1, index, told.len())],
        };
        let port = node.inputs.get(part.input)?;
        let time = match part.time {
            Some(time) if node.time.is_none() => format!(" at t={time}"),
            _ => String::new(),
        };
        let name = format!("d_{}{}{time}", port.name, place(&part.value.shape, element));
        Some(Question { contribution, element, name, answer: *numbers.get(element)? })
    }

    /// What was guessed here, and whether it was right.
    pub fn answer(&self) -> Option<(f64, bool)> {
        self.quiz.as_ref()?.answers.get(&self.asked()?).copied()
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
            None => "no question here; enter leaves: ".into(),
        }
    }

    pub(crate) fn guess(&mut self, text: &str) {
        let (Some(question), Some(asked)) = (self.question(), self.asked()) else {
            self.say("no question here: n goes on to the next");
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
        let right = is_right(guess, question.answer);
        let told = number(question.answer);
        self.say(match right {
            true => format!("right: {} = {told}", question.name),
            false => format!("wrong: {} = {told}, not {}", question.name, number(guess)),
        });
        if let Some(quiz) = &mut self.quiz {
            quiz.answers.insert(asked, (guess, right));
        }
    }

    pub(crate) fn hint(&mut self) {
        let (Some(question), Some((_, node))) = (self.question(), self.node()) else {
            self.say("hints are for the quiz: z begins one");
            return;
        };
        if self.answer().is_some() {
            self.say("this one is answered: n goes on to the next");
            return;
        }
        let port = node.contributions.get(question.contribution);
        let name = port.and_then(|part| node.inputs.get(part.input)).map(|port| &port.name);
        let rule =
            self.root().explanations.get(&node.explanation).zip(name).map(|(explanation, name)| {
                let rule = match explanation.rule(name) {
                    [] => explanation.backward.iter().flat_map(|rule| &rule.formulas).collect(),
                    rule => rule.iter().collect::<Vec<_>>(),
                };
                rule.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            });
        let rule = rule.unwrap_or_default();
        if let Some(quiz) = &mut self.quiz {
            quiz.hints += 1;
        }
        self.say(format!("hint: {rule}"));
    }

    /// Other numbers are other questions.
    pub(crate) fn forget_answers(&mut self) {
        if let Some(quiz) = &mut self.quiz {
            quiz.answers.clear();
        }
    }
}

/// What counts as right, in words.
pub fn tolerance() -> String {
    "right is within 1% of the number, or within 0.001".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guess_is_right_within_the_tolerance_that_is_told() {
        for (guess, answer, right) in [
            (1.0, 1.0, true),
            (1.0099, 1.0, true),
            (1.0101, 1.0, false),
            (-1.0, 1.0, false),
            (0.0009, 0.0, true),
            (0.0011, 0.0, false),
            (-99.0, -100.0, true),
        ] {
            assert_eq!(is_right(guess, answer), right, "{guess} for {answer}");
        }
    }
}
