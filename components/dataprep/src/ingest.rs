//! A file's way into the index: parsed, divided, embedded batch by batch, and stored at once.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tessera_sdk::embed::{self, Options, Prompt};
use tessera_sdk::handler::Closed;
use tessera_sdk::vector::{self, Document as Stored, Draft, Field, Value};
use tessera_sdk::{http, tokenize};

use crate::chunk::{self, Chunk, Measure};
use crate::document::Document;
use crate::files;
use crate::form::{Form, Source};
use crate::limits::{Budget, Limits, ParseError};
use crate::parse::{self, Format};
use crate::progress::{Observer, Step};
use crate::report::{FileError, FileReport, FileStatus};
use crate::settings::Settings;

/// Chunks that are embedded and written at once.
const BATCH: usize = 16;

/// Characters of a chunk where the request does not say it: tokens bound it, but for words that are none of the model's.
const CHUNK_CHARS_MAX: usize = 8000;

/// Redirects of a link that are followed, as far as the policy lets them.
const REDIRECTS_MAX: u32 = 3;

/// Time for the head of a link's answer.
const LINK_TIMEOUT: Duration = Duration::from_secs(30);

/// Changes with what parsing and dividing make of the same file, so that it is ingested again.
const PIPELINE: &str = "2";

/// How all files of a request are ingested.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) index: String,
    labels: Vec<String>,
    limits: Limits,
    chunks: chunk::Settings,
    /// None where no embedding model is loaded.
    embedder: Option<String>,
}

impl Plan {
    pub(crate) fn new(form: &Form, settings: &Settings) -> Self {
        let chars_max = form.chunk_size.unwrap_or(CHUNK_CHARS_MAX);
        let chunks = chunk::Settings {
            tokens_max: settings.chunk_tokens,
            overlap_tokens_max: settings.chunk_overlap_tokens,
            chars_max,
            overlap_chars_max: form.chunk_overlap.unwrap_or(chars_max / 2),
            chunks_max: settings.limits.chunks_max,
        };
        Self {
            index: form.index.clone().unwrap_or_else(|| settings.collection.clone()),
            labels: form.labels.clone(),
            limits: settings.limits.clone(),
            chunks,
            embedder: settings.embedder.clone().or_else(|| embed::models().into_iter().next()),
        }
    }

