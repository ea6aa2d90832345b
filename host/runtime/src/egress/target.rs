//! What a guest wrote as its request, read and cleaned.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Uri};
use url::{Position, Url};

use super::EgressError;

/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Headers that belong to the connection or say how the body is framed. Both are the host's.
const OWN_HEADERS: [HeaderName; 10] = [
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
];

/// Reads an absolute `http` or `https` URL into the one form that is checked and sent: names in lower case and ASCII, addresses
/// in their usual spelling, paths without dots.
///
/// # Errors
/// When it is something else, or holds a user or a password.
pub(crate) fn parse(text: &str) -> Result<Url, EgressError> {
    if text.len() > HEAD_BYTES_MAX {
        return Err(TOO_LONG);
    }
    // A URL's reader would leave these out in silence.
    if text.contains(|character: char| character.is_control()) {
        return Err(EgressError::Invalid("the URL holds a control character"));
    }
    let mut url = Url::parse(text).map_err(|_| EgressError::Invalid("the URL is malformed"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(EgressError::Invalid("the URL's scheme is neither http nor https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::Invalid("the URL holds a user or a password"));
    }
    url.set_fragment(None);
    Ok(url)
}

/// Reads the target of a request.
pub(super) fn of_uri(uri: &Uri) -> Result<Url, EgressError> {
    let incomplete = EgressError::Invalid("the URL needs scheme, host and path");
    let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or(incomplete)?;
    if authority.as_str().contains('@') {
        return Err(EgressError::Invalid("the URL holds a user or a password"));
    }
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if !path.starts_with(['/', '?']) {
        return Err(incomplete);
    }
    parse(&format!("{scheme}://{authority}{path}"))
}

/// Refuses methods that open tunnels or send a request's head, secrets included, back to the guest.
pub(super) fn check_method(method: &Method) -> Result<(), EgressError> {
    let is_refused = ["connect", "trace", "track"].iter().any(|refused| method.as_str().eq_ignore_ascii_case(refused));
    if is_refused { Err(EgressError::Invalid("CONNECT and TRACE can't be sent")) } else { Ok(()) }
}

/// The headers of a request that are the guest's to set, and the length that it announces for its body.
pub(super) fn headers(mut headers: HeaderMap) -> Result<(HeaderMap, Option<u64>), EgressError> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter().map(length);
    let announced = lengths.next();
    if announced == Some(None) || lengths.next().is_some() {
        return Err(EgressError::Invalid("content-length is not one number"));
    }
    drop(lengths);
    let is_own = |name: &HeaderName| OWN_HEADERS.contains(name) || name.as_str().starts_with("proxy-");
    let own: Vec<HeaderName> = headers.keys().filter(|name| is_own(name)).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    Ok((headers, announced.flatten()))
}

/// A length as HTTP writes it: digits and nothing else.
fn length(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

const TOO_LONG: EgressError = EgressError::Invalid("the request's head is longer than 64 KiB");

/// Bytes of a request's head, about as many as HTTP/1.1 sends.
///
/// # Errors
/// When they are too many.
pub(super) fn head_bytes(method: &Method, url: &Url, headers: &HeaderMap) -> Result<u64, EgressError> {
    let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum::<usize>();
    let bytes = method.as_str().len() + url.as_str().len() + lines + 24;
    u64::try_from(bytes).ok().filter(|_| bytes <= HEAD_BYTES_MAX).ok_or(TOO_LONG)
}

/// The host and, where it is not the scheme's, the port: for `host` and `:authority`.
pub(super) fn authority(url: &Url) -> &str {
    &url[Position::BeforeHost..Position::AfterPort]
}

/// The path and query as they are sent.
pub(super) fn path(url: &Url) -> &str {
    &url[Position::BeforePath..Position::AfterQuery]
}

/// Takes away what a host says about its connection.
pub(super) fn clean_answer(headers: &mut HeaderMap) {
    for name in OWN_HEADERS.iter().filter(|name| **name != CONTENT_LENGTH) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(url: &str) -> Result<String, EgressError> {
        let uri: Uri = url.parse().map_err(|_| EgressError::Invalid("no URI"))?;
        of_uri(&uri).map(|url| authority(&url).to_owned())
    }

    #[test]
    fn a_url_has_one_form() {
        for (written, expected) in [
            ("http://EXAMPLE.com", "http://example.com/"),
            ("https://example.com:443/a/../b?q=1", "https://example.com/b?q=1"),
            ("http://example.com:8080/%2e%2e/x", "http://example.com:8080/x"),
            ("http://2130706433/", "http://127.0.0.1/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("http://0177.0.0.01/", "http://127.0.0.1/"),
            ("http://0xa9fea9fe/", "http://169.254.169.254/"),
            ("http://[::FFFF:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
            ("http://example.com?x", "http://example.com/?x"),
        ] {
            let uri: Uri = written.parse().expect("a URI");
            assert_eq!(of_uri(&uri).expect(written).as_str(), expected);
        }
        for written in ["http://Bücher.example/#part", "http://b%C3%BCcher.example"] {
            assert_eq!(parse(written).expect("good").as_str(), "http://xn--bcher-kva.example/");
        }
    }

    #[test]
    fn what_is_no_plain_http_url_is_refused() {
        for url in ["/x", "*", "ftp://a/", "http://user@a/", "http://user:password@a/", "http://@a/", "http://a:99999/", "a:80"]
        {
            assert!(matches!(host(url), Err(EgressError::Invalid(_))), "{url}");
        }
        for url in ["http://user:@a/", "http:///", "file:///etc/passwd", "http://a b/", "http://[::1", "javascript:1", ""] {
            assert!(matches!(parse(url), Err(EgressError::Invalid(_))), "{url}");
        }
        let star = Uri::builder().scheme("http").authority("a").path_and_query("*").build();
        assert!(star.is_err() || of_uri(&star.expect("a URI")).is_err());
    }

    #[test]
    fn a_guest_cannot_set_what_belongs_to_the_connection() {
        let mut set = HeaderMap::new();
        for name in ["Connection", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Upgrade"]
        {
            set.append(HeaderName::try_from(name).expect("a name"), HeaderValue::from_static("x"));
        }
        for name in ["Transfer-Encoding", "Expect", "HTTP2-Settings", "X-A", "X-A"] {
            set.append(HeaderName::try_from(name).expect("a name"), HeaderValue::from_static("x"));
        }
        set.append(CONTENT_LENGTH, HeaderValue::from_static("7"));
        let (headers, announced) = headers(set).expect("good");
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-a"]);
        assert_eq!((headers.get_all("x-a").iter().count(), announced), (2, Some(7)));
    }

    #[test]
    fn a_length_is_one_number() {
        for lengths in [&["1", "1"][..], &["+1"], &["-1"], &[""], &["1, 1"], &["1 "], &["99999999999999999999"]] {
            let mut set = HeaderMap::new();
            for length in lengths {
                set.append(CONTENT_LENGTH, HeaderValue::from_static(length));
            }
            assert!(headers(set).is_err(), "{lengths:?}");
        }
    }

    #[test]
    fn line_breaks_and_zero_bytes_are_in_no_request() {
        for text in ["a\r\nhost: b", "a\nb", "a\rb", "a\0b"] {
            assert!(HeaderValue::from_str(text).is_err() && HeaderName::try_from(text).is_err());
            assert!(Method::from_bytes(text.as_bytes()).is_err() && PathAndQuery::try_from(text).is_err());
            assert!(parse(&format!("http://a/{text}")).is_err() && parse(&format!("http://{text}/")).is_err());
        }
    }

    #[test]
    fn a_head_that_is_too_long_is_refused() {
        let url = parse("http://a/").expect("good");
        let mut headers = HeaderMap::new();
        assert!(head_bytes(&Method::GET, &url, &headers).is_ok_and(|bytes| (20..60).contains(&bytes)));
        for _ in 0..10_000 {
            headers.append("x", HeaderValue::from_static("yy"));
        }
        assert_eq!(head_bytes(&Method::GET, &url, &headers), Err(TOO_LONG));
        assert_eq!(parse(&format!("http://a/{}", "x".repeat(70_000))), Err(TOO_LONG));
    }
}
