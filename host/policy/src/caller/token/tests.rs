use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

/// Signs tokens as an issuer does.
struct Issuer {
    ecdsa: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    random: SystemRandom,
}

const NOW: u64 = 1_767_323_045;

impl Issuer {
    fn new() -> Issuer {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let ecdsa = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("a key");
        let document = Ed25519KeyPair::generate_pkcs8(&random).expect("a key");
        let ed25519 = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        Issuer { ecdsa, ed25519, random }
    }

    fn jwks(&self) -> Value {
        let point = self.ecdsa.public_key().as_ref();
        let [x, y, ed] =
            [&point[1..33], &point[33..65], self.ed25519.public_key().as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": x, "y": y},
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": ed},
            {"kty": "EC", "crv": "P-256", "kid": "enc", "use": "enc", "x": x, "y": y},
            {"kty": "EC", "crv": "P-256", "kid": "other-alg", "alg": "ES384", "x": x, "y": y},
            {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
            {"kty": "something new", "kid": "new"},
        ]})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.jwks().to_string().as_bytes()).expect("a key set")
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
            Some("none") => Vec::new(),
            _ => self.ecdsa.sign(&self.random, message.as_bytes()).expect("a signature").as_ref().to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        change(&mut claims);
        self.sign(&json!({"alg": "ES256", "kid": "ec", "typ": "at+jwt"}), &claims)
    }
}

fn claims() -> Value {
    json!({"iss": "https://id.example/realm", "aud": ["x", "tessera"], "sub": "user 1", "exp": NOW + 60, "tenant": "acme"})
}

fn rules() -> TokenRules {
    TokenRules {
        issuer: "https://id.example/realm".into(),
        audience: "tessera".into(),
        tenant: TenantSource::Claim("tenant".into()),
        scope_claim: Some("scope".into()),
        labels_claim: Some("groups".into()),
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn verify(issuer: &Issuer, token: &str) -> Result<VerifiedToken, TokenError> {
    rules().verify(token, &issuer.keys(), at(NOW))
}

#[test]
fn subjects_of_two_issuers_on_one_host_are_two_callers() {
    let ids = ["https://id.example/realms/a", "https://id.example/realms/b/", "https://id.example:8443"]
        .map(|issuer| caller_id(issuer, "x"));
    assert_eq!(ids, ["oidc:id.example/realms/a#x", "oidc:id.example/realms/b#x", "oidc:id.example:8443#x"]);
    assert_eq!(caller_id("https://id.example/#y", "x"), "oidc:id.example/%23y#x");
}

#[test]
fn a_good_token_says_who_comes_for_whom_and_until_when() {
    let issuer = Issuer::new();
    let expected = VerifiedToken {
        caller: "oidc:id.example/realm#user%201".into(),
        tenant: "acme".parse().expect("a name"),
        scope: Scope::everything(),
        expires: at(NOW + 120),
    };
    assert_eq!(verify(&issuer, &issuer.token(|_| ())), Ok(expected.clone()));
    let ed = issuer.sign(&json!({"alg": "EdDSA", "kid": "ed"}), &claims());
    assert_eq!(verify(&issuer, &ed), Ok(expected));
    assert_eq!(issuer_of(&ed).as_deref(), Some("https://id.example/realm"));
    assert_eq!((issuer_of("tessera_x"), issuer_of("a.b.c"), issuer_of("a.b.c.d")), (None, None, None));
}

#[test]
fn a_token_that_is_not_as_it_should_be_is_refused() {
    let issuer = Issuer::new();
    let changes: [(&str, Value); 14] = [
        ("iss", json!("https://id.example/other")),
        ("iss", json!(null)),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!(null)),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("x".repeat(256))),
        ("exp", json!("tomorrow")),
        ("exp", json!(null)),
        ("nbf", json!(NOW + 61)),
        ("nbf", json!("x")),
        ("tenant", json!("A B")),
        ("tenant", json!(null)),
    ];
    for (claim, value) in changes {
        let token = issuer.token(|claims| claims[claim] = value.clone());
        assert!(matches!(verify(&issuer, &token), Err(TokenError::Refused(_))), "{claim} = {value}");
        let without = issuer.token(|claims| drop(claims.as_object_mut().expect("claims").remove(claim)));
        assert_eq!(verify(&issuer, &without).is_ok(), claim == "nbf", "{claim}");
    }
    for exp in [0, NOW - 61, NOW - 60] {
        assert_eq!(verify(&issuer, &issuer.token(|claims| claims["exp"] = json!(exp))), Err(TokenError::Expired));
    }
    assert!(verify(&issuer, &issuer.token(|claims| claims["exp"] = json!(NOW - 59))).is_ok(), "clocks are apart");
    assert!(verify(&issuer, &issuer.token(|claims| claims["nbf"] = json!(NOW + 60))).is_ok(), "clocks are apart");
    assert!(verify(&issuer, &issuer.token(|claims| claims["exp"] = json!(1e300))).is_err());
}

#[test]
fn an_algorithm_that_is_not_the_keys_own_is_refused() {
    let issuer = Issuer::new();
    for (alg, kid) in [
        ("none", "ec"),
        ("HS256", "ec"),
        ("HS256", "shared"),
        ("RS256", "ec"),
        ("ES384", "ec"),
        ("EdDSA", "ec"),
        ("ES256", "ed"),
        ("ES256", "enc"),
        ("ES256", "other-alg"),
        ("ES256", "shared"),
        ("es256", "ec"),
    ] {
        let token = issuer.sign(&json!({"alg": alg, "kid": kid}), &claims());
        assert!(matches!(verify(&issuer, &token), Err(TokenError::Refused(_))), "{alg} with {kid}");
    }
    let extended = issuer.sign(&json!({"alg": "ES256", "kid": "ec", "crit": ["b64"]}), &claims());
    assert!(verify(&issuer, &extended).is_err());
}

