use http::{HeaderMap, Method};
use url::Url;

use crate::grant::secret::PLACEHOLDER_PREFIX;
use crate::rule::Rules;
use crate::snapshot::Source;
use crate::testing::{FakeFacts, Told, World};
use crate::{Authority, CAPABILITIES, Cost, Denial, Denied, Reason, Resource, Witness};

use super::remedy::{Place, Remedy};

type Act = fn(Authority<'_>) -> Result<(), Denial>;

fn ask(text: &str, act: Act) -> Told {
    let world = World::new(text);
    act(world.authority()).expect_err("denied");
    world.told_once()
}

fn url(url: &str) -> Url {
    url.parse().expect("a URL")
}

fn get(authority: Authority<'_>, to: &str) -> Result<(), Denial> {
    authority.http(&Method::GET, &url(to), 1).map(drop)
}

fn send(authority: Authority<'_>, to: &str, header: &'static str) -> Result<(), Denial> {
    let value = format!("{PLACEHOLDER_PREFIX}<chat.KEY>").parse().expect("a value");
    let mut headers = HeaderMap::from_iter([(header.parse().expect("a header"), value)]);
    authority.fill_secrets(&url(to), &mut headers)
}

#[test]
fn a_denial_names_the_line_to_change_and_what_to_write_there() {
    let told = ask("mode = \"enforce\"\n[generate]\nmodels = [\"smollm2\"]\n", |rights| {
        rights.generate(Some("qwen"), Cost::default()).map(drop)
    });
    let expected = "denied: component \"chat\" may not generate qwen: policies/chat.toml:4 does not list it; \
                    change that line to: models = [\"smollm2\", \"qwen\"]";
    assert_eq!(told.explanation, expected);
    assert_eq!(told.remedy, "change line 4 of policies/chat.toml to:\n\nmodels = [\"smollm2\", \"qwen\"]\n");
}

#[test]
fn a_missing_section_is_shown_with_the_real_target() {
    let told = ask("", |rights| rights.http(&Method::POST, &url("https://api.example.com/v1/x?q=private"), 1).map(drop));
    let expected = "denied: component \"chat\" may not send POST https://api.example.com/v1/x: \
        policies/chat.toml has no [http]; add to it: \
        [http] allow = [{ host = \"api.example.com\", methods = [\"POST\"], paths = [\"/v1/x\"] }]";
    assert_eq!(told.explanation, expected);
    let block = "add to policies/chat.toml:\n\n[http]\n\
        allow = [{ host = \"api.example.com\", methods = [\"POST\"], paths = [\"/v1/x\"] }]\n";
    assert_eq!(told.remedy, block);
}

/// Every reason, with what its explanation has to say.
#[test]
fn every_reason_is_explained() {
    let digest = format!("[embed]\nmodels = [\"m@sha256:{}\"]", "0".repeat(64));
    let secret = "[secret.KEY]\nsource = { env = \"KEY\" }\nhosts = [\"a.example\"]\nheaders = [\"x-key\"]\n";
    let unset = secret.replace("env = \"KEY\"", "env = \"UNSET\"");
    let split = secret.replace("env = \"KEY\"", "env = \"SPLIT\"");
    let http = "[http]\nallow = [{ host = \"*\" }]\n";
    let folder = "[fs]\nallow = [\n  { host = \"a\", guest = \"/b\" },\n  { host = \"c\", guest = \"/d\" },\n]";
    let cases: &[(&str, Act, Reason, &[&str])] = &[
        (http, |rights| get(rights, "http://10.0.0.1/"), Reason::Private, &["chat.toml:2 names no", "10.0.0.1/32"]),
        (http, |rights| get(rights, "http://169.254.169.254/"), Reason::Metadata, &["169.254.169.254 is", "nobody"]),
        (http, |rights| get(rights, "http://user@a.example/"), Reason::Malformed, &["credentials"]),
        ("", |rights| rights.log().map(drop), Reason::NoSection, &["may not log", "has no [log]", "bytes_per_min_max"]),
        (folder, |rights| rights.write_file("/d/x"), Reason::ReadOnly, &["chat.toml:5 lets it only read", "read-write"]),
        (folder, |rights| rights.read_file("/d/../x"), Reason::NotListed, &["`..`"]),
        (folder, |rights| rights.read_file("/e/x"), Reason::NotListed, &["chat.toml:3 names no folder", "guest = \"/e\""]),
        (&digest, |rights| rights.embed(None, Cost::default()).map(drop), Reason::OtherDigest, &["tessera pull"]),
        (
            "[embed]\nmodels = [\"m\"]\ndevices = [\"cuda\"]",
            |rights| rights.embed(None, Cost::default()).map(drop),
            Reason::OtherDevice,
            &["chat.toml:4 does not name flex", "devices = [\"cuda\", \"flex\"]"],
        ),
        (secret, |rights| rights.secret("X").map(drop), Reason::NotListed, &["chat.toml:2 does not name it", "[secret.X]"]),
        (
            secret,
            |rights| send(rights, "https://b.example/", "x-key"),
            Reason::NotListed,
            &["chat.toml:2 does not let it go to b.example in the header x-key", "hosts = [\"a.example\", \"b.example\"]"],
        ),
        (
            secret,
            |rights| send(rights, "https://a.example/", "cookie"),
            Reason::NotListed,
            &["headers = [\"x-key\", \"cookie\"]"],
        ),
        (secret, |rights| send(rights, "http://a.example/", "x-key"), Reason::Plaintext, &["https only", "plaintext = true"]),
        (&unset, |rights| send(rights, "https://a.example/", "x-key"), Reason::NoValue, &["variable UNSET, which has no"]),
        (&split, |rights| send(rights, "https://a.example/", "x-key"), Reason::Malformed, &["no header can hold"]),
        ("", |rights| Err(rights.socket("1.2.3.4:5")), Reason::Unsupported, &["no policy", "[http]"]),
    ];
    let facts = FakeFacts { secrets: [("KEY", "sesame"), ("SPLIT", "first\nsecond")].into(), ..FakeFacts::default() };
    for (text, act, reason, words) in cases {
        let world = World::of(&format!("schema = 1\n{text}"), &CAPABILITIES, &facts).expect("a good policy");
        act(world.authority()).expect_err("denied");
        let told = world.told_once();
        assert_eq!(told.reason, *reason, "{text}");
        assert!(told.explanation.starts_with("denied: component \"chat\" may not "), "{}", told.explanation);
        assert!(!told.explanation.contains(['\n', '\r']) && !told.explanation.contains("second"), "{}", told.explanation);
        for word in *words {
            assert!(told.explanation.contains(word), "{word} is not in: {}", told.explanation);
        }
    }
}

#[test]
fn what_component_toml_does_not_want_is_told_with_its_line() {
    let world = World::of("schema = 1\n", &["log", "embed"], &FakeFacts::default()).expect("a good policy");
    world.authority().generate(Some("m"), Cost::default()).expect_err("denied");
    let told = world.told_once();
    let expected = "denied: component \"chat\" may not generate m: its component.toml does not want generate; \
        there say: capabilities = [\"embed\", \"generate\", \"log\"]; add to policies/chat.toml: [generate] models = [\"m\"]";
    assert_eq!((told.reason, told.explanation.as_str()), (Reason::Undeclared, expected));
}

#[test]
fn a_model_of_another_digest_is_told_with_the_one_that_is_here() {
    let (old, new) = ("0".repeat(64), "1".repeat(64));
    let facts = FakeFacts { digests: [("m", new.clone())].into(), ..FakeFacts::default() };
    let text = format!("schema = 1\n[embed]\nmodels = [\"m@sha256:{old}\"]\n");
    let world = World::of(&text, &["embed"], &facts).expect("a good policy");
    world.authority().embed(None, Cost::default()).expect_err("denied");
    let told = world.told_once();
    assert!(told.explanation.ends_with(&format!("change that line to: models = [\"m@sha256:{new}\"]")), "{told:?}");
}

#[test]
fn a_quota_that_is_used_up_is_told_with_its_key_and_value() {
    let text = "[quota]\noutput_tokens_per_min_max = 10\n[generate]\nmodels = [\"m\"]\n";
    let world = World::new(text);
    assert!(!world.ledger.charge(Resource::OutputTokens, 15));
    let cost = Cost { input_tokens: 1, output_tokens: 1 };
    world.authority().generate(None, cost).expect_err("used up");
    let told = world.told_once();
    let words = "policies/chat.toml:3 allows [quota] output_tokens_per_min_max = 10, which is used up: there is more in 3";
    assert!(told.explanation.contains(words), "{}", told.explanation);
    assert!(told.explanation.ends_with("change that line to: output_tokens_per_min_max = 20"), "{}", told.explanation);

    let world = World::new("[http]\nallow = [{ host = \"*\" }]");
    assert!(!world.ledger.charge(Resource::Egress, 5 << 20));
    get(world.authority(), "https://a.example/").expect_err("used up");
    let told = world.told_once();
    let words = "policies/chat.toml says nothing else than [quota] egress_bytes_per_min_max = 4194304";
    assert!(told.explanation.contains(words), "{}", told.explanation);
    assert!(told.remedy.ends_with(":\n\n[quota]\negress_bytes_per_min_max = 8388608\n"), "{}", told.remedy);
}

#[test]
fn without_a_policy_of_its_own_a_component_is_shown_a_whole_file() {
    let text = "# For all others.\nschema = 1\n\n[log]\nbytes_per_min_max = 9\n";
    let source = Source { file: "p/chat.toml".into(), origin: "p/default.toml".into(), text: text.into() };
    let world = World::from(source, &CAPABILITIES, &Rules::default(), &FakeFacts::default()).expect("a good policy");
    world.authority().embed(Some("m"), Cost::default()).expect_err("denied");
    let told = world.told_once();
    assert!(
        told.explanation.contains("p/default.toml has no [embed]; p/chat.toml does not exist, make it with: schema = 1 [log]")
    );
    let file = "make p/chat.toml:\n\nschema = 1\n\n[log]\nbytes_per_min_max = 9\n\n[embed]\nmodels = [\"m\"]\n";
    assert_eq!(told.remedy, file);
}

#[test]
fn in_the_mode_observe_an_explanation_says_that_nothing_was_denied() {
    let world = World::new("mode = \"observe\"");
    world.authority().embed(Some("m"), Cost::default()).expect("observed");
    assert!(world.told_once().explanation.starts_with("would deny: component \"chat\" may not embed with m: "));
}

#[test]
fn a_rule_that_forbids_is_told_with_its_place_and_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let rule = "// Nobody at night.\n@id(\"night\")\nforbid (principal, action == Action::\"log\", resource);\n";
    std::fs::write(folder.path().join("10-night.cedar"), rule).expect("written");
    let rules = Rules::read(folder.path()).expect("a good rule");
    let text = "schema = 1\n[log]\n";
    let source = Source { file: "chat.toml".into(), origin: "chat.toml".into(), text: text.into() };
    let world = World::from(source, &["log"], &rules, &FakeFacts::default()).expect("a good policy");
    assert!(matches!(world.authority().log().expect_err("forbidden").reason, Reason::Forbidden(_)));
    let told = world.told_once();
    let words = "10-night.cedar:3 forbids it, rule \"night\": forbid (principal, action == Action::\"log\", resource);";
    assert!(told.explanation.ends_with(words), "{}", told.explanation);
    assert_eq!(told.remedy, "");
}

