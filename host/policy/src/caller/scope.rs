//! What a credential allows.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::label::Labels;
use crate::name::{ComponentName, ModelName, NameError};

/// All names, or those of a list. Written as a list of names, or `["*"]`; on a command line `a,b` or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection<N> {
    /// All there are, and all that may come.
    All,
    /// These.
    Only(BTreeSet<N>),
}

impl<N: Ord> Selection<N> {
    /// No name at all.
    pub fn none() -> Selection<N> {
        Selection::Only(BTreeSet::new())
    }

    /// Whether a name is among them.
    pub fn contains(&self, name: &N) -> bool {
        match self {
            Selection::All => true,
            Selection::Only(names) => names.contains(name),
        }
    }
}

impl<N: Ord + FromStr<Err = NameError>> Selection<N> {
    /// Of names as they are written, `*` for all.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Selection<N>, NameError> {
        let mut only = BTreeSet::new();
        let mut is_all = false;
        for name in names {
            match name {
                "*" => is_all = true,
                _ => drop(only.insert(name.parse()?)),
            }
        }
        Ok(if is_all { Selection::All } else { Selection::Only(only) })
    }
}

impl<N: fmt::Display> Selection<N> {
    fn names(&self) -> Vec<String> {
        match self {
            Selection::All => vec!["*".into()],
            Selection::Only(names) => names.iter().map(ToString::to_string).collect(),
        }
    }
}

impl<N: Ord + FromStr<Err = NameError>> FromStr for Selection<N> {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Selection<N>, NameError> {
        Selection::of(text.split(',').map(str::trim).filter(|name| !name.is_empty()))
    }
}

impl<N: fmt::Display> fmt::Display for Selection<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(","))
    }
}

impl<N: fmt::Display> Serialize for Selection<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

impl<'de, N: Ord + FromStr<Err = NameError>> Deserialize<'de> for Selection<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Selection<N>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Selection::of(names.iter().map(String::as_str)).map_err(D::Error::custom)
    }
}

/// What a key or a token allows, as far as its tenant may do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Components that requests may go to.
    pub components: Selection<ComponentName>,
    /// Models that may run in these requests.
    pub models: Selection<ModelName>,
    /// Whether `/admin` and `/metrics` may be read.
    pub is_admin: bool,
    /// Which documents it finds: those that have one of these, beside those that have none.
    pub labels: Labels,
}

impl Scope {
    /// All that the tenant may do, and nothing of an operator's.
    pub fn everything() -> Scope {
        Scope { components: Selection::All, models: Selection::All, is_admin: false, labels: Labels::default() }
    }

    /// What the entries of a token's scope claim say: `component:NAME`, `model:NAME`, each with `*` for all, and `admin`. Others
    /// are somebody else's. What is not said is not allowed.
    pub(crate) fn of_claim<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Scope, NameError> {
        let (mut components, mut models, mut is_admin) = (Vec::new(), Vec::new(), false);
        for entry in entries {
            match entry.split_once(':') {
                Some(("component", name)) => components.push(name),
                Some(("model", name)) => models.push(name),
                _ => is_admin |= entry == "admin",
            }
        }
        Ok(Scope {
            components: Selection::of(components)?,
            models: Selection::of(models)?,
            is_admin,
            labels: Labels::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Selection<ComponentName> {
        text.parse().expect("a list")
    }

    #[test]
    fn a_list_is_written_and_read_in_the_same_way() {
        for (text, names) in [("*", &["*"][..]), ("a,b", &["a", "b"]), ("", &[]), (" b , a,", &["a", "b"]), ("a,*", &["*"])] {
            let selection = list(text);
            assert_eq!(selection.names(), names, "{text}");
            let value = serde_json::to_value(&selection).expect("JSON");
            assert_eq!(value, serde_json::json!(names));
            assert_eq!(serde_json::from_value::<Selection<ComponentName>>(value).expect("a list"), selection);
        }
        assert!("a/b".parse::<Selection<ComponentName>>().is_err());
        assert!(serde_json::from_str::<Selection<ComponentName>>("[\"A B\"]").is_err());
    }

    #[test]
    fn an_empty_list_holds_nothing_and_a_star_everything() {
        let name: ComponentName = "a".parse().expect("a name");
        assert!(list("*").contains(&name) && list("b,a").contains(&name));
        assert!(!list("").contains(&name) && !list("b").contains(&name) && !Selection::none().contains(&name));
    }

    #[test]
    fn a_claim_allows_what_it_says_and_nothing_else() {
        let scope = Scope::of_claim(["openid", "component:chat", "model:*", "administrator"]).expect("a scope");
        assert_eq!(scope, Scope { components: list("chat"), ..Scope::everything() });
        let scope = Scope::of_claim(["admin"]).expect("a scope");
        assert_eq!(
            scope,
            Scope { components: Selection::none(), models: Selection::none(), is_admin: true, ..Scope::everything() }
        );
        assert!(Scope::of_claim(["component:../x"]).is_err());
    }
}
