//! What stands in the place of directives that have lines of their own. Each answer begins with an
//! element that Markdown leaves alone up to an empty line, and ends with an empty line.

use std::fmt::Write;

use unspool_plot::computation;
use unspool_trace::graph::{Graph, in_words};
use unspool_trace::source::Excerpt;
use unspool_trace::trace::{Method, Origin, Port, Verdict};
use unspool_trace::{Check, Explanation, Formula, Value};

use crate::arrays::{lines, place, shape, table, whole};
use crate::directive::{Answer, Asked};
use crate::inline::mathml;
use crate::jacobians;
use crate::numbers::{escaped, shown, tiny};
use crate::shelf::{Shelf, explained, function};

/// Contributions of more numbers are shown by their norms.
const FEW: usize = 12;
/// Checks of more numbers show the first of them.
const CHECKS: usize = 16;
/// A picture of more boxes cannot be read.
const BOXES: usize = 150;

/// The answer; `None` when there is no such directive.
pub fn answer(shelf: &Shelf, asked: Asked<'_>, words: &[&str]) -> Option<Answer> {
    Some(match (asked.name, words) {
        ("math", _) => {
            mathml(asked.rest).map(|math| format!("<div class=\"formula\">{math}</div>\n"))
        }
        ("formulas", [op]) => explained(op).map(|found| formulas(&found)),
        ("rule", [op, input]) => explained(op).and_then(|found| rule(&found, input)),
        ("forward", [op]) => explained(op).and_then(|found| quoted(&found.forward_source)),
        ("backward", [op]) => explained(op).and_then(|found| quoted(&found.backward_source)),
        ("function", [path, name]) => function(path, name).and_then(|found| quoted(&[found])),
        ("array", [path, name, which @ ..]) => array(shelf, path, name, which),
        ("parts", [path, name]) => parts(shelf, path, name),
        ("check", [path, name]) => check(shelf, path, name),
        ("inputs", [path]) => inputs(shelf, path),
        ("series", [name]) => series(shelf, name),
        ("jacobians", [path]) => shelf.trace(path).and_then(|x| jacobians::table(x, shown)),
        ("picture", [path]) => picture(shelf, path, false),
        ("picture", [path, "gradients"]) => picture(shelf, path, true),
        ("page", [name]) => page(shelf, name),
        _ => return None,
    })
}

fn list(formulas: &[Formula]) -> String {
    formulas.iter().map(Formula::mathml).collect()
}

fn formulas(of: &Explanation) -> String {
    let mut out = format!(
        "<div class=\"formulas\"><p><code>{}</code>: {}</p>",
        escaped(&of.op),
        escaped(&of.title)
    );
    // Writing to a string does not fail.
    let _ = write!(out, "<h4>Forward</h4>{}<h4>Backward</h4>", list(&of.forward));
    for rule in &of.backward {
        out.push_str(&list(&rule.formulas));
    }
    let symbols: Vec<String> = (of.inputs.iter().chain(&of.outputs).chain(&of.symbols))
        .map(|x| format!("<code>{}</code> {}", escaped(&x.name), escaped(&x.meaning)))
        .collect();
    let _ = write!(out, "<p class=\"small\">{}</p>", symbols.join("; "));
    for (title, text) in [("Kept", &of.saved), ("Note", &of.remark)] {
        if !text.is_empty() {
            let _ = write!(out, "<p class=\"small\">{title}: {}</p>", escaped(text));
        }
    }
    out + "</div>\n\n"
}

fn rule(of: &Explanation, input: &str) -> Answer {
    match of.rule(input) {
        [] => Err(format!("{} has no rule for {input:?}", of.op)),
        formulas => Ok(format!("<div class=\"formula\">{}</div>\n\n", list(formulas))),
    }
}

/// Lines of source, each excerpt beneath the place that it is from. The first one is what the op does;
/// what runs it, or is run by it, is folded.
fn quoted(excerpts: &[Excerpt]) -> Answer {
    let [first, rest @ ..] = excerpts else { return Err("its lines were not found".into()) };
    let quote = |Excerpt { path, line, text }: &Excerpt| {
        // The fence is longer than any that stands in a comment.
        let path = escaped(path);
        format!("<p class=\"source\">{path}:{line}</p>\n\n`````rust,ignore\n{text}\n`````\n\n")
    };
    let mut out = quote(first);
    if !rest.is_empty() {
        let mut files: Vec<&str> =
            rest.iter().map(|one| one.path.rsplit('/').next().unwrap_or(&one.path)).collect();
        files.dedup();
        let files = escaped(&files.join(", "));
        let _ = write!(out, "<details><summary>What goes with it, in {files}</summary>\n\n");
        rest.iter().for_each(|one| out.push_str(&quote(one)));
        out.push_str("</details>\n\n");
    }
    Ok(out)
}

