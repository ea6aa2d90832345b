//! What an issuer publishes, over HTTP. It blocks: call it where that is allowed.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use url::Url;

use crate::config::is_private_enough;

/// Time for one answer.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Longest answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What is read of a discovery document
/// ([OpenID Connect Discovery 1.0](https://openid.net/specs/openid-connect-discovery-1_0.html)).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// The key set of an issuer, as it comes.
///
/// # Errors
/// When it is not to be had, says that it is another issuer, or names a place where others could change the keys.
pub(super) fn keys(issuer: &str) -> Result<Vec<u8>, String> {
    let agent = agent();
    let place = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let discovery: Discovery =
        serde_json::from_slice(&get(&agent, &place)?).map_err(|error| format!("{place} is no discovery document: {error}"))?;
    if discovery.issuer != issuer {
        let other: String = discovery.issuer.chars().take(200).flat_map(char::escape_default).collect();
        return Err(format!(
            "{place} says that the issuer is `{other}`: write that into `auth.oidc.issuer` if it is the right one"
        ));
    }
    match discovery.jwks_uri.parse::<Url>() {
        Ok(url) if is_private_enough(&url) => get(&agent, url.as_str()),
        _ => Err(format!("{place} names keys at a place that is neither https nor on this machine")),
    }
}

fn get(agent: &ureq::Agent, url: &str) -> Result<Vec<u8>, String> {
    let mut answer = agent.get(url).call().map_err(|error| format!("{url}: {error}"))?;
    let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
    body.read_to_vec().map_err(|error| format!("{url}: {error}"))
}

/// It follows nobody elsewhere, and trusts whom this machine trusts.
fn agent() -> ureq::Agent {
    let native = rustls_native_certs::load_native_certs().certs;
    let roots: Vec<Certificate<'static>> = native.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
    let roots = if roots.is_empty() { RootCerts::WebPki } else { RootCerts::Specific(Arc::new(roots)) };
    let tls = TlsConfig::builder().root_certs(roots).build();
    let config = ureq::Agent::config_builder().timeout_global(Some(WAIT_MAX)).max_redirects(0).proxy(None).tls_config(tls);
    config.build().into()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;

    /// A host that answers each request with the text that `answer` makes of its own URL and the path.
    fn host(answer: impl Fn(&str, &str) -> String + Send + 'static) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let own = url.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let line = lines.next().unwrap_or_default();
                lines.find(String::is_empty);
                let text = answer(&own, line.split(' ').nth(1).unwrap_or_default());
                (&stream).write_all(text.as_bytes()).ok(); // who asked may have had enough
            }
        });
        url
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    #[test]
    fn keys_are_found_by_the_discovery_document() {
        let url = host(|own, path| match path {
            "/.well-known/openid-configuration" => ok(&format!("{{\"issuer\": \"{own}\", \"jwks_uri\": \"{own}/k\"}}")),
            "/k" => ok("{\"keys\": []}"),
            _ => ok("lost"),
        });
        assert_eq!(keys(&url).as_deref(), Ok(&b"{\"keys\": []}"[..]));
    }

    #[test]
    fn an_issuer_that_is_another_or_leads_elsewhere_is_refused() {
        type Answer = fn(&str) -> String;
        let answers: [(Answer, &str); 6] = [
            (|own| ok(&format!("{{\"issuer\": \"{own}/\", \"jwks_uri\": \"{own}\"}}")), "says that the issuer is"),
            (|own| ok(&format!("{{\"issuer\": \"{own}\", \"jwks_uri\": \"http://id.example/k\"}}")), "neither https nor"),
            (|own| ok(&format!("{{\"issuer\": \"{own}\", \"jwks_uri\": \"file:///etc/passwd\"}}")), "neither https nor"),
            (|_| ok("not JSON"), "no discovery document"),
            (|_| "HTTP/1.1 302 Found\r\nlocation: https://id.example/\r\ncontent-length: 0\r\n\r\n".into(), ""),
            (|_| ok(&" ".repeat(2 << 20)), ""),
        ];
        for (answer, words) in answers {
            let url = host(move |own, _| answer(own));
            let error = keys(&url).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
