//! What the tests of this crate share.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::random::Key;

/// PyTorch's numbers; see `tests/golden/common.py` for the names.
pub struct Golden(BTreeMap<String, ArrayD<f64>>);

impl Golden {
    /// The file of this name.
    pub fn open(name: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
        let bytes = std::fs::read(format!("{folder}/{name}.safetensors")).unwrap();
        let array = |(name, view): (String, TensorView<'_>)| {
            let numbers = view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
            (name, ArrayD::from_shape_vec(IxDyn(view.shape()), numbers.collect()).unwrap())
        };
        let file = SafeTensors::deserialize(&bytes).unwrap();
        Golden(file.tensors().into_iter().map(array).collect())
    }

    /// An array of a case.
    pub fn get(&self, case: &str, array: &str) -> ArrayD<f64> {
        let name = format!("{case}|{array}");
        self.0.get(&name).unwrap_or_else(|| panic!("no golden {name}")).clone()
    }

    /// The names of the rows that are whole layers.
    pub fn layers(&self) -> BTreeSet<String> {
        let rows = self.0.keys().filter_map(|name| name.split('|').next());
        rows.filter(|row| row.starts_with("layer/")).map(str::to_owned).collect()
    }

    /// Compares an array of a case with what was found.
    pub fn check(
        &self,
        case: &str,
        array: &str,
        found: &ArrayBase<impl Data<Elem = f64>, impl Dimension>,
    ) {
        let error = distance(found, &self.get(case, array));
        assert!(error <= 1e-12, "{case}: {array} is {error:e} off");
    }
}

/// Numbers in -1 to 1, a stream for each name.
pub fn random(name: &str, shape: &[usize]) -> ArrayD<f64> {
    let key = Key::new(11).named(name);
    let mut counter = 0;
    ArrayD::from_shape_simple_fn(IxDyn(shape), || {
        counter += 1;
        2.0 * key.uniform(counter) - 1.0
    })
}
