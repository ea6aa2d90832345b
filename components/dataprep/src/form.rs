//! What a client sends to be ingested: OPEA's form, and ours.

use serde::Deserialize;
use tessera_sdk::Error;

use crate::multipart::{Chunks, Head, Multipart};
use crate::settings::Settings;

/// Longest text of a field, in bytes.
const FIELD_BYTES_MAX: usize = 256 << 10;

/// Longest link, which is the id of its document, in bytes.
const LINK_BYTES_MAX: usize = 512;

/// Longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Most labels of a request, and the longest, as the host has it for those of a caller.
const LABELS_MAX: usize = 32;
const LABEL_BYTES_MAX: usize = 64;

/// Characters that a chunk may have at most, as OPEA's `chunk_size` says it.
const CHUNK_SIZES: std::ops::RangeInclusive<usize> = 20..=16_000;

/// What one request wants ingested.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) sources: Vec<Source>,
    pub(crate) index: Option<String>,
    /// Callers with one of these find the documents; none is everybody of the tenant.
    pub(crate) labels: Vec<String>,
    /// Characters of a chunk, and of what two share.
    pub(crate) chunk_size: Option<usize>,
    pub(crate) chunk_overlap: Option<usize>,
    /// Answer at once, and work on behind the answer.
    pub(crate) is_async: bool,
}

/// One thing to be ingested.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Source {
    File(Upload),
    Link(String),
}

/// A file as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
    /// None if it was longer than a file may be.
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Source {
    /// Its name, which is the id of its document.
    pub(crate) fn name(&self) -> &str {
        match self {
            Source::File(upload) => &upload.name,
            Source::Link(link) => link,
        }
    }
}

impl Form {
    /// Reads a form. Fields nobody knows here are ignored, as `process_table` and `table_strategy`: tables are always read.
    ///
    /// # Errors
    /// It is malformed, or a field does not fit; the error names the field.
    pub(crate) async fn read<C: Chunks>(mut parts: Multipart<C>, settings: &Settings) -> Result<Self, Error> {
        let mut form = Form::default();
        while let Some(head) = parts.next_part().await? {
            match head.name.as_str() {
                "files" | "file" => {
                    let upload = upload(head, &mut parts, settings.limits.file_bytes_max).await?;
                    form.add(Source::File(upload), settings)?;
                }
                "link_list" => {
                    for link in links(&field(&head, &mut parts).await?)? {
                        form.add(Source::Link(link), settings)?;
                    }
                }
                "index_name" => form.index = Some(index_name(&field(&head, &mut parts).await?)?),
                "labels" => form.labels = labels(&field(&head, &mut parts).await?)?,
                "chunk_size" => form.chunk_size = Some(number(&head, &mut parts).await?),
                "chunk_overlap" => form.chunk_overlap = Some(number(&head, &mut parts).await?),
                "async" => form.is_async = matches!(field(&head, &mut parts).await?.trim(), "true" | "1" | "on"),
                _ => {}
            }
        }
        form.check()
    }

    fn add(&mut self, source: Source, settings: &Settings) -> Result<(), Error> {
        if self.sources.len() >= settings.files_max {
            let message = format!("there are more than {} files and links: send them in several requests", settings.files_max);
            return Err(Error::new(413, "too_many_files", message).with_param("files"));
        }
        // Of two of one name the last one counts, as it would in two requests.
        self.sources.retain(|other| other.name() != source.name());
        self.sources.push(source);
        Ok(())
    }

    fn check(self) -> Result<Self, Error> {
        if self.sources.is_empty() {
            let message = "there is nothing to ingest: send `files`, or `link_list` with a JSON list of links";
            return Err(Error::new(400, "missing_required_parameter", message).with_param("files"));
        }
        if self.chunk_size.is_some_and(|size| !CHUNK_SIZES.contains(&size)) {
            let message = format!("`chunk_size` must be {} to {} characters", CHUNK_SIZES.start(), CHUNK_SIZES.end());
            return Err(Error::bad_request(message).with_param("chunk_size"));
        }
        if self.chunk_overlap.zip(self.chunk_size).is_some_and(|(overlap, size)| overlap >= size) {
            return Err(Error::invalid("chunk_overlap", "must be less than `chunk_size`"));
        }
        Ok(self)
    }
}

