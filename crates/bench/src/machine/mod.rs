//! What the machine can do at most: multiply-adds and memory, on one core and on several.
//!
//! Nothing is looked up: the limits are measured, in the same program and by the same clock as the
//! kernels that are held against them. `unsafe` is in this folder alone.

mod bandwidth;
mod ceiling;
mod evict;
mod peak;
mod rate;

use std::fmt;
use std::num::NonZero;
use std::{fs, thread};

use serde::{Deserialize, Serialize};

pub(crate) use self::ceiling::Ceiling;
pub use self::evict::Evictor;
pub use self::peak::{Instructions, NumberType};
use crate::workload::{Cost, Work};

/// A machine and its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// What the processor calls itself.
    pub processor: String,
    /// How many threads run at the same time.
    pub cores: usize,
    /// The data caches, the fastest first.
    pub caches: Vec<DataCache>,
    /// Whether their sizes are only assumed, since the system does not tell.
    pub caches_assumed: bool,
    /// The most operations a second.
    pub peaks: Vec<Peak>,
    /// How fast memory is.
    pub bandwidths: Vec<Bandwidth>,
}

/// One level of data cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataCache {
    /// 1 is the fastest.
    pub level: u8,
    /// Its size.
    pub bytes: usize,
    /// How many cores share it.
    pub shared_by: usize,
}

/// The most multiply-adds in one instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// The instruction set.
    pub instructions: Instructions,
    /// Of which numbers.
    pub number: NumberType,
    /// By how many threads.
    pub threads: usize,
    /// Operations a second of all threads together; a multiply-add is two.
    pub flop_per_second: f64,
}

/// How fast arrays of one size are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Where the arrays are.
    pub level: Level,
    /// By how many threads.
    pub threads: usize,
    /// The size of each thread's arrays.
    pub bytes: usize,
    /// Bytes a second, reading, of all threads together.
    pub read: f64,
    /// Bytes a second of `a = b + s·c`, reading two arrays and writing one.
    pub triad: f64,
}

impl Bandwidth {
    /// The faster of the two.
    pub fn best(&self) -> f64 {
        self.read.max(self.triad)
    }
}

/// Where numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The cache of this number; 1 is the fastest.
    Cache(u8),
    /// The main memory.
    Memory,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::Cache(number) => write!(f, "L{number}"),
            Level::Memory => f.write_str("memory"),
        }
    }
}

/// Where the operands of a kernel are when it is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Temperature {
    /// In the caches, as far as they fit: the kernel has just run on them.
    Warm,
    /// In the main memory: see [`Evictor`].
    Cold,
}

impl Temperature {
    /// `warm` or `cold`.
    pub fn name(self) -> &'static str {
        match self {
            Temperature::Warm => "warm",
            Temperature::Cold => "cold",
        }
    }
}

/// How thoroughly the limits are measured.
#[derive(Clone, Debug, PartialEq)]
pub struct MachineSettings {
    /// By how many threads at the same time: each of these.
    pub threads: Vec<usize>,
    /// The best of so many rounds counts; several threads have more when they need them.
    pub rounds: usize,
    /// How long a round takes at least, in seconds.
    pub seconds: f64,
    /// Whether arrays larger than all caches are measured too: they take the longest.
    pub memory: bool,
}

impl MachineSettings {
    /// A few seconds, for these numbers of threads.
    pub fn new(threads: &[usize]) -> Self {
        MachineSettings { threads: threads.to_vec(), rounds: 30, seconds: 4e-3, memory: true }
    }

    /// About half a second, for these numbers of threads; without the main memory.
    pub fn quick(threads: &[usize]) -> Self {
        let threads = threads.to_vec();
        MachineSettings { threads, rounds: 20, seconds: 1e-3, memory: false }
    }
}

/// The numbers of threads that a machine with `threads` of them is measured with: the powers of two
/// and the number itself.
pub fn thread_counts(threads: usize) -> Vec<usize> {
    let powers = (0..usize::BITS).map(|power| 1 << power);
    powers.take_while(|&count| count < threads).chain([threads.max(1)]).collect()
}

