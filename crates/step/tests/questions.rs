//! What if, checks and the quiz.

mod common;

use common::{app, expression, strike, told};
use unspool_step::{App, Options, Screen, views};
use unspool_trace::array::Content;
use unspool_trace::lessons::LESSONS;

#[test]
fn a_number_is_changed_and_taken_back() {
    let mut app = app("neuron");
    let loss = app.root().loss;
    strike(&mut app, "w \"w[0]=0.9\" enter");
    // (tanh(0.45 − 0.3 − 0.4 + 0.1) − 0.5)² / 2
    let expected = ((-0.15_f64).tanh() - 0.5).powi(2) / 2.0;
    assert!((app.root().loss.unwrap() - expected).abs() < 1e-12);
    assert!(matches!(&app.screen, Screen::Told { lines, .. } if lines[2].contains("-0.1766")));
    strike(&mut app, "esc");
    assert!(views::text(&app).contains('Δ'));
    strike(&mut app, "u");
    assert_eq!(app.root().loss, loss);
    assert!(!views::text(&app).contains('Δ'));
}

#[test]
fn what_cannot_be_changed_is_said() {
    for (keys, told) in [
        ("w \"nothing=1\" enter", "nothing is called \"nothing\""),
        ("w \"w=1\" enter", "w has the shape [3]"),
        ("w \"w[3]=1\" enter", "w has the shape [3]"),
        ("w \"b[]=3\" enter", "b is a single number: write b"),
        ("w \"=3\" enter", "write the name of a value"),
        ("w \"w[0]=x\" enter", "\"x\" is no number"),
        ("w \"inf\" enter", "must be finite"),
        ("n n n w \"1\" enter", "a is computed"),
        // The node's y is w, and the lesson has another y.
        ("w \"y=1\" enter", "y is computed: change an input or a weight; mul's own y is w"),
    ] {
        let mut app = app("neuron");
        strike(&mut app, keys);
        assert!(app.message.contains(told), "{keys}: {}", app.message);
        assert!(app.changes.is_empty());
    }
}

#[test]
fn a_weight_is_changed_from_inside_of_a_fused_node() {
    let mut app = app("lstm-cell");
    strike(&mut app, "i");
    let shown = app.arrays();
    assert!(!shown.is_empty());
    let loss = app.root().loss;
    strike(&mut app, "w \"0.77\" enter");
    assert_eq!(app.changes.len(), 1, "{}", app.message);
    assert_ne!(app.root().loss, loss);
}

#[test]
fn a_check_agrees_with_the_formula() {
    for name in ["neuron", "softmax", "lstm-cell", "additive-attention"] {
        let mut app = app(name);
        strike(&mut app, "g c");
        let Screen::Told { lines, .. } = &app.screen else { panic!("{name}: {}", app.message) };
        let text = lines.join("\n");
        assert!(text.contains("by the formula") && text.contains('✓'), "{name}: {text}");
        assert!(!text.contains('✗'), "{name}: {text}");
        // All of it is seen at once.
        assert!(views::text(&app).contains(lines.last().unwrap()), "{}", views::text(&app));
    }
}

#[test]
fn a_quiz_hides_judges_and_counts() {
    let mut app = app("neuron");
    strike(&mut app, "z");
    let question = app.question().unwrap();
    let text = views::text(&app);
    assert!(
        text.contains(&format!("{} = ?", question.name)) && text.contains("quiz 0/0"),
        "{text}"
    );
    strike(&mut app, "c");
    assert!(app.message.contains("guess first"));
    // The loss is half of the square's sum: its gradient is a half.
    strike(&mut app, "enter \"0.5\" enter");
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1.0, 1));
    strike(&mut app, "enter \"9\" enter");
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1.0, 1), "it is answered");
    // A second guess is half a point; a third is none.
    strike(&mut app, "n enter \"12\" enter");
    assert!(app.message.contains("once more"), "{}", app.message);
    assert!(app.has_question() && views::text(&app).contains("not +12.000"));
    strike(&mut app, "enter \"0.5\" enter");
    assert!(app.message.starts_with("right:"), "{}", app.message);
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1.5, 2));
    strike(&mut app, "n enter \"12\" enter enter \"13\" enter");
    assert!(app.message.starts_with("wrong: d_"), "{}", app.message);
    assert!(!app.has_question());
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1.5, 3));
    strike(&mut app, "z");
    assert!(told(&app).starts_with("1.5 of 3 points; hints: 0"), "{}", told(&app));
}

