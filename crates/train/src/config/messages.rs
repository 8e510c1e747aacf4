//! What is wrong with a value, in words for people.

use std::fmt::Display;

/// The rule that a value breaks, and the value.
pub(crate) fn must_be(rule: &str, value: impl Display) -> String {
    format!("must be {rule}, not {value}")
}

/// A message of the TOML reader on one line, without the names of Rust's types, and with the name
/// that an unknown one is near to.
pub(super) fn plain(message: &str) -> String {
    let message = message.lines().collect::<Vec<_>>().join(" ");
    let mistaken = ["invalid type: ", "invalid value: "];
    if let Some(mistaken) = mistaken.iter().find_map(|start| message.strip_prefix(start))
        && let Some((found, expected)) = mistaken.rsplit_once(", expected ")
    {
        return must_be(kind(expected), described(found));
    }
    // The names stand between backticks: the unknown one first, then those that there are.
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(name) if message.starts_with("unknown ") => {
            let end = message.find(',').unwrap_or(message.len());
            let (unknown, list) = message.split_at(end);
            let list = list.replace("there are no fields", "no key but `name` is possible here");
            format!("{unknown}{}{list}", did_you_mean(name, quoted))
        }
        _ => message,
    }
}

/// What a value should be, from a type's name.
fn kind(expected: &str) -> &str {
    match expected {
        "usize" | "u64" | "u32" => "a whole number of at least 0",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "path string" => "a path",
        _ if expected.starts_with("struct ") || expected.contains("tagged enum") => "a table",
        _ => expected,
    }
}

/// A value that was found, as it is written.
fn described(found: &str) -> &str {
    match found {
        "map" => "a table",
        "sequence" => "a list",
        _ => {
            let kinds = ["string ", "integer ", "floating point ", "boolean "];
            let value = kinds.iter().find_map(|kind| found.strip_prefix(kind));
            value.unwrap_or(found).trim_matches('`')
        }
    }
}

/// ` (did you mean "hidden"?)` when one of the names is near, nothing otherwise.
pub(super) fn did_you_mean<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let near = usize::max(1, name.chars().count() / 3);
    let nearest = names.map(|other| (distance(name, other), other)).min();
    match nearest {
        Some((distance, other)) if distance <= near => format!(" (did you mean \"{other}\"?)"),
        _ => String::new(),
    }
}

/// How many characters have to be put in, taken out or exchanged to make one word of the other
/// (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // From the part of `a` so far to each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_characters() {
        let rows = [
            ("", "", 0),
            ("", "abc", 3),
            ("hiden", "hidden", 1),
            ("kitten", "sitting", 3),
            ("été", "ete", 2),
            ("abc", "cab", 2),
        ];
        for (a, b, expected) in rows {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn messages_have_no_words_of_rust() {
        let rows = [
            (
                "invalid type: string \"x\", expected usize",
                "must be a whole number of at least 0, not \"x\"",
            ),
            (
                "invalid value: integer `-8`, expected u64",
                "must be a whole number of at least 0, not -8",
            ),
            (
                "invalid type: floating point `1.5`, expected usize",
                "must be a whole number of at least 0, not 1.5",
            ),
            ("invalid type: map, expected f64", "must be a number, not a table"),
            ("invalid type: integer `3`, expected struct ModelConfig", "must be a table, not 3"),
            (
                "invalid type: string \", expected f64\", expected a boolean",
                "must be true or false, not \", expected f64\"",
            ),
            (
                "unknown field `factr`, expected `name` or `factor`",
                "unknown field `factr` (did you mean \"factor\"?), expected `name` or `factor`",
            ),
            (
                "unknown field `x`, expected `name` or `factor`",
                "unknown field `x`, expected `name` or `factor`",
            ),
            (
                "unknown field `warmup`, there are no fields",
                "unknown field `warmup`, no key but `name` is possible here",
            ),
            ("missing field `factor`", "missing field `factor`"),
            ("two\nlines", "two lines"),
            ("unknown field ``", "unknown field ``"),
        ];
        for (message, expected) in rows {
            assert_eq!(plain(message), expected);
        }
    }
}