async fn upload<C: Chunks>(head: Head, parts: &mut Multipart<C>, bytes_max: usize) -> Result<Upload, Error> {
    let Some(name) = head.file_name.as_deref().map(file_name) else {
        return Err(Error::invalid("files", "must be files with names"));
    };
    let name = name?;
    let mut bytes = Some(Vec::new());
    while let Some(data) = parts.data().await? {
        bytes = bytes.filter(|bytes| data.len() <= bytes_max - bytes.len());
        if let Some(bytes) = &mut bytes {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(Upload { name, content_type: head.content_type, bytes })
}

/// A file's name without folders.
fn file_name(path: &str) -> Result<String, Error> {
    let name: String = path.rsplit(['/', '\\']).next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    if name.is_empty() || name == "." || name == ".." || name == "all" || name.len() > NAME_BYTES_MAX {
        let message = format!("a file must have a name of 1 to {NAME_BYTES_MAX} bytes, which is not `all`");
        return Err(Error::bad_request(message).with_param("files"));
    }
    Ok(name.to_owned())
}

async fn field<C: Chunks>(head: &Head, parts: &mut Multipart<C>) -> Result<String, Error> {
    let mut bytes = Vec::new();
    while let Some(data) = parts.data().await? {
        if data.len() > FIELD_BYTES_MAX - bytes.len() {
            let message = format!("`{}` is longer than {FIELD_BYTES_MAX} bytes", head.name);
            return Err(Error::new(413, "body_too_large", message).with_param(head.name.as_str()));
        }
        bytes.extend(data);
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(&head.name, "is not UTF-8"))
}

async fn number<C: Chunks>(head: &Head, parts: &mut Multipart<C>) -> Result<usize, Error> {
    let text = field(head, parts).await?;
    let misfit = |_| Error::invalid(&head.name, "must be a number of characters");
    text.trim().parse().map_err(misfit)
}

/// One text, or a list of texts, as JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn links(text: &str) -> Result<Vec<String>, Error> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let misfit = |what: &str| Error::invalid("link_list", &format!("must be a JSON list of links: {what}"));
    let links = match serde_json::from_str(text) {
        Ok(OneOrMany::Many(links)) => links,
        Ok(OneOrMany::One(link)) => vec![link],
        Err(_) => return Err(misfit("[\"https://example.com/\"]")),
    };
    for link in &links {
        let is_web = link.starts_with("http://") || link.starts_with("https://");
        if !is_web || link.len() > LINK_BYTES_MAX || link.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(misfit(&format!("each begins with http:// or https:// and has at most {LINK_BYTES_MAX} bytes")));
        }
    }
    Ok(links)
}