#[test]
fn a_quiz_asks_by_the_lessons_names_and_shows_what_is_needed() {
    let mut app = app("neuron");
    strike(&mut app, "z end b");
    let (_, node) = app.node().unwrap();
    assert_eq!(node.op, "mul");
    let question = app.question().unwrap();
    let named = |letter: &str, name: &str| {
        (0..3).any(|at| question.name == format!("d_{name}[{at}] (here d_{letter}[{at}])"))
    };
    assert!(named("y", "w") || question.name.starts_with("d_x["), "{}", question.name);
    // At 80 by 24, without scrolling: the question, what comes in, both factors.
    let text = views::text(&app);
    for wanted in [question.name.as_str(), "Comes in", "x [3]", "y = w [3]", "+2.0000"] {
        assert!(text.contains(wanted), "no {wanted}\n{text}");
    }
    assert!(!text.contains("hint: "));
    strike(&mut app, "y y");
    let text = views::text(&app);
    assert!(text.contains("hint: d_") && text.contains("d_out ⊙ "), "{text}");
    assert!(text.contains("= (−0.7529) ⊙ "), "the rule with numbers\n{text}");
    strike(&mut app, "z");
    assert!(told(&app).contains("hints: 1"), "asked for twice, given once");
}

#[test]
fn a_step_of_a_shared_weight_is_asked_for_its_part() {
    let mut app = app("encoder-decoder");
    let decoder = app.root().nodes.iter().position(|node| node.op == "decoder").unwrap();
    strike(&mut app, &format!("g : \"{decoder}\" enter i z"));
    let mut asked = Vec::new();
    for _ in 0..40 {
        asked.extend(app.question().map(|question| question.name));
        strike(&mut app, "n");
    }
    assert!(asked.iter().any(|name| name.starts_with("what this step adds to d_")), "{asked:?}");
}

#[test]
fn what_lives_inside_of_a_node_is_asked_for_inside() {
    for (lesson, op) in [("lstm-cell", "lstm_step"), ("gru-cell", "gru_step")] {
        let mut app = app(lesson);
        let node = app.root().nodes.iter().position(|node| node.op == op).unwrap();
        strike(&mut app, &format!("z : \"{node}\" enter"));
        assert!(app.is_backward() && app.question().is_none());
        let text = views::text(&app);
        assert!(text.contains("i in"), "{text}");
        app.resize(120, 200);
        let text = views::text(&app);
        let (_, out) = text.split_once("Goes out").unwrap();
        let (out, _) = out.split_once("Forward").unwrap();
        assert!(out.contains("no question here: i goes in") && !out.contains("d_"), "{out}");
        for keys in ["enter", "y"] {
            strike(&mut app, keys);
            assert_eq!(app.message, "no question here: i goes in");
        }
        strike(&mut app, "c");
        assert!(app.message.contains("guess first"), "{}", app.message);
        strike(&mut app, "i");
        assert!(app.has_question(), "{}", views::text(&app));
        // When all is answered inside, what goes out is shown.
        for _ in 0..app.trace().steps.len() {
            if app.has_question() {
                strike(&mut app, "enter \"99\" enter enter \"99\" enter");
            }
            strike(&mut app, "n");
        }
        strike(&mut app, "o");
        assert!(!app.asks_inside());
        let text = views::text(&app);
        let (_, out) = text.split_once("Goes out").unwrap();
        assert!(out.contains("no question here") && out.contains("→ d_x"), "{out}");
    }
}

