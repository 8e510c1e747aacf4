//! What a run found, kept in a file, to compare a later one with.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::machine::{Instructions, Machine, NumberType, Temperature};
use crate::measure::{Measurement, Peaks};
use crate::workload::{Identity, Work};

/// The form of the file; another one has another number.
const FORMAT: u32 = 1;

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The form of this file.
    format: u32,
    /// The version of this crate.
    pub version: String,
    /// The machine.
    pub machine: Machine,
    /// The measurements.
    pub measurements: Vec<Measurement>,
}

/// A report cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system says no.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it says.
        error: std::io::Error,
    },
    /// It is not a report, or one of another version of this crate.
    #[error("{}: not a report of measurements: {problem}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// How much of what is possible a kernel reaches, as shares: of what the cores could do in the same
/// turns where that was measured, else of the machine's best.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// Of the most operations a second.
    pub peak: Option<f64>,
    /// Of the most operations a second with the instructions that the variant is named for.
    pub own_peak: Option<f64>,
    /// Of the roofline: see [`Machine::roof`].
    pub roof: Option<f64>,
}

impl Shares {
    /// Of a measurement on a machine.
    pub fn of(found: &Measurement, machine: &Machine) -> Self {
        let Measurement { identity, cost, temperature, .. } = found;
        let number = NumberType::ALL.into_iter().find(|number| number.name() == identity.number);
        let Some(number) = number else {
            return Shares { peak: None, own_peak: None, roof: None };
        };
        let operations = cost.work == Work::Operations;
        let share = |most: Option<f64>| most.map(|most| found.rate() / most);
        let (peak, own) = match found.ceiling {
            Some(Peaks { best, own }) => (Some(best), Some(own)),
            None => {
                let own = Instructions::of_variant(&identity.variant);
                let own = own.and_then(|own| machine.peak_of(own, number, identity.threads));
                (machine.peak(number, identity.threads), own)
            }
        };
        let roof = machine.roof(cost, number, identity.threads, *temperature);
        let roof = match found.ceiling {
            Some(Peaks { best, .. }) => roof.map(|roof| roof.min(best)),
            None => roof,
        };
        Shares {
            peak: share(peak.filter(|_| operations)),
            own_peak: share(own.or(peak).filter(|_| operations)),
            roof: share(roof),
        }
    }
}

impl Report {
    /// Of these measurements.
    pub fn new(machine: Machine, measurements: Vec<Measurement>) -> Self {
        let version = env!("CARGO_PKG_VERSION").into();
        Report { format: FORMAT, version, machine, measurements }
    }

    /// Reads a report.
    ///
    /// # Errors
    /// There is no such file, or it is something else.
    pub fn read(file: &Path) -> Result<Self, ReportError> {
        let wrong = |problem| ReportError::Content { file: file.into(), problem };
        let bytes = fs::read(file);
        let bytes = bytes.map_err(|error| ReportError::File { file: file.into(), error })?;
        let report: Report =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        match report.format {
            FORMAT => Ok(report),
            other => Err(wrong(format!("its format is {other}, not {FORMAT}"))),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file system says no.
    pub fn write(&self, file: &Path) -> Result<(), ReportError> {
        let failed = |error| ReportError::File { file: file.into(), error };
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(error.into()))?;
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let part = file.with_file_name(name);
        let written = fs::File::create(&part).and_then(|mut out| {
            out.write_all(text.as_bytes())?;
            out.sync_all()
        });
        written.and_then(|()| fs::rename(&part, file)).map_err(|error| {
            // It may not even be there.
            let _ = fs::remove_file(&part);
            failed(error)
        })
    }

    /// A table of all measurements.
    pub fn table(&self) -> String {
        let head = ["kernel", "shape", "variant", "number", "threads", "operands", "time", "±"]
            .into_iter()
            .chain(["rate", "", "GB/s", "peak", "own", "roof", "error"]);
        let mut rows = vec![head.map(str::to_owned).collect::<Vec<_>>()];
        let percent = |share: Option<f64>| {
            share.map_or("-".to_owned(), |share| format!("{:.0}%", 100.0 * share))
        };
        for found in &self.measurements {
            let Identity { kernel, variant, shape, number, threads } = &found.identity;
            let shares = Shares::of(found, &self.machine);
            rows.push(vec![
                kernel.clone(),
                shape.clone(),
                variant.clone(),
                number.clone(),
                threads.to_string(),
                found.temperature.name().into(),
                crate::measure::time(found.seconds.median),
                format!("{:.0}%", 50.0 * found.seconds.relative()),
                format!("{:.2}", found.rate() / 1e9),
                found.cost.work.unit().into(),
                format!("{:.1}", found.cost.bytes / found.seconds.median / 1e9),
                percent(shares.peak),
                percent(shares.own_peak),
                percent(shares.roof),
                format!("{:.3}", found.error),
            ]);
        }
        aligned(&rows, 4)
    }

    /// What became of each measurement that `before` has too.
    pub fn changes_since(&self, before: &Report) -> Vec<Change> {
        let known = |found: &Measurement| {
            let key = |found: &Measurement| (found.identity.clone(), found.temperature);
            before.measurements.iter().find(|other| key(other) == key(found))
        };
        let change = |found: &Measurement| Some(Change::new(known(found)?, found));
        self.measurements.iter().filter_map(change).collect()
    }
}

/// Rows as a table: the first `left` columns to the left, the others to the right.
pub fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < left { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A measurement beside an earlier one of the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What was measured.
    pub identity: Identity,
    /// Where its operands were.
    pub temperature: Temperature,
    /// How many times as fast as before it is, by the medians.
    pub speed: f64,
    /// Whether that is beyond the spread.
    pub direction: Direction,
}

/// Where a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Three quarters of the samples are faster than three quarters of those before.
    Faster,
    /// Three quarters of the samples are slower than three quarters of those before.
    Slower,
    /// Neither.
    Same,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Faster => "faster",
            Direction::Slower => "SLOWER",
            Direction::Same => "same",
        })
    }
}

