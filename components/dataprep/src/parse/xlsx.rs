//! Workbooks: sheet by sheet, with the first row as names of the columns; numbers of dates are written as dates.

use std::rc::Rc;

use super::ooxml::Package;
use super::xml::{Element, Node, walk};
use crate::document::{Builder, Kind};
use crate::limits::{Budget, ParseError};

const WORKBOOK: &str = "xl/workbook.xml";

/// Most columns of a row that are read.
const COLUMNS_MAX: usize = 512;

/// Longest name of a sheet, in characters.
const NAME_CHARS_MAX: usize = 100;

/// Most bytes of all strings of a workbook that cells share, and most of them.
const STRINGS_BYTES_MAX: usize = 32 << 20;
const STRINGS_MAX: usize = 1_000_000;

pub(super) fn read(bytes: &[u8], builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut package = Package::new(bytes)?;
    package.title(builder)?;
    let relations = package.relations(WORKBOOK, builder.budget)?;
    let text = package.required(WORKBOOK, builder.budget)?;
    let (mut sheets, mut counts_from_1904) = (Vec::new(), false);
    walk(&text, builder.budget, &mut |node, _| {
        let Node::Start(element) = node else { return Ok(()) };
        match element.name() {
            "workbookPr" => counts_from_1904 = matches!(element.attribute("date1904").as_deref(), Some("1" | "true")),
            "sheet" => {
                let part = element.attribute("id").and_then(|id| relations.get(&id)).map(|relation| relation.part.clone());
                let name = element.attribute("name").unwrap_or_default().chars().take(NAME_CHARS_MAX).collect::<String>();
                sheets.extend(part.map(|part| (name, part)));
            }
            _ => {}
        }
        Ok(())
    })?;
    let strings = match package.part("xl/sharedStrings.xml", builder.budget)? {
        Some(text) => strings(&text, builder.budget)?,
        None => Vec::new(),
    };
    let dates = match package.part("xl/styles.xml", builder.budget)? {
        Some(text) => date_styles(&text, builder.budget)?,
        None => Vec::new(),
    };
    let book = Book { strings, dates, counts_from_1904 };
    for (name, part) in sheets {
        let Some(text) = package.part(&part, builder.budget)? else { continue };
        builder.place.sheet = Some(Rc::from(name.as_str()));
        sheet(&text, &name, &book, builder)?;
    }
    Ok(())
}

/// What the sheets of a workbook share.
struct Book {
    strings: Vec<String>,
    /// For each style whether its numbers are dates.
    dates: Vec<bool>,
    counts_from_1904: bool,
}

fn strings(text: &str, budget: &mut Budget) -> Result<Vec<String>, ParseError> {
    let mut strings: Vec<String> = Vec::new();
    let (mut bytes, mut in_text, mut in_phonetic) = (0, false, false);
    walk(text, budget, &mut |node, _| {
        match node {
            Node::Start(element) => {
                in_text = element.name() == "t";
                in_phonetic |= element.name() == "rPh";
                if element.name() == "si" {
                    strings.push(String::new());
                }
            }
            Node::End(name) => {
                in_text = false;
                in_phonetic &= name != "rPh";
            }
            Node::Text(text) if in_text && !in_phonetic => {
                bytes += text.len();
                if let Some(last) = strings.last_mut() {
                    last.push_str(&text);
                }
            }
            Node::Text(_) => {}
        }
        if bytes > STRINGS_BYTES_MAX || strings.len() > STRINGS_MAX {
            return Err(ParseError::TooLong { what: "texts", max: STRINGS_MAX as u64, unit: "texts" });
        }
        Ok(())
    })?;
    Ok(strings)
}

/// For each cell style whether its number format shows dates.
fn date_styles(text: &str, budget: &mut Budget) -> Result<Vec<bool>, ParseError> {
    let mut custom: Vec<(u32, bool)> = Vec::new();
    let (mut styles, mut in_cell_styles) = (Vec::new(), false);
    walk(text, budget, &mut |node, _| {
        match node {
            Node::Start(element) => match element.name() {
                "numFmt" => {
                    let id = element.attribute("numFmtId").and_then(|id| id.parse().ok()).unwrap_or(0);
                    custom.push((id, is_date_format(&element.attribute("formatCode").unwrap_or_default())));
                }
                "cellXfs" => in_cell_styles = true,
                "xf" if in_cell_styles => {
                    let id: u32 = element.attribute("numFmtId").and_then(|id| id.parse().ok()).unwrap_or(0);
                    let is_custom_date = custom.iter().any(|&(known, is_date)| known == id && is_date);
                    styles.push(matches!(id, 14..=22 | 27..=36 | 45..=47 | 50..=58) || is_custom_date);
                }
                _ => {}
            },
            Node::End("cellXfs") => in_cell_styles = false,
            Node::End(_) | Node::Text(_) => {}
        }
        Ok(())
    })?;
    Ok(styles)
}

