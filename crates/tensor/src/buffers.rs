//! The memory of arrays that are gone, for those to come.
//!
//! A training step needs the same large arrays as the step before, and writes most of them in full.
//! So their memory is kept, and handed out again without being cleared.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ndarray::{Array, IntoDimension};

use crate::{Real, Tensor};

/// Arrays of fewer numbers are the allocator's.
const SMALLEST: usize = 1 << 12;

/// The kept memory of a [`Context`](crate::Context) and its clones.
#[derive(Clone, Default)]
pub(crate) struct Buffers(Arc<Mutex<Kept>>);

/// By the type of the numbers and how many there are: a [`Size`] of that type.
type Kept = HashMap<(TypeId, usize), Box<dyn Any + Send>>;

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
        write!(f, "Buffers({} sizes)", self.kept().len())
    }
}

/// How many numbers are kept together when so many are asked for: at most an eighth more, so that
/// batches of slightly different lengths share memory.
fn class(len: usize) -> usize {
    len.next_multiple_of((len.next_power_of_two() / 16).max(1))
}

impl Buffers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An array whose numbers are those of an old one, or any.
    pub fn array<T: Real, D: IntoDimension>(&self, shape: D) -> Array<T, D::Dim> {
        let shape = shape.into_dimension();
        let numbers = self.take(ndarray::Dimension::size(&shape));
        Array::from_shape_vec(shape.clone(), numbers).unwrap_or_else(|_| Array::zeros(shape))
    }

    fn take<T: Real>(&self, len: usize) -> Vec<T> {
        let mut numbers = self.find(len).unwrap_or_else(|| {
            let mut numbers = Vec::with_capacity(if len < SMALLEST { len } else { class(len) });
            numbers.resize(len, T::zero());
            numbers
        });
        numbers.truncate(len);
        if cfg!(debug_assertions) {
            // Whoever reads before writing shall notice.
            numbers.fill(T::from_f64(f64::NAN));
        }
        numbers
    }

    fn find<T: Real>(&self, len: usize) -> Option<Vec<T>> {
        if len < SMALLEST {
            return None;
        }
        let mut kept = self.kept();
        let size = kept.entry((TypeId::of::<T>(), class(len)));
        let size =
            size.or_insert_with(|| Box::new(Size::<T>::default())).downcast_mut::<Size<T>>()?;
        size.lent += 1;
        size.kept.pop()
    }

    /// Keeps the memory of an array, if nobody else holds it.
    pub fn give<T: Real>(&self, array: Tensor<T>) {
        if let Ok(array) = array.try_into_owned_nocopy() {
            self.keep(array.into_raw_vec_and_offset().0);
        }
    }

    fn keep<T: Real>(&self, mut numbers: Vec<T>) {
        let len = numbers.capacity();
        // Memory of another origin may have any size.
        if len < SMALLEST || class(len) != len {
            return;
        }
        let mut kept = self.kept();
        let size = kept.get_mut(&(TypeId::of::<T>(), len));
        let size = size.and_then(|size| size.downcast_mut::<Size<T>>());
        if let Some(size) = size.filter(|size| size.lent > 0) {
            numbers.resize(len, T::zero());
            size.lent -= 1;
            size.kept.push(numbers);
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array1;

    use super::*;

    #[test]
    fn memory_comes_again_for_arrays_of_nearly_the_same_size() {
        let buffers = Buffers::default();
        for len in [SMALLEST, SMALLEST + 400, 100_000, 1 << 20] {
            let first: Array1<f32> = buffers.array(len);
            let place = first.as_ptr();
            buffers.give(first.into_dyn().into_shared());
            let other: Array1<f64> = buffers.array(len);
            assert_ne!(other.as_ptr().cast(), place, "{len}: of other numbers");
            let again: Array1<f32> = buffers.array((len - len / 64).max(SMALLEST));
            assert_eq!(again.as_ptr(), place, "{len}");
            let one_more: Array1<f32> = buffers.array(len);
            assert_ne!(one_more.as_ptr(), place, "{len}: while it is in use");
        }
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
            buffers.give(Array1::<f32>::zeros(SMALLEST).into_dyn().into_shared());
        }
        drop(lent);
        let mut kept = buffers.kept();
        let size = kept.values_mut().next().unwrap().downcast_mut::<Size<f32>>().unwrap();
        assert_eq!((size.lent, size.kept.len()), (0, 1));
    }

    #[test]
    fn classes_are_little_larger_than_what_is_asked_for() {
        for len in SMALLEST..3 * SMALLEST {
            assert!(class(len) >= len && class(len) <= len + len / 8, "{len}");
            assert_eq!(class(class(len)), class(len), "{len}");
        }
    }
}
