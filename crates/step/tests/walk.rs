//! Every lesson is walked to its end and back, and no key does harm.

mod common;

use common::{app, expression, strike};
use proptest::prelude::*;
use unspool_step::key::NAMED;
use unspool_step::look::{self, number};
use unspool_step::{App, Key, Options, names, views};
use unspool_trace::lessons::LESSONS;
use unspool_trace::{Step, Verdict};

/// What was seen on a walk.
#[derive(Default)]
struct Seen {
    nodes: usize,
    right: usize,
    /// Gradients that cannot be told, as at a kink, or that are checked nowhere.
    untold: usize,
}

/// Walks the trace where one is, and into every node that opens.
fn walk(app: &mut App, seen: &mut Seen) {
    loop {
        let (step, place) = (app.current(), app.place.clone());
        let text = views::text(app);
        if let (Step::Backward(_), Some((_, node))) = (step, app.node()) {
            seen.nodes += 1;
            let explanation = &app.root().explanations[&node.explanation];
            for formula in explanation.forward.iter().take(1) {
                let start: String = formula.to_string().chars().take(20).collect();
                assert!(text.contains(&start), "no formula {formula}\n{text}");
            }
            let source = &explanation.backward_source[0];
            assert!(text.contains(&source.path), "no source\n{text}");
            assert!(text.contains("Local rule") && text.contains("Letters"), "{text}");
            let (rest, forward) = text.split_once("Forward").unwrap();
            let (_, rest) = rest.split_once("Comes in").unwrap();
            let (incoming, out) = rest.split_once("Goes out").unwrap();
            // What both call each gradient, its numbers, and what a check found.
            let trace = app.trace();
            for port in node.outputs.iter() {
                let value = &trace.values[port.slot];
                shows(forward, &value.value);
                if let Some(gradient) = &value.gradient {
                    says(incoming, &names::gradient(trace, port));
                    shows(incoming, gradient);
                }
            }
            node.inputs.iter().for_each(|port| shows(forward, &trace.values[port.slot].value));
            let mut ticks = 0;
            for part in &node.contributions {
                says(
                    out,
                    &names::added(trace, node, part, app.is_shared(node.inputs[part.input].slot)),
                );
                shows(out, &part.value);
                match part.check.verdict() {
                    Verdict::Right => ticks += 1,
                    Verdict::Wrong => panic!("a wrong gradient\n{text}"),
                    Verdict::Untold | Verdict::Unchecked => seen.untold += 1,
                }
            }
            assert!(out.matches('✓').count() >= ticks, "{ticks} are right\n{text}");
            seen.right += ticks;
            if node.opened.is_some() {
                app.press(Key::Char('i'));
                assert_eq!(app.place.path.len(), place.path.len() + 1);
                app.press(Key::Home);
                walk(app, seen);
                app.press(Key::Char('g'));
                app.press(Key::Char('o'));
                assert_eq!(app.place, place);
            }
        }
        app.press(Key::Char('n'));
        if app.place == place {
            break;
        }
    }
    assert_eq!(app.place.step + 1, app.trace().steps.len());
    for _ in 0..app.trace().steps.len() {
        app.press(Key::Char('b'));
    }
    assert_eq!(app.place.step, 0);
}

/// The screen's text has these words; those that take more than a line are not looked for.
fn says(text: &str, words: &str) {
    assert!(words.chars().count() > 60 || text.contains(words), "no {words:?} in\n{text}");
}

/// The screen's text has an array's first number and its last, if it is small.
fn shows(text: &str, array: &unspool_trace::Array) {
    let numbers = array.numbers().filter(|numbers| numbers.len() < 64).unwrap_or_default();
    for x in numbers.first().into_iter().chain(numbers.last()) {
        assert!(text.contains(&number(*x)), "no {} in\n{text}", number(*x));
    }
}

