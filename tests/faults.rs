//! The gradient checker is itself checked: real backward passes with a fault put in, of the kinds that
//! people make. Each must be caught, and named at the right input, gate or place.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use ndarray::{ArrayD, Axis, Slice};
use unspool_tensor::cases::Case;
use unspool_tensor::gradcheck::{
    Fault, OpSubject, Report, Settings, Subject, Verdict, check, shrink::shrink,
};
use unspool_tensor::op::{DynOp, Forward};
use unspool_tensor::ops::arithmetic::Sub;
use unspool_tensor::random::Key;
use unspool_tensor::{
    BackwardMode, Context, Dual, Error, GradSink, OutputGrads, Result, Tape, Tensor,
};

/// What a fault may look at: the op, its inputs, and the gradients that come in.
struct Seen<'a> {
    op: &'a Arc<dyn DynOp<f64>>,
    context: &'a Context,
    inputs: &'a [Tensor<f64>],
    d_outputs: Vec<Tensor<f64>>,
}

impl Seen<'_> {
    /// The right gradients, at these inputs and for these incoming gradients.
    fn gradients(&self, inputs: &[Tensor<f64>], d_outputs: &[Tensor<f64>]) -> Vec<ArrayD<f64>> {
        let tape = Tape::new(self.context.clone());
        let vars: Vec<_> = inputs.iter().map(|x| tape.input(x.clone())).collect();
        let outputs = tape.apply_shared(self.op.clone(), &vars).unwrap();
        let seeds: Vec<_> =
            outputs.into_iter().zip(d_outputs.iter().map(Tensor::to_owned)).collect();
        let grads = tape.vector_jacobian(&seeds, BackwardMode::Adding).unwrap();
        let zeros = |x: &Tensor<f64>| ArrayD::zeros(x.raw_dim());
        let of = |(var, x): (_, &Tensor<f64>)| grads.wrt(var).map_or(zeros(x), |d| d.to_owned());
        vars.into_iter().zip(inputs).map(of).collect()
    }

    /// The outputs.
    fn outputs(&self) -> Vec<Tensor<f64>> {
        self.op.run_forward(self.context, self.inputs).unwrap().0
    }

    fn input(&self, number: usize) -> ArrayD<f64> {
        self.inputs[number].to_owned()
    }

    fn d(&self) -> ArrayD<f64> {
        self.d_outputs[0].to_owned()
    }
}

type Spoil = Box<dyn Fn(&Seen<'_>, &mut Vec<ArrayD<f64>>) + Send + Sync>;

/// An op whose backward pass is spoiled.
struct Faulty {
    op: Arc<dyn DynOp<f64>>,
    spoil: Spoil,
    passing: Passing,
}

/// How gradients are passed on.
#[derive(Clone, Copy, PartialEq)]
enum Passing {
    /// Added to what is there, as they must be.
    Added,
    /// Of this input, assigned.
    Assigned(usize),
    /// Of this input, not at all.
    Omitted(usize),
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({:?})", self.op)
    }
}

impl DynOp<f64> for Faulty {
    fn op_name(&self) -> &'static str {
        self.op.op_name()
    }

    fn run_forward(
        &self,
        context: &Context,
        inputs: &[Tensor<f64>],
    ) -> Result<Forward<f64, Box<dyn Any + Send>>> {
        let (outputs, _) = self.op.run_forward(context, inputs)?;
        Ok((outputs, Box::new(inputs.to_vec())))
    }

    fn run_backward(
        &self,
        context: &Context,
        saved: &(dyn Any + Send),
        d_outputs: &OutputGrads<'_, f64>,
        sink: &mut GradSink<'_, f64>,
    ) -> Result<()> {
        let inputs: &Vec<Tensor<f64>> =
            saved.downcast_ref().ok_or_else(|| Error::invalid("faulty", "no inputs"))?;
        let outputs = self.op.run_forward(context, inputs)?.0.len();
        let d_outputs: Vec<_> = (0..outputs).map(|k| d_outputs.dense(k)).collect();
        let seen = Seen { op: &self.op, context, inputs, d_outputs };
        let mut gradients = seen.gradients(inputs, &seen.d_outputs);
        (self.spoil)(&seen, &mut gradients);
        for (input, d) in gradients.into_iter().enumerate() {
            if self.passing == Passing::Assigned(input) {
                sink.add_in_place(input, |mut there| there.assign(&d))?;
            } else if self.passing != Passing::Omitted(input) {
                sink.add(input, d)?;
            }
        }
        Ok(())
    }
}

