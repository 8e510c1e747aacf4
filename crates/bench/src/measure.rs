//! Timing: fresh answers before and after, samples in turns.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use unspool_tensor::random::Key;

use crate::machine::{Ceiling, Evictor, Instructions, NumberType, Temperature};
use crate::statistics::Spread;
use crate::workload::{Cost, Identity, Work, Workload, Wrong};

/// How long and how often is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// A sample is so many runs that it takes at least this long, in seconds; when operands are
    /// cold, it is one run.
    pub sample_seconds: f64,
    /// For about how long each workload is measured, in seconds.
    pub seconds: f64,
    /// But for so many samples at least,
    pub least_samples: usize,
    /// and for so many at most.
    pub most_samples: usize,
    /// Where the operands are.
    pub temperature: Temperature,
    /// The size of the last cache: see [`Machine::last_cache`](crate::Machine::last_cache).
    pub last_cache: usize,
    /// What all random numbers come from: the inputs, and the order of samples.
    pub seed: u64,
}

impl Default for Settings {
    /// Half a second each.
    fn default() -> Self {
        Settings {
            sample_seconds: 3e-4,
            seconds: 0.5,
            least_samples: 15,
            most_samples: 1000,
            temperature: Temperature::Warm,
            last_cache: 1 << 25,
            seed: 1,
        }
    }
}

impl Settings {
    /// Some milliseconds each: to see whether something works, not how fast it is.
    pub fn quick() -> Self {
        let default = Self::default();
        Settings { sample_seconds: 1e-4, seconds: 0.02, least_samples: 5, ..default }
    }

    /// The same with operands in the main memory.
    pub fn cold(self) -> Self {
        Settings { temperature: Temperature::Cold, ..self }
    }
}

/// How fast a kernel is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// What was measured.
    pub identity: Identity,
    /// Where its operands were.
    pub temperature: Temperature,
    /// How much work a run is.
    pub cost: Cost,
    /// Seconds a run.
    pub seconds: Spread,
    /// How many runs a sample is.
    pub runs: u64,
    /// The largest error that was found, as a share of its bound.
    pub error: f64,
    /// What the cores could do then. [`measure`](fn@measure) alone finds it, for work that is
    /// counted in operations.
    #[serde(default)]
    pub ceiling: Option<Peaks>,
}

/// The most operations a second of the threads of a measurement, in the same turns and by the same
/// median: chains of multiply-adds in registers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// With the best instructions of the machine.
    pub best: f64,
    /// With those that the variant is named for, or else the best.
    pub own: f64,
}

impl Measurement {
    /// Work a second, by the median.
    pub fn rate(&self) -> f64 {
        self.cost.amount / self.seconds.median
    }
}

impl fmt::Display for Measurement {
    /// A line: `avx512: forward, packed 64x640x1024 f32, 1 thread: 180.2 GFLOP/s, 466 µs ± 1%`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, unit) = (self.rate() / 1e9, self.cost.work.unit());
        let (time, spread) = (time(self.seconds.median), 50.0 * self.seconds.relative());
        write!(f, "{}: {rate:.1} {unit}, {time} ± {spread:.0}%", self.identity)
    }
}

/// A time for people, with three digits.
pub fn time(seconds: f64) -> String {
    let (number, unit) = match seconds {
        x if x < 1e-6 => (1e9 * x, "ns"),
        x if x < 1e-3 => (1e6 * x, "µs"),
        x if x < 1.0 => (1e3 * x, "ms"),
        x => (x, "s"),
    };
    let decimals = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
    format!("{number:.decimals$} {unit}")
}

/// A kernel gives a wrong answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{identity}: wrong {stage}: {wrong}")]
pub struct Mismatch {
    /// The workload.
    pub identity: Box<Identity>,
    /// When it was found.
    pub stage: Stage,
    /// What is wrong.
    pub wrong: Wrong,
}

/// When an answer is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before timing, on fresh inputs in the same memory.
    Before,
    /// While timing, after a sample.
    During,
    /// After timing, on fresh inputs.
    After,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Before => "before timing",
            Stage::During => "while timing",
            Stage::After => "after timing",
        })
    }
}

