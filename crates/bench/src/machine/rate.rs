//! The best rate of work that several threads do at the same time.

use std::sync::{Barrier, Mutex, PoisonError};
use std::time::Instant;

/// Work a second when `threads` threads each do `amount` of it at the same time: the best of some
/// rounds, for what disturbs a round only ever makes it slower.
///
/// `prepare` makes the work of a thread, on that thread.
pub(super) fn best_rate<W: FnMut()>(
    threads: usize,
    rounds: usize,
    amount: f64,
    prepare: impl Fn() -> W + Sync,
) -> f64 {
    let barrier = Barrier::new(threads);
    let spans = Mutex::new(vec![None::<(Instant, Instant)>; rounds]);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut work = prepare();
                // The first time maps pages and wakes the wide units of the core.
                work();
                for round in 0..rounds {
                    barrier.wait();
                    let start = Instant::now();
                    work();
                    let end = Instant::now();
                    let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
                    let span = &mut spans[round];
                    *span = Some(match *span {
                        None => (start, end),
                        Some((first, last)) => (first.min(start), last.max(end)),
                    });
                }
            });
        }
    });
    let spans = spans.into_inner().unwrap_or_else(PoisonError::into_inner);
    let seconds = spans.into_iter().flatten().map(|(start, end)| (end - start).as_secs_f64());
    amount * threads as f64 / seconds.fold(f64::INFINITY, f64::min).max(1e-9)
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
