//! What is in the indices: OPEA's list, and deleting.

use serde::{Deserialize, Serialize};
use tessera_sdk::store::ErrorCode;
use tessera_sdk::vector::{self, Filter, Stored};
use tessera_sdk::{Error, blob, store};

use crate::files;
use crate::form::index_name;
use crate::settings::Settings;

/// Documents that are listed, at most: a client that needs more asks index by index.
const ROWS_MAX: usize = 100_000;

const PAGE_MAX: u32 = 1000;

/// What `/v1/dataprep/get` is asked; nothing at all is everything.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct GetRequest {
    index_name: Option<String>,
}

/// What `/v1/dataprep/delete` is asked.
#[derive(Debug, Deserialize)]
pub(crate) struct DeleteRequest {
    file_path: String,
    index_name: Option<String>,
}

/// A document as OPEA lists it, and what else is known of it.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    name: String,
    id: String,
    r#type: &'static str,
    parent: &'static str,
    index_name: String,
    chunks: u32,
    changed_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
}

impl Row {
    fn new(index: &str, stored: Stored) -> Self {
        let text = |name: &str| {
            let field = stored.document.fields.iter().find(|field| field.name == name);
            field.and_then(|field| match &field.value {
                vector::Value::Text(text) => Some(text.clone()),
                _ => None,
            })
        };
        Self {
            title: text("title"),
            format: text("type"),
            name: stored.document.id.clone(),
            id: stored.document.id,
            r#type: "File",
            parent: "",
            index_name: index.to_owned(),
            chunks: stored.chunks,
            changed_ms: stored.changed_ms,
            labels: stored.document.labels,
        }
    }
}

/// The names of the indices.
///
/// # Errors
/// Those of the store.
pub(crate) async fn indices() -> Result<Vec<String>, store::Error> {
    Ok(vector::collections().await?.into_iter().map(|collection| collection.name).collect())
}

/// The documents of an index, or of all.
///
/// # Errors
/// Those of the store.
pub(crate) async fn rows(request: &GetRequest) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for index in scope(request.index_name.as_deref()).await? {
        for stored in documents(&index, ROWS_MAX - rows.len()).await? {
            rows.push(Row::new(&index, stored));
        }
    }
    Ok(rows)
}

/// The index of a name, or all that are there.
async fn scope(name: Option<&str>) -> Result<Vec<String>, Error> {
    match name.map(str::trim) {
        None | Some("" | "all") => Ok(indices().await?),
        Some(name) => Ok(vec![index_name(name)?]),
    }
}

async fn documents(index: &str, documents_max: usize) -> Result<Vec<Stored>, store::Error> {
    let mut documents: Vec<Stored> = Vec::new();
    while documents.len() < documents_max {
        let after = documents.last().map(|stored| stored.document.id.clone());
        let page = vector::documents(index, Filter::default(), after.as_deref(), PAGE_MAX).await?;
        let is_last = !page.has_more || page.documents.is_empty();
        documents.extend(page.documents);
        if is_last {
            break;
        }
    }
    documents.truncate(documents_max);
    Ok(documents)
}

/// Deletes a document with its file; or all, of an index or of every one.
///
/// # Errors
/// 404 if there is none; those of the store.
pub(crate) async fn delete(request: &DeleteRequest, settings: &Settings) -> Result<(), Error> {
    let path = request.file_path.trim();
    if path.is_empty() {
        return Err(Error::invalid("file_path", "is empty: name a document, or `all`"));
    }
    if path == "all" {
        for index in scope(request.index_name.as_deref()).await? {
            delete_all(&index).await?;
        }
        return Ok(());
    }
    let name = request.index_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let indices = match name {
        Some("all") => indices().await?,
        Some(name) => vec![index_name(name)?],
        None => vec![settings.collection.clone()],
    };
    let mut is_found = false;
    for index in &indices {
        for id in ids(path) {
            is_found |= delete_one(index, id).await?;
        }
    }
    let missing = || {
        let names = indices.join("`, `");
        Error::not_found(format!("there is no document `{path}` in the index `{names}`: see /v1/dataprep/get"))
    };
    if is_found { Ok(()) } else { Err(missing().with_param("file_path")) }
}

/// What a path may name: OPEA calls a link by its address with `.txt` behind it, and a file by its path.
fn ids(path: &str) -> Vec<&str> {
    let is_link = path.starts_with("http://") || path.starts_with("https://");
    let other = if is_link { path.strip_suffix(".txt") } else { path.rsplit_once('/').map(|(_, name)| name) };
    std::iter::once(path).chain(other).collect()
}

async fn delete_one(index: &str, id: &str) -> Result<bool, store::Error> {
    let Some(stored) = vector::stat(index, id).await? else { return Ok(false) };
    let is_deleted = vector::delete(index, id).await?;
    files::remove_unused(index, &stored.document.digest).await;
    Ok(is_deleted)
}

/// Deletes what the caller may find; the index itself if that is all there is in it.
async fn delete_all(index: &str) -> Result<(), store::Error> {
    match vector::delete_collection(index).await {
        Ok(_) => return delete_files(index).await,
        // There are documents in it that the caller does not see.
        Err(error) if error.code == ErrorCode::InvalidInput => {}
        Err(error) => return Err(error),
    }
    loop {
        let page = vector::documents(index, Filter::default(), None, PAGE_MAX).await?;
        if page.documents.is_empty() {
            return Ok(());
        }
        for stored in page.documents {
            delete_one(index, &stored.document.id).await?;
        }
    }
}

async fn delete_files(index: &str) -> Result<(), store::Error> {
    let prefix = format!("{index}/");
    loop {
        let page = blob::list(files::CONTAINER, &prefix, None, PAGE_MAX).await?;
        for file in &page.files {
            blob::delete(files::CONTAINER, &file.name).await?;
        }
        if page.files.is_empty() || !page.has_more {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tessera_sdk::vector::{Document, Field};

    use super::*;

    #[test]
    fn a_row_is_what_opea_lists() {
        let document = Document { fields: vec![Field::text("title", "T")], ..Document::new("a.txt") };
        let row = Row::new("i", Stored { document, chunks: 2, changed_ms: 7 });
        let expected = json!({
            "name": "a.txt", "id": "a.txt", "type": "File", "parent": "", "index_name": "i", "chunks": 2, "changed_ms": 7, "title": "T"
        });
        assert_eq!(serde_json::to_value(row).expect("JSON"), expected);
    }

    #[test]
    fn a_path_names_a_link_or_a_file() {
        assert_eq!(ids("https://a.example/.txt"), ["https://a.example/.txt", "https://a.example/"]);
        assert_eq!(ids("folder/a.txt"), ["folder/a.txt", "a.txt"]);
        assert_eq!(ids("a.txt"), ["a.txt"]);
    }
}