#[test]
fn every_lesson_is_walked_to_its_end_and_back() {
    for listed in LESSONS {
        let mut app = app(listed.name);
        // So high that nothing is beneath the screen.
        app.resize(120, 700);
        for _ in 0..app.lesson.traces.len() {
            let mut seen = Seen::default();
            walk(&mut app, &mut seen);
            let Seen { nodes, right, untold } = seen;
            assert!(nodes > 2, "{}: {nodes} nodes", listed.name);
            assert!(untold * 10 <= right, "{}: {untold} untold, {right} right", listed.name);
            app.press(Key::Char('x'));
        }
        assert_eq!(app.place.trace, 0, "x goes round");
    }
}

#[test]
fn a_run_stops_where_the_norm_says() {
    let mut app = app("through-time");
    strike(&mut app, "! \"< 0.05\" enter");
    assert!(app.message.starts_with("stopped: d_"), "{}", app.message);
    let first = app.place.step;
    strike(&mut app, "r");
    assert!(app.place.step > first);
    strike(&mut app, "! \"> 1e9\" enter");
    assert!(app.message.starts_with("no gradient ahead"), "{}", app.message);
    strike(&mut app, "! \"off\" enter r");
    assert!(app.message.starts_with("! says"), "{}", app.message);
    strike(&mut app, "! \"many\" enter");
    assert!(app.message.starts_with("write >"), "{}", app.message);
    // The 1 of the loss is given, and does not stop a run; an infinite gradient does.
    let mut app = common::expression("log(x)", &[("x", 1e-320)]);
    strike(&mut app, "! \"> 1000\" enter");
    assert!(app.message.starts_with("stopped: d_x has norm inf"), "{}", app.message);
    let mut app = common::app("neuron");
    strike(&mut app, "! \"> 0.9\" enter");
    assert!(!app.message.contains("d_loss"), "{}", app.message);
}

#[test]
fn jumps_and_searches_arrive() {
    let mut app = app("through-time");
    strike(&mut app, ": \"t=3\" enter");
    assert_eq!(app.node().unwrap().1.time, Some(3));
    strike(&mut app, "g : \"t2\" enter");
    assert_eq!((app.node().unwrap().1.time, app.is_backward()), (Some(2), true));
    strike(&mut app, ": \"0\" enter");
    assert_eq!(app.node().unwrap().0, 0);
    strike(&mut app, "home / \"POW\" enter");
    assert_eq!(app.node().unwrap().1.op, "pow_number");
    let step = app.place.step;
    strike(&mut app, "/ enter");
    assert!(app.is_backward() && app.place.step > step, "the next is on the way back");
    strike(&mut app, "/ \"nowhere\" enter");
    assert!(app.message.contains("no node"), "{}", app.message);
    let name = app.root().values.iter().find(|value| value.parts.len() > 1).unwrap().name.clone();
    strike(&mut app, &format!("home : \"{name}\" enter"));
    let slot = app.shown().unwrap().slot;
    assert_eq!(app.trace().values[slot].name, name);
    strike(&mut app, ": \"t=99\" enter");
    assert!(app.message.contains("t=99"), "{}", app.message);
    // A name that looks like a time step is a name.
    let mut app = expression("t1*t2", &[("t1", 2.0), ("t2", 3.0)]);
    strike(&mut app, ": \"t1\" enter");
    assert_eq!(app.message, "");
    assert_eq!(app.trace().values[app.shown().unwrap().slot].name, "t1");
}

