//! Key strokes from a text, and the screens that they lead to.
//!
//! Words are separated by white space. A word is a key: a character (`n`), or a name (`enter`). With
//! `*` and a number it is struck so often: `n*5`. Text in double quotes is typed. `screen` prints the
//! screen; `size:100x30` gives it another size. `#` begins a comment, up to the end of the line.

use crate::app::App;
use crate::error::{Result, StepError};
use crate::key::Key;
use crate::views;

/// A command of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A key, so many times.
    Press(Key, usize),
    /// Text to type.
    Type(String),
    /// The screen is printed.
    Screen,
    /// The screen has another size.
    Size(u16, u16),
}

/// How often a key can be struck by one word.
const MOST: usize = 100_000;

/// Reads a script.
///
/// # Errors
/// A word is none of the above.
pub fn read(text: &str) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    for (line, text) in text.lines().enumerate() {
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        while let Some(&first) = characters.get(at) {
            if first.is_whitespace() {
                at += 1;
                continue;
            }
            if first == '#' {
                break;
            }
            let rest = &characters[at..];
            let length = match first {
                '"' => rest.iter().skip(1).position(|&c| c == '"').map(|end| end + 2),
                _ => rest.iter().position(|c| c.is_whitespace()),
            };
            let word: String = rest[..length.unwrap_or(rest.len())].iter().collect();
            let command = command(&word).ok_or_else(|| StepError::Script {
                line: line + 1,
                column: at + 1,
                word: word.clone(),
            })?;
            at += word.chars().count();
            commands.push(command);
        }
    }
    Ok(commands)
}

fn command(word: &str) -> Option<Command> {
    if word.len() > 1 && word.starts_with('"') {
        return Some(Command::Type(word.strip_prefix('"')?.strip_suffix('"')?.into()));
    }
    if word == "screen" {
        return Some(Command::Screen);
    }
    if let Some(size) = word.strip_prefix("size:") {
        let (columns, rows) = size_of(size)?;
        return Some(Command::Size(columns, rows));
    }
    if let Some(key) = Key::named(word).filter(|_| word != "\"") {
        return Some(Command::Press(key, 1));
    }
    let (name, times) = word.rsplit_once('*')?;
    let times = times.parse().ok().filter(|times| *times <= MOST)?;
    Some(Command::Press(Key::named(name)?, times))
}

/// A size such as `80x24`.
pub fn size_of(text: &str) -> Option<(u16, u16)> {
    let (columns, rows) = text.split_once('x')?;
    let within = |text: &str| text.parse().ok().filter(|size| (1..=1000).contains(size));
    Some((within(columns)?, within(rows)?))
}

/// Runs a script. Each screen is given to `out`; that at the end, too, when none was asked for.
///
/// # Errors
/// Those of `out`.
pub fn run<E>(
    app: &mut App,
    commands: &[Command],
    mut out: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut printed = false;
    for command in commands {
        match command {
            Command::Press(key, times) => (0..*times).for_each(|_| app.press(*key)),
            Command::Type(text) => text.chars().for_each(|c| app.press(Key::Char(c))),
            Command::Size(columns, rows) => app.resize(*columns, *rows),
            Command::Screen => {
                printed = true;
                out(&views::text(app))?;
            }
        }
        if app.over {
            break;
        }
    }
    if printed { Ok(()) } else { out(&views::text(app)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read() {
        let commands =
            read("n n*3 enter \"w=0.9\" # a comment\n\n size:100x30 screen * # x\n").unwrap();
        let expected = [
            Command::Press(Key::Char('n'), 1),
            Command::Press(Key::Char('n'), 3),
            Command::Press(Key::Enter, 1),
            Command::Type("w=0.9".into()),
            Command::Size(100, 30),
            Command::Screen,
            Command::Press(Key::Char('*'), 1),
        ];
        assert_eq!(commands, expected);
    }

    #[test]
    fn what_is_no_key_is_named_with_its_place() {
        for (text, line, column, word) in [
            ("n\n  b foo", 2, 5, "foo"),
            ("n*x", 1, 1, "n*x"),
            ("n*999999999", 1, 1, "n*999999999"),
            ("size:0x1", 1, 1, "size:0x1"),
            ("ü \"open", 1, 3, "\"open"),
            ("\"", 1, 1, "\""),
        ] {
            match read(text) {
                Err(StepError::Script { line: l, column: c, word: w }) => {
                    assert_eq!((l, c, &w[..]), (line, column, word), "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
