//! An axis: the range that holds the data, and round numbers along it.

/// How values turn into positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances are equal differences.
    #[default]
    Linear,
    /// Equal distances are equal ratios; values that are not above zero are not drawn.
    Log,
}

/// Values beyond this size are not drawn, so that no difference of two overflows.
const LARGEST: f64 = 1e300;
/// A narrower range, relative to its values, counts as a constant.
const NARROWEST: f64 = 1e-5;
/// More ticks than this are never drawn.
const TICKS_MAX: usize = 40;

/// A labelled position.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// The value that it stands at.
    pub value: f64,
    /// What is written there.
    pub label: String,
}

/// A range of values. Its ends are finite and apart.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    scale: Scale,
    /// The ends, on a log scale their decimal logarithms.
    low: f64,
    high: f64,
}

impl Scale {
    /// Whether the value has a place on this scale.
    pub fn has(self, value: f64) -> bool {
        let positive = self == Self::Linear || value > 1.0 / LARGEST;
        value.is_finite() && value.abs() <= LARGEST && positive
    }

    fn transform(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }
}

impl Axis {
    /// The axis that holds all of `values` which the scale has, with `padding` of
    /// the range left empty at either end.
    pub fn new(scale: Scale, padding: f64, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|&value| scale.has(value)) {
            low = low.min(scale.transform(value));
            high = high.max(scale.transform(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let size = low.abs().max(high.abs());
        let narrowest = match scale {
            Scale::Linear => NARROWEST * size,
            Scale::Log => NARROWEST,
        };
        if high - low <= narrowest {
            (low, high) = match scale {
                // Zeros are most often a share or a score that has not risen yet.
                Scale::Linear if size == 0.0 => (0.0, 1.0),
                Scale::Linear => (low - 0.1 * size, high + 0.1 * size),
                Scale::Log => (low - 0.5, high + 0.5),
            };
        }
        let padding = padding * (high - low);
        Self { scale, low: low - padding, high: high + padding }
    }

    /// The position of a value as a share of the axis, or nothing if the scale has no such value.
    pub fn position(&self, value: f64) -> Option<f64> {
        let transformed = self.scale.has(value).then(|| self.scale.transform(value))?;
        Some((transformed - self.low) / (self.high - self.low))
    }

    /// About `wanted` round values along the axis; with `whole`, only whole numbers.
    pub fn ticks(&self, wanted: usize, whole: bool) -> Vec<Tick> {
        let mut ticks = match self.scale {
            Scale::Linear => linear_ticks(self.low, self.high, wanted, whole),
            Scale::Log => self.log_ticks(wanted),
        };
        ticks.retain(|tick| self.scale.has(tick.value));
        ticks
    }

    fn log_ticks(&self, wanted: usize) -> Vec<Tick> {
        let (first, last) = (self.low.floor() as i32, self.high.ceil() as i32);
        let spacing = ((last - first) as usize / wanted.max(1)).max(1);
        for digits in [&[1][..], &[1, 3], &[1, 2, 5]] {
            let mut ticks = Vec::new();
            for exponent in (first..=last).step_by(spacing) {
                for &digit in digits {
                    let value = f64::from(digit) * 10_f64.powi(exponent);
                    if (self.low..=self.high).contains(&value.log10()) {
                        ticks.push(Tick { value, label: decade_label(digit, exponent) });
                    }
                }
            }
            if ticks.len() >= 3.min(wanted) {
                return ticks;
            }
        }
        // Less than a decade: round values are as near as on a linear scale.
        linear_ticks(10_f64.powf(self.low), 10_f64.powf(self.high), wanted, false)
    }
}

/// Multiples of 1, 2 or 5 times a power of ten from `low` to `high`.
fn linear_ticks(low: f64, high: f64, wanted: usize, whole: bool) -> Vec<Tick> {
    let raw_step = (high - low) / wanted.max(1) as f64;
    let mut exponent = raw_step.log10().floor() as i32;
    let mantissa = raw_step / 10_f64.powi(exponent);
    let mut digit = match mantissa {
        small if small < 1.5 => 1,
        middle if middle < 3.5 => 2,
        large if large < 7.5 => 5,
        _ => 10,
    };
    if digit == 10 {
        (digit, exponent) = (1, exponent + 1);
    }
    if whole && exponent < 0 {
        (digit, exponent) = (1, 0);
    }
    let step = f64::from(digit) * 10_f64.powi(exponent);
    if step <= 0.0 || !step.is_finite() {
        return Vec::new();
    }
    let (first, last) = ((low / step).ceil(), (high / step).floor());
    let largest = low.abs().max(high.abs());
    let mut ticks = Vec::new();
    let mut multiple = first;
    while multiple <= last && ticks.len() < TICKS_MAX {
        let value = multiple * step;
        ticks.push(Tick { value, label: tick_label(value, exponent, largest) });
        multiple += 1.0;
    }
    ticks
}

/// The label of a multiple of `10^exponent` on an axis of values up to `largest`.
fn tick_label(value: f64, exponent: i32, largest: f64) -> String {
    if value.abs() < 0.5 * 10_f64.powi(exponent) {
        return "0".to_owned();
    }
    match exponent {
        3..6 => format!("{:.0}k", value / 1e3),
        6..9 => format!("{:.0}M", value / 1e6),
        -4..3 if largest < 1e7 => with_decimals(value, exponent),
        -8..-4 if largest >= 0.01 => with_decimals(value, exponent),
        _ => {
            let digits = (value.abs().log10().floor() as i32).saturating_sub(exponent);
            let decimals = usize::try_from(digits).unwrap_or(0).min(12);
            format!("{value:.decimals$e}")
        }
    }
}

/// A multiple of `10^exponent` with the decimals that it needs.
fn with_decimals(value: f64, exponent: i32) -> String {
    let decimals = usize::try_from(-exponent).unwrap_or(0);
    format!("{value:.decimals$}")
}

/// The label of `digit * 10^exponent`.
fn decade_label(digit: u8, exponent: i32) -> String {
    match exponent {
        0..4 => format!("{:.0}", f64::from(digit) * 10_f64.powi(exponent)),
        -3..0 => with_decimals(f64::from(digit) * 10_f64.powi(exponent), exponent),
        _ => format!("{digit}e{exponent}"),
    }
}

/// A number in a sentence: four significant digits, without trailing zeros.
pub fn short_number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let before_point = if size < 1.0 { 1 } else { size.log10().floor() as i32 + 1 };
    let decimals = usize::try_from(4 - before_point).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, values: &[f64], wanted: usize, whole: bool) -> Vec<String> {
        let axis = Axis::new(scale, 0.04, values.iter().copied());
        axis.ticks(wanted, whole).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let (linear, log) = (Scale::Linear, Scale::Log);
        for (scale, values, wanted, whole, expected) in [
            (linear, &[0.0, 100.0][..], 5, false, &["0", "20", "40", "60", "80", "100"][..]),
            (linear, &[0.0, 20_000.0], 4, true, &["0", "5k", "10k", "15k", "20k"]),
            (linear, &[1.0, 3.0], 8, true, &["1", "2", "3"]),
            (linear, &[1.0, 1.0], 4, true, &["1"]),
            (linear, &[0.0, 0.0], 4, false, &["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (
                linear,
                &[0.0, 0.001],
                4,
                false,
                &["0", "0.0002", "0.0004", "0.0006", "0.0008", "0.0010"],
            ),
            (linear, &[0.0, 4e-6], 4, false, &["0", "1e-6", "2e-6", "3e-6", "4e-6"]),
            (linear, &[-1.0, 1.0], 4, false, &["-1.0", "-0.5", "0", "0.5", "1.0"]),
            (
                linear,
                &[f64::NAN, f64::INFINITY],
                5,
                false,
                &["0", "0.2", "0.4", "0.6", "0.8", "1.0"],
            ),
            (log, &[0.01, 100.0], 5, false, &["0.01", "0.1", "1", "10", "100"]),
            (log, &[0.5, 9.0], 4, false, &["1", "3", "10"]),
            (log, &[2.0, 3.0], 4, false, &["2.0", "2.2", "2.4", "2.6", "2.8", "3.0"]),
            (log, &[0.0, -4.0, f64::NAN], 3, false, &["1", "3", "10"]),
        ] {
            assert_eq!(labels(scale, values, wanted, whole), expected, "{scale:?} {values:?}");
        }
    }

    #[test]
    fn any_data_has_a_few_ticks_inside() {
        let odd = [0.0, 1e-300, 1e-12, 0.3, 1.0, 1.0 + 1e-15, 7e5, 1e12, 1e299, -5.0, -1e299];
        for scale in [Scale::Linear, Scale::Log] {
            for low in odd {
                for high in odd {
                    let axis = Axis::new(scale, 0.04, [low, high].into_iter());
                    for wanted in [0, 1, 3, 8] {
                        let ticks = axis.ticks(wanted, false);
                        assert!(ticks.len() <= TICKS_MAX);
                        for tick in &ticks {
                            let position = axis.position(tick.value).expect("a place");
                            assert!((-1e-6..=1.0 + 1e-6).contains(&position), "{low} {high}");
                            assert!(tick.label.len() < 12, "{}", tick.label);
                        }
                    }
                    for value in [low, high].into_iter().filter(|&value| scale.has(value)) {
                        let position = axis.position(value).expect("a place");
                        assert!((0.0..=1.0).contains(&position));
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_in_sentences_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (2.0, "2"),
            (1.23456, "1.235"),
            (0.01234, "0.012"),
            (98.756, "98.76"),
            (1200.0, "1200"),
            (123_456.7, "123457"),
            (1e-5, "1.00e-5"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(short_number(value), expected);
        }
    }
}
