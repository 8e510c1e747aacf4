//! The pages of all lessons and of models: whole, small, the same each time, and safe whatever the
//! names in them. They are left in `target/tmp/pages`, where `tests/page` opens them in a browser.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use support::{Size, step, step_with};
use unspool_page::{BYTES, lesson_of, page};
use unspool_tensor::{Context, Tape};
use unspool_trace::lessons::{LESSONS, Lesson};
use unspool_trace::{Explanation, Extent, Limits, Node, Recorder, Settings, Trace};

#[path = "../../trace/tests/support/mod.rs"]
mod support;

/// What nobody should run.
const EVIL: &str = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\" onload='x";

fn kept(name: &str, lesson: &Lesson) -> String {
    let html = page(lesson).unwrap();
    let folder: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.html")), &html).unwrap();
    html
}

/// The lesson that a page holds.
fn read(html: &str) -> Lesson {
    let (_, data) = html.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    let data: serde_json::Value =
        serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    Lesson::deserialize(&data["lesson"]).unwrap()
}

#[track_caller]
fn hold(html: &str, lesson: &Lesson) {
    // All of it is there, to the last bit.
    assert_eq!(serde_json::to_string(&read(html)).unwrap(), serde_json::to_string(lesson).unwrap());
    assert_eq!(page(lesson).unwrap(), html);
    // Two scripts end: the data and the program, and none that came with the data.
    assert_eq!(html.matches("<script").count(), 2);
    assert_eq!(html.matches("</script>").count(), 2);
    assert!(!html.contains("{{"), "a mark is left");
    // Nothing is fetched: the namespaces of SVG and MathML are names.
    let outside = html.replace("http://www.w3.org/2000/svg", "");
    let outside = outside.replace("http://www.w3.org/1998/Math/MathML", "");
    for scheme in ["http:", "https:", "url(", "@import", "src=\""] {
        assert!(!outside.contains(scheme), "{scheme}");
    }
}

#[test]
fn every_lesson_is_a_page() {
    for listed in LESSONS {
        let lesson = listed.lesson().unwrap();
        let html = kept(listed.name, &lesson);
        hold(&html, &lesson);
        assert!(html.contains(&format!("<title>{} · Unspool</title>", listed.title)));
        assert!(html.len() < 2_000_000, "{}: {} bytes", listed.name, html.len());
    }
}

#[test]
fn a_model_opens_as_far_as_there_is_room() {
    // A word has no spaces.
    let size = Size { hidden: 24, layers: 2, words: 60, length: 8 };
    let trace = step(size, &EVIL.replace(' ', "/"), Context::sequential());
    let limits = Limits { digits: Some(7), ..Limits::default() };
    let opened = |lesson: &Lesson| {
        lesson.traces[0].nodes.iter().filter(|node| node.opened.is_some()).count()
    };
    let closed = lesson_of(&trace, &limits, 0).unwrap();
    assert_eq!(opened(&closed), 0);
    assert!(closed.text.iter().any(|text| text.contains("stay closed")));
    // With room for all of it, all is open, and each is equal to its fused node.
    let all = lesson_of(&trace, &limits, usize::MAX).unwrap();
    let every = |trace: &Trace| {
        let mut count = 0;
        trace.walk(&mut |_, _, node| {
            count += usize::from(node.opened.is_some());
            assert!(node.opened.as_ref().is_none_or(|opened| opened.distance() < 1e-10));
        });
        count
    };
    assert_eq!(every(&all.traces[0]), every(&trace));
    assert_eq!(all.text.len(), 1);
    let size = |lesson: &Lesson| serde_json::to_string(&lesson.traces[0]).unwrap().len();
    for share in [0.1, 0.5, 0.9] {
        let bytes = size(&closed) + ((size(&all) - size(&closed)) as f64 * share) as usize;
        let some = lesson_of(&trace, &limits, bytes).unwrap();
        let count = every(&some.traces[0]);
        assert!(count > 0 && count < every(&trace), "{count} at {share}");
        assert!(size(&some) <= bytes && size(&some) as f64 > 0.7 * bytes as f64, "{share}");
        assert!(opened(&some) > 0 && some.text.len() == 2);
    }
    let kept_open = lesson_of(&trace, &limits, 1_000_000).unwrap();
    hold(&kept("model", &kept_open), &kept_open);
}