impl Change {
    fn new(before: &Measurement, now: &Measurement) -> Self {
        let direction = if now.seconds.upper < before.seconds.lower {
            Direction::Faster
        } else if now.seconds.lower > before.seconds.upper {
            Direction::Slower
        } else {
            Direction::Same
        };
        Change {
            identity: now.identity.clone(),
            temperature: now.temperature,
            speed: before.seconds.median / now.seconds.median,
            direction,
        }
    }
}

#[cfg(test)]
mod tests {
    use unspool_tensor::Context;

    use super::*;
    use crate::machine::MachineSettings;
    use crate::statistics::Spread;
    use crate::workload::Cost;

    fn measurement(variant: &str, seconds: f64) -> Measurement {
        let context = Context::sequential();
        Measurement {
            identity: Identity::new("forward", variant, "2x3x4", NumberType::F32, &context),
            temperature: Temperature::Warm,
            cost: Cost { work: Work::Operations, amount: 48.0, bytes: 104.0 },
            seconds: Spread::of(&[seconds, 1.04 * seconds, 1.08 * seconds]),
            runs: 7,
            error: 0.25,
            ceiling: None,
        }
    }

    fn report(measurements: Vec<Measurement>) -> Report {
        let threads = vec![1];
        let settings = MachineSettings { threads, rounds: 1, seconds: 1e-6, memory: false };
        Report::new(Machine::measure(&settings, |_, _| {}), measurements)
    }

    #[test]
    fn a_report_is_the_same_after_it_was_written() {
        let folder = std::env::temp_dir().join(format!("unspool-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("report.json");
        let written = report(vec![measurement("avx2", 1e-6), measurement("naive", 1.0 / 3.0)]);
        written.write(&file).unwrap();
        assert_eq!(Report::read(&file).unwrap(), written);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "a part is left over");

        let text = fs::read_to_string(&file).unwrap();
        for (text, problem) in [
            (String::new(), "not a report"),
            ("{}".to_owned(), "missing field"),
            (text.replace("\"format\": 1", "\"format\": 2"), "format is 2, not 1"),
            (text[..text.len() / 2].to_owned(), "not a report"),
        ] {
            fs::write(&file, text).unwrap();
            let error = Report::read(&file).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("report.json"), "{error}");
        }
        assert!(matches!(Report::read(&folder.join("none")), Err(ReportError::File { .. })));
        assert!(matches!(written.write(&folder.join("a/b")), Err(ReportError::File { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn shares_are_of_what_the_cores_could_do_then() {
        let mut report = report(vec![measurement("portable", 1e-6)]);
        report.machine.peaks.iter_mut().for_each(|peak| peak.flop_per_second = 96e6);
        let rate = report.measurements[0].rate();
        let shares = |report: &Report| {
            let Shares { peak, own_peak, roof } =
                Shares::of(&report.measurements[0], &report.machine);
            [peak, own_peak, roof].map(|share| share.map(|share| share * 96e6 / rate))
        };
        // The machine's best, when nothing else is known; less, when all was slower.
        assert_eq!(shares(&report)[..2], [Some(1.0); 2]);
        report.measurements[0].ceiling = Some(Peaks { best: 48e6, own: 24e6 });
        assert_eq!(shares(&report), [Some(2.0), Some(4.0), Some(2.0)]);
    }

    #[test]
    fn changes_are_those_beyond_the_spread() {
        let before = report(vec![measurement("avx2", 1.0), measurement("gone", 1.0)]);
        for (seconds, speed, direction) in [
            (1.0, 1.0, Direction::Same),
            (1.03, 1.0 / 1.03, Direction::Same),
            (0.5, 2.0, Direction::Faster),
            (2.0, 0.5, Direction::Slower),
        ] {
            let now = report(vec![measurement("new", 1.0), measurement("avx2", seconds)]);
            let changes = now.changes_since(&before);
            let [change] = &changes[..] else { panic!("{changes:?}") };
            assert_eq!((change.identity.variant.as_str(), change.direction), ("avx2", direction));
            assert!((change.speed - speed).abs() < 1e-12);
        }
        let mut cold = measurement("avx2", 1.0);
        cold.temperature = Temperature::Cold;
        assert_eq!(report(vec![cold]).changes_since(&before), []);
    }

    #[test]
    fn tables_have_a_row_for_each_measurement() {
        let table = report(vec![measurement("avx2", 1e-6), measurement("mine", 1e-3)]).table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(lines[0].starts_with("kernel   shape  variant"), "{table}");
        assert!(lines[1].contains("1.04 µs") && lines[2].contains("1.04 ms"), "{table}");
    }
}
