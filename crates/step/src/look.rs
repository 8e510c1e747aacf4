//! How numbers and words look: with colour or without, in Unicode or in ASCII.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Numbers are coloured; without, a sign of their size stands behind them.
    pub colour: bool,
    /// Nothing but ASCII.
    pub ascii: bool,
}

/// Blues for negative numbers and oranges for positive ones, from small to large.
const NEGATIVE: [u8; 4] = [110, 74, 39, 33];
const POSITIVE: [u8; 4] = [180, 215, 208, 202];

/// Beside a number without colour: how large it is, from nothing to the array's largest.
const SIZES: [char; 5] = [' ', '.', ':', '*', '#'];

impl Look {
    /// The style of a number in an array whose largest is `top`.
    pub fn number(self, x: f64, top: f64) -> Style {
        match (self.colour, level(x, top)) {
            (false, _) => Style::new(),
            (true, 0) => Style::new().fg(Color::Indexed(244)),
            (true, level) => {
                let shades = if x < 0.0 { NEGATIVE } else { POSITIVE };
                Style::new().fg(Color::Indexed(shades[level - 1]))
            }
        }
    }

    /// What stands behind a number: its size, where there is no colour to say it.
    pub fn size(self, x: f64, top: f64) -> char {
        if self.colour { ' ' } else { SIZES[level(x, top)] }
    }

    /// Of headings.
    pub fn heading(self) -> Style {
        self.paint(Style::new().add_modifier(Modifier::BOLD), Color::Cyan)
    }

    /// Of formulas.
    pub fn formula(self) -> Style {
        self.paint(Style::new(), Color::Yellow)
    }

    /// Of what is right.
    pub fn right(self) -> Style {
        self.paint(Style::new(), Color::Green)
    }

    /// Of what is wrong.
    pub fn wrong(self) -> Style {
        self.paint(Style::new().add_modifier(Modifier::BOLD), Color::Red)
    }

    /// Of what is in the background.
    pub fn faint(self) -> Style {
        self.paint(Style::new(), Color::Indexed(245))
    }

    /// Of where one is.
    pub fn here(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn paint(self, style: Style, colour: Color) -> Style {
        if self.colour { style.fg(colour) } else { style }
    }

    /// A text as this terminal can show it.
    pub fn text(self, text: &str) -> String {
        if !self.ascii {
            return text.into();
        }
        let mut out = String::new();
        for character in text.chars() {
            match LONG.iter().find(|(from, _)| *from == character) {
                Some((_, to)) => out.push_str(to),
                None => out.push(plain(character)),
            }
        }
        out
    }

    /// Replaces what is left in a finished screen, such as frames, character by character.
    pub fn finish(self, buffer: &mut Buffer) {
        if !self.ascii {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
                let character = cell.symbol().chars().next().map_or('?', plain);
                cell.set_char(character);
            }
        }
    }
}

/// From 0 to 4: how large a number is beside the largest.
fn level(x: f64, top: f64) -> usize {
    let share = x.abs() / top;
    match share {
        _ if x == 0.0 || !share.is_finite() => 0,
        share if share > 0.75 => 4,
        share if share > 0.4 => 3,
        share if share > 0.1 => 2,
        _ => 1,
    }
}

/// What becomes of one character in ASCII; more than one would move what stands beside it.
fn plain(character: char) -> char {
    match character {
        c if c.is_ascii() => c,
        '─' | '−' | '–' | '━' => '-',
        '│' | '┃' => '|',
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => '+',
        '·' | '⋅' | '⊙' => '*',
        '×' => 'x',
        '▸' | '▶' | '→' | '►' | '›' => '>',
        '◂' | '◀' | '←' | '◄' => '<',
        '█' | '■' => '#',
        '▓' | '◆' => '@',
        '▒' | '░' | '▪' => ':',
        '▁' | '▂' => '_',
        '▃' | '▄' => '-',
        '▅' | '▆' => '=',
        '▇' => '#',
        '✓' => 'v',
        '✗' => 'X',
        'Δ' => 'D',
        '…' => '~',
        '±' => '~',
        '“' | '”' => '"',
        '‘' | '’' | '′' => '\'',
        _ => '?',
    }
}

