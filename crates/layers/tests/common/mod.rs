//! What the tests of this crate share.

use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use safetensors::SafeTensors;
use unspool_tensor::gradcheck::distance;
use unspool_tensor::random::Key;

/// PyTorch's numbers; see `tests/golden/common.py` for the names.
pub struct Golden(Vec<u8>);

impl Golden {
    /// The file of this name.
    pub fn open(name: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
        Golden(std::fs::read(format!("{folder}/{name}.safetensors")).unwrap())
    }

    /// An array of a case.
    pub fn get(&self, case: &str, array: &str) -> ArrayD<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(&format!("{case}|{array}")).unwrap();
        let numbers = view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes));
        ArrayD::from_shape_vec(IxDyn(view.shape()), numbers.collect()).unwrap()
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
