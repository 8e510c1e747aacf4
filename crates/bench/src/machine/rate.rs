//! The best rate of work that several threads do at the same time.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Work a second when `threads` threads each do `amount` of it at the same time: the best of some
/// rounds, for what disturbs a round only ever makes it slower.
///
/// `prepare` makes the work of a thread, on that thread. The system may begin with several threads
/// on one core, and takes its time to move them apart: they have up to `patience` seconds more,
/// until they do nearly as much each as one alone.
pub(super) fn best_rate<W: FnMut(), P: Fn() -> W + Sync>(
    threads: usize,
    rounds: usize,
    patience: f64,
    amount: f64,
    prepare: &P,
) -> f64 {
    let alone = match threads {
        1 => 0.0,
        _ => best_rate(1, rounds, 0.0, amount, prepare),
    };
    let rate = |seconds: f64| amount * threads as f64 / seconds.max(1e-9);
    let (arrived, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // When each round began in the first thread and ended in the last.
    let spans = Mutex::new(Vec::<(Instant, Instant)>::new());
    let best = || {
        let spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = spans.iter().map(|(start, end)| (*end - *start).as_secs_f64());
        seconds.fold(f64::INFINITY, f64::min)
    };
    let begin = Instant::now();
    let run = |leads: bool| {
        let mut work = prepare();
        // The first time maps pages and wakes the wide units of the core.
        work();
        for round in 0.. {
            if leads && round >= rounds {
                let is_late = begin.elapsed().as_secs_f64() >= patience;
                let is_whole = rate(best()) >= 0.95 * threads as f64 * alone;
                is_over.store(is_late || is_whole, Ordering::Release);
            }
            meet(&arrived, threads * (2 * round + 1));
            if is_over.load(Ordering::Acquire) {
                break;
            }
            let start = Instant::now();
            work();
            let end = Instant::now();
            {
                let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
                match spans.get_mut(round) {
                    None => spans.push((start, end)),
                    Some(span) => *span = (span.0.min(start), span.1.max(end)),
                }
            }
            meet(&arrived, threads * (2 * round + 2));
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(|| run(false))));
        run(true);
    });
    rate(best())
}

/// Waits until so many have arrived, this one included. Who waits does not sleep: to the system,
/// two sleepers fit on one core.
fn meet(arrived: &AtomicUsize, expected: usize) {
    arrived.fetch_add(1, Ordering::AcqRel);
    let mut spins = 0;
    while arrived.load(Ordering::Acquire) < expected {
        spins += 1;
        match spins % 1000 {
            0 => thread::yield_now(),
            _ => spin_loop(),
        }
    }
}

/// How many repetitions of `work` take at least so long.
pub(super) fn repetitions(seconds: f64, mut work: impl FnMut(u64)) -> u64 {
    let mut count = 1;
    loop {
        let start = Instant::now();
        work(count);
        if start.elapsed().as_secs_f64() >= seconds || count >= 1 << 40 {
            return count;
        }
        count *= 2;
    }
}