#[test]
fn a_quiz_begins_at_the_first_question_of_the_way_back() {
    // Nothing behind the sequence is asked for but what is inside.
    for lesson in ["neuron", "softmax", "lstm-cell", "additive-attention", "through-time"] {
        let mut app = app(lesson);
        strike(&mut app, "z");
        assert!(app.has_question(), "{lesson}: {}", app.message);
        let (step, count) = (app.place.step, app.trace().steps.len());
        strike(&mut app, "g");
        let first = app.place.step;
        for _ in first..step.min(count) {
            assert!(!app.has_question(), "{lesson}: an earlier one");
            strike(&mut app, "n");
        }
    }
    // However far it was scrolled.
    let mut app = common::app("dot-attention");
    strike(&mut app, "end down*20 z");
    assert!(app.has_question() && views::text(&app).contains(" = ?"), "{}", views::text(&app));
    // Where the first node back has none.
    let mut app = common::app("lstm-cell");
    strike(&mut app, "i z");
    assert!(app.has_question() && app.place.path.len() == 1);
}

/// The letters of a formula's right side that are no functions and count no elements.
fn letters(formula: &str) -> Vec<String> {
    let (left, right) = formula.split_once("= ").unwrap();
    let is_letter = |c: char| c.is_alphabetic() || "_'".contains(c);
    // Raised and lowered letters stand for powers and for what is summed over.
    let raised = |c: char| "ᵀⁿᵃˣʸᶻᵏₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥ".contains(c);
    let mut indices: Vec<char> = formula.chars().filter(|&c| c == 'ⱼ').map(|_| 'j').collect();
    for part in left.split('[').skip(1).chain(right.split('[').skip(1)) {
        indices.extend(part.split(']').next().unwrap().chars().filter(|c| c.is_alphabetic()));
    }
    let plain: String = right.chars().map(|c| if raised(c) { ' ' } else { c }).collect();
    let mut found = Vec::new();
    let mut rest = plain.as_str();
    while let Some(at) = rest.find(is_letter) {
        let word: String = rest[at..].chars().take_while(|&c| is_letter(c)).collect();
        rest = &rest[at + word.len()..];
        let counts = word.chars().count() == 1 && word.chars().all(|c| indices.contains(&c));
        if !rest.starts_with('(') && !["Σ", "where", "else"].contains(&word.as_str()) && !counts {
            found.push(word);
        }
    }
    found
}

