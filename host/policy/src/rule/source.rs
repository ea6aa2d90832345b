//! From the text of a file to rules that are known to make sense.

use std::str::FromStr;
use std::sync::LazyLock;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Effect, Entities, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, Schema, ValidationMode, ValidationWarning,
    Validator,
};
use url::Url;

use super::target::{file_path, url_id};
use super::{Rule, RuleError};
use crate::{Action, ComponentName, ModelName};

/// What rules can ask about.
pub(super) struct RuleSchema {
    pub(super) validator: Validator,
    /// The actions and their groups.
    pub(super) actions: Entities,
}

pub(super) static SCHEMA: LazyLock<RuleSchema> = LazyLock::new(|| {
    let (schema, _) = Schema::from_cedarschema_str(include_str!("schema.cedarschema")).expect("the schema is well-formed");
    let actions = schema.action_entities().expect("groups hold no groups");
    RuleSchema { validator: Validator::new(schema), actions }
});

/// What a file with another statement than `forbid` is told.
const PERMIT: &str = "`permit` grants nothing here: rights are granted in NAME.toml, and rules only take away. \
    Write `forbid (…) when {…}` or `forbid (…) unless {…}`";
const TEMPLATE: &str = "a rule with `?principal` or `?resource` is a template, and nothing here would fill it in. \
    Write the name of the component or resource, or a rule for each";
const NEVER: &str = "this rule can never forbid anything: its scope and conditions don't go together. Mend it, or take it away";
const WHERE: &str = "\nWhat each action can be asked about is in policies/README.md, \"Rules in Cedar\"; \
    a rule without `action == …` has to fit all actions";

/// A rule that fits the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Forbid {
    policy: Policy,
    /// The one component whose rule it is; none if it is everybody's.
    component: Option<String>,
    /// A bit for each of [`Action::NAMES`] that it may forbid.
    actions: u32,
    /// Whether it asks for the time: making that known to Cedar costs as much as all the rest.
    pub(super) is_timed: bool,
}

impl Forbid {
    fn new(policy: &Policy) -> Forbid {
        let component = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            // Components are in no groups, so `in` means `==`.
            PrincipalConstraint::Eq(one) | PrincipalConstraint::In(one) | PrincipalConstraint::IsIn(_, one) => Some(one),
        };
        let mut actions = 0;
        for case in policy.get_valid_request_envs(SCHEMA.validator.schema()) {
            let name = case.action().id().unescaped();
            actions |= Action::NAMES.iter().position(|action| *action == name).map_or(0, |index| 1 << index);
        }
        // Here, unlike in the text, names are without escapes.
        let is_timed = policy.to_json().map_or(true, |json| json.to_string().contains("\"now\""));
        Forbid { policy: policy.clone(), component: component.map(|one| one.id().unescaped().into()), actions, is_timed }
    }

    /// The policy that forbids.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether it may forbid a component an action, by its place in [`Action::NAMES`].
    pub(super) fn concerns(&self, component: &ComponentName, action: usize) -> bool {
        let is_its_rule = self.component.as_deref().is_none_or(|name| name == component.as_str());
        is_its_rule && self.actions >> action & 1 == 1
    }
}

/// Reads the rules of a file.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Rule>, RuleError> {
    let text = text.trim_start_matches('\u{feff}'); // some editors begin a file so
    let source = Source { file, text };
    let policies = PolicySet::from_str(text).map_err(|errors| {
        let error = DetailedError::from(&errors);
        source.refused(start(&error).unwrap_or_default(), said(&error, ""))
    })?;
    let statements = source.statements(&policies);
    for statement in &statements {
        statement.check().map_err(|reason| source.refused(statement.start, reason))?;
    }
    if let Some((start, reason)) = misfit(&policies, &statements) {
        return Err(source.refused(start, reason));
    }
    let rules = statements.iter().filter_map(|statement| Some(source.rule(statement, statement.policy?)));
    Ok(rules.collect())
}

/// The first thing in a file that does not fit the schema or makes no sense.
fn misfit(policies: &PolicySet, statements: &[Statement<'_>]) -> Option<(usize, String)> {
    let begin = |id: &PolicyId| {
        statements.iter().find(|statement| statement.number == number(id)).map_or(0, |statement| statement.start)
    };
    let told = |error: &DetailedError, id: &PolicyId| (start(error).unwrap_or_else(|| begin(id)), said(error, id.as_ref()));
    let result = SCHEMA.validator.validate(policies, ValidationMode::Strict);
    let errors = result.validation_errors().map(|error| {
        let (start, reason) = told(&DetailedError::from(error), error.policy_id());
        (start, reason + WHERE)
    });
    let warnings = result.validation_warnings().filter_map(|warning| match warning {
        ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_) => {
            Some((begin(warning.policy_id()), NEVER.into()))
        }
        // A name in the letters of two scripts may be meant.
        ValidationWarning::MixedScriptString(_) => None,
        _ => Some(told(&DetailedError::from(warning), warning.policy_id())),
    });
    errors.min().or(warnings.min())
}

