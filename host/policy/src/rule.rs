//! Conditional rules in Cedar: `policies/*.cedar`.
//!
//! The grants of `NAME.toml` are the rights; a rule only takes away. So every rule is a `forbid`, and one that can't be
//! evaluated forbids as well: Cedar by itself would skip it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use crate::ComponentName;

mod component;
mod source;
mod target;

pub(crate) use component::ComponentRules;

/// Most rules that a folder may hold.
const RULES_MAX: usize = 256;

/// A rule, by its number among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleId(pub(crate) u16);

/// One rule: where it stands and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The file it is in.
    pub file: String,
    /// The line of its `forbid`, from 1.
    pub line: usize,
    /// What its annotation `@id("…")` says, or else `policyN`, counted from 0 in its file.
    pub id: String,
    /// The line of its `forbid`, as it is written.
    pub text: String,
    forbid: source::Forbid,
}

impl Rule {
    /// All of it, as Cedar writes it.
    pub(crate) fn source(&self) -> String {
        self.forbid.policy().to_string()
    }
}

/// Why rules could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The folder or a file of it is there but can't be read.
    #[error("rules in {file} can't be read: {cause}\nLet the server read it, or take it away")]
    Unreadable {
        /// The file or folder.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A rule is malformed, does not fit what rules can ask about, or is none that only takes rights away.
    #[error("{file}:{line}:{column}: {reason}")]
    Refused {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// There are too many.
    #[error(
        "{file} holds the rule that is one too many: a folder may hold {RULES_MAX}. Join rules that forbid the same with `||`"
    )]
    TooMany {
        /// The file with the first rule beyond the limit.
        file: String,
    },
}

/// All rules of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Arc<[Rule]>);

