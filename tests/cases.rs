//! The cases of the bundled components; their format is in `components/README.md`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tests::{Reply, TestServer, root};

/// How far a number may be from the one in the case.
const TOLERANCE: f64 = 1e-4;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Value>,
    body_text: Option<String>,
    form: Option<Vec<Part>>,
    #[serde(default)]
    before: Vec<Request>,
}

/// A part of a form: a text or a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    name: String,
    #[serde(default)]
    value: String,
    /// From the case's folder.
    file: Option<PathBuf>,
    file_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    #[serde(default)]
    absent: Vec<String>,
    #[serde(default)]
    lengths: BTreeMap<String, usize>,
    #[serde(default)]
    contains: BTreeMap<String, String>,
}

#[test]
fn every_bundled_component_answers_its_cases_as_they_say() {
    let mut folders = subfolders(&root().join("components"));
    folders.retain(|folder| folder.join("cases").is_dir());
    let cases: Vec<PathBuf> = folders.iter().flat_map(|folder| subfolders(&folder.join("cases"))).collect();
    assert!(cases.len() > 50, "only {} cases were found", cases.len());
    let failed: Vec<String> = cases.iter().filter_map(|case| run(case)).collect();
    assert!(failed.is_empty(), "{} of {} cases failed\n\n{}", failed.len(), cases.len(), failed.join("\n\n"));
}

#[test]
fn an_answer_that_does_not_fit_its_case_is_told() {
    let reply = Reply {
        status: 200,
        headers: vec![("x-a".into(), "1".into())],
        body: br#"{"a": [1.0, {"b": "text"}], "c": null}"#.into(),
        is_broken: false,
    };
    let count = |expect: Value| differences(&serde_json::from_value(expect).expect("a good case"), &reply).len();
    let fits = serde_json::json!({
        "status": 200, "headers": {"x-a": "1"}, "json": {"a": [1.00001, {"b": "text"}], "c": null},
        "absent": ["/d"], "lengths": {"/a": 2, "/a/1/b": 4}, "contains": {"/a/1/b": "ex"}
    });
    assert_eq!(count(fits), 0);
    for misfit in [
        serde_json::json!({"status": 201}),
        serde_json::json!({"status": 200, "headers": {"x-a": "2"}}),
        serde_json::json!({"status": 200, "json": {"a": [1.001, {}]}}),
        serde_json::json!({"status": 200, "json": {"a": [1.0]}}),
        serde_json::json!({"status": 200, "json": {"d": null}}),
        serde_json::json!({"status": 200, "absent": ["/c"]}),
        serde_json::json!({"status": 200, "lengths": {"/a": 3}}),
        serde_json::json!({"status": 200, "contains": {"/a/1/b": "zzz"}}),
    ] {
        assert_eq!(count(misfit.clone()), 1, "{misfit}");
    }
}

/// What is wrong with the answer to a case; none if nothing is.
fn run(case: &Path) -> Option<String> {
    let request: Request = read(&case.join("request.json"));
    let expect: Expect = read(&case.join("expect.json"));
    let reply = match send(&request, case, &mut Vec::new()) {
        Ok(reply) => reply,
        Err(refused) => return Some(format!("{}\n  a request before was answered {refused}", case.display())),
    };
    let differences = differences(&expect, &reply);
    let answer: String = reply.text().chars().take(300).collect();
    (!differences.is_empty()).then(|| format!("{}\n  {}\n  answer: {answer}", case.display(), differences.join("\n  ")))
}

/// Sends a request behind those that have to be before it, whose answers come to be known; an error is the answer to one of these.
fn send(request: &Request, case: &Path, answers: &mut Vec<Value>) -> Result<Reply, String> {
    for step in &request.before {
        let reply = send(step, case, answers)?;
        if !(200..300).contains(&reply.status) {
            return Err(format!("{}: {}", reply.status, reply.text()));
        }
        answers.push(serde_json::from_slice(&reply.body).unwrap_or(Value::Null));
    }
    let mut headers: Vec<(&str, &str)> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let text = request.body.as_ref().map(|body| filled(body, answers).to_string()).or_else(|| request.body_text.clone());
    let form = request.form.as_deref().map(|parts| form(parts, case));
    let content_type = if form.is_some() { FORM } else { "application/json" };
    let body = form.or(text.map(String::into_bytes));
    if body.is_some() && !request.headers.contains_key("content-type") {
        headers.push(("content-type", content_type));
    }
    let path = filled_path(&request.path, answers);
    Ok(TestServer::real().send(&request.method, &path, &headers, &body.unwrap_or_default()))
}