/// The text of a file.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
}

/// What stands in a file between two semicolons.
struct Statement<'a> {
    /// How many there are before it.
    number: usize,
    /// Where it begins, in bytes.
    start: usize,
    text: String,
    /// None if it is a template.
    policy: Option<&'a Policy>,
}

impl Source<'_> {
    /// The statements in their order.
    fn statements<'a>(&self, policies: &'a PolicySet) -> Vec<Statement<'a>> {
        let statement = |id, text, policy| Statement { number: number(id), start: 0, text, policy };
        let whole = policies.policies().map(|policy| statement(policy.id(), policy.to_string(), Some(policy)));
        let templates = policies.templates().map(|template| statement(template.id(), template.to_string(), None));
        let mut statements: Vec<_> = whole.chain(templates).collect();
        statements.sort_by_key(|statement| statement.number);
        let mut end = 0;
        for statement in &mut statements {
            statement.start = end + blank(self.text.get(end..).unwrap_or_default());
            end = statement.start + statement.text.len();
        }
        statements
    }

    fn rule(&self, statement: &Statement<'_>, policy: &Policy) -> Rule {
        let line = statement.forbid_line();
        let annotated = policy.annotation("id").filter(|id| !id.is_empty());
        Rule {
            file: self.file.into(),
            line: self.place(statement.start + line).0,
            id: annotated.map_or_else(|| format!("policy{}", statement.number), String::from),
            text: statement.text.get(line..).and_then(|text| text.lines().next()).unwrap_or_default().trim().into(),
            forbid: Forbid::new(policy),
        }
    }

    fn refused(&self, start: usize, reason: impl Into<String>) -> RuleError {
        let (line, column) = self.place(start);
        RuleError::Refused { file: self.file.into(), line, column, reason: reason.into() }
    }

    /// The line and column of a byte.
    fn place(&self, start: usize) -> (usize, usize) {
        let before = self.text.get(..start).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// The bytes of space and comments that a text begins with.
fn blank(text: &str) -> usize {
    let mut rest = text.trim_start();
    while rest.starts_with("//") {
        rest = rest.find(['\n', '\r']).map_or("", |end| rest[end..].trim_start());
    }
    text.len() - rest.len()
}

/// Cedar calls the statements of a text `policy0`, `policy1` and so on.
fn number(id: &PolicyId) -> usize {
    let id: &str = id.as_ref();
    id.trim_start_matches("policy").parse().unwrap_or(usize::MAX)
}

/// Where an error is.
fn start(error: &DetailedError) -> Option<usize> {
    error.source_locations.first().map(|label| label.loc.start)
}

/// What an error says, without Cedar's name of the policy: the reader is told file and line.
fn said(error: &DetailedError, policy: &str) -> String {
    let label = error.source_locations.first().and_then(|label| label.label.as_deref());
    let all = [Some(error.message.as_str()), label, error.help.as_deref()].into_iter().flatten();
    let name = format!("for policy `{policy}`, ");
    all.map(|part| part.replace(&name, "")).collect::<Vec<_>>().join("; ")
}

impl Statement<'_> {
    /// Where the line of its `forbid` begins, after the lines of annotations.
    fn forbid_line(&self) -> usize {
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            if line.trim_start().starts_with("forbid") {
                return start;
            }
            start += line.len();
        }
        0
    }

    /// Checks that it takes something away, and from somebody there can be.
    fn check(&self) -> Result<(), String> {
        let policy = self.policy.ok_or(TEMPLATE)?;
        if policy.effect() == Effect::Permit {
            return Err(PERMIT.into());
        }
        policy.entity_literals().iter().try_for_each(check_name)
    }
}

