//! Where data is kept: whose it is, and what people call it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// The name of a collection, a store or a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a store: use 1 to 64 of the characters a-z A-Z 0-9 . _ -, beginning with a letter or digit")]
pub struct NameError(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Name, NameError> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins_well && name.len() <= NAME_BYTES_MAX && name.chars().all(is_allowed) {
            return Ok(Name(name.into()));
        }
        Err(NameError(name.chars().take(80).collect()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A collection, store or container of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The tenant whose data it is.
    pub tenant: Name,
    /// What it is called.
    pub name: Name,
    /// Who alone sees these rows; none is the whole tenant. Whatever tells one caller from another.
    pub owner: Option<Arc<str>>,
    /// Bytes that it may hold, all owners together.
    pub bytes_max: u64,
}
