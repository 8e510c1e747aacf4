//! The tape: ops in the order they ran, so that the backward pass is a scan from the end.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use ndarray::{ArrayD, IxDyn};

use crate::grads::{Contribution, GradSink, Grads, OutputGrads, Slots};
use crate::observe::{Node, Observer};
use crate::op::{DynOp, Op};
use crate::{Context, Error, ParamId, ParamStore, Real, Result, Tensor};

/// A recording of ops as they run.
///
/// ```
/// use ndarray::arr1;
/// use unspool_tensor::{Context, Result, Tape};
///
/// # fn main() -> Result<()> {
/// let tape = Tape::<f64>::new(Context::sequential());
/// let x = tape.input(arr1(&[1.0, 2.0]));
/// let y = (x * x)?.sum_all()?;
/// assert_eq!(tape.backward(y)?.wrt(x).unwrap(), &arr1(&[2.0, 4.0]).into_dyn());
/// # Ok(())
/// # }
/// ```
pub struct Tape<T: Real> {
    context: Context,
    records: bool,
    inner: RefCell<Inner<T>>,
    observer: RefCell<Option<Box<dyn Observer<T>>>>,
    scope: RefCell<Rc<str>>,
    time: Cell<Option<usize>>,
    /// How many ops have run, recorded or not.
    runs: Cell<usize>,
    /// Whether what the ops saved is gone.
    freed: Cell<bool>,
}

struct Inner<T: Real> {
    context: Context,
    values: Vec<Tensor<T>>,
    needs_grad: Vec<bool>,
    nodes: Vec<Recorded<T>>,
    params: HashMap<ParamId, usize>,
}

impl<T: Real> Drop for Inner<T> {
    /// The next tape has the memory.
    fn drop(&mut self) {
        self.nodes.clear();
        self.values.drain(..).for_each(|value| self.context.recycle(value));
    }
}

/// An op that has run.
struct Recorded<T: Real> {
    op: Arc<dyn DynOp<T>>,
    scope: Rc<str>,
    time: Option<usize>,
    inputs: Vec<usize>,
    first_output: usize,
    outputs: usize,
    /// What the backward pass needs; `None` when no input wants a gradient.
    saved: Option<Box<dyn Any + Send>>,
}

/// A value on a tape: a handle of two words.
pub struct Var<'t, T: Real> {
    tape: &'t Tape<T>,
    slot: usize,
}

impl<T: Real> Clone for Var<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Real> Copy for Var<'_, T> {}

impl<T: Real> fmt::Debug for Var<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Var({}, {:?})", self.slot, self.shape())
    }
}

impl<'t, T: Real> Var<'t, T> {
    /// The tape that it is on.
    pub fn tape(self) -> &'t Tape<T> {
        self.tape
    }

    /// Its number on the tape.
    pub fn slot(self) -> usize {
        self.slot
    }

    /// Its value; cheap, the array is shared.
    pub fn value(self) -> Tensor<T> {
        self.tape.inner.borrow().values[self.slot].clone()
    }

    /// Its shape.
    pub fn shape(self) -> Vec<usize> {
        self.tape.inner.borrow().values[self.slot].shape().to_vec()
    }

    /// Whether a backward pass gives it a gradient: it is no constant, nor made of constants alone.
    pub fn wants_grad(self) -> bool {
        self.tape.inner.borrow().needs_grad[self.slot]
    }

    /// The same value, cut off: no gradient flows through. The only way to cut one.
    pub fn detach(self) -> Self {
        self.tape.constant(self.value())
    }
}

/// How a backward pass treats what it computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackwardMode {
    /// Add contributions up and drop gradients that are no longer needed.
    #[default]
    Adding,
    /// The same, and drop what each node saved once that is used: the next node has its memory. A
    /// tape can go backwards so only once.
    Freeing,
    /// Keep every node's gradient, and every contribution to it apart.
    Recording,
    /// The same, but a contribution is shown to the observer and then dropped: those of a large
    /// model do not fit into memory all at once.
    Showing,
}

