//! Between what guests say and what the store takes. How long things may be is checked by the store.

use policy::Label;
use store::vector as back;

use super::super::stores::error;
use crate::bindings::tessera::store::types::{Error, ErrorCode};
use crate::bindings::tessera::vector::vector::{
    Chunk, Collection, Condition, Document, Field, Filter, Hit, Piece, Query, Stored, Test, Value,
};

pub(super) fn document(document: Document) -> Result<back::Document, Error> {
    let Document { id, digest, labels, fields } = document;
    let invalid = |cause: policy::LabelError| error(ErrorCode::InvalidInput, &cause.to_string());
    let label = |label: String| label.parse::<Label>().map(String::from).map_err(invalid);
    let labels = labels.into_iter().map(label).collect::<Result<_, _>>()?;
    Ok(back::Document { id, digest, labels, fields: fields.into_iter().map(field).collect() })
}

pub(super) fn chunk(chunk: Chunk) -> back::Chunk {
    let Chunk { text, vector, token_vectors, fields } = chunk;
    back::Chunk { text, vector, token_vectors, fields: fields.into_iter().map(field).collect() }
}

fn field(field: Field) -> back::Field {
    back::Field { name: field.name, value: value(field.value) }
}

fn value(value: Value) -> back::Value {
    match value {
        Value::Text(text) => back::Value::Text(text),
        Value::Number(number) => back::Value::Number(number),
        Value::Truth(truth) => back::Value::Truth(truth),
        Value::Texts(texts) => back::Value::Texts(texts),
    }
}

/// All but the embedder, which the host looks up.
pub(super) fn query(query: Query) -> back::Query {
    let Query { vector, embedder: _, text, token_vectors, filter, k, candidates, similarity_min, relevance } = query;
    let number = |number| usize::try_from(number).unwrap_or(usize::MAX);
    back::Query {
        vector,
        embedder: None,
        text,
        token_vectors,
        filter: self::filter(filter),
        k: number(k),
        candidates: candidates.map(number),
        similarity_min,
        relevance,
    }
}

pub(super) fn filter(filter: Filter) -> back::Filter {
    let all = |conditions: Vec<Condition>| conditions.into_iter().map(condition).collect();
    back::Filter { all: all(filter.all), any: all(filter.any), none: all(filter.none) }
}

fn condition(condition: Condition) -> back::Condition {
    let test = match condition.test {
        Test::Equals(other) => back::Test::Equals(value(other)),
        Test::OneOf(texts) => back::Test::OneOf(texts),
        Test::AtLeast(number) => back::Test::AtLeast(number),
        Test::AtMost(number) => back::Test::AtMost(number),
        Test::Present => back::Test::Present,
    };
    back::Condition { field: condition.field, test }
}

pub(super) fn stored(stored: back::Stored) -> Stored {
    let back::Stored { document, chunks, changed_ms } = stored;
    let back::Document { id, digest, labels, fields } = document;
    let fields = fields.into_iter().map(field_out).collect();
    Stored { document: Document { id, digest, labels: labels.into_iter().collect(), fields }, chunks, changed_ms }
}

pub(super) fn piece(piece: back::Piece) -> Piece {
    let back::Piece { document, index, text, fields } = piece;
    Piece { document, index, text, fields: fields.into_iter().map(field_out).collect() }
}

fn field_out(field: back::Field) -> Field {
    let value = match field.value {
        back::Value::Text(text) => Value::Text(text),
        back::Value::Number(number) => Value::Number(number),
        back::Value::Truth(truth) => Value::Truth(truth),
        back::Value::Texts(texts) => Value::Texts(texts),
    };
    Field { name: field.name, value }
}

pub(super) fn hit(hit: back::Hit) -> Hit {
    let back::Hit { piece, score, similarity, text_score, token_score } = hit;
    Hit { piece: self::piece(piece), score, similarity, text_score, token_score }
}

pub(super) fn collection(collection: back::Collection) -> Collection {
    let back::Collection { name, documents, chunks, dimensions, embedder, bytes, index } = collection;
    Collection {
        name: name.to_string(),
        documents,
        chunks,
        dimensions: u32::try_from(dimensions).unwrap_or(u32::MAX),
        embedder,
        bytes,
        index: index.into(),
    }
}
