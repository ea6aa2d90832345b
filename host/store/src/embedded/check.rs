//! What may be asked for. Everything here comes from guests.

use std::collections::BTreeSet;

use crate::kv::KEY_BYTES_MAX;
use crate::vector::{Chunk, Condition, Document, Field, Filter, Query, ROWS_MAX, Test, Value};
use crate::{Result, StoreError};

/// Longest id of a document and longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 512;
/// Longest digest and embedder, in bytes.
const MARK_BYTES_MAX: usize = 512;
/// Longest media type, in bytes.
const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// Longest name of a field, in bytes.
const FIELD_NAME_BYTES_MAX: usize = 64;
/// Most fields of a document or chunk.
const FIELDS_MAX: usize = 64;
/// Most bytes of all fields together.
const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Most labels of a document.
const LABELS_MAX: usize = 256;
/// Longest label, in bytes.
const LABEL_BYTES_MAX: usize = 256;
/// Longest text of a chunk, in bytes.
const CHUNK_BYTES_MAX: usize = 64 << 10;
/// Most chunks of one call.
const CHUNKS_MAX: usize = 4096;
/// Most dimensions of a vector.
const DIMENSIONS_MAX: usize = 8192;
/// Most tokens of a chunk or a query that have vectors.
const TOKENS_MAX: usize = 8192;
/// Longest text of a query, in bytes.
const QUERY_BYTES_MAX: usize = 32 << 10;
/// Most conditions of a filter, all kinds together, and most texts of one.
const CONDITIONS_MAX: usize = 256;
/// Most candidates of a search.
pub(super) const CANDIDATES_MAX: usize = 4096;

fn invalid<T>(text: impl Into<String>) -> Result<T> {
    Err(StoreError::Invalid(text.into()))
}

fn length(what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() > bytes_max {
        return invalid(format!("`{what}` has {} bytes: {bytes_max} at most", text.len()));
    }
    Ok(())
}

pub(super) fn name(what: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return invalid(format!("`{what}` has {} bytes: 1 to {NAME_BYTES_MAX}", name.len()));
    }
    Ok(())
}

pub(super) fn key(key: &str) -> Result<()> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return invalid(format!("`key` has {} bytes: 1 to {KEY_BYTES_MAX}", key.len()));
    }
    Ok(())
}

pub(super) fn content_type(content_type: &str) -> Result<()> {
    length("content-type", content_type, CONTENT_TYPE_BYTES_MAX)
}

/// How many rows of a page are asked for.
pub(super) fn page(what: &str, count: usize, max: usize) -> Result<()> {
    if count == 0 || count > max {
        return invalid(format!("`{what}` is {count}: 1 to {max}"));
    }
    Ok(())
}

pub(super) fn document(document: &Document, embedder: Option<&str>) -> Result<()> {
    name("document.id", &document.id)?;
    length("document.digest", &document.digest, MARK_BYTES_MAX)?;
    length("embedder", embedder.unwrap_or_default(), MARK_BYTES_MAX)?;
    if document.labels.len() > LABELS_MAX {
        return invalid(format!("a document has {} labels: {LABELS_MAX} at most", document.labels.len()));
    }
    document.labels.iter().try_for_each(|label| length("label", label, LABEL_BYTES_MAX))?;
    fields(&document.fields)
}

fn fields(fields: &[Field]) -> Result<()> {
    if fields.len() > FIELDS_MAX {
        return invalid(format!("there are {} fields: {FIELDS_MAX} at most", fields.len()));
    }
    let mut names = BTreeSet::new();
    let mut bytes = 0;
    for Field { name, value } in fields {
        if name.is_empty() || name.len() > FIELD_NAME_BYTES_MAX {
            return invalid(format!("a field's name has {} bytes: 1 to {FIELD_NAME_BYTES_MAX}", name.len()));
        }
        if !names.insert(name) {
            return invalid(format!("field `{name}` is there twice: name each once"));
        }
        bytes += name.len() + value_bytes(value);
        if matches!(value, Value::Number(number) if !number.is_finite()) {
            return invalid(format!("field `{name}` is no number: it has to be finite"));
        }
    }
    if bytes > FIELDS_BYTES_MAX {
        return invalid(format!("the fields have {bytes} bytes: {FIELDS_BYTES_MAX} at most"));
    }
    Ok(())
}

