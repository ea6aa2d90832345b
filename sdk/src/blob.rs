//! Files of any size by name, kept on the host.
//!
//! Needs `[blob]` in the component's policy, which names the containers and what may be done in each.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::blob;
//!
//! let info = blob::put("reports", "q3.txt", "text/plain", "Revenue grew.").await?;
//! let file = blob::get("reports", &info.name).await?;
//! assert_eq!(file.body.gather(1 << 20).await?, b"Revenue grew.");
//! # Ok(())
//! # }
//! ```

use crate::bindings::tessera::blob::blob as host;
use crate::handler::{Body, Outgoing};
use crate::store::Error;

pub use host::{Info, Page, Range};

/// A file that is read.
#[derive(Debug)]
pub struct File {
    /// What is known of it.
    pub info: Info,
    /// Its bytes, or those of the range.
    pub body: Body,
}

/// Puts a file there, in the place of one of the same name. A body that breaks off leaves what was there before.
///
/// # Errors
/// Those of the host; see [`store::ErrorCode`](crate::store::ErrorCode).
pub async fn put(container: &str, name: &str, content_type: &str, body: impl Into<Body>) -> Result<Info, Error> {
    let body = Outgoing::Passed(body.into()).into_wit();
    host::put(container.to_owned(), name.to_owned(), content_type.to_owned(), body).await
}

/// A file.
///
/// # Errors
/// Those of the host: `not-found` if there is none.
pub async fn get(container: &str, name: &str) -> Result<File, Error> {
    get_range(container, name, None).await
}

/// A file, or a part of its bytes.
///
/// # Errors
/// Those of the host: `not-found` if there is none.
pub async fn get_range(container: &str, name: &str, range: Option<Range>) -> Result<File, Error> {
    let host::File { info, body } = host::get(container.to_owned(), name.to_owned(), range).await?;
    Ok(File { info, body: body.into() })
}

/// What is known of a file; none if there is none.
///
/// # Errors
/// Those of the host.
pub async fn stat(container: &str, name: &str) -> Result<Option<Info>, Error> {
    host::stat(container.to_owned(), name.to_owned()).await
}

/// Deletes a file and says whether there was one.
///
/// # Errors
/// Those of the host.
pub async fn delete(container: &str, name: &str) -> Result<bool, Error> {
    host::delete(container.to_owned(), name.to_owned()).await
}

/// Files whose names begin with a prefix, behind a name, a page of them.
///
/// # Errors
/// Those of the host.
pub async fn list(container: &str, prefix: &str, after: Option<&str>, files_max: u32) -> Result<Page, Error> {
    host::list(container.to_owned(), prefix.to_owned(), after.map(str::to_owned), files_max).await
}
