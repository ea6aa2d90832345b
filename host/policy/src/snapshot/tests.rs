use super::*;
use crate::testing::FakeFacts;

fn parse(text: &str) -> Result<PolicyFile, LoadError> {
    PolicyFile::parse(Path::new("p.toml"), text)
}

#[test]
fn an_unknown_key_is_refused_wherever_it_stands() {
    for text in [
        "foo = 1",
        "[foo]",
        "mode = \"off\"",
        "[embed]\nmodel = []",
        "[embed]\nmodels = []\nmodel = 1",
        "[embed]",
        "[routes]\nallow = [\"x\"]",
        "[routes]",
        "[limits]\nx = 1",
        "[limits]\nmemory_bytes_max = -1",
        "[limits]\nmemory_bytes_max = \"1 GiB\"",
        "[quota]\ntokens = 1",
        "[log]\nlevel = \"info\"",
        "[log]\nlevel_min = \"trace\"",
        "[env]\nNAME = \"x\"",
        "[fs]\nallow = [{ host = \"a\", guest = \"/a\", mode = \"r\" }]",
        "[fs]\nallow = [{ host = \"a\", guest = \"/a\", access = \"write\" }]",
        "[fs]\nallow = [{ guest = \"/a\" }]",
        "[http]\nallow = [{ host = \"a\", method = \"GET\" }]",
        "[http]\nallow = [{}]",
        "[http]\nproxy = \"x\"",
        "[secret]\nsource = { env = \"A\" }",
        "[secret.A]\nsource = { env = \"A\", file = \"b\" }\nhosts = []\nheaders = []",
        "[secret.A]\nsource = \"A\"\nhosts = []\nheaders = []",
        "[secret.A]\nsource = { env = \"A\" }\nhosts = []\nheaders = []\nhost = 1",
    ] {
        let error = parse(&format!("schema = 1\n{text}")).expect_err(text).to_string();
        assert!(error.contains("p.toml is refused"), "{error}");
    }
}

#[test]
fn the_format_has_to_be_named_and_known() {
    assert!(matches!(parse(""), Err(LoadError::Malformed { .. })));
    assert!(matches!(parse("schema = 2"), Err(LoadError::Schema { schema: 2, .. })));
    assert!(parse("schema = 1").is_ok());
}

#[test]
fn an_error_names_line_and_column() {
    let error = parse("schema = 1\n[embed]\nmodels = [\"a/b\"]").expect_err("no model").to_string();
    assert!(error.contains("line 3, column 10") && error.contains("`a/b` is no model name"), "{error}");
}

fn read(folder: &Path, wanted: &[&str]) -> Result<Snapshot, LoadError> {
    let wanted: Vec<String> = wanted.iter().map(|&want| want.into()).collect();
    Policies::read(folder)?.snapshot(&"chat".parse().expect("a name"), &wanted, &FakeFacts::default())
}

#[test]
fn without_any_file_a_component_gets_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    for folder in [folder.path(), &folder.path().join("not-there")] {
        let policy = read(folder, &CAPABILITIES).expect("loads");
        assert!(CAPABILITIES.iter().all(|capability| !policy.grants().has_section(capability)));
        assert_eq!((policy.mode(), policy.limits(), policy.quota()), (Mode::Enforce, &Limits::default(), &Quota::default()));
    }
}

#[test]
fn the_file_of_its_own_holds_instead_of_the_one_for_all_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, default) = (folder.path().join("chat.toml"), folder.path().join("default.toml"));
    std::fs::write(&default, "schema = 1\n[log]\n").expect("written");
    let policy = read(folder.path(), &["log", "config"]).expect("loads");
    assert!(policy.grants().has_section("log"));
    assert_eq!((Path::new(policy.origin()), Path::new(policy.file())), (default.as_path(), own.as_path()));
    std::fs::write(&own, "schema = 1\n[config]\n").expect("written");
    let own_policy = read(folder.path(), &["log", "config"]).expect("loads");
    assert!(own_policy.grants().has_section("config") && !own_policy.grants().has_section("log"));
    assert_eq!((own_policy.origin(), own_policy.text()), (own_policy.file(), "schema = 1\n[config]\n"));
    assert!(!own_policy.is_same(&policy));
    assert!(own_policy.is_same(&read(folder.path(), &["log", "config"]).expect("loads")));
    std::fs::write(&own, "schema = 1\n[confg]\n").expect("written");
    let error = read(folder.path(), &[]).expect_err("malformed").to_string();
    assert!(error.contains("chat.toml is refused"), "{error}");
}

#[test]
fn the_names_of_policy_files_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["b.toml", "default.toml", "a.toml", ".hidden.toml", "signers.toml", "rules.cedar", "README.md"] {
        std::fs::write(folder.path().join(name), "schema = 1\n[log]\n").expect("written");
    }
    std::fs::create_dir(folder.path().join("tests")).expect("made");
    std::fs::create_dir(folder.path().join("x.toml")).expect("made");
    let policies = Policies { folder: folder.path().into(), ..Policies::default() };
    assert_eq!(policies.names().expect("read"), ["a", "b", "default"]);
    assert!(policies.file(&"a".parse().expect("a name")).expect("a policy").has_section("log"));
    let policies = Policies { folder: folder.path().join("not-there"), ..Policies::default() };
    assert_eq!(policies.names().expect("none"), [""; 0]);
    assert!(!policies.file(&"a".parse().expect("a name")).expect("nothing").has_section("log"));
}

#[test]
fn limits_and_quotas_hold_for_a_component_that_wants_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "schema = 1\n[limits]\nqueue_max = 3\n[quota]\nrequests_per_min_max = 4\n[embed]\nmodels = [\"m\"]";
    std::fs::write(folder.path().join("chat.toml"), text).expect("written");
    let policy = read(folder.path(), &[]).expect("loads");
    assert_eq!((policy.limits().queue_max, policy.quota().requests_per_min_max), (3, 4));
    assert!(!policy.grants().has_section("embed") && policy.usable_models("embed").next().is_none());
}

#[test]
fn the_lines_that_are_shown_for_a_capability_grant_it() {
    for capability in CAPABILITIES {
        let policy = parse(&format!("schema = 1\n{}", PolicyFile::lines_to_add(capability))).expect(capability);
        assert!(policy.has_section(capability), "{capability}");
    }
    assert!(!parse("schema = 1").expect("a policy").has_section("nothing"));
}
