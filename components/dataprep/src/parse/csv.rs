//! Tables as text: the delimiter is the one that divides the first lines alike; the first row names the columns.

use csv::{ReaderBuilder, StringRecord};

use crate::document::{Builder, Kind};
use crate::limits::ParseError;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Rows that are looked at to find the delimiter.
const SNIFFED_ROWS: usize = 20;

/// Most columns of a row that are read.
const COLUMNS_MAX: usize = 1000;

pub(super) fn read(text: &str, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut rows = reader(text, delimiter(text));
    let mut record = StringRecord::new();
    let mut kind = Kind::TableHeader;
    while rows.read_record(&mut record).map_err(|error| ParseError::malformed("CSV", error))? {
        builder.budget.tick()?;
        let cells: Vec<String> = record.iter().take(COLUMNS_MAX).map(str::to_owned).collect();
        if cells.iter().any(|cell| !cell.trim().is_empty()) {
            builder.push_row(kind, &cells)?;
            kind = Kind::TableRow;
        }
    }
    Ok(())
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes())
}

/// The delimiter with the most columns among those by which all of the first rows have the same number; else the one that
/// divides the first row most.
fn delimiter(text: &str) -> u8 {
    let columns = |delimiter| -> Vec<usize> {
        reader(text, delimiter).records().take(SNIFFED_ROWS).map_while(Result::ok).map(|row| row.len()).collect()
    };
    let score = |&delimiter: &u8| {
        let columns = columns(delimiter);
        let first = columns.first().copied().unwrap_or(0);
        (first > 1 && columns.iter().all(|&count| count == first), first)
    };
    // The last of equals wins, and a comma should.
    DELIMITERS.into_iter().rev().max_by_key(score).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::tests::blocks;

    #[test]
    fn the_delimiter_is_found() {
        assert_eq!(delimiter("a,b\n1,2\n"), b',');
        assert_eq!(delimiter("a;b\n1,5;2,5\n3,5;1\n"), b';');
        assert_eq!(delimiter("a\tb, c\n1\t2\n"), b'\t');
        assert_eq!(delimiter("\"a|b\",c\n1,2\n"), b',');
        assert_eq!(delimiter("one column\n"), b',');
    }

    #[test]
    fn the_first_row_names_the_columns() {
        let expected = [(Kind::TableHeader, "name | note"), (Kind::TableRow, "a | x, y z"), (Kind::TableRow, "b")];
        let expected = expected.map(|(kind, text)| (kind, text.to_owned()));
        assert_eq!(blocks("a.csv", b"\nname,note\na,\"x, y\nz\"\n,\nb\n"), expected);
    }
}