/// Every trace that is in a page has a graph there, of all its nodes.
#[test]
fn a_page_says_where_the_nodes_of_each_trace_stand() {
    let lesson = unspool_trace::lessons::lesson("encoder-decoder").unwrap();
    let html = page(&lesson).unwrap();
    let (_, data) = html.split_once(r#"<script type="application/json" id="data">"#).unwrap();
    let data: serde_json::Value =
        serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap();
    let mut expected = BTreeSet::new();
    let mut hold = |path: String, trace: &Trace| {
        let graph = &data["graphs"][&path];
        let nodes = graph["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), trace.nodes.len(), "{path}");
        for place in nodes {
            let row = usize::try_from(place[1].as_u64().unwrap()).unwrap();
            assert!(place[0].as_u64() < graph["columns"].as_u64());
            assert!(place[2].as_u64() < graph["rows"][row]["levels"].as_u64());
        }
        expected.insert(path);
    };
    for (number, trace) in lesson.traces.iter().enumerate() {
        hold(number.to_string(), trace);
        trace.walk(&mut |path, _, node| {
            let path: Vec<_> = path.iter().map(ToString::to_string).collect();
            if let Some(opened) = &node.opened {
                hold(format!("{number}/{}", path.join("/")), &opened.trace);
            }
        });
    }
    let found: BTreeSet<_> = data["graphs"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(found, expected);
}

/// What does not fit becomes summaries, and the page says so.
#[test]
fn whole_arrays_do_not_make_a_page_too_large() {
    let size = Size { hidden: 24, layers: 1, words: 60, length: 5 };
    let settings = Settings {
        limits: Limits { numbers: 100_000, ..Limits::default() },
        extent: Extent::None,
        ..Settings::of_model()
    };
    let trace = step_with(size, "last", settings, Context::sequential());
    let limits = Limits { numbers: 100_000, digits: Some(7), ..Limits::default() };
    let length = |lesson: &Lesson| serde_json::to_string(&lesson.traces[0]).unwrap().len();
    let whole = lesson_of(&trace, &limits, usize::MAX).unwrap();
    let closed = lesson_of(&trace, &Limits { depth: 0, ..limits.clone() }, usize::MAX).unwrap();
    assert!(whole.traces[0].nodes.iter().any(|node| node.opened.is_some()));
    assert!(closed.traces[0].nodes.iter().all(|node| node.opened.is_none()));
    let bytes = length(&closed) / 2;
    let small = lesson_of(&trace, &limits, bytes).unwrap();
    assert!(length(&small) <= bytes, "{} of {bytes}", length(&small));
    assert!(small.text[1].contains("not of more than 100000"), "{:?}", small.text);
    // With no room at all there are summaries, and it is said that it is still large.
    let none = lesson_of(&trace, &limits, 0).unwrap();
    assert!(none.text.iter().any(|text| text.contains("large all the same")));
    assert!(length(&none) < length(&closed) / 2);
}

/// The weights of attention are there, however many more than 64 they are.
#[test]
fn attention_is_kept_whole() {
    let size = Size { hidden: 16, layers: 1, words: 40, length: 70 };
    let trace = step(size, "last", Context::sequential());
    let limits = Limits { digits: Some(7), ..Limits::default() };
    let lesson = lesson_of(&trace, &limits, usize::MAX).unwrap();
    let (mut weights, mut gradients) = (0, 0);
    lesson.traces[0].walk(&mut |_, trace, node| {
        if node.op != "additive_attention" {
            return;
        }
        let port = node.outputs.iter().find(|port| port.name == "weights").unwrap();
        weights += trace.values[port.slot].value.numbers().unwrap().len();
        let inner = &node.opened.as_ref().unwrap().trace;
        let inside = inner.find("weights").unwrap();
        gradients += inside.gradient.as_ref().unwrap().numbers().unwrap().len();
    });
    // The source ends with a token of its own.
    assert_eq!((weights, gradients), (71 * 70, 71 * 70));
}

#[test]
fn names_are_text() {
    let tape = Tape::<f64>::new(Context::sequential());
    let recorder = Recorder::new(&tape, EVIL);
    recorder.explain(Explanation::new("mul", EVIL).input(EVIL, EVIL).output("z", EVIL));
    let x = recorder.parameter(EVIL, tape.input(ndarray::arr1(&[0.5, f64::INFINITY])));
    let _scope = tape.scope(EVIL);
    let y = recorder.name(EVIL, (x * x).unwrap());
    let trace = recorder.finish(y.sum_all().unwrap()).unwrap();
    let lesson = Lesson {
        name: EVIL.into(),
        title: EVIL.into(),
        look: vec![EVIL.into()],
        text: vec![EVIL.into()],
        traces: vec![trace],
        series: Vec::new(),
    };
    let html = kept("names", &lesson);
    hold(&html, &lesson);
    assert!(!html.contains("<img"));
}

/// A model as people train them: what its page holds stays within its bytes.
#[test]
fn a_large_model_makes_a_page_below_five_megabytes() {
    let size = Size { hidden: 256, layers: 2, words: 8000, length: 26 };
    let trace = step(size, "last", Context::with_threads(0).unwrap());
    let limits = Limits { digits: Some(7), ..Limits::default() };
    let lesson = lesson_of(&trace, &limits, BYTES).unwrap();
    let html = kept("model-large", &lesson);
    assert!(html.len() < 5_000_000, "{} bytes", html.len());
    // The decoder over all time steps is among what is open: attention is in it.
    let decoder = lesson.traces[0].nodes.iter().find(|node| node.op == "decoder").unwrap();
    let inside = &decoder.opened.as_ref().unwrap().trace;
    let attends = |node: &&Node| node.op == "additive_attention";
    assert!(inside.nodes.iter().filter(attends).count() > 0);
    assert!(inside.nodes.iter().filter(attends).any(|node| node.opened.is_some()));
}