/// Checks a name in a rule: one that nothing can have would make a rule that forbids nothing.
fn check_name(entity: &EntityUid) -> Result<(), String> {
    let id = entity.id().unescaped();
    let kind = entity.type_name().basename();
    let written = |right: &str| match right == id {
        true => Ok(()),
        false => Err(format!("nothing is called {kind}::\"{id}\": write {kind}::\"{right}\"")),
    };
    match kind {
        "Component" | "Callee" => id.parse::<ComponentName>().map(drop).map_err(|error| error.to_string()),
        "Model" => id.parse::<ModelName>().map(drop).map_err(|error| error.to_string()),
        "Url" => match Url::parse(id) {
            Ok(url) => written(&url_id(&url)),
            Err(_) => Err(format!("Url::\"{id}\" is no URL: write it whole, as Url::\"https://api.example.com/v1/x\"")),
        },
        "File" => written(&file_path(id)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse("policies/x.cedar", text).expect_err(text).to_string()
    }

    /// Asserts that each text is refused at a line and column, for a reason that holds certain words.
    fn assert_refused(cases: &[(&str, &str, &str)]) {
        for (text, place, words) in cases {
            let refusal = refusal(text);
            let (is_there, is_said) = (refusal.starts_with(&format!("policies/x.cedar:{place}: ")), refusal.contains(words));
            assert!(is_there && is_said, "{text}\n{refusal}");
        }
    }

    /// The names of actions that the one rule of a text may forbid the component `chat`.
    fn concerned(text: &str) -> Vec<&'static str> {
        let rules = parse("policies/x.cedar", text).expect(text);
        let chat = "chat".parse().expect("a name");
        let concerns = |(index, name): (usize, &'static str)| rules[0].forbid.concerns(&chat, index).then_some(name);
        Action::NAMES.into_iter().enumerate().filter_map(concerns).collect()
    }

    #[test]
    fn what_is_not_cedar_is_refused_with_its_place() {
        assert_refused(&[
            ("allow (principal, action, resource);", "1:1", "effect must be either `permit` or `forbid`"),
            ("forbid (principal, action, resource)", "1:37", "expected `;`"),
            ("// é\n\n  forbid (é, action, resource);", "3:11", "invalid token"),
            ("forbid (principal, action) when { true };", "1:26", "missing the `resource`"),
            ("forbid (principal, action, resource) when {\n    context.tenant = \"a\" };", "2:5", "try using '=='"),
            ("forbid (principal, action, resource) when { today() };", "1:45", "`today` is not a valid function"),
            ("@id(\"a\")\n@id(\"b\")\nforbid (principal, action, resource);", "2:1", "duplicate annotation"),
            ("\"not closed", "1:1", "all strings are closed"),
        ]);
    }

    #[test]
    fn what_the_schema_does_not_know_is_refused_with_its_place() {
        assert_refused(&[
            ("forbid (principal, action == Action::\"htp\", resource);", "1:30", "unrecognized action `Action::\"htp\"`"),
            ("forbid (principal == User::\"x\", action, resource);", "1:22", "unrecognized entity type `User`"),
            (
                "forbid (principal, action == Action::\"http\", resource) when { resource.hst == \"x\" };",
                "1:63",
                "mean `host`?",
            ),
            ("forbid (principal, action, resource) when { principal.name == \"x\" };", "1:45", "attribute `name`"),
            ("forbid (principal, action, resource) when { context.user == \"x\" };", "1:45", "attribute `user` in context"),
            ("forbid (principal, action == Action::\"log\", resource == Log::\"x\");", "1:57", "valid entity eids: \"log\""),
        ]);
        let refusal = refusal("forbid (principal, action, resource) when { context.method == \"PUT\" };");
        assert!(refusal.contains("`method`") && refusal.contains("without `action == …` has to fit all"), "{refusal}");
        assert!(refusal.contains("policies/README.md"), "{refusal}");
    }

    #[test]
    fn a_wrong_type_is_refused_with_its_place() {
        let http =
            |condition: &str| format!("forbid (principal, action == Action::\"http\", resource)\nwhen {{ {condition} }};");
        for (condition, column, words) in [
            ("resource.port == \"443\"", 8, "types Long and String are not compatible; both operands"),
            ("resource.port", 8, "expected Bool but saw Long"),
            ("context.now > \"2026-01-01\"", 22, "expected datetime but saw String"),
            ("context.now.toTime() > duration(\"8 hours\")", 31, "8 hours"),
            ("context.labels == []", 26, "empty set literals"),
            ("principal.labels.contains(1)", 8, "not compatible"),
            ("ip(resource.host).isLoopback()", 8, "non-literal"),
        ] {
            assert_refused(&[(&http(condition), &format!("2:{column}"), words)]);
        }
    }

    #[test]
    fn permit_is_refused_wherever_it_stands_and_told_what_to_write() {
        let forbid = "// permit (principal, action, resource);\nforbid (principal, action, resource);\n";
        let text = format!("{forbid}\n  @id(\"x\")\n  permit (principal, action, resource) when {{ nothing }};");
        assert!(refusal(&text).contains("invalid variable"), "it has to be Cedar before all");
        let refusal = refusal(&text.replace("nothing", "true"));
        assert!(refusal.starts_with("policies/x.cedar:4:3: `permit` grants nothing here"), "{refusal}");
        assert!(refusal.contains("NAME.toml") && refusal.contains("Write `forbid (…) when {…}` or"), "{refusal}");
    }

    #[test]
    fn templates_are_refused() {
        let forbid = "forbid (principal, action, resource);\n";
        assert_refused(&[
            (&format!("{forbid}forbid (principal == ?principal, action, resource);{forbid}"), "2:1", "is a template"),
            ("permit (principal, action, resource == ?resource);", "1:1", "is a template"),
        ]);
    }

    #[test]
    fn a_rule_that_can_never_forbid_anything_is_refused() {
        for text in [
            "forbid (principal, action == Action::\"read\", resource is Url);",
            "forbid (principal, action == Action::\"config\", resource == Secret::\"x\");",
            "forbid (principal is Model, action, resource);",
            "forbid (principal, action, resource) when { context.tenant == \"a\" && false };",
            "forbid (principal, action, resource) unless { true };",
        ] {
            assert_refused(&[(&format!("//\n{text}"), "2:1", "never forbid anything")]);
        }
    }

    #[test]
    fn a_name_that_nothing_can_have_is_refused() {
        let of = |resource: &str| format!("forbid (principal, action, resource) when {{ resource == {resource} }};");
        assert_refused(&[
            ("forbid (principal == Component::\"Chat\", action, resource);", "1:1", "`Chat` is no component name"),
            (&of("Model::\"a/b\""), "1:1", "`a/b` is no model name"),
            (&of("Url::\"https://example.com\""), "1:1", "write Url::\"https://example.com/\""),
            (&of("Url::\"https://Example.com/?q=1\""), "1:1", "write Url::\"https://example.com/\""),
            (&of("Url::\"example.com\""), "1:1", "is no URL"),
            (&of("File::\"data/x/\""), "1:1", "write File::\"/data/x\""),
        ]);
        for resource in ["Url::\"https://example.com/v1\"", "File::\"/data/x\"", "Secret::\"A\"", "Setting::\"a b\""] {
            assert_eq!(parse("x", &of(resource)).map(|rules| rules.len()).ok(), Some(1), "{resource}");
        }
    }

    #[test]
    fn text_that_looks_like_another_is_refused_and_other_scripts_are_not() {
        let of = |tenant: &str| format!("forbid (principal, action, resource) when {{ context.tenant == \"{tenant}\" }};");
        assert_refused(&[(&of("a\u{202e}b"), "1:63", "BIDI")]);
        assert!(parse("x", &of("отдел a")).is_ok());
    }

    #[test]
    fn a_file_without_rules_has_none() {
        for text in ["", "\n", "// forbid (principal, action, resource);", "\u{feff}"] {
            assert!(parse("x", text).expect(text).is_empty());
        }
    }

    #[test]
    fn a_rule_knows_its_line_and_its_id_and_its_text() {
        let rule = "forbid (principal, action, resource);";
        let text = format!(
            "\u{feff}// {rule}\r\n{rule} // {rule}\n\n@id(\"first\")\n@why(\"forbid\")\n// no\n  {rule}{rule}\n@id {rule}\n\
             forbid (\n  principal, action, resource\n) when {{ context.tenant == \"x\" }};"
        );
        let rules = parse("policies/x.cedar", &text).expect("rules");
        let told: Vec<_> = rules.iter().map(|rule| (rule.line, rule.id.as_str(), rule.text.as_str())).collect();
        let annotated = format!("@id {rule}");
        let last = (9, "policy4", "forbid (");
        assert_eq!(told, [(2, "policy0", rule), (7, "first", rule), (7, "policy2", rule), (8, "policy3", &annotated), last]);
        assert!(rules.iter().all(|rule| rule.file == "policies/x.cedar"));
    }

    #[test]
    fn a_rule_concerns_only_the_actions_of_its_scope_and_its_groups() {
        let scope = |action: &str| concerned(&format!("forbid (principal, {action}, resource);"));
        assert_eq!(scope("action"), Action::NAMES);
        assert_eq!(scope("action == Action::\"http\""), ["http"]);
        assert_eq!(scope("action in Action::\"model\""), ["classify", "embed", "generate", "nn", "rerank", "tokenize"]);
        assert_eq!(scope("action in [Action::\"file\", Action::\"log\"]"), ["log", "read", "write"]);
        assert_eq!(concerned("forbid (principal, action, resource is Url);"), ["http"]);
        assert_eq!(concerned("forbid (principal, action, resource) when { resource is Secret };"), ["secret"]);
    }

    #[test]
    fn a_rule_concerns_only_the_component_of_its_scope() {
        let scope = |principal: &str| concerned(&format!("forbid ({principal}, action, resource is Log);"));
        for own in
            ["principal", "principal is Component", "principal == Component::\"chat\"", "principal in Component::\"chat\""]
        {
            assert_eq!(scope(own), ["log"], "{own}");
        }
        for other in ["principal == Component::\"chat-2\"", "principal is Component in Component::\"x\""] {
            assert!(scope(other).is_empty(), "{other}");
        }
    }
}