impl Rules {
    /// Reads every `*.cedar` of a folder, in order of name. A folder that is not there has none, and hidden files are no rules.
    ///
    /// # Errors
    /// When one is unreadable, malformed, or does not fit the schema.
    pub fn read(folder: &Path) -> Result<Rules, RuleError> {
        let unreadable = |file: &Path, cause| RuleError::Unreadable { file: file.display().to_string(), cause };
        let entries = match std::fs::read_dir(folder) {
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Rules::default()),
            entries => entries.map_err(|cause| unreadable(folder, cause))?,
        };
        let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
        let mut files = files.map_err(|cause| unreadable(folder, cause))?;
        let is_hidden = |file: &Path| file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        files.retain(|file| file.extension().is_some_and(|extension| extension == "cedar") && !is_hidden(file));
        files.sort();
        let text = |file: &Path| std::fs::read_to_string(file).map_err(|cause| unreadable(file, cause));
        // Half of a save is an empty file, and would lift all its rules.
        let text = |file: &Path| match text(file)? {
            text if text.is_empty() => Err(unreadable(file, std::io::Error::other("it is empty: write rules, or delete it"))),
            text => Ok(text),
        };
        let texts = files.iter().map(|file| Ok((file.display().to_string(), text(file)?)));
        Rules::parse(texts.collect::<Result<Vec<_>, _>>()?.iter().map(|(file, text)| (file.as_str(), text.as_str())))
    }

    /// Reads rules from texts; the name of each is its file's in errors.
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Rules, RuleError> {
        let mut rules = Vec::new();
        for (file, text) in texts {
            rules.extend(source::parse(file, text)?);
            if rules.len() > RULES_MAX {
                return Err(RuleError::TooMany { file: file.into() });
            }
        }
        Ok(Rules(rules.into()))
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.0.get(usize::from(id.0))
    }

    /// All of them, in order of file and line.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// The rules that may concern a component.
    pub(crate) fn of(&self, component: &ComponentName, labels: &[String]) -> ComponentRules {
        ComponentRules::new(&self.0, component, labels)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::component::tests::Nothing;
    use super::*;
    use crate::{Action, Authority, Caller, Cost, Denial, LoadError, Policies, Reason};

    /// A folder of its own for each test, gone after it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str, files: &[(&str, &str)]) -> Folder {
            let folder = std::env::temp_dir().join(format!("tessera-rules-{}-{test}", std::process::id()));
            std::fs::create_dir(&folder).expect("a new folder");
            for (name, text) in files {
                std::fs::write(folder.join(name), text).expect("a written file");
            }
            Folder(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("it is there");
        }
    }

    const RULE: &str = "forbid (principal, action, resource);\n";

    #[test]
    fn an_empty_file_is_half_of_a_save_and_lifts_no_rules() {
        let folder = Folder::new("empty", &[("a.cedar", "")]);
        assert!(Rules::read(&folder.0).expect_err("refused").to_string().contains("it is empty"));
    }

    #[test]
    fn files_are_read_in_order_of_name_and_only_those_that_are_rules() {
        let files = [
            ("b.cedar", "// second\n@id(\"b\")\nforbid (principal, action, resource);"),
            ("a.cedar", RULE),
            ("c.cedar", "// none\n"),
            (".hidden.cedar", "not Cedar"),
            ("a.cedar~", "not Cedar"),
            ("chat.toml", "schema = 1"),
        ];
        let folder = Folder::new("order", &files);
        let rules = Rules::read(&folder.0).expect("rules");
        let told: Vec<_> = rules.iter().map(|rule| (rule.file.clone(), rule.line, rule.id.as_str())).collect();
        let file = |name| folder.0.join(name).display().to_string();
        assert_eq!(told, [(file("a.cedar"), 1, "policy0"), (file("b.cedar"), 3, "b")]);
        assert_eq!(rules.rule(RuleId(1)).map(|rule| rule.text.as_str()), Some(RULE.trim()));
        assert!(rules.rule(RuleId(2)).is_none());
    }

    #[test]
    fn a_folder_that_is_not_there_has_no_rules_and_what_is_not_to_be_read_is_an_error() {
        let folder = Folder::new("unreadable", &[("a.cedar", RULE), ("b.cedar", RULE)]);
        assert_eq!(Rules::read(&folder.0.join("none")).map(|rules| rules.iter().count()).ok(), Some(0));
        std::fs::create_dir(folder.0.join("c.cedar")).expect("a new folder");
        let refusal = Rules::read(&folder.0).expect_err("c.cedar is no file").to_string();
        assert!(refusal.contains("c.cedar can't be read"), "{refusal}");
        let refusal = Rules::read(&folder.0.join("a.cedar")).expect_err("a.cedar is no folder").to_string();
        assert!(refusal.contains("a.cedar can't be read"), "{refusal}");
    }

    #[test]
    fn an_error_names_the_file() {
        let folder = Folder::new("error", &[("a.cedar", RULE), ("b.cedar", "\n permit (principal, action, resource);")]);
        let refusal = Policies::read(&folder.0).map(|_| ()).expect_err("permit");
        assert!(matches!(&refusal, LoadError::Rules(RuleError::Refused { line: 2, column: 2, .. })), "{refusal}");
        assert!(refusal.to_string().contains("b.cedar:2:2: `permit`"), "{refusal}");
    }

    #[test]
    fn there_may_be_so_many_rules_and_no_more() {
        let (most, one) = (RULE.repeat(RULES_MAX - 1), ("b.cedar", RULE));
        let rules = Rules::parse([("a.cedar", most.as_str()), one]).expect("as many as there may be");
        assert_eq!(rules.iter().count(), 256);
        let refusal = Rules::parse([("a.cedar", most.as_str()), one, ("c.cedar", RULE)]).expect_err("one more").to_string();
        assert!(refusal.starts_with("c.cedar holds") && refusal.contains("256"), "{refusal}");
    }

    /// Asks for an embedding by the component `chat` under the policies of a folder, which may be in the mode `observe`.
    fn embed(folder: &Folder, model: &str) -> (Result<(), Denial>, Option<Rule>) {
        let (ledger, caller) = (Arc::default(), Caller::local());
        let policies = Policies::read(&folder.0).expect("policies");
        let component = "chat".parse().expect("a name");
        let policy = &policies.snapshot(&component, &["embed".into()], &Nothing).expect("a policy");
        let witness = &Nothing;
        let authority = Authority { policy, ledger: &ledger, caller: &caller, witness, now: None };
        let answer = authority.embed(Some(model), Cost::default()).map(drop);
        let rule = match answer {
            Err(Denial { reason: Reason::Forbidden(id), .. }) => policy.all_rules().rule(id).cloned(),
            _ => None,
        };
        (answer, rule)
    }

    #[test]
    fn a_rule_takes_away_what_is_granted_and_gives_nothing() {
        let rule = "@id(\"no-b\")\nforbid (principal, action == Action::\"embed\", resource == Model::\"b\")\n\
                    when { principal.labels.contains(\"pii\") };";
        let policy = "schema = 1\nlabels = [\"pii\"]\n[embed]\nmodels = [\"a\", \"b\"]";
        let folder = Folder::new("grants", &[("x.cedar", rule), ("chat.toml", policy)]);
        assert_eq!(embed(&folder, "a").0, Ok(()));
        let (denied, rule) = embed(&folder, "b");
        assert!(denied.is_err());
        assert_eq!(rule.map(|rule| (rule.id, rule.line)), Some(("no-b".into(), 2)));
        assert_eq!(embed(&folder, "c").0.map_err(|denial| denial.reason), Err(Reason::NotListed));
        let without_label = policy.replace("pii", "public");
        std::fs::write(folder.0.join("chat.toml"), without_label).expect("a written file");
        assert_eq!(embed(&folder, "b").0, Ok(()));
    }

    /// The examples of policies/README.md.
    const EXAMPLES: &str = r#"