#[test]
fn what_a_guest_says_can_not_forge_lines_of_the_log_or_keys_of_a_policy() {
    let evil = "x\"]\n[http]\nallow = [{ host = \"*\" }]\n#";
    let cases: &[Act] = &[
        |rights| rights.embed(Some("x\"]\n[http]"), Cost::default()).map(drop),
        |rights| rights.secret("x\"]\n[http]\nallow = [{ host = \"*\" }]\n#").map(drop),
        |rights| rights.config("x\"]\n[http]\nallow = [{ host = \"*\" }]\n#").map(drop),
        |rights| rights.read_file("/x\"]\n[http]\nallow = [{ host = \"*\" }]\n#"),
        |rights| rights.secret(&"y".repeat(10_000)).map(drop),
        |rights| rights.read_file(&format!("/{}", "y/".repeat(10_000))),
        |rights| get(rights, &format!("https://a.example/{}", "y/".repeat(10_000))),
    ];
    assert!(evil.contains('\n'));
    for act in cases {
        let told = ask("", *act);
        assert!(!told.explanation.contains('\n') && told.explanation.len() < 1500, "{}", told.explanation);
        let lines = told.remedy.split_once("\n\n").map_or("", |(_, lines)| lines);
        let policy: toml::Table = toml::from_str(lines).expect("TOML");
        assert!(policy.len() <= 1, "{lines}");
        if !told.action.starts_with("http") {
            assert!(!policy.contains_key("http"), "{lines}");
        }
    }
}

