//! The update that a run would make next: by its own optimiser, with what that remembers.

use unspool_tensor::{Context, Gradient};
use unspool_trace::update::Parameter;
use unspool_trace::{NotationError, UpdateRule};
use unspool_train::checkpoint::Checkpoint;
use unspool_train::gradients::clip_by_global_norm;
use unspool_train::optimiser::{Optimiser, OptimiserConfig};

/// The rule of a checkpoint's next update: its optimiser with its running averages, at the learning
/// rate that is due, or at another.
pub fn rule_of(
    checkpoint: &Checkpoint,
    rate: Option<f64>,
    context: &Context,
) -> Result<UpdateRule, NotationError> {
    let Checkpoint { config, model, optimiser, state, .. } = checkpoint;
    let training = &config.training;
    let rate = rate.unwrap_or_else(|| {
        let top = training.learning_rate;
        training.schedule.rate(top, state.update, state.epoch, state.cuts)
    });
    let most = Some(training.clip_norm).filter(|&norm| norm > 0.0);
    let params = model.params().cast::<f64>();
    let mut precise = Optimiser::new(training.optimiser, &params);
    precise.set_updates(optimiser.updates());
    for ((_, to), (_, from)) in precise.averages_mut().zip(optimiser.averages()) {
        to.iter_mut().zip(from).for_each(|(to, from)| to.assign(&from.mapv(f64::from)));
    }
    let context = context.clone();
    let change = move |parameters: &mut [Parameter]| {
        let (mut params, mut optimiser) = (params.clone(), precise.clone());
        let mut gradients = Vec::new();
        for parameter in parameters.iter() {
            let Some(id) = params.find(&parameter.name) else { continue };
            params.set(id, parameter.value.clone())?;
            let gradient = parameter.gradient.clone().map(Gradient::Dense);
            gradients.extend(gradient.map(|gradient| (id, gradient)));
        }
        clip_by_global_norm(&context, &mut gradients, most);
        optimiser.update(&context, &mut params, &gradients, rate);
        for parameter in parameters {
            if let Some(id) = params.find(&parameter.name) {
                parameter.value = params.get(id).clone();
            }
        }
        Ok(())
    };
    let number = optimiser.updates() + 1;
    let (title, formulas, numbers) = said(training.optimiser);
    let mut rule = UpdateRule::new(format!("{title}, update {number} of the run"), rate, change);
    if let Some(most) = most {
        rule = rule
            .formula("g = min(1, c / n)·d_w")?
            .symbol("c", format!("{most}, the largest norm"))
            .symbol("n", "the norm of all gradients together, plus 1e-6");
    } else {
        rule = rule.formula("g = d_w")?;
    }
    for formula in formulas {
        rule = rule.formula(formula)?;
    }
    rule = rule.symbol("rate", format!("{rate}, the learning rate"));
    for (name, meaning) in numbers {
        rule = rule.symbol(name, meaning);
    }
    if matches!(training.optimiser, OptimiserConfig::Adam { .. } | OptimiserConfig::AdamW { .. }) {
        rule = rule.symbol("t", format!("{number}, the number of the update"));
    }
    Ok(rule)
}

/// An optimiser: its name, its formulas, and the letters of these.
fn said(
    optimiser: OptimiserConfig,
) -> (&'static str, Vec<&'static str>, Vec<(&'static str, String)>) {
    let mean = "m' = β_1·m + (1 − β_1)·g";
    let square = "v' = β_2·v + (1 − β_2)·g²";
    let letters = |beta1: f64, beta2: f64, epsilon: f64| {
        vec![
            ("m", "the running mean of g, as the checkpoint has it".to_owned()),
            ("v", "the running mean of g², as the checkpoint has it".to_owned()),
            ("β_1", beta1.to_string()),
            ("β_2", beta2.to_string()),
            ("ε", format!("{epsilon:e}")),
        ]
    };
    match optimiser {
        OptimiserConfig::Sgd { momentum: 0.0 } => {
            ("gradient descent", vec!["w' = w − rate·g"], Vec::new())
        }
        OptimiserConfig::Sgd { momentum } => (
            "gradient descent with momentum",
            vec!["v' = μ·v + g", "w' = w − rate·v'"],
            vec![
                ("v", "the velocity, as the checkpoint has it".to_owned()),
                ("μ", format!("{momentum}, the momentum")),
            ],
        ),
        OptimiserConfig::Adam { beta1, beta2, epsilon } => (
            "Adam",
            vec![mean, square, "w' = w − rate·(m' / (1 − β_1^(t))) / (√(v' / (1 − β_2^(t))) + ε)"],
            letters(beta1, beta2, epsilon),
        ),
        OptimiserConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
            let mut letters = letters(beta1, beta2, epsilon);
            letters.push(("λ", format!("{weight_decay}, the weight decay")));
            (
                "AdamW",
                vec![
                    mean,
                    square,
                    "w' = (1 − rate·λ)·w − rate·(m' / (1 − β_1^(t))) / (√(v' / (1 − β_2^(t))) + ε)",
                ],
                letters,
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_of_every_optimiser_are_formulas() {
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        for optimiser in [
            OptimiserConfig::Sgd { momentum: 0.0 },
            OptimiserConfig::Sgd { momentum: 0.9 },
            OptimiserConfig::Adam { beta1, beta2, epsilon },
            OptimiserConfig::AdamW { beta1, beta2, epsilon, weight_decay: 0.01 },
        ] {
            let (title, formulas, letters) = said(optimiser);
            for formula in formulas {
                let parsed = formula.parse::<unspool_trace::Formula>().unwrap();
                assert_eq!(parsed.to_string(), formula, "{title}");
            }
            assert!(letters.iter().all(|(_, meaning)| !meaning.is_empty()));
        }
    }
}
