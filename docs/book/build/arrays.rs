//! Arrays as tables.

use std::fmt::Write;

use unspool_trace::Array;

use crate::numbers::{escaped, shown};

/// A table of an array's numbers, with its name and shape. The last axis are its columns, the others
/// together its rows; the larger a number, the stronger the colour of its cell.
pub fn table(name: &str, array: &Array) -> Result<String, String> {
    let numbers = whole(array)?;
    let columns = array.shape.last().copied().unwrap_or(1).max(1);
    let most = numbers.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
    let mut out = format!(
        "<div class=\"array\"><p><code>{}</code>{}</p><div class=\"wide\"><table>",
        escaped(name),
        shape(&array.shape)
    );
    let many_rows = array.shape.len() > 1;
    // Writing to a string does not fail.
    if !array.shape.is_empty() {
        out.push_str("<thead><tr>");
        out.push_str(if many_rows { "<td></td>" } else { "" });
        for column in 0..columns {
            let _ = write!(out, "<th scope=\"col\">{column}</th>");
        }
        out.push_str("</tr></thead>");
    }
    out.push_str("<tbody>");
    for (number, row) in numbers.chunks(columns).enumerate() {
        out.push_str("<tr>");
        if many_rows {
            let _ = write!(out, "<th scope=\"row\">{}</th>", place(number, &array.shape, 1));
        }
        for &x in row {
            out.push_str(&cell(x, most));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></div>");
    Ok(out)
}

/// A cell of a table.
fn cell(x: f64, most: f64) -> String {
    let share = if most > 0.0 && x.is_finite() { x.abs() / most } else { 0.0 };
    let sign = if x < 0.0 { "negative" } else { "positive" };
    format!("<td class=\"{sign}\" style=\"--size:{share:.2}\">{}</td>", shown(x))
}

/// An array in a cell: its rows beneath each other.
pub fn lines(numbers: &[f64], columns: usize) -> String {
    let cells: String = numbers.iter().map(|&x| format!("<span>{}</span>", shown(x))).collect();
    format!("<span class=\"numbers\" style=\"--columns:{}\">{cells}</span>", columns.max(1))
}

/// All numbers of an array.
pub fn whole(array: &Array) -> Result<&[f64], String> {
    array.numbers().ok_or_else(|| "the array is kept as a summary".into())
}

/// A shape behind a name; nothing for a number.
pub fn shape(shape: &[usize]) -> String {
    if shape.is_empty() {
        return String::new();
    }
    let lengths: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!(" [{}]", lengths.join(", "))
}

/// The indices of a place in standard order, without the last `but` axes.
pub fn place(mut number: usize, shape: &[usize], but: usize) -> String {
    let mut indices = Vec::new();
    for &length in shape[..shape.len().saturating_sub(but)].iter().rev() {
        indices.push((number % length.max(1)).to_string());
        number /= length.max(1);
    }
    indices.reverse();
    indices.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr0, arr1, arr2};

    #[test]
    fn a_table_has_a_row_for_each_row() {
        let html =
            table("d_w", &Array::new(&arr2(&[[1.0, -2.0], [0.0, 0.5], [0.0, 0.0]]))).unwrap();
        assert_eq!(html.matches("<tr>").count(), 4);
        assert!(html.contains("<code>d_w</code> [3, 2]"), "{html}");
        assert!(html.contains("<td class=\"negative\" style=\"--size:1.00\">−2</td>"), "{html}");
        let html = table("x", &Array::new(&arr1(&[1.0, 2.0]))).unwrap();
        assert_eq!((html.matches("<tr>").count(), html.matches("<th").count()), (2, 3));
        let html = table("x", &Array::new(&arr0(1.0))).unwrap();
        assert_eq!((html.matches("<tr>").count(), html.matches("<th").count()), (1, 0));
    }

    #[test]
    fn places_are_indices() {
        assert_eq!(place(5, &[2, 3], 0), "1, 2");
        assert_eq!(place(1, &[2, 3], 1), "1");
        assert_eq!(place(0, &[], 0), "");
        let text =
            "<span class=\"numbers\" style=\"--columns:2\"><span>1</span><span>−2</span></span>";
        assert_eq!(lines(&[1.0, -2.0], 2), text);
    }
}