impl Machine {
    /// Measures the machine. `progress` is told what is measured next, and the share that is done.
    pub fn measure(settings: &MachineSettings, mut progress: impl FnMut(&str, f64)) -> Self {
        let (caches, caches_assumed) = match system_caches() {
            Some(caches) => (caches, false),
            None => (assumed_caches(), true),
        };
        let rounds = settings.rounds.max(1);
        let mut peaks = Vec::new();
        let mut bandwidths = Vec::new();
        let levels = levels(&caches, settings.memory);
        let steps = settings.threads.len() * (2 * Instructions::ALL.len() + levels.len());
        let mut done = 0;
        let mut step = |what: String| {
            progress(&what, f64::from(done) / steps.max(1) as f64);
            done += 1;
        };
        for &threads in &settings.threads {
            let threads = threads.max(1);
            for number in NumberType::ALL {
                for instructions in Instructions::ALL {
                    step(format!("{} {}", instructions.name(), number.name()));
                    let seconds = settings.seconds;
                    let found = peak::measure(instructions, number, threads, rounds, seconds);
                    peaks.extend(found.map(|flop_per_second| Peak {
                        instructions,
                        number,
                        threads,
                        flop_per_second,
                    }));
                }
            }
            for &level in &levels {
                step(level.to_string());
                let bytes = array_size(&caches, level, threads);
                let rounds = if level == Level::Memory { rounds.min(5) } else { rounds };
                let [read, triad] = [bandwidth::read, bandwidth::triad]
                    .map(|measure| measure(bytes, threads, rounds, settings.seconds));
                bandwidths.push(Bandwidth { level, threads, bytes, read, triad });
            }
        }
        progress("", 1.0);
        let (processor, cores) = (processor(), cores());
        Machine { processor, cores, caches, caches_assumed, peaks, bandwidths }
    }

    /// The most operations a second, with the best instructions. `None` when it was not measured.
    pub fn peak(&self, number: NumberType, threads: usize) -> Option<f64> {
        let of_set = |instructions| self.peak_of(instructions, number, threads);
        Instructions::ALL.into_iter().filter_map(of_set).reduce(f64::max)
    }

    /// The most operations a second with these instructions. `None` when it was not measured.
    pub fn peak_of(
        &self,
        instructions: Instructions,
        number: NumberType,
        threads: usize,
    ) -> Option<f64> {
        let fits = |peak: &&Peak| {
            (peak.instructions, peak.number, peak.threads) == (instructions, number, threads)
        };
        self.peaks.iter().find(fits).map(|peak| peak.flop_per_second)
    }

    /// The most bytes a second when a kernel reads or writes so many, once each: what fits into a
    /// cache comes from there at best, and the rest at the pace of what is behind it. When they are
    /// cold, all come from the main memory. `None` when what bounds it was not measured.
    pub fn bandwidth(&self, bytes: f64, threads: usize, temperature: Temperature) -> Option<f64> {
        let of = |level: Level| {
            let mut found = self.bandwidths.iter();
            found.find(|found| (found.level, found.threads) == (level, threads))
        };
        if temperature == Temperature::Cold {
            return of(Level::Memory).map(Bandwidth::best);
        }
        // The least seconds that the bytes behind each cache take; all are behind nothing.
        let mut seconds = 0.0_f64;
        let mut behind = bytes;
        let levels = self.caches.iter().map(|cache| Level::Cache(cache.level));
        let rooms = self.caches.iter().map(|cache| {
            // Each thread has its own, unless all share it.
            cache.bytes as f64 * threads.div_ceil(cache.shared_by.max(1)) as f64
        });
        for (level, room) in levels.chain([Level::Memory]).zip(rooms.chain([f64::INFINITY])) {
            seconds = seconds.max(behind / of(level)?.best());
            behind = bytes - room;
            if behind <= 0.0 {
                break;
            }
        }
        Some(bytes / seconds)
    }

    /// The roofline of Williams, Waterman and Patterson ("Roofline: an insightful visual
    /// performance model", 2009): the most work a second that peak and memory allow, for work of
    /// this cost. `None` when what bounds it was not measured.
    ///
    /// Work that is counted in numbers, not operations, is bounded by memory alone.
    pub fn roof(
        &self,
        cost: &Cost,
        number: NumberType,
        threads: usize,
        temperature: Temperature,
    ) -> Option<f64> {
        let memory = self.bandwidth(cost.bytes, threads, temperature);
        let by_memory = memory.map(|rate| rate / cost.bytes * cost.amount);
        match cost.work {
            Work::Numbers => by_memory,
            Work::Operations => Some(self.peak(number, threads)?.min(by_memory?)),
        }
    }

    /// The size of the last cache, as far as it is known.
    pub fn last_cache(&self) -> usize {
        self.caches.iter().map(|cache| cache.bytes).max().unwrap_or(1 << 25)
    }
}

