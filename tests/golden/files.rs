//! The files of golden numbers, read.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};

/// A file's arrays, by `case|array`, and what it says about itself.
pub type GoldenFile = (BTreeMap<String, ArrayD<f64>>, HashMap<String, String>);

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Reads a file.
pub fn read(path: &Path) -> GoldenFile {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut arrays = BTreeMap::new();
    for (name, array) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        assert_eq!(array.dtype(), Dtype::F64, "{name}");
        let (numbers, rest) = array.data().as_chunks::<8>();
        assert!(rest.is_empty());
        let numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let array = ArrayD::from_shape_vec(IxDyn(array.shape()), numbers).unwrap();
        arrays.insert(name, array);
    }
    (arrays, header.metadata().clone().unwrap_or_default())
}
