//! `POST /v1/pii`: where personal data is, and the text without it.

use serde::{Deserialize, Serialize};
use tessera_sdk::{Error, Json};

use super::bounded;
use crate::checks::pii::{Find, Method};
use crate::current;
use crate::part::replace;
use crate::scan::{Task, personal_data, replacements};

/// `{"text"}`, or `{"prompt", "replace", "replace_method"}`.
#[derive(Debug, Deserialize)]
pub(crate) struct PiiRequest {
    text: Option<String>,
    prompt: Option<String>,
    replace: Option<bool>,
    replace_method: Option<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PiiAnswer {
    detected_pii: Vec<Detected>,
    /// The text with what was found replaced; none where that was not asked for.
    new_prompt: Option<String>,
}

/// Where something was found, in characters.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Detected {
    r#type: String,
    start: usize,
    end: usize,
}

pub(crate) async fn pii(Json(request): Json<PiiRequest>) -> Result<Json<PiiAnswer>, Error> {
    let asked = request.read()?;
    bounded(&asked.text)?;
    let settings = current::settings()?;
    let task = Task { steps: &[], settings: &settings, types: &settings.pii.input_types };
    let finds = personal_data(&asked.text, task).await.inspect_err(current::tell)?;
    let new_prompt = asked.method.map(|method| {
        let method = method.unwrap_or(settings.pii.method);
        replace(&asked.text, &replacements(&asked.text, &finds, method))
    });
    Ok(Json(PiiAnswer { detected_pii: detected(&asked.text, &finds), new_prompt }))
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    text: String,
    /// How to replace what is found: outside none for not at all, inside none for as the policy says.
    method: Option<Option<Method>>,
}

impl PiiRequest {
    fn read(self) -> Result<Asked, Error> {
        // OPEA's `prompt` is only replaced where that is asked for, and at random unless it is told.
        let (text, is_replaced, usual) = match (self.text, self.prompt) {
            (Some(text), None) => (text, true, None),
            (None, Some(prompt)) => (prompt, false, Some(Method::Random)),
            (None, None) => return Err(Error::missing_one_of(&["text", "prompt"])),
            (Some(_), Some(_)) => return Err(Error::bad_request("give either `text` or `prompt`, not both")),
        };
        let method = self.replace_method.map(|name| name.parse::<Method>()).transpose();
        let method = method.map_err(|why| Error::bad_request(why).with_param("replace_method"))?;
        let is_replaced = self.replace.unwrap_or(is_replaced);
        Ok(Asked { text, method: is_replaced.then_some(method.or(usual)) })
    }
}

/// The finds, which are in order, with their places in characters.
fn detected(text: &str, finds: &[Find]) -> Vec<Detected> {
    let (mut byte, mut character) = (0, 0);
    let mut place = |at: usize| {
        character += text[byte..at].chars().count();
        byte = at;
        character
    };
    finds
        .iter()
        .map(|find| Detected { r#type: find.kind.to_string(), start: place(find.range.start), end: place(find.range.end) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::pii::{Type, by_patterns};

    fn read(json: &str) -> Result<Asked, Error> {
        serde_json::from_str::<PiiRequest>(json).expect("fits").read()
    }

    #[test]
    fn both_shapes_are_read() {
        let asked = |text: &str, method| Ok(Asked { text: text.into(), method });
        assert_eq!(read(r#"{"text": "a"}"#), asked("a", Some(None)));
        assert_eq!(read(r#"{"text": "a", "replace": false}"#), asked("a", None));
        assert_eq!(read(r#"{"prompt": "a"}"#), asked("a", None));
        assert_eq!(read(r#"{"prompt": "a", "replace": true}"#), asked("a", Some(Some(Method::Random))));
        assert_eq!(read(r#"{"prompt": "a", "replace": true, "replace_method": "mask"}"#), asked("a", Some(Some(Method::Mask))));
    }

    #[test]
    fn what_can_not_be_read_names_its_field() {
        assert_eq!(read("{}").expect_err("nothing").code(), "missing_required_parameter");
        assert_eq!(read(r#"{"text": "a", "prompt": "b"}"#).expect_err("both").status(), 400);
        let error = read(r#"{"text": "a", "replace_method": "shred"}"#).expect_err("no such way");
        assert_eq!((error.status(), error.param()), (400, Some("replace_method")));
    }

    #[test]
    fn places_are_in_characters() {
        let text = "é a@example.com é b@example.com";
        let finds = by_patterns(text, &Type::usual());
        let places: Vec<_> = detected(text, &finds).iter().map(|found| (found.start, found.end)).collect();
        assert_eq!(places, [(2, 15), (18, 31)]);
        assert_eq!(replace(text, &replacements(text, &finds, Method::Category)), "é [EMAIL] é [EMAIL]");
    }
}