/// All numbers that a computation begins with, folded.
fn inputs(shelf: &Shelf, path: &str) -> Answer {
    let leaves = shelf.trace(path)?.values.iter().filter(|value| {
        !matches!(value.origin, Origin::Output { .. }) && !value.readers.is_empty()
    });
    let tables: Result<String, String> =
        leaves.map(|value| table(&value.name, &value.value)).collect();
    Ok(format!("<details><summary>All inputs and weights</summary>{}</details>\n\n", tables?))
}

fn array(shelf: &Shelf, path: &str, name: &str, which: &[&str]) -> Answer {
    let value = shelf.value(path, name)?;
    let html = match which {
        [] => table(name, &value.value),
        ["gradient"] => table(&format!("d_{name}"), shelf.gradient(path, name)?),
        ["updated"] => {
            let updated = value.updated.as_ref();
            let updated = updated.ok_or_else(|| format!("{path} does not update {name}"))?;
            table(&format!("{name} after the update"), updated)
        }
        other => Err(format!("{:?} is neither gradient nor updated", other.join(" "))),
    }?;
    Ok(html + "\n\n")
}

/// A table with these heads and rows.
fn rows(heads: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = heads.iter().map(|text| format!("<th scope=\"col\">{text}</th>")).collect();
    let row = |cells: &Vec<String>| {
        let cells: String = cells.iter().map(|text| format!("<td>{text}</td>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let body: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
}

/// What a gradient is the sum of, with the sum so far.
fn parts(shelf: &Shelf, path: &str, name: &str) -> Answer {
    let (trace, value) = (shelf.trace(path)?, shelf.value(path, name)?);
    let gradient = shelf.gradient(path, name)?;
    let columns = gradient.shape.last().copied().unwrap_or(1);
    let mut sum = vec![0.0; whole(gradient)?.len()];
    let few = sum.len() <= FEW;
    let show = |numbers: &[f64]| match few {
        true => lines(numbers, columns),
        false => shown(numbers.iter().map(|x| x * x).sum::<f64>().sqrt()),
    };
    let mut all = Vec::new();
    let seed = value.seed.iter().map(|seed| ("none: from outside".to_owned(), None, seed));
    let nodes = value.parts.iter().zip(trace.parts(value)).map(|(at, (node, part))| {
        let mut node_name = format!("<code>{} {}</code>", at.node, escaped(&node.op));
        // Of a node that reads the value twice, as what.
        let port = node.inputs.get(part.input);
        let twice =
            |port: &&Port| node.inputs.iter().filter(|other| other.slot == port.slot).count() > 1;
        if let Some(port) = port.filter(twice) {
            let _ = write!(node_name, ", {}", escaped(&port.name));
        }
        if !node.scope.is_empty() {
            let _ = write!(node_name, " ({})", escaped(&node.scope));
        }
        (node_name, part.time, &part.value)
    });
    for (from, time, part) in seed.chain(nodes) {
        let part = whole(part)?;
        sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        let time = time.map_or(String::new(), |time| format!("t={time}"));
        all.push(vec![from, time, show(part), show(&sum)]);
    }
    if all.is_empty() {
        return Err(format!("d_{name} in {path} has no parts"));
    }
    let heads = match few {
        true => ["from node", "", "adds", "sum so far"],
        false => ["from node", "", "norm of what it adds", "norm of the sum so far"],
    };
    // Without a column of nothing.
    let timeless = all.iter().all(|cells| cells.get(1).is_some_and(String::is_empty));
    let keep: Vec<usize> = (0..4).filter(|&column| column != 1 || !timeless).collect();
    let heads: Vec<&str> = keep.iter().map(|&at| heads[at]).collect();
    let all: Vec<Vec<String>> =
        all.iter().map(|cells| keep.iter().map(|&at| cells[at].clone()).collect()).collect();
    Ok(format!(
        "<div class=\"array parts\"><p>What <code>d_{}</code>{} is the sum of</p>{}</div>\n\n",
        escaped(name),
        shape(&gradient.shape),
        rows(&heads, &all)
    ))
}

/// What was computed beside what the check found.
fn check(shelf: &Shelf, path: &str, name: &str) -> Answer {
    let value = shelf.value(path, name)?;
    let gradient = shelf.gradient(path, name)?;
    let check = value.check.as_ref().ok_or_else(|| format!("d_{name} in {path} has no check"))?;
    let numbers = whole(gradient)?;
    let compared: Vec<(usize, f64, f64)> = numbers
        .iter()
        .enumerate()
        .filter_map(|(at, &x)| Some((at, x, check.expected(at)?)))
        .collect();
    let cells = |&(at, x, found): &(usize, f64, f64)| {
        let untold = check.untold.iter().any(|one| one.at == at);
        let apart = match untold {
            true => "cannot be told".into(),
            false => tiny((x - found).abs()),
        };
        let mut cells = vec![shown(x), shown(found), apart];
        if !gradient.shape.is_empty() {
            cells.insert(0, place(at, &gradient.shape, 0));
        }
        cells
    };
    let all: Vec<Vec<String>> = compared.iter().take(CHECKS).map(cells).collect();
    let of = format!("<code>d_{}</code>", escaped(name));
    let heads = ["place", &of, "the check", "difference"];
    let heads = if gradient.shape.is_empty() { &heads[1..] } else { &heads[..] };
    let table = if all.is_empty() { String::new() } else { rows(heads, &all) };
    let more = match compared.len().saturating_sub(CHECKS) {
        0 => String::new(),
        more => format!(" The other {more} are not shown."),
    };
    Ok(format!(
        "<div class=\"array check\"><p>{of}, checked</p>{table}<p class=\"small\">{}{more}</p></div>\n\n",
        verdict(check, value)
    ))
}

fn verdict(check: &Check, value: &Value) -> String {
    let against = match check.method {
        Method::None => return format!("Not checked: {}.", escaped(&check.remark)),
        Method::Differences => "finite differences of the op",
        Method::Whole => "finite differences: all behind it run again with the number moved",
        Method::Twin => "what the simpler ops inside say",
        Method::Sum => "the sum of its parts, which are checked themselves",
    };
    let sign = match check.verdict() {
        Verdict::Right => "✓ ",
        Verdict::Wrong => "✗ ",
        Verdict::Untold | Verdict::Unchecked => "",
    };
    let untold = match check.untold.len() {
        0 => String::new(),
        count => {
            let reason = check.untold.first().map_or("", |one| one.reason.as_str());
            format!(", {count} cannot be told ({})", escaped(reason))
        }
    };
    let parts = if value.parts.len() > 1 { " of the whole sum" } else { "" };
    let plural = if check.checked() == 1 { "" } else { "s" };
    format!(
        "{sign}{} number{plural}{parts} against {against}; {} wrong{untold}. The largest difference is {} of \
         the largest number.",
        check.checked(),
        check.wrong.len(),
        tiny(check.error)
    )
}

/// The numbers of a lesson by time step.
fn series(shelf: &Shelf, name: &str) -> Answer {
    let lesson = shelf.lesson(name)?;
    let mut times: Vec<usize> =
        lesson.series.iter().flat_map(|one| one.points.iter().map(|&(time, _)| time)).collect();
    times.sort_unstable();
    times.dedup();
    if times.is_empty() {
        return Err(format!("{name} has no series"));
    }
    let heads: Vec<String> = times.iter().map(|time| format!("t={time}")).collect();
    let mut shown_heads = vec![""];
    shown_heads.extend(heads.iter().map(String::as_str));
    let row = |one: &unspool_trace::lessons::Series| {
        let at = |time: &usize| one.points.iter().find(|(other, _)| other == time);
        let mut cells = vec![escaped(&one.name)];
        cells.extend(
            times.iter().map(|time| at(time).map_or(String::new(), |&(_, number)| shown(number))),
        );
        cells
    };
    let all: Vec<Vec<String>> = lesson.series.iter().map(row).collect();
    Ok(format!("<div class=\"array series\">{}</div>\n\n", rows(&shown_heads, &all)))
}

/// The graph of a trace.
fn picture(shelf: &Shelf, path: &str, gradients: bool) -> Answer {
    let trace = shelf.trace(path)?;
    let graph = Graph::of(trace);
    let boxes = graph.boxes.len();
    if boxes > BOXES {
        return Err(format!("{boxes} boxes are too many for a picture: {BOXES} at most"));
    }
    let name = path.replace([':', '/'], "-") + if gradients { "-gradients" } else { "" };
    let what = if gradients { ", with the gradients that flow back" } else { "" };
    let title = escaped(&graph.title);
    let words = escaped(&in_words(trace, gradients));
    let picture = computation(&graph, gradients);
    let [width, height] = picture.size();
    shelf.keep_picture(name.clone(), picture.svg());
    Ok(format!(
        "<figure class=\"picture\"><div class=\"wide\" tabindex=\"0\"><img src=\"pictures/{name}.svg\" \
         width=\"{width}\" height=\"{height}\" style=\"--width:{width}px\" alt=\"The graph of \
         {title}{what}: {words}\"></div><figcaption>{title}{what} (<a href=\"pictures/{name}.svg\">the \
         picture alone</a>)</figcaption></figure>\n\n"
    ))
}

/// Where the lesson can be walked through.
fn page(shelf: &Shelf, name: &str) -> Answer {
    let lesson = shelf.lesson(name)?;
    Ok(format!(
        "<div class=\"page\"><p><a href=\"pages/{name}.html\">Walk through it: {}</a></p><p>In a terminal: \
         <code>unspool step {name}</code>. As a page of your own: <code>unspool trace {name} --html \
         {name}.html</code></p></div>\n\n",
        escaped(&lesson.title)
    ))
}
