//! Where a request has its credential.

use ::http::{HeaderMap, HeaderName, header};

use super::Refusal;

/// Headers that hold a key as it is.
const KEY_HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-api-key"), HeaderName::from_static("api-key")];

/// Longest credential, in bytes.
const BYTES_MAX: usize = 16 << 10;

/// What a request shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential<'a> {
    /// A key, or something else that is no token.
    Key(&'a str),
    /// A JSON Web Token, by its looks.
    Token(&'a str),
}

/// The one credential of a request, if it has any: `Authorization: Bearer …`, `x-api-key` or `api-key`. The same may stand in
/// several.
///
/// # Errors
/// When two differ, or one is in a form that nobody could check.
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Refusal> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(|value| bearer(value.to_str().ok()?));
    let keys = KEY_HEADERS.into_iter().flat_map(|name| headers.get_all(name)).map(|value| value.to_str().ok());
    let mut found = None;
    for credential in bearers.chain(keys) {
        let credential = credential.map(str::trim).filter(|text| (1..=BYTES_MAX).contains(&text.len()));
        let credential = credential.ok_or(Refusal::Invalid)?;
        if found.is_some_and(|before| before != credential) {
            return Err(Refusal::Invalid);
        }
        found = Some(credential);
    }
    let is_token = |text: &str| text.bytes().filter(|byte| *byte == b'.').count() == 2;
    Ok(found.map(|text| if is_token(text) { Credential::Token(text) } else { Credential::Key(text) }))
}

/// Takes every credential off, so that no component sees one.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in [header::AUTHORIZATION, header::PROXY_AUTHORIZATION].iter().chain(&KEY_HEADERS) {
        headers.remove(name);
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_credential_may_stand_in_any_of_three_headers() {
        for pairs in [
            &[("authorization", "Bearer k")][..],
            &[("authorization", "bearer  k ")],
            &[("x-api-key", "k")],
            &[("api-key", "k")],
            &[("authorization", "Bearer k"), ("x-api-key", "k"), ("api-key", "k")],
            &[("authorization", "Bearer k"), ("authorization", "Bearer k"), ("proxy-authorization", "Basic x")],
        ] {
            assert_eq!(of(&headers(pairs)), Ok(Some(Credential::Key("k"))), "{pairs:?}");
        }
        assert_eq!(of(&headers(&[("x-api-key", "a.b.c")])), Ok(Some(Credential::Token("a.b.c"))));
        assert_eq!(of(&headers(&[("cookie", "k"), ("proxy-authorization", "Bearer k")])), Ok(None));
    }

    #[test]
    fn two_credentials_that_differ_or_one_that_is_none_are_refused() {
        for pairs in [
            &[("authorization", "Bearer a"), ("x-api-key", "b")][..],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[("x-api-key", "a"), ("api-key", "b")],
            &[("authorization", "Bearer a"), ("x-api-key", "")],
            &[("authorization", "Basic dTpw")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer ")],
            &[("authorization", "")],
            &[("x-api-key", "")],
        ] {
            assert_eq!(of(&headers(pairs)), Err(Refusal::Invalid), "{pairs:?}");
        }
        let mut long = headers(&[]);
        long.insert("x-api-key", "k".repeat(BYTES_MAX + 1).parse().expect("a value"));
        long.insert("x-other", "\u{e9}".parse().expect("a value"));
        assert_eq!(of(&long), Err(Refusal::Invalid));
    }

    #[test]
    fn no_credential_is_left_and_nothing_else_is_taken() {
        let names = ["authorization", "proxy-authorization", "x-api-key", "api-key"];
        let mut all: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), "x".parse().expect("a value"))).collect();
        all.append("authorization", "y".parse().expect("a value"));
        all.insert("cookie", "z".parse().expect("a value"));
        strip(&mut all);
        assert_eq!(all, headers(&[("cookie", "z")]));
    }
}