/// Keeps what a denial would have changed.
#[derive(Default)]
struct Mender(std::cell::RefCell<Vec<Remedy>>);

impl Witness for Mender {
    fn denied(&self, denied: &Denied<'_>) {
        self.0.borrow_mut().extend(denied.remedies());
    }
}

/// Does what is said until it is allowed, at most so many times.
fn mend(text: &str, wanted: &[&str], facts: &FakeFacts, act: Act, times: usize) -> String {
    let (mut text, mut wanted): (String, Vec<String>) = (text.into(), wanted.iter().map(|&name| name.into()).collect());
    for time in 0..=times {
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let world = World::of(&text, &names, facts).expect("a good policy");
        let mender = Mender::default();
        if act(Authority { witness: &mender, ..world.authority() }).is_ok() {
            return text;
        }
        assert!(time < times, "still denied: {text}");
        let remedies = mender.0.take();
        assert!(!remedies.is_empty(), "nothing is suggested for: {text}");
        for remedy in remedies {
            match remedy.place {
                Place::Key => {
                    wanted = toml::from_str::<toml::Table>(&remedy.lines).expect("TOML")["capabilities"]
                        .clone()
                        .try_into()
                        .expect("names")
                }
                _ => text = remedy.apply(&text),
            }
        }
    }
    text
}

