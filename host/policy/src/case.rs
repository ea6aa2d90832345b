//! Tests of policies: `policies/tests/*.toml`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::{Ask, AskError, Caller, Circumstances, ComponentName, Decision, Snapshot, Tenant, parse_time};

/// One expectation of what a component may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// File and line, from 1.
    pub place: String,
    /// Whose policy is asked.
    pub component: ComponentName,
    /// What its `component.toml` would want; none asks the real one.
    pub capabilities: Option<Vec<String>>,
    /// The question in words.
    pub question: String,
    /// The question.
    pub ask: Ask,
    /// What the answer should be.
    pub expect: Expect,
    /// Words that the explanation should have in it.
    pub because: Option<String>,
    /// When and in whose name it is asked.
    pub circumstances: Circumstances,
}

/// What an answer should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// It may be done.
    Allow,
    /// It may not.
    Deny,
}

/// Why cases could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// The file holds something else.
    #[error("{file} is refused: {cause}")]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line, column and reason.
        cause: Box<toml::de::Error>,
    },
    /// A case asks no question.
    #[error("{place}: {cause}")]
    Ask {
        /// File and line.
        place: String,
        /// What is wrong with it.
        cause: AskError,
    },
    /// A case has a time that is none.
    #[error("{place}: `at` is a time, as 2026-12-31T22:00:00Z")]
    At {
        /// File and line.
        place: String,
    },
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the policy answered.
    pub decision: Decision,
    /// What was wrong with the answer; none where it was as expected.
    pub failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    case: Vec<Spanned<Entry>>,
}

/// A case as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    component: ComponentName,
    capabilities: Option<Vec<String>>,
    action: String,
    target: Option<String>,
    expect: Expect,
    because: Option<String>,
    at: Option<toml::Value>,
    tenant: Option<Tenant>,
}

impl Case {
    /// Reads the cases of a file; `file` is its name in errors.
    ///
    /// # Errors
    /// When it is malformed, or a case asks nothing that there is.
    pub fn parse(file: &Path, text: &str) -> Result<Vec<Case>, CaseError> {
        let malformed = |cause| CaseError::Malformed { file: file.into(), cause: Box::new(cause) };
        let read: CaseFile = toml::from_str(text).map_err(malformed)?;
        let case = |entry: Spanned<Entry>| {
            let line = text[..entry.span().start].matches('\n').count() + 1;
            Case::new(format!("{}:{line}", file.display()), entry.into_inner())
        };
        read.case.into_iter().map(case).collect()
    }

    fn new(place: String, entry: Entry) -> Result<Case, CaseError> {
        let Entry { component, capabilities, action, target, expect, because, at, tenant } = entry;
        let ask = Ask::parse(&action, target.as_deref()).map_err(|cause| CaseError::Ask { place: place.clone(), cause })?;
        let time = |at: toml::Value| match at {
            toml::Value::Datetime(at) => parse_time(&at.to_string()),
            at => parse_time(at.as_str().unwrap_or_default()),
        };
        let now = at.map(time).transpose().map_err(|_| CaseError::At { place: place.clone() })?;
        let caller = tenant.map_or_else(Caller::local, |tenant| Caller::new("local", tenant));
        let question = target.map_or(action.clone(), |target| format!("{action} {target}"));
        let circumstances = Circumstances { caller, now };
        Ok(Case { place, component, capabilities, question, ask, expect, because, circumstances })
    }