#[test]
fn names_of_formulas_and_lessons_are_understood() {
    // The lesson, what is typed, the value and the number that the cursor is at, what is said of the name.
    for (lesson, typed, value, element, message) in [
        ("through-time", "h[5]", "h5", 0, "h[5] is h5"),
        ("through-time", "h_2", "h2", 0, "h_2 is h2"),
        ("through-time", "h[0]", "h0", 0, "h[0] is h0"),
        ("through-time", "h[5][0,1]", "h5", 1, "h[5] is h5"),
        ("through-time", "x[3]", "x3", 0, "x[3] is x3"),
        ("through-time", "x3[0,1]", "x3", 1, ""),
        ("through-time", "W_hh", "weight_hh", 0, "W_hh is weight_hh"),
        ("through-time", "W_hh[0,0]", "weight_hh", 0, "W_hh is weight_hh"),
        ("through-time", "W_hh[1,0]", "weight_hh", 2, "W_hh is weight_hh"),
        ("through-time", "L", "loss", 0, "L is loss"),
        ("neuron", "w", "w", 0, ""),
        ("neuron", "w[1]", "w", 1, ""),
        // A name of a value's own is that value; the number of a letter is the letter's here.
        ("neuron", "y", "y", 0, "this is the value called y; mul's own y is w"),
        ("neuron", "y[2]", "w", 2, "y is w"),
        ("additive-attention", "q", "query", 0, "q is query"),
        (
            "encoder-decoder",
            "decoder.b_ih",
            "decoder.l0.bias_ih",
            0,
            "decoder.b_ih is decoder.l0.bias_ih",
        ),
        ("encoder-decoder", "h[0]", "h[0]", 0, ""),
    ] {
        let mut app = app(lesson);
        strike(&mut app, &format!(": \"{typed}\" enter"));
        let slot = app.shown().unwrap().slot;
        let name = app.trace().values[slot].name.as_str();
        assert_eq!((name, app.element), (value, element), "{typed}: {}", app.message);
        assert_eq!(app.message, message, "{typed}");
        assert!(!app.is_backward());
    }
    // A gradient is on the way back, where it goes out, and in sight.
    for (lesson, typed, value, element, message) in [
        ("neuron", "d_w", "w", 0, ""),
        ("neuron", "d_w[1]", "w", 1, ""),
        ("lstm-cell", "d_W_hh", "weight_hh", 0, "W_hh is weight_hh"),
        ("lstm-cell", "d_W_hh[1,1]", "weight_hh", 3, "W_hh is weight_hh"),
        ("lstm-cell", "d_L", "loss", 0, "L is loss"),
        ("through-time", "d_h[2]", "h2", 0, "h[2] is h2"),
    ] {
        let mut app = app(lesson);
        strike(&mut app, &format!(": \"{typed}\" enter"));
        let slot = app.shown().unwrap().slot;
        let name = app.trace().values[slot].name.as_str();
        assert_eq!((name, app.element), (value, element), "{typed}: {}", app.message);
        assert_eq!((app.message.as_str(), app.is_backward()), (message, true), "{typed}");
        let text = views::text(&app);
        assert!(text.contains(&format!("d_{value}")), "{typed}\n{text}");
    }
    // What looks like a gradient may be a name.
    let mut named = expression("d_x*2 + y", &[("d_x", 1.0), ("y", 2.0)]);
    strike(&mut named, "end : \"d_x\" enter");
    assert_eq!(named.message, "");
    assert_eq!(named.trace().values[named.shown().unwrap().slot].name, "d_x");
    strike(&mut named, "home : \"d_d_x\" enter");
    assert_eq!((named.message.as_str(), named.is_backward()), ("", true));
    for (lesson, typed, message) in [
        ("through-time", "h[9]", "nothing is called \"h[9]\"; near: h0, h1, h2"),
        ("through-time", "x[0]", "nothing is called \"x[0]\"; near: x1, x2, x3"),
        ("through-time", "x_0", "nothing is called \"x_0\"; near: x1, x2, x3"),
        ("through-time", "weigth_hh", "nothing is called \"weigth_hh\"; near: weight_hh"),
        (
            "through-time",
            "W_hh[2,0]",
            "weight_hh has the shape [2, 2]: write weight_hh[i,j] within it",
        ),
        (
            "encoder-decoder",
            "W_hh",
            "W_hh may be encoder.l0.weight_hh, decoder.l0.weight_hh: write which",
        ),
        (
            "encoder-decoder",
            "W_hh[0,0]",
            "W_hh may be encoder.l0.weight_hh, decoder.l0.weight_hh: write which",
        ),
        ("lstm-cell", "f", "f is inside of node 0 (lstm_step): i opens it there"),
        ("neuron", "d_wanted", "no gradient flows here: there is no d_wanted"),
        ("neuron", "d_", "d_ is the gradient of nothing: write a name behind it, as in d_w"),
        ("neuron", "b[]", "b is a single number: write b"),
        ("neuron", "w[3]", "w has the shape [3]: write w[i] within it"),
        ("neuron", "q", "nothing is called \"q\""),
        ("neuron", "qq", "nothing is called \"qq\""),
        ("neuron", "qqqqqq", "nothing is called \"qqqqqq\""),
    ] {
        let mut app = app(lesson);
        strike(&mut app, &format!(": \"{typed}\" enter"));
        assert_eq!(app.message, message, "{typed}");
        assert_eq!(app.place.step, 0);
    }
    // A search knows them, too.
    for (lesson, typed, value, element) in [
        ("through-time", "W_hh", "weight_hh", 0),
        ("through-time", "W_hh[0,0]", "weight_hh", 0),
        ("through-time", "W_hh[0,1]", "weight_hh", 1),
        ("through-time", "h[4]", "h4", 0),
        ("through-time", "L", "loss", 0),
        ("through-time", "d_x2", "x2", 0),
        ("neuron", "w[1]", "w", 1),
        ("neuron", "d_w[1]", "w", 1),
    ] {
        let mut app = app(lesson);
        // From where none of them is.
        strike(&mut app, &format!("n n / \"{typed}\" enter"));
        assert!(app.message.starts_with("found"), "{typed}: {}", app.message);
        assert_eq!(app.is_backward(), typed.starts_with("d_"));
        let slot = app.shown().unwrap().slot;
        let name = app.trace().values[slot].name.as_str();
        assert_eq!((name, app.element), (value, element), "{typed}");
    }
    // A gradient, before the word that it is a part of.
    let mut within = expression("old_x*x + 1", &[("old_x", 1.0), ("x", 2.0)]);
    strike(&mut within, "n / \"d_x\" enter");
    assert!(within.is_backward(), "{}", within.message);
    for (typed, message) in [
        ("d_wanted", "no gradient flows here: there is no d_wanted"),
        ("d_", "d_ is the gradient of nothing: write a name behind it, as in d_w"),
        ("q", "no node has \"q\" in its names"),
    ] {
        let mut app = common::app("neuron");
        strike(&mut app, &format!("/ \"{typed}\" enter"));
        assert_eq!((app.message.as_str(), app.place.step), (message, 0), "{typed}");
    }
    let mut app = app("through-time");
    strike(&mut app, "/ \"weigth_hh\" enter");
    assert!(app.message.contains("near: weight_hh"), "{}", app.message);
}