#[test]
fn doing_what_is_said_makes_it_allowed() {
    let acts: &[(&str, Act)] = &[
        ("call", |rights| rights.call(&"a/b:c/d".parse().expect("a callee")).map(drop)),
        ("config", |rights| rights.config("a b").map(drop)),
        ("classify", |rights| rights.classify(Some("m"), Cost::default()).map(drop)),
        ("config", |rights| rights.all_config().map(drop)),
        ("embed", |rights| rights.embed(Some("m.1"), Cost::default()).map(drop)),
        ("embed", |rights| rights.embed(None, Cost::default()).map(drop)),
        ("fs", |rights| rights.read_file("/data/x/y.txt")),
        ("fs", |rights| rights.write_file("/data/x/y.txt")),
        ("fs", |rights| rights.write_file("/data")),
        ("generate", |rights| rights.generate(Some("m"), Cost::default()).map(drop)),
        ("http", |rights| rights.http(&Method::POST, &url("http://a.example:8080/v1/%2e%2e/%2fx?q#f"), 1).map(drop)),
        ("http", |rights| rights.http(&Method::DELETE, &url("https://EXAMPLE.com./é/*"), 1).map(drop)),
        ("http", |rights| get(rights, "https://a.example/")),
        ("http", |rights| get(rights, "http://0x7f.1:9/x")),
        ("http", |rights| get(rights, "http://[::ffff:10.0.0.1]/x")),
        ("http", |rights| get(rights, "http://[fd00::1]/x")),
        ("http", |rights| {
            let to = url("https://a.example/");
            rights.http(&Method::GET, &to, 1)?;
            rights.reach(&Method::GET, &to, [10, 0, 0, 7].into())
        }),
        ("log", |rights| rights.log().map(drop)),
        ("nn", |rights| rights.nn("m", Cost::default()).map(drop)),
        ("rerank", |rights| rights.rerank(Some("m"), Cost::default()).map(drop)),
        ("secret", |rights| rights.secret("MY KEY").map(drop)),
        ("tokenize", |rights| rights.tokenize(Some("m"), Cost::default()).map(drop)),
    ];
    let others = "schema = 1\n[[http.allow]]\nhost = \"b.example\"\n[[fs.allow]]\nhost = \"h\"\nguest = \"/b\"\n\
        [embed]\nmodels = [\n  \"b\", # why\n]\n[rerank]\nmodels = []\n\
        [secret.B]\nsource = { env = \"B\" }\nhosts = []\nheaders = []\n";
    let inner = "schema = 1\nhttp = { redirects_max = 1 }\nfs = { allow = [] }\ngenerate = { models = [\"b\"] }";
    for (capability, act) in acts {
        for text in ["schema = 1\n", others, inner] {
            for wanted in [&CAPABILITIES[..], &["log"]] {
                let mended = mend(text, wanted, &FakeFacts::default(), *act, 3);
                let world = World::of(&mended, &CAPABILITIES, &FakeFacts::default()).expect("a good policy");
                assert!(world.policy.grants().has_section(capability), "{mended}");
            }
        }
        // From the bare policy one change is enough, wherever the names are known from the start.
        mend("schema = 1\n", &CAPABILITIES, &FakeFacts::default(), *act, if *capability == "http" { 2 } else { 1 });
    }
}

