//! How fast kernels are: over the size of their matrices, and in the roofline.

use std::collections::BTreeMap;

use unspool_bench::machine::Level;
use unspool_bench::{Measurement, NumberType, Report, Shape, Temperature, Work};

use super::curves::{Curves, Panel, Scale, Series};

/// The measurements that are drawn, by their number of threads: operations on operands in the
/// caches, of the kind of numbers that the first of them has.
struct Drawn<'r> {
    number: NumberType,
    by_threads: BTreeMap<usize, Vec<&'r Measurement>>,
}

impl<'r> Drawn<'r> {
    fn new(report: &'r Report) -> Self {
        let fits = |found: &&Measurement| {
            found.cost.work == Work::Operations && found.temperature == Temperature::Warm
        };
        let found = || report.measurements.iter().filter(fits);
        let first = found().next().map(|found| found.identity.number.as_str());
        let numbers = NumberType::ALL.into_iter();
        let number = numbers.into_iter().find(|number| Some(number.name()) == first);
        let number = number.unwrap_or(NumberType::F32);
        let mut by_threads = BTreeMap::new();
        for found in found().filter(|found| found.identity.number == number.name()) {
            let group: &mut Vec<_> = by_threads.entry(found.identity.threads).or_default();
            group.push(found);
        }
        Drawn { number, by_threads }
    }

    fn panel(&self, what: &str, threads: usize, scale: Scale, series: Vec<Series>) -> Panel {
        let plural = if threads == 1 { "" } else { "s" };
        let title = format!("GFLOP/s: {what}{}, {threads} thread{plural}", self.number.name());
        let reaches = if scale == Scale::Linear { vec![0.0] } else { Vec::new() };
        Panel { title, scale, reaches, series }
    }
}

/// Measurements by the name of their variant, in the order of their first.
fn by_variant<'r>(found: &[&'r Measurement]) -> Vec<(&'r str, Vec<&'r Measurement>)> {
    let mut variants: Vec<(&str, Vec<&Measurement>)> = Vec::new();
    for &found in found {
        let variant = found.identity.variant.as_str();
        match variants.iter_mut().find(|(name, _)| *name == variant) {
            Some((_, group)) => group.push(found),
            None => variants.push((variant, vec![found])),
        }
    }
    variants
}

fn shape(found: &Measurement) -> Option<Shape> {
    found.identity.shape.parse().ok()
}

/// GFLOP/s of each variant over the size, with the machine's peak: of squares when there are
/// several, else of all shapes, over the side of a square with as many operations. Of the kernels,
/// the first is drawn.
pub fn rates_over_size(report: &Report) -> Curves {
    let drawn = Drawn::new(report);
    let panels = drawn.by_threads.iter().map(|(&threads, found)| {
        let kernel = found.first().map_or("", |found| &found.identity.kernel);
        let of_kernel = found.iter().filter(|found| found.identity.kernel == kernel);
        let of_kernel: Vec<_> = of_kernel.copied().filter(|found| shape(found).is_some()).collect();
        let squares =
            || of_kernel.iter().filter(|found| shape(found).is_some_and(|s| s.is_square()));
        let several =
            squares().any(|found| shape(found) != squares().next().and_then(|f| shape(f)));
        let shown: Vec<_> = if several { squares().copied().collect() } else { of_kernel.clone() };
        let point = |found: &Measurement| Some((shape(found)?.side(), found.rate() / 1e9));
        let mut series = Vec::new();
        let sides = || shown.iter().filter_map(|found| Some(shape(found)?.side()));
        let ends = [sides().fold(f64::INFINITY, f64::min), sides().fold(0.0, f64::max)];
        if let Some(peak) = report.machine.peak(drawn.number, threads) {
            let line = ends.map(|x| (x, peak / 1e9)).to_vec();
            series.push(Series::new("peak", line).colour(6).dashed());
        }
        for (colour, (variant, group)) in by_variant(&shown).into_iter().enumerate() {
            let points = group.into_iter().filter_map(point).collect();
            series.push(Series::new(variant, points).colour(colour).marked());
        }
        drawn.panel(&format!("{kernel}, "), threads, Scale::Linear, series)
    });
    Curves {
        title: format!("Matrix products on {}", report.machine.processor),
        x_label: "side of a square with as many operations".into(),
        x_scale: Scale::Log,
        panels: panels.collect(),
    }
}

