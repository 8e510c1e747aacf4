//! Directives in a text: `{{#name arguments}}` and `{{$formula}}`.

/// What a directive asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// Its name; `$` for a formula within a line.
    pub name: &'a str,
    /// What stands behind the name.
    pub rest: &'a str,
    /// Whether it stands alone on its line.
    pub alone: bool,
}

/// What is put in its place, or why there is nothing.
pub type Answer = Result<String, String>;

/// The text with the answers in it; and for each directive without one, its line and why.
///
/// A directive alone on its line becomes lines of its own, with an empty one behind, indented as it was:
/// so Markdown ends there what it began.
pub fn resolved(
    text: &str,
    answer: impl Fn(Asked<'_>) -> Answer,
) -> (String, Vec<(usize, String)>) {
    let (mut out, mut wrong) = (String::with_capacity(text.len()), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let mut rest = line;
        while let Some((before, mark, behind)) = next(rest) {
            let Some((inner, after)) = behind.split_once("}}") else {
                wrong.push((number + 1, format!("{mark}… is not closed by }}}}")));
                break;
            };
            let alone = before.trim().is_empty() && after.trim().is_empty() && rest == line;
            let asked = match mark {
                "{{$" => Asked { name: "$", rest: inner.trim(), alone },
                _ => {
                    let (name, rest) = inner.split_once(' ').unwrap_or((inner, ""));
                    Asked { name: name.trim(), rest: rest.trim(), alone }
                }
            };
            match answer(asked) {
                Ok(answer) if alone && asked.name != "$" => {
                    for line in answer.lines() {
                        out.push_str(before);
                        out.push_str(line);
                        out.push('\n');
                    }
                }
                Ok(answer) if asked.name == "$" => {
                    let (before, formula, after) = together(before, &answer, after);
                    out.push_str(before);
                    out.push_str(&formula);
                    rest = after;
                    continue;
                }
                Ok(answer) => {
                    out.push_str(before);
                    out.push_str(&answer);
                }
                Err(why) => wrong.push((number + 1, format!("{mark}{inner}}}}}: {why}"))),
            }
            rest = after;
        }
        out.push_str(rest);
        out.push('\n');
    }
    (out, wrong)
}

/// A formula with the signs that belong to it, so that no line ends between them: what stands before
/// it, itself, and what stands behind it.
fn together<'a>(before: &'a str, formula: &str, after: &'a str) -> (&'a str, String, &'a str) {
    let (before, open) = match before.strip_suffix('(') {
        Some(before) => (before, "("),
        None => (before, ""),
    };
    let behind = after.trim_start_matches([',', '.', ':', ';', '?', '!', ')']);
    let close = &after[..after.len() - behind.len()];
    let formula = match (open, close) {
        ("", "") => formula.to_owned(),
        _ => format!("<span class=\"together\">{open}{formula}{close}</span>"),
    };
    (before, formula, behind)
}

/// The next directive: what stands before it, its mark, and what stands behind the mark.
fn next(text: &str) -> Option<(&str, &str, &str)> {
    let marks = ["{{#", "{{$"].into_iter();
    let at = marks.filter_map(|mark| text.find(mark)).min()?;
    let (before, from) = text.split_at_checked(at)?;
    let (mark, behind) = from.split_at_checked(3)?;
    Some((before, mark, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(asked: Asked<'_>) -> Answer {
        match asked.name {
            "no" => Err("not there".into()),
            name => Ok(format!("<{name}|{}>", asked.rest)),
        }
    }

    #[test]
    fn directives_are_replaced_where_they_stand() {
        let rows = [
            ("a {{#b c d}} e", "a <b|c d> e\n"),
            ("{{$x = y}} {{#n}}", "<$|x = y> <n|>\n"),
            ("a ({{$x}}): b", "a <span class=\"together\">(<$|x>):</span> b\n"),
            ("one\n  {{#b c}}\ntwo", "one\n  <b|c>\n\ntwo\n"),
            ("{{$x}}", "<$|x>\n"),
            ("{{$W^(a {b}) }} {{other}}", "<$|W^(a {b})> {{other}}\n"),
        ];
        for (text, wanted) in rows {
            assert_eq!(resolved(text, spelled), (wanted.into(), vec![]), "{text}");
        }
    }

    #[test]
    fn what_has_no_answer_is_named_by_its_line() {
        let (_, wrong) = resolved("a\n{{#no x}} {{#yes}} {{#no y}}\n\n{{#open", spelled);
        let lines: Vec<usize> = wrong.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 2, 4]);
        assert_eq!(wrong[0].1, "{{#no x}}: not there");
        assert!(wrong[2].1.contains("not closed"), "{wrong:?}");
    }

    #[test]
    fn only_what_stands_alone_is_told_so() {
        let alone = |text: &str| {
            let seen = std::cell::RefCell::new(Vec::new());
            resolved(text, |asked| {
                seen.borrow_mut().push(asked.alone);
                Ok(String::new())
            });
            seen.into_inner()
        };
        assert_eq!(alone("  {{#a}} "), [true]);
        assert_eq!(alone("{{#a}} {{#b}}"), [false, false]);
        assert_eq!(alone("x {{#a}}"), [false]);
    }
}