/// Looks at each question of the trace where one is, and inside of every node that opens.
fn look_at_questions(app: &mut App, seen: &mut usize) {
    strike(app, "g");
    loop {
        let place = app.place.clone();
        if let (Some(question), Some((_, node))) = (app.question(), app.node()) {
            *seen += 1;
            let port = &node.inputs[node.contributions[question.contribution].input];
            let explanation = &app.root().explanations[&node.explanation];
            let rules: Vec<String> =
                explanation.rule(&port.name).iter().map(ToString::to_string).collect();
            let op = node.op.clone();
            let text = views::text(app);
            let ask = text.split_once("Goes out").unwrap().1;
            for rule in &rules {
                let start: String = rule.chars().take(30).collect();
                assert!(ask.contains(&format!("by {start}")), "{rule} is not shown\n{text}");
            }
            // A part of one of the node's time steps says what of the arrays makes it.
            if question.name.starts_with("what step t=") {
                assert!(ask.contains("the first axis is time: of t="), "{text}");
            }
            assert!(ask.contains("Comes in"), "{text}");
            app.resize(140, 400);
            let text = views::text(app);
            app.resize(80, 24);
            let ask = text.split_once("Goes out").unwrap().1;
            let (ask, rest) = ask.split_once("Comes in").unwrap();
            let (comes, forward) = rest.split_once("Forward").unwrap();
            let shown = |letter: &str| {
                let starts = |line: &str, name: &str| {
                    let line = line.split('│').rev().nth(1).unwrap_or_default();
                    let line = line.trim_start().trim_start_matches("→ ");
                    line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '\n']))
                };
                let name = letter.strip_prefix("d_").unwrap_or(letter);
                // What the letters under the question say that it is called.
                let called = ask
                    .split_once(&format!("{name}: "))
                    .map_or(name, |(_, rest)| rest.split([';', ' ']).next().unwrap_or_default());
                match letter.starts_with("d_") {
                    true => {
                        comes.lines().any(|line| starts(line, &format!("d_{called}")))
                            || comes.contains(&format!("(here d_{called})"))
                    }
                    false => forward.lines().any(|line| starts(line, called)),
                }
            };
            // Told by what the letter means beneath the rule, or by settings and shapes.
            let (_, node) = app.node().unwrap();
            let explanation = &app.root().explanations[&node.explanation];
            let told = |letter: &str| match explanation.symbols.iter().find(|x| x.name == letter) {
                Some(symbol) => {
                    let meaning = symbol.meaning.rsplit("], ").next().unwrap();
                    let start: String = meaning.chars().take(12).collect();
                    ask.contains(&format!(" {letter}: {start}"))
                }
                None => {
                    let settings: String = node.settings.chars().take(20).collect();
                    ["range", "start", "part"].contains(&letter)
                        && !settings.is_empty()
                        && text.contains(&format!("with {settings}"))
                }
            };
            for letter in rules.iter().flat_map(|rule| letters(rule)) {
                let defined = ask.contains(&format!("with {letter}"));
                let known = shown(&letter) || defined || told(&letter);
                assert!(known, "{op}: no {letter}\n{text}");
            }
        }
        if app.node().is_some_and(|(_, node)| node.opened.is_some()) {
            app.quiz = None;
            strike(app, "i z");
            look_at_questions(app, seen);
            app.place = place.clone();
        }
        strike(app, "n");
        if app.place == place {
            break;
        }
    }
}

#[test]
fn every_question_can_be_answered_from_the_screen() {
    for listed in LESSONS {
        let mut app = app(listed.name);
        for _ in 0..app.lesson.traces.len() {
            let mut seen = 0;
            app.quiz = None;
            strike(&mut app, "z");
            look_at_questions(&mut app, &mut seen);
            assert!(seen > 2, "{}: {seen} questions", listed.name);
            strike(&mut app, "esc x");
        }
    }
}

/// What a printed hint comes to: sums, products, powers and functions of numbers, read as they stand.
struct Sum<'a>(&'a str);

impl Sum<'_> {
    fn take(&mut self, text: &str) -> bool {
        self.0 = self.0.trim_start();
        let rest = self.0.strip_prefix(text);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn cases(&mut self) -> f64 {
        let value = self.sum();
        if !self.take("where") {
            return value;
        }
        let (left, above) = (self.sum(), self.take(">"));
        assert!(above || self.take("<"), "at {:?}", self.0);
        let right = self.sum();
        assert!(self.take("else"), "at {:?}", self.0);
        let otherwise = self.cases();
        if above && left > right || !above && left < right { value } else { otherwise }
    }

    fn sum(&mut self) -> f64 {
        let mut sum = self.product();
        loop {
            sum += match (self.take("+"), self.take("−")) {
                (true, _) => self.product(),
                (_, true) => -self.product(),
                _ => return sum,
            };
        }
    }

    fn product(&mut self) -> f64 {
        let mut product = self.power();
        loop {
            if self.take("·") || self.take("⊙") {
                product *= self.power();
            } else if self.take("/") {
                product /= self.power();
            } else {
                return product;
            }
        }
    }

    fn power(&mut self) -> f64 {
        if self.take("−") {
            return -self.power();
        }
        let base = self.atom();
        if self.take("²") {
            base * base
        } else if self.take("^(") {
            let exponent = self.sum();
            assert!(self.take(")"), "at {:?}", self.0);
            base.powf(exponent)
        } else {
            base
        }
    }

    fn atom(&mut self) -> f64 {
        for (name, function) in [
            ("(", (|x| x) as fn(f64) -> f64),
            ("tanh(", f64::tanh),
            ("exp(", f64::exp),
            ("ln(", f64::ln),
        ] {
            if self.take(name) {
                let x = function(self.cases());
                assert!(self.take(")"), "at {:?}", self.0);
                return x;
            }
        }
        if self.take("√") {
            return self.atom().sqrt();
        }
        let mut end = 0;
        for (at, c) in self.0.char_indices() {
            let exponent = matches!(c, '-' | '+') && self.0[..at].ends_with('e');
            if !(c.is_ascii_digit() || ".e".contains(c) || exponent) {
                break;
            }
            end = at + c.len_utf8();
        }
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        // e-notation and a raised digit behind it would be read as another exponent.
        assert!(!number.contains('e') || !rest.starts_with(['²', '^']), "{number}{rest}");
        number.parse().unwrap_or_else(|_| panic!("no number at {rest:?}"))
    }
}

