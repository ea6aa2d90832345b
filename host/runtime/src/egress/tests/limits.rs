//! What ends requests.

use futures::StreamExt;
use futures::channel::mpsc::UnboundedSender;
use http_body::Frame;
use http_body_util::StreamBody;

use super::*;

/// A body that the test writes.
fn written() -> (UnboundedSender<Result<Bytes, ()>>, Body) {
    let (sender, pieces) = futures::channel::mpsc::unbounded();
    (sender, Body::streamed(StreamBody::new(pieces.map(|piece| piece.map(Frame::data)))))
}

fn head(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{text}\r\n")
}

#[tokio::test]
async fn a_body_streams_out_while_the_guest_writes_it() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    for (announced, expected) in [(None, "\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), (Some("3"), "content-length: 3\r\n")] {
        let (pieces, body) = written();
        let mut request = post(&host.url("api.test", "/"), body);
        if let Some(length) = announced {
            request.headers_mut().insert("content-length", http::HeaderValue::from_static(length));
        }
        pieces.unbounded_send(Ok("ab".into())).expect("sent");
        pieces.unbounded_send(Ok("c".into())).expect("sent");
        drop(pieces);
        assert_eq!(text(guest.send(request, terms()).await.expect("an answer")).await, Ok("x".into()));
        let heard = host.heard().await;
        assert!(heard.contains(expected), "{heard}");
    }
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_breaks_off() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    for (piece, expected) in
        [("ab", EgressError::RequestBody), ("abcd", EgressError::Invalid("the body is longer than content-length says"))]
    {
        let (pieces, body) = written();
        let mut request = post(&host.url("api.test", "/"), body);
        request.headers_mut().insert("content-length", http::HeaderValue::from_static("3"));
        pieces.unbounded_send(Ok(piece.into())).expect("sent");
        drop(pieces);
        assert_eq!(guest.send(request, terms()).await.err(), Some(expected));
        assert!(!host.closed().await.contains("abcd"));
    }
}

#[tokio::test]
async fn a_body_that_the_guest_breaks_off_is_not_taken_for_whole() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    let (pieces, body) = written();
    pieces.unbounded_send(Ok("ab".into())).expect("sent");
    pieces.unbounded_send(Err(())).expect("sent");
    assert_eq!(guest.send(post(&host.url("api.test", "/"), body), terms()).await.err(), Some(EgressError::RequestBody));
    assert!(!host.closed().await.contains("0\r\n\r\n"));
}

#[tokio::test]
async fn egress_is_paid_for_and_ends_where_the_quota_does() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "[quota]\negress_bytes_per_min_max = 2000");
    let (pieces, body) = written();
    for _ in 0..3 {
        pieces.unbounded_send(Ok(vec![b'a'; 900].into())).expect("sent");
    }
    let error = guest.send(post(&host.url("api.test", "/"), body), terms()).await.expect_err("over the quota");
    let EgressError::Denied(denial) = error else { panic!("{error}") };
    assert_eq!((error.to_string().as_str(), denial.retry_after().is_some()), ("quota", true));
    assert!(host.closed().await.matches('a').count() <= 1810);
    assert!((1800..=2000).contains(&guest.rights.ledger.usage().egress_bytes));
    assert!(guest.told()[0].contains("Quota"));
    // What is known before is refused before.
    let refused = guest.send(post(&host.url("api.test", "/"), Body::Whole(vec![0; 500].into())), terms()).await;
    assert!(matches!(refused, Err(EgressError::Denied(_))));
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_quota_that_ends_after_the_answer_began_ends_the_answer() {
    let host = Host::answering(|_| Vec::new()).await;
    let early = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = early.local_addr().expect("an address").port();
    tokio::spawn(async move {
        let (mut stream, _) = early.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(head("content-length: 5\r\n\r\nab").as_bytes()).await.expect("written");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
    });
    let host = Host { port, ..host };
    let guest = Guest::of(&[&host], local_names(), "[quota]\negress_bytes_per_min_max = 500");
    let (pieces, body) = written();
    let answer = guest.send(post(&host.url("api.test", "/"), body), terms()).await.expect("the head");
    pieces.unbounded_send(Ok(vec![b'a'; 600].into())).expect("sent");
    assert_eq!(text(answer).await.expect_err("over the quota").to_string(), "quota");
}

