//! The book, built into `target/tmp/book`: every link, anchor and picture is there, nothing of elsewhere
//! is loaded, and no directive is left. And a directive that asks for what there is not is named by
//! file and line.

mod pages;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pages::{Element, elements, files, target};
use unspool_book::{BookError, build, build_from};
use unspool_trace::lessons::LESSONS;
use unspool_trace::{Step, Trace};

/// Where addresses stand that a browser loads by itself.
const LOADED: [(&str, &str); 9] = [
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("iframe", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("object", "data"),
    ("embed", "src"),
];

#[test]
fn the_book_builds_and_all_of_its_links_lead_somewhere() {
    // It stays there, to be looked at.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("book");
    build(&folder).unwrap();
    let all = files(&folder);
    let chapters: Vec<&String> = all.iter().filter(|file| is_chapter(file)).collect();
    assert!(chapters.len() >= 16, "{chapters:?}");

    let read = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let pages: BTreeMap<&String, Vec<Element>> =
        chapters.iter().map(|&file| (file, elements(&read(file)))).collect();
    let anchors: BTreeMap<&String, BTreeSet<&str>> = pages
        .iter()
        .map(|(file, page)| (*file, page.iter().filter_map(|x| x.attribute("id")).collect()))
        .collect();

    // What stands behind the # of a lesson's page is a place in the walk.
    let places = walks();
    let (mut wrong, mut links, mut pictures, mut walked) = (Vec::new(), 0, 0, 0);
    for (file, page) in &pages {
        for element in page {
            for (attribute, value) in &element.attributes {
                let loaded = LOADED.contains(&(element.name.as_str(), attribute.as_str()));
                if !loaded && (element.name.as_str(), attribute.as_str()) != ("a", "href") {
                    continue;
                }
                links += 1;
                pictures += usize::from(element.name == "img");
                let Some((path, anchor)) = target(file, value) else {
                    // Elsewhere: a link may lead there, but nothing may be loaded from there.
                    if loaded {
                        wrong.push(format!("{file}: {value} is loaded from elsewhere"));
                    }
                    continue;
                };
                match anchor {
                    _ if !all.contains(&path) => wrong.push(format!("{file}: {value}: no {path}")),
                    Some(anchor) if is_chapter(&path) && !anchors[&path].contains(&*anchor) => {
                        wrong.push(format!("{file}: {value}: no such anchor"));
                    }
                    Some(anchor) if path.starts_with("pages/") => {
                        walked += 1;
                        if !places.contains(&format!("{path}#{anchor}")) {
                            wrong.push(format!("{file}: {value}: no such step"));
                        }
                    }
                    _ => {}
                }
                if element.name == "img" && element.attribute("alt").is_none_or(str::is_empty) {
                    wrong.push(format!("{file}: {value} has no text for those who do not see it"));
                }
            }
        }
        let text = read(file);
        for mark in ["{{#", "{{$", "<parsererror"] {
            if let Some(at) = text.find(mark) {
                let rest: String = text[at..].chars().take(60).collect();
                wrong.push(format!("{file}: {rest:?} is left"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(links > 300 && pictures > 10, "{links} links and {pictures} pictures");
    assert!(walked > 30, "{walked} links to steps");

    for style in all.iter().filter(|file| file.ends_with(".css")) {
        let text = read(style);
        assert!(!text.contains("url(http") && !text.contains("url(//"), "{style}");
        assert!(!text.contains("@import"), "{style}");
    }
    // The chapters are there, with the pages of their lessons.
    for listed in LESSONS {
        let chapter = format!("{}.html", listed.name);
        let page = format!("pages/{}.html", listed.name);
        let text = read(&chapter);
        assert!(all.contains(&page), "{page}");
        for part in [format!("href=\"{page}\""), "<math".into(), "<details".into()] {
            assert!(text.contains(&part), "{chapter} has no {part}");
        }
        // One leads to the other.
        let back =
            elements(&read(&page)).into_iter().find(|x| x.attribute("id") == Some("chapter"));
        let back = back.and_then(|link| target(&page, link.attribute("href")?));
        assert_eq!(back, Some((chapter, None)));
    }
}

/// All steps of all lessons, by the addresses that their pages have for them.
fn walks() -> BTreeSet<String> {
    fn inner(start: &str, trace: &Trace, all: &mut BTreeSet<String>) {
        for step in &trace.steps {
            match step {
                Step::Forward(node) => all.insert(format!("{start}n{node}/forward")),
                Step::Backward(node) => all.insert(format!("{start}n{node}/backward")),
                Step::Update => all.insert(format!("{start}update")),
            };
        }
        for (number, node) in trace.nodes.iter().enumerate() {
            if let Some(opened) = &node.opened {
                inner(&format!("{start}o{number}/"), &opened.trace, all);
            }
        }
    }
    let mut all = BTreeSet::new();
    for listed in LESSONS {
        for (number, trace) in listed.lesson().unwrap().traces.iter().enumerate() {
            inner(&format!("pages/{}.html#t{number}/", listed.name), trace, &mut all);
        }
    }
    all
}

/// Pages of mdBook, not those of the lessons.
fn is_chapter(file: &str) -> bool {
    file.ends_with(".html") && !file.starts_with("pages/") && file != "toc.html"
}

/// A book of one chapter.
fn small_book(chapter: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("book.toml"), folder.path().join("book.toml")).unwrap();
    fs::copy(root.join("book.css"), folder.path().join("book.css")).unwrap();
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/SUMMARY.md"), "- [One](one.md)\n").unwrap();
    fs::write(folder.path().join("src/one.md"), chapter).unwrap();
    folder
}

#[test]
fn what_is_asked_for_and_is_not_there_is_an_error_with_its_line() {
    // directive, a part of what is said
    let rows = [
        ("{{#nothing}}", "no such directive"),
        ("{{#number nobody x}}", "there is no lesson \"nobody\"; there are neuron, "),
        ("{{#number neuron:2 x}}", "computations 1 to 1"),
        ("{{#number neuron nothing}}", "no value \"nothing\"; it has x, w, "),
        ("{{#number neuron x}}", "no place in an array of shape [3]"),
        ("{{#number neuron x 3}}", "no place in an array of shape [3]"),
        ("{{#number neuron/nothing x 0}}", "no node \"nothing\"; there are mul, sum, "),
        ("{{#number neuron/z x 0}}", "mul is not made of simpler ops"),
        ("{{#number through-time/rnn_step x 0}}", "5 nodes \"rnn_step\": name one by"),
        ("{{#walk neuron nothing backward}}", "no node \"nothing\""),
        ("{{#walk neuron y sideways}}", "neither forward nor backward"),
        ("{{#walk softmax/cross_entropy/log_softmax max backward}}", "does not pass max"),
        ("{{#gradient neuron wanted}}", "no gradient reaches wanted"),
        ("{{#contribution neuron w 7 0}}", "parts 0 to 1"),
        ("{{#loss-after softmax}}", "has no update"),
        ("{{#array neuron x updated}}", "does not update x"),
        ("{{#array neuron x down}}", "neither gradient nor updated"),
        ("{{#forward nothing}}", "there is no op \"nothing\"; there are "),
        ("{{#rule tanh y}}", "no rule for \"y\""),
        ("{{#function lstm.rs nothing}}", "has no function nothing"),
        ("{{#function nothing.rs f}}", "0 files end in"),
        ("{{#series neuron}}", "has no series"),
        ("{{#math x +}}", "column 4"),
        ("{{$)}}", "column 1"),
        ("text {{#array neuron x}}", "alone on its line"),
        ("{{#page", "is not closed"),
    ];
    let text: String = rows.iter().map(|(asked, _)| format!("{asked}\n\n")).collect();
    let book = small_book(&format!("# One\n\n{text}"));
    let into = tempfile::tempdir().unwrap();
    let error = build_from(book.path(), &into.path().join("out")).unwrap_err();
    let BookError::Directives(problems) = &error else { panic!("{error}") };
    assert_eq!(problems.len(), rows.len(), "{error}");
    for (number, (problem, (asked, said))) in problems.iter().zip(rows).enumerate() {
        assert_eq!(problem.line, 3 + 2 * number, "{problem}");
        assert!(problem.to_string().starts_with("src/one.md:"), "{problem}");
        assert!(problem.what.contains(said), "{asked}: {problem}");
    }
    assert!(!into.path().join("out").exists(), "half a book was written");
}

#[test]
fn what_directives_give_is_what_the_lesson_computes() {
    let chapter = "# One\n\nA: {{#number neuron y}}, {{#gradient neuron w 2}}, {{#loss-after neuron}}, \
                   {{#norm neuron x}}, {{$d_x = W_ihᵀ}}, {{#exp neuron b}}.\n\n\
                   {{$d_e[s] = w[s]·(d_w[s] − Σⱼ w[j]·d_w[j])}}\n\n{{#array neuron w \
                   updated}}\n\n{{#minus neuron y}}\n\n{{#inputs neuron}}\n\n{{#backward linear_cross_entropy}}\n\n{{#parts \
                   dot-attention memory}}\n\n{{#check embedding table}}\n\n{{#forward tanh}}\n\n{{#parts expression w}}\n\n{{#check neuron \
                   b}}\n\n{{#picture neuron}}\n\n{{#walk neuron y backward}} {{#walk lstm-cell/lstm_step f \
                   forward}}\n";
    let book = small_book(chapter);
    let into = tempfile::tempdir().unwrap();
    build_from(book.path(), into.path()).unwrap();
    let page = fs::read_to_string(into.path().join("one.html")).unwrap();
    for part in [
        "A: −0.3799, −1.506, 0.106, 2.291, <span class=\"together\"><math><mrow>",
        "1.105.</p>",
        "<p><span class=\"long\"><math>",
        "<code>w after the update</code> [3]",
        "tanh",
        "sum so far",
        "✓ 1 number against finite differences",
        "<p>0.3799</p>",
        "<summary>All inputs and weights</summary>",
        "<summary>What goes with it, in cross_entropy.rs</summary>",
        "<code>0 dot_attention</code>, values",
        "<code>3 mul</code>",
        "<td>cannot be told</td>",
        "2 cannot be told (cut off by decree",
        "<img src=\"pictures/neuron.svg\"",
        "how far it is from 0.5: mul of x, w makes z; ",
        "<a class=\"walk\" href=\"pages/neuron.html#t0/n3/backward\">tanh, backward</a>",
        "<a class=\"walk\" href=\"pages/lstm-cell.html#t0/o0/n",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    // Our own lines, with the number that the first of them has in its file.
    let explained = unspool_trace::explanation("tanh").unwrap();
    let source = &explained.forward_source[0];
    assert!(page.contains(&format!("{}:{}", source.path, source.line)));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file = fs::read_to_string(root.join(&source.path)).unwrap();
    let line = file.lines().nth(source.line - 1).unwrap().trim();
    assert!(page.contains(line.split('(').next().unwrap()), "{line}");
    let picture = fs::read_to_string(into.path().join("pictures/neuron.svg")).unwrap();
    assert!(picture.starts_with("<svg"));
}

#[test]
fn the_same_book_has_the_same_bytes() {
    let book = small_book("# One\n\n{{#array neuron w}}\n\n{{#picture neuron gradients}}\n");
    let build = || {
        let into = tempfile::tempdir().unwrap();
        build_from(book.path(), into.path()).unwrap();
        let all = files(into.path()).into_iter();
        let read = |file: String| (fs::read(into.path().join(&file)).unwrap(), file);
        all.map(read).collect::<Vec<_>>()
    };
    let (one, two) = (build(), build());
    assert_eq!(one.len(), two.len());
    for (one, two) in one.iter().zip(&two) {
        assert!(one == two, "{} differs", one.1);
    }
}
