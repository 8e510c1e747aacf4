//! Products with weights, which are packed once and stay so until they change.
//!
//! A recurrent step multiplies a small batch by the same weights at every time step; to pack them
//! each time costs as much as the product. So a [`ParamStore`](crate::ParamStore) keeps its arrays
//! packed from the first product on until the values change, a tape tells its ops which of their
//! inputs are such weights, and [`product_with_weight`] looks there. The bits are the same.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use ndarray::{ArrayView2, ArrayViewMut2, Ix2};

use super::matmul::{Packed, product, sum_of_products_packed};
use crate::{Context, Real, Tensor};

/// How a weight `W [O, I]` stands in a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `x·Wᵀ`: what a layer's forward pass does.
    Transposed,
    /// `d_y·W`: what its backward pass does.
    Plain,
}

impl Side {
    /// The second factor of the product.
    fn factor<T>(self, weight: ArrayView2<'_, T>) -> ArrayView2<'_, T> {
        match self {
            Side::Transposed => weight.reversed_axes(),
            Side::Plain => weight,
        }
    }
}

/// A weight packed for either side, once that is asked for.
#[derive(Debug)]
pub(crate) struct Packs<T> {
    sides: [Pack<T>; 2],
}

impl<T> Default for Packs<T> {
    fn default() -> Self {
        Packs { sides: [Pack::default(), Pack::default()] }
    }
}

/// A weight packed for one side.
#[derive(Debug)]
struct Pack<T> {
    packed: OnceLock<Packed<T>>,
    /// An old value, whose memory the next one has.
    stale: Mutex<Option<Packed<T>>>,
}

impl<T> Default for Pack<T> {
    fn default() -> Self {
        Pack { packed: OnceLock::new(), stale: Mutex::new(None) }
    }
}

impl<T: Real> Packs<T> {
    /// The value has changed.
    pub fn invalidate(&mut self) {
        for Pack { packed, stale } in &mut self.sides {
            if let Some(old) = packed.take() {
                *stale.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(old);
            }
        }
    }

    /// Whether it was packed for a side before the value changed, and is not again.
    pub fn is_stale(&self, side: Side) -> bool {
        let pack = &self.sides[side as usize];
        let stale = pack.stale.lock().unwrap_or_else(PoisonError::into_inner);
        pack.packed.get().is_none() && stale.is_some()
    }

    /// Gives the memory of an old value that was packed for a side to the arrays to come.
    pub fn recycle_stale(&self, context: &Context, side: Side) {
        let pack = &self.sides[side as usize];
        let stale = pack.stale.lock().unwrap_or_else(PoisonError::into_inner).take();
        stale.into_iter().for_each(|stale| stale.recycle(context));
    }

    /// Whether it is packed for a side.
    #[cfg(test)]
    fn is_packed(&self, side: Side) -> bool {
        self.sides[side as usize].packed.get().is_some()
    }

    /// The weight packed for a side.
    pub fn packed(&self, context: &Context, side: Side, weight: ArrayView2<'_, T>) -> &Packed<T> {
        let Pack { packed, stale } = &self.sides[side as usize];
        let factor = side.factor(weight);
        let pack = || {
            let stale = stale.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(mut packed) = stale else { return Packed::new(context, factor) };
            packed.repack(context, factor);
            packed
        };
        if context.threads() == 1 || packed.get().is_some() {
            return packed.get_or_init(pack);
        }
        // With several threads not within the cell: a thread that waits for others there could be
        // given work that waits for it.
        let found = pack();
        packed.get_or_init(|| found)
    }
    /// As [`packed`](Packs::packed), unless it was packed for other kernels, or is of another shape: a
    /// slice may begin where the whole does.
    fn packed_for(
        &self,
        context: &Context,
        side: Side,
        weight: ArrayView2<'_, T>,
    ) -> Option<&Packed<T>> {
        let packed = self.packed(context, side, weight);
        let [here, there] = [context.kernels(), packed.kernels()].map(T::matmul);
        let shape = (packed.view().rows(), packed.view().columns());
        (shape == side.factor(weight).dim() && here.name() == there.name()).then_some(packed)
    }
}

/// A weight, held so that no other array can come to stand where it does, and its packs.
struct Weight<T: Real> {
    _value: Tensor<T>,
    packs: Arc<Packs<T>>,
}

/// The packed weights of a tape, by where their numbers are.
#[derive(Clone, Default)]
pub(crate) struct Registry(Arc<RwLock<HashMap<usize, Arc<dyn Any + Send + Sync>>>>);

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weights = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Registry({} weights)", weights.len())
    }
}

/// Where a whole matrix stands in standard layout; of others, nothing is kept.
fn address<T: Real>(weight: &Tensor<T>) -> Option<usize> {
    (weight.ndim() == 2 && weight.is_standard_layout()).then(|| weight.as_ptr().addr())
}

impl Registry {
    /// Has products with this weight use its packs.
    pub fn insert<T: Real>(&self, weight: &Tensor<T>, packs: &Arc<Packs<T>>) {
        if let Some(address) = address(weight) {
            let mut weights = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let weight = Weight { _value: weight.clone(), packs: packs.clone() };
            weights.insert(address, Arc::new(weight));
        }
    }

