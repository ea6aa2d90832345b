//! Bodies that the host can read: it takes their texts out, and writes them again with what guards left of those.
//!
//! What goes on is always what the host wrote. So a component can't read another thing out of the bytes than was checked, by keys
//! that are there twice, odd escapes or a wrong content type.

use ::http::HeaderMap;
use ::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value;
use url::form_urlencoded;

use super::json;
use super::piece::{Pieces, TEXTS_MAX};

/// What a content type says of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON.
    Json,
    /// JSON values, one a line.
    Lines,
    /// Server-sent events.
    Events,
    /// Pairs as a browser sends them.
    Form,
    /// Any other text.
    Text,
    /// Something else, or nothing is said.
    Unknown,
    /// In a form that hides its bytes.
    Encoded,
}

impl Kind {
    /// What the headers of a body say. What is said twice, or in another character set than UTF-8, is not believed.
    pub(super) fn of(headers: &HeaderMap) -> Kind {
        let is_plain = |value: &::http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
            return Kind::Encoded;
        }
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(said), None) = (types.next().and_then(|said| said.to_str().ok()), types.next()) else { return Kind::Unknown };
        let said = said.to_ascii_lowercase();
        let mut parts = said.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let charset =
            parts.filter_map(|part| part.strip_prefix("charset")).map(|charset| charset.trim_matches([' ', '=', '"', '\'']));
        if charset.into_iter().any(|charset| !["utf-8", "utf8", "us-ascii"].contains(&charset)) {
            return Kind::Encoded;
        }
        match name {
            "application/json" => Kind::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/json-lines" => Kind::Lines,
            "application/x-www-form-urlencoded" => Kind::Form,
            "text/event-stream" => Kind::Events,
            name if name.ends_with("+json") => Kind::Json,
            name if name.starts_with("text/") => Kind::Text,
            _ => Kind::Unknown,
        }
    }
}

/// A body that the host has read.
#[derive(Debug, PartialEq)]
pub(super) enum Document {
    /// JSON values, one after another.
    Json(Vec<Value>),
    /// Names and values.
    Form(Vec<(String, String)>),
    /// All of it is one text.
    Text(String),
}

impl Document {
    /// Reads a body; none if it holds no text that could be checked. What is JSON is read as JSON whatever its type claims.
    pub(super) fn read(kind: Kind, bytes: &[u8]) -> Option<Document> {
        let text = std::str::from_utf8(bytes).ok()?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match (kind, values(kind, text)) {
            (Kind::Encoded | Kind::Events, _) => None,
            (_, Some(values)) => Some(Document::Json(values)),
            (Kind::Form, None) => Some(Document::Form(form_urlencoded::parse(text.as_bytes()).into_owned().collect())),
            // JSON that is refused here may be taken elsewhere, with its escapes read.
            (Kind::Text, None) if text.trim_start().starts_with(['{', '[']) && text.contains('\\') => None,
            (Kind::Text, None) if !text.contains('\0') => Some(Document::Text(text.into())),
            _ => None,
        }
    }

    /// Takes the texts out; none if there are too many.
    pub(super) fn texts(&self, kind: Kind, pieces: &mut Pieces) -> Option<()> {
        match self {
            Document::Json(values) => {
                json::collect(values, pieces)?;
                if kind == Kind::Form {
                    self.texts_as_form(pieces); // a component may read it as a form all the same
                }
            }
            Document::Form(pairs) => pairs.iter().for_each(|(name, value)| {
                pieces.push(value.as_str(), false);
                pieces.push(name.as_str(), true);
            }),
            Document::Text(text) => pieces.push(text.as_str(), false),
        }
        (pieces.all.len() <= TEXTS_MAX).then_some(())
    }

    fn texts_as_form(&self, pieces: &mut Pieces) {
        let written = self.write(Kind::Json);
        if written.iter().any(|byte| b"%+".contains(byte)) {
            for (name, value) in form_urlencoded::parse(&written) {
                pieces.push(name, true);
                pieces.push(value, true);
            }
        }
    }

    /// Puts texts in the places of those that were taken out, in the same order.
    pub(super) fn replace(&mut self, texts: impl Iterator<Item = String>) {
        let mut texts = texts;
        match self {
            Document::Json(values) => json::replace(values, &mut texts),
            Document::Form(pairs) => {
                for (_, value) in pairs {
                    *value = texts.next().unwrap_or_default();
                    drop(texts.next()); // the name, which nobody changes
                }
            }
            Document::Text(text) => *text = texts.next().unwrap_or_default(),
        }
    }

    /// The body as it goes on.
    pub(super) fn write(&self, kind: Kind) -> Vec<u8> {
        match self {
            Document::Json(values) => {
                let mut lines = values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
                if kind == Kind::Lines {
                    lines.push('\n');
                }
                lines.into_bytes()
            }
            Document::Form(pairs) => form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes(),
            Document::Text(text) => text.clone().into_bytes(),
        }
    }
}

/// All of a text as JSON values, one after another; none if it is something else. A number or a string alone is JSON only where the
/// content type says so.
fn values(kind: Kind, text: &str) -> Option<Vec<Value>> {
    let is_declared = matches!(kind, Kind::Json | Kind::Lines);
    if !is_declared && !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>().collect::<Result<Vec<_>, _>>().ok()?;
    let is_json = !values.is_empty() && (is_declared || values.iter().all(|value| value.is_object() || value.is_array()));
    is_json.then_some(values)
}

