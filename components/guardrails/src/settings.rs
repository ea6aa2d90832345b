//! What the operator wrote under `[config]` of the policy.

use std::collections::BTreeSet;

use crate::checks::invisible::Kinds;
use crate::checks::patterns::{Author, Patterns};
use crate::checks::pii::{Method, Type};
use crate::checks::topics::TOPICS_MAX;
use crate::checks::words::Banned;
use crate::checks::{Check, Step};

/// The steps for one direction, the cheaper checks first.
pub(crate) type Plan = Vec<Step>;

/// How texts are checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) input: Plan,
    pub(crate) output: Plan,
    pub(crate) invisible: Kinds,
    pub(crate) banned: Banned,
    pub(crate) banned_replacement: String,
    pub(crate) patterns: Patterns,
    pub(crate) patterns_replacement: String,
    pub(crate) secrets_replacement: String,
    /// 0 to 1: a text is blocked from there on.
    pub(crate) toxicity_threshold: f64,
    pub(crate) pii: Pii,
    /// Examples of what nothing is to be said about.
    pub(crate) topics: Vec<String>,
    /// -1 to 1: a text is blocked from there on.
    pub(crate) topic_threshold: f32,
    /// 0 to 1: a text is blocked from there on.
    pub(crate) injection_threshold: f32,
    /// Whether well-known phrasings are blocked as well.
    pub(crate) has_injection_rules: bool,
    /// Whether clients get OPEA's statuses and bodies where they differ from OpenAI's.
    pub(crate) is_opea: bool,
}

/// How personal data is looked for.
#[derive(Debug, Clone)]
pub(crate) struct Pii {
    pub(crate) input_types: Vec<Type>,
    pub(crate) output_types: Vec<Type>,
    pub(crate) method: Method,
    /// How sure the model must be, 0 to 1.
    pub(crate) score_min: f32,
}

impl Default for Settings {
    fn default() -> Self {
        let steps = |checks: &[Check]| checks.iter().map(|&check| Step::usual(check)).collect();
        Self {
            input: steps(&[Check::Secrets, Check::Toxicity, Check::Injection]),
            output: steps(&[Check::Secrets, Check::Toxicity]),
            invisible: Kinds::ALL,
            banned: Banned::default(),
            banned_replacement: "[REMOVED]".into(),
            patterns: Patterns::default(),
            patterns_replacement: "[REMOVED]".into(),
            secrets_replacement: "[SECRET]".into(),
            toxicity_threshold: 0.8,
            pii: Pii { input_types: Type::usual(), output_types: Type::usual(), method: Method::Category, score_min: 0.5 },
            topics: Vec::new(),
            topic_threshold: 0.75,
            injection_threshold: 0.9,
            has_injection_rules: true,
            is_opea: false,
        }
    }
}

impl Settings {
    /// Reads keys and values.
    ///
    /// # Errors
    /// Which key is wrong, and why.
    pub(crate) fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, String> {
        let mut settings = Self::default();
        for (key, value) in pairs {
            settings.set(key, value).map_err(|why| format!("`[config] {key}` of the policy of guardrails: {why}"))?;
        }
        settings.check()?;
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "input" => self.input = plan(value)?,
            "output" => self.output = plan(value)?,
            "invisible" => self.invisible = kinds(value)?,
            "words" => self.banned.add_words(items(value))?,
            "substrings" => self.banned.add_substrings(items(value))?,
            "words_replacement" => self.banned_replacement = value.into(),
            "patterns" => self.patterns.add(lines(value), Author::Operator)?,
            "patterns_replacement" => self.patterns_replacement = value.into(),
            "secrets_replacement" => self.secrets_replacement = value.into(),
            "toxicity_threshold" => self.toxicity_threshold = f64::from(fraction(value)?),
            "pii_types" => {
                self.pii.input_types = types(value)?;
                self.pii.output_types = self.pii.input_types.clone();
            }
            "pii_types_input" => self.pii.input_types = types(value)?,
            "pii_types_output" => self.pii.output_types = types(value)?,
            "pii_replace" => self.pii.method = value.parse()?,
            "pii_score_min" => self.pii.score_min = fraction(value)?,
            "topics" => self.topics = topics(lines(value))?,
            "topic_threshold" => self.topic_threshold = fraction(value)?,
            "injection_threshold" => self.injection_threshold = fraction(value)?,
            "injection_rules" => self.has_injection_rules = switch(value)?,
            "compat" if value == "opea" => self.is_opea = true,
            "compat" => return Err(format!("`{value}` is not `opea`, which is all that there is")),
            _ => return Err("there is no such key; the README of guardrails lists them".into()),
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let has = |check: Check| self.input.iter().chain(&self.output).any(|step| step.check == check);
        for (check, is_empty, keys) in [
            (Check::Words, self.banned.is_empty(), "`words` or `substrings`"),
            (Check::Patterns, self.patterns.is_empty(), "`patterns`"),
            (Check::Topics, self.topics.is_empty(), "`topics`"),
        ] {
            if has(check) && is_empty {
                return Err(format!(
                    "`[config]` of the policy of guardrails asks for a check without what to look for: add {keys}"
                ));
            }
        }
        Ok(())
    }
}

/// Adds a step to a plan. One that is there stays as it is, but for blocking, which is the stricter.
pub(crate) fn add(plan: &mut Plan, step: Step) {
    match plan.iter_mut().find(|there| there.check == step.check) {
        Some(there) if step.action == crate::checks::Action::Block => there.action = step.action,
        Some(_) => {}
        None => {
            plan.push(step);
            plan.sort_by_key(|step| step.check);
        }
    }
}

