//! How rows are written in the database: lengths before what is as long, numbers exactly.

use std::collections::BTreeSet;

use super::failed;
use crate::vector::{Document, Field, Value};
use crate::{Result, blob};

/// A run of row ids: the first, and how many.
pub(super) type Run = (u64, u64);

/// All the ids of runs.
pub(super) fn ids(runs: &[Run]) -> impl Iterator<Item = u64> + '_ {
    runs.iter().flat_map(|&(first, count)| first..first.saturating_add(count))
}

/// Adds an id at the end of runs.
pub(super) fn push(runs: &mut Vec<Run>, id: u64) {
    match runs.last_mut() {
        Some((first, count)) if *first + *count == id => *count += 1,
        _ => runs.push((id, 1)),
    }
}

/// A row that is written into bytes and read from them.
pub(super) trait Record: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Option<Self>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer(Vec::new());
        self.write(&mut writer);
        writer.0
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader(bytes);
        Self::read(&mut reader).ok_or_else(|| failed("a row of the database can't be read: restore it from a backup"))
    }
}

/// A collection, as far as the database counts it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CollectionRecord {
    /// Never that of another collection, be it of the same name later on.
    pub(super) id: u64,
    /// 0 as long as there is no vector.
    pub(super) dimensions: usize,
    pub(super) embedder: String,
    pub(super) documents: u64,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
}

/// A document that is there, with where its chunks are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct DocumentRecord {
    pub(super) document: Document,
    pub(super) changed_ms: u64,
    pub(super) bytes: u64,
    pub(super) chunks: u32,
    /// The ids of its chunks, in their order.
    pub(super) rows: Vec<Run>,
}

/// What has to be known of a chunk to filter it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RowRecord {
    pub(super) has_vector: bool,
    pub(super) fields: Vec<Field>,
}

/// A file and which one it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileRecord {
    pub(super) file: u64,
    pub(super) info: blob::Info,
}

impl Record for CollectionRecord {
    fn write(&self, to: &mut Writer) {
        to.number(self.id);
        to.number(self.dimensions as u64);
        to.text(&self.embedder);
        to.number(self.documents);
        to.number(self.chunks);
        to.number(self.bytes);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(CollectionRecord {
            id: from.number()?,
            dimensions: usize::try_from(from.number()?).ok()?,
            embedder: from.text()?,
            documents: from.number()?,
            chunks: from.number()?,
            bytes: from.number()?,
        })
    }
}

impl Record for DocumentRecord {
    fn write(&self, to: &mut Writer) {
        to.text(&self.document.id);
        to.text(&self.document.digest);
        to.list(&self.document.labels, |to, label| to.text(label));
        to.fields(&self.document.fields);
        to.number(self.changed_ms);
        to.number(self.bytes);
        to.number(u64::from(self.chunks));
        self.rows.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let id = from.text()?;
        let digest = from.text()?;
        let labels = from.list(Reader::text)?.into_iter().collect::<BTreeSet<_>>();
        let document = Document { id, digest, labels, fields: from.fields()? };
        let (changed_ms, bytes) = (from.number()?, from.number()?);
        let chunks = u32::try_from(from.number()?).ok()?;
        Some(DocumentRecord { document, changed_ms, bytes, chunks, rows: Vec::read(from)? })
    }
}

impl Record for RowRecord {
    fn write(&self, to: &mut Writer) {
        to.number(u64::from(self.has_vector));
        to.fields(&self.fields);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(RowRecord { has_vector: from.number()? != 0, fields: from.fields()? })
    }
}

impl Record for FileRecord {
    fn write(&self, to: &mut Writer) {
        to.number(self.file);
        to.text(&self.info.name);
        to.number(self.info.bytes);
        to.text(&self.info.digest);
        to.text(&self.info.content_type);
        to.number(self.info.changed_ms);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let file = from.number()?;
        let (name, bytes, digest) = (from.text()?, from.number()?, from.text()?);
        Some(FileRecord {
            file,
            info: blob::Info { name, bytes, digest, content_type: from.text()?, changed_ms: from.number()? },
        })
    }
}

impl Record for Vec<Run> {
    fn write(&self, to: &mut Writer) {
        to.list(self, |to, &(first, count)| {
            to.number(first);
            to.number(count);
        });
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.list(|from| Some((from.number()?, from.number()?)))
    }
}

/// Bytes that grow.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// Seven bits a byte, the lowest first, as LEB128 has it.
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    fn list<'a, T: 'a>(
        &mut self,
        items: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>,
        write: impl Fn(&mut Self, &T),
    ) {
        let items = items.into_iter();
        self.number(items.len() as u64);
        items.for_each(|item| write(self, item));
    }

    fn fields(&mut self, fields: &[Field]) {
        self.list(fields, |to, field| {
            to.text(&field.name);
            match &field.value {
                Value::Text(text) => {
                    to.0.push(0);
                    to.text(text);
                }
                Value::Number(number) => {
                    to.0.push(1);
                    to.0.extend_from_slice(&number.to_le_bytes());
                }
                Value::Truth(truth) => to.0.extend_from_slice(&[2, u8::from(*truth)]),
                Value::Texts(texts) => {
                    to.0.push(3);
                    to.list(texts, |to, text| to.text(text));
                }
            }
        });
    }
}

/// Bytes that are left.
pub(super) struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        (0..length).map(|_| read(self)).collect()
    }

    fn fields(&mut self) -> Option<Vec<Field>> {
        self.list(|from| {
            let name = from.text()?;
            let value = match from.byte()? {
                0 => Value::Text(from.text()?),
                1 => {
                    let (number, rest) = from.0.split_first_chunk()?;
                    from.0 = rest;
                    Value::Number(f64::from_le_bytes(*number))
                }
                2 => Value::Truth(from.byte()? != 0),
                3 => Value::Texts(from.list(Self::text)?),
                _ => return None,
            };
            Some(Field { name, value })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> DocumentRecord {
        let field = |name: &str, value| Field { name: name.into(), value };
        let fields = vec![
            field("a", Value::Text("ä".into())),
            field("b", Value::Number(0.1 + 0.2)),
            field("c", Value::Truth(true)),
            field("d", Value::Texts(vec!["x".into(), String::new()])),
        ];
        let document = Document { id: "id".into(), digest: "d".into(), labels: ["l".into()].into(), fields };
        DocumentRecord { document, changed_ms: u64::MAX, bytes: 300, chunks: 7, rows: vec![(1, 3), (9, 4)] }
    }

    #[test]
    fn a_row_reads_as_it_was_written() {
        let record = document();
        assert_eq!(DocumentRecord::from_bytes(&record.to_bytes()).unwrap(), record);
    }

    #[test]
    fn a_row_that_ends_too_early_is_an_error() {
        let bytes = document().to_bytes();
        for length in 0..bytes.len() {
            assert!(DocumentRecord::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn neighbouring_ids_are_one_run() {
        let mut runs = Vec::new();
        [4, 5, 6, 9, 10].into_iter().for_each(|id| push(&mut runs, id));
        assert_eq!(runs, [(4, 3), (9, 2)]);
        assert_eq!(ids(&runs).collect::<Vec<_>>(), [4, 5, 6, 9, 10]);
    }
}
