//! Credentials that the component may use and never sees.
//!
//! Needs `[secret.NAME]` in the component's policy. What [`get`] gives is a placeholder: put into a header that the policy
//! names, of a request to a host that the policy names, the host sends the value in its place.
//!
//! ```no_run
//! # async fn example() -> Result<(), tessera_sdk::Error> {
//! use tessera_sdk::{Error, http, secret};
//!
//! let key = secret::get("API_KEY").ok_or_else(|| Error::internal("API_KEY is not set"))?;
//! let answer = http::get("https://api.example.com/v1/models").header("authorization", format!("Bearer {key}")).send().await?;
//! # Ok(())
//! # }
//! ```

pub use crate::bindings::tessera::secret::secret::get;
