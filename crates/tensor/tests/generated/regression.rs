#[test]
fn the_gradient_of_rows_is_right() -> unspool_tensor::Result<()> {
    use unspool_tensor::gradcheck::{Argument, Settings, check_at};
    // rows: FAIL (tolerance 1e-9, seed 1)
    //   input  checked  undecided  failed    error    bound  verdict
    //   x            3          0       0    0.0e0  3.5e-18  pass
    //   w            3          0       1   5.0e-1  7.1e-14  FAIL
    //   FAIL w[2]: backward gives -1.156398696800e0, differences -7.709324645331e-1 ± 5.5e-14
    let arguments = [
        Argument::of("x", "B H", &[1, 3], &[0.0, 0.0, 1.0])?,
        Argument::of("w", "H", &[3], &[0.0, 0.0, 0.0])?,
    ];
    let settings = Settings {
        tolerance: 1e-9,
        dual_tolerance: 1e-12,
        elements: 200,
        directions: 3,
        seed: 1,
    };
    let report = check_at(&function(), &arguments, &settings);
    assert!(report.passes(), "{report}");
    Ok(())
}