#[test]
fn the_gradient_of_a_product_is_written_in_parentheses() {
    let mut app = app("lstm-cell");
    app.resize(120, 60);
    strike(&mut app, "i");
    let typed =
        ["d_(f⊙c)", "d_f⊙c", "d_(f*c)", "d_(f.*c)", "d_f*c", "d_(f⊙c)[0,1]", "d_(f*c)[0,1]"];
    for typed in typed {
        strike(&mut app, &format!("home : \"{typed}\" enter"));
        assert!(app.is_backward(), "{typed}: {}", app.message);
        let slot = app.shown().unwrap().slot;
        assert_eq!(app.trace().values[slot].name, "f⊙c", "{typed}: {}", app.message);
        assert_eq!((app.message.as_str(), app.element), ("", usize::from(typed.contains('['))));
        let text = views::text(&app);
        assert!(text.contains("→ d_(f⊙c) (here d_x)"), "{text}");
        assert!(!text.contains("d_f⊙c"), "{text}");
    }
    // Parentheses around a part of a name are its own.
    let mut app = common::app("gru-cell");
    strike(&mut app, "i : \"d_((1−z)⊙n)\" enter");
    let slot = app.shown().unwrap().slot;
    assert_eq!(app.trace().values[slot].name, "(1−z)⊙n", "{}", app.message);
    assert!(app.is_backward());
}

