//! `input_guardrail_params` and `output_guardrail_params`: checks that a request adds for itself. It can take none away.

use serde::Deserialize;
use serde_json::{Map, Value};
use tessera_sdk::{Error, json};

use crate::checks::patterns::Author;
use crate::checks::{Action, Check, Step};
use crate::settings::{self, Settings};

/// Which texts checks are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Input,
    Output,
}

/// A scanner as LLM Guard has it: the fields that some of them have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Scanner {
    enabled: bool,
    substrings: Vec<String>,
    competitors: Vec<String>,
    topics: Vec<String>,
    patterns: Vec<String>,
    match_type: Option<String>,
    redact: Option<bool>,
    is_blocked: Option<bool>,
    threshold: Option<f32>,
}

/// Most scanners in one request.
const SCANNERS_MAX: usize = 64;

/// Takes the parameters of one side out of a document and adds what they ask for to the settings of this request; whether
/// there were any.
///
/// # Errors
/// 400 for a scanner that is not there, or whose values can't be.
pub(crate) fn add(document: &mut Map<String, Value>, side: Side, settings: &mut Settings) -> Result<bool, Error> {
    let field = match side {
        Side::Input => "input_guardrail_params",
        Side::Output => "output_guardrail_params",
    };
    let scanners = match document.remove(field) {
        None | Some(Value::Null) => return Ok(false),
        Some(Value::Object(scanners)) if scanners.len() <= SCANNERS_MAX => scanners,
        Some(_) => {
            return Err(Error::invalid(field, &format!("must be an object of at most {SCANNERS_MAX} scanners")));
        }
    };
    for (name, value) in scanners {
        let param = format!("{field}.{name}");
        // The tools of ERAG send identifiers beside the scanners.
        if !value.is_object() {
            continue;
        }
        let scanner: Scanner = json::parse(value.to_string().as_bytes())
            .map_err(|error| Error::bad_request(error.message()).with_param(param.clone()))?;
        if !scanner.enabled {
            continue;
        }
        let step = scanner.apply(&name, settings).map_err(|why| why.into_error(&param))?;
        let plan = match side {
            Side::Input => &mut settings.input,
            Side::Output => &mut settings.output,
        };
        settings::add(plan, step);
    }
    Ok(true)
}

/// Why a scanner can't be added.
enum Refused {
    Unknown,
    Wrong(String),
}