const FORM: &str = "multipart/form-data; boundary=tessera-case-7c1d0f52";

/// The body of a form, whose content type is [`FORM`].
fn form(parts: &[Part], case: &Path) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let path = part.file.as_ref().map(|file| case.join(file));
        let bytes = path.as_ref().map(|path| std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        let own_name = path.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
        let file = part.file_name.clone().or(own_name).map_or(String::new(), |name| format!("; filename=\"{name}\""));
        let head = format!("--tessera-case-7c1d0f52\r\ncontent-disposition: form-data; name=\"{}\"{file}\r\n\r\n", part.name);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes.as_deref().unwrap_or(part.value.as_bytes()));
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--tessera-case-7c1d0f52--\r\n");
    body
}

/// A value with the answers in the places that name them: `"$1"` for the first, `"$1/data/0"` for a part of it.
fn filled(value: &Value, answers: &[Value]) -> Value {
    match value {
        Value::String(text) => answer(text, answers).unwrap_or_else(|| value.clone()),
        Value::Array(items) => items.iter().map(|item| filled(item, answers)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), filled(value, answers))).collect(),
        other => other.clone(),
    }
}

/// A path whose segments may name answers that are texts.
fn filled_path(path: &str, answers: &[Value]) -> String {
    let segment = |text: &str| answer(text, answers).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or(text.into());
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn answer(text: &str, answers: &[Value]) -> Option<Value> {
    let named = text.strip_prefix('$')?;
    let (number, pointer) = named.split_at(named.find('/').unwrap_or(named.len()));
    answers.get(number.parse::<usize>().ok()?.checked_sub(1)?)?.pointer(pointer).cloned()
}

#[test]
fn answers_are_put_where_they_are_named() {
    let answers = [serde_json::json!("id"), serde_json::json!({"data": [{"id": 7}]})];
    let body = serde_json::json!({"a": "$1", "b": ["$2/data/0/id", "$2"], "c": "$3", "d": "$", "e": "costs $1"});
    let expected = serde_json::json!({"a": "id", "b": [7, answers[1]], "c": "$3", "d": "$", "e": "costs $1"});
    assert_eq!(filled(&body, &answers), expected);
    assert_eq!(filled_path("/v1/things/$1", &answers), "/v1/things/id");
}

fn differences(expect: &Expect, reply: &Reply) -> Vec<String> {
    let mut found = Vec::new();
    if expect.status != reply.status {
        found.push(format!("the status is {} and should be {}", reply.status, expect.status));
    }
    for (name, value) in &expect.headers {
        if reply.header(name) != Some(value) {
            found.push(format!("the header {name} is {:?} and should be {value:?}", reply.header(name)));
        }
    }
    let json = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
    if let Some(expected) = &expect.json {
        compare(expected, &json, "", &mut found);
    }
    for pointer in expect.absent.iter().filter(|pointer| json.pointer(pointer).is_some()) {
        found.push(format!("{pointer} is there and should not be"));
    }
    for (pointer, length) in &expect.lengths {
        let actual = json.pointer(pointer).and_then(length_of);
        if actual != Some(*length) {
            found.push(format!("the length of {pointer:?} is {actual:?} and should be {length}"));
        }
    }
    for (pointer, part) in &expect.contains {
        let text = json.pointer(pointer).and_then(Value::as_str);
        if !text.is_some_and(|text| text.contains(part)) {
            found.push(format!("{pointer} is {text:?} and should hold {part:?}"));
        }
    }
    found
}

/// Whether `actual` contains `expected`: objects may have more keys, arrays not more elements.
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

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there").map(|entry| entry.expect("lists").path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn read<T: DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