/// Measures one workload.
///
/// # Errors
/// It gives a wrong answer.
pub fn measure_one(
    workload: &mut dyn Workload,
    settings: &Settings,
) -> Result<Measurement, Mismatch> {
    let run = Turns::new(&mut [workload], &[0], settings, &mut |_| {});
    run.measurement(0, 0, settings)
}

/// Measures several workloads sample by sample in turns, in an order that is shuffled each round,
/// so that what slows the machine for a while does not slow one of them alone. `progress` is told
/// the share that is done. Where operations are counted, the machine's peak has its turn too.
///
/// One that gives a wrong answer is an error, in its place; the others are measured.
pub fn measure(
    workloads: &mut [&mut (dyn Workload + '_)],
    settings: &Settings,
    mut progress: impl FnMut(f64),
) -> Vec<Result<Measurement, Mismatch>> {
    let identities: Vec<Option<Identity>> = (workloads.iter())
        .map(|work| (work.cost().work == Work::Operations).then(|| work.identity()))
        .collect();
    let mut ceilings = ceilings(workloads, &identities);
    let (count, all) = (workloads.len(), workloads.len() + ceilings.len());
    let slots: Vec<usize> = (0..all).collect();
    let mut turns: Vec<&mut dyn Workload> = Vec::with_capacity(all);
    turns.extend(workloads.iter_mut().map(|work| &mut **work as &mut dyn Workload));
    turns.extend(ceilings.iter_mut().map(|ceiling| ceiling as &mut dyn Workload));
    let run = Turns::new(&mut turns, &slots, settings, &mut progress);
    let rate = |instructions: Instructions, identity: &Identity| {
        let at = ceilings.iter().position(|ceiling| ceiling.is_of(instructions, identity))?;
        Some(run.measurement(count + at, count + at, settings).ok()?.rate())
    };
    let measurement = |(slot, identity): (usize, &Option<Identity>)| {
        let mut found = run.measurement(slot, slot, settings)?;
        found.ceiling = identity.as_ref().and_then(|identity| {
            let best = rate(Instructions::best(), identity)?;
            let own = Instructions::of_variant(&identity.variant);
            Some(Peaks { best, own: own.and_then(|own| rate(own, identity)).unwrap_or(best) })
        });
        Ok(found)
    };
    identities.iter().enumerate().map(measurement).collect()
}

/// The limits of all work that is counted in operations, each once.
fn ceilings(
    workloads: &[&mut (dyn Workload + '_)],
    identities: &[Option<Identity>],
) -> Vec<Ceiling> {
    let mut all: Vec<Ceiling> = Vec::new();
    for (work, identity) in workloads.iter().zip(identities) {
        let Some(identity) = identity else { continue };
        let numbers = NumberType::ALL.into_iter().find(|found| found.name() == identity.number);
        let own = Instructions::of_variant(&identity.variant);
        for instructions in [Some(Instructions::best()), own].into_iter().flatten() {
            if !all.iter().any(|ceiling| ceiling.is_of(instructions, identity)) {
                let new = |number| Ceiling::new(instructions, number, work.context());
                all.extend(numbers.and_then(new));
            }
        }
    }
    all
}

/// So many rounds have their operands in the same memory.
///
/// Where they are has a part in how fast a kernel is, as have other things that have nothing to do
/// with it (Mytkowicz, Diwan, Hauswirth and Sweeney, "Producing wrong data without doing anything
/// obviously wrong!", 2009); what cannot be kept equal is varied (Curtsinger and Berger,
/// "Stabilizer: statistically sound performance evaluation", 2013).
const ROUNDS_IN_PLACE: usize = 4;

/// Samples of several workloads, taken in turns.
pub(crate) struct Turns {
    workloads: Vec<State>,
    /// Seconds a run, for each slot and round.
    pub(crate) samples: Vec<Vec<f64>>,
}

/// A workload in a run.
struct State {
    identity: Identity,
    cost: Cost,
    runs: u64,
    /// How many runs there were.
    count: u64,
    /// The largest error so far, or the first wrong answer.
    error: Result<f64, (Stage, Wrong)>,
}

impl State {
    /// Remembers what a check found.
    fn hold(&mut self, stage: Stage, found: Result<f64, Wrong>) {
        if let Ok(largest) = self.error {
            self.error = found.map(|error| largest.max(error)).map_err(|wrong| (stage, wrong));
        }
    }

    /// Fresh inputs, one run, and a look at the whole answer.
    fn verify(&mut self, workload: &mut dyn Workload, stage: Stage, key: Key) {
        if self.error.is_err() {
            return;
        }
        workload.renew(key);
        inside(workload, |workload| workload.run());
        let found = workload.verify();
        self.hold(stage, found);
    }

    /// Seconds a run in `runs` runs, each on other inputs than the one before.
    fn time(&mut self, workload: &mut dyn Workload, runs: u64) -> f64 {
        let first = self.count;
        self.count += runs;
        let start_to_end = inside(workload, |workload| {
            let start = Instant::now();
            for count in first..first + runs {
                workload.touch(count);
                workload.run();
            }
            start.elapsed()
        });
        start_to_end.as_secs_f64() / runs as f64
    }

    /// Sees whether runs on inputs that are all other than those before take longer than runs where
    /// one number is: whoever keeps answers, and computes what has changed, is caught here.
    fn look_for_shortcuts(
        &mut self,
        workload: &mut dyn Workload,
        seconds: f64,
        evictor: Option<&Evictor>,
    ) {
        let mut fastest = |this: &mut Self, change: bool| {
            workload.rewrite(change);
            if let Some(evictor) = evictor {
                workload.evict(evictor);
            }
            let time = this.time(workload, 1);
            this.hold(Stage::During, workload.verify_touched());
            time
        };
        let start = Instant::now();
        // Three times: a machine that is busy with something else slows down one of two runs, too.
        for attempt in 1..=3 {
            let [mut new, mut known] = [f64::INFINITY; 2];
            let mut pairs = 0;
            while pairs < 3 || (pairs < 15 && start.elapsed().as_secs_f64() < seconds) {
                new = new.min(fastest(self, true));
                known = known.min(fastest(self, false));
                pairs += 1;
            }
            // Half a microsecond is within the precision of a single run.
            if self.error.is_err() || new <= 2.0 * known + 5e-7 {
                return;
            }
            if attempt == 3 {
                self.hold(Stage::During, Err(Wrong::Shortcut { new, known }));
            }
        }
    }

    /// One sample.
    fn sample(&mut self, workload: &mut dyn Workload, evictor: Option<&Evictor>) -> f64 {
        match evictor {
            Some(evictor) => {
                workload.evict(evictor);
                self.time(workload, 1)
            }
            None => {
                // What ran in between has taken the caches.
                self.time(workload, 1);
                self.time(workload, self.runs)
            }
        }
    }
}

/// Works in the threads of the workload's context, so that waking them is not timed.
fn inside<R: Send>(
    workload: &mut dyn Workload,
    work: impl FnOnce(&mut dyn Workload) -> R + Send,
) -> R {
    let context = workload.context().clone();
    match context.threads() {
        1 => work(workload),
        _ => context.install(|| work(workload)),
    }
}

impl Turns {
    /// Measures `workloads`, of which a round samples those of `slots`.
    pub(crate) fn new(
        workloads: &mut [&mut (dyn Workload + '_)],
        slots: &[usize],
        settings: &Settings,
        progress: &mut dyn FnMut(f64),
    ) -> Self {
        let key = Key::new(settings.seed).named("bench");
        let evictor =
            (settings.temperature == Temperature::Cold).then(|| Evictor::new(settings.last_cache));
        let mut states: Vec<State> = (workloads.iter())
            .map(|workload| State {
                identity: workload.identity(),
                cost: workload.cost(),
                runs: 1,
                count: 0,
                error: Ok(0.0),
            })
            .collect();
        let pairs = |states: &mut [State],
                     workloads: &mut [&mut (dyn Workload + '_)],
                     work: &mut dyn FnMut(&mut State, &mut dyn Workload)| {
            for (state, workload) in states.iter_mut().zip(workloads) {
                work(state, &mut **workload);
            }
        };
        // The same inputs for all, so that they can share an oracle.
        for fresh in [1, 2] {
            pairs(&mut states, workloads, &mut |state, workload| {
                state.verify(workload, Stage::Before, key.with(fresh));
            });
        }
        pairs(&mut states, workloads, &mut |state, workload| {
            if state.error.is_ok() && evictor.is_none() {
                state.runs = runs(settings.sample_seconds, |runs| state.time(workload, runs));
            }
        });

        let mut samples = vec![Vec::new(); slots.len()];
        let mut order: Vec<usize> = (0..slots.len()).collect();
        let budget = settings.seconds * slots.len() as f64;
        let start = Instant::now();
        for round in 0..settings.most_samples.max(1) {
            let elapsed = start.elapsed().as_secs_f64();
            let enough = round >= settings.least_samples.max(1) && elapsed >= budget;
            // Very slow work does not hold up all others for its last samples.
            if enough || (round >= 5 && elapsed >= 10.0 * budget) {
                break;
            }
            let by_time = elapsed / budget;
            let by_samples = round as f64 / settings.least_samples.max(1) as f64;
            progress(by_time.min(by_samples).clamp(0.0, 1.0));
            if round > 0 && round.is_multiple_of(ROUNDS_IN_PLACE) {
                workloads.iter_mut().for_each(|workload| workload.relocate());
            }
            key.with(3).with(round as u64).shuffle(&mut order);
            for &slot in &order {
                let Some(workload) = workloads.get_mut(slots[slot]) else { continue };
                let state = &mut states[slots[slot]];
                if state.error.is_ok() {
                    samples[slot].push(state.sample(&mut **workload, evictor.as_ref()));
                    let found = workload.verify_touched();
                    state.hold(Stage::During, found);
                }
            }
        }
        pairs(&mut states, workloads, &mut |state, workload| {
            if state.error.is_ok() {
                state.look_for_shortcuts(workload, 0.1 * settings.seconds, evictor.as_ref());
            }
            state.verify(workload, Stage::After, key.with(4));
        });
        progress(1.0);
        Turns { workloads: states, samples }
    }

    /// What was found in a slot, of the workload that has it.
    pub(crate) fn measurement(
        &self,
        slot: usize,
        workload: usize,
        settings: &Settings,
    ) -> Result<Measurement, Mismatch> {
        let State { identity, cost, runs, error, .. } = &self.workloads[workload];
        match error {
            Ok(error) => Ok(Measurement {
                identity: identity.clone(),
                temperature: settings.temperature,
                cost: *cost,
                seconds: Spread::of(&self.samples[slot]),
                runs: *runs,
                error: *error,
                ceiling: None,
            }),
            Err((stage, wrong)) => Err(Mismatch {
                identity: Box::new(identity.clone()),
                stage: *stage,
                wrong: wrong.clone(),
            }),
        }
    }
}

/// How many runs take as long as a sample, by a function that tells the seconds a run.
fn runs(sample_seconds: f64, mut time: impl FnMut(u64) -> f64) -> u64 {
    let mut runs = 1;
    loop {
        let seconds = time(runs).max(1e-10);
        if seconds * runs as f64 >= sample_seconds || runs >= 1 << 24 {
            return runs;
        }
        // At most ten times as many: the first runs are the slowest.
        let needed = (sample_seconds / seconds).ceil() as u64;
        runs = needed.clamp(runs + 1, 10 * runs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_as_long_as_they_should_be() {
        for (a_run, expected) in [(1.0, 1), (1e-3, 1), (4e-4, 3), (1e-5, 100), (0.0, 10_000_000)] {
            let mut asked = Vec::new();
            let found = runs(1e-3, |runs| {
                asked.push(runs);
                a_run
            });
            assert_eq!(found, expected, "{a_run}: {asked:?}");
            assert!(asked.is_sorted());
        }
    }

    #[test]
    fn times_have_three_digits() {
        for (seconds, text) in [
            (1.234e-9, "1.23 ns"),
            (12.34e-6, "12.3 µs"),
            (123.4e-3, "123 ms"),
            (5.0, "5.00 s"),
            (f64::NAN, "NaN s"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
