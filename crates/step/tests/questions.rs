//! What if, checks and the quiz.

mod common;

use common::{app, expression, strike, told};
use unspool_step::{Screen, views};

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
        ("w \"w[0]=x\" enter", "\"x\" is no number"),
        ("w \"inf\" enter", "must be finite"),
        ("n n n w \"1\" enter", "a is computed"),
        // The node's y is w, and the lesson has another y.
        (
            "w \"y[0]=1\" enter",
            "here y is w, but another value is called y: write w, or go there by : y",
        ),
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
    assert!(text.contains("hint: d_") && text.contains("d_z ⊙ "), "{text}");
    assert!(text.contains("= (−0.7529) ⊙ "), "the rule with numbers\n{text}");
    strike(&mut app, "z");
    assert!(told(&app).contains("hints: 1"), "asked for twice, given once");
}

#[test]
fn a_step_of_a_shared_weight_is_asked_for_its_part() {
    let mut app = app("through-time");
    strike(&mut app, "z");
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.extend(app.question().map(|question| question.name));
        strike(&mut app, "n");
    }
    assert!(asked.iter().any(|name| name.starts_with("what this step adds to d_")), "{asked:?}");
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
        assert!(told.contains("moved by") && told.contains('✓'), "{text}: {told}");
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
