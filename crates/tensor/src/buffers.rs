//! The memory of arrays that are gone, for those to come.
//!
//! A training step needs the same large arrays as the step before, and writes most of them in full.
//! So their memory is kept, and handed out again without being cleared. For an array that nothing
//! kept is fit for, as much is freed as it takes: so memory that waits is no more than was in use.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array, Array1, Dimension, IntoDimension, s};

use crate::{Real, Tensor};

/// Arrays of fewer numbers are the allocator's.
const SMALLEST: usize = 1 << 12;

/// The kept memory of a [`Context`](crate::Context) and its clones.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Kept>>);

/// By the type of the numbers: [`Sizes`] of it.
type Kept = HashMap<TypeId, Box<dyn Any + Send>>;

/// By how many numbers an array has.
type Sizes<T> = BTreeMap<usize, Size<T>>;

/// The memory of arrays of one size.
struct Size<T> {
    /// How many arrays are out. No more are taken back: most arrays are the allocator's, and would
    /// pile up here.
    lent: usize,
    kept: Vec<Vec<T>>,
}

impl<T> Default for Size<T> {
    fn default() -> Self {
        Size { lent: 0, kept: Vec::new() }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffers({} types)", self.kept().len())
    }
}

/// The largest array whose memory one of so many numbers may have: batches of different lengths
/// share memory.
fn largest(len: usize) -> usize {
    len.saturating_add(len / 2)
}

impl Buffers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An array whose numbers are those of an old one, or any.
    pub fn array<T: Real, D: IntoDimension>(&self, shape: D) -> Array<T, D::Dim> {
        let shape = shape.into_dimension();
        let len = shape.size();
        let mut numbers = self.find(len).unwrap_or_else(|| vec![T::zero(); len]);
        if cfg!(debug_assertions) {
            // Whoever reads before writing shall notice.
            numbers[..len].fill(T::from_f64(f64::NAN));
        }
        // Of a larger array's memory the first part; the rest comes back with it.
        let numbers = Array1::from_vec(numbers).slice_move(s![..len]);
        let array = numbers.into_shape_with_order(shape.clone());
        array.unwrap_or_else(|_| Array::zeros(shape))
    }

    /// Memory of so many numbers or more, unless it must be new.
    fn find<T: Real>(&self, len: usize) -> Option<Vec<T>> {
        if len < SMALLEST {
            return None;
        }
        let mut kept = self.kept();
        let sizes = kept.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(Sizes::<T>::new()));
        let sizes = sizes.downcast_mut::<Sizes<T>>()?;
        for size in sizes.range_mut(len..=largest(len)).map(|(_, size)| size) {
            if let Some(numbers) = size.kept.pop() {
                size.lent += 1;
                return Some(numbers);
            }
        }
        sizes.entry(len).or_default().lent += 1;
        let mut freed = 0;
        for (numbers, size) in sizes.iter_mut().rev() {
            while freed < len && size.kept.pop().is_some() {
                freed += numbers;
            }
        }
        sizes.retain(|_, size| size.lent > 0 || !size.kept.is_empty());
        None
    }

    /// Keeps the memory of an array, if nobody else holds it.
    pub fn give<T: Real>(&self, array: Tensor<T>) {
        if let Ok(array) = array.try_into_owned_nocopy() {
            self.keep(array.into_raw_vec_and_offset().0);
        }
    }

    fn keep<T: Real>(&self, numbers: Vec<T>) {
        let mut kept = self.kept();
        let sizes = kept.get_mut(&TypeId::of::<T>());
        let sizes = sizes.and_then(|sizes| sizes.downcast_mut::<Sizes<T>>());
        // Memory of another origin may have any size.
        let size = sizes.and_then(|sizes| sizes.get_mut(&numbers.len()));
        if let Some(size) = size.filter(|size| size.lent > 0) {
            size.lent -= 1;
            size.kept.push(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many arrays are out, and of how many numbers each kept one is.
    fn state(buffers: &Buffers) -> (usize, Vec<usize>) {
        let mut kept = buffers.kept();
        let sizes = kept.get_mut(&TypeId::of::<f32>()).unwrap();
        let sizes = sizes.downcast_mut::<Sizes<f32>>().unwrap();
        let kept = sizes.values().flat_map(|size| size.kept.iter().map(Vec::len)).collect();
        (sizes.values().map(|size| size.lent).sum(), kept)
    }

    fn give(buffers: &Buffers, array: Array1<f32>) {
        buffers.give(array.into_dyn().into_shared());
    }

    #[test]
    fn memory_comes_again_for_arrays_that_are_not_much_smaller() {
        for len in [SMALLEST, SMALLEST + 400, 100_000, 1 << 20] {
            let buffers = Buffers::default();
            let first: Array1<f32> = buffers.array(len);
            let place = first.as_ptr();
            give(&buffers, first);
            let other: Array1<f64> = buffers.array(len);
            assert_ne!(other.as_ptr().cast(), place, "{len}: of other numbers");
            let again: Array1<f32> = buffers.array(len);
            assert_eq!(again.as_ptr(), place, "{len}");
            let one_more: Array1<f32> = buffers.array(len);
            assert_ne!(one_more.as_ptr(), place, "{len}: while it is in use");
            give(&buffers, again);
            let smaller = (len - len / 4).max(SMALLEST);
            let smaller: Array1<f32> = buffers.array(smaller);
            assert_eq!(smaller.as_ptr(), place, "{len}");
            give(&buffers, smaller);
            let whole: Array1<f32> = buffers.array(len);
            assert_eq!(whole.as_ptr(), place, "{len}: a part came back without the rest");
        }
    }

    #[test]
    fn the_smallest_that_is_fit_is_taken() {
        let buffers = Buffers::default();
        let arrays: [Array1<f32>; 3] = [120_000, 100_000, 140_000].map(|len| buffers.array(len));
        arrays.into_iter().for_each(|array| give(&buffers, array));
        let _ = buffers.array::<f32, _>(99_000);
        assert_eq!(state(&buffers), (1, vec![120_000, 140_000]));
    }

    #[test]
    fn what_is_new_takes_the_place_of_what_is_kept() {
        let buffers = Buffers::default();
        for len in [10_000, 20_000, 30_000] {
            give(&buffers, buffers.array(len));
        }
        // Each was too small for the next, and is gone.
        assert_eq!(state(&buffers), (0, vec![30_000]));
        let few: [Array1<f32>; 4] = [5_000; 4].map(|len| buffers.array(len));
        assert_eq!(state(&buffers), (4, vec![]));
        few.into_iter().for_each(|array| give(&buffers, array));
        assert_eq!(state(&buffers), (0, vec![5_000; 4]));
        let large: Array1<f32> = buffers.array(12_000);
        assert_eq!(state(&buffers), (1, vec![5_000]), "as much is freed as it takes");
        drop(large);
    }

    #[test]
    fn what_others_hold_is_not_taken() {
        let buffers = Buffers::default();
        let array: Array1<f32> = buffers.array(10_000);
        let shared = array.into_dyn().into_shared();
        let held = shared.clone();
        buffers.give(shared);
        let other: Array1<f32> = buffers.array(10_000);
        assert_ne!(other.as_ptr(), held.as_ptr());
    }

    #[test]
    fn arrays_of_the_allocator_do_not_pile_up() {
        let buffers = Buffers::default();
        let lent: Array1<f32> = buffers.array(SMALLEST);
        for _ in 0..10 {
            give(&buffers, Array1::zeros(SMALLEST));
        }
        drop(lent);
        assert_eq!(state(&buffers), (0, vec![SMALLEST]));
    }
}