impl Refused {
    fn into_error(self, param: &str) -> Error {
        match self {
            Self::Unknown => {
                Error::new(400, "unsupported_parameter", format!("there is no scanner for `{param}`")).with_param(param)
            }
            Self::Wrong(why) => Error::bad_request(format!("`{param}`: {why}")).with_param(param),
        }
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

impl Scanner {
    /// Adds what the scanner looks for; the step that looks for it.
    fn apply(&self, name: &str, settings: &mut Settings) -> Result<Step, Refused> {
        let texts = |texts: &[String], field: &str| match texts {
            [] => Err(Refused::Wrong(format!("`{field}` is missing or empty"))),
            texts => Ok(texts.to_vec()),
        };
        let step = |check: Check, usual: Action| {
            let action = match self.redact {
                Some(true) => Action::Redact,
                Some(false) => Action::Block,
                None => usual,
            };
            Ok(Step { check, action })
        };
        match name {
            "ban_substrings" => {
                let all = texts(&self.substrings, "substrings")?;
                let all = all.iter().map(String::as_str);
                match self.match_type.as_deref() {
                    Some("word") => settings.banned.add_words(all)?,
                    None | Some("str") => settings.banned.add_substrings(all)?,
                    Some(_) => return Err(Refused::Wrong("`match_type` is neither `str` nor `word`".into())),
                }
                step(Check::Words, Action::Block)
            }
            "ban_competitors" => {
                settings.banned.add_words(texts(&self.competitors, "competitors")?.iter().map(String::as_str))?;
                step(Check::Words, Action::Block)
            }
            "ban_topics" => {
                let more = texts(&self.topics, "topics")?;
                let all: Vec<String> = settings.topics.iter().chain(&more).cloned().collect();
                settings.topics = settings::topics(all.iter().map(String::as_str))?;
                settings.topic_threshold = settings.topic_threshold.min(self.threshold()?);
                Ok(Step::usual(Check::Topics))
            }
            "regex" if self.is_blocked == Some(false) => Err(Refused::Wrong("`is_blocked` can only be true".into())),
            "regex" => {
                let all = texts(&self.patterns, "patterns")?;
                settings.patterns.add(all.iter().map(String::as_str), Author::Caller)?;
                step(Check::Patterns, Action::Block)
            }
            "prompt_injection" => {
                settings.injection_threshold = settings.injection_threshold.min(self.threshold()?);
                Ok(Step::usual(Check::Injection))
            }
            "toxicity" => {
                settings.toxicity_threshold = settings.toxicity_threshold.min(f64::from(self.threshold()?));
                Ok(Step::usual(Check::Toxicity))
            }
            "secrets" => step(Check::Secrets, Action::Block),
            "invisible_text" => step(Check::Invisible, Action::Block),
            "anonymize" => step(Check::Pii, Action::Redact),
            "sensitive" => step(Check::Pii, Action::Block),
            _ => Err(Refused::Unknown),
        }
    }

    /// 1, which changes nothing, where none is given.
    fn threshold(&self) -> Result<f32, Refused> {
        match self.threshold {
            None => Ok(1.0),
            Some(threshold) if (0.0..=1.0).contains(&threshold) => Ok(threshold),
            Some(_) => Err(Refused::Wrong("`threshold` is not a number from 0 to 1".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn added(params: Value) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        let mut document = json!({"input_guardrail_params": params}).as_object().expect("an object").clone();
        add(&mut document, Side::Input, &mut settings)?;
        assert!(document.is_empty(), "the parameters do not go on");
        Ok(settings)
    }

    fn has(settings: &Settings, check: Check, action: Action) -> bool {
        settings.input.contains(&Step { check, action })
    }

    #[test]
    fn scanners_that_are_enabled_add_checks() {
        let settings = added(json!({
            "ban_substrings": {"enabled": true, "substrings": ["backdoor"], "id": "x"},
            "secrets": {"enabled": true},
            "anonymize": {"enabled": true},
            "prompt_injection": {"enabled": true, "threshold": 0.5},
            "id": "blah",
        }))
        .expect("all are known");
        assert!(has(&settings, Check::Words, Action::Block) && settings.banned.find("a BackDoor").len() == 1);
        assert!(has(&settings, Check::Secrets, Action::Block) && has(&settings, Check::Pii, Action::Redact));
        assert!((settings.injection_threshold - 0.5).abs() < 1e-6);
        assert_eq!(settings.output, Settings::default().output);
    }

    #[test]
    fn nothing_is_taken_away() {
        let before = Settings::default();
        let settings = added(json!({
            "secrets": {"enabled": true, "redact": true},
            "toxicity": {"enabled": false},
            "prompt_injection": {"enabled": true, "threshold": 1.0},
            "ban_code": {"enabled": false},
        }))
        .expect("good");
        assert_eq!(settings.input, before.input);
        assert!((settings.injection_threshold - before.injection_threshold).abs() < 1e-6);
    }

    #[test]
    fn what_is_not_there_or_can_not_be_is_refused_by_name() {
        for (params, code, param) in [
            (json!({"ban_code": {"enabled": true}}), "unsupported_parameter", "input_guardrail_params.ban_code"),
            (json!({"regex": {"enabled": true, "patterns": ["("]}}), "invalid_value", "input_guardrail_params.regex"),
            (
                json!({"regex": {"enabled": true, "patterns": ["a"], "is_blocked": false}}),
                "invalid_value",
                "input_guardrail_params.regex",
            ),
            (json!({"ban_substrings": {"enabled": true}}), "invalid_value", "input_guardrail_params.ban_substrings"),
            (json!({"toxicity": {"enabled": true, "threshold": 7}}), "invalid_value", "input_guardrail_params.toxicity"),
            (json!({"toxicity": {"enabled": "yes"}}), "invalid_value", "input_guardrail_params.toxicity"),
            (json!([1]), "invalid_value", "input_guardrail_params"),
        ] {
            let error = added(params).expect_err("is refused");
            assert_eq!((error.status(), error.code(), error.param()), (400, code, Some(param)));
        }
    }
}
