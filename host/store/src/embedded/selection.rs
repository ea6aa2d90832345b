//! Which documents and chunks a reader may find and a filter lets through.

use std::sync::Arc;

use super::catalogue::{Catalogue, Entry, Fields, Row};
use super::record::ids;
use crate::vector::{Condition, Filter, Reader, Test, Value};

/// What is to be found at all, decided for documents beforehand.
#[derive(Clone)]
pub(super) struct Selection {
    catalogue: Arc<Catalogue>,
    filter: Arc<Filter>,
    /// By the documents' places; none if everything is to be found.
    verdicts: Option<Arc<[Verdict]>>,
    rows_max: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    No,
    Yes,
    /// It depends on the chunk.
    ByChunk,
}

impl Selection {
    pub(super) fn new(catalogue: Arc<Catalogue>, filter: Filter, reader: &Reader) -> Selection {
        let is_unfiltered = filter == Filter::default();
        if is_unfiltered && *reader == Reader::Everything {
            let rows_max = catalogue.rows_count();
            return Selection { catalogue, filter: Arc::default(), verdicts: None, rows_max };
        }
        let mut conditions = filter.all.iter().chain(&filter.any).chain(&filter.none);
        let is_by_chunk =
            conditions.any(|condition| !is_built_in(&condition.field) && catalogue.is_of_chunks(&condition.field));
        let mut rows_max = 0;
        let verdict = |entry: &Option<Entry>| {
            let Some(entry) = entry.as_ref().filter(|entry| reader.sees(&entry.labels)) else { return Verdict::No };
            let verdict = match is_by_chunk {
                true => Verdict::ByChunk,
                false if is_unfiltered || passes(&filter, entry, None) => Verdict::Yes,
                false => Verdict::No,
            };
            if verdict != Verdict::No {
                rows_max += entry.chunks as usize;
            }
            verdict
        };
        let verdicts = Some(catalogue.places().iter().map(verdict).collect());
        Selection { catalogue, filter: Arc::new(filter), verdicts, rows_max }
    }

    /// Whether all that is there is to be found.
    pub(super) fn is_everything(&self) -> bool {
        self.verdicts.is_none()
    }

    /// How many chunks there are to be found at most.
    pub(super) fn rows_max(&self) -> usize {
        self.rows_max
    }

    pub(super) fn has(&self, row: u64) -> bool {
        self.catalogue.row(row).is_some_and(|row| self.passes(row))
    }

    /// The ids of the chunks that are to be found.
    pub(super) fn rows(&self) -> impl Iterator<Item = u64> + '_ {
        let places = self.catalogue.places().iter().enumerate();
        let chosen = places.filter(|&(place, _)| self.verdict(place) != Verdict::No).filter_map(|(_, entry)| entry.as_ref());
        chosen.flat_map(|entry| ids(&entry.rows)).filter(|&row| self.has(row))
    }

    fn verdict(&self, place: usize) -> Verdict {
        self.verdicts.as_ref().map_or(Verdict::Yes, |verdicts| verdicts.get(place).copied().unwrap_or(Verdict::No))
    }

    fn passes(&self, row: &Row) -> bool {
        match self.verdict(row.document as usize) {
            Verdict::No => false,
            Verdict::Yes => true,
            Verdict::ByChunk => {
                let document = self.catalogue.document(row.document);
                document.is_some_and(|document| passes(&self.filter, document, Some(&row.fields)))
            }
        }
    }
}

/// Whether a document, or a chunk of it with these fields of its own, passes a filter.
pub(super) fn passes(filter: &Filter, document: &Entry, own: Option<&Fields>) -> bool {
    let holds = |condition: &Condition| holds(condition, document, own);
    filter.all.iter().all(holds) && (filter.any.is_empty() || filter.any.iter().any(holds)) && !filter.none.iter().any(holds)
}

fn is_built_in(field: &str) -> bool {
    matches!(field, "document" | "digest")
}

fn holds(condition: &Condition, document: &Entry, own: Option<&Fields>) -> bool {
    match condition.field.as_str() {
        "document" => text_holds(&condition.test, &document.id),
        "digest" => text_holds(&condition.test, &document.digest),
        name => {
            let of = |fields: &Fields| fields.iter().position(|(field, _)| &**field == name);
            let value = own.and_then(|own| of(own).map(|at| &own[at].1));
            let value = value.or_else(|| of(&document.fields).map(|at| &document.fields[at].1));
            value.is_some_and(|value| value_holds(&condition.test, value))
        }
    }
}

fn text_holds(test: &Test, text: &str) -> bool {
    match test {
        Test::Equals(Value::Text(wanted)) => wanted == text,
        Test::OneOf(wanted) => wanted.iter().any(|wanted| wanted == text),
        Test::Present => true,
        _ => false,
    }
}

fn value_holds(test: &Test, value: &Value) -> bool {
    match (test, value) {
        (Test::Present, _) => true,
        (test, Value::Text(text)) => text_holds(test, text),
        (Test::Equals(Value::Text(wanted)), Value::Texts(texts)) => texts.contains(wanted),
        (Test::Equals(wanted), value) => wanted == value,
        (Test::OneOf(wanted), Value::Texts(texts)) => texts.iter().any(|text| wanted.contains(text)),
        (Test::AtLeast(least), Value::Number(number)) => number >= least,
        (Test::AtMost(most), Value::Number(number)) => number <= most,
        _ => false,
    }
}
