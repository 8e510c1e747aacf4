//! Where a function stands in our own source, found in the text that is built in: lines that are shown
//! cannot go stale.

use serde::{Deserialize, Serialize};
use unspool_tensor::sources::SourceFile;

/// Lines of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The file's path in the repository.
    pub path: String,
    /// The number of the first line, from 1.
    pub line: usize,
    /// The lines.
    pub text: String,
}

/// What is looked for in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A function outside of any `impl`, with the comment above it.
    Function(&'static str, &'static str),
    /// A function of a type: the file, the type as it stands behind `for` or `impl`, the function.
    Method(&'static str, &'static str, &'static str),
    /// A row of the table of functions of each element: from the op's name to its backward function.
    Row(&'static str, &'static str),
}

impl Place {
    /// The lines, out of these files; `None` when there is no such place.
    pub fn find(self, files: &[SourceFile]) -> Option<Excerpt> {
        let (Place::Function(path, _) | Place::Method(path, ..) | Place::Row(path, _)) = self;
        let file = files.iter().find(|file| file.path.ends_with(path))?;
        let lines: Vec<&str> = file.text.lines().collect();
        let whole = 0..lines.len();
        let (first, end) = match self {
            Place::Function(_, name) => function(&lines, whole, name)?,
            Place::Method(_, of, name) => {
                // A type may have several blocks of methods.
                let blocks = whole.filter(|&at| is_impl(&lines, at, of));
                blocks
                    .filter_map(|at| Some(at..closed(&lines, at)?))
                    .find_map(|block| function(&lines, block, name))?
            }
            Place::Row(_, name) => {
                let first = lines.iter().position(|line| {
                    let line = line.trim();
                    line.starts_with(&format!("{name} ")) && line.ends_with(';')
                })?;
                let last = (first..lines.len())
                    .find(|&at| lines[at].trim_start().starts_with("backward:"))?;
                (first, last + 1)
            }
        };
        let indent = lines[first].len() - lines[first].trim_start().len();
        let text: Vec<&str> =
            lines[first..end].iter().map(|line| line.get(indent..).unwrap_or("")).collect();
        Some(Excerpt { path: file.path.into(), line: first + 1, text: text.join("\n") })
    }
}

/// Whether an `impl` of a type begins on a line: `impl<..> Trait for Type ..` or `impl<..> Type ..`.
fn is_impl(lines: &[&str], at: usize, of: &str) -> bool {
    let line = lines[at];
    line.starts_with("impl")
        && [format!("for {of} "), format!("for {of}<"), format!(" {of}<"), format!(" {of} {{")]
            .iter()
            .any(|part| line.contains(part.as_str()))
}

/// The lines of a function within others, with the comments and attributes above it.
fn function(lines: &[&str], within: std::ops::Range<usize>, name: &str) -> Option<(usize, usize)> {
    let head = within.clone().find(|&at| {
        let declared = lines[at]
            .trim_start()
            .split_once("fn ")
            .filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        declared
            .and_then(|(_, rest)| rest.strip_prefix(name))
            .is_some_and(|rest| rest.starts_with(['(', '<']))
    })?;
    let end = closed(lines, head)?;
    let above = |at: usize| {
        let line = lines[at].trim_start();
        line.starts_with("///") || line.starts_with("#[")
    };
    let mut first = head;
    while first > within.start && above(first - 1) {
        first -= 1;
    }
    Some((first, end))
}

/// One past the line on which the first brace behind the start of a line is closed again.
fn closed(lines: &[&str], first: usize) -> Option<usize> {
    let (mut depth, mut opened) = (0usize, false);
    for (at, line) in lines.iter().enumerate().skip(first) {
        for c in code(line) {
            match c {
                '{' => (depth, opened) = (depth + 1, true),
                '}' => depth = depth.checked_sub(1)?,
                // A declaration without a body.
                ';' if !opened => return Some(at + 1),
                _ => {}
            }
            if opened && depth == 0 {
                return Some(at + 1);
            }
        }
    }
    None
}

/// The characters of a line that are code: no comments, no text in quotes. Array types in a
/// signature (`[T; 2]`) are left out, too: their semicolon ends nothing.
fn code(line: &str) -> impl Iterator<Item = char> + '_ {
    let (mut quoted, mut brackets, mut last, mut over) = (false, 0usize, ' ', false);
    let characters: Vec<char> = line.chars().collect();
    let mut kept = Vec::new();
    for (at, &c) in characters.iter().enumerate() {
        over |= !quoted && c == '/' && characters.get(at + 1) == Some(&'/');
        if over {
            break;
        }
        // A brace as a character.
        if !quoted && last == '\'' && characters.get(at + 1) == Some(&'\'') {
            last = c;
            continue;
        }
        if c == '"' && last != '\\' && last != '\'' {
            quoted = !quoted;
        }
        last = c;
        match c {
            _ if quoted => {}
            '[' => brackets += 1,
            ']' => brackets = brackets.saturating_sub(1),
            c if brackets == 0 => kept.push(c),
            _ => {}
        }
    }
    kept.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SourceFile = SourceFile {
        path: "crates/own/src/a.rs",
        text: "struct A;\n\nimpl<T> Op<T> for A {\n    /// Adds.\n    fn run(&self, x: [T; 2]) {\n        \
               if \"}\" == '{' { /* */ }\n    } // }\n\n    fn other() {}\n}\n\n/// Free.\nfn free<T>() {\n    1\n}\n\n    \
               B b;\n    forward: x;\n    backward: y;\n",
    };

    #[test]
    fn a_function_is_found_with_its_comment_and_its_end() {
        let find = |place: Place| place.find(&[FILE]).map(|found| (found.line, found.text));
        let (line, text) = find(Place::Method("a.rs", "A", "other")).unwrap();
        assert_eq!((line, &text[..]), (9, "fn other() {}"));
        let (line, text) = find(Place::Function("a.rs", "free")).unwrap();
        assert_eq!((line, &text[..]), (12, "/// Free.\nfn free<T>() {\n    1\n}"));
        assert_eq!(find(Place::Row("a.rs", "B")).unwrap().0, 17);
        assert_eq!(find(Place::Function("a.rs", "fre")), None);
        assert_eq!(find(Place::Method("a.rs", "B", "run")), None);
    }
}
