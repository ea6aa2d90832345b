//! An issuer of tokens that listens on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use runtime::OidcConfig;
use serde_json::{Value, json};

use super::fixtures::{RSA_KEY, RSA_MODULUS};
use super::now;

/// An issuer with a key of each kind.
pub(super) struct Issuer {
    pub(super) url: String,
    keys: SigningKeys,
    published: Arc<Mutex<Value>>,
    fetches: Arc<AtomicUsize>,
}

struct SigningKeys {
    random: SystemRandom,
    ecdsa: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
}

impl SigningKeys {
    fn new() -> SigningKeys {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let ecdsa = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        let document = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let ed25519 = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        let rsa = RsaKeyPair::from_pkcs8(&STANDARD.decode(RSA_KEY).expect("base64")).expect("a key");
        SigningKeys { random, ecdsa, ed25519, rsa }
    }

    /// The public halves, by these names with this at their end.
    fn published(&self, generation: &str) -> Value {
        let point = self.ecdsa.public_key().as_ref();
        let parts = [&point[1..33], &point[33..65], self.ed25519.public_key().as_ref()];
        let [x, y, ed] = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
        json!([
            {"kty": "EC", "crv": "P-256", "kid": format!("ec{generation}"), "use": "sig", "alg": "ES256", "x": x, "y": y},
            {"kty": "OKP", "crv": "Ed25519", "kid": format!("ed{generation}"), "x": ed},
            {"kty": "RSA", "kid": format!("rsa{generation}"), "use": "sig", "n": RSA_MODULUS, "e": "AQAB"},
        ])
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let bytes = message.as_bytes();
        let mut of_rsa = vec![0; self.rsa.public().modulus_len()];
        let signature = match header["alg"].as_str().expect("an algorithm") {
            "ES256" => self.ecdsa.sign(&self.random, bytes).expect("signs").as_ref().to_vec(),
            "EdDSA" => self.ed25519.sign(bytes).as_ref().to_vec(),
            "RS256" => self.rsa.sign(&RSA_PKCS1_SHA256, &self.random, bytes, &mut of_rsa).map(|()| of_rsa).expect("signs"),
            "PS256" => self.rsa.sign(&RSA_PSS_SHA256, &self.random, bytes, &mut of_rsa).map(|()| of_rsa).expect("signs"),
            // With what everybody knows as the secret.
            "HS256" => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, RSA_MODULUS.as_bytes());
                ring::hmac::sign(&key, bytes).as_ref().to_vec()
            }
            _ => Vec::new(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

impl Issuer {
    /// Listens, and publishes its keys.
    pub(super) fn start() -> Issuer {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/realm", listener.local_addr().expect("an address"));
        let keys = SigningKeys::new();
        let (published, fetches) = (Arc::new(Mutex::new(keys.published(""))), Arc::<AtomicUsize>::default());
        let (answer_keys, count, issuer) = (published.clone(), fetches.clone(), url.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
                let first = lines.next().unwrap_or_default();
                lines.find(String::is_empty);
                let body = match first.split(' ').nth(1) {
                    Some("/realm/.well-known/openid-configuration") => {
                        json!({"issuer": issuer, "jwks_uri": format!("{issuer}/jwks")})
                    }
                    Some("/realm/jwks") => {
                        count.fetch_add(1, Ordering::SeqCst);
                        json!({"keys": *answer_keys.lock().expect("keys")})
                    }
                    _ => json!(null),
                };
                let body = body.to_string();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).ok(); // who asks may be gone
            }
        });
        Issuer { url, keys, published, fetches }
    }

    /// The setting of a server that trusts it.
    pub(super) fn config(&self) -> OidcConfig {
        OidcConfig {
            issuer: self.url.clone(),
            audience: "tessera".into(),
            tenant_claim: "tenant".into(),
            tenant: None,
            scope_claim: Some("scope".into()),
            labels_claim: None,
            jwks_ms_max: 3_600_000,
        }
    }

    /// How often its keys were fetched.
    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// Publishes the same keys by other names: tokens with the old ones are good no more.
    pub(super) fn rotate(&self, generation: &str) {
        *self.published.lock().expect("keys") = self.keys.published(generation);
    }

    /// A token for the tenant `acme`, signed with a key by its name, and its claims changed.
    pub(super) fn token(&self, alg: &str, kid: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({"iss": self.url, "aud": "tessera", "sub": "somebody", "exp": now() + 600, "tenant": "acme"});
        change(&mut claims);
        self.keys.sign(&json!({"alg": alg, "kid": kid, "typ": "at+jwt"}), &claims)
    }

    /// A good token.
    pub(super) fn good(&self) -> String {
        self.token("ES256", "ec", |_| ())
    }
}
