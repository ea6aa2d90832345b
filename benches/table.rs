//! Measurements and the tables they are printed in.

use std::fmt;
use std::io::Write;

/// One number a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round's number.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; NaN when there is none.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }

    /// Both of one round against each other: noise that lasts longer than a round cancels out.
    pub(crate) fn zip(&self, other: &Samples, combine: impl Fn(f64, f64) -> f64) -> Samples {
        Samples(self.0.iter().zip(&other.0).map(|(a, b)| combine(*a, *b)).collect())
    }

    /// This over the other, round by round.
    pub(crate) fn over(&self, other: &Samples) -> Samples {
        self.zip(other, |a, b| a / b)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Samples(values.into_iter().collect())
    }
}

/// `median (min–max)`, with the precision that is asked for.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        write!(f, "{:.digits$} ({:.digits$}–{:.digits$})", self.median(), self.min(), self.max())
    }
}

/// Columns of text, the first to the left and the others to the right.
pub(crate) struct Table<const COLUMNS: usize>(Vec<[String; COLUMNS]>);

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these heads.
    pub(crate) fn new(heads: [&str; COLUMNS]) -> Self {
        Table(vec![heads.map(String::from)])
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        self.0.push(cells);
    }

    /// Prints it under a title.
    ///
    /// # Errors
    /// When the output is closed.
    pub(crate) fn print(&self, title: &str, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "\n## {title}\n")?;
        let width = |column: usize| self.0.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
        for (index, row) in self.0.iter().enumerate() {
            write!(out, "| {:<1$} |", row[0], widths[0])?;
            row[1..].iter().zip(&widths[1..]).try_for_each(|(cell, width)| write!(out, " {cell:>width$} |"))?;
            writeln!(out)?;
            if index == 0 {
                write!(out, "|{:-<1$}|", "", widths[0] + 2)?;
                widths[1..].iter().try_for_each(|width| write!(out, "{:->1$}|", ":", width + 2))?;
                writeln!(out)?;
            }
        }
        out.flush()
    }
}

/// Whether an aim is met, as a cell.
pub(crate) fn aim(is_met: bool, text: &str) -> String {
    format!("{text}: {}", if is_met { "met" } else { "missed" })
}
