//! Names that people give: parsed once, then trusted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no {what} name: use 1 to {length_max} of the characters {allowed}, beginning with a letter or digit")]
pub struct NameError {
    what: &'static str,
    name: String,
    length_max: usize,
    allowed: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $length_max:literal, $allowed:literal, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                let is_allowed: fn(char) -> bool = $is_allowed;
                let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
                if begins_well && name.len() <= $length_max && name.chars().all(is_allowed) {
                    return Ok($name(name.into()));
                }
                let name = name.chars().take(80).collect();
                Err(NameError { what: $what, name, length_max: $length_max, allowed: $allowed })
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a component: its folder, its policy file, its default route `/c/NAME/*`.
    ComponentName, "component", 64, "a-z 0-9 -", |c| matches!(c, 'a'..='z' | '0'..='9' | '-')
);
name!(
    /// The registry name of a model: its folder under the models directory.
    ModelName, "model", 128, "a-z A-Z 0-9 . _ -", |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);
name!(
    /// What a collection, a store or a container is called.
    StoreName, "store, collection or container", 64, "a-z A-Z 0-9 . _ -",
    |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
);
name!(
    /// The owner of data and quota that requests belong to. Instances are never shared between tenants.
    Tenant, "tenant", 64, "a-z 0-9 -", |c| matches!(c, 'a'..='z' | '0'..='9' | '-')
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "-x", ".x", "a\\b", "a b", "é", "A"] {
            assert!(name.parse::<ComponentName>().is_err(), "{name}");
        }
        for name in ["", "..", "../x", "a/b", "_x", "a\0"] {
            assert!(name.parse::<ModelName>().is_err(), "{name}");
        }
        assert!("a".repeat(65).parse::<ComponentName>().is_err());
    }

    #[test]
    fn usual_names_pass() {
        assert!("embeddings".parse::<ComponentName>().is_ok());
        assert!("all-MiniLM-L6-v2".parse::<ModelName>().is_ok());
    }
}