/// The texts of a request's target: its query, decoded, and its path where that is none of the component's fixed ones.
pub(super) fn target_texts(path: &str, query: Option<&str>, is_fixed_path: bool, pieces: &mut Pieces) {
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        pieces.push(name, true);
        pieces.push(value, true);
    }
    if !is_fixed_path {
        let plain = format!("p={}", path.replace('+', "%2b").replace('&', "%26"));
        for (_, path) in form_urlencoded::parse(plain.as_bytes()) {
            pieces.push(path, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use serde_json::json;

    use super::*;

    fn kind(headers: &[(&'static str, &'static str)]) -> Kind {
        let headers = headers.iter().map(|&(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
        Kind::of(&headers.collect::<Vec<(::http::HeaderName, HeaderValue)>>().into_iter().fold(
            HeaderMap::new(),
            |mut all, (name, value)| {
                all.append(name, value);
                all
            },
        ))
    }

    fn texts(kind: Kind, body: &str) -> Vec<String> {
        let mut pieces = Pieces::default();
        let document = Document::read(kind, body.as_bytes()).expect("has texts");
        document.texts(kind, &mut pieces).expect("not too many");
        pieces.all.into_iter().map(|piece| if piece.is_fixed { format!("={}", piece.text) } else { piece.text }).collect()
    }

    #[test]
    fn a_content_type_says_what_a_body_is_and_only_once() {
        for (said, expected) in [
            ("application/json", Kind::Json),
            ("Application/JSON; charset=UTF-8", Kind::Json),
            ("application/problem+json", Kind::Json),
            ("application/x-ndjson", Kind::Lines),
            ("text/event-stream", Kind::Events),
            ("application/x-www-form-urlencoded", Kind::Form),
            ("text/html;charset=\"utf-8\"", Kind::Text),
            ("image/png", Kind::Unknown),
            ("multipart/form-data; boundary=x", Kind::Unknown),
            ("application/json; charset=utf-16", Kind::Encoded),
            ("text/plain; charset=utf-7", Kind::Encoded),
        ] {
            assert_eq!(kind(&[("content-type", said)]), expected, "{said}");
        }
        assert_eq!(kind(&[]), Kind::Unknown);
        assert_eq!(kind(&[("content-type", "text/plain"), ("content-type", "application/json")]), Kind::Unknown);
        assert_eq!(kind(&[("content-type", "text/plain"), ("content-encoding", "gzip")]), Kind::Encoded);
        assert_eq!(kind(&[("content-type", "text/plain"), ("content-encoding", "identity")]), Kind::Text);
    }

    #[test]
    fn json_is_read_as_json_whatever_its_type_claims() {
        for kind in [Kind::Json, Kind::Lines, Kind::Text, Kind::Form, Kind::Unknown] {
            assert_eq!(texts(kind, "\u{feff} {\"input\": \"\\u0066oo\"}"), ["foo"], "{kind:?}");
        }
        assert_eq!(texts(Kind::Lines, "{\"a\":\"b\"}\n\"c\"\n"), ["b", "c", "=a"]);
        assert_eq!(texts(Kind::Form, "{\"input\":\"%66oo\"}"), ["%66oo", "={\"input\":\"foo\"}", "="]);
    }

    #[test]
    fn what_is_no_json_is_a_form_a_text_or_nothing() {
        assert_eq!(texts(Kind::Form, "a=b+c&d=%66"), ["b c", "=a", "f", "=d"]);
        assert_eq!(texts(Kind::Text, "{ no json"), ["{ no json"]);
        for (kind, body) in [
            (Kind::Json, "{ no json"),
            (Kind::Json, ""),
            (Kind::Unknown, "text"),
            (Kind::Unknown, "\"text\""),
            (Kind::Text, "a\0b"),
            (Kind::Encoded, "{}"),
            (Kind::Events, "data: {}"),
        ] {
            assert_eq!(Document::read(kind, body.as_bytes()), None, "{kind:?} {body}");
        }
        assert_eq!(Document::read(Kind::Text, b"\xff"), None);
        assert_eq!(Document::read(Kind::Text, br#" {"a": "\u0066orbidden", "b": "\ud800"}"#), None, "JSON to others");
    }

    #[test]
    fn a_body_is_written_as_it_was_read() {
        let body = "{\"a\":1,\"a\":\"\\u0066\",\"z\":[\"\",\"x\",1.5,null]}";
        let mut document = Document::read(Kind::Json, body.as_bytes()).expect("JSON");
        assert_eq!(document, Document::Json(vec![json!({"a": "f", "z": ["", "x", 1.5, null]})]), "the last of two holds");
        document.replace(["F".to_owned(), "X".to_owned()].into_iter());
        assert_eq!(document.write(Kind::Json), b"{\"a\":\"F\",\"z\":[\"\",\"X\",1.5,null]}");
        let mut form = Document::read(Kind::Form, b"a=b&c=d").expect("a form");
        form.replace(["1", "a", "& ", "c"].map(String::from).into_iter());
        assert_eq!(form.write(Kind::Form), b"a=1&c=%26+");
    }

    #[test]
    fn a_query_and_a_path_are_checked_decoded() {
        let mut pieces = Pieces::default();
        target_texts("/a+b/%66oo&x", Some("q=%66oo+bar&y"), false, &mut pieces);
        let texts: Vec<&str> = pieces.all.iter().map(|piece| piece.text.as_str()).collect();
        assert_eq!(texts, ["q", "foo bar", "y", "", "/a+b/foo&x"]);
        assert!(pieces.all.iter().all(|piece| piece.is_fixed));
    }
}
