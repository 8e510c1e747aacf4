//! Every lesson is walked to its end and back, and no key does harm.

use proptest::prelude::*;
use unspool_step::key::NAMED;
use unspool_step::look::Look;
use unspool_step::{App, Key, Options, Screen, script, views};
use unspool_trace::Step;
use unspool_trace::lessons::{LESSONS, lesson};

fn app(name: &str) -> App {
    let look = Look { colour: false, ascii: false };
    let options = Options { look, size: (80, 24), quiz: false, seed: 1 };
    App::new(lesson(name).unwrap(), options).unwrap()
}

fn strike(app: &mut App, keys: &str) {
    let commands = script::read(keys).unwrap();
    script::run(app, &commands, |_| Ok::<(), ()>(())).unwrap();
}

/// Walks the trace where one is, and into every node that opens.
fn walk(app: &mut App, nodes: &mut usize) {
    loop {
        let (step, place) = (app.current(), app.place.clone());
        let text = views::text(app);
        if let (Step::Backward(_), Some((_, node))) = (step, app.node()) {
            *nodes += 1;
            let explanation = &app.root().explanations[&node.explanation];
            for formula in explanation.forward.iter().take(1) {
                let start: String = formula.to_string().chars().take(20).collect();
                assert!(text.contains(&start), "no formula {formula}\n{text}");
            }
            let source = &explanation.backward_source[0];
            assert!(text.contains(&source.path), "no source\n{text}");
            assert!(text.contains("Local rule") && text.contains("Comes in"), "{text}");
            let (_, out) = text.split_once("Goes out").unwrap();
            assert!(out.contains('✓') || out.contains("not checked"), "no check\n{text}");
            assert!(!out.contains('✗'), "a wrong gradient\n{text}");
            let (_, forward) = text.split_once("Forward").unwrap();
            assert!(forward.contains(['+', '0']), "no numbers\n{text}");
            if node.opened.is_some() {
                app.press(Key::Char('i'));
                assert_eq!(app.place.path.len(), place.path.len() + 1);
                app.press(Key::Home);
                walk(app, nodes);
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

#[test]
fn every_lesson_is_walked_to_its_end_and_back() {
    for listed in LESSONS {
        let mut app = app(listed.name);
        // So high that nothing is beneath the screen.
        app.resize(120, 700);
        for _ in 0..app.lesson.traces.len() {
            let mut nodes = 0;
            walk(&mut app, &mut nodes);
            assert!(nodes > 2, "{}: {nodes} nodes", listed.name);
            app.press(Key::Char('x'));
        }
        assert_eq!(app.place.trace, 0, "x goes round");
    }
}

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
        assert!(text.contains("apart by") && text.contains('✓'), "{name}: {text}");
        assert!(!text.contains('✗'), "{name}: {text}");
    }
}

#[test]
fn a_quiz_hides_judges_and_counts() {
    let mut app = app("neuron");
    strike(&mut app, "z");
    let question = app.question().unwrap();
    assert!(views::text(&app).contains(&format!("{} = ?", question.name)));
    strike(&mut app, "c");
    assert!(app.message.contains("guess first"));
    // The loss is half of the square's sum: its gradient is a half.
    strike(&mut app, "enter \"0.5\" enter");
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1, 1));
    strike(&mut app, "enter \"9\" enter");
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1, 1), "the first guess counts");
    strike(&mut app, "n enter \"12\" enter");
    assert!(app.message.starts_with("wrong:"), "{}", app.message);
    assert_eq!(app.quiz.as_ref().unwrap().score(), (1, 2));
    strike(&mut app, "z");
    assert!(
        matches!(&app.screen, Screen::Told { lines, .. } if lines[0].starts_with("1 of 2 right; hints: 0"))
    );
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
            assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)));
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
