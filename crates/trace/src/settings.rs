//! How an op was made, for people: read from what Rust prints of it.
//!
//! `MatMul { transpose_a: false, transpose_b: true }` is "transpose b", and `Slice { axis: 1, start: 0,
//! end: 2, step: 1 }` is "axis 1, start 0, end 2, step 1". What is off, or not there, is left out.

use std::fmt::Debug;

/// How much is said of an op, in characters.
const LONGEST: usize = 160;

/// How an op was made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings(Setting);

#[derive(Clone, Debug, PartialEq)]
enum Setting {
    /// A number, or a name.
    Word(String),
    /// `[a, b]`
    List(Vec<Setting>),
    /// `Name(a, b)`
    Of(String, Vec<Setting>),
    /// `Name { a: 1 }`
    Fields(Vec<(String, Setting)>),
}

impl Settings {
    /// Those of an op.
    pub fn of(op: &impl Debug) -> Self {
        Settings(Setting::read(&format!("{op:?}")))
    }

    /// In words, cut when they are many; empty when there is nothing to say.
    pub fn words(&self) -> String {
        let text = match &self.0 {
            Setting::Word(_) => String::new(),
            Setting::Of(_, all) => all.iter().map(Setting::words).collect::<Vec<_>>().join(", "),
            other => other.words(),
        };
        match text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    }

    fn field(&self, name: &str) -> Option<&Setting> {
        match &self.0 {
            Setting::Fields(all) => all.iter().find(|(other, _)| other == name).map(|(_, x)| x),
            _ => None,
        }
    }

    /// Whether a field says `true`.
    pub fn is(&self, name: &str) -> bool {
        matches!(self.field(name), Some(Setting::Word(word)) if word == "true")
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.field(name)? {
            Setting::Word(word) => word.parse().ok(),
            _ => None,
        }
    }

    /// A field that is a list of whole numbers.
    pub fn list(&self, name: &str) -> Option<Vec<usize>> {
        let Setting::List(all) = self.field(name)? else { return None };
        let number = |one: &Setting| match one {
            Setting::Word(word) => word.parse().ok(),
            _ => None,
        };
        all.iter().map(number).collect()
    }
}

impl Setting {
    fn read(text: &str) -> Setting {
        let text = text.trim();
        let within = |open: char, close: char| {
            let (name, rest) = text.split_once(open)?;
            let plain = name.trim_end().chars().all(|c| c.is_alphanumeric() || "_:<>".contains(c));
            Some((name.trim_end(), rest.strip_suffix(close)?)).filter(|_| plain)
        };
        if let Some(("", inner)) = within('[', ']') {
            return Setting::List(parts(inner).map(Setting::read).collect());
        }
        if let Some((_, inner)) = within('{', '}') {
            let field = |part: &str| {
                let (name, value) = part.split_once(':')?;
                Some((name.trim().to_owned(), Setting::read(value)))
            };
            return Setting::Fields(parts(inner).filter_map(field).collect());
        }
        if let Some((name, inner)) = within('(', ')') {
            return Setting::Of(name.into(), parts(inner).map(Setting::read).collect());
        }
        Setting::Word(text.into())
    }