#[tokio::test]
async fn an_answer_that_is_too_long_breaks_off() {
    for said in
        [head("content-length: 11\r\n\r\n01234567890"), head("\r\n01234567890"), head("content-length: 10\r\n\r\n0123456789")]
    {
        let is_allowed = said.ends_with("content-length: 10\r\n\r\n0123456789\r\n");
        let host = Host::saying(said.trim_end()).await;
        let guest = Guest::of(&[&host], local_names(), "response_body_bytes_max = 10");
        let got = guest.text(&host.url("api.test", "/")).await;
        assert_eq!(got, if is_allowed { Ok("0123456789".into()) } else { Err(EgressError::BodyTooLong) });
        if !is_allowed {
            host.closed().await;
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    for (length, is_allowed) in [(100, true), (2000, false), (100_000, false)] {
        let host = Host::saying(head(&format!("x: {}\r\ncontent-length: 0\r\n", "a".repeat(length)))).await;
        let guest = Guest::of(&[&host], local_names(), "response_header_bytes_max = 1000");
        let got = guest.text(&host.url("api.test", "/")).await;
        assert_eq!(got, if is_allowed { Ok(String::new()) } else { Err(EgressError::HeadTooLong) }, "{length}");
    }
    let many = (0..1000).map(|count| format!("x{count}: 1\r\n")).collect::<String>();
    let host = Host::saying(head(&many)).await;
    let guest = Guest::of(&[&host], local_names(), "");
    assert_eq!(guest.text(&host.url("api.test", "/")).await, Err(EgressError::HeadTooLong));
}

struct Never;

impl Resolve for Never {
    fn resolve(&self, _: String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_connection_that_takes_too_long_is_given_up() {
    let host = Host::answering(|_| Vec::new()).await;
    let guest = Guest::of(&[&host], Arc::new(Never), "connect_ms_max = 20\nconcurrency_max = 2");
    assert_eq!(guest.text(&host.url("api.test", "/")).await, Err(EgressError::ConnectTimeout));
    // It speaks no TLS, nor anything else.
    let https = host.url("127.0.0.1", "/").replace("http:", "https:");
    assert_eq!(guest.text(&https).await.expect_err("no TLS"), system_tls_error());
    // The lookup is still under way and keeps its place.
    let second = guest.text(&host.url("api.test", "/")).await;
    assert_eq!(second, Err(EgressError::ConnectTimeout));
    assert_eq!(guest.text(&host.url("127.0.0.1", "/")).await, Err(EgressError::TooMany));
    let patient = Guest::of(&[&host], Arc::new(Never), "connect_ms_max = 60000");
    let hurried = Terms { connect_max: Some(Duration::from_millis(20)), ..terms() };
    assert_eq!(patient.send(get(&host.url("api.test", "/")), hurried).await.err(), Some(EgressError::ConnectTimeout));
}

/// What https says to a host that is silent: without certificates to trust it doesn't even begin.
fn system_tls_error() -> EgressError {
    match rustls_native_certs::load_native_certs().certs.is_empty() {
        true => EgressError::NoRoots,
        false => EgressError::ConnectTimeout,
    }
}

#[tokio::test]
async fn only_so_many_are_under_way_until_their_bodies_end() {
    let host = Host::saying(head("content-length: 3\r\n\r\nab").trim_end()).await;
    let guest = Guest::of(&[&host], local_names(), "concurrency_max = 2");
    let url = host.url("api.test", "/");
    let (first, second) = (guest.get(&url).await.expect("an answer"), guest.get(&url).await.expect("an answer"));
    assert_eq!(guest.text(&url).await, Err(EgressError::TooMany));
    drop(first);
    host.closed().await;
    let third = guest.get(&url).await.expect("an answer");
    assert_eq!(guest.text(&url).await, Err(EgressError::TooMany));
    drop((second, third));
    let whole = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&whole], local_names(), "concurrency_max = 1");
    for _ in 0..20 {
        assert_eq!(guest.text(&whole.url("api.test", "/")).await, Ok("x".into()), "an answer's end frees its place");
        assert!(is_denied(&guest.get(&whole.url("other.test", "/")).await), "and so does a denial");
    }
    assert_eq!(whole.connections(), 1);
}

#[tokio::test]
async fn dropping_a_request_closes_its_connection() {
    let host = Host::answering(|_| Vec::new()).await;
    let guest = Guest::of(&[&host], local_names(), "");
    let (_pieces, body) = written();
    for (count, request) in [get(&host.url("api.test", "/")), post(&host.url("api.test", "/"), body)].into_iter().enumerate() {
        let connected = async {
            while host.connections() <= count {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = guest.send(request, terms()) => panic!("nothing is answered"),
            () = soon(connected) => {}
        }
        host.closed().await;
    }
}

#[tokio::test]
async fn dropping_an_answer_closes_its_connection() {
    let host = Host::saying(head("content-length: 3\r\n\r\nab").trim_end()).await;
    let guest = Guest::of(&[&host], local_names(), "");
    let mut answer = guest.get(&host.url("api.test", "/")).await.expect("an answer");
    let frame = soon(answer.response.body_mut().frame()).await.expect("a frame").expect("data");
    assert_eq!(frame.into_data().expect("data"), "ab");
    drop(answer);
    host.closed().await;
}

#[tokio::test]
async fn a_deadline_ends_requests_and_answers_that_nobody_reads() {
    let soon_over = || Terms { deadline: Instant::now() + Duration::from_millis(100), ..terms() };
    let silent = Host::answering(|_| Vec::new()).await;
    let guest = Guest::of(&[&silent], local_names(), "");
    let got = guest.send(get(&silent.url("api.test", "/")), soon_over()).await;
    assert_eq!(got.err(), Some(EgressError::Deadline));
    silent.closed().await;
    let slow = Host::saying(head("content-length: 300000\r\n\r\nab").trim_end()).await;
    let guest = Guest::of(&[&slow], local_names(), "");
    let (_pieces, body) = written();
    let answer = guest.send(get(&slow.url("api.test", "/")), soon_over()).await.expect("the head");
    slow.closed().await;
    assert_eq!(text(answer).await, Err(EgressError::Deadline));
    let got = guest.send(post(&slow.url("api.test", "/"), body), soon_over()).await;
    assert_eq!(got.err(), Some(EgressError::Deadline));
    slow.closed().await;
}

#[tokio::test]
async fn cancellation_ends_everything() {
    let slow = Host::saying(head("content-length: 3\r\n\r\nab").trim_end()).await;
    let guest = Guest::of(&[&slow], local_names(), "");
    let terms = terms();
    let answer = guest.send(get(&slow.url("api.test", "/")), terms.clone()).await.expect("the head");
    terms.gone.cancel();
    slow.closed().await;
    assert_eq!(text(answer).await, Err(EgressError::Cancelled));
    assert_eq!(guest.send(get(&slow.url("api.test", "/")), terms).await.err(), Some(EgressError::Cancelled));
}

#[tokio::test]
async fn an_answer_before_the_requests_end_does_not_break_it_off() {
    let early = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = early.local_addr().expect("an address").port();
    let host = Host { port, ..Host::saying("").await };
    let guest = Guest::of(&[&host], local_names(), "concurrency_max = 1");
    let (pieces, body) = written();
    let request = post(&host.url("api.test", "/"), body);
    let serve = async {
        let (mut stream, _) = early.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(&ok("x")).await.expect("written");
        stream
    };
    let (answer, mut stream) = tokio::join!(guest.send(request, terms()), serve);
    assert_eq!(text(answer.expect("an answer")).await, Ok("x".into()));
    assert_eq!(guest.text(&host.url("api.test", "/")).await, Err(EgressError::TooMany), "the request is still under way");
    pieces.unbounded_send(Ok("late".into())).expect("still wanted");
    drop(pieces);
    let mut heard = Vec::new();
    while !heard.ends_with(b"4\r\nlate\r\n0\r\n\r\n") {
        assert!(soon(stream.read_buf(&mut heard)).await.expect("read") > 0, "{}", String::from_utf8_lossy(&heard));
    }
}

#[tokio::test]
async fn connections_wait_for_their_time_and_up_to_their_number() {
    let hosts = [Host::saying(ok("x")).await, Host::saying(ok("x")).await, Host::saying(ok("x")).await];
    let guest = Guest::of(&[&hosts[0], &hosts[1], &hosts[2]], local_names(), "concurrency_max = 2");
    for host in &hosts {
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
    }
    let pool = &guest.egress.means.pool;
    assert_eq!(pool.len(), 2);
    hosts[0].closed().await;
    assert!(pool.sweep(Instant::now() + Duration::from_secs(10)));
    assert!(!pool.sweep(Instant::now() + Duration::from_secs(40)));
    hosts[1].closed().await;
    hosts[2].closed().await;
    assert_eq!(guest.text(&hosts[0].url("api.test", "/")).await, Ok("x".into()));
    drop(guest);
    hosts[0].closed().await;
}

#[tokio::test]
async fn a_host_that_closed_a_waiting_connection_is_connected_to_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            read_head(&mut stream).await;
            stream.write_all(&ok("x")).await.expect("written");
        }
    });
    let host = Host { port, ..Host::saying("").await };
    let guest = Guest::of(&[&host], local_names(), "");
    for _ in 0..10 {
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
        while guest.egress.means.pool.sweep(Instant::now()) {
            tokio::task::yield_now().await;
        }
    }
}
