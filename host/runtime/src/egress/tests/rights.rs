//! Where requests may go, and with what.

use super::*;

#[tokio::test]
async fn what_is_granted_is_sent_and_answered() {
    let host = Host::saying(ok("hello")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    let mut request = post(&host.url("API.test", "/a/../b?q=1"), Body::Whole("body".into()));
    request.headers_mut().insert("x-a", http::HeaderValue::from_static("1"));
    let answer = guest.send(request, terms()).await.expect("an answer");
    assert_eq!((answer.response.status().as_u16(), answer.url.as_str()), (200, &*host.url("api.test", "/b?q=1")));
    assert_eq!(text(answer).await, Ok("hello".into()));
    let heard = host.heard().await;
    assert!(heard.starts_with("POST /b?q=1 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: api.test:{}\r\n", host.port)), "{heard}");
    assert!(
        heard.contains("x-a: 1\r\n") && heard.contains("content-length: 4\r\n") && heard.ends_with("\r\n\r\nbody"),
        "{heard}"
    );
    assert!(guest.told().is_empty());
    assert!(guest.rights.ledger.usage().egress_bytes > 40);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_looked_up_by_nobody() {
    let (host, names) = (Host::saying(ok("")).await, local_names());
    let guest = Guest::of(&[&host], names.clone(), "");
    for url in [
        host.url("other.test", "/"),
        host.url("xapi.test", "/"),
        "http://api.test/".into(),
        host.url("127.0.0.2", "/"),
        host.url("[::1]", "/"),
        host.url("169.254.169.254", "/"),
        host.url("0xa9fea9fe", "/"),
        host.url("[::ffff:169.254.169.254]", "/"),
        host.url("[64:ff9b::a9fe:a9fe]", "/"),
        host.url("metadata.google.internal.", "/"),
    ] {
        assert!(is_denied(&guest.get(&url).await), "{url}");
    }
    assert_eq!((names.lookups(), host.connections(), guest.told().len()), (0, 0, 10));
}

#[tokio::test]
async fn odd_spellings_of_an_address_are_that_address() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    for spelling in ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1"] {
        assert_eq!(guest.text(&host.url(spelling, "/")).await, Ok("x".into()), "{spelling}");
        assert!(host.heard().await.contains(&format!("host: 127.0.0.1:{}\r\n", host.port)));
    }
}