#[test]
fn what_nothing_reads_gets_a_gradient_of_0() {
    let mut app = app("lstm-cell");
    strike(&mut app, "g : \"0\" enter");
    let text = views::text(&app);
    assert!(text.contains("d_c' = 0: nothing comes in from outside"), "{text}");
    assert!(text.contains("adds what comes by h'"), "{text}");
    // Inside stands the total.
    strike(&mut app, "i n n");
    let text = views::text(&app);
    assert!(text.contains("all of it from in here, nothing from outside"), "{text}");
    let mut app = common::app("through-time");
    strike(&mut app, "x g : \"4\" enter");
    let text = views::text(&app);
    assert!(text.contains("d_c5 (here d_c') = 0: nothing comes in"), "{text}");
    strike(&mut app, "n");
    let text = views::text(&app);
    assert!(!text.contains("nothing comes in"), "{text}");
    assert!(text.contains("from outside; the rule adds what comes by h'"), "{text}");
}

#[test]
fn what_a_rule_adds_up_is_said_beneath_it() {
    let mut app = app("lstm-cell");
    strike(&mut app, "i g");
    while app.node().unwrap().1.explanation != "add with y repeated" {
        strike(&mut app, "n");
    }
    let text = views::text(&app);
    assert!(text.contains("  Σ: the sum over the copies of y"), "{text}");
}

#[test]
fn long_titles_leave_out_what_is_known() {
    let mut app = app("encoder-decoder");
    let head = |app: &App| views::text(app).lines().next().unwrap_or_default().to_owned();
    strike(&mut app, "z");
    let text = head(&app);
    assert!(text.starts_with(" A training step of an encoder-decoder with attention"), "{text}");
    assert!(!text.contains('…') && text.contains("quiz 0/0"), "{text}");
    assert!(head(&common::app("neuron")).starts_with(" unspool step │ One neuron"));
    // Of several open nodes the innermost is named.
    let decoder = app.root().nodes.iter().position(|node| node.op == "decoder").unwrap();
    strike(&mut app, &format!("z f : \"{decoder}\" enter i / \"additive\" enter i"));
    assert_eq!(app.place.path.len(), 2, "{}", app.message);
    assert!(views::text(&app).contains("┌ … additive_attention "), "{}", views::text(&app));
}

#[test]
fn keys_and_long_names_have_their_place() {
    let mut app = app("through-time");
    let keys = |app: &App| views::text(app).lines().last().unwrap_or_default().to_owned();
    for key in ["n/b step", "x other", "p weights", "z quiz"] {
        assert!(keys(&app).contains(key), "{}", keys(&app));
    }
    strike(&mut app, "i");
    assert!(!keys(&app).contains("x other"), "{}", keys(&app));
    assert!(!keys(&common::app("neuron")).contains("x other"));
    // A dotted name says what the node's own would; shape and check stand beneath a long one.
    let mut app = common::app("encoder-decoder");
    let decoder = app.root().nodes.iter().position(|node| node.op == "decoder").unwrap();
    strike(&mut app, &format!("g : \"{decoder}\" enter"));
    app.resize(80, 200);
    let text = views::text(&app);
    assert!(text.contains("→ adds to d_decoder.attention.query.weight at t=1  "), "{text}");
    assert!(text.contains("│     [2, 2] ✓ 0"), "{text}");
    assert!(!text.contains("(here d_query.weight)"), "{text}");
}