/// A JSON list of labels, or labels with commas between them.
fn labels(text: &str) -> Result<Vec<String>, Error> {
    let misfit = || {
        let what = format!("1 to {LABEL_BYTES_MAX} of the characters a-z A-Z 0-9 . _ : - /");
        let message =
            format!("`labels` must be a JSON list of at most {LABELS_MAX} labels, or these with commas, each of {what}");
        Error::bad_request(message).with_param("labels")
    };
    let text = text.trim();
    let mut labels: Vec<String> = match serde_json::from_str(text) {
        Ok(OneOrMany::Many(labels)) => labels,
        Ok(OneOrMany::One(label)) => vec![label],
        // What was meant as JSON is no label that anybody has.
        Err(_) if text.starts_with('[') || text == "null" => return Err(misfit()),
        Err(_) => text.split(',').map(str::to_owned).filter(|label| !label.trim().is_empty()).collect(),
    };
    labels = labels.iter().map(|label| label.trim().to_owned()).collect();
    labels.sort();
    labels.dedup();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-/".contains(&byte);
    let is_label = |label: &String| (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(is_allowed);
    // Nobody could find, replace or delete what has a label that no caller can have.
    if labels.len() > LABELS_MAX || !labels.iter().all(is_label) {
        return Err(misfit());
    }
    Ok(labels)
}

/// The name of one index.
///
/// # Errors
/// 400 for one that cannot be.
pub(crate) fn index_name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || name.len() > 64 || !name.chars().all(is_plain) || name == "all" {
        let message = "`index_name` must be 1 to 64 letters, digits, dots, dashes and underscores, begin with one of the first two \
            and not be `all`";
        return Err(Error::bad_request(message).with_param("index_name"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use tessera_sdk::Body;

    use super::*;

    fn read(parts: &[(&str, &str)]) -> Result<Form, Error> {
        let mut body = String::new();
        for (head, value) in parts {
            body.push_str(&format!("--B\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n"));
        }
        body.push_str("--B--\r\n");
        let limits = crate::limits::Limits { file_bytes_max: 10, ..Default::default() };
        let settings = Settings {
            collection: "documents".into(),
            embedder: None,
            chunk_tokens: 160,
            chunk_overlap_tokens: 32,
            files_max: 3,
            limits,
        };
        let parts = Multipart::new("multipart/form-data; boundary=B", Body::from(body))?;
        block_on(Form::read(parts, &settings))
    }

    const FILE: (&str, &str) = ("name=\"files\"; filename=\"a.txt\"", "text");

    #[test]
    fn opeas_form_is_taken() {
        let form = read(&[
            FILE,
            ("name=\"files\"; filename=\"b/c.md\"", "longer than ten"),
            ("name=link_list", "[\"https://a.example/\"]"),
            ("name=chunk_size", "1500"),
            ("name=chunk_overlap", "100"),
            ("name=process_table", "false"),
            ("name=index_name", "rag_redis_test"),
            ("name=labels", "b, a"),
        ])
        .expect("fits");
        let upload = |name: &str, bytes: Option<&str>| {
            Source::File(Upload { name: name.into(), content_type: None, bytes: bytes.map(|text| text.as_bytes().to_vec()) })
        };
        let link = Source::Link("https://a.example/".into());
        assert_eq!(form.sources, [upload("a.txt", Some("text")), upload("c.md", None), link]);
        assert_eq!(
            (form.chunk_size, form.chunk_overlap, form.index.as_deref()),
            (Some(1500), Some(100), Some("rag_redis_test"))
        );
        assert_eq!(form.labels, ["a", "b"]);
    }

    #[test]
    fn what_does_not_fit_names_its_field() {
        for (parts, param) in [
            (vec![], "files"),
            (vec![("name=files", "no file")], "files"),
            (vec![("name=files; filename=\"..\"", "x")], "files"),
            (
                vec![
                    ("name=files; filename=\"a\"", "x"),
                    ("name=files; filename=\"b\"", "x"),
                    ("name=files; filename=\"c\"", "x"),
                    FILE,
                ],
                "files",
            ),
            (vec![FILE, ("name=chunk_size", "5")], "chunk_size"),
            (vec![FILE, ("name=chunk_size", "many")], "chunk_size"),
            (vec![FILE, ("name=chunk_size", "100"), ("name=chunk_overlap", "100")], "chunk_overlap"),
            (vec![FILE, ("name=index_name", "a/b")], "index_name"),
            (vec![FILE, ("name=index_name", "all")], "index_name"),
            (vec![("name=link_list", "https://a.example")], "link_list"),
            (vec![("name=link_list", "[\"file:///etc/passwd\"]")], "link_list"),
        ] {
            let error = read(&parts).expect_err(param);
            assert_eq!(error.param(), Some(param), "{error}");
        }
    }

    #[test]
    fn labels_are_those_that_a_caller_can_have() {
        let long = "a".repeat(64);
        for (text, expected) in [
            ("hr, /groups/a ,,hr", vec!["/groups/a", "hr"]),
            (r#"["hr", "a:b"]"#, vec!["a:b", "hr"]),
            ("\"hr\"", vec!["hr"]),
            ("[]", vec![]),
            ("", vec![]),
            (&long, vec![long.as_str()]),
        ] {
            assert_eq!(labels(text).expect(text), expected);
        }
        for text in ["Human Resources", "[\"hr\",]", "[\"\"]", "null", "{\"a\": 1}", "ä", &"a".repeat(65)] {
            assert_eq!(labels(text).expect_err(text).param(), Some("labels"));
        }
    }

    #[test]
    fn of_two_files_of_one_name_the_last_counts() {
        let form = read(&[FILE, ("name=files; filename=a.txt", "new")]).expect("fits");
        assert_eq!(form.sources.len(), 1);
        assert!(matches!(&form.sources[0], Source::File(upload) if upload.bytes.as_deref() == Some(b"new")));
    }
}
