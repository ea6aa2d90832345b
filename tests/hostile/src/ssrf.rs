//! Reaching hosts that are not granted, by a URL, a redirect or a header. What is granted is one host: `?url=URL`.

use tessera_sdk::{Error, Request, Response, http};

use crate::{Report, Size, Url};

/// URLs that nobody may reach: metadata services in every spelling, and what is no web address at all.
const FORBIDDEN: [&str; 43] = [
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254:80/",
    "http://169.254.170.2/v2/credentials",
    "http://2852039166/",
    "http://0xA9FEA9FE/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://0251.0376.0251.0376/",
    "http://025177524776/",
    "http://169.254.43518/",
    "http://169.16689662/",
    "http://169.254.169.254./",
    "http://%31%36%39.254.169.254/",
    "http://\u{ff11}\u{ff16}\u{ff19}.254.169.254/",
    "http://\u{2460}\u{2465}\u{2468}.254.169.254/",
    "http://169\u{3002}254\u{3002}169\u{3002}254/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "http://[::169.254.169.254]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::]/",
    "http://[2001:0:0:0:0:0:5601:5601]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/opc/v2/",
    "http://168.63.129.16/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://metadata.google.internal./",
    "http://METADATA.google.Internal/",
    "http://metadata.goog/",
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1/",
    "unix:/var/run/docker.sock",
    "data:text/plain,x",
    "//169.254.169.254/",
    "169.254.169.254",
    "http://",
    "",
];

/// URLs that are made of the granted one: its host as a decoy, its host at another port or by another scheme.
fn decoys(url: &str, other_port: &str) -> Vec<String> {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    vec![
        format!("http://{authority}@169.254.169.254/"),
        format!("http://{authority}:x@169.254.169.254/"),
        format!("http://user@{authority}{path}"),
        format!("http://169.254.169.254#@{authority}{path}"),
        format!("http://169.254.169.254?@{authority}{path}"),
        format!("http://169.254.169.254\\@{authority}{path}"),
        format!("http://169.254.169.254/\\{authority}{path}"),
        format!("http://{host}:{other_port}{path}"),
        format!("http://0.0.0.0:{other_port}{path}"),
        format!("http://[::]:{other_port}{path}"),
        format!("http://[::1]:{other_port}{path}"),
        format!("http://[::ffff:127.0.0.1]:{other_port}{path}"),
        format!("http://127.0.0.2:{other_port}{path}"),
        format!("http://localhost:{other_port}{path}"),
        format!("https://{authority}{path}"),
        format!("http://{authority}/not-granted"),
        format!("http://{authority}{path}/../not-granted"),
        format!("http://{authority}{path}/%2e%2e/not-granted"),
        format!("http://{authority}{path}/..%2fnot-granted"),
        format!("http://{authority}{path}\\..\\not-granted"),
    ]
}

/// Asks for each; the port of another server that listens is in `?other=PORT`. The granted URL itself has to work.
pub(crate) async fn forbidden_urls(Url(url): Url, request: Request) -> Result<Response, Error> {
    let other_port = request.query("other").ok_or_else(|| Error::bad_request("`other` is missing").with_param("other"))?;
    http::get(url.as_str()).send().await?;
    let mut attempts = Vec::new();
    let forbidden = FORBIDDEN.iter().map(|url| (*url).to_owned());
    for forbidden in forbidden.chain(decoys(&url, &other_port)) {
        let sent = http::get(forbidden.as_str()).send().await;
        attempts.push((forbidden, sent.map(drop).map_err(|error| crate::code(error.code))));
    }
    for method in ["CONNECT", "TRACE", "POST", "GET /x HTTP/1.1\r\nhost: x\r\n\r\nGET", "", "G ET"] {
        let sent = http::request(method, url.as_str()).send().await;
        attempts.push((format!("method {method}"), sent.map(drop).map_err(|error| crate::code(error.code))));
    }
    Ok(Report::of_attempts(attempts).named("ssrf"))
}

/// Follows up to so many redirects; what came last is the outcome: its status and URL, or the error.
pub(crate) async fn redirect(Size(size): Size, Url(url): Url) -> Response {
    let redirects_max = u32::try_from(size).unwrap_or(u32::MAX);
    let sent = http::get(url).header("authorization", "Bearer secret").redirects_max(redirects_max).send().await;
    let report = match sent {
        Ok(response) => Report::stopped(1, format!("{} {}", response.status(), response.url())),
        Err(error) => Report::stopped(0, crate::code(error.code)),
    };
    report.named("redirect")
}

/// Headers and paths that would make two requests of one, or another host's request of it. Whoever gets them has to look.
pub(crate) async fn smuggle(Url(url): Url) -> Response {
    let headers = [
        ("host", "metadata.google.internal"),
        ("transfer-encoding", "chunked"),
        ("content-length", "100"),
        ("connection", "x-kept"),
        ("expect", "100-continue"),
        ("upgrade", "h2c"),
        ("proxy-authorization", "Basic eA=="),
        ("x-split", "a\r\nx-smuggled: 1"),
        ("x-newline", "a\nx-smuggled: 1"),
        ("x-nul", "a\0b"),
        ("x-name\r\nx-smuggled", "1"),
        ("x blank", "1"),
        ("", "1"),
    ];
    let mut attempts = Vec::new();
    for (name, value) in headers {
        let sent = http::get(url.as_str()).header(name, value).send().await;
        attempts.push((format!("header {name}: {value}"), sent.map(drop).map_err(|error| crate::code(error.code))));
    }
    for end in ["?x HTTP/1.1\r\nx-smuggled: 1\r\n\r\n", "?x\nx-smuggled: 1", "?x#\r\nx-smuggled: 1"] {
        let sent = http::get(format!("{url}{end}")).send().await;
        attempts.push((format!("path {end}"), sent.map(drop).map_err(|error| crate::code(error.code))));
    }
    Report::of_attempts(attempts).named("smuggle")
}