/// Guesses what each hint comes to, of the trace where one is and inside of every node that opens.
fn follow_hints(app: &mut App, followed: &mut usize) {
    strike(app, "g");
    loop {
        let place = app.place.clone();
        strike(app, "y");
        if app.message.starts_with("the hint stands") {
            let text = views::text(app);
            let hint = text.split_once("hint: ").unwrap().1.lines().next().unwrap();
            let hint = hint.rsplit_once(" = ").unwrap().1.trim_end_matches('│').trim();
            let mut read = Sum(hint);
            let found = read.cases();
            assert_eq!(read.0, "", "{hint}");
            strike(app, &format!("enter \"{found:e}\" enter"));
            assert!(app.message.starts_with("right: "), "{hint}: {}", app.message);
            *followed += 1;
        }
        if app.node().is_some_and(|(_, node)| node.opened.is_some()) && !app.has_question() {
            strike(app, "i");
            follow_hints(app, followed);
            app.place = place.clone();
        }
        strike(app, "n");
        if app.place == place {
            break;
        }
    }
}

/// Answers all questions of the trace where one is, and inside of its nodes; what was asked and told.
fn answer_all(app: &mut App, told: &mut Vec<(String, String)>) {
    strike(app, "g");
    loop {
        let place = app.place.clone();
        if let Some(question) = app.question() {
            strike(app, "enter \"99\" enter enter \"99\" enter");
            told.push((question.name, app.message.clone()));
        }
        if app.node().is_some_and(|(_, node)| node.opened.is_some()) {
            strike(app, "i");
            answer_all(app, told);
            app.place = place.clone();
        }
        strike(app, "n");
        if app.place == place {
            break;
        }
    }
}

#[test]
fn a_quiz_says_when_there_are_no_more_questions_and_asks_for_a_gradient_once() {
    let mut app = app("softmax");
    strike(&mut app, "z n");
    assert!(app.message.starts_with("this is the end: "), "{}", app.message);
    assert!(app.message.contains(" questions are not answered"), "{}", app.message);
    let mut told = Vec::new();
    answer_all(&mut app, &mut told);
    let whole = told.iter().filter(|(asked, _)| asked.starts_with("d_logits["));
    assert_eq!(whole.count(), 1, "{told:?}");
    let (last, others) = told.split_last().unwrap();
    let score = format!("no more questions: 0 of {} points; z ends the quiz", told.len());
    assert_eq!(last.1, format!("wrong: {score}"));
    assert!(others.iter().all(|(_, told)| !told.contains("no more")), "{others:?}");
    app.place.path.clear();
    strike(&mut app, "end n");
    assert_eq!(app.message, format!("this is the end: {score}"));
    strike(&mut app, "f enter");
    assert_eq!(app.message, format!("no question here; {score}"));
}

