//! Cases: a request, and what its answer must be. `tessera test` runs them.

mod answers;
pub(crate) mod form;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(crate) use answers::Answers;

/// How far a number may be from the one in the case.
const TOLERANCE: f64 = 1e-4;

/// `request.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Below `/c/NAME`.
    path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    body: Option<Value>,
    body_text: Option<String>,
    form: Option<Vec<form::Part>>,
    /// Requests that are sent before it, in this order.
    #[serde(default)]
    pub(crate) before: Vec<Request>,
}

/// What an answer must be.
#[derive(Debug)]
enum Expect {
    Response(Response),
    /// Text that the message of the error must hold.
    Error(String),
}

/// `response.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    status: u16,
    /// Headers that it must have, as they are.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body: objects may have more keys, numbers may differ a little.
    json: Option<Value>,
    /// JSON pointers that must lead nowhere.
    #[serde(default)]
    absent: Vec<String>,
    /// Lengths of arrays and texts, by JSON pointer.
    #[serde(default)]
    lengths: BTreeMap<String, usize>,
    /// Parts of texts, by JSON pointer.
    #[serde(default)]
    contains: BTreeMap<String, String>,
    /// Parts of the whole body.
    #[serde(default)]
    body: Vec<String>,
}

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    /// Its folder's name.
    pub(crate) name: String,
    pub(crate) request: Request,
    expect: Expect,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Where to send it, below `/c/NAME`.
    pub(crate) fn path(&self, answers: &Answers) -> String {
        answers.fill_path(&self.path)
    }

    /// What the body is, where no header says it.
    pub(crate) fn content_type(&self) -> String {
        if self.form.is_some() { form::content_type() } else { "application/json".into() }
    }

    /// The bytes to send.
    pub(crate) fn bytes(&self, answers: &Answers) -> Vec<u8> {
        if let Some(parts) = &self.form {
            return form::body(parts);
        }
        let json = self.body.as_ref().map(|body| answers.fill(body).to_string().into_bytes());
        json.or_else(|| self.body_text.clone().map(String::into_bytes)).unwrap_or_default()
    }
}

impl Request {
    /// Reads the files of its form, and of those before it.
    fn load(&mut self, folder: &Path) -> anyhow::Result<()> {
        for part in self.form.iter_mut().flatten() {
            part.load(folder)?;
        }
        self.before.iter_mut().try_for_each(|request| request.load(folder))
    }
}

impl Case {
    /// The cases in a folder, by name; none where there is no such folder.
    ///
    /// # Errors
    /// When one is malformed.
    pub(crate) fn all(folder: &Path) -> anyhow::Result<Vec<Case>> {
        let Ok(entries) = folder.read_dir() else { return Ok(Vec::new()) };
        let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<PathBuf>>>()?;
        folders.retain(|path| path.is_dir());
        folders.sort();
        folders.iter().map(|folder| Case::read(folder)).collect()
    }

    fn read(folder: &Path) -> anyhow::Result<Case> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (response, error) = (folder.join("response.json"), folder.join("error.txt"));
        let expect = match (response.is_file(), error.is_file()) {
            (true, false) => Expect::Response(json(&response)?),
            (false, true) => Expect::Error(std::fs::read_to_string(&error)?.trim().to_owned()),
            _ => bail!("{}: a case has either response.json or error.txt", folder.display()),
        };
        let mut request: Request = json(&folder.join("request.json"))?;
        request.load(folder)?;
        ensure!(request.path.starts_with('/'), "{}: the path must begin with /", folder.display());
        Ok(Case { name, request, expect })
    }

    /// What is wrong with an answer; nothing if it is as the case wants it.
    pub(crate) fn differences(&self, reply: &Reply) -> Vec<String> {
        match &self.expect {
            Expect::Response(response) => response.differences(reply),
            Expect::Error(text) => error_differences(text, reply),
        }
    }
}

fn error_differences(text: &str, reply: &Reply) -> Vec<String> {
    let json: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let whole = String::from_utf8_lossy(&reply.body);
    let message = json.pointer("/error/message").and_then(Value::as_str).unwrap_or(&whole);
    let mut found = Vec::new();
    if reply.status < 400 {
        found.push(format!("the status is {} and should be one of an error", reply.status));
    }
    if !message.contains(text) {
        found.push(format!("the error is {message:?} and should hold {text:?}"));
    }
    found
}