#[tokio::test]
async fn a_name_for_a_private_or_metadata_address_reads_as_one_that_is_not_granted() {
    let host = Host::saying(ok("")).await;
    for address in ["10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "0.0.0.0"] {
        let guest = Guest::of(&[&host], Names::new(&[("api.test", &[&[address]])]), "");
        let error = guest.get(&host.url("api.test", "/")).await.expect_err("denied");
        let other = guest.get(&host.url("other.test", "/")).await.expect_err("denied");
        assert_eq!((error.to_string(), other.to_string()), ("denied".into(), "denied".into()), "{address}");
        assert_eq!(guest.told().len(), 2);
    }
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn only_the_addresses_that_may_be_reached_are_connected_to() {
    let host = Host::saying(ok("x")).await;
    let names = Names::new(&[("api.test", &[&["10.0.0.1", "169.254.169.254", "127.0.0.1"]])]);
    let guest = Guest::of(&[&host], names.clone(), "");
    assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
    assert_eq!((names.lookups(), guest.told()), (1, vec!["Private".into(), "Metadata".into()]));
}

#[tokio::test]
async fn an_address_that_takes_no_connection_is_followed_by_the_next() {
    let host = Host::saying(ok("x")).await;
    // The host listens at 127.0.0.1 alone.
    let guest = Guest::of(&[&host], Names::new(&[("api.test", &[&["127.0.0.3", "127.0.0.2", "127.0.0.1"]])]), "");
    assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
    let guest = Guest::of(&[&host], Names::new(&[("api.test", &[&["127.0.0.3"]])]), "");
    assert_eq!(guest.text(&host.url("api.test", "/")).await, Err(EgressError::Connect));
}

#[tokio::test]
async fn a_name_that_moves_to_another_address_is_checked_again() {
    let host = Host::saying(*b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx").await;
    for second in ["10.0.0.1", "169.254.169.254", "::ffff:169.254.169.254"] {
        let names = Names::new(&[("api.test", &[&["127.0.0.1"], &[second]])]);
        let guest = Guest::of(&[&host], names.clone(), "");
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
        assert!(is_denied(&guest.get(&host.url("api.test", "/")).await), "{second}");
        assert_eq!(names.lookups(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_waits_is_used_again_only_where_its_address_may_still_be_reached() {
    let host = Host::saying(ok("x")).await;
    let names = local_names();
    let mut guest = Guest::of(&[&host], names.clone(), "");
    for _ in 0..3 {
        assert_eq!(guest.text(&host.url("api.test", "/")).await, Ok("x".into()));
    }
    assert_eq!((names.lookups(), host.connections()), (1, 1));
    let narrower = Guest::of(&[&host], names.clone(), "").rights.policy.text().replace("127.0.0.0/8", "10.0.0.0/8");
    let policy = snapshot(&narrower);
    guest.rights = Arc::new(Held { policy, ledger: Arc::default(), told: Told::default() });
    assert!(is_denied(&guest.get(&host.url("api.test", "/")).await));
    host.closed().await;
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_guest_and_policy_want() {
    let host = Host::answering(|request| match request.split(' ').nth(1) {
        Some("/end") => ok("end"),
        Some(path) => redirect(302, &format!("{path}x")),
        None => Vec::new(),
    })
    .await;
    let guest = Guest::of(&[&host], local_names(), "redirects_max = 3");
    for (wanted, expected) in [(0, "/"), (1, "/x"), (3, "/xxx"), (9, "/xxx")] {
        let answer = guest.send(get(&host.url("api.test", "/")), Terms { redirects_max: wanted, ..terms() }).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.url.path(), answer.response.status().as_u16()), (expected, 302));
    }
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn a_redirect_to_what_is_not_granted_is_denied() {
    let host = Host::answering(|request| {
        let to = request.split(' ').nth(1).and_then(|path| path.strip_prefix("/to/")).unwrap_or_default();
        redirect(302, to)
    })
    .await;
    let guest = Guest::of(&[&host], local_names(), "");
    for to in [
        "http://other.test/",
        "http://169.254.169.254/latest/meta-data/",
        "http://metadata.google.internal/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://10.0.0.1/",
        "https://api.test/",
        "ftp://api.test/",
        "file:///etc/passwd",
        "//user:password@127.0.0.1/",
    ] {
        assert!(is_denied(&guest.get(&host.url("api.test", &format!("/to/{to}"))).await), "{to}");
        assert_eq!(host.heard().await.lines().next(), Some(&*format!("GET /to/{to} HTTP/1.1")));
    }
    assert_eq!(guest.told().len(), 9);
}

#[tokio::test]
async fn a_redirect_to_another_origin_loses_credentials_and_a_secret_goes_nowhere_else() {
    let target = Host::saying(ok("target")).await;
    let to = target.url("127.0.0.1", "/");
    let host = Host::answering(move |_| redirect(307, &to)).await;
    let secret = "[secret.KEY]\nsource = { env = \"KEY\" }\nhosts = [\"api.test\"]\nheaders = [\"authorization\", \"x-key\"]\n\
        plaintext = true";
    let guest = Guest::of(&[&host, &target], local_names(), secret);
    let request = |header: &'static str| {
        let mut request = post(&host.url("api.test", "/"), Body::Whole("body".into()));
        request.headers_mut().insert(header, format!("Bearer {PLACEHOLDER}").parse().expect("a value"));
        request
    };
    let answer = guest.send(request("authorization"), terms()).await.expect("an answer");
    assert_eq!(text(answer).await, Ok("target".into()));
    assert!(host.heard().await.contains(&format!("authorization: Bearer {SECRET}\r\n")));
    let heard = target.heard().await;
    assert!(heard.ends_with("\r\n\r\nbody") && !heard.contains(SECRET) && !heard.contains(PLACEHOLDER), "{heard}");
    assert!(is_denied(&guest.send(request("x-key"), terms()).await));
    assert!(host.heard().await.contains(&format!("x-key: Bearer {SECRET}\r\n")));
    assert_eq!(target.connections(), 1);
}

#[tokio::test]
async fn a_secret_is_filled_in_for_its_host_and_header_and_shown_nowhere() {
    let host = Host::saying(ok("x")).await;
    let secret = |lines: &str| format!("[secret.KEY]\nsource = {{ env = \"KEY\" }}\nheaders = [\"authorization\"]\n{lines}");
    let request = |header: &'static str| {
        let mut request = get(&host.url("api.test", &format!("/?{PLACEHOLDER}")));
        request.headers_mut().insert(header, PLACEHOLDER.parse().expect("a value"));
        request
    };
    let granted = Guest::of(&[&host], local_names(), &secret("hosts = [\"api.test\"]\nplaintext = true"));
    let answer = granted.send(request("authorization"), terms()).await.expect("an answer");
    assert!(!format!("{answer:?} {:?}", granted.egress).contains(SECRET));
    let heard = host.heard().await;
    assert!(heard.contains(&format!("authorization: {SECRET}\r\n")) && heard.contains(&format!("/?{PLACEHOLDER} ")), "{heard}");
    assert!(is_denied(&granted.send(request("x-other"), terms()).await));
    for lines in ["hosts = [\"other.test\"]\nplaintext = true", "hosts = [\"api.test\"]"] {
        let guest = Guest::of(&[&host], local_names(), &secret(lines));
        let refused = guest.send(request("authorization"), terms()).await;
        assert!(is_denied(&refused) && !format!("{refused:?}").contains(SECRET), "{lines}");
    }
    assert_eq!(host.connections(), 1);
}

#[tokio::test]
async fn what_is_only_observed_is_sent_but_not_to_private_addresses() {
    let host = Host::saying(ok("x")).await;
    let guest = Guest::of(&[&host], local_names(), "");
    let text = guest.rights.policy.text().replace("schema = 1", "schema = 1\nmode = \"observe\"");
    let observed = |text: &str| Guest {
        egress: Egress::with(&policy::HttpGrant::default(), local_names(), Tls::of_system()),
        rights: Arc::new(Held { policy: snapshot(text), ledger: Arc::default(), told: Told::default() }),
    };
    let guest = observed(&text);
    assert_eq!(guest.text(&host.url("other.test", "/")).await, Ok("x".into()));
    assert_eq!(guest.told(), ["NotListed"]);
    assert!(is_denied(&observed(&text.replace("127.0.0.0/8", "10.0.0.0/8")).get(&host.url("other.test", "/")).await));
}