#[test]
fn a_public_key_as_a_shared_secret_signs_nothing() {
    let issuer = Issuer::new();
    let message =
        [json!({"alg": "HS256", "kid": "ec"}), claims()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    for secret in [issuer.ecdsa.public_key().as_ref(), issuer.jwks().to_string().as_bytes()] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes())));
        assert!(matches!(verify(&issuer, &token), Err(TokenError::Refused(_))));
    }
}

#[test]
fn every_bit_of_the_signature_counts() {
    let issuer = Issuer::new();
    let token = issuer.token(|_| ());
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    for bit in [0, 7, 255, 256, 511] {
        let mut altered = signature.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        let altered = format!("{message}.{}", URL_SAFE_NO_PAD.encode(altered));
        assert!(verify(&issuer, &altered).is_err(), "bit {bit}");
    }
    let other = Issuer::new();
    assert!(verify(&other, &token).is_err(), "signed by another");
    for torn in ["", ".", "..", "a.b.c", message, &format!("{message}."), &format!("{token}.x"), &"x".repeat(20_000)] {
        assert!(verify(&issuer, torn).is_err(), "{torn}");
    }
}

#[test]
fn a_key_that_is_not_known_is_told_apart() {
    let issuer = Issuer::new();
    for header in [json!({"alg": "ES256", "kid": "new key"}), json!({"alg": "ES256"})] {
        let token = issuer.sign(&header, &claims());
        assert_eq!(verify(&issuer, &token), Err(TokenError::UnknownKey));
    }
    let mut alone = issuer.jwks();
    alone["keys"].as_array_mut().expect("keys").truncate(1);
    let alone = KeySet::parse(alone.to_string().as_bytes()).expect("one key");
    let token = issuer.sign(&json!({"alg": "ES256"}), &claims());
    assert!(rules().verify(&token, &alone, at(NOW)).is_ok(), "there is no other that it could be");
}

#[test]
fn a_scope_claim_limits_and_only_it_makes_an_operator() {
    let issuer = Issuer::new();
    let scope = |scope: Value| verify(&issuer, &issuer.token(|claims| claims["scope"] = scope)).map(|token| token.scope);
    let narrow = Scope {
        components: "chat".parse().expect("a list"),
        models: "*".parse().expect("a list"),
        is_admin: true,
        ..Scope::everything()
    };
    assert_eq!(scope(json!("openid component:chat model:* admin")), Ok(narrow.clone()));
    assert_eq!(scope(json!(["component:chat", "admin", "model:*"])), Ok(narrow));
    assert!(scope(json!(7)).is_err() && scope(json!(["model:*", 7])).is_err() && scope(json!("model:a/b")).is_err());
    let without = TokenRules { scope_claim: None, ..rules() };
    let token = issuer.token(|claims| claims["scope"] = json!("admin"));
    assert_eq!(without.verify(&token, &issuer.keys(), at(NOW)).expect("good").scope, Scope::everything());
}

#[test]
fn a_claim_names_the_labels_of_a_caller() {
    let issuer = Issuer::new();
    let labels = |groups: Value| {
        let token = verify(&issuer, &issuer.token(|claims| claims["groups"] = groups))?;
        Ok::<String, TokenError>(token.scope.labels.to_string())
    };
    assert_eq!(labels(json!(["/hr", "finance", "no label"])).as_deref(), Ok("/hr,finance"));
    assert_eq!(labels(json!("finance /hr")).as_deref(), Ok("/hr,finance"));
    assert_eq!(labels(Value::Null).as_deref(), Ok(""));
    assert!(labels(json!(7)).is_err() && labels(json!(["hr", 7])).is_err());
    let without = TokenRules { labels_claim: None, ..rules() };
    let token = issuer.token(|claims| claims["groups"] = json!(["hr"]));
    assert!(without.verify(&token, &issuer.keys(), at(NOW)).expect("good").scope.labels.is_empty());
}

#[test]
fn a_fixed_tenant_is_everybodys() {
    let issuer = Issuer::new();
    let fixed = TokenRules { tenant: TenantSource::Fixed("ours".parse().expect("a name")), ..rules() };
    let token = issuer.token(|claims| claims["tenant"] = json!("theirs"));
    assert_eq!(fixed.verify(&token, &issuer.keys(), at(NOW)).expect("good").tenant.as_str(), "ours");
}

#[test]
fn two_subjects_never_make_the_same_caller() {
    let subjects = ["a b", "a%20b", "a\nb", "a#b", "ä", "a"];
    let ids: std::collections::BTreeSet<String> = subjects.iter().map(|subject| caller_id("https://h/", subject)).collect();
    assert_eq!(ids.len(), subjects.len());
    assert!(ids.iter().all(|id| id.chars().all(|c| c.is_ascii_graphic())));
}

#[test]
fn what_is_no_key_set_is_refused() {
    for json in ["", "{}", "{\"keys\": 1}", &json!({"keys": vec![json!({}); 101]}).to_string()] {
        assert!(KeySet::parse(json.as_bytes()).is_err(), "{json}");
    }
}
