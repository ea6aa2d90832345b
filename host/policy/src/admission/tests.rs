use super::*;
use crate::rule::Rules;
use crate::snapshot::Source;
use crate::testing::{FakeFacts, World};
use crate::{SignerKeyError, SigningKey};

const CODE: &[u8] = b"code";

/// Two keys, of which the first is trusted as `ops` and the second as `lab`.
struct Keys {
    ops: SigningKey,
    lab: SigningKey,
}

fn key() -> SigningKey {
    let key = SigningKey::generate().and_then(|text| SigningKey::parse(text.as_bytes()));
    key.unwrap_or_else(|error: SignerKeyError| unreachable!("{error}"))
}

impl Keys {
    fn new() -> Keys {
        Keys { ops: key(), lab: key() }
    }

    fn policies(&self, required: bool) -> Policies {
        let (ops, lab) = (self.ops.public(), self.lab.public());
        let text = format!("schema = 1\nrequired = {required}\n[signers]\nops = \"{ops}\"\nlab = \"{lab}\"\n");
        let signers = Signers::parse("policies/signers.toml".as_ref(), &text).expect("good keys");
        Policies { signers, ..Policies::default() }
    }
}

fn policy(component: &str) -> Snapshot {
    let text = format!("schema = 1\nmode = \"observe\"\n[component]\n{component}\n");
    let source = Source { file: "policies/chat.toml".into(), origin: "policies/chat.toml".into(), text };
    World::from(source, &[], &Rules::default(), &FakeFacts::default()).expect("a good policy").policy
}

/// The evidence of a component in this version, with a signature of this key for what it is.
struct Given {
    name: ComponentName,
    version: String,
    signature: Option<Signature>,
    floor: Option<Version>,
}

impl Given {
    fn unsigned(version: &str) -> Given {
        Given { name: "chat".parse().expect("a name"), version: version.into(), signature: None, floor: None }
    }

    fn signed(version: &str, key: &str, by: &SigningKey) -> Given {
        let given = Given::unsigned(version);
        let (parsed, manifest) = (Version::parse(version).expect("a version"), Digest::of(version.as_bytes()));
        let statement = Statement { name: &given.name, version: &parsed, manifest, code: Digest::of(CODE) };
        let signature = Some(by.sign(key, &statement));
        Given { signature, ..given }
    }

    fn after(self, floor: &str) -> Given {
        Given { floor: Some(Version::parse(floor).expect("a version")), ..self }
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence {
            name: &self.name,
            version: &self.version,
            manifest: Digest::of(self.version.as_bytes()),
            code: Digest::of(CODE),
            signature: self.signature.as_ref(),
            floor: self.floor.as_ref().map(|floor| (floor, Path::new("data/components.json"))),
        }
    }
}

fn refused(policies: &Policies, policy: &Snapshot, given: &Given) -> String {
    policies.admit(policy, &given.evidence()).expect_err("is refused").to_string()
}

#[test]
fn where_nothing_is_required_anything_runs() {
    let free = policy("");
    let admitted = Admitted { signer: None, floor: None };
    assert_eq!(Policies::default().admit(&free, &Given::unsigned("whatever").evidence()), Ok(admitted.clone()));
    let (keys, stranger) = (Keys::new(), key());
    // A signature that nobody can check says nothing.
    let of_a_stranger = Given::signed("1.0.0", "stranger", &stranger);
    assert_eq!(keys.policies(false).admit(&free, &of_a_stranger.evidence()), Ok(admitted));
    let signed = Given::signed("1.0.0", "ops", &keys.ops).after("2.0.0");
    let by_ops = Admitted { signer: Some("ops".into()), floor: None };
    assert_eq!(keys.policies(false).admit(&free, &signed.evidence()), Ok(by_ops));
    // A signature that can be checked has to be right.
    let forged = Given::signed("1.0.0", "ops", &stranger);
    assert!(refused(&keys.policies(false), &free, &forged).contains("is not what the key `ops` has signed"));
}

#[test]
fn a_digest_has_to_be_one_of_those_that_are_named() {
    let (right, wrong) = (Digest::of(CODE), Digest::of(b"other"));
    let given = Given::unsigned("x");
    let both = policy(&format!("digests = [\"{wrong}\", \"{right}\"]"));
    assert!(Policies::default().admit(&both, &given.evidence()).is_ok());
    let text = refused(&Policies::default(), &policy(&format!("digests = [\"{wrong}\"]")), &given);
    assert!(text.contains(&right.to_string()) && text.contains("policies/chat.toml"), "{text}");
}

#[test]
fn a_required_signature_has_to_be_there_and_of_a_trusted_key() {
    let keys = Keys::new();
    let policies = keys.policies(true);
    let text = refused(&policies, &policy(""), &Given::unsigned("1.0.0"));
    assert!(text.contains("not signed") && text.contains("policies/signers.toml") && text.contains("`lab`, `ops`"), "{text}");
    let text = refused(&policies, &policy(""), &Given::signed("1.0.0", "stranger", &key()));
    assert!(text.contains("of the key `stranger`") && text.contains("`lab`, `ops`"), "{text}");
    let text = refused(&policies, &policy(""), &Given::signed("1.0.0", "ops", &keys.lab));
    assert!(text.contains("is not what the key `ops` has signed"), "{text}");
    let admitted = policies.admit(&policy(""), &Given::signed("1.0.0", "lab", &keys.lab).evidence());
    assert_eq!(admitted, Ok(Admitted { signer: Some("lab".into()), floor: Some(Version::new(1, 0, 0)) }));
}

