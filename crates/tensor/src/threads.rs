//! Pools of threads, each thread on a processor of its own where there is one for each.
//!
//! A kernel that is to place a woken thread may put it where the thread that woke it runs, though
//! another processor is idle, and moves it only some milliseconds later. Seen in a virtual machine with
//! two processors: after a pause, a layer of 13 ms took 20, and a sentence of 2 ms 3. So the threads of a pool
//! that has as many of them as the process may use processors are bound to one each. Other pools are
//! left to the kernel, and so is everything on other systems than Linux.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// A pool of so many threads; 0 means one for each processor.
pub(crate) fn pool(threads: usize) -> Result<ThreadPool, ThreadPoolBuildError> {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    #[cfg(all(target_os = "linux", not(miri)))]
    let builder = match processors::allowed() {
        Some(allowed) => builder.start_handler(move |index| processors::place(allowed, index)),
        None => builder,
    };
    builder.build()
}

#[cfg(all(target_os = "linux", not(miri)))]
mod processors {
    use std::cell::Cell;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    thread_local! {
        /// What a thread of ours might use before it was bound.
        static UNBOUND: Cell<Option<CpuSet>> = const { Cell::new(None) };
    }

    /// The processors that the threads of a pool made here may use. A thread that is bound to one hands
    /// on what it might use before.
    pub(super) fn allowed() -> Option<CpuSet> {
        UNBOUND.get().or_else(|| sched_getaffinity(None).ok())
    }

    /// Binds a thread of a pool to the `index`-th of these processors when there is one for each of its
    /// threads, and to all of them otherwise. Where that is forbidden, it stays as free as it was.
    pub(super) fn place(allowed: CpuSet, index: usize) {
        let mut processors = (0..CpuSet::MAX_CPU).filter(|&number| allowed.is_set(number));
        let mut place = allowed;
        if allowed.count() as usize == rayon::current_num_threads()
            && let Some(own) = processors.nth(index)
        {
            place = CpuSet::new();
            place.set(own);
        }
        if sched_setaffinity(None, &place).is_ok() {
            UNBOUND.set(Some(allowed));
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::threads::pool;

        /// The processors of each thread of a pool.
        fn places(threads: usize) -> Vec<Vec<usize>> {
            let numbers = |set: CpuSet| (0..CpuSet::MAX_CPU).filter(|&n| set.is_set(n)).collect();
            let places = pool(threads).unwrap();
            places.broadcast(|_| numbers(sched_getaffinity(None).unwrap()))
        }

        #[test]
        fn a_thread_is_bound_when_there_is_a_processor_for_each() {
            let [all]: [Vec<usize>; 1] = match places(1).try_into() {
                Ok(places) => places,
                Err(places) => panic!("{places:?}"),
            };
            let one_each: Vec<Vec<usize>> = all.iter().map(|&number| vec![number]).collect();
            assert_eq!(places(all.len()), one_each);
            assert_eq!(places(all.len() + 1), vec![all.clone(); all.len() + 1]);
            // Whoever is made by a bound thread is as free as any other.
            let within = pool(all.len()).unwrap();
            let made = within.install(|| (places(all.len()), places(all.len() + 1)));
            assert_eq!(made, (one_each, vec![all.clone(); all.len() + 1]));
        }
    }
}
