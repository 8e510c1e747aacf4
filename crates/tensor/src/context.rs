//! What a computation runs with: which kernels, which threads, which random numbers.

use std::sync::{Arc, OnceLock};

use ndarray::{Array, IntoDimension};
use rayon::ThreadPool;

use crate::buffers::Buffers;
use crate::kernels::weights::Registry;
use crate::random::Key;
use crate::{Error, Kernels, Real, Result, Tensor, threads};

/// Below this many multiply-adds, a second thread costs more than it brings.
const PARALLEL_FROM: usize = 1 << 20;

/// Kernels, threads and randomness, given to tapes and models when they are made. There is no
/// global state.
///
/// Cloning is cheap: clones share the thread pool.
#[derive(Clone, Debug)]
pub struct Context {
    kernels: Kernels,
    pool: Option<Arc<ThreadPool>>,
    /// On one thread that is one of a pool: the others help with a large product when they have
    /// nothing else to do.
    helpers: Option<Arc<ThreadPool>>,
    /// A pool of one thread, made when it is first asked for.
    single: Arc<OnceLock<ThreadPool>>,
    parallel_from: usize,
    key: Key,
    first_example: usize,
    goes_backwards: bool,
    weights: Registry,
    buffers: Buffers,
}

impl Default for Context {
    fn default() -> Self {
        Self::sequential()
    }
}

impl Context {
    /// One thread, the fast kernels, seed 0.
    pub fn sequential() -> Self {
        Context {
            kernels: Kernels::default(),
            pool: None,
            helpers: None,
            single: Arc::default(),
            parallel_from: PARALLEL_FROM,
            key: Key::new(0),
            first_example: 0,
            goes_backwards: true,
            weights: Registry::default(),
            buffers: Buffers::default(),
        }
    }

    /// A pool of its own with this many threads; 0 means one for each core.
    ///
    /// On Linux, the threads of a pool that has one for each processor that the process may use are
    /// bound to one each: a woken thread would else often wait for the one that woke it. (Threads of
    /// another kind that are spawned from one of them inherit that.)
    ///
    /// # Errors
    /// The operating system gives no threads.
    pub fn with_threads(threads: usize) -> Result<Self> {
        let pool = threads::pool(threads)
            .map_err(|error| Error::invalid("thread pool", error.to_string()))?;
        Ok(Context { pool: Some(Arc::new(pool)), ..Self::sequential() })
    }

    /// The same with other kernels.
    pub fn with_kernels(self, kernels: Kernels) -> Self {
        Context { kernels, ..self }
    }

    /// The same, but kernels use more than one thread from so many multiply-adds on. The default is
    /// where a second thread begins to pay; 0 makes all of them parallel, for tests.
    pub fn with_parallel_from(self, multiply_adds: usize) -> Self {
        Context { parallel_from: multiply_adds, ..self }
    }

    /// The same with another random key: a new step of training has a new key.
    pub fn with_key(self, key: Key) -> Self {
        Context { key, ..self }
    }

    /// The same for a shard of a batch, which runs on one thread and whose first row is the batch's
    /// `first_example`-th. Random masks are keyed by the row's number in the batch.
    ///
    /// Where that thread is one of this context's, its large products are cut into pieces that the
    /// others may take once they have done their own shards.
    pub fn for_shard(&self, first_example: usize) -> Self {
        let helpers = self.pool.as_ref().or(self.helpers.as_ref()).cloned();
        Context { pool: None, helpers, first_example, ..self.clone() }
    }

    /// Which kernels run.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// How many threads a kernel may use.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, |pool| pool.current_num_threads())
    }

    /// The same on one thread.
    pub fn on_one_thread(&self) -> Self {
        self.for_shard(self.first_example)
    }

    /// Whether `multiply_adds` of work are enough for more than one thread.
    pub fn parallel(&self, multiply_adds: usize) -> bool {
        self.threads() > 1 && multiply_adds >= self.parallel_from
    }

    /// How many threads there are for a product of so many multiply-adds: this context's, or those
    /// that may help.
    pub(crate) fn threads_for_product(&self, multiply_adds: usize) -> usize {
        /// A product of which pieces wait to be taken: it is so much larger than one for which
        /// another thread is woken.
        const HELPED: usize = 4;
        match &self.helpers {
            _ if self.parallel(multiply_adds) => self.threads(),
            Some(pool)
                if multiply_adds / HELPED >= self.parallel_from
                    && pool.current_thread_index().is_some() =>
            {
                pool.current_num_threads()
            }
            _ => 1,
        }
    }

    /// The same for a tape, which has weights of its own, and goes backwards or does not.
    pub(crate) fn for_tape(self, goes_backwards: bool) -> Self {
        Context { weights: Registry::default(), goes_backwards, ..self }
    }

    /// Whether a backward pass may follow: not on a tape for inference. An op may compute what it
    /// needs then beside what it needs now.
    pub fn goes_backwards(&self) -> bool {
        self.goes_backwards
    }

    /// The packed weights of the tape that this context is of.
    pub(crate) fn weights(&self) -> &Registry {
        &self.weights
    }

    /// An array to be written in full: its numbers are any, those of an old array, or NaN in a debug
    /// build.
    pub fn array<T: Real, D: IntoDimension>(&self, shape: D) -> Array<T, D::Dim> {
        self.buffers.array(shape)
    }

    /// Gives back the memory of an array that came from [`array`](Context::array) and is not needed
    /// any more, for the next ones of its size. What somebody else holds stays theirs.
    pub fn recycle<T: Real>(&self, array: Tensor<T>) {
        self.buffers.give(array);
    }

    /// The random key of a named site, such as `"encoder.l0.dropout"`.
    pub fn key(&self, site: &str) -> Key {
        self.key.named(site)
    }

    /// The number, in the whole batch, of the first row of the arrays on the tape.
    pub fn first_example(&self) -> usize {
        self.first_example
    }

    /// Runs `work` inside the context's thread pool, so that rayon's parallel iterators use it: at
    /// once when it is there already, as the work of a shard is. Without a pool, they run in one of
    /// a single thread: in rayon's own only when the operating system gives no thread.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if let Some(pool) = &self.pool {
            return pool.install(work);
        }
        if self.helpers.as_ref().is_some_and(|pool| pool.current_thread_index().is_some()) {
            return work();
        }
        match self.single.get() {
            Some(pool) => pool.install(work),
            None => match threads::pool(1) {
                Ok(pool) => self.single.get_or_init(|| pool).install(work),
                Err(_) => work(),
            },
        }
    }
}
