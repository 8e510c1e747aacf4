//! Ops whose formulas depend on how they were made, or on the shapes that they were given: with the
//! numbers put in.

use super::{Explanation, Symbol};
use crate::notation::NotationError;
use crate::settings::Settings;

/// Letters of indices.
const INDICES: [&str; 8] = ["i", "j", "k", "l", "m", "n", "p", "q"];

/// The formulas of an op as it was made.
#[derive(Default)]
struct Variant {
    /// What the key has behind the op's name.
    key: String,
    forward: String,
    /// Those of the inputs in their order.
    backward: Vec<String>,
    inputs: Vec<(&'static str, &'static str)>,
    remark: String,
}

/// A key of its own, and the explanation of the op as it was made; `None` for the op that its name
/// alone explains.
pub(super) fn of(
    about: &Explanation,
    settings: &Settings,
    inputs: &[&[usize]],
    output: &[usize],
) -> Option<(String, Explanation)> {
    let variant = match about.op.as_str() {
        "matmul" => matmul(settings),
        "pow_number" => pow_number(settings.number("exponent")?),
        "affine" => affine(settings.number("scale")?, settings.number("offset")?),
        "permute" => permute(&settings.list("axes")?)?,
        "linear" if inputs.len() == 2 => return without_bias(about),
        "add" | "sub" | "mul" | "div" | "pow" => return repeated(about, inputs, output),
        _ => return None,
    };
    if variant.key.is_empty() {
        return None;
    }
    let key = format!("{} {}", about.op, variant.key);
    Some((key, variant.explanation(about).ok()?))
}

impl Variant {
    fn explanation(self, about: &Explanation) -> Result<Explanation, NotationError> {
        let mut found = Explanation { forward: vec![self.forward.parse()?], ..about.clone() };
        for (rule, formula) in found.backward.iter_mut().zip(self.backward) {
            rule.formulas = vec![formula.parse()?];
        }
        for (symbol, (name, meaning)) in found.inputs.iter_mut().zip(self.inputs) {
            *symbol = Symbol { name: name.into(), meaning: meaning.into() };
        }
        // The numbers stand in the place of the letters.
        found.symbols.clear();
        if !self.remark.is_empty() {
            found.remark = self.remark;
        }
        Ok(found)
    }
}

fn matmul(settings: &Settings) -> Variant {
    let (a, b) = (settings.is("transpose_a"), settings.is("transpose_b"));
    let (key, forward, d_a, d_b) = match (a, b) {
        (false, false) => return Variant::default(),
        (false, true) => ("b transposed", "out = a·bᵀ", "d_a = d_out·b", "d_b = d_outᵀ·a"),
        (true, false) => ("a transposed", "out = aᵀ·b", "d_a = b·d_outᵀ", "d_b = a·d_out"),
        (true, true) => ("both transposed", "out = aᵀ·bᵀ", "d_a = bᵀ·d_outᵀ", "d_b = d_outᵀ·aᵀ"),
    };
    Variant {
        key: key.into(),
        forward: forward.into(),
        backward: vec![d_a.into(), d_b.into()],
        inputs: vec![
            ("a", if a { "[K, M], or [B, K, M]" } else { "[M, K], or [B, M, K]" }),
            ("b", if b { "[N, K], or [B, N, K]" } else { "[K, N], or [B, K, N]" }),
        ],
        remark: String::new(),
    }
}

fn pow_number(exponent: f64) -> Variant {
    // As a factor behind what comes in.
    let slope = match exponent - 1.0 {
        0.0 => String::new(),
        1.0 => " ⊙ x".into(),
        rest => format!(" ⊙ x^({})", number(rest)),
    };
    Variant {
        key: number(exponent),
        forward: format!("out = x^({})", number(exponent)),
        backward: vec![format!("d_x = {}·d_out{slope}", number(exponent))],
        ..Variant::default()
    }
}

fn affine(scale: f64, offset: f64) -> Variant {
    let times = |letter: &str| match scale {
        1.0 => letter.to_owned(),
        -1.0 => format!("−{letter}"),
        scale => format!("{}·{letter}", number(scale)),
    };
    let plus = match offset {
        0.0 => String::new(),
        offset if offset < 0.0 => format!(" − {}", number(-offset)),
        offset => format!(" + {}", number(offset)),
    };
    Variant {
        key: format!("{scale} {offset}"),
        forward: format!("out = {}{plus}", times("x")),
        backward: vec![format!("d_x = {}", times("d_out"))],
        ..Variant::default()
    }
}

/// Axis `k` of y is axis `axes[k]` of x.
fn permute(axes: &[usize]) -> Option<Variant> {
    let of_x = INDICES.get(..axes.len())?.join(", ");
    let of_y: Option<Vec<&str>> = axes.iter().map(|&axis| INDICES.get(axis).copied()).collect();
    let of_y = of_y?.join(", ");
    Some(Variant {
        key: axes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        forward: format!("y[{of_y}] = x[{of_x}]"),
        backward: vec![format!("d_x[{of_x}] = d_y[{of_y}]")],
        ..Variant::default()
    })
}