impl<T: Real> Tape<T> {
    /// An empty tape.
    pub fn new(context: Context) -> Self {
        Self::with_records(context, true)
    }

    fn with_records(context: Context, records: bool) -> Self {
        let context = context.for_tape(records);
        Tape {
            records,
            inner: RefCell::new(Inner {
                context: context.clone(),
                values: Vec::new(),
                needs_grad: Vec::new(),
                nodes: Vec::new(),
                params: HashMap::new(),
            }),
            observer: RefCell::new(None),
            scope: RefCell::new(Rc::from("")),
            time: Cell::new(None),
            runs: Cell::new(0),
            freed: Cell::new(false),
            context,
        }
    }

    /// A tape for inference: ops run and their values are there, but nothing is kept for a backward
    /// pass.
    pub fn inference(context: Context) -> Self {
        Self::with_records(context, false)
    }

    /// What the ops run with.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Puts a value on the tape whose gradient is wanted.
    pub fn input(&self, value: impl IntoTensor<T>) -> Var<'_, T> {
        self.leaf(value.into_tensor(), self.records)
    }

    /// Puts a value on the tape whose gradient is not wanted.
    pub fn constant(&self, value: impl IntoTensor<T>) -> Var<'_, T> {
        self.leaf(value.into_tensor(), false)
    }

    /// Binds a parameter to the tape; the same variable each time, with the value that it had the
    /// first time. (To a tape, a store and its clones are one.)
    ///
    /// # Panics
    /// The store has no such parameter: the number is another store's.
    pub fn param(&self, store: &ParamStore<T>, id: ParamId) -> Var<'_, T> {
        if let Some(&slot) = self.inner.borrow().params.get(&id) {
            return Var { tape: self, slot };
        }
        let value = store.get(id).clone();
        self.context.weights().insert(&value, store.packs(id));
        let var = self.leaf(value, self.records);
        self.inner.borrow_mut().params.insert(id, var.slot);
        var
    }

    fn leaf(&self, value: Tensor<T>, needs_grad: bool) -> Var<'_, T> {
        let mut inner = self.inner.borrow_mut();
        inner.values.push(value);
        inner.needs_grad.push(needs_grad);
        Var { tape: self, slot: inner.values.len() - 1 }
    }

    /// Runs an op and records it: the only entrance, for `+`, a fused LSTM and your own op alike.
    ///
    /// # Errors
    /// Those of the op, a number of outputs that is not `N`, or a variable of another tape.
    pub fn apply<const N: usize>(
        &self,
        op: impl Op<T>,
        inputs: &[Var<'_, T>],
    ) -> Result<[Var<'_, T>; N]> {
        let name = op.name();
        let outputs = self.apply_shared(Arc::new(op), inputs)?;
        outputs.try_into().map_err(|outputs: Vec<_>| Error::Count {
            op: name.into(),
            what: "outputs",
            expected: outputs.len(),
            found: N,
        })
    }

    /// As [`apply`](Tape::apply), for an op that is shared or has any number of outputs.
    ///
    /// # Errors
    /// Those of the op, or a variable of another tape.
    pub fn apply_shared(
        &self,
        op: Arc<dyn DynOp<T>>,
        inputs: &[Var<'_, T>],
    ) -> Result<Vec<Var<'_, T>>> {
        if inputs.iter().any(|input| !std::ptr::eq(input.tape, self)) {
            return Err(Error::invalid(op.op_name(), "was given a variable of another tape"));
        }
        let slots: Vec<usize> = inputs.iter().map(|input| input.slot).collect();
        let values: Vec<Tensor<T>> = inputs.iter().map(|input| input.value()).collect();
        let (outputs, saved) = op.run_forward(&self.context, &values)?;

        let (scope, time) = (self.scope.borrow().clone(), self.time.get());
        let (name, index, count) = (op.op_name(), self.runs.get(), outputs.len());
        self.runs.set(index + 1);
        let first_output = {
            let mut inner = self.inner.borrow_mut();
            let needs_grad = slots.iter().any(|&slot| inner.needs_grad[slot]);
            let first_output = inner.values.len();
            inner.values.extend(outputs.iter().cloned());
            inner.needs_grad.resize(first_output + count, needs_grad);
            if self.records {
                inner.nodes.push(Recorded {
                    op,
                    scope: scope.clone(),
                    time,
                    inputs: slots.clone(),
                    first_output,
                    outputs: count,
                    saved: needs_grad.then_some(saved),
                });
            }
            first_output
        };
        // Nothing is borrowed here: the observer may use the tape.
        self.tell(|observer| {
            observer.forward(&Node {
                index,
                op: name,
                scope: &scope,
                time,
                input_slots: &slots,
                first_output_slot: first_output,
                inputs: &values,
                outputs: &outputs,
            });
        });
        Ok((first_output..first_output + count).map(|slot| Var { tape: self, slot }).collect())
    }

    /// The gradients of a scalar (an array of one element).
    ///
    /// # Errors
    /// `loss` has more than one element, a backward pass gave a gradient of a wrong shape, or the
    /// tape is one for inference.
    pub fn backward(&self, loss: Var<'_, T>) -> Result<Grads<T>> {
        self.backward_from(loss, BackwardMode::Adding)
    }

    /// As [`backward`](Tape::backward), but what the ops saved is dropped on the way: what a training
    /// step wants, since it goes backwards only once.
    ///
    /// # Errors
    /// Those of [`backward`](Tape::backward).
    pub fn backward_once(&self, loss: Var<'_, T>) -> Result<Grads<T>> {
        self.backward_from(loss, BackwardMode::Freeing)
    }

    fn backward_from(&self, loss: Var<'_, T>, mode: BackwardMode) -> Result<Grads<T>> {
        let shape = loss.shape();
        if shape.iter().product::<usize>() != 1 {
            return Err(Error::shape("backward", &shape, "is not a scalar; give its gradient"));
        }
        self.vector_jacobian(&[(loss, ArrayD::ones(IxDyn(&shape)))], mode)
    }

    /// The vector-Jacobian product: the gradients, given those of some outputs.
    ///
    /// # Errors
    /// A gradient does not have its output's shape, a variable is another tape's, the tape is one for
    /// inference, or it went backwards before and dropped what its ops saved.
    pub fn vector_jacobian(
        &self,
        outputs: &[(Var<'_, T>, ArrayD<T>)],
        mode: BackwardMode,
    ) -> Result<Grads<T>> {
        if !self.records {
            let problem = "is called on a tape for inference, which records nothing";
            return Err(Error::invalid("backward", problem));
        }
        if self.freed.get() {
            let problem = "went over this tape before, and dropped what its ops saved";
            return Err(Error::invalid("backward", problem));
        }
        self.freed.set(mode == BackwardMode::Freeing);
        let recording = matches!(mode, BackwardMode::Recording | BackwardMode::Showing);
        let (slots, nodes) = (self.inner.borrow().values.len(), self.len());
        let mut found = Slots::new(slots);
        if mode == BackwardMode::Freeing {
            self.params().iter().for_each(|&(_, slot)| found.allow_rows(slot));
        }
        let mut record: Vec<Vec<Contribution<T>>> =
            if recording { vec![Vec::new(); slots] } else { Vec::new() };
        for (var, d) in outputs {
            if !std::ptr::eq(var.tape, self) {
                return Err(Error::invalid("backward", "was given a variable of another tape"));
            }
            if var.shape() != d.shape() {
                let problem = "of an output and its gradient differ";
                return Err(Error::shapes("backward", &var.shape(), d.shape(), problem));
            }
            match &mut found.grads[var.slot] {
                Some(total) => *total += d,
                none => *none = Some(d.clone().into_shared()),
            }
        }
        // Going backwards, the first node that reads a value is the last to add to its gradient:
        // then the products that were put off are done, and what they are of is free.
        let mut first_readers = vec![nodes; slots];
        for (index, node) in self.inner.borrow().nodes.iter().enumerate().rev() {
            node.inputs.iter().for_each(|&slot| first_readers[slot] = index);
        }
        for index in (0..nodes).rev() {
            let freed = match mode {
                BackwardMode::Freeing => self.inner.borrow_mut().nodes[index].saved.take(),
                BackwardMode::Adding | BackwardMode::Recording | BackwardMode::Showing => None,
            };
            let inner = self.inner.borrow();
            let node = &inner.nodes[index];
            if freed.is_none() && node.saved.is_none() {
                continue;
            }
            let produced = node.first_output..node.first_output + node.outputs;
            if produced.clone().all(|slot| found.is_empty(slot)) {
                continue;
            }
            produced.clone().for_each(|slot| found.complete(&self.context, slot));
            let d_outputs: Vec<Option<Tensor<T>>> = found.grads[produced.clone()]
                .iter_mut()
                .map(|d| if recording { d.clone() } else { d.take() })
                .collect();
            let shape = |slot: usize| inner.values[slot].shape().to_vec();
            let output_shapes: Vec<_> = produced.clone().map(shape).collect();
            let input_shapes: Vec<_> = node.inputs.iter().map(|&slot| shape(slot)).collect();
            let slots: Vec<Option<usize>> =
                node.inputs.iter().map(|&slot| inner.needs_grad[slot].then_some(slot)).collect();
            let d_values = d_outputs;
            let d_outputs = OutputGrads::new(&d_values, &output_shapes);
            let op = (node.op.op_name(), index, node.time);
            let record_here = recording.then_some(&mut record);
            let mut sink =
                GradSink::new(&self.context, op, &slots, &input_shapes, &mut found, record_here);
            match (freed, &node.saved) {
                (Some(saved), _) => {
                    node.op.run_backward_once(&self.context, saved, &d_outputs, &mut sink)?;
                }
                (None, Some(saved)) => {
                    node.op.run_backward(&self.context, saved.as_ref(), &d_outputs, &mut sink)?;
                }
                (None, None) => {}
            }
            let complete = node.inputs.iter().filter(|&&slot| first_readers[slot] == index);
            complete.for_each(|&slot| found.complete(&self.context, slot));
            // Nothing stays borrowed: the observer may use the tape.
            drop(inner);
            self.tell(|observer| {
                // A slot may be several inputs of the node; its contributions are there once.
                let slots = self.node(index, |node| node.input_slots.to_vec());
                let mut input_slots = slots.unwrap_or_default();
                input_slots.sort_unstable();
                input_slots.dedup();
                let contributions: Vec<_> = input_slots
                    .iter()
                    .filter_map(|&slot| record.get(slot))
                    .flatten()
                    .filter(|contribution| contribution.node == index)
                    .cloned()
                    .collect();
                self.node(index, |node| observer.backward(node, &d_outputs, &contributions));
            });
            if mode == BackwardMode::Showing {
                let slots = self.node(index, |node| node.input_slots.to_vec());
                let shown =
                    slots.iter().flatten().flat_map(|&slot| std::mem::take(&mut record[slot]));
                shown.for_each(|contribution| self.context.recycle(contribution.value));
            }
            d_values.into_iter().flatten().for_each(|d| self.context.recycle(d));
        }
        // Nodes that nothing depends on were passed by, first readers among them.
        (0..slots).for_each(|slot| found.complete(&self.context, slot));
        let params = self.params();
        let by_slot =
            found.finish(&self.context, |slot| self.inner.borrow().values[slot].shape().to_vec());
        Ok(Grads { by_slot, params, contributions: record })
    }

    /// Shows something to the observer. It is taken out meanwhile, so that it may use the tape:
    /// what it runs there is not told to it, and an observer that it puts in its place stays.
    fn tell(&self, show: impl FnOnce(&mut dyn Observer<T>)) {
        let Some(mut observer) = self.observer.take() else { return };
        show(observer.as_mut());
        self.observer.borrow_mut().get_or_insert(observer);
    }

    /// How many nodes are recorded: none on a tape for inference.
    pub fn len(&self) -> usize {
        self.inner.borrow().nodes.len()
    }

    /// Whether no node is recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows a node to `look`; `None` when there is no such node.
    pub fn node<R>(&self, index: usize, look: impl FnOnce(&Node<'_, T>) -> R) -> Option<R> {
        let inner = self.inner.borrow();
        let node = inner.nodes.get(index)?;
        let inputs: Vec<_> = node.inputs.iter().map(|&slot| inner.values[slot].clone()).collect();
        let produced = node.first_output..node.first_output + node.outputs;
        let outputs = inner.values[produced].to_vec();
        let (op, scope, time) = (node.op.op_name(), node.scope.clone(), node.time);
        let (input_slots, first_output_slot) = (node.inputs.clone(), node.first_output);
        // `look` may use the tape.
        drop(inner);
        Some(look(&Node {
            index,
            op,
            scope: &scope,
            time,
            input_slots: &input_slots,
            first_output_slot,
            inputs: &inputs,
            outputs: &outputs,
        }))
    }

    /// The variable of a slot; `None` when there is no such slot.
    pub fn var(&self, slot: usize) -> Option<Var<'_, T>> {
        (slot < self.inner.borrow().values.len()).then_some(Var { tape: self, slot })
    }

    /// The parameters that are bound to the tape, with their slots, in the order of the slots.
    pub fn params(&self) -> Vec<(ParamId, usize)> {
        let mut params: Vec<_> =
            self.inner.borrow().params.iter().map(|(&id, &slot)| (id, slot)).collect();
        params.sort_unstable_by_key(|&(_, slot)| slot);
        params
    }

    /// A node's op; `None` when there is no such node.
    pub fn op(&self, index: usize) -> Option<Arc<dyn DynOp<T>>> {
        self.inner.borrow().nodes.get(index).map(|node| node.op.clone())
    }

    /// Runs a node's op again at other inputs, with the same decisions (masks, indices, random
    /// keys), and gives its outputs. Nothing on the tape changes.
    ///
    /// # Errors
    /// There is no such node, or the inputs do not fit its op.
    pub fn rerun(&self, index: usize, inputs: &[Tensor<T>]) -> Result<Vec<Tensor<T>>> {
        let op = self
            .op(index)
            .ok_or_else(|| Error::invalid("rerun", format!("there is no node {index}")))?;
        Ok(op.run_forward(&self.context, inputs)?.0)
    }

    /// Has every further forward and backward of a node told to `observer`, in place of any before.
    pub fn observe(&self, observer: impl Observer<T> + 'static) {
        *self.observer.borrow_mut() = Some(Box::new(observer));
    }

    /// Opens a named scope: nodes that run before the guard is dropped carry the dotted name.
    pub fn scope(&self, name: &str) -> Scope<'_, T> {
        let outer = self.scope.borrow().clone();
        let full = if outer.is_empty() { name.into() } else { format!("{outer}.{name}") };
        *self.scope.borrow_mut() = full.into();
        Scope { tape: self, outer }
    }

    /// Says which time step further nodes belong to.
    pub fn at_time(&self, time: Option<usize>) {
        self.time.set(time);
    }
}

/// Closes its scope when dropped; see [`Tape::scope`].
#[must_use = "the scope ends when this is dropped"]
pub struct Scope<'t, T: Real> {
    tape: &'t Tape<T>,
    outer: Rc<str>,
}

impl<T: Real> Drop for Scope<'_, T> {
    fn drop(&mut self) {
        *self.tape.scope.borrow_mut() = self.outer.clone();
    }
}

/// Arrays of any ownership and dimension that can be put on a tape.
pub trait IntoTensor<T: Real> {
    /// The array with dynamic dimension and shared ownership.
    fn into_tensor(self) -> Tensor<T>;
}

impl<T: Real, D: ndarray::Dimension> IntoTensor<T> for ndarray::Array<T, D> {
    fn into_tensor(self) -> Tensor<T> {
        self.into_dyn().into_shared()
    }
}

impl<T: Real, D: ndarray::Dimension> IntoTensor<T> for ndarray::ArcArray<T, D> {
    fn into_tensor(self) -> Tensor<T> {
        self.into_dyn()
    }
}
