//! Single precision against double precision: the worst error of every operation, over seeded draws
//! and the limits of the allowed values.

mod measure;
mod models;
mod stages;

use measure::{Row, Worst};
use std::fmt::Write;

/// Prints the table of `core/NUMBERS.md`, and checks that file: the same rows, and no error above
/// the stated one. With `UPDATE=1` it writes the table to the file instead.
#[test]
fn table() {
    let file = include_str!("../NUMBERS.md");
    let rows = [models::rows(), stages::rows()].concat();
    println!("| operation | result | relative error | ULPs |\n|---|---|---|---|");
    rows.iter().for_each(|row| println!("{row}"));
    if std::env::var_os("UPDATE").is_some() {
        let mut text = String::new();
        let (head, _) = file.split_once("\n| exp |").unwrap();
        writeln!(text, "{head}").unwrap();
        rows.iter().for_each(|row| writeln!(text, "{row}").unwrap());
        return std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/NUMBERS.md"), text).unwrap();
    }
    let mut lines = file.lines().filter(|line| line.starts_with("| ")).skip(1);
    for row in &rows {
        let line = lines.next().unwrap_or_default();
        assert!(row.is_within(line), "NUMBERS.md: {line:?}, not {row}");
    }
    assert_eq!(lines.next(), None, "NUMBERS.md has too many rows");
}

/// Negative control: a row with a smaller error, or of another operation, is rejected.
#[test]
fn claims_below_the_error_are_rejected() {
    let mut worst = Worst::default();
    worst.add(1.0, 1.0, 0.0);
    worst.add(1.0 + 3.0 * f32::EPSILON, 1.0, 0.0);
    let row = Row { operation: "sum".into(), result: "value", worst, ulps: true };
    assert_eq!(row.to_string(), "| sum | value | 5e-7 | 4 |");
    for (line, holds) in [
        ("| sum | value | 5e-7 | 4 |", true),
        ("| sum | value | 5e-7 | 2 |", false),
        ("| sum | value | 1e-7 | 4 |", false),
        ("| sum | value | 5e-7 | - |", false),
        ("| sum | slope | 5e-7 | 4 |", false),
        ("", false),
    ] {
        assert_eq!(row.is_within(line), holds, "{line}");
    }
    worst.add(f32::NAN, 1.0, 0.0);
    assert!(!Row { worst, ..row }.is_within("| sum | value | 5e-7 | 4 |"));
}