fn spoil(f: impl Fn(&Seen<'_>, &mut Vec<ArrayD<f64>>) + Send + Sync + 'static) -> Spoil {
    Box::new(f)
}

/// The gradient of an input times a number: a sign, a missing factor, a missing term.
fn scaled(input: usize, factor: f64) -> Spoil {
    spoil(move |_, d| d[input] *= factor)
}

fn missing(input: usize) -> Spoil {
    scaled(input, 0.0)
}

/// One gate's rows of each of these inputs, out of `gates`, changed.
fn gate(
    inputs: &'static [usize],
    gate: usize,
    gates: usize,
    change: impl Fn(&mut f64) + Send + Sync + 'static,
) -> Spoil {
    spoil(move |_, d| {
        for &input in inputs {
            let rows = d[input].shape()[0] / gates;
            let place = Slice::from(gate * rows..(gate + 1) * rows);
            d[input].slice_axis_mut(Axis(0), place).iter_mut().for_each(&change);
        }
    })
}

fn swapped_gates(input: usize, first: usize, second: usize, gates: usize) -> Spoil {
    spoil(move |_, d| {
        let rows = d[input].shape()[0] / gates;
        let place = |gate: usize| Slice::from(gate * rows..(gate + 1) * rows);
        let before = d[input].clone();
        for (to, from) in [(first, second), (second, first)] {
            let from = before.slice_axis(Axis(0), place(from));
            d[input].slice_axis_mut(Axis(0), place(to)).assign(&from);
        }
    })
}

/// Each square block of rows transposed: a product the wrong way round.
fn transposed_blocks(input: usize, gates: usize) -> Spoil {
    spoil(move |_, d| {
        let rows = d[input].shape()[0] / gates;
        let before = d[input].clone();
        for gate in 0..gates {
            let place = Slice::from(gate * rows..(gate + 1) * rows);
            let block = before.slice_axis(Axis(0), place);
            d[input].slice_axis_mut(Axis(0), place).assign(&block.t());
        }
    })
}

/// Moved by one along an axis: an index that is one off, in time most often.
fn rolled(input: usize, axis: usize) -> Spoil {
    spoil(move |_, d| {
        let before = d[input].clone();
        let length = before.shape()[axis];
        for i in 0..length {
            let from = before.index_axis(Axis(axis), (i + 1) % length);
            d[input].index_axis_mut(Axis(axis), i).assign(&from);
        }
    })
}

/// The gradients of these inputs as if some of what comes in did not.
fn without(
    inputs: &'static [usize],
    forget: impl Fn(&mut Vec<Tensor<f64>>) + Send + Sync + 'static,
) -> Spoil {
    spoil(move |seen, d| {
        let mut d_outputs = seen.d_outputs.clone();
        forget(&mut d_outputs);
        let wrong = seen.gradients(seen.inputs, &d_outputs);
        inputs.iter().for_each(|&input| d[input] = wrong[input].clone());
    })
}

/// The gradients of these inputs as if the backward pass had kept other numbers.
fn elsewhere(
    inputs: &'static [usize],
    change: impl Fn(&mut Vec<Tensor<f64>>) + Send + Sync + 'static,
) -> Spoil {
    spoil(move |seen, d| {
        let mut kept = seen.inputs.to_vec();
        change(&mut kept);
        let wrong = seen.gradients(&kept, &seen.d_outputs);
        inputs.iter().for_each(|&input| d[input] = wrong[input].clone());
    })
}

/// The gradient of the first input by another formula, out of what the op has seen.
fn instead(f: impl Fn(&Seen<'_>) -> ArrayD<f64> + Send + Sync + 'static) -> Spoil {
    spoil(move |seen, d| d[0] = f(seen))
}

/// Something where nothing may be: at index `at` of an axis of an input.
fn leaking(input: usize, axis: usize, at: usize) -> Spoil {
    spoil(move |_, d| {
        d[input].index_axis_mut(Axis(axis), at).iter_mut().for_each(|d| *d += 0.25);
    })
}

/// A case, the fault, and where it must be found: inputs, `input[gate`, or a kind of fault and its
/// place.
struct Row {
    case: String,
    fault: String,
    spoil: Spoil,
    passing: Passing,
    /// Another function in the place of the op over dual numbers.
    dual: Option<Arc<dyn DynOp<Dual>>>,
    found: Vec<String>,
}

fn row(case: &str, fault: &str, found: &[&str], spoil: Spoil) -> Row {
    let found = found.iter().map(|found| found.to_string()).collect();
    let (case, fault) = (case.into(), fault.into());
    Row { case, fault, spoil, passing: Passing::Added, dual: None, found }
}

/// Recurrent cells: the same faults in each, gate by gate.
fn cells() -> Vec<Row> {
    // Where the inputs stand: x, h, (c), weight_ih, weight_hh, bias_ih, bias_hh.
    type Kind = (&'static str, &'static [&'static str], [usize; 4], &'static [usize]);
    let kinds: [Kind; 3] = [
        ("lstm", &["input", "forget", "cell", "output"], [3, 4, 5, 6], &[3, 4, 5, 6]),
        ("gru", &["reset", "update", "new"], [2, 3, 4, 5], &[2, 3, 4, 5]),
        ("rnn", &["hidden"], [2, 3, 4, 5], &[2, 3, 4, 5]),
    ];
    let mut rows = Vec::new();
    for (cell, gates, [weight_ih, weight_hh, bias_ih, bias_hh], weights) in kinds {
        let count = gates.len();
        for (g, name) in gates.iter().enumerate() {
            let at = |input: &str| format!("{input}[{name}");
            let all: Vec<String> =
                ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].map(at).to_vec();
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            rows.push(row(
                cell,
                &format!("derivative of the {name} gate"),
                &all,
                gate(weights, g, count, |d| *d *= 1.1),
            ));
            let hh: &'static [usize] = if cell == "lstm" { &[4] } else { &[3] };
            rows.push(row(
                cell,
                &format!("sign of the {name} gate's recurrent weights"),
                &[&at("weight_hh")],
                gate(hh, g, count, |d| *d = -*d),
            ));
        }
        for g in 1..count {
            let fault = format!("gates {} and {} swapped", gates[g - 1], gates[g]);
            rows.push(row(cell, &fault, &["weight_hh"], swapped_gates(weight_hh, g - 1, g, count)));
            rows.push(row(cell, &fault, &["weight_ih"], swapped_gates(weight_ih, g - 1, g, count)));
        }
        rows.extend([
            row(cell, "product transposed", &["weight_hh"], transposed_blocks(weight_hh, count)),
            row(cell, "no gradient of the initial state", &["h"], missing(1)),
            row(cell, "no gradient of the inputs", &["x"], missing(0)),
            row(cell, "input bias dropped", &["bias_ih"], missing(bias_ih)),
            row(cell, "recurrent bias dropped", &["bias_hh"], missing(bias_hh)),
            row(cell, "inputs off by one in time", &["x"], rolled(0, 0)),
            row(cell, "inputs off by one in the batch", &["x"], rolled(0, 1)),
            row(cell, "state of the wrong row", &["h"], rolled(1, 0)),
            row(
                cell,
                "final state's gradient forgotten",
                &["h"],
                without(&[1], |d| d[1] = ArrayD::zeros(d[1].raw_dim()).into_shared()),
            ),
            row(
                cell,
                "first step's gradient forgotten",
                &["x"],
                without(&[0], |d| d[0].index_axis_mut(Axis(0), 0).fill(0.0)),
            ),
            row(
                cell,
                "inputs kept one step late",
                &["weight_hh"],
                elsewhere(if cell == "lstm" { &[4] } else { &[3] }, |kept| {
                    let x = kept[0].to_owned();
                    let steps = x.shape()[0];
                    for t in 0..steps {
                        kept[0]
                            .index_axis_mut(Axis(0), t)
                            .assign(&x.index_axis(Axis(0), (t + 1) % steps));
                    }
                }),
            ),
            row(
                &format!("{cell}/lengths"),
                "padding has a gradient",
                &["leak x"],
                leaking(0, 0, 3),
            ),
            Row {
                passing: Passing::Assigned(weight_hh),
                ..row(cell, "= for +=", &["assigned weight_hh"], spoil(|_, _| {}))
            },
        ]);
    }
    rows.extend([
        row("lstm", "no gradient of the initial cell state", &["c"], missing(2)),
        row(
            "lstm",
            "final cell state's gradient forgotten",
            &["c"],
            without(&[2], |d| d[2] = ArrayD::zeros(d[2].raw_dim()).into_shared()),
        ),
        row("lstm", "cell state decays twice", &["c"], scaled(2, 0.5)),
        row("gru", "the carried state forgotten", &["h"], scaled(1, 0.7)),
    ]);
    rows
}

fn attention() -> Vec<Row> {
    vec![
        row("additive_attention/lengths", "sign of v", &["v"], scaled(2, -1.0)),
        row(
            "additive_attention/lengths",
            "query's sum over keys halved",
            &["query"],
            scaled(0, 0.5),
        ),
        row("additive_attention/lengths", "keys not through tanh", &["keys"], scaled(1, 1.2)),
        row("additive_attention/lengths", "values forgotten", &["values"], missing(3)),
        row(
            "additive_attention/lengths",
            "mask of keys forgotten",
            &["leak keys"],
            leaking(1, 1, 4),
        ),
        row(
            "additive_attention/lengths",
            "mask of values forgotten",
            &["leak values"],
            leaking(3, 1, 4),
        ),
        row(
            "additive_attention/lengths",
            "gradient of the weights forgotten",
            &["query"],
            without(&[0], |d| d[1] = ArrayD::zeros(d[1].raw_dim()).into_shared()),
        ),
        row(
            "dot_attention/heads",
            "scale of the query missing",
            &["query"],
            scaled(0, 2f64.sqrt()),
        ),
        row("dot_attention/heads", "scale of the keys missing", &["keys"], scaled(1, 2f64.sqrt())),
        row("dot_attention/heads", "heads of the keys one off", &["keys"], rolled(1, 2)),
        row("dot_attention/heads", "heads of the values one off", &["values"], rolled(2, 2)),
        row("dot_attention/causal", "queries off by one in time", &["query"], rolled(0, 1)),
        row("dot_attention/lengths", "mask forgotten", &["leak keys"], leaking(1, 1, 4)),
        row(
            "dot_attention/lengths",
            "gradient of the weights forgotten",
            &["keys"],
            without(&[1], |d| d[1] = ArrayD::zeros(d[1].raw_dim()).into_shared()),
        ),
    ]
}

fn ops() -> Vec<Row> {
    let mut rows = vec![
        row("sub", "sign", &["y"], scaled(1, -1.0)),
        row("mul", "own factor", &["x"], instead(|seen| seen.d() * seen.input(0))),
        row("mul/broadcast", "repeated once too often", &["y"], scaled(1, 12.0)),
        row("div", "sign", &["y"], scaled(1, -1.0)),
        row("div", "divisor forgotten", &["x"], instead(|seen| seen.d())),
        row("pow", "exponent's gradient forgotten", &["y"], missing(1)),
        row("exp", "gradient of the line", &["x"], instead(|seen| seen.d())),
        row(
            "tanh",
            "1 - y for 1 - y²",
            &["x"],
            instead(|seen| seen.d() * seen.outputs()[0].mapv(|y| 1.0 - y)),
        ),
        row("sigmoid", "1 - y forgotten", &["x"], instead(|seen| seen.d() * &seen.outputs()[0])),
        row("relu", "passes everything", &["x"], instead(|seen| seen.d())),
        row("sqrt", "half forgotten", &["x"], scaled(0, 2.0)),
        row("ln", "times x", &["x"], instead(|seen| seen.d() * seen.input(0))),
        row("max/axis_1", "another element", &["x"], rolled(0, 1)),
        row("permute", "order not undone", &["x"], rolled(0, 2)),
        row("slice/step", "one off", &["x"], rolled(0, 1)),
        row("stack/axis_0", "parts swapped", &["a", "b"], spoil(|_, d| d.swap(0, 1))),
        row(
            "gather_rows",
            "repeated row counted once",
            &["table"],
            spoil(|_, d| {
                d[0].index_axis_mut(Axis(0), 4).iter_mut().for_each(|d| *d *= 0.5);
            }),
        ),
        row(
            "masked_fill",
            "mask forgotten",
            &["x"],
            spoil(|_, d| {
                d[0].iter_mut().for_each(|d| {
                    if *d == 0.0 {
                        *d = 1.0
                    }
                })
            }),
        ),
        row(
            "softmax/axis_1",
            "Jacobian without its off-diagonal",
            &["x"],
            instead(|seen| seen.d() * seen.outputs()[0].mapv(|y| y * (1.0 - y))),
        ),
        row(
            "softmax/axis_1",
            "sum forgotten",
            &["x"],
            instead(|seen| seen.d() * &seen.outputs()[0]),
        ),
        row(
            "softmax/axis_2",
            "wrong axis",
            &["x"],
            instead(|seen| {
                let (y, d) = (seen.outputs()[0].to_owned(), seen.d());
                let sum = (&d * &y).sum_axis(Axis(1)).insert_axis(Axis(1));
                &y * &(d - sum)
            }),
        ),
        row("log_softmax/axis_0", "sum forgotten", &["x"], instead(|seen| seen.d())),
        row(
            "cross_entropy",
            "target forgotten",
            &["logits"],
            spoil(|seen, d| {
                let n = seen.inputs[0].shape()[0] as f64;
                let one = seen.d_outputs[0].iter().sum::<f64>() / n;
                [3, 0, 4, 1, 0, 1].into_iter().enumerate().for_each(|(i, t)| d[0][[i, t]] += one);
            }),
        ),
        row("cross_entropy", "mean forgotten", &["logits"], scaled(0, 6.0)),
        row(
            "cross_entropy/ignored",
            "ignored token learns",
            &["logits"],
            spoil(|_, d| {
                d[0].index_axis_mut(Axis(0), 1).fill(0.1);
            }),
        ),
        row(
            "cross_entropy/smooth",
            "smoothing forgotten",
            &["logits"],
            spoil(|seen, d| {
                let one = seen.d_outputs[0].iter().sum::<f64>() / 6.0;
                [3, 0, 4, 1, 0, 1]
                    .into_iter()
                    .enumerate()
                    .for_each(|(i, t)| d[0][[i, t]] -= 0.1 * one);
            }),
        ),
        row("dropout", "scale forgotten", &["x"], scaled(0, 0.6)),
        row("dropout", "mask forgotten", &["x"], instead(|seen| seen.d())),
        row(
            "layer_norm",
            "through the mean and deviation forgotten",
            &["x"],
            spoil(|seen, d| {
                d[0] = seen.d() * seen.input(1);
            }),
        ),
        row(
            "layer_norm",
            "gain of what is not normal",
            &["gain"],
            spoil(|seen, d| {
                let sum = (seen.d() * seen.input(0)).sum_axis(Axis(0)).sum_axis(Axis(0));
                d[1] = sum;
            }),
        ),
        row(
            "layer_norm",
            "bias of the last row alone",
            &["bias"],
            spoil(|seen, d| {
                d[2] = seen.d().index_axis(Axis(0), 1).index_axis(Axis(0), 2).to_owned();
            }),
        ),
        row("embedding/padding", "one row off", &["leak table"], rolled(0, 0)),
        row(
            "embedding/time_major",
            "repeated word counted once",
            &["table"],
            spoil(|_, d| {
                d[0].index_axis_mut(Axis(0), 1).iter_mut().for_each(|d| *d /= 3.0);
            }),
        ),
    ];
    rows.extend([
        Row {
            passing: Passing::Omitted(1),
            ..row("div", "no gradient at all", &["missing y"], spoil(|_, _| {}))
        },
        Row {
            dual: Some(Arc::new(Sub)),
            ..row("add", "another function of dual numbers", &["disagree y"], spoil(|_, _| {}))
        },
    ]);
    rows.push(row(
        "add",
        "not a number",
        &["not finite x"],
        spoil(|_, d| {
            if let Some(d) = d[0].iter_mut().next() {
                *d = f64::NAN;
            }
        }),
    ));
    rows.push(row(
        "add/broadcast",
        "not summed to the input's shape",
        &["failed"],
        spoil(|seen, d| {
            d[1] = seen.d();
        }),
    ));
    rows
}

fn linear(cases: &[Case]) -> Vec<Row> {
    // The plain case with a bias, whatever it is called.
    let with_bias = cases.iter().find(|case| {
        case.name.starts_with("linear") && case.inputs.iter().any(|input| input.name == "bias")
    });
    let case = with_bias.expect("a linear layer with a bias");
    vec![
        row(&case.name, "bias dropped", &["bias"], missing(2)),
        row(&case.name, "sign of the weights", &["weight"], scaled(1, -1.0)),
        row(&case.name, "inputs forgotten", &["x"], missing(0)),
        row(&case.name, "outputs one off", &["bias"], rolled(2, 0)),
    ]
}

/// Where the report says that it is wrong: inputs with wrong elements, and faults with their places.
fn places(report: &Report) -> BTreeSet<String> {
    let arrays = report.arrays.iter().filter(|array| array.verdict() == Verdict::Fail);
    let mut places: BTreeSet<String> = arrays.map(|array| array.name.clone()).collect();
    for fault in &report.faults {
        let first = |place: &str| place.split('[').next().unwrap_or_default().to_owned();
        places.insert(match fault {
            Fault::Leak { place } => format!("leak {}", first(place)),
            Fault::Assigned { place } => format!("assigned {}", first(place)),
            Fault::NotFinite { place } => format!("not finite {}", first(place)),
            Fault::Failed { .. } => "failed".into(),
            Fault::Missing { input } => format!("missing {input}"),
            Fault::OraclesDisagree { place } => format!("disagree {}", first(place)),
            other => format!("{other:?}"),
        });
    }
    places
}

/// Whether the report names just what is wrong, and in it just the right gate.
fn is_localised(report: &Report, row: &Row) -> bool {
    let wanted: BTreeSet<String> = row
        .found
        .iter()
        .map(|found| found.split('[').next().unwrap_or_default().to_owned())
        .collect();
    let gates: Vec<&String> = row.found.iter().filter(|found| found.contains('[')).collect();
    let in_gates =
        report.elements().filter(|element| element.verdict == Verdict::Fail).all(|element| {
            gates.is_empty() || gates.iter().any(|gate| element.name.starts_with(*gate))
        });
    // What leaks or is not finite is wrong as a number too.
    let found = places(report);
    let beside = |place: &String| {
        wanted.iter().any(|wanted| wanted.split(' ').next_back() == Some(place.as_str()))
    };
    let named = |gate: &&String| report.elements().any(|element| element.name.starts_with(*gate));
    let all_gates = gates.iter().all(named) && in_gates;
    all_gates && wanted.is_subset(&found) && found.difference(&wanted).all(beside)
}

#[test]
fn every_fault_is_caught_and_named_where_it_is() {
    let mut cases = unspool_tensor::cases::cases();
    cases.extend(unspool_layers::cases());
    let mut rows = cells();
    rows.extend(attention());
    rows.extend(ops());
    rows.extend(linear(&cases));
    assert_eq!(rows.len(), 124, "the documents say how many there are");

    let (count, mut localised, mut missed) = (rows.len(), 0, Vec::new());
    for mut row in rows {
        let case = cases.iter().find(|case| case.name == row.case);
        let case = case.unwrap_or_else(|| panic!("there is no case {}", row.case));
        let right = OpSubject::of_case(case, Key::new(9));
        let spoil = std::mem::replace(&mut row.spoil, Box::new(|_, _| {}));
        let op = Faulty { op: case.op.clone(), spoil, passing: row.passing };
        let context = Context::sequential().with_key(Key::new(9));
        let wrong = OpSubject::new(&case.name, Arc::new(op), context, right.arguments().to_vec());
        let wrong = match row.dual.take() {
            Some(dual) => wrong.with_dual(dual),
            None => wrong,
        };
        let report = check(&wrong, &Settings::default());
        if report.verdict() != Verdict::Fail {
            missed.push(format!("{}: {}: {report}", row.case, row.fault));
        }
        match is_localised(&report, &row) {
            true => localised += 1,
            false => eprintln!(
                "{}: {}: {:?} is not {:?}",
                row.case,
                row.fault,
                places(&report),
                row.found
            ),
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    eprintln!("{count} faults, all caught, {localised} named where they are");
    assert_eq!(localised, count);
}

#[test]
fn a_fault_in_a_gate_is_made_small() {
    let cases = unspool_layers::cases();
    let case = cases.iter().find(|case| case.name == "lstm").unwrap();
    let arguments = OpSubject::of_case(case, Key::new(9)).arguments().to_vec();
    let spoil = gate(&[4], 1, 4, |d| *d *= 1.5);
    let op = Arc::new(Faulty { op: case.op.clone(), spoil, passing: Passing::Added });
    let subject = OpSubject::new("lstm", op, Context::sequential(), arguments);
    let smallest = shrink(&subject, &Settings::default()).unwrap();
    let weight_hh =
        smallest.arguments.iter().find(|argument| argument.name == "weight_hh").unwrap();
    assert_eq!(weight_hh.value.shape(), [4, 1], "{}", smallest.report);
    let x = &smallest.arguments[0];
    assert!(x.value.shape()[0] <= 2 && x.value.shape()[1..] == [1, 1], "{}", smallest.report);
    let first = smallest.report.elements().next().unwrap();
    assert!(first.name.starts_with("weight_hh[forget"), "{first}");
}