    /// Asks the component's policy.
    pub fn run(&self, policy: &Snapshot) -> Outcome {
        let decision = self.ask.decide(policy, &self.circumstances);
        let is_expected = decision.is_allowed == (self.expect == Expect::Allow);
        let missing = self.because.as_ref().filter(|because| !decision.explanation.contains(because.as_str()));
        let failure = match (is_expected, missing) {
            (true, None) => None,
            (true, Some(because)) => Some(format!("{}; expected to read in that: {because}", decision.explanation)),
            (false, _) => Some(decision.explanation.clone()),
        };
        Outcome { decision, failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policies;
    use crate::testing::{FakeFacts, World};

    fn parse(text: &str) -> Result<Vec<Case>, CaseError> {
        Case::parse("tests/t.toml".as_ref(), text)
    }

    #[test]
    fn an_answer_has_to_be_as_expected_and_for_the_reason_given() {
        let text = r#"
[[case]]
component = "chat"
action = "embed"
target = "m"
expect = "allow"

[[case]]
component = "chat"
action = "embed"
target = "x"
expect = "deny"
because = "chat.toml:3 does not list it"

[[case]]
component = "chat"
action = "embed"
target = "x"
expect = "allow"

[[case]]
component = "chat"
action = "log"
expect = "deny"
because = "the moon"
"#;
        let world = World::new("[embed]\nmodels = [\"m\"]");
        let cases = parse(text).expect("good cases");
        let failures: Vec<_> = cases.iter().map(|case| case.run(&world.policy).failure).collect();
        assert_eq!((&failures[0], &failures[1]), (&None, &None));
        assert!(failures[2].as_ref().is_some_and(|failure| failure.starts_with("denied: ")), "{failures:?}");
        assert!(failures[3].as_ref().is_some_and(|failure| failure.ends_with("to read in that: the moon")), "{failures:?}");
        let places: Vec<&str> = cases.iter().map(|case| case.place.as_str()).collect();
        assert_eq!(places, ["tests/t.toml:2", "tests/t.toml:8", "tests/t.toml:15", "tests/t.toml:21"]);
        assert_eq!((cases[0].question.as_str(), cases[3].question.as_str()), ("embed m", "log"));
    }

    #[test]
    fn the_bundled_policies_pass_their_tests() {
        #[derive(Deserialize)]
        struct Manifest {
            capabilities: Vec<String>,
        }
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        let read = |file: &Path| std::fs::read_to_string(file).expect("a file that is there");
        let file = root.join("policies/tests/bundled.toml");
        let policies = Policies::read(&root.join("policies")).expect("good rules");
        let cases = Case::parse(&file, &read(&file)).expect("good cases");
        assert!(cases.len() > 10);
        for case in cases {
            let manifest = root.join("components").join(case.component.as_str()).join("component.toml");
            let wanted = || match manifest.exists() {
                true => toml::from_str::<Manifest>(&read(&manifest)).expect("a manifest").capabilities,
                false => Vec::new(),
            };
            let wanted = case.capabilities.clone().unwrap_or_else(wanted);
            let policy = policies.snapshot(&case.component, &wanted, &FakeFacts::default()).expect("a good policy");
            assert_eq!(case.run(&policy).failure, None, "{}", case.place);
        }
    }

    #[test]
    fn a_time_may_be_text_or_a_date_of_toml() {
        for at in ["2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\"", "2026-01-02T04:04:05+01:00"] {
            let text = format!("[[case]]\ncomponent = \"c\"\naction = \"log\"\nexpect = \"deny\"\nat = {at}\ntenant = \"t\"");
            let case = parse(&text).expect("a good case").remove(0);
            assert_eq!(case.circumstances.now, parse_time("2026-01-02T03:04:05Z").ok());
            assert_eq!(case.circumstances.caller.tenant(), &"t".parse::<Tenant>().expect("a name"));
        }
    }

    #[test]
    fn what_is_no_case_is_refused_with_its_place() {
        let with =
            |line: &str| parse(&format!("[[case]]\ncomponent = \"c\"\nexpect = \"deny\"\n{line}")).expect_err(line).to_string();
        assert!(with("action = \"fly\"").starts_with("tests/t.toml:1: `fly` is no action"));
        assert!(with("action = \"log\"\nat = 3").starts_with("tests/t.toml:1: `at` is a time"));
        assert!(with("action = \"log\"\nat = 2026-01-02").starts_with("tests/t.toml:1: `at` is a time"));
        assert!(with("action = \"log\"\nexpected = 1").contains("unknown field `expected`"));
        assert!(parse("[[cases]]").is_err());
        assert_eq!(parse("").expect("no cases").len(), 0);
    }
}