/// What is told better by more than one character, in text that is not yet laid out.
const LONG: [(char, &str); 62] = [
    ('⊙', ".*"),
    ('²', "^2"),
    ('³', "^3"),
    ('¹', "^1"),
    ('⁰', "^0"),
    ('⁴', "^4"),
    ('⁵', "^5"),
    ('⁶', "^6"),
    ('⁷', "^7"),
    ('⁸', "^8"),
    ('⁹', "^9"),
    ('⁺', "^+"),
    ('⁻', "^-"),
    ('ᵀ', "^T"),
    ('ⁿ', "^n"),
    ('ᵃ', "^a"),
    ('ˣ', "^x"),
    ('ʸ', "^y"),
    ('ᶻ', "^z"),
    ('ᵏ', "^k"),
    ('½', "1/2"),
    ('√', "sqrt "),
    ('Σ', "sum "),
    ('∂', "d"),
    ('≤', "<="),
    ('≥', ">="),
    ('≠', "!="),
    ('≈', "~="),
    ('→', "->"),
    ('⇒', "=>"),
    ('ₐ', "_a"),
    ('ₑ', "_e"),
    ('ₕ', "_h"),
    ('ᵢ', "_i"),
    ('ⱼ', "_j"),
    ('ₖ', "_k"),
    ('ₗ', "_l"),
    ('ₘ', "_m"),
    ('ₙ', "_n"),
    ('ₒ', "_o"),
    ('ₚ', "_p"),
    ('ᵣ', "_r"),
    ('ₛ', "_s"),
    ('ₜ', "_t"),
    ('ᵤ', "_u"),
    ('ᵥ', "_v"),
    ('σ', "sigma"),
    ('α', "alpha"),
    ('β', "beta"),
    ('ε', "eps"),
    ('λ', "lambda"),
    ('μ', "mu"),
    ('θ', "theta"),
    ('π', "pi"),
    ('∞', "inf"),
    ('∈', " in "),
    ('…', "..."),
    ('é', "e"),
    ('ü', "u"),
    ('₀', "_0"),
    ('₁', "_1"),
    ('₂', "_2"),
];

/// A number in at most eight characters, always with its sign, and with at least three digits that
/// count where there is room for them.
pub fn number(x: f64) -> String {
    let size = x.abs();
    match size {
        _ if x.is_nan() => "NaN".into(),
        _ if x.is_infinite() => if x < 0.0 { "-inf" } else { "+inf" }.into(),
        0.0 => "0".into(),
        size if !(1e-99..1e100).contains(&size) => format!("{x:+.0e}"),
        size if !(1e-9..1e10).contains(&size) => format!("{x:+.1e}"),
        size if !(1e-2..1e4).contains(&size) => format!("{x:+.2e}"),
        size if size < 10.0 => format!("{x:+.4}"),
        size if size < 100.0 => format!("{x:+.3}"),
        size if size < 1000.0 => format!("{x:+.2}"),
        _ => format!("{x:+.1}"),
    }
}

/// A size, such as a norm, without the sign.
pub fn size(x: f64) -> String {
    number(x).trim_start_matches('+').into()
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

fn width_of(character: char) -> usize {
    UnicodeWidthChar::width(character).unwrap_or(0)
}

/// A text of exactly so many columns, if it has no more.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A text in lines of at most `columns`. It keeps its own indent; all lines but the first stand behind
/// `indent`.
pub fn wrap(text: &str, columns: usize, indent: usize) -> Vec<String> {
    let columns = columns.max(indent + 8);
    let mut lines = Vec::new();
    let mut line: String = text.chars().take_while(|c| *c == ' ').take(columns - 8).collect();
    let (mut empty, mut length) = (true, line.len());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !empty && length + 1 + width(word) > columns {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            length = indent;
        } else if !empty {
            line.push(' ');
            length += 1;
        }
        for character in word.chars() {
            // A word that no line holds is cut.
            if length + width_of(character) > columns {
                lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
                length = indent;
            }
            line.push(character);
            length += width_of(character);
        }
        empty = false;
    }
    lines.push(line);
    lines
}

/// A text of at most so many columns: what is longer ends in a sign that it does.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.into();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |c: &char| room.checked_sub(width_of(*c)).inspect(|rest| room = *rest).is_some();
    let kept: String = text.chars().take_while(fits).collect();
    format!("{kept}…")
}

/// The end of a text, of at most so many columns.
pub fn tail(text: &str, columns: usize) -> String {
    let turned = |text: &str| text.chars().rev().collect::<String>();
    turned(&cut(&turned(text), columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_takes_eight_columns_at_most_and_says_three_digits() {
        for (x, told) in [
            (0.005_313, "+5.31e-3"),
            (-0.000_71, "-7.10e-4"),
            (0.01, "+0.0100"),
            (-9.999_99, "-10.0000"),
            (9999.99, "+10000.0"),
            (123_456.0, "+1.23e5"),
            (9.999e9, "+1.00e10"),
            (1.26e-45, "+1.3e-45"),
            (-1e-320, "-1e-320"),
            (0.0, "0"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number(x), told);
            assert!(told.len() <= 8);
        }
    }

    #[test]
    fn wide_letters_count_twice() {
        assert_eq!(width("黒い a"), 6);
        assert_eq!(pad("黒い", 6), "黒い  ");
        for (columns, cut_off, end) in
            [(6, "黒い猫", "黒い猫"), (5, "黒い…", "…い猫"), (4, "黒…", "…猫")]
        {
            assert_eq!(
                (cut("黒い猫", columns).as_str(), tail("黒い猫", columns).as_str()),
                (cut_off, end)
            );
        }
        assert_eq!(wrap("黒い猫が 眠る", 8, 0), ["黒い猫が", "眠る"]);
        assert_eq!(wrap("黒い猫が眠る", 9, 1), ["黒い猫が", " 眠る"]);
    }
}