/// The roofline: what each level of memory and the peak allow over the operations for each byte,
/// and where the variants are.
pub fn roofline(report: &Report) -> Curves {
    let drawn = Drawn::new(report);
    let panels = drawn.by_threads.iter().map(|(&threads, found)| {
        let mut series = Vec::new();
        let peak = report.machine.peak(drawn.number, threads).unwrap_or(f64::INFINITY);
        let levels = || report.machine.bandwidths.iter().filter(|found| found.threads == threads);
        // From below all ridges, where the slopes are seen, to beyond all points.
        let intensities = || found.iter().map(|found| found.cost.intensity());
        let ridges = levels().map(|memory| peak / memory.best());
        let low = intensities().chain(ridges).fold(f64::INFINITY, f64::min) / 2.0;
        let high = 2.0 * intensities().fold(low, f64::max);
        for (colour, memory) in levels().enumerate() {
            // Where memory is as fast as the peak.
            let ridge = (peak / memory.best()).clamp(low, high);
            let roof = |x: f64| (x, (x * memory.best()).min(peak) / 1e9);
            let name = match memory.level {
                Level::Memory => "memory".into(),
                level => level.to_string(),
            };
            let line = [low, ridge, high].map(roof).to_vec();
            series.push(Series::new(format!("{name} and peak"), line).colour(colour).dashed());
        }
        for (colour, (variant, group)) in by_variant(found).into_iter().enumerate() {
            // A gap behind each point: they are not on a line.
            let points = group.into_iter().flat_map(|found| {
                let x = found.cost.intensity();
                [(x, found.rate() / 1e9), (x, f64::NAN)]
            });
            series.push(Series::new(variant, points.collect()).colour(colour).marked());
        }
        drawn.panel("", threads, Scale::Log, series)
    });
    Curves {
        title: format!("Roofline of {}", report.machine.processor),
        x_label: "operations for each byte of operands".into(),
        x_scale: Scale::Log,
        panels: panels.collect(),
    }
}

#[cfg(test)]
mod tests {
    use unspool_bench::{Cost, Identity, Machine, MachineSettings, Spread};
    use unspool_tensor::Context;

    use super::super::picture::checks::check_picture;
    use super::*;

    #[test]
    fn any_report_is_drawn() {
        let measurement = |variant: &str, shape: &str, seconds: f64| {
            let kernel = "forward";
            let context = Context::sequential();
            let identity = Identity::new(kernel, variant, shape, NumberType::F32, &context);
            let operations = shape.parse().map_or(1.0, |shape: Shape| shape.operations());
            Measurement {
                identity,
                temperature: Temperature::Warm,
                cost: Cost { work: Work::Operations, amount: operations, bytes: 1e3 },
                seconds: Spread::of(&[seconds]),
                runs: 1,
                error: 0.0,
                ceiling: None,
            }
        };
        let settings =
            MachineSettings { threads: vec![1], rounds: 1, seconds: 1e-6, memory: false };
        let machine = Machine::measure(&settings, |_, _| {});
        let of = |shapes: &[&str]| {
            let found = shapes.iter().flat_map(|shape| {
                ["naive", "mine"].map(|variant| measurement(variant, shape, 1e-5))
            });
            Report::new(machine.clone(), found.collect())
        };
        for (shapes, parts) in [
            (&[][..], &[][..]),
            (&["2x3x4"], &["naive", "mine", "peak", "f32, 1 thread"]),
            (&["2x3x4", "8x8x8", "64x64x64"], &["naive", "mine", "peak"]),
            (&["of a user"], &["GFLOP/s"]),
        ] {
            let report = of(shapes);
            let pictures = [rates_over_size(&report), roofline(&report)];
            for svg in pictures.map(|curves| check_picture(&curves.draw())) {
                let missing = parts.iter().find(|part| !svg.contains(**part));
                assert!(missing.is_none() || shapes == ["of a user"], "{missing:?} of {shapes:?}");
            }
        }
    }
}