    /// Tells this content, ingested in this way, from all others.
    fn digest(&self, bytes: &[u8]) -> String {
        let chunks = &self.chunks;
        let embedder = self.embedder.as_deref().unwrap_or_default();
        let settings = format!(
            "{PIPELINE} {} {} {} {} {embedder} {:?}",
            chunks.tokens_max, chunks.overlap_tokens_max, chunks.chars_max, chunks.overlap_chars_max, self.labels
        );
        let hash = Sha256::new().chain_update(Sha256::digest(bytes)).chain_update(settings).finalize();
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Ingests one after the other; each ends well or not by itself.
///
/// # Errors
/// [`Closed`] if the client that listened went away. What was finished is stored.
pub(crate) async fn all(plan: &Plan, sources: Vec<Source>, observer: &mut Observer) -> Result<Vec<FileReport>, Closed> {
    let of = sources.len();
    let mut reports = Vec::with_capacity(of);
    for (number, source) in (1..).zip(sources) {
        let name = source.name().to_owned();
        observer.tell(Step::Started { file: &name, number, of }).await?;
        let report = match one(plan, source, observer).await {
            Ok(report) => report,
            Err(Stop::Failed(error)) => FileReport::failed(&name, error),
            Err(Stop::Closed) => return Err(Closed),
        };
        observer.tell(Step::Finished { file: &name, report: &report }).await?;
        reports.push(report);
    }
    Ok(reports)
}

/// Why one is not stored.
enum Stop {
    Failed(FileError),
    Closed,
}

impl<E: Into<FileError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

/// A file with its bytes, wherever they came from.
struct Content {
    /// Its id.
    name: String,
    /// What tells its format.
    path: String,
    content_type: Option<String>,
    bytes: Vec<u8>,
    is_link: bool,
}

async fn one(plan: &Plan, source: Source, observer: &mut Observer) -> Result<FileReport, Stop> {
    let content = content(source, plan.limits.file_bytes_max).await?;
    let digest = plan.digest(&content.bytes);
    let before = vector::stat(&plan.index, &content.name).await?;
    let mut report = FileReport {
        name: content.name.clone(),
        status: FileStatus::Unchanged,
        format: None,
        chunks: 0,
        pages: 0,
        same_as: None,
        error: None,
    };
    if let Some(before) = before.as_ref().filter(|before| before.document.digest == digest) {
        report.chunks = before.chunks;
        return Ok(report);
    }
    if before.is_none()
        && let Some(same) = with_digest(&plan.index, &digest).await?
    {
        return Ok(FileReport { status: FileStatus::Duplicate, same_as: Some(same), ..report });
    }
    let source = parse::Source { name: &content.path, content_type: content.content_type.as_deref(), bytes: &content.bytes };
    let (format, document) = parse::parse(source, &plan.limits)?;
    report.format = Some(format.name().to_owned());
    report.pages = document.pages;
    let characters = document.text.chars().count();
    observer
        .tell(Step::Parsed { file: &content.name, format: format.name(), pages: document.pages, characters })
        .await
        .map_err(closed)?;
    let mut tokens = Tokens { model: plan.embedder.as_deref() };
    let chunks = chunk::chunk(&document, &plan.chunks, &mut tokens, &mut Budget::new(plan.limits.clone())).await?;
    let draft = write(plan, &content, &digest, (format, &document), &chunks, observer).await?;
    // The file is there before the document that names it, and goes behind it.
    files::put(&plan.index, &digest, format, content.bytes, document.text).await?;
    let stored = match draft.commit().await {
        Ok(stored) => stored,
        Err(error) => {
            files::remove_unused(&plan.index, &digest).await;
            return Err(error.into());
        }
    };
    if let Some(before) = before {
        files::remove_unused(&plan.index, &before.document.digest).await;
    }
    Ok(FileReport { status: FileStatus::Stored, chunks: stored.chunks, ..report })
}

fn closed(_: Closed) -> Stop {
    Stop::Closed
}

async fn content(source: Source, bytes_max: usize) -> Result<Content, FileError> {
    let too_long = || ParseError::TooLong { what: "content", max: bytes_max as u64, unit: "bytes" };
    match source {
        Source::File(upload) => Ok(Content {
            path: upload.name.clone(),
            name: upload.name,
            content_type: upload.content_type,
            bytes: upload.bytes.ok_or_else(too_long)?,
            is_link: false,
        }),
        Source::Link(link) => {
            let answer = http::get(&link).header("accept", "text/html, */*;q=0.8").redirects_max(REDIRECTS_MAX);
            let answer = answer.timeout(LINK_TIMEOUT).send().await?;
            if !(200..300).contains(&answer.status()) {
                let message = format!("the link was answered {}", answer.status());
                return Err(FileError { code: "link_failed".into(), message, status: 502 });
            }
            let content_type = answer.header("content-type").map(str::to_owned);
            let path = link_path(answer.url()).to_owned();
            let mut body = answer.into_body();
            let mut bytes = Vec::new();
            while let Some(chunk) = body.chunk().await.map_err(http::Error::from)? {
                if chunk.len() > bytes_max - bytes.len() {
                    return Err(too_long().into());
                }
                bytes.extend(chunk);
            }
            Ok(Content { name: link, path, content_type, bytes, is_link: true })
        }
    }
}

/// The last part of a link's path, which may have an extension; nothing where that is a program's, as `.php`.
fn link_path(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let (_, name) = path.split_once('/').unwrap_or((path, ""));
    name.rsplit('/').next().unwrap_or_default()
}

/// A document of the same content in the index, that the caller may find.
async fn with_digest(index: &str, digest: &str) -> Result<Option<String>, tessera_sdk::store::Error> {
    let page = vector::documents(index, files::of_digest(digest), None, 1).await?;
    Ok(page.documents.into_iter().next().map(|stored| stored.document.id))
}

/// Counts the embedder's tokens.
struct Tokens<'m> {
    model: Option<&'m str>,
}

impl Measure for Tokens<'_> {
    type Error = FileError;

    async fn tokens(&mut self, text: &str) -> Result<u32, FileError> {
        Ok(tokenize::count(text, self.model).await?)
    }
}