/// Bytes of all fields together.
pub(super) fn fields_bytes(fields: &[Field]) -> usize {
    fields.iter().map(|field| field.name.len() + value_bytes(&field.value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Texts(texts) => texts.iter().map(|text| text.len() + 8).sum(),
        Value::Number(_) | Value::Truth(_) => 8,
    }
}

/// Checks chunks; `dimensions` is the length that vectors have to have, none as long as that is open, and becomes it.
pub(super) fn chunks(chunks: &[Chunk], dimensions: &mut Option<usize>) -> Result<()> {
    if chunks.len() > CHUNKS_MAX {
        return invalid(format!("`chunks` are {}: append {CHUNKS_MAX} at most at a time", chunks.len()));
    }
    for chunk in chunks {
        length("chunk.text", &chunk.text, CHUNK_BYTES_MAX)?;
        fields(&chunk.fields)?;
        if chunk.text.is_empty() && chunk.vector.is_empty() {
            return invalid("a chunk has neither text nor vector: nobody could find it");
        }
        if !chunk.vector.is_empty() {
            vector("chunk.vector", &chunk.vector, *dimensions)?;
            *dimensions = Some(chunk.vector.len());
        }
        tokens("chunk.token-vectors", &chunk.token_vectors, *dimensions)?;
    }
    Ok(())
}

fn vector(what: &str, vector: &[f32], dimensions: Option<usize>) -> Result<()> {
    if vector.is_empty() || vector.len() > DIMENSIONS_MAX {
        return invalid(format!("`{what}` has {} numbers: 1 to {DIMENSIONS_MAX}", vector.len()));
    }
    if let Some(dimensions) = dimensions.filter(|&dimensions| dimensions != vector.len()) {
        let length = vector.len();
        return invalid(format!(
            "`{what}` has {length} numbers, the collection's vectors have {dimensions}: use the same model"
        ));
    }
    let square: f64 = vector.iter().map(|&number| f64::from(number).powi(2)).sum();
    if !square.is_finite() {
        return invalid(format!("`{what}` has a number that is not finite"));
    }
    if square < f64::from(f32::MIN_POSITIVE) {
        return invalid(format!("`{what}` is zero: it has no direction"));
    }
    Ok(())
}

fn tokens(what: &str, vectors: &[f32], dimensions: Option<usize>) -> Result<()> {
    if vectors.is_empty() {
        return Ok(());
    }
    let Some(dimensions) = dimensions else {
        return invalid(format!("`{what}` is there without `vector`: it is as long as that for each token"));
    };
    if !vectors.len().is_multiple_of(dimensions) || vectors.len() / dimensions > TOKENS_MAX {
        let length = vectors.len();
        return invalid(format!("`{what}` has {length} numbers: {dimensions} for each token, {TOKENS_MAX} tokens at most"));
    }
    if vectors.iter().any(|number| !number.is_finite()) {
        return invalid(format!("`{what}` has a number that is not finite"));
    }
    Ok(())
}

/// Checks a query, but for what has to fit a collection.
pub(super) fn query(query: &Query) -> Result<()> {
    page("k", query.k, ROWS_MAX)?;
    if query.candidates.is_some_and(|count| count > CANDIDATES_MAX) {
        return invalid(format!("`candidates` is more than {CANDIDATES_MAX}"));
    }
    if query.vector.is_none() && query.text.is_none() {
        return invalid("a query needs `vector` or `text`");
    }
    length("text", query.text.as_deref().unwrap_or_default(), QUERY_BYTES_MAX)?;
    length("embedder", query.embedder.as_deref().unwrap_or_default(), MARK_BYTES_MAX)?;
    if let Some(numbers) = &query.vector {
        vector("vector", numbers, None)?;
    }
    let is_similarity = |similarity: &f32| (-1.0..=1.0).contains(similarity);
    if query.similarity_min.is_some_and(|similarity| !is_similarity(&similarity)) {
        return invalid("`similarity-min` is a cosine: -1 to 1");
    }
    if query.relevance.is_some_and(|relevance| !(0.0..=1.0).contains(&relevance)) {
        return invalid("`relevance` is 0 to 1");
    }
    if query.vector.is_none() && (query.similarity_min.is_some() || query.relevance.is_some()) {
        return invalid("`similarity-min` and `relevance` need a `vector` to compare with");
    }
    filter(&query.filter)
}

/// Checks what a query has to have in common with a collection's chunks.
pub(super) fn query_fits(query: &Query, dimensions: usize, embedder: &str) -> Result<()> {
    same_embedder(query.embedder.as_deref(), embedder)?;
    let dimensions = Some(dimensions).filter(|&dimensions| dimensions > 0);
    if let Some(numbers) = &query.vector {
        vector("vector", numbers, dimensions)?;
    }
    match dimensions {
        Some(_) => tokens("token-vectors", &query.token_vectors, dimensions),
        None => Ok(()),
    }
}

pub(super) fn same_embedder(mine: Option<&str>, theirs: &str) -> Result<()> {
    match mine {
        Some(mine) if !theirs.is_empty() && mine != theirs => invalid(format!(
            "the collection's vectors are made by `{theirs}`, not by `{mine}`: use that, or another collection"
        )),
        _ => Ok(()),
    }
}

/// Whether vectors are as long as the collection's; 0 as long as that has none.
pub(super) fn same_dimensions(mine: Option<usize>, theirs: usize) -> Result<()> {
    match mine {
        Some(mine) if theirs > 0 && mine != theirs => {
            invalid(format!("the vectors have {mine} numbers, the collection's have {theirs}: use the same model"))
        }
        _ => Ok(()),
    }
}

pub(super) fn filter(filter: &Filter) -> Result<()> {
    let conditions = || filter.all.iter().chain(&filter.any).chain(&filter.none);
    if conditions().count() > CONDITIONS_MAX {
        return invalid(format!("a filter has more than {CONDITIONS_MAX} conditions"));
    }
    for Condition { field, test } in conditions() {
        length("condition.field", field, FIELD_NAME_BYTES_MAX)?;
        let (bytes, texts) = match test {
            Test::Equals(value @ Value::Texts(texts)) => (value_bytes(value), texts.len()),
            Test::Equals(value) => (value_bytes(value), 1),
            Test::OneOf(texts) => (texts.iter().map(String::len).sum(), texts.len()),
            Test::AtLeast(number) | Test::AtMost(number) if number.is_nan() => {
                return invalid(format!("the condition on `{field}` compares with what is no number"));
            }
            _ => (0, 0),
        };
        if bytes > FIELDS_BYTES_MAX || texts > CONDITIONS_MAX * 4 {
            return invalid(format!("the condition on `{field}` is too long: {FIELDS_BYTES_MAX} bytes at most"));
        }
    }
    Ok(())
}
