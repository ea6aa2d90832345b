//! `[guard]`: who looks at what goes into a component and comes out of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ComponentName, Route, Snapshot};

/// Most characters of a streamed answer that may be held back.
const HOLD_BACK_CHARS_MAX: usize = 65_536;

/// Most guards in one direction.
const GUARDS_MAX: usize = 16;

/// Section `[guard]` of a policy: components that check what goes into this one and comes out of it. It holds whatever the
/// component, its caller or the mode says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Guards that check requests, in this order: each sees what the one before it left. At most 16.
    #[schemars(with = "Vec<String>")]
    pub input: Vec<ComponentName>,
    /// Guards that check answers, in the same way.
    #[schemars(with = "Vec<String>")]
    pub output: Vec<ComponentName>,
    /// Requests that are not checked, nor their answers: `"GET /ui/*"`, with paths as the component sees them.
    pub except: Vec<Route>,
    /// Characters of a streamed answer that are held back until what follows is known, at most 65536. What a guard finds in no
    /// more of them never reaches the client in part.
    pub hold_back_chars: usize,
    /// Time for one check, in milliseconds.
    pub timeout_ms: u64,
    /// What becomes of a text whose guard fails, is late, is over its quota or is not there.
    pub on_failure: Unchecked,
    /// What becomes of a body without text that the server can read, as of images, or in a compressed form.
    pub uninspectable: Unchecked,
}

/// What becomes of something that could not be checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unchecked {
    /// It is refused.
    #[default]
    Block,
    /// It passes as it is.
    Pass,
}

impl Default for Guard {
    fn default() -> Self {
        Guard {
            input: Vec::new(),
            output: Vec::new(),
            except: Vec::new(),
            hold_back_chars: 256,
            timeout_ms: 1000,
            on_failure: Unchecked::Block,
            uninspectable: Unchecked::Block,
        }
    }
}

impl Guard {
    /// Whether it names no guard at all.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.output.is_empty()
    }

    /// The guards that it names, each once.
    pub fn names(&self) -> impl Iterator<Item = &ComponentName> {
        let others = self.output.iter().filter(|name| !self.input.contains(name));
        self.input.iter().chain(others)
    }

    /// Whether a request is left unchecked. A path that a component could read as another one never is: such as have empty parts,
    /// `.` or `..` in them, or anything that is written otherwise than routes are.
    pub fn excepts(&self, method: &str, path: &str) -> bool {
        !self.except.is_empty() && is_plain(path) && self.except.iter().any(|route| route.matches(method, path))
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if self.hold_back_chars > HOLD_BACK_CHARS_MAX {
            return Err(format!("`[guard] hold_back_chars = {}` is more than {HOLD_BACK_CHARS_MAX}", self.hold_back_chars));
        }
        if self.timeout_ms == 0 {
            return Err("`[guard] timeout_ms` must not be 0".into());
        }
        for (key, names) in [("input", &self.input), ("output", &self.output)] {
            if names.len() > GUARDS_MAX {
                return Err(format!("`[guard] {key}` names {} guards; {GUARDS_MAX} at most", names.len()));
            }
            if let Some(twice) = names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name)) {
                return Err(format!("`[guard] {key}` names `{twice}` twice"));
            }
        }
        Ok(())
    }
}

impl Snapshot {
    /// Who checks what goes in and comes out.
    pub fn guard(&self) -> &Guard {
        &self.grants().guard
    }
}

fn is_plain(path: &str) -> bool {
    let is_part = |part: &str| part != "." && part != "..";
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.starts_with('/') && path.bytes().all(is_plain) && path.split('/').all(is_part) && !path.contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use crate::{CAPABILITIES, PolicyFile};

    fn guard(text: &str) -> Guard {
        World::new(&format!("[guard]\n{text}")).policy.guard().clone()
    }

    fn refused(text: &str) -> String {
        let text = format!("schema = 1\n[guard]\n{text}");
        PolicyFile::parse("p.toml".as_ref(), &text).expect_err("out of range").to_string()
    }

    #[test]
    fn without_the_section_nobody_looks() {
        let world = World::new("");
        assert_eq!(world.policy.guard(), &Guard::default());
        assert!(world.policy.guard().is_empty());
    }

    #[test]
    fn a_section_without_more_blocks_what_could_not_be_checked() {
        let guard = guard("input = [\"pii\", \"b\"]\noutput = [\"b\", \"c\"]");
        assert!(!guard.is_empty());
        assert_eq!(guard.names().map(ComponentName::as_str).collect::<Vec<_>>(), ["pii", "b", "c"]);
        assert_eq!((guard.on_failure, guard.uninspectable), (Unchecked::Block, Unchecked::Block));
        assert_eq!((guard.hold_back_chars, guard.timeout_ms), (256, 1000));
    }

    #[test]
    fn it_holds_in_the_mode_observe_and_for_a_component_that_wants_nothing() {
        let world = World::of("schema = 1\nmode = \"observe\"\n[guard]\ninput = [\"pii\"]", &[], &Default::default());
        let world = world.expect("a good policy");
        assert!(!world.policy.guard().is_empty());
        assert!(CAPABILITIES.iter().all(|capability| !world.policy.grants().has_section(capability)), "it grants nothing");
    }

    #[test]
    fn values_out_of_range_and_names_twice_are_refused_by_their_key() {
        for (text, words) in [
            ("hold_back_chars = 65537", "hold_back_chars = 65537"),
            ("timeout_ms = 0", "timeout_ms"),
            ("input = [\"a\", \"b\", \"a\"]", "input` names `a` twice"),
            ("output = [\"a\", \"a\"]", "output` names `a` twice"),
            ("on_failure = \"ignore\"", "line 3"),
            ("input = [\"../a\"]", "no component name"),
            ("guards = []", "unknown field"),
        ] {
            let error = refused(text);
            assert!(error.contains(words) && error.contains("p.toml"), "{error}");
        }
        let many = (0..17).map(|at| format!("\"a{at}\"")).collect::<Vec<_>>().join(", ");
        assert!(refused(&format!("input = [{many}]")).contains("17 guards"));
    }

    #[test]
    fn an_exception_is_for_its_method_and_path_alone() {
        let guard = guard("except = [\"GET /ui/*\", \"* /logo.svg\"]");
        for (method, path) in [("GET", "/ui"), ("GET", "/ui/a.js"), ("HEAD", "/ui/a.js"), ("POST", "/logo.svg")] {
            assert!(guard.excepts(method, path), "{method} {path}");
        }
        for (method, path) in [
            ("POST", "/ui/a"),
            ("GET", "/uix"),
            ("GET", "/logo.svg/a"),
            ("GET", "/ui/../v1/chat"),
            ("GET", "/ui/./a"),
            ("GET", "/ui//a"),
            ("GET", "//ui/a"),
            ("GET", "/ui/%2e%2e/v1/chat"),
            ("GET", "/ui/..;/v1"),
            ("GET", "/ui/..\\v1"),
            ("GET", "ui/a"),
            ("get", "/ui/a"),
        ] {
            assert!(!guard.excepts(method, path), "{method} {path}");
        }
        assert!(!Guard::default().excepts("GET", "/"));
    }
}