/// A linear layer of a weight alone.
fn without_bias(about: &Explanation) -> Option<(String, Explanation)> {
    let mut found = about.clone();
    found.inputs.truncate(2);
    found.backward.truncate(2);
    found.symbols.retain(|symbol| symbol.name != "b");
    found.forward = vec!["y = x·Wᵀ".parse().ok()?];
    Some((format!("{} without bias", about.op), found))
}

/// Inputs that were repeated to the shape of the output: the gradient is a sum over the copies.
fn repeated(
    about: &Explanation,
    inputs: &[&[usize]],
    output: &[usize],
) -> Option<(String, Explanation)> {
    let names: Vec<&str> = (about.inputs.iter().zip(inputs))
        .filter(|(_, shape)| **shape != output)
        .map(|(symbol, _)| symbol.name.as_str())
        .collect();
    if names.is_empty() {
        return None;
    }
    let mut found = about.clone();
    for rule in found.backward.iter_mut().filter(|rule| names.contains(&rule.input.as_str())) {
        for formula in &mut rule.formulas {
            let text = formula.to_string();
            let (gradient, of) = text.split_once(" = ")?;
            let summed = match of.strip_prefix('−') {
                Some(of) => format!("{gradient} = −Σ {of}"),
                None => format!("{gradient} = Σ {of}"),
            };
            *formula = summed.parse().ok()?;
        }
    }
    let names = names.join(" and ");
    let output = &about.outputs.first()?.name;
    found.remark = format!(
        "{names} was repeated to the shape of {output} (broadcast): the gradient is the sum over the copies."
    );
    let meaning = format!("the sum over the copies of {names}, repeated to the shape of {output}");
    found.symbols.push(Symbol { name: "Σ".into(), meaning });
    Some((format!("{} with {names} repeated", about.op), found))
}

/// A number in a formula.
fn number(x: f64) -> String {
    x.to_string().replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::explanation;

    #[test]
    fn formulas_have_the_numbers_of_the_op_in_them() {
        use unspool_tensor::ops::arithmetic::{Affine, PowNumber, Sub};
        use unspool_tensor::ops::matmul::MatMul;
        use unspool_tensor::ops::shape::Permute;

        let pow = |exponent| Settings::of(&PowNumber { exponent });
        let affine = |scale, offset| Settings::of(&Affine { scale, offset });
        let matmul = |transpose_a, transpose_b| Settings::of(&MatMul { transpose_a, transpose_b });
        let permute = Settings::of(&Permute { axes: vec![2, 0, 1] });
        let (one, two): (&[usize], &[usize]) = (&[3], &[2, 3]);
        // op, settings, shapes of the inputs, key, forward, backward
        let rows = [
            ("pow_number", pow(2.0), vec![], "pow_number 2", "out = x²", "d_x = 2·d_out ⊙ x"),
            ("pow_number", pow(-1.0), vec![], "pow_number −1", "out = x⁻¹", "d_x = −1·d_out ⊙ x⁻²"),
            (
                "pow_number",
                pow(0.5),
                vec![],
                "pow_number 0.5",
                "out = x^(0.5)",
                "d_x = 0.5·d_out ⊙ x^(−0.5)",
            ),
            ("pow_number", pow(1.0), vec![], "pow_number 1", "out = x¹", "d_x = 1·d_out"),
            ("affine", affine(-1.0, 0.0), vec![], "affine -1 0", "out = −x", "d_x = −d_out"),
            (
                "affine",
                affine(0.5, -2.0),
                vec![],
                "affine 0.5 -2",
                "out = 0.5·x − 2",
                "d_x = 0.5·d_out",
            ),
            ("affine", affine(1.0, 1.0), vec![], "affine 1 1", "out = x + 1", "d_x = d_out"),
            (
                "matmul",
                matmul(false, true),
                vec![],
                "matmul b transposed",
                "out = a·bᵀ",
                "d_a = d_out·b",
            ),
            (
                "permute",
                permute,
                vec![],
                "permute 2 0 1",
                "y[k, i, j] = x[i, j, k]",
                "d_x[i, j, k] = d_y[k, i, j]",
            ),
            (
                "sub",
                Settings::of(&Sub),
                vec![two, one],
                "sub with y repeated",
                "out = x − y",
                "d_x = d_out",
            ),
            (
                "sub",
                Settings::of(&Sub),
                vec![one, two],
                "sub with x repeated",
                "out = x − y",
                "d_x = Σ d_out",
            ),
        ];
        for (op, settings, inputs, key, forward, backward) in rows {
            let (found, about) = of(&explanation(op).unwrap(), &settings, &inputs, two).unwrap();
            let text = (about.forward[0].to_string(), about.backward[0].formulas[0].to_string());
            assert_eq!((found.as_str(), text), (key, (forward.into(), backward.into())));
        }
        let about = explanation("sub").unwrap();
        let (_, y) = of(&about, &Settings::of(&Sub), &[two, one], two).unwrap();
        assert_eq!(y.rule("y")[0].to_string(), "d_y = −Σ d_out");
        assert!(y.remark.contains("y was repeated") && about.remark.is_empty());
        // Nothing to say of what the name alone explains.
        assert_eq!(of(&about, &Settings::of(&Sub), &[two, two], two), None);
        assert_eq!(of(&explanation("matmul").unwrap(), &matmul(false, false), &[], two), None);
    }
}