#[test]
fn a_component_may_need_one_key_of_several() {
    let keys = Keys::new();
    let only = policy("signers = [\"ops\"]");
    for policies in [keys.policies(true), keys.policies(false)] {
        assert!(policies.admit(&only, &Given::signed("1.0.0", "ops", &keys.ops).evidence()).is_ok());
        let text = refused(&policies, &only, &Given::signed("1.0.0", "lab", &keys.lab));
        assert!(text.contains("policies/chat.toml wants one of `ops`"), "{text}");
        assert!(refused(&policies, &only, &Given::unsigned("1.0.0")).contains("policies/chat.toml requires it"));
        let text = refused(&policies, &policy("signers = [\"gone\"]"), &Given::signed("1.0.0", "ops", &keys.ops));
        assert!(text.contains("names `gone`, which is not in policies/signers.toml"), "{text}");
    }
}

#[test]
fn a_signature_of_another_version_name_or_file_does_not_count() {
    let keys = Keys::new();
    let policies = keys.policies(true);
    let good = Given::signed("1.0.0", "ops", &keys.ops);
    let newer = Given { version: "1.0.1".into(), ..Given::signed("1.0.0", "ops", &keys.ops) };
    let other = Given { name: "chat2".parse().expect("a name"), ..Given::signed("1.0.0", "ops", &keys.ops) };
    let evidences = [
        newer.evidence(),
        other.evidence(),
        Evidence { manifest: Digest::of(b"changed"), ..good.evidence() },
        Evidence { code: Digest::of(b"changed"), ..good.evidence() },
    ];
    for evidence in evidences {
        assert_eq!(policies.admit(&policy(""), &evidence), Err(Refused::Signature { key: "ops".into() }));
    }
}

#[test]
fn an_older_signed_version_runs_only_where_the_policy_says_so() {
    let keys = Keys::new();
    let policies = keys.policies(true);
    let signed = |version: &str| Given::signed(version, "ops", &keys.ops);
    for version in ["1.2.0", "1.2.1", "2.0.0-beta"] {
        assert!(policies.admit(&policy(""), &signed(version).after("1.2.0").evidence()).is_ok(), "{version}");
    }
    let text = refused(&policies, &policy(""), &signed("1.1.9").after("1.2.0"));
    for words in ["1.2.0 has run here already", "data/components.json", "policies/chat.toml", "version_min = \"1.1.9\""] {
        assert!(text.contains(words), "{text}");
    }
    let back = policy("version_min = \"1.1.0\"");
    assert!(policies.admit(&back, &signed("1.1.9").after("1.2.0").evidence()).is_ok());
    let text = refused(&policies, &back, &signed("1.0.9"));
    assert!(text.contains("version 1.0.9") && text.contains("version_min` in policies/chat.toml is 1.1.0"), "{text}");
    assert!(refused(&Policies::default(), &back, &Given::unsigned("1.0.9")).contains("version_min"));
}

#[test]
fn a_version_that_can_not_be_compared_is_refused_where_versions_count() {
    let keys = Keys::new();
    for version in ["1.0", "v1.0.0", "", "1.0.0\ncomponent.wasm sha256:00", "latest"] {
        let text = refused(&keys.policies(true), &policy(""), &Given::unsigned(version));
        assert!(text.contains("write it as 1.2.3"), "{text}");
        refused(&Policies::default(), &policy("version_min = \"0.1.0\""), &Given::unsigned(version));
    }
}

#[test]
fn a_file_of_keys_that_is_wrong_is_refused() {
    let parse = |text: &str| Signers::parse("policies/signers.toml".as_ref(), text);
    let ops = key().public();
    for (text, reason) in [
        (String::new(), "schema"),
        ("schema = 2\n".into(), "schema 2"),
        ("schema = 1\nrequired = true\n".into(), "lets no component run"),
        ("schema = 1\nneeded = true\n".into(), "unknown field `needed`"),
        ("schema = 1\n[signers]\nops = \"ed25519:AAAA\"\n".into(), "no public key"),
        (format!("schema = 1\n[signers]\n\"a b\" = \"{ops}\"\n"), "can't be called `a b`"),
        (format!("schema = 1\n[signers]\nops = \"{ops}\"\nops = \"{ops}\"\n"), "duplicate key"),
        ("\u{0}\u{1}".into(), "signers.toml is refused"),
    ] {
        let error = parse(&text).expect_err(reason).to_string();
        assert!(error.contains(reason) && error.contains("signers.toml"), "{error}");
    }
    let many: String = (0..=SIGNERS_MAX).map(|index| format!("k{index} = \"{ops}\"\n")).collect();
    assert!(parse(&format!("schema = 1\n[signers]\n{many}")).is_err());
    let folder = tempfile::tempdir().expect("a folder");
    let none = Policies::read(folder.path()).expect("no keys");
    assert_eq!(none.signers.keys.len(), 0);
    let own = none.snapshot(&"signers".parse().expect("a name"), &[], &FakeFacts::default()).expect_err("taken");
    assert!(own.to_string().contains("give the component another name"), "{own}");
}