    /// In words; empty for what is off or not there.
    fn words(&self) -> String {
        let joined = |all: &[Setting], between: &str| {
            let words = all.iter().map(Setting::words).filter(|words| !words.is_empty());
            words.collect::<Vec<_>>().join(between)
        };
        match self {
            Setting::Word(word) => match word.as_str() {
                "None" | "false" | "()" => String::new(),
                number if number.parse::<f64>().is_ok() => {
                    number.strip_suffix(".0").unwrap_or(number).into()
                }
                name => plain(name),
            },
            // A mask: in a list of switches both say something.
            Setting::List(all) => match all.first() {
                Some(Setting::List(_)) => joined(all, " | "),
                Some(Setting::Word(word)) if ["true", "false"].contains(&word.as_str()) => {
                    let digit = |one: &Setting| match one {
                        Setting::Word(word) if word == "true" => "1".into(),
                        Setting::Word(word) if word == "false" => "0".into(),
                        other => other.words(),
                    };
                    all.iter().map(digit).collect::<Vec<_>>().join(" ")
                }
                _ => joined(all, " "),
            },
            // A random key says nothing to people.
            Setting::Of(name, _) if name == "Key" => String::new(),
            Setting::Of(name, all) if name == "Some" || name.is_empty() => joined(all, " "),
            Setting::Of(name, all) => format!("{} {}", plain(name), joined(all, " ")),
            Setting::Fields(all) => {
                let field = |(name, value): &(String, Setting)| match value {
                    Setting::Word(word) if word == "true" => Some(plain(name)),
                    // What a part of it says, it says by itself.
                    Setting::Fields(_) => Some(value.words()).filter(|words| !words.is_empty()),
                    _ => match value.words() {
                        words if words.is_empty() => None,
                        words => Some(said(name, &words)),
                    },
                };
                all.iter().filter_map(field).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// A field in words.
fn said(name: &str, words: &str) -> String {
    match (name, words) {
        ("targets", _) => format!("right class of each row: {words}"),
        ("divisor", "tokens") => "mean of the rows".into(),
        ("divisor", "one") => "sum of the rows".into(),
        ("divisor", _) => format!("sum divided by {}", words.trim_start_matches("given ")),
        _ => format!("{} {words}", plain(name)),
    }
}

/// A name of Rust's as words: `first_time`, `GivenNumber`.
fn plain(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            '_' => out.push(' '),
            c if c.is_uppercase() => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
                out.extend(c.to_lowercase());
            }
            c => out.push(c),
        }
    }
    out
}

/// What stands between the commas that are in no brackets. How an array is laid out in memory
/// (`strides=[1]`) is left out.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut quoted, mut start) = (0usize, false, 0);
    let mut all = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                all.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    all.push(&text[start..]);
    let layout = |part: &str| {
        part.split_once('=').is_some_and(|(name, _)| {
            let name = name.trim();
            ["shape", "strides", "layout"].contains(&name) || name.ends_with("ndim")
        })
    };
    all.into_iter().filter(move |part| !part.trim().is_empty() && !layout(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_prints_is_said_in_words() {
        /// Prints itself as this text.
        struct Op(&'static str);

        impl Debug for Op {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.0)
            }
        }

        let rows = [
            ("Add", ""),
            ("MatMul { transpose_a: false, transpose_b: true }", "transpose b"),
            ("Slice { axis: 1, start: 0, end: 2, step: 1 }", "axis 1, start 0, end 2, step 1"),
            ("PowNumber { exponent: 2.0 }", "exponent 2"),
            ("Sum(Axes { axes: None, keep: false })", ""),
            ("Mean(Axes { axes: Some([0, 2]), keep: true })", "axes 0 2, keep"),
            ("CellStep { cell: Lstm, active: None }", "cell lstm"),
            (
                "CrossEntropy { targets: [0, 2], options: CrossEntropyOptions { ignored: Some(0), \
                 divisor: Given(4.0), smoothing: None } }",
                "right class of each row: 0 2, ignored 0, sum divided by 4",
            ),
            (
                "MaskedFill { mask: [[false, true], [true, true]], shape=[2, 2], strides=[2, 1], \
                 layout=Cc (0x5), dynamic ndim=2, value: 0.0 }",
                "mask 0 1 | 1 1, value 0",
            ),
            (
                "Softmax { axis: 1, keep: Some([[true, false]], shape=[1, 2], strides=[2, 1], \
                 layout=Cc (0x5), const ndim=2) }",
                "axis 1, keep 1 0",
            ),
            ("Dropout { rate: 0.5, key: Key(129), time: 0 }", "rate 0.5, time 0"),
            (
                "Plan { masks: Some(Masks { read: (0.0, Key(129)), first: 0 }) }",
                "masks read 0, first 0",
            ),
            ("Odd { text: \"a, b] {\", more: 1e-5 }", "text \"a, b] {\", more 1e-5"),
            ("Broken { [(", ""),
        ];
        for (printed, words) in rows {
            assert_eq!(Settings::of(&Op(printed)).words(), words, "{printed}");
        }
        let permute = Settings::of(&Op("Permute { axes: [0, 2, 1], on: true, by: -0.5 }"));
        assert_eq!(permute.list("axes"), Some(vec![0, 2, 1]));
        assert_eq!((permute.number("by"), permute.is("on")), (Some(-0.5), true));
        assert_eq!((permute.number("axes"), permute.is("by")), (None, false));
    }
}
