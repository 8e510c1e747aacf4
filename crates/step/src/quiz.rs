//! The quiz: a gradient is hidden until it is guessed.

use std::collections::{BTreeMap, BTreeSet};

use unspool_trace::{Contribution, Step, Trace};

use crate::app::App;
use crate::hint::Rule;
use crate::look::number;
use crate::names;
use crate::prompt::Prompt;
use crate::walk::inside;

/// A guess is right when it is within 1% of the number, or within 0.1% of its array's largest.
pub const TOLERANCE: (f64, f64) = (0.01, 0.001);

/// So many guesses can be made: the second for half a point.
pub const TRIES: usize = 2;

/// What is smaller, beside what it is made of or beside its array's largest, is no question.
const NEGLIGIBLE: f64 = 1e-3;

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

/// What a quiz asks at a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Asks {
    /// For a number.
    Question(Question),
    /// For nothing here, but inside of the node, where something is still to be answered.
    Inside,
    /// For nothing.
    Nothing,
}

impl Asks {
    /// In words.
    pub(crate) fn words(&self) -> &str {
        match self {
            Asks::Question(question) => &question.name,
            Asks::Inside => "no question here: i goes in",
            Asks::Nothing => "no question here",
        }
    }
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

/// The largest number of an array, of those that are finite.
fn largest(part: &Contribution) -> f64 {
    let numbers = part.value.numbers().unwrap_or_default().iter();
    numbers.filter(|x| x.is_finite()).fold(0.0, |top, x| x.abs().max(top))
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
            let (trace, asked) = (self.trace(), self.asked_outside(&self.place.path));
            let asks = |step: &Step| match *step {
                Step::Backward(node) => self.asked_at(trace, node, &asked).is_some(),
                _ => false,
            };
            match trace.steps.iter().position(asks) {
                Some(step) => self.go_to_step(step),
                None => self.go_to_pass(true),
            }
        }
        self.say(match self.asks() {
            None | Some(Asks::Question(_)) => {
                "quiz: enter guesses, n goes on, z ends it and tells the score".into()
            }
            Some(none) => format!("quiz: {}; z ends it and tells the score", none.words()),
        });
    }

    /// What is asked here; `None` without a quiz.
    pub fn asks(&self) -> Option<Asks> {
        self.quiz.as_ref()?;
        Some(match (self.question(), self.current()) {
            (Some(question), _) => Asks::Question(question),
            (None, Step::Backward(index)) if self.asks_in(index) => Asks::Inside,
            _ => Asks::Nothing,
        })
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
        let trace = self.trace();
        let asked = self.asked_outside(&self.place.path);
        let (contribution, element) = self.asked_at(trace, index, &asked)?;
        let node = trace.nodes.get(index)?;
        let part = node.contributions.get(contribution)?;
        let shared = self.is_shared(node.inputs.get(part.input)?.slot);
        Some(Question {
            contribution,
            element,
            name: names::number_added(trace, node, part, element, shared),
            answer: *part.value.numbers()?.get(element)?,
            largest: largest(part),
        })
    }

    /// What is asked for at a node, by the number of the contribution and of the element: of a
    /// gradient whose rule has no letter that lives inside of the node alone, and that was not asked for
    /// as the whole gradient of one of these slots.
    fn asked_at(&self, trace: &Trace, index: usize, asked: &[usize]) -> Option<(usize, usize)> {
        let node = trace.nodes.get(index)?;
        let explanation = self.root().explanations.get(&node.explanation);
        let is_new = |part: &Contribution| {
            let slot = node.inputs.get(part.input).map(|port| port.slot);
            let again = slot.filter(|slot| asked.contains(slot));
            again.and_then(|slot| trace.values.get(slot)).is_none_or(|x| names::parts_of(x) > 1)
        };
        let found: Vec<(usize, usize)> = node
            .contributions
            .iter()
            .enumerate()
            .filter(|(_, part)| is_new(part))
            .filter_map(|(number, part)| {
                let rule = Rule::new(trace, explanation, node, part)?;
                Some((number, self.element_asked(&rule, part, index)?))
            })
            .collect();
        found.get(drawn(self.seed(), index, found.len())).copied()
    }

    /// The slots inside of these open nodes whose gradients are asked for outside.
    fn asked_outside(&self, path: &[usize]) -> Vec<usize> {
        let mut asked = Vec::new();
        for (depth, &index) in path.iter().enumerate() {
            let outside = inside(self.root(), path.get(..depth).unwrap_or_default());
            asked = self.asked_within(outside, index, &asked);
        }
        asked
    }

    /// The same inside of one more node. Its inputs are the first values inside.
    fn asked_within(&self, trace: &Trace, index: usize, asked: &[usize]) -> Vec<usize> {
        let Some(node) = trace.nodes.get(index) else { return Vec::new() };
        let here = self.asked_at(trace, index, asked);
        let here = here.and_then(|(part, _)| Some(node.contributions.get(part)?.input));
        let ports = node.inputs.iter().enumerate();
        let outside = ports.filter(|(_, port)| asked.contains(&port.slot)).map(|(input, _)| input);
        outside.chain(here).collect()
    }

    /// The number of a gradient that is asked for, where one can be found from what is on the screen.
    fn element_asked(&self, rule: &Rule<'_>, part: &Contribution, index: usize) -> Option<usize> {
        if !rule.is_on_screen() {
            return None;
        }
        let (elements, largest) = (askable(part), largest(part));
        let incoming = rule.largest_incoming();
        let fair = |element: &usize| {
            let answer = part.value.numbers().and_then(|all| all.get(*element).copied());
            let size = answer.unwrap_or_default().abs();
            size > NEGLIGIBLE * largest
                && match rule.as_rounded(*element) {
                    // What nearly cancels is another number by what the screen rounds.
                    Some(found) => is_right(found, answer.unwrap_or_default(), largest),
                    // Where the rule is not read, what is very small may be what nearly cancels.
                    None => size > NEGLIGIBLE * incoming,
                }
        };
        // Of those from the one that is drawn on, the first.
        let (before, from) = elements.split_at(drawn(self.seed() ^ 1, index, elements.len()));
        from.iter().chain(before).copied().find(fair)
    }

    /// Whether this node has no question but those that are still to be answered inside of it.
    pub fn asks_inside(&self) -> bool {
        self.asks() == Some(Asks::Inside)
    }

    /// Whether something is still to be answered inside of a node.
    fn asks_in(&self, index: usize) -> bool {
        let asked = self.asked_outside(&self.place.path);
        self.unanswered_in(self.trace(), index, &mut self.place.path.clone(), &asked, 1) > 0
    }

    /// How many questions of a trace that is inside of these open nodes are not answered, with those
    /// inside of its nodes; no more than so many are counted.
    fn unanswered(
        &self,
        trace: &Trace,
        path: &mut Vec<usize>,
        asked: &[usize],
        most: usize,
    ) -> usize {
        let mut count = 0;
        for step in &trace.steps {
            let Step::Backward(node) = *step else { continue };
            let asks = self.asked_at(trace, node, asked).is_some();
            let open = asks && !self.is_answered(&(self.place.trace, path.clone(), node));
            count += usize::from(open);
            if count < most {
                count += self.unanswered_in(trace, node, path, asked, most - count);
            }
            if count >= most {
                break;
            }
        }
        count
    }

    /// The same inside of one of its nodes.
    fn unanswered_in(
        &self,
        trace: &Trace,
        index: usize,
        path: &mut Vec<usize>,
        asked: &[usize],
        most: usize,
    ) -> usize {
        let opened = trace.nodes.get(index).and_then(|node| node.opened.as_ref());
        let Some(inner) = opened.map(|opened| &opened.trace) else { return 0 };
        let asked = self.asked_within(trace, index, asked);
        path.push(index);
        let count = self.unanswered(inner, path, &asked, most);
        path.pop();
        count
    }

    /// How many questions of this computation are not answered; the score where there are none.
    pub(crate) fn what_is_left(&self) -> String {
        let (points, all) = self.quiz.as_ref().map(Quiz::score).unwrap_or_default();
        let here = if self.lesson.traces.len() > 1 { " in this computation" } else { "" };
        match self.count_unanswered() {
            0 => format!("no more questions{here}: {points} of {all} points; z ends the quiz"),
            1 => format!("1 question{here} is not answered; z ends the quiz"),
            left => format!("{left} questions{here} are not answered; z ends the quiz"),
        }
    }

    fn count_unanswered(&self) -> usize {
        self.unanswered(self.root(), &mut Vec::new(), &[], usize::MAX)
    }

    fn is_answered(&self, asked: &Asked) -> bool {
        let answer = self.quiz.as_ref().and_then(|quiz| quiz.answers.get(asked));
        answer.is_some_and(Answer::is_over)
    }

    /// Whether what goes out here is hidden.
    pub(crate) fn hides(&self) -> bool {
        match self.asks() {
            Some(Asks::Question(_)) => self.answer().is_none(),
            Some(Asks::Inside) => true,
            Some(Asks::Nothing) | None => false,
        }
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
        let answer = self.quiz.as_ref()?.answers.get(&self.question_place()?)?;
        answer.is_over().then_some(answer)
    }

    /// All guesses made here.
    pub(crate) fn guesses(&self) -> &[f64] {
        let answer = self.quiz.as_ref().zip(self.question_place());
        let answer = answer.and_then(|(quiz, asked)| quiz.answers.get(&asked));
        answer.map_or(&[], |answer| &answer.guesses)
    }

    /// Whether a guess is still to be made here, so that what goes out is hidden.
    pub fn has_question(&self) -> bool {
        self.question().is_some() && self.answer().is_none()
    }

    fn question_place(&self) -> Option<Asked> {
        let (node, _) = self.node()?;
        Some((self.place.trace, self.place.path.clone(), node))
    }

    /// Asks for a guess, where there is something to guess.
    pub(crate) fn begin_guess(&mut self) {
        match self.asks() {
            Some(Asks::Question(_)) => self.ask(Prompt::guess()),
            Some(Asks::Inside) => self.say(Asks::Inside.words()),
            Some(Asks::Nothing) => {
                let told = self.what_is_left();
                self.say(format!("{}; {told}", Asks::Nothing.words()));
            }
            None => {}
        }
    }

    pub(crate) fn guess_question(&self) -> String {
        match self.question() {
            Some(question) => format!("{} = ", question.name),
            None => "no question here: ".into(),
        }
    }

    pub(crate) fn guess(&mut self, text: &str) {
        let (Some(question), Some(asked)) = (self.question(), self.question_place()) else {
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
        let (right, over) = (answer.right, answer.is_over());
        let told = match over && self.count_unanswered() == 0 {
            // The number stands in the node.
            true => format!("{}: {}", if right { "right" } else { "wrong" }, self.what_is_left()),
            false => told,
        };
        self.say(told);
    }

    pub(crate) fn hint(&mut self) {
        match self.asks() {
            Some(Asks::Question(_)) => {}
            Some(none) => return self.say(none.words()),
            None => return self.say("hints are for the quiz: z begins one"),
        }
        if self.answer().is_some() {
            self.say("this one is answered: n goes on to the next");
            return;
        }
        if self.numbers_in_rule().is_none() {
            self.say("there is no more than the rule here");
            return;
        }
        if let (Some(asked), Some(quiz)) = (self.question_place(), &mut self.quiz) {
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
        let asked_for = self.quiz.as_ref()?.hints.contains(&self.question_place()?);
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
}