@id("pii-only-to-dlp")
forbid (principal, action == Action::"http", resource)
when { principal.labels.contains("pii") && resource.host != "dlp.internal" };

@id("big-model-in-office-hours")
forbid (principal == Component::"chat", action == Action::"generate", resource == Model::"qwen2.5-coder-0.5b-instruct")
unless { context.now.toTime() >= duration("8h") && context.now.toTime() < duration("18h") };

@id("writes-stay-in-tmp")
forbid (principal, action == Action::"write", resource)
unless { resource.path like "/data/tmp/*" };
"#;

    #[test]
    fn the_examples_do_what_the_documentation_says() {
        let rules = Rules::parse([("examples.cedar", EXAMPLES)]).expect("good examples");
        let ids = ["pii-only-to-dlp", "big-model-in-office-hours", "writes-stay-in-tmp"];
        assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ids);
        let forbids = |component: &str, label: &str, hour: u64, action: Action<'_>| {
            let component = component.parse().expect("a name");
            let (policy, ledger) = (Policies::default().snapshot(&component, &[], &Nothing).expect("none"), Arc::default());
            let (policy, ledger, caller) = (&policy, &ledger, &Caller::local());
            let now = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(hour * 3_600));
            let authority = Authority { policy, ledger, caller, witness: &Nothing, now };
            rules.of(&component, &[label.into()]).forbids(&action, &authority).map(|RuleId(number)| number)
        };
        let url = "https://api.example.com/v1".parse().expect("a URL");
        let http = Action::Http { method: &http::Method::POST, url: &url };
        assert_eq!((forbids("chat", "pii", 9, http), forbids("chat", "public", 9, http)), (Some(0), None));
        let big = Action::Generate("qwen2.5-coder-0.5b-instruct");
        assert_eq!(
            (forbids("chat", "", 9, big), forbids("chat", "", 19, big), forbids("x", "", 19, big)),
            (None, Some(1), None)
        );
        let write = |path| forbids("x", "", 9, Action::Write(path));
        assert_eq!((write("/data/x"), write("/data/tmp/x")), (Some(2), None));
    }
}