#[test]
fn the_numbers_of_a_hint_come_to_the_answer() {
    let mut followed = 0;
    for seed in 1..5 {
        // The longest is looked at once.
        for listed in LESSONS.iter().filter(|one| seed == 1 || one.name != "encoder-decoder") {
            let options = Options { quiz: true, seed, size: (250, 40), ..common::OPTIONS };
            let mut app = App::new(listed.lesson().unwrap(), options).unwrap();
            for _ in 0..app.lesson.traces.len() {
                follow_hints(&mut app, &mut followed);
                app.place.path.clear();
                strike(&mut app, "x");
            }
        }
    }
    assert!(followed > 200, "{followed} hints");
}

#[test]
fn a_base_with_an_exponent_stands_in_parentheses() {
    let mut app = expression("tanh(x)", &[("x", 1.2e-4)]);
    app.resize(120, 30);
    strike(&mut app, "z y");
    assert!(views::text(&app).contains("(1 − (1.20e-4)²)"), "{}", views::text(&app));
}

#[test]
fn what_rounding_loses_is_passed_over() {
    // 1 − y² is 2.4e-5, and the screen rounds y to 1.
    let mut app = expression("tanh(x)*2", &[("x", 6.0)]);
    strike(&mut app, "z");
    let ops = |app: &App| app.node().unwrap().1.op.clone();
    while ops(&app) != "tanh" {
        strike(&mut app, "n");
    }
    assert!(app.question().is_none(), "{}", views::text(&app));
    strike(&mut app, "y");
    assert_eq!(app.message, "no question here");
    // A softmax that is all but 1 at one place sends all but nothing to the scores; what it sends to
    // the value there can be found. One is asked for, whatever the seed, and never the other.
    for seed in 0..12 {
        let options = Options { seed, ..common::OPTIONS };
        let lesson = unspool_trace::lessons::lesson("dot-attention").unwrap();
        let mut app = App::new(lesson, options).unwrap();
        strike(&mut app, "w \"keys[0,0,0]=40\" enter esc z : \"0\" enter");
        assert!(app.is_backward(), "{}", app.message);
        let question = app.question().unwrap_or_else(|| panic!("seed {seed} asks for nothing"));
        let part = &app.node().unwrap().1.contributions[question.contribution];
        let answer = part.value.numbers().unwrap()[question.element];
        assert!(answer.abs() > 0.03, "seed {seed}: {} = {answer:e}", question.name);
        strike(&mut app, "z i g z");
        while ops(&app) != "softmax" {
            assert!(app.place.step + 1 < app.trace().steps.len(), "no softmax");
            strike(&mut app, "n");
        }
        assert!(app.is_backward() && app.question().is_none(), "{}", views::text(&app));
    }
    // Where the screen's numbers do not come to one of a node's gradients, the other is asked for.
    let mut lesson = unspool_trace::lessons::lesson("neuron").unwrap();
    let node = lesson.traces[0].nodes.iter_mut().find(|node| node.op == "mul").unwrap();
    assert_eq!(node.contributions.len(), 2);
    if let Content::Numbers(numbers) = &mut node.contributions[1].value.content {
        numbers.iter_mut().for_each(|x| *x *= 1.5);
    }
    for seed in 0..12 {
        let options = Options { seed, ..common::OPTIONS };
        let mut app = App::new(lesson.clone(), options).unwrap();
        strike(&mut app, "z end b");
        assert_eq!(ops(&app), "mul");
        assert_eq!(app.question().map(|one| one.contribution), Some(0), "seed {seed}");
    }
}