#[test]
fn what_is_outside_of_an_open_node_is_found_and_the_node_left() {
    let mut app = app("encoder-decoder");
    let decoder = app.root().nodes.iter().position(|node| node.op == "decoder").unwrap();
    strike(&mut app, &format!("f : \"{decoder}\" enter i"));
    assert_eq!(app.place.path, [decoder], "{}", app.message);
    let inside: Vec<String> = app.trace().values.iter().map(|value| value.name.clone()).collect();
    let outside = app.root().values.iter().find(|value| !inside.contains(&value.name));
    let name = outside.unwrap().name.clone();
    strike(&mut app, &format!(": \"{name}\" enter"));
    assert!(app.message.contains("is outside of decoder"), "{}", app.message);
    assert_eq!(app.place.path.len(), 0);
    assert_eq!(app.root().values[app.shown().unwrap().slot].name, name);
    strike(&mut app, &format!("f : \"{decoder}\" enter i / \"cross-entropy\" enter"));
    assert!(app.message.contains("is outside of decoder"), "{}", app.message);
    assert_eq!(app.place.path.len(), 0);
}

#[test]
fn a_search_stays_in_its_pass_while_it_can() {
    let mut app = app("through-time");
    strike(&mut app, "end / \"_step\" enter");
    for _ in 0..10 {
        assert!(app.is_backward(), "{}", app.message);
        strike(&mut app, "/ enter");
    }
}

#[test]
fn a_key_that_leaves_what_is_read_does_what_it_does() {
    let mut app = app("neuron");
    strike(&mut app, "n n c n");
    assert_eq!((app.place.step, &app.screen), (3, &unspool_step::Screen::Walk));
    strike(&mut app, "t t p p ? ?");
    assert_eq!(app.screen, unspool_step::Screen::Walk);
    strike(&mut app, "down down t esc");
    assert_eq!((app.place.step, app.scroll), (3, 2), "as it was left");
    strike(&mut app, "t q");
    assert!(!app.over);
}

#[test]
fn a_quiz_asked_for_begins_with_the_lesson_that_is_chosen() {
    let options = Options { quiz: true, ..common::OPTIONS };
    let mut app = App::of_lessons(options).unwrap();
    assert!(app.quiz.is_none() && !views::text(&app).contains("loss"), "a lesson shows behind");
    strike(&mut app, "enter esc");
    assert!(app.has_question());
}

#[test]
fn parts_of_a_sum_have_their_signs_and_those_ahead_are_marked() {
    let mut app = expression("x*2 - x*3", &[("x", 0.5)]);
    app.resize(100, 60);
    strike(&mut app, "g n");
    let text = views::text(&app);
    let (_, sum) = text.split_once("is the sum of 2 parts").unwrap();
    assert!(sum.contains("+2.0000") && sum.contains("-3.0000"), "{text}");
    assert_eq!(sum.matches("still to come").count(), 1, "{text}");
    // A node that reads a value twice.
    let mut app = common::app("dot-attention");
    app.resize(100, 60);
    strike(&mut app, "end");
    let text = views::text(&app);
    assert!(text.contains("  0 as keys ") && text.contains("  0 as values "), "{text}");
    let mut app = common::app("through-time");
    app.resize(100, 120);
    strike(&mut app, "p");
    assert!(views::text(&app).contains("(shown: the norm of each)"));
}

#[test]
fn large_time_steps_are_told_in_full() {
    let mut app = app("through-time");
    app.resize(120, 40);
    for node in &mut app.lesson.traces[0].nodes {
        node.time = node.time.map(|time| time + 98);
    }
    assert!(views::text(&app).contains(" 100 101"), "{}", views::text(&app));
}

#[test]
fn wide_letters_take_two_columns() {
    let mut app = app("neuron");
    app.lesson.title = "黒い猫が眠る".repeat(12);
    let value = app.lesson.traces[0].values.iter_mut().find(|value| value.name == "w").unwrap();
    value.name = "重み".into();
    let text = views::text(&app);
    let head = text.lines().next().unwrap();
    assert!(head.contains("黒い猫") && head.ends_with("loss 0.3872"), "{head}");
    assert!(text.contains("重み [3] weight"), "{text}");
    // No frame is moved.
    assert!(text.lines().skip(1).take(21).all(|line| look::width(line) == 80), "{text}");
}