impl Response {
    fn differences(&self, reply: &Reply) -> Vec<String> {
        let mut found = Vec::new();
        if self.status != reply.status {
            found.push(format!("the status is {} and should be {}", reply.status, self.status));
        }
        for (name, value) in &self.headers {
            if reply.headers.get(name) != Some(value) {
                found.push(format!("the header {name} is {:?} and should be {value:?}", reply.headers.get(name)));
            }
        }
        let body = String::from_utf8_lossy(&reply.body);
        for part in self.body.iter().filter(|part| !body.contains(part.as_str())) {
            found.push(format!("the body does not hold {part:?}"));
        }
        let json = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        if let Some(expected) = &self.json {
            compare(expected, &json, "", &mut found);
        }
        for pointer in self.absent.iter().filter(|pointer| json.pointer(pointer).is_some()) {
            found.push(format!("{pointer} is there and should not be"));
        }
        for (pointer, length) in &self.lengths {
            let actual = json.pointer(pointer).and_then(length_of);
            if actual != Some(*length) {
                found.push(format!("the length of {pointer:?} is {actual:?} and should be {length}"));
            }
        }
        for (pointer, part) in &self.contains {
            let text = json.pointer(pointer).and_then(Value::as_str);
            if !text.is_some_and(|text| text.contains(part)) {
                found.push(format!("{pointer} is {text:?} and should hold {part:?}"));
            }
        }
        found
    }
}

/// Whether `actual` has what `expected` has: objects may have more keys, arrays not more elements.
fn compare(expected: &Value, actual: &Value, at: &str, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                match actual.get(key) {
                    Some(actual) => compare(value, actual, &format!("{at}/{key}"), found),
                    None => found.push(format!("{at}/{key} is missing")),
                }
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (index, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                compare(expected, actual, &format!("{at}/{index}"), found);
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            let difference = a.as_f64().zip(b.as_f64()).map(|(a, b)| (a - b).abs());
            if difference.is_none_or(|difference| difference > TOLERANCE) {
                found.push(format!("{at} is {b} and should be {a}"));
            }
        }
        _ if expected == actual => {}
        _ => found.push(format!("{at} is {actual} and should be {expected}")),
    }
}

fn length_of(value: &Value) -> Option<usize> {
    value.as_array().map(Vec::len).or_else(|| value.as_str().map(|text| text.chars().count()))
}

fn json<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))?;
    serde_json::from_slice(&text).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(files: &[(&str, &str)]) -> anyhow::Result<Case> {
        let folder = tempfile::tempdir()?;
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text)?;
        }
        Case::read(folder.path())
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, headers: BTreeMap::from([("x-a".into(), "1".into())]), body: body.into() }
    }

    const REQUEST: (&str, &str) = ("request.json", r#"{"method": "POST", "path": "/a", "body": {"b": 1}}"#);

    #[test]
    fn an_answer_that_does_not_fit_is_told() {
        let reply = reply(200, r#"{"a": [1.0, {"b": "text"}], "c": null}"#);
        let count = |expect: &str| case(&[REQUEST, ("response.json", expect)]).expect("a case").differences(&reply).len();
        assert_eq!(
            count(r#"{"status": 200, "headers": {"x-a": "1"}, "json": {"a": [1.00001, {"b": "text"}]}, "absent": ["/d"]}"#),
            0
        );
        assert_eq!(count(r#"{"status": 200, "lengths": {"/a": 2}, "contains": {"/a/1/b": "ex"}, "body": ["text"]}"#), 0);
        for misfit in [
            r#"{"status": 201}"#,
            r#"{"status": 200, "headers": {"x-a": "2"}}"#,
            r#"{"status": 200, "json": {"a": [1.001, {}]}}"#,
            r#"{"status": 200, "json": {"a": [1.0]}}"#,
            r#"{"status": 200, "json": {"d": null}}"#,
            r#"{"status": 200, "absent": ["/c"]}"#,
            r#"{"status": 200, "lengths": {"/a": 3}}"#,
            r#"{"status": 200, "contains": {"/a/1/b": "zzz"}}"#,
            r#"{"status": 200, "body": ["zzz"]}"#,
        ] {
            assert_eq!(count(misfit), 1, "{misfit}");
        }
    }

    #[test]
    fn an_error_must_be_one_and_hold_the_text() {
        let case = case(&[REQUEST, ("error.txt", "`b` is\n")]).expect("a case");
        assert!(case.differences(&reply(400, r#"{"error": {"message": "`b` is missing"}}"#)).is_empty());
        assert_eq!(case.differences(&reply(200, "ok")).len(), 2);
        assert_eq!(case.request.bytes(&Answers::default()), b"{\"b\":1}");
    }

    #[test]
    fn a_case_that_wants_nothing_or_two_things_is_refused() {
        assert!(case(&[REQUEST]).is_err());
        assert!(case(&[REQUEST, ("error.txt", "a"), ("response.json", "{\"status\": 200}")]).is_err());
        assert!(case(&[("request.json", r#"{"method": "GET", "path": "a"}"#), ("error.txt", "a")]).is_err());
    }
}