    fn get<T: Real>(&self, weight: &Tensor<T>) -> Option<Arc<Packs<T>>> {
        let weights = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = weights.get(&address(weight)?)?.downcast_ref::<Weight<T>>()?;
        Some(found.packs.clone())
    }
}

/// The product `x·Wᵀ` or `x·W` with a weight `W [O, I]`: `y = …`, or `y += …` when it accumulates.
/// A weight that is a parameter on a tape is packed once.
///
/// Shapes: `x [B, I]` and `y [B, O]`, or `x [B, O]` and `y [B, I]`; the callers have checked them. A
/// weight that is no matrix gives nothing.
pub fn product_with_weight<T: Real>(
    context: &Context,
    x: ArrayView2<'_, T>,
    weight: &Tensor<T>,
    side: Side,
    accumulate: bool,
    y: ArrayViewMut2<'_, T>,
) {
    sum_of_products_with_weights(context, [(x, weight)], side, accumulate, y);
}

/// The sum of such products, each with a weight of its own, from the first to the last. Threads
/// share the work only once. Nothing is allocated when the weights are packed already, and one thread
/// does all.
pub fn sum_of_products_with_weights<T: Real, const N: usize>(
    context: &Context,
    factors: [(ArrayView2<'_, T>, &Tensor<T>); N],
    side: Side,
    accumulate: bool,
    mut y: ArrayViewMut2<'_, T>,
) {
    let matrices = factors.map(|(_, weight)| weight.view().into_dimensionality::<Ix2>().ok());
    let Some(matrices) = all(matrices) else { return };
    let packs = factors.map(|(_, weight)| context.weights().get(weight));
    let packs = all(packs.each_ref().map(Option::as_ref));
    let packed: Option<[_; N]> = packs.and_then(|packs| {
        all(std::array::from_fn(|i| packs[i].packed_for(context, side, matrices[i])))
    });
    if let Some(packed) = packed {
        let factors: [_; N] = std::array::from_fn(|i| (factors[i].0, packed[i]));
        return sum_of_products_packed(context, factors, accumulate, y);
    }
    for (number, ((x, _), matrix)) in factors.into_iter().zip(matrices).enumerate() {
        product(context, x, side.factor(matrix), accumulate || number > 0, y.view_mut());
    }
}

/// All of some options, if there are any, and all there.
fn all<V: Copy, const N: usize>(options: [Option<V>; N]) -> Option<[V; N]> {
    let mut values = [(*options.first()?)?; N];
    for (value, option) in values.iter_mut().zip(options) {
        *value = option?;
    }
    Some(values)
}

/// Packs a weight for a side with all threads of the context, before each of them needs it.
pub fn prepare_weight<T: Real>(context: &Context, weight: &Tensor<T>, side: Side) {
    if let (Some(packs), Ok(matrix)) =
        (context.weights().get(weight), weight.view().into_dimensionality::<Ix2>())
    {
        packs.packed(context, side, matrix);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, ArrayD, IxDyn, s};

    use super::*;
    use crate::ParamStore;
    use crate::random::Key;

    fn random(key: Key, shape: &[usize]) -> Tensor<f32> {
        let mut count = 0;
        ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            count += 1;
            key.uniform(count) as f32 - 0.5
        })
        .into_shared()
    }

    fn products(context: &Context, weight: &Tensor<f32>) -> [Array2<f32>; 2] {
        let (out, size) = (weight.shape()[0], weight.shape()[1]);
        [(Side::Transposed, size, out), (Side::Plain, out, size)].map(|(side, from, to)| {
            let x = random(Key::new(1), &[5, from]).into_dimensionality::<Ix2>().unwrap();
            let mut y = Array2::from_elem((5, to), 0.25);
            product_with_weight(context, x.view(), weight, side, true, y.view_mut());
            y
        })
    }

    #[test]
    fn packed_weights_give_the_same_bits_until_they_change_and_after() {
        let mut store = ParamStore::new();
        let id = store.add("weight", random(Key::new(2), &[70, 33])).unwrap();
        let plain = Context::sequential();
        for round in 0..3 {
            let context = plain.clone().for_tape(true);
            context.weights().insert(store.get(id), store.packs(id));
            for _ in 0..2 {
                assert_eq!(products(&context, store.get(id)), products(&plain, store.get(id)));
            }
            assert!(store.packs(id).is_packed(Side::Plain), "nothing was packed");
            // What begins at the same place is not the same matrix.
            let first = store.get(id).clone().slice_move(s![..35, ..]).into_dyn();
            assert_eq!(products(&context, &first), products(&plain, &first));
            // Other kernels do not take what was packed for these.
            let naive = context.clone().with_kernels(crate::Kernels::naive());
            let found = products(&naive, store.get(id));
            let naive = plain.clone().with_kernels(crate::Kernels::naive());
            assert_eq!(found, products(&naive, store.get(id)));
            drop(first);
            match round {
                0 => store.get_mut(id).mapv_inplace(|x| 2.0 * x),
                _ => store.set(id, random(Key::new(3 + round), &[70, 33])).unwrap(),
            }
            assert!(!store.packs(id).is_packed(Side::Plain), "an old value is still packed");
        }
    }
}