#[test]
fn any_size_is_drawn() {
    let mut app = app("encoder-decoder");
    strike(&mut app, "g n i");
    for columns in [1, 2, 7, 24, 59, 60, 61, 80, 133, 200] {
        for rows in [1, 2, 5, 15, 16, 17, 24, 60] {
            app.resize(columns, rows);
            let text = views::text(&app);
            assert_eq!(text.lines().count(), usize::from(rows));
            assert!(text.lines().all(|line| look::width(line) <= usize::from(columns)));
        }
    }
}

/// Keys that walk, ask and type; no new lesson, which takes long to record.
fn key() -> impl Strategy<Value = Key> {
    prop_oneof![
        6 => proptest::sample::select("nbfgioxs][cpt?uzy!r:/w0123456789.<>-= tq".chars().collect::<Vec<_>>())
            .prop_map(Key::Char),
        3 => proptest::sample::select(NAMED.map(|(_, key)| key).to_vec()),
        1 => any::<char>().prop_map(Key::Char),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_keys_do_harm(
        keys in proptest::collection::vec(key(), 1..80),
        size in (1..140_u16, 1..50_u16),
        lesson in proptest::sample::select(vec!["neuron", "softmax", "lstm-cell", "through-time"]),
    ) {
        let mut app = app(lesson);
        app.resize(size.0, size.1);
        for key in keys {
            // The list of lessons would record others.
            if key != Key::Char('L') {
                app.press(key);
            }
            views::text(&app);
            app.over = false;
        }
    }
}

/// The steps of a network share its weights: the nodes inside of one step make a part of a weight's
/// gradient, though inside of the step nothing else adds to it.
#[test]
fn inside_of_a_step_the_gradient_of_a_weight_is_a_part() {
    let mut app = app("through-time");
    strike(&mut app, "g n*5 i n*2");
    app.resize(80, 200);
    let inner = app.trace();
    let slot = |name: &str| inner.values.iter().position(|value| value.name == name).unwrap();
    let [weight, state] = ["weight_hh", "h'"].map(slot);
    assert_eq!(inner.values[weight].parts.len(), 1);
    assert!(app.is_part(weight) && app.is_shared(weight) && !app.is_shared(state));
    let node = inner.values[weight].parts[0].node;
    strike(&mut app, &format!(": \"{node}\" enter"));
    let text = views::text(&app);
    assert!(text.contains("→ adds to d_weight_hh"), "{text}");
    strike(&mut app, ": \"d_weight_hh[0,0]\" enter c");
    let told = common::told(&app);
    assert!(told.contains("Of this node: what this step adds to d_weight_hh[0,0]"), "{told}");
    assert!(told.contains("All that the open node adds to d_weight_hh[0,0], as it was"), "{told}");
    // Outside of the step it is the whole.
    strike(&mut app, "esc o : \"d_weight_hh[0,0]\" enter c");
    let told = common::told(&app);
    assert!(told.contains("The whole of d_weight_hh[0,0], as it was recorded"), "{told}");
    strike(&mut app, "esc i p");
    let text = views::text(&app);
    assert!(text.contains("what the open node adds to d_weight_hh"), "{text}");
}

/// The gradient of c' has a part from h', made inside of the step, and one that the next step brings.
#[test]
fn what_comes_in_from_outside_is_a_part() {
    let mut app = app("through-time");
    strike(&mut app, "x g : \"t=4\" enter i : \"d_c'\" enter");
    app.resize(100, 200);
    let text = views::text(&app);
    let inner = app.trace();
    let slot = inner.values.iter().position(|value| value.name == "c'").unwrap();
    let value = &inner.values[slot];
    assert_eq!((value.parts.len(), value.seed.is_some()), (1, true));
    let node = value.parts[0].node;
    strike(&mut app, &format!(": \"{node}\" enter"));
    let text = views::text(&app) + &text;
    assert!(text.contains("d_c' is the sum of 2 parts"), "{text}");
    assert!(text.contains("from outside"), "{text}");
    strike(&mut app, "c");
    assert!(common::told(&app).contains("Σ d_y·y: the sum of what goes out"), "{text}");
}