#[test]
fn a_hint_adds_up_what_a_product_of_matrices_is_made_of() {
    let mut app = app("through-time");
    strike(&mut app, "z : \"4\" enter i");
    let mut hints = Vec::new();
    for _ in 0..app.trace().steps.len() {
        strike(&mut app, "y");
        let text = views::text(&app);
        if let (Some((_, hint)), Some((_, node))) = (text.split_once("hint: "), app.node()) {
            hints.push(format!("{} {hint}", node.op));
        }
        strike(&mut app, "n");
    }
    let is_sum = |hint: &&String| hint.lines().take(1).any(|line| line.contains(" + "));
    let products = hints.iter().filter(|hint| hint.starts_with("matmul"));
    assert!(products.clone().any(|hint| is_sum(&hint)), "{hints:?}");
    // What no few numbers make has no hint, and counts none.
    let mut app = common::app("softmax");
    strike(&mut app, "z");
    assert!(!views::text(&app).contains("y hint"), "{}", views::text(&app));
    strike(&mut app, "y z");
    assert!(told(&app).contains("hints: 0"), "{}", told(&app));
}

#[test]
fn what_is_not_finite_is_no_question() {
    let mut app = expression("log(x)", &[("x", 1e-320)]);
    strike(&mut app, "z");
    assert_eq!(app.question(), None);
    strike(&mut app, "enter \"1e308\" enter");
    assert_eq!(app.quiz.as_ref().unwrap().score(), (0.0, 0));
}

#[test]
fn a_quiz_does_not_tell_by_other_ways_and_says_when_it_begins_anew() {
    let mut app = app("neuron");
    strike(&mut app, "z f c");
    assert!(app.message.contains("guess first"), "{}", app.message);
    strike(&mut app, "g enter \"1\" enter w \"w[0]=0.9\" enter");
    assert!(told(&app).contains("the quiz begins anew"), "{}", told(&app));
    assert_eq!(app.quiz.as_ref().unwrap().score(), (0.0, 0));
}

#[test]
fn what_changed_is_told_by_the_number() {
    let mut app = app("through-time");
    strike(&mut app, "w \"h0[0,1]=1\" enter");
    let text = told(&app);
    assert!(text.contains("d_h0[0,"), "{text}");
    // A number that is none any more changed most.
    let mut app = expression("log(x)*2 + x", &[("x", 2.0)]);
    strike(&mut app, "w \"x=-1\" enter");
    let text = told(&app);
    let (_, largest) = text.split_once("The largest changes").unwrap();
    assert!(largest.contains("NaN"), "{text}");
}

#[test]
fn the_number_under_the_cursor_is_named() {
    let mut app = app("neuron");
    strike(&mut app, "tab ]");
    assert!(views::text(&app).contains("› w[1] (here y[1]) = +0.3000"), "{}", views::text(&app));
    strike(&mut app, "w");
    assert!(
        views::text(&app).contains("new w[1] (here y[1], now 0.3), or"),
        "{}",
        views::text(&app)
    );
    strike(&mut app, "esc end b tab ]");
    assert!(app.scroll > 0 && views::text(&app).contains("› +0.3000"), "it is scrolled to");
    // The node's own letter, where it means nothing else.
    let mut app = expression("k*m", &[("k", 2.0), ("m", 3.0)]);
    strike(&mut app, "w \"y=4\" enter");
    assert!(told(&app).starts_with("m: 3 → 4"), "{}", told(&app));
    assert_eq!(app.root().loss, Some(8.0));
    // A number that the lesson's y does not have is the node's; that is also where : goes.
    let mut app = common::app("neuron");
    strike(&mut app, "w \"y[0]=0.9\" enter");
    assert!(told(&app).starts_with("w[0]: 0.4 → 0.9"), "{}", told(&app));
    // The very name comes first, and it is said that the node has the letter for another.
    let mut app = expression("k*y", &[("k", 2.0), ("y", 3.0)]);
    strike(&mut app, "w \"y=4\" enter");
    assert!(told(&app).starts_with("y: 3 → 4\n\n"), "{}", told(&app));
    let mut app = expression("y*k", &[("k", 2.0), ("y", 3.0)]);
    strike(&mut app, "w \"y=4\" enter");
    assert!(told(&app).starts_with("y: 3 → 4\nmul's own y is k\n"), "{}", told(&app));
}

