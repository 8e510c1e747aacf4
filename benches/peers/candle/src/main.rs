//! The workloads of `cargo bench --bench peers` in candle.
//!
//! Speaks as `pytorch.py` does: the first line says what this is; then each line
//! `WORKLOAD THREADS` is answered with the milliseconds of one run, or with `unknown`, and
//! `check FOLDER` computes the same functions of the numbers in that folder. candle fixes its
//! threads when it starts: `RAYON_NUM_THREADS` counts.

mod lstm;
mod model;

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor, Var, safetensors};

use crate::lstm::Lstm;
use crate::model::Model;

/// glibc gives large blocks back to the system each time, and candle makes a new one for each
/// tensor.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An LSTM and what it reads.
struct Layer {
    name: &'static str,
    lstm: Lstm,
    /// `[T, B, I]`.
    inputs: Vec<Var>,
    next: usize,
}

impl Layer {
    fn new(name: &'static str, sizes: [usize; 5]) -> Result<Self> {
        let [batch, steps, input, hidden, layers] = sizes;
        let shape = (steps, batch, input);
        let inputs = (0..4).map(|_| Var::rand(-0.5f32, 0.5, shape, &Device::Cpu));
        let lstm = Lstm::new("lstm", input, hidden, layers)?;
        Ok(Layer { name, lstm, inputs: inputs.collect::<Result<_>>()?, next: 0 })
    }

    fn run(&mut self, backward: bool) -> Result<()> {
        let x = &self.inputs[self.next];
        self.next = (self.next + 1) % self.inputs.len();
        if !backward {
            self.lstm.bind(false)?.forward(&x.as_detached_tensor(), 0.0)?;
            return Ok(());
        }
        let (y, _) = self.lstm.bind(true)?.forward(x, 0.0)?;
        let gradients = y.sum_all()?.backward()?;
        assert!(gradients.get(x).is_some());
        Ok(())
    }

    fn check(
        &self,
        given: &HashMap<String, Tensor>,
        found: &mut HashMap<String, Tensor>,
    ) -> Result<()> {
        let name = self.name;
        for (weight, value) in self.lstm.weights() {
            value.set(&given[&format!("{name}/{weight}")])?;
        }
        let x = Var::from_tensor(&given[&format!("{name}/x")])?;
        let (y, _) = self.lstm.bind(true)?.forward(&x, 0.0)?;
        let gradients = y.sum_all()?.backward()?;
        found.insert(format!("{name}/y"), y);
        let mut add = |what: &str, var: &Var| -> Result<()> {
            let gradient = gradients.get(var).expect("a gradient").contiguous()?;
            found.insert(format!("{name}/d {what}"), gradient);
            Ok(())
        };
        add("x", &x)?;
        self.lstm.weights().iter().try_for_each(|(weight, value)| add(weight, value))
    }
}

fn main() -> Result<()> {
    let avx512 = if cfg!(target_feature = "avx512f") { "avx512f" } else { "no avx512f" };
    println!("candle 0.11.1, gemm 0.19.0 (x86-v4), mimalloc, {avx512}");
    let mut w1a = Layer::new("W1a", [64, 50, 256, 512, 1])?;
    let mut w1b = Layer::new("W1b", [64, 20, 256, 256, 2])?;
    let mut w1c = Layer::new("W1c", [1, 50, 256, 512, 1])?;
    let mut model = Model::new()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        if let Some(folder) = line.strip_prefix("check ") {
            let folder = Path::new(folder);
            let given = safetensors::load(folder.join("inputs.safetensors"), &Device::Cpu)?;
            let mut found = HashMap::new();
            for layer in [&w1a, &w1b, &w1c] {
                layer.check(&given, &mut found)?;
            }
            model.check(&given, &mut found)?;
            for value in found.values_mut() {
                *value = value.to_dtype(DType::F32)?;
            }
            safetensors::save(&found, folder.join("outputs.safetensors"))?;
            println!("checked");
            continue;
        }
        let begin = Instant::now();
        match line.split(' ').next().unwrap_or_default() {
            "W1a" => w1a.run(true)?,
            "W1a-forward" => w1a.run(false)?,
            "W1b" => w1b.run(true)?,
            "W1b-forward" => w1b.run(false)?,
            "W1c" => w1c.run(true)?,
            "W1c-forward" => w1c.run(false)?,
            "W2-hoisted" => model.update(0.5)?,
            "W3" => drop(model.greedy(&model.first_source()?, 2)?),
            _ => {
                println!("unknown");
                continue;
            }
        }
        println!("{}", begin.elapsed().as_secs_f64() * 1e3);
        std::io::stdout().flush()?;
    }
    Ok(())
}
