//! Numbers as people read them.

/// A number with four digits that count, for HTML and Markdown.
pub fn shown(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        return "0".into();
    }
    if !x.is_finite() {
        return if x.is_nan() {
            "NaN"
        } else if x > 0.0 {
            "∞"
        } else {
            "−∞"
        }
        .into();
    }
    let text = if (1e-3..1e5).contains(&size) {
        let decimals = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
        without_zeros(&format!("{x:.decimals$}"))
    } else {
        let text = format!("{x:.3e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}·10<sup>{exponent}</sup>", without_zeros(digits))
    };
    text.replace('-', "−")
}

/// An error or difference: its order of magnitude is enough.
pub fn tiny(x: f64) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let text = format!("{x:.0e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{digits}·10<sup>{exponent}</sup>").replace('-', "−")
}

fn without_zeros(text: &str) -> String {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text.into(),
    }
}

/// Text in HTML, also where Markdown is read.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_count() {
        let rows = [
            (0.0, "0"),
            (-1.0, "−1"),
            (0.5, "0.5"),
            (-0.752_912, "−0.7529"),
            (0.012_345_6, "0.01235"),
            (0.001_234_56, "0.001235"),
            (9.999_96, "10"),
            (123_456.0, "1.235·10<sup>5</sup>"),
            (-2.5e-7, "−2.5·10<sup>−7</sup>"),
            (12_345.6, "12346"),
            (f64::NEG_INFINITY, "−∞"),
        ];
        for (x, wanted) in rows {
            assert_eq!(shown(x), wanted);
        }
        assert_eq!((tiny(3.2e-15), tiny(0.0)), ("3·10<sup>−15</sup>".into(), "0".into()));
    }
}