/// Whether a format has letters of dates outside of quotes and brackets.
fn is_date_format(format: &str) -> bool {
    let (mut in_quotes, mut in_brackets, mut is_escaped) = (false, false, false);
    format.chars().any(|c| {
        let is_plain = !in_quotes && !in_brackets && !is_escaped;
        is_escaped = is_plain && c == '\\';
        match c {
            '"' => in_quotes = !in_quotes,
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ => return is_plain && matches!(c.to_ascii_lowercase(), 'y' | 'd' | 'h'),
        }
        false
    })
}

fn sheet(text: &str, name: &str, book: &Book, builder: &mut Builder<'_>) -> Result<(), ParseError> {
    let mut rows = Vec::new();
    let mut reader = Reader { book, row: Vec::new(), cell: Cell::default() };
    let (mut in_value, mut held_bytes) = (false, 0);
    walk(text, builder.budget, &mut |node, budget| {
        match node {
            Node::Start(element) => {
                in_value = matches!(element.name(), "v" | "t");
                reader.start(element);
            }
            Node::Text(text) if in_value => reader.cell.text.push_str(&text),
            Node::Text(_) => {}
            Node::End(name) => {
                in_value = false;
                match name {
                    "c" => {
                        let bytes = reader.end_cell();
                        budget.hold(bytes)?;
                        held_bytes += bytes;
                    }
                    "row" if reader.row.iter().any(|cell| !cell.trim().is_empty()) => {
                        rows.push(std::mem::take(&mut reader.row));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    })?;
    if !rows.is_empty() {
        builder.push_flowing(Kind::Heading(1), name)?;
    }
    for (index, row) in rows.iter().enumerate() {
        builder.push_row(if index == 0 { Kind::TableHeader } else { Kind::TableRow }, row)?;
    }
    builder.budget.release(held_bytes);
    Ok(())
}

#[derive(Default)]
struct Cell {
    column: usize,
    kind: String,
    is_date: bool,
    text: String,
}

struct Reader<'b> {
    book: &'b Book,
    row: Vec<String>,
    cell: Cell,
}

impl Reader<'_> {
    fn start(&mut self, element: &Element<'_>) {
        match element.name() {
            "row" => self.row.clear(),
            "c" => {
                let column = element.attribute("r").and_then(|reference| column(&reference)).unwrap_or(self.row.len());
                let style = element.attribute("s").and_then(|style| style.parse::<usize>().ok());
                let is_date = style.and_then(|style| self.book.dates.get(style)).copied().unwrap_or(false);
                let kind = element.attribute("t").unwrap_or_default();
                self.cell = Cell { column, kind, is_date, text: String::new() };
            }
            _ => {}
        }
    }

    /// Puts a cell into its row, and says how many bytes that makes the row larger.
    fn end_cell(&mut self) -> usize {
        let Cell { column, kind, is_date, text } = std::mem::take(&mut self.cell);
        if column >= COLUMNS_MAX || text.is_empty() {
            return 0;
        }
        let value = match kind.as_str() {
            "s" => text.trim().parse().ok().and_then(|index: usize| self.book.strings.get(index).cloned()).unwrap_or_default(),
            "b" => if text.trim() == "1" { "true" } else { "false" }.to_owned(),
            "" | "n" if is_date => {
                text.trim().parse().ok().and_then(|days| date(days, self.book.counts_from_1904)).unwrap_or(text)
            }
            _ => text,
        };
        let added = (column + 1).saturating_sub(self.row.len()) * size_of::<String>() + value.len();
        if self.row.len() <= column {
            self.row.resize(column + 1, String::new());
        }
        if let Some(cell) = self.row.get_mut(column) {
            *cell = value;
        }
        added
    }
}

/// The column of a reference as `AB12`, from 0.
fn column(reference: &str) -> Option<usize> {
    let letters = reference.bytes().take_while(u8::is_ascii_alphabetic).take(4);
    let number = letters.fold(0, |number, letter| number * 26 + usize::from(letter.to_ascii_uppercase() - b'A') + 1);
    number.checked_sub(1)
}

/// A date as `2024-02-29`, with the time if it has one, from days since the workbook's first day.
fn date(days: f64, counts_from_1904: bool) -> Option<String> {
    // 2958465 is the last day of the year 9999.
    if !(0.0..2_958_466.0).contains(&days) {
        return None;
    }
    let seconds = (days.fract() * 86_400.0).round() as u64;
    let days = days as i64 + (seconds / 86_400) as i64;
    let seconds = seconds % 86_400;
    // Days since 1970. In the other calendar 1900 counts as a leap year, which matters before March of it only.
    let since_1970 = if counts_from_1904 { days - 24_107 } else { days - 25_569 };
    let (year, month, day) = civil(since_1970);
    let time = format!("{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
    match (days, seconds) {
        (0, _) if !counts_from_1904 => Some(time),
        (_, 0) => Some(format!("{year:04}-{month:02}-{day:02}")),
        _ => Some(format!("{year:04}-{month:02}-{day:02} {time}")),
    }
}

/// Year, month and day of days since 1970 in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years that begin with a March, so that a leap day is the last of a year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::ooxml::tests::archive;
    use crate::parse::tests::read;

    #[test]
    fn a_workbook_of_openpyxl_is_read() {
        let (_, document) = read("sample.xlsx", include_bytes!("samples/sample.xlsx")).expect("fits");
        let blocks: Vec<_> = document
            .blocks
            .iter()
            .map(|block| (block.place.sheet.as_deref().unwrap_or(""), block.kind, &document.text[block.range.clone()]))
            .collect();
        let expected = [
            ("Ships", Kind::Heading(1), "Ships"),
            ("Ships", Kind::TableHeader, "Name | Built | Length"),
            ("Ships", Kind::TableRow, "Aurora | 1999-02-28 | 81.5"),
            ("Ships", Kind::TableRow, "Borealis | 2024-02-29 13:30 | 120"),
            ("Crew", Kind::Heading(1), "Crew"),
            ("Crew", Kind::TableHeader, "Who |  | On board"),
            ("Crew", Kind::TableRow, "Ida |  | true"),
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn a_row_of_cells_that_share_one_long_text_is_refused() {
        let long = format!("<sst><si><t>{}</t></si></sst>", "x".repeat(1 << 20));
        let cells = "<c t=\"s\"><v>0</v></c>".repeat(512);
        let bytes = archive(&[
            (WORKBOOK, br#"<workbook><sheets><sheet name="S" id="r1"/></sheets></workbook>"#.as_slice()),
            ("xl/_rels/workbook.xml.rels", br#"<r><Relationship Id="r1" Type="x/worksheet" Target="s.xml"/></r>"#),
            ("xl/sharedStrings.xml", long.as_bytes()),
            ("xl/s.xml", format!("<worksheet><row>{cells}</row></worksheet>").as_bytes()),
        ]);
        assert!(bytes.len() < 10_000);
        let error = read("a.xlsx", &bytes).expect_err("too much");
        assert!(error.to_string().contains("134217728 bytes in memory"), "{error}");
    }

    #[test]
    fn references_name_columns() {
        assert_eq!(["A1", "Z9", "AA1", "XFD1"].map(column), [Some(0), Some(25), Some(26), Some(16_383)]);
        assert_eq!(column("12"), None);
    }

    #[test]
    fn numbers_of_dates_are_dates() {
        assert_eq!(date(45_351.0, false).as_deref(), Some("2024-02-29"));
        assert_eq!(date(45_351.562_5, false).as_deref(), Some("2024-02-29 13:30"));
        assert_eq!(date(0.25, false).as_deref(), Some("06:00"));
        assert_eq!(date(0.0, true).as_deref(), Some("1904-01-01"));
        assert_eq!(date(f64::NAN, false), None);
        assert_eq!(date(1e300, false), None);
    }

    #[test]
    fn formats_of_dates_are_told_from_others() {
        assert!(is_date_format("yyyy\\-mm\\-dd"));
        assert!(is_date_format("[$-407]d. mmm"));
        assert!(!is_date_format("0.00\" days\""));
        assert!(!is_date_format("[Red]0"));
    }
}
