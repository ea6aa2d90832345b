//! The files themselves and their texts, kept by the digest of their documents.

use tessera_sdk::vector::{Condition, Filter, Test, Value};
use tessera_sdk::{Error, Response, blob, log, store, vector};

use crate::parse::Format;

pub(crate) const CONTAINER: &str = "documents";

fn original_name(index: &str, digest: &str) -> String {
    format!("{index}/{digest}/original")
}

fn text_name(index: &str, digest: &str) -> String {
    format!("{index}/{digest}/text")
}

/// Keeps a file and the text that the places of its chunks are in.
///
/// # Errors
/// Those of the store.
pub(crate) async fn put(index: &str, digest: &str, format: Format, bytes: Vec<u8>, text: String) -> Result<(), store::Error> {
    blob::put(CONTAINER, &original_name(index, digest), format.content_type(), bytes).await?;
    blob::put(CONTAINER, &text_name(index, digest), "text/plain; charset=utf-8", text).await?;
    Ok(())
}

/// Documents of one content.
pub(crate) fn of_digest(digest: &str) -> Filter {
    let condition = Condition { field: "digest".into(), test: Test::Equals(Value::Text(digest.to_owned())) };
    Filter { all: vec![condition], ..Filter::default() }
}

/// Deletes the file of a digest that no document has any more. What can't be deleted now only takes room.
pub(crate) async fn remove_unused(index: &str, digest: &str) {
    let is_unused = async {
        let page = vector::documents(index, of_digest(digest), None, 1).await?;
        Ok::<bool, store::Error>(page.documents.is_empty())
    };
    let removed = async {
        if is_unused.await? {
            blob::delete(CONTAINER, &original_name(index, digest)).await?;
            blob::delete(CONTAINER, &text_name(index, digest)).await?;
        }
        Ok::<(), store::Error>(())
    };
    if let Err(error) = removed.await {
        log::warn(&format!("a file that nothing needs was not deleted: {}", error.message));
    }
}

/// Which of the two is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Original,
    Text,
}

/// A document's file or text, for who may find the document.
///
/// # Errors
/// 404 if there is none.
pub(crate) async fn response(index: &str, name: &str, kept: Kept) -> Result<Response, Error> {
    let missing = || Error::not_found(format!("there is no document `{name}` in the index `{index}`"));
    // The search knows the caller's labels: what it does not show is not there.
    let stored = vector::stat(index, name).await?.ok_or_else(missing)?;
    let digest = &stored.document.digest;
    let file = match kept {
        Kept::Original => original_name(index, digest),
        Kept::Text => text_name(index, digest),
    };
    let file = blob::get(CONTAINER, &file).await?;
    let response = Response::passing(200, &file.info.content_type, file.body)
        .with_header("etag", format!("\"{digest}\""))
        .with_header("x-content-type-options", "nosniff")
        // A page that somebody uploaded must not act in the name of this site.
        .with_header("content-security-policy", "sandbox; default-src 'none'");
    Ok(match kept {
        Kept::Original => response.with_header("content-disposition", disposition(name)),
        Kept::Text => response,
    })
}

/// Says that it is to be saved, and under which name.
fn disposition(name: &str) -> String {
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let encoded: String =
        name.bytes().map(|byte| if is_plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
    format!("attachment; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_a_header() {
        assert_eq!(disposition("a b\r\n\".txt"), "attachment; filename*=UTF-8''a%20b%0D%0A%22.txt");
        assert_eq!(disposition("https://a.example/é/"), "attachment; filename*=UTF-8''%C3%A9");
    }
}