impl fmt::Display for Machine {
    /// A table of all limits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, {} cores", self.processor, self.cores)?;
        let size = |cache: &DataCache| format!("L{} {}", cache.level, bytes(cache.bytes as f64));
        let sizes: Vec<_> = self.caches.iter().map(size).collect();
        let assumed = if self.caches_assumed { " (assumed)" } else { "" };
        writeln!(f, "caches: {}{assumed}", sizes.join(", "))?;
        writeln!(f, "\n{:12} {:>7} {:>12} {:>12}", "GFLOP/s", "threads", "f32", "f64")?;
        for peak in self.peaks.iter().filter(|peak| peak.number == NumberType::F32) {
            let (name, threads) = (peak.instructions.name(), peak.threads);
            let double = self.peak_of(peak.instructions, NumberType::F64, threads);
            let [single, double] = [Some(peak.flop_per_second), double]
                .map(|rate| rate.map_or("-".into(), |rate| format!("{:.1}", rate / 1e9)));
            writeln!(f, "{name:12} {threads:>7} {single:>12} {double:>12}")?;
        }
        let head = ["threads", "each", "read", "triad"];
        let [threads, each, read, triad] = head;
        write!(f, "\n{:12} {threads:>7} {read:>12} {triad:>12} {each:>10}", "GB/s")?;
        for found in &self.bandwidths {
            let [read, triad] = [found.read, found.triad].map(|rate| rate / 1e9);
            let (level, each) = (found.level.to_string(), bytes(found.bytes as f64));
            let threads = found.threads;
            write!(f, "\n{level:12} {threads:>7} {read:>12.1} {triad:>12.1} {each:>10}")?;
        }
        Ok(())
    }
}

/// A number of bytes for people.
fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB"];
    let mut count = count;
    let mut unit = 0;
    while count >= 1024.0 && unit + 1 < units.len() {
        (count, unit) = (count / 1024.0, unit + 1);
    }
    format!("{count:.0} {}", units[unit])
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// What the system says the processor is.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// The caches that Linux tells of; `None` on other systems.
fn system_caches() -> Option<Vec<DataCache>> {
    let folder = fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let mut caches = Vec::new();
    for entry in folder.flatten() {
        let read = |name| fs::read_to_string(entry.path().join(name)).ok();
        let (Some(level), Some(size), Some(kind)) = (read("level"), read("size"), read("type"))
        else {
            continue;
        };
        if kind.trim() == "Instruction" {
            continue;
        }
        let shared = read("shared_cpu_list").unwrap_or_default();
        let (Ok(level), Some(bytes)) = (level.trim().parse(), cache_size(&size)) else { continue };
        caches.push(DataCache { level, bytes, shared_by: cores_in(&shared) });
    }
    caches.sort_by_key(|cache| cache.level);
    (!caches.is_empty()).then_some(caches)
}

/// `48K`, `2M`.
fn cache_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit).filter(|&bytes| bytes > 0)
}

/// How many cores a list such as `0-3,8` has; 1 when it says nothing.
fn cores_in(list: &str) -> usize {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let [first, last] = [first, last].map(|number| number.trim().parse::<usize>().ok());
        Some((last? + 1).saturating_sub(first?))
    };
    list.split(',').filter_map(count).sum::<usize>().max(1)
}

/// The caches of an ordinary core.
fn assumed_caches() -> Vec<DataCache> {
    let sizes = [(1, 1 << 15, 1), (2, 1 << 19, 1), (3, 1 << 24, cores())];
    sizes.map(|(level, bytes, shared_by)| DataCache { level, bytes, shared_by }).to_vec()
}

/// The levels that are measured.
fn levels(caches: &[DataCache], memory: bool) -> Vec<Level> {
    let caches = caches.iter().map(|cache| Level::Cache(cache.level));
    caches.chain(memory.then_some(Level::Memory)).collect()
}

