//! From one hop of a request to the next.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION,
};
use http::{Method, Request, StatusCode};
use url::Url;

use super::body::Body;
use super::{EgressError, target};

/// One request on its way to an answer, with placeholders for secrets still in its headers.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) url: Url,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    /// The length that the guest announced for a streamed body.
    pub(super) announced: Option<u64>,
    /// None if it was streamed and is gone.
    body: Option<Body>,
}

impl Hop {
    /// Reads the guest's request.
    pub(super) fn first(request: Request<Body>) -> Result<Hop, EgressError> {
        let (head, body) = request.into_parts();
        target::check_method(&head.method)?;
        let url = target::of_uri(&head.uri)?;
        let (headers, announced) = target::headers(head.headers)?;
        Ok(Hop { url, method: head.method, headers, announced, body: Some(body) })
    }

    /// Bytes that are known to be sent: the head, and a body in hand.
    pub(super) fn bytes(&self) -> Result<u64, EgressError> {
        let body = if let Some(Body::Whole(bytes)) = &self.body { bytes.len() as u64 } else { 0 };
        Ok(body + target::head_bytes(&self.method, &self.url, &self.headers)?)
    }

    /// The body to send. A whole one stays for the next hop.
    pub(super) fn take_body(&mut self) -> Body {
        match self.body.take() {
            Some(Body::Whole(bytes)) => {
                self.body = Some(Body::Whole(bytes.clone()));
                Body::Whole(bytes)
            }
            Some(streamed) => streamed,
            None => Body::Whole(bytes::Bytes::new()),
        }
    }

    /// Where an answer sends the request; none if it doesn't, or if a body is needed again that is gone.
    pub(super) fn redirected(&self, status: StatusCode, answer: &HeaderMap) -> Option<Hop> {
        let becomes_get = match status {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
            _ => return None,
        };
        let mut url = self.url.join(answer.get(LOCATION)?.to_str().ok()?).ok()?;
        url.set_fragment(None);
        let mut headers = self.headers.clone();
        let (method, body) = match (becomes_get, &self.body) {
            (true, _) => {
                for name in [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE] {
                    headers.remove(name);
                }
                (Method::GET, Body::Whole(bytes::Bytes::new()))
            }
            (false, Some(Body::Whole(bytes))) => (self.method.clone(), Body::Whole(bytes.clone())),
            (false, _) => return None,
        };
        if url.origin() != self.url.origin() {
            for name in [AUTHORIZATION, COOKIE] {
                headers.remove(name);
            }
        }
        Some(Hop { url, method, headers, announced: None, body: Some(body) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    fn hop(method: Method, url: &str) -> Hop {
        let mut request = Request::builder().method(method).uri(url);
        for name in ["authorization", "cookie", "content-type", "x-a"] {
            request = request.header(name, "1");
        }
        Hop::first(request.body(Body::Whole(Bytes::from_static(b"body"))).expect("a request")).expect("good")
    }

    fn location(location: &str) -> HeaderMap {
        HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(location).expect("a value"))])
    }

    fn names(hop: &Hop) -> Vec<&str> {
        let mut names: Vec<&str> = hop.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_place_is_read_against_the_one_before() {
        for (written, expected) in [
            ("/b", "http://a.test/b"),
            ("b?c#d", "http://a.test/x/b?c"),
            ("//b.test", "http://b.test/"),
            ("https://A.test/", "https://a.test/"),
            ("http://0x7f000001:80/", "http://127.0.0.1/"),
            ("/a\\..\\b", "http://a.test/b"),
        ] {
            let next = hop(Method::GET, "http://a.test/x/y").redirected(StatusCode::FOUND, &location(written));
            assert_eq!(next.expect(written).url.as_str(), expected);
        }
        assert!(hop(Method::GET, "http://a.test/").redirected(StatusCode::FOUND, &location("http://[")).is_none());
        assert!(hop(Method::GET, "http://a.test/").redirected(StatusCode::FOUND, &HeaderMap::new()).is_none());
        assert!(hop(Method::GET, "http://a.test/").redirected(StatusCode::OK, &location("/b")).is_none());
    }

    #[test]
    fn another_origin_gets_no_credentials() {
        let first = hop(Method::GET, "https://a.test/");
        for other in ["https://b.test/", "http://a.test/", "https://a.test:444/", "https://sub.a.test/"] {
            let next = first.redirected(StatusCode::FOUND, &location(other)).expect("a redirect");
            assert_eq!(names(&next), ["content-type", "x-a"], "{other}");
        }
        let next = first.redirected(StatusCode::FOUND, &location("https://a.test:443/b")).expect("a redirect");
        assert_eq!(names(&next), ["authorization", "content-type", "cookie", "x-a"]);
    }

    #[test]
    fn a_post_becomes_a_get_unless_the_status_keeps_it() {
        for (status, method, expected, body) in [
            (301, Method::POST, Method::GET, ""),
            (302, Method::POST, Method::GET, ""),
            (303, Method::PUT, Method::GET, ""),
            (303, Method::HEAD, Method::HEAD, "body"),
            (302, Method::PUT, Method::PUT, "body"),
            (307, Method::POST, Method::POST, "body"),
            (308, Method::POST, Method::POST, "body"),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut next = hop(method, "http://a.test/").redirected(status, &location("/b")).expect("a redirect");
            let Body::Whole(bytes) = next.take_body() else { panic!("it was whole") };
            assert_eq!((&next.method, &bytes[..]), (&expected, body.as_bytes()), "{status}");
            assert_eq!(next.headers.contains_key(CONTENT_TYPE), !body.is_empty());
        }
    }

    #[test]
    fn a_streamed_body_that_is_needed_again_ends_the_way() {
        let streamed = || {
            let body = Body::streamed(http_body_util::Full::new(Bytes::from_static(b"body")));
            let request = Request::post("http://a.test/").body(body).expect("a request");
            let mut hop = Hop::first(request).expect("good");
            assert!(matches!(hop.take_body(), Body::Streamed(_)));
            hop
        };
        assert!(streamed().redirected(StatusCode::TEMPORARY_REDIRECT, &location("/b")).is_none());
        assert!(streamed().redirected(StatusCode::SEE_OTHER, &location("/b")).is_some());
    }
}
