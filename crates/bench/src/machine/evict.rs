//! Memory out of the caches.

/// Takes memory out of all caches, so that the next to read it waits for the main memory.
#[derive(Debug)]
pub struct Evictor {
    /// Larger than the last cache, to stream through where there is no instruction for it.
    #[cfg(not(target_arch = "x86_64"))]
    stream: Vec<u64>,
}

impl Evictor {
    /// For a machine whose last cache has so many bytes.
    pub fn new(last_cache: usize) -> Self {
        #[cfg(target_arch = "x86_64")]
        let _ = last_cache;
        Evictor {
            #[cfg(not(target_arch = "x86_64"))]
            stream: vec![1; 2 * last_cache / size_of::<u64>()],
        }
    }

    /// Takes these numbers out of all caches of all cores.
    #[cfg(target_arch = "x86_64")]
    pub fn evict<T>(&self, numbers: &[T]) {
        use std::arch::x86_64::{_mm_clflush, _mm_mfence};
        /// The bytes of a line of the cache.
        const LINE: usize = 64;
        let start = numbers.as_ptr().cast::<u8>();
        let bytes = size_of_val(numbers);
        for at in (0..bytes).step_by(LINE) {
            // SAFETY: the address is within the slice, and evicting a line changes no memory; every
            // x86-64 has the instruction.
            unsafe { _mm_clflush(start.add(at)) };
        }
        if bytes > 0 {
            // The slice may end in a line that begins within it.
            // SAFETY: as above.
            unsafe {
                _mm_clflush(start.add(bytes - 1));
                _mm_mfence();
            }
        }
    }

    /// Takes these numbers, with all others, out of all caches that this core has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn evict<T>(&self, _numbers: &[T]) {
        std::hint::black_box(self.stream.iter().fold(0u64, |sum, &x| sum.wrapping_add(x)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicted_numbers_are_what_they_were() {
        let evictor = Evictor::new(1 << 16);
        evictor.evict::<f32>(&[]);
        for len in [1, 15, 16, 17, 1000] {
            let numbers: Vec<f32> = (0..len).map(|i| i as f32).collect();
            evictor.evict(&numbers[len / 3..]);
            assert!(numbers.iter().enumerate().all(|(i, &x)| x == i as f32));
        }
    }
}