/// Embeds the chunks and writes them, batch by batch. Nobody finds any of them before the draft is committed.
async fn write(
    plan: &Plan,
    content: &Content,
    digest: &str,
    (format, document): (Format, &Document),
    chunks: &[Chunk],
    observer: &mut Observer,
) -> Result<Draft, Stop> {
    let stored = Stored {
        id: content.name.clone(),
        digest: digest.to_owned(),
        labels: plan.labels.clone(),
        fields: document_fields(content, format, document),
    };
    let draft = vector::begin(&plan.index, stored, plan.embedder.as_deref()).await?;
    let options = Options { model: plan.embedder.clone(), prompt: Prompt::Document, truncate: true, ..Options::default() };
    for (number, batch) in chunks.chunks(BATCH).enumerate() {
        let texts: Vec<String> = batch.iter().map(|chunk| chunk.under_headings()).collect();
        let embeddings = embed::embed_tokens(texts.iter().map(String::as_str), options.clone()).await?;
        let vectors = embeddings.vectors().zip(embeddings.token_vectors());
        let rows = texts.into_iter().zip(batch).zip(vectors).map(|((text, chunk), (vector, token_vectors))| vector::Chunk {
            text,
            vector: vector.to_vec(),
            token_vectors: token_vectors.to_vec(),
            fields: chunk_fields(chunk),
        });
        draft.append(rows.collect()).await?;
        let done = number * BATCH + batch.len();
        observer.tell(Step::Embedded { file: &content.name, chunks: done, of: chunks.len() }).await.map_err(closed)?;
    }
    Ok(draft)
}

fn document_fields(content: &Content, format: Format, document: &Document) -> Vec<Field> {
    let mut fields = vec![
        Field::text("name", content.name.as_str()),
        Field::text("type", format.name()),
        Field::text("source", if content.is_link { "link" } else { "file" }),
    ];
    fields.extend(document.title.as_deref().map(|title| Field::text("title", title)));
    if document.pages > 0 {
        fields.push(Field::number("pages", document.pages));
    }
    fields
}

fn chunk_fields(chunk: &Chunk) -> Vec<Field> {
    let mut fields = vec![Field::number("start", chunk.start as f64), Field::number("end", chunk.end as f64)];
    if !chunk.heading.is_empty() {
        let heading = chunk.heading.iter().map(|heading| heading.as_ref().to_owned()).collect();
        fields.push(Field { name: "heading".into(), value: Value::Texts(heading) });
    }
    if !chunk.path.is_empty() {
        fields.push(Field::number("path_bytes", chunk.path.len() as f64));
    }
    fields.extend(chunk.place.page.map(|page| Field::number("page", page)));
    fields.extend(chunk.place.slide.map(|slide| Field::number("slide", slide)));
    fields.extend(chunk.place.sheet.as_deref().map(|sheet| Field::text("sheet", sheet)));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let chunks = chunk::Settings {
            tokens_max: 160,
            overlap_tokens_max: 32,
            chars_max: 1500,
            overlap_chars_max: 100,
            chunks_max: 10,
        };
        Plan { index: "i".into(), labels: Vec::new(), limits: Limits::default(), chunks, embedder: Some("m".into()) }
    }

    #[test]
    fn a_digest_is_of_the_content_and_of_how_it_is_ingested() {
        let digest = plan().digest(b"text");
        assert_eq!(digest.len(), 64);
        assert_eq!(digest, plan().digest(b"text"));
        assert_ne!(digest, plan().digest(b"texts"));
        assert_ne!(digest, Plan { labels: vec!["a".into()], ..plan() }.digest(b"text"));
        assert_ne!(digest, Plan { embedder: None, ..plan() }.digest(b"text"));
        let chunks = chunk::Settings { tokens_max: 100, ..plan().chunks };
        assert_ne!(digest, Plan { chunks, ..plan() }.digest(b"text"));
    }

    #[test]
    fn a_links_path_may_tell_its_format() {
        assert_eq!(link_path("https://a.example/b/c.pdf?x=1#y.txt"), "c.pdf");
        assert_eq!(link_path("https://a.example"), "");
        assert_eq!(link_path("https://a.example/docs/"), "");
    }
}