/// Examples of topics.
///
/// # Errors
/// When there are too many.
pub(crate) fn topics<'a>(examples: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let topics: Vec<String> = examples.into_iter().map(str::to_owned).collect();
    if topics.len() > TOPICS_MAX { Err(format!("{} topics; {TOPICS_MAX} at most", topics.len())) } else { Ok(topics) }
}

fn plan(value: &str) -> Result<Plan, String> {
    let mut plan: Plan = items(value).map(str::parse).collect::<Result<_, _>>()?;
    plan.sort_by_key(|step: &Step| step.check);
    match plan.windows(2).find(|pair| pair[0].check == pair[1].check) {
        Some(pair) => Err(format!("it names the check for `{}` twice", pair[0].check.reason())),
        None => Ok(plan),
    }
}

fn kinds(value: &str) -> Result<Kinds, String> {
    let names: BTreeSet<&str> = items(value).collect();
    match names.iter().find(|name| !["zero-width", "bidi", "tags"].contains(name)) {
        Some(name) => Err(format!("`{name}` is none of `zero-width`, `bidi` and `tags`")),
        None => Ok(Kinds {
            has_zero_width: names.contains("zero-width"),
            has_bidi: names.contains("bidi"),
            has_tags: names.contains("tags"),
        }),
    }
}

fn types(value: &str) -> Result<Vec<Type>, String> {
    let types: BTreeSet<Type> = items(value).map(str::parse).collect::<Result<_, _>>()?;
    Ok(types.into_iter().collect())
}

fn fraction(value: &str) -> Result<f32, String> {
    let number = value.trim().parse::<f32>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{value}` is not a number from 0 to 1"))
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{value}` is neither `on` nor `off`")),
    }
}

/// What stands between commas and on lines.
fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', '\n']).map(str::trim).filter(|item| !item.is_empty())
}

fn lines(value: &str) -> impl Iterator<Item = &str> {
    value.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Action;

    fn refusal(key: &str, value: &str) -> String {
        Settings::parse([(key, value)]).expect_err("is refused")
    }

    #[test]
    fn what_is_not_set_has_its_default() {
        let settings = Settings::parse([]).expect("defaults are good");
        assert_eq!(
            settings.input.iter().map(|step| step.check).collect::<Vec<_>>(),
            [Check::Secrets, Check::Toxicity, Check::Injection]
        );
        assert_eq!(settings.pii.input_types, Type::usual());
        assert!(!settings.is_opea);
    }

    #[test]
    fn every_key_of_the_readme_is_read() {
        let examples = [
            ("input", "injection, pii: block, words, patterns, topics"),
            ("output", ""),
            ("invisible", "tags, bidi"),
            ("words", "a, b\nc d"),
            ("substrings", "x"),
            ("words_replacement", "*"),
            ("patterns", "a{2,3}\n(?i)b"),
            ("patterns_replacement", ""),
            ("secrets_replacement", "…"),
            ("toxicity_threshold", "0.5"),
            ("pii_types", "EMAIL, iban"),
            ("pii_types_input", "EMAIL"),
            ("pii_types_output", "PHONE"),
            ("pii_replace", "mask"),
            ("pii_score_min", "0.7"),
            ("topics", "how to buy a tiger"),
            ("topic_threshold", "0.8"),
            ("injection_threshold", "1"),
            ("injection_rules", "off"),
            ("compat", "opea"),
        ];
        let settings = Settings::parse(examples).expect("all are good");
        let steps: Vec<(Check, Action)> = settings.input.iter().map(|step| (step.check, step.action)).collect();
        assert_eq!(steps[2..4], [(Check::Pii, Action::Block), (Check::Topics, Action::Block)]);
        assert!(settings.output.is_empty() && settings.is_opea && !settings.has_injection_rules);
        assert_eq!((settings.pii.input_types, settings.pii.output_types), (vec![Type::Email], vec![Type::Phone]));
        let readme = include_str!("../README.md");
        for (key, _) in examples {
            assert!(readme.contains(&format!("| `{key}` |")), "the README has no row for `{key}`");
        }
    }

    #[test]
    fn what_is_wrong_names_its_key() {
        assert!(refusal("colour", "red").contains("`[config] colour`"), "{}", refusal("colour", "red"));
        for (key, value) in [
            ("input", "poetry"),
            ("input", "pii, pii: block"),
            ("toxicity_threshold", "1.5"),
            ("injection_threshold", "NaN"),
            ("injection_rules", "yes"),
            ("pii_types", "SHOE_SIZE"),
            ("pii_replace", "shred"),
            ("patterns", "("),
            ("invisible", "ink"),
            ("compat", "tei"),
            ("words", "\u{200b}"),
        ] {
            assert!(refusal(key, value).contains(key), "{key} = {value}");
        }
        assert!(refusal("input", "words").contains("add `words`"));
    }

    #[test]
    fn a_step_is_added_in_its_place_and_never_taken_off() {
        let mut plan = plan("injection, pii").expect("good");
        add(&mut plan, Step::usual(Check::Words));
        add(&mut plan, Step { check: Check::Pii, action: Action::Block });
        add(&mut plan, Step { check: Check::Words, action: Action::Redact });
        let steps: Vec<(Check, Action)> = plan.iter().map(|step| (step.check, step.action)).collect();
        assert_eq!(steps, [(Check::Words, Action::Block), (Check::Pii, Action::Block), (Check::Injection, Action::Block)]);
    }
}
