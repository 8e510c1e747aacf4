//! How numbers and words look: with colour or without, in Unicode or in ASCII.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

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
        '·' | '⋅' => '*',
        '⊙' => 'o',
        '×' => 'x',
        '▸' | '▶' | '→' | '►' => '>',
        '◂' | '◀' | '←' | '◄' => '<',
        '█' | '■' => '#',
        '▓' | '◆' => '@',
        '▒' | '░' | '▪' => ':',
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
    ('∘', "o"),
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

/// A number in at most eight characters, always with its sign.
pub fn number(x: f64) -> String {
    let size = x.abs();
    match size {
        _ if x.is_nan() => "NaN".into(),
        _ if x.is_infinite() => if x < 0.0 { "-inf" } else { "+inf" }.into(),
        0.0 => "0".into(),
        size if !(1e-3..1e4).contains(&size) => format!("{x:+.1e}"),
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

/// A text in lines of at most `width` characters. It keeps its own indent; all lines but the first
/// stand behind `indent`.
pub fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let width = width.max(indent + 8);
    let mut lines = Vec::new();
    let mut line: String = text.chars().take_while(|c| *c == ' ').take(width - 8).collect();
    let (mut empty, mut length) = (true, line.len());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let mut word: Vec<char> = word.chars().collect();
        if !empty && length + 1 + word.len() > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            length = indent;
        } else if !empty {
            line.push(' ');
            length += 1;
        }
        // A word that no line holds is cut.
        while length + word.len() > width {
            let rest = word.split_off(width - length);
            line.extend(word);
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (word, length) = (rest, indent);
        }
        length += word.len();
        line.extend(word);
        empty = false;
    }
    lines.push(line);
    lines
}

/// A text of at most `width` characters: what is longer ends in a sign that it does.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.into();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}
