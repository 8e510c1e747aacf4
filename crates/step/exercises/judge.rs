// The judge: Unspool's gradient checker, and one message.

use unspool_tensor::gradcheck::{Function, Settings, Verdict, check};

/// `Ok` with a word of praise, or `Err` with what is wrong: the first wrong number, beside what finite
/// differences say.
pub fn judge(subject: &Function<'_>) -> Result<String, String> {
    let report = check(subject, &Settings::default());
    if report.passes() {
        let count = report.elements().count();
        return Ok(format!("RIGHT: {count} gradients agree with finite differences. Well done!"));
    }
    let wrong: Vec<_> = report.elements().filter(|one| one.verdict == Verdict::Fail).collect();
    if !wrong.is_empty() && report.elements().all(|one| one.analytic == 0.0) {
        return Err("NOT YET: backward adds nothing. Write it in src/exercise.rs".into());
    }
    match wrong.first() {
        Some(first) => Err(format!(
            "WRONG: d_{} is {:.6}, finite differences say {:.6} ({} of {} gradients are wrong)",
            first.name,
            first.analytic,
            first.numeric,
            wrong.len(),
            report.elements().count()
        )),
        None => Err(format!("WRONG: {report}")),
    }
}