#[test]
fn doing_what_is_said_mends_what_is_wrong_with_a_grant() {
    let secret = "schema = 1\n[secret.KEY]\nsource = { env = \"KEY\" }\nhosts = []\nheaders = []\n";
    let device = "schema = 1\n[nn]\nmodels = [\"m\"]\ndevices = [\"cuda:1\"]\n";
    let digest = format!("schema = 1\n[nn]\nmodels = [\"x\", \"m@sha256:{}\"]\n", "0".repeat(64));
    let quota = "schema = 1\n[quota]\ninput_tokens_per_min_max = 0\n[nn]\nmodels = [\"m\"]\n";
    let folder =
        "schema = 1\n[fs]\nallow = [{ host = \"a\", guest = \"/a\", access = \"read\" }, { host = \"b\", guest = \"/a/b\" }]\n";
    let facts = FakeFacts { digests: [("m", "1".repeat(64))].into(), device: "cuda:0", ..FakeFacts::default() };
    let run: Act = |rights| rights.nn("m", Cost { input_tokens: 1, output_tokens: 0 }).map(drop);
    let cases: &[(&str, Act, usize)] = &[
        (secret, |rights| send(rights, "https://a.example/", "x-key"), 1),
        (secret, |rights| send(rights, "http://[::1]/", "x-key"), 2),
        (device, run, 1),
        (&digest, run, 1),
        (quota, run, 1),
        (folder, |rights| rights.write_file("/a/x"), 1),
        (folder, |rights| rights.write_file("/a/b/x"), 1),
    ];
    for (text, act, times) in cases {
        mend(text, &CAPABILITIES, &facts, *act, *times);
    }
}
