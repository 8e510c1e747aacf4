//! What stands in the place of directives within a line.

use unspool_trace::{Array, Formula, Step};

use crate::arrays::whole;
use crate::directive::{Answer, Asked};
use crate::numbers::{escaped, shown};
use crate::shelf::{Shelf, node};

/// A browser breaks no formula within a line: on a phone one of more characters scrolls.
const LONG: usize = 36;

/// The answer; `None` when it is no directive of this kind.
pub fn answer(shelf: &Shelf, asked: Asked<'_>, words: &[&str]) -> Option<Answer> {
    Some(match (asked.name, words) {
        ("$", _) => within(asked.rest),
        ("number", [path, name, at @ ..]) => {
            shelf.value(path, name).and_then(|value| Ok(shown(element(&value.value, at)?)))
        }
        ("minus", [path, name, at @ ..]) => {
            shelf.value(path, name).and_then(|value| Ok(shown(-element(&value.value, at)?)))
        }
        ("gradient", [path, name, at @ ..]) => {
            shelf.gradient(path, name).and_then(|gradient| Ok(shown(element(gradient, at)?)))
        }
        ("exp", [path, name, at @ ..]) => {
            shelf.value(path, name).and_then(|value| Ok(shown(element(&value.value, at)?.exp())))
        }
        ("contribution", [path, name, part, at @ ..]) => contribution(shelf, path, name, part, at),
        ("norm", [path, name]) => shelf.value(path, name).map(|value| shown(value.value.norm())),
        ("norm", [path, name, "gradient"]) => {
            shelf.gradient(path, name).map(|gradient| shown(gradient.norm()))
        }
        ("ratio", [path, name, other]) => ratio(shelf, path, name, other),
        ("loss-after", [path]) => shelf.trace(path).and_then(|trace| {
            let update = trace.update.as_ref().ok_or_else(|| format!("{path} has no update"))?;
            Ok(shown(update.loss_after))
        }),
        ("walk", [path, name, pass]) => walk(shelf, path, name, pass),
        _ => return None,
    })
}

/// A formula within a line.
fn within(formula: &str) -> Answer {
    let math = mathml(formula)?.replacen(" display=\"block\"", "", 1);
    Ok(match formula.chars().count() > LONG {
        true => format!("<span class=\"long\">{math}</span>"),
        false => math,
    })
}

/// A link to a node in the lesson's page, on the way forward or backward.
fn walk(shelf: &Shelf, path: &str, name: &str, pass: &str) -> Answer {
    let place = shelf.at(path)?;
    let (index, node) = node(path, place.trace, name)?;
    let step = match pass {
        "forward" => Step::Forward(index),
        "backward" => Step::Backward(index),
        other => return Err(format!("{other:?} is neither forward nor backward")),
    };
    if !place.trace.steps.contains(&step) {
        return Err(format!("{path}: the walk does not pass {name} on the way {pass}"));
    }
    let open: String = place.open.iter().map(|index| format!("o{index}/")).collect();
    let hash = format!("t{}/{open}n{index}/{pass}", place.number);
    let time = node.time.map_or(String::new(), |time| format!(" at t={time}"));
    let op = escaped(&node.op);
    Ok(format!(
        "<a class=\"walk\" href=\"pages/{}.html#{hash}\">{op}{time}, {pass}</a>",
        place.lesson.name
    ))
}

/// A formula as a `math` element of its own.
pub fn mathml(formula: &str) -> Answer {
    formula.parse().map(|formula: Formula| formula.mathml()).map_err(|error| error.to_string())
}

/// An element of an array by its indices.
fn element(array: &Array, indices: &[&str]) -> Result<f64, String> {
    let shape = &array.shape;
    let wrong = || format!("{} is no place in an array of shape {shape:?}", indices.join(" "));
    if indices.len() != shape.len() {
        return Err(wrong());
    }
    let mut at = 0;
    for (index, &length) in indices.iter().zip(shape) {
        let index = index.parse::<usize>().ok().filter(|&index| index < length);
        at = at * length + index.ok_or_else(wrong)?;
    }
    whole(array)?.get(at).copied().ok_or_else(wrong)
}

fn contribution(shelf: &Shelf, path: &str, name: &str, part: &str, at: &[&str]) -> Answer {
    let (trace, value) = (shelf.trace(path)?, shelf.value(path, name)?);
    let parts: Vec<_> = trace.parts(value).collect();
    let part = part.parse::<usize>().ok().and_then(|part| parts.get(part));
    let (_, part) =
        part.ok_or_else(|| format!("d_{name} in {path} has parts 0 to {}", parts.len()))?;
    Ok(shown(element(&part.value, at)?))
}

fn ratio(shelf: &Shelf, path: &str, name: &str, other: &str) -> Answer {
    Ok(shown(shelf.gradient(path, name)?.norm() / shelf.gradient(path, other)?.norm()))
}