#[test]
fn a_long_line_is_kept_and_its_end_is_seen() {
    let mut app = app("neuron");
    let zeros = "0".repeat(100);
    strike(&mut app, &format!("w \"w[0]=0.{zeros}5\""));
    assert!(views::text(&app).contains("00005"), "{}", views::text(&app));
    strike(&mut app, "enter");
    let slot = app.root().values.iter().position(|value| value.name == "w").unwrap();
    assert_eq!(app.root().tensor(slot).unwrap()[[0]], 5e-101);
}

#[test]
fn a_check_on_demand_says_what_the_recorded_one_says() {
    for (text, x) in [("x + 1e9", 1.0), ("sqrt(x)", 5e-5), ("x^2", 3.0), ("relu(x)", 0.5)] {
        let mut app = expression(text, &[("x", x)]);
        strike(&mut app, "g c");
        let told = told(&app);
        assert!(told.contains("moved by ε = ") && told.contains('✓'), "{text}: {told}");
        let last = told.lines().last().unwrap();
        assert!(last.contains("off by ") && last.contains(" is allowed"), "{last}");
        assert!(!told.contains('✗'), "{text}: {told}");
    }
    // At a kink nothing can be told, and there is no tick.
    let mut app = expression("relu(x)", &[("x", 0.0)]);
    strike(&mut app, "g");
    let (_, out) = views::text(&app)
        .split_once("Goes out")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    assert!(out.contains("? cannot be told: a kink") && !out.contains('✓'), "{out}");
    strike(&mut app, "c");
    assert!(told(&app).contains("cannot be told"), "{}", told(&app));
}

#[test]
fn names_of_formulas_are_changed_as_those_of_the_lesson() {
    for (lesson, keys, told_first) in [
        ("through-time", "w \"W_hh[1,0]=-2\" enter", "weight_hh[1,0]: "),
        ("through-time", "end w \"x[3][0,1]=1\" enter", "x3[0,1]: "),
        ("through-time", "end w \"h[0][0,1]=1\" enter", "h0[0,1]: "),
        ("lstm-cell", "end b i w \"b_ih[2]=1\" enter", "bias_ih[2]: "),
        ("encoder-decoder", "w \"decoder.W_hh[0,0]=1\" enter", "decoder.l0.weight_hh[0,0]: "),
        ("encoder-decoder", "w \"query.weight[0,0]=1\" enter", "decoder.attention.query.weight"),
    ] {
        let mut app = app(lesson);
        strike(&mut app, keys);
        assert_eq!(app.changes.len(), 1, "{keys}: {}", app.message);
        assert!(told(&app).starts_with(told_first), "{keys}: {}", told(&app));
    }
    for (lesson, keys, told) in [
        ("through-time", "w \"h[5]=1\" enter", "h5 is computed"),
        ("through-time", "w \"L=0\" enter", "loss is computed"),
        ("through-time", "w \"d_x3=0\" enter", "d_x3 is a gradient"),
        // There is no x before the first step.
        ("through-time", "w \"x[0][0,1]=1\" enter", "nothing is called \"x[0][0,1]\""),
        ("through-time", "w \"x[0]=1\" enter", "nothing is called \"x[0]\""),
        ("through-time", "w \"x[3]=0\" enter", "x3 has the shape [1, 2]: write x3[i,j]"),
        ("through-time", "g w \"h[0,1]=0\" enter", "h may be h0, h1, h2, …: write which"),
        (
            "encoder-decoder",
            "w \"W_hh[0,0]=1\" enter",
            "W_hh may be encoder.l0.weight_hh, decoder.l0.weight_hh: write which",
        ),
        (
            "through-time",
            "w \"weight_h=1\" enter",
            "nothing is called \"weight_h\"; near: weight_hh",
        ),
    ] {
        let mut app = app(lesson);
        strike(&mut app, keys);
        assert!(app.message.contains(told), "{keys}: {}", app.message);
        assert!(app.changes.is_empty());
    }
}
