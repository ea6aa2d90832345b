//! Guests and hosts that mean no good.

use http::{HeaderName, HeaderValue, Method};

use super::*;

#[tokio::test]
async fn a_guest_cannot_set_host_or_framing() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    let mut request = post(&host.url("api.test", "/"), Body::Whole("body".into()));
    for (name, value) in [
        ("host", "169.254.169.254"),
        ("connection", "x-a, upgrade"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
        ("transfer-encoding", "chunked"),
        ("content-length", "2"),
        ("te", "trailers"),
        ("trailer", "x-b"),
        ("expect", "100-continue"),
        ("keep-alive", "timeout=9"),
        ("proxy-authorization", "x"),
        ("x-a", "1"),
    ] {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    guest.send(request, terms()).await.expect("an answer");
    let heard = host.heard().await;
    let mut lines: Vec<&str> = heard.split("\r\n").collect();
    lines.sort_unstable();
    let host_line = format!("host: api.test:{}", host.port);
    assert_eq!(lines, ["", "POST / HTTP/1.1", "body", "content-length: 4", &host_line, "x-a: 1"]);
}

#[tokio::test]
async fn methods_that_open_tunnels_and_urls_with_users_are_refused() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    for method in ["CONNECT", "TRACE", "connect", "Trace", "TRACK"] {
        let mut request = get(&host.url("api.test", "/"));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
        assert!(matches!(guest.send(request, terms()).await, Err(EgressError::Invalid(_))), "{method}");
    }
    for url in ["http://user@api.test/", "http://api.test@127.0.0.1/", "http://a:b@api.test/", "/relative", "ftp://api.test/"] {
        assert!(matches!(guest.get(url).await, Err(EgressError::Invalid(_))), "{url}");
    }
    assert_eq!(host.connections(), 0);
    assert_eq!(
        crate::egress::uri("http://Bücher.test/ü").map(|uri| uri.to_string()),
        Ok("http://xn--bcher-kva.test/%C3%BC".into())
    );
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_what_follows_is_no_answer() {
    for status in [204, 304] {
        let host =
            Host::saying(format!("HTTP/1.1 {status} X\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\nevil")).await;
        let guest = Guest::of(&[&host], local_names(), "");
        for _ in 0..3 {
            let answer = guest.get(&host.url("api.test", "/")).await.expect("an answer");
            assert_eq!(answer.response.status().as_u16(), status);
            assert_eq!(text(answer).await, Ok(String::new()));
        }
        assert_eq!(host.connections(), 3, "what was said too much spoils a connection");
    }
    let host = Host::saying(format!("{}evil", String::from_utf8_lossy(&ok("x")))).await;
    let guest = Guest::of(&[&host], local_names(), "");
    for _ in 0..3 {
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
    }
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for (said, expected) in [
        ("HTTP/1.1 99 X\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 1000 X\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nx", EgressError::Protocol),
        ("HTTP/3.0 200 OK\r\n\r\n", EgressError::Protocol),
        ("SSH-2.0-OpenSSH_9.6\r\n", EgressError::Protocol),
        ("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", EgressError::Protocol),
        ("HTTP/1.1 200 OK\r\na b: 1\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", EgressError::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", EgressError::Protocol),
        ("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", EgressError::Protocol),
    ] {
        let host = Host::saying(said).await;
        let guest = Guest::of(&[&host], local_names(), "");
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Err(expected), "{said}");
        host.closed().await;
    }
}

#[tokio::test]
async fn an_answer_with_two_framings_is_read_by_one_or_refused() {
    for (said, expected) in [
        ("content-length: 50\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", Ok("x".into())),
        ("transfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n2\r\nxy\r\n0\r\n\r\n", Ok("xy".into())),
        ("transfer-encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n", Err(EgressError::BrokenOff)),
        ("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx", Err(EgressError::BrokenOff)),
    ] {
        let host = Host::saying(format!("HTTP/1.1 200 OK\r\n{said}")).await;
        let guest = Guest::of(&[&host], local_names(), "");
        assert_eq!(guest.text(&host.url("api.test", "/")).await, expected, "{said}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_early_is_not_whole() {
    for said in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_head(&mut stream).await;
            stream.write_all(said.as_bytes()).await.expect("written");
        });
        let host = Host { port, ..Host::saying("").await };
        let guest = Guest::of(&[&host], local_names(), "");
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Err(EgressError::BrokenOff), "{said}");
    }
}

#[tokio::test]
async fn a_host_that_never_comes_to_its_answer_is_ended_by_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (ends, ended) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {}
        ends.send(()).expect("somebody waits");
    });
    let host = Host { port, ..Host::saying("").await };
    let guest = Guest::of(&[&host], local_names(), "");
    let terms = Terms { deadline: Instant::now() + Duration::from_millis(100), ..terms() };
    assert_eq!(guest.send(get(&host.url("api.test", "/")), terms).await.err(), Some(EgressError::Deadline));
    soon(ended).await.expect("the connection is closed");
}

#[tokio::test]
async fn what_a_host_says_of_its_connection_stays_here() {
    let host = Host::saying(
        *b"HTTP/1.1 200 OK\r\nconnection: x\r\nkeep-alive: 1\r\nupgrade: h2c\r\ncontent-length: 1\r\nx: 1\r\n\r\nx",
    )
    .await;
    let guest = Guest::of(&[&host], local_names(), "");
    let answer = guest.get(&host.url("api.test", "/")).await.expect("an answer");
    let mut names: Vec<&str> = answer.response.headers().keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "x"]);
}

#[tokio::test]
async fn no_error_tells_an_address_or_a_reason() {
    let host = Host::saying("x").await;
    let guest = Guest::of(&[&host], Names::new(&[("api.test", &[&["127.0.0.9"]])]), "");
    for url in
        [host.url("api.test", "/"), host.url("127.0.0.1", "/"), host.url("169.254.169.254", "/"), host.url("b.test", "/")]
    {
        let error = guest.get(&url).await.expect_err("no answer").to_string();
        assert!(!error.chars().any(|letter| letter.is_ascii_digit()) && !error.contains("rivate"), "{error}");
    }
}
