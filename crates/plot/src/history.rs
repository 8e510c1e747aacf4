//! The curves of training runs: one run in detail, or several against each other.

use super::curves::{Best, Curves, Panel, Scale, Series};

/// What a training run logged, as (x, y) points; what it did not log is empty.
#[derive(Clone, Debug, Default)]
pub struct RunHistory {
    /// Tells the run from others.
    pub name: String,
    /// Training loss, of each update or averaged over some.
    pub training_loss: Vec<(f64, f64)>,
    /// Teacher-forced loss on the validation data.
    pub validation_loss: Vec<(f64, f64)>,
    /// BLEU of greedy output on the validation data, from 0 to 100.
    pub validation_bleu: Vec<(f64, f64)>,
    /// Share of validation sentences that greedy output gets wholly right, in percent.
    pub sequence_accuracy: Vec<(f64, f64)>,
    /// The learning rate.
    pub learning_rate: Vec<(f64, f64)>,
}

/// The colours of one run's two kinds of data.
const TRAINING: usize = 0;
const VALIDATION: usize = 1;

/// The curves of one or more runs over `x_label` (update, epoch…). Panels without data are left
/// out. One run shows each training loss behind its moving average; of several, each has a colour,
/// and its training loss is the dashed line.
pub fn training_curves(
    title: &str,
    x_label: &str,
    runs: &[RunHistory],
    loss_scale: Scale,
) -> Curves {
    let mut loss = Panel { title: "loss".into(), scale: loss_scale, ..Panel::default() };
    let mut bleu = Panel { title: "validation BLEU".into(), ..Panel::default() };
    let mut accuracy =
        Panel { title: "validation sequence accuracy (%)".into(), ..Panel::default() };
    let mut rate = Panel { title: "learning rate".into(), reaches: vec![0.0], ..Panel::default() };

    for (number, run) in runs.iter().enumerate() {
        let single = runs.len() == 1;
        let loss_name = |kind: &str| match single {
            true => kind.to_owned(),
            false => format!("{}, {kind}", run.name),
        };
        // The other panels' titles tell the kind of data already.
        let name = if single { "" } else { run.name.as_str() };
        let colour = |kind| if single { kind } else { number };
        let add = |panel: &mut Panel, series: Series, points: &[(f64, f64)]| {
            if !points.is_empty() {
                panel.series.push(series);
            }
        };
        let training =
            Series::new(loss_name("training"), run.training_loss.clone()).colour(colour(TRAINING));
        let training =
            if single { training.smoothed_over_raw() } else { training.smoothed().dashed() };
        add(&mut loss, training, &run.training_loss);
        let validation = loss_name("validation");
        for (panel, name, points, best) in [
            (&mut loss, validation.as_str(), &run.validation_loss, Best::Lowest),
            (&mut bleu, name, &run.validation_bleu, Best::Highest),
            (&mut accuracy, name, &run.sequence_accuracy, Best::Highest),
        ] {
            let series = Series::new(name, points.clone()).colour(colour(VALIDATION)).best(best);
            add(panel, series, points);
        }
        let series = Series::new(name, run.learning_rate.clone()).colour(colour(TRAINING));
        // Runs often share a schedule: the dashes let the line beneath be seen.
        let series = if number % 2 == 1 { series.dashed() } else { series };
        add(&mut rate, series, &run.learning_rate);
    }

    let panels = [loss, bleu, accuracy, rate].into_iter().filter(|panel| !panel.series.is_empty());
    let (title, x_label, panels) = (title.to_owned(), x_label.to_owned(), panels.collect());
    Curves { title, x_label, panels, ..Curves::default() }
}

#[cfg(test)]
mod tests {
    use super::super::picture::checks::check_picture;
    use super::*;

    #[test]
    fn panels_are_those_with_data() {
        let points = vec![(1.0, 2.0), (2.0, 1.0)];
        let full = RunHistory {
            name: "full".into(),
            training_loss: points.clone(),
            validation_loss: points.clone(),
            validation_bleu: points.clone(),
            sequence_accuracy: points.clone(),
            learning_rate: points.clone(),
        };
        let short = RunHistory { validation_loss: points, ..RunHistory::default() };
        for (runs, panels) in [
            (vec![], 0),
            (vec![RunHistory::default()], 0),
            (vec![short.clone()], 1),
            (vec![full.clone()], 4),
            (vec![short, full], 4),
        ] {
            for scale in [Scale::Linear, Scale::Log] {
                let curves = training_curves("training", "epoch", &runs, scale);
                assert_eq!(curves.panels.len(), panels);
                check_picture(&curves.draw());
            }
        }
    }
}