/// The size of each thread's arrays that are to be in this level: half of the first cache; well
/// between a cache and the one before it; twice the last one for all threads together.
fn array_size(caches: &[DataCache], level: Level, threads: usize) -> usize {
    // What a thread has of a cache when all run.
    let part = |cache: &DataCache| cache.bytes / cache.shared_by.min(threads).max(1);
    let last = caches.iter().map(|cache| cache.bytes).max().unwrap_or(1 << 25);
    let Level::Cache(number) = level else { return 2 * last / threads };
    match caches.iter().position(|cache| cache.level == number) {
        None => 2 * last / threads,
        Some(0) => part(&caches[0]) / 2,
        Some(at) => {
            let [smaller, larger] = [part(&caches[at - 1]), part(&caches[at])];
            (smaller as f64 * larger as f64).sqrt() as usize
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        let cache = |level, bytes, shared_by| DataCache { level, bytes, shared_by };
        let peak = |instructions, threads, flop_per_second| Peak {
            instructions,
            number: NumberType::F32,
            threads,
            flop_per_second,
        };
        let bandwidth =
            |level, threads, read| Bandwidth { level, threads, bytes: 1, read, triad: read / 2.0 };
        Machine {
            processor: "a model".into(),
            cores: 2,
            caches: vec![cache(1, 1000, 1), cache(2, 10_000, 1), cache(3, 100_000, 2)],
            caches_assumed: false,
            peaks: vec![
                peak(Instructions::Avx2, 1, 50.0),
                peak(Instructions::Avx512, 1, 100.0),
                peak(Instructions::Avx512, 2, 190.0),
            ],
            bandwidths: [1, 2]
                .into_iter()
                .flat_map(|threads| {
                    let of = move |level, rate| bandwidth(level, threads, rate * threads as f64);
                    [
                        of(Level::Cache(1), 400.0),
                        of(Level::Cache(2), 200.0),
                        of(Level::Cache(3), 50.0),
                        of(Level::Memory, 10.0),
                    ]
                })
                .collect(),
        }
    }

    #[test]
    fn the_roof_is_the_lower_of_peak_and_memory() {
        use Temperature::{Cold, Warm};
        let flop = |amount, bytes| Cost { work: Work::Operations, amount, bytes };
        let numbers = |amount, bytes| Cost { work: Work::Numbers, amount, bytes };
        let rows = [
            // Operations for each byte, and where the bytes are.
            (flop(500.0, 500.0), 1, Warm, Some(100.0)),
            (flop(50.0, 500.0), 1, Warm, Some(40.0)),
            (flop(1500.0, 1500.0), 1, Warm, Some(100.0)),
            // Of twice what the first cache holds, half comes from the second, at 200 a second.
            (flop(200.0, 2000.0), 1, Warm, Some(40.0)),
            // What is hardly more than it holds is as fast as what it holds.
            (flop(100.1, 1001.0), 1, Warm, Some(40.0)),
            (flop(800.0, 8000.0), 1, Warm, Some(20.0 * 8.0 / 7.0)),
            // Two caches of their own have more room; a shared one has not.
            (flop(200.0, 2000.0), 2, Warm, Some(80.0)),
            (flop(20_000.0, 200_000.0), 2, Warm, Some(4.0)),
            (flop(500.0, 500.0), 1, Cold, Some(10.0)),
            (flop(500_000.0, 500.0), 2, Cold, Some(190.0)),
            (numbers(50.0, 500.0), 1, Warm, Some(40.0)),
            // Not measured.
            (flop(500.0, 500.0), 3, Warm, None),
        ];
        for (cost, threads, temperature, expected) in rows {
            let roof = machine().roof(&cost, NumberType::F32, threads, temperature);
            assert_eq!(roof, expected, "{cost:?} {threads} {temperature:?}");
        }
        assert_eq!(machine().roof(&flop(1.0, 1.0), NumberType::F64, 1, Warm), None);
    }

    #[test]
    fn arrays_are_between_the_caches() {
        let caches = machine().caches;
        for (level, threads, bytes) in [
            (Level::Cache(1), 1, 500),
            (Level::Cache(1), 2, 500),
            (Level::Cache(2), 1, 3162),
            (Level::Cache(3), 1, 31_622),
            (Level::Cache(3), 2, 22_360),
            (Level::Memory, 1, 200_000),
            (Level::Memory, 2, 100_000),
        ] {
            assert_eq!(array_size(&caches, level, threads), bytes, "{level} {threads}");
        }
    }

    #[test]
    fn what_linux_tells_is_understood() {
        for (text, expected) in [
            ("48K\n", Some(49_152)),
            ("2M", Some(1 << 21)),
            ("64", Some(64)),
            ("", None),
            ("K", None),
            ("0K", None),
            ("99999999999999999999K", None),
            ("18446744073709551615M", None),
        ] {
            assert_eq!(cache_size(text), expected, "{text:?}");
        }
        for (list, expected) in [("0", 1), ("0-1\n", 2), ("0-3,8,10-11", 7), ("", 1), ("x", 1)] {
            assert_eq!(cores_in(list), expected, "{list:?}");
        }
        for (threads, expected) in
            [(0, &[1][..]), (1, &[1]), (2, &[1, 2]), (6, &[1, 2, 4, 6]), (8, &[1, 2, 4, 8])]
        {
            assert_eq!(thread_counts(threads), expected);
        }
    }

    #[test]
    fn this_machine_has_limits_and_a_table_of_them() {
        let settings =
            MachineSettings { threads: vec![1, 2], rounds: 1, seconds: 1e-6, memory: false };
        let mut shares = Vec::new();
        let found = Machine::measure(&settings, |_, share| shares.push(share));
        assert!(shares.is_sorted() && shares.last() == Some(&1.0), "{shares:?}");
        for threads in [1, 2] {
            for number in NumberType::ALL {
                assert!(found.peak(number, threads).is_some_and(|peak| peak > 0.0));
            }
            assert!(found.bandwidth(1.0, threads, Temperature::Warm).is_some());
        }
        let table = found.to_string();
        assert!(["GFLOP/s", "portable", "GB/s", "L1"].iter().all(|part| table.contains(part)));
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&text).unwrap().processor, found.processor);
    }
}
