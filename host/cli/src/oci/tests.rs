use oci_wasm::WasmClient;

use super::test_registry::{Gate, TestRegistry};
use super::*;

const MANIFEST: &str = "name = \"chat\"\nversion = \"1.2.3\"\ndescription = \"Made by a test.\"\n";
/// The smallest component.
const CODE: &[u8] = b"\0asm\x0d\0\x01\0";
const LIMITS: PackageLimits = PackageLimits { code_bytes_max: 1 << 20 };

fn package() -> Package {
    Package {
        manifest_text: MANIFEST.into(),
        code: CODE.into(),
        signature: Some(b"schema = 1\nkey = \"ops\"\nsignature = \"AAAA\"\n".to_vec()),
        policy: Some(b"schema = 1\n".to_vec()),
        readme: Some("# Chat\n\n\"quoted\", \\ and \u{e4}\n".into()),
    }
}

/// A place in a registry, seen by somebody.
fn at(registry: &TestRegistry, name: &str, who: RegistryAuth) -> anyhow::Result<Registry> {
    Ok(Registry { auth: who, ..Registry::open(&registry.address(name), &Login::default())? })
}

fn pulled(registry: &TestRegistry, name: &str) -> anyhow::Result<Pulled> {
    at(registry, name, RegistryAuth::Anonymous)?.pull(&LIMITS)
}

fn refused(registry: &TestRegistry, name: &str) -> String {
    format!("{:#}", pulled(registry, name).err().expect("refused"))
}

/// A registry that has the package.
fn filled() -> anyhow::Result<(TestRegistry, String)> {
    let registry = TestRegistry::start(Gate::Open)?;
    let digest = at(&registry, "team/chat:1.2.3", RegistryAuth::Anonymous)?.push(&package())?;
    Ok((registry, digest))
}

/// Changes a manifest where it lies.
fn change(registry: &TestRegistry, name: &str, from: &str, to: &str) {
    let mut store = registry.store();
    let manifest = store.manifests.get_mut(name).expect("it is there");
    let text = String::from_utf8(manifest.clone()).expect("text");
    assert!(text.contains(from), "{from} is not in {text}");
    *manifest = text.replace(from, to).into();
}

#[test]
fn what_is_pushed_is_pulled_whole_by_tag_and_by_digest() -> anyhow::Result<()> {
    let (registry, digest) = filled()?;
    for name in ["team/chat:1.2.3".into(), format!("team/chat@{digest}"), format!("team/chat:1.2.3@{digest}")] {
        let pulled = pulled(&registry, &name)?;
        assert!(pulled.package == package() && pulled.digest == digest, "{name}");
    }
    let again = at(&registry, "team/chat:1.2.4", RegistryAuth::Anonymous)?.push(&package())?;
    assert_eq!(again, digest, "the same component is the same artifact");
    Ok(())
}

#[test]
fn what_is_pushed_is_an_artifact_for_other_tools() -> anyhow::Result<()> {
    let (registry, _) = filled()?;
    let place = at(&registry, "team/chat:1.2.3", RegistryAuth::Anonymous)?;
    let client = WasmClient::new(place.client.clone());
    let image = wait(async { client.pull(&place.reference, &place.auth).await })?;
    assert_eq!(image.layers[0].data, CODE);
    let (_, config, _) = wait(async { client.pull_manifest_and_config(&place.reference, &place.auth).await })?;
    assert_eq!((config.os.as_str(), config.layer_digests), ("wasip2", vec![Digest::of(CODE).to_string()]));
    assert!(config.component.is_some());
    Ok(())
}

#[test]
fn an_artifact_of_another_tool_gets_a_manifest() -> anyhow::Result<()> {
    let registry = TestRegistry::start(Gate::Open)?;
    let place = at(&registry, "team/my_tool:2.0.0", RegistryAuth::Anonymous)?;
    let (config, layer) = WasmConfig::from_raw_component(CODE.into(), None)?;
    let annotations = BTreeMap::from([(DESCRIPTION.to_owned(), "What it does.".to_owned())]);
    let client = WasmClient::new(place.client.clone());
    wait(async { client.push(&place.reference, &place.auth, layer, config, Some(annotations)).await })?;
    let package = pulled(&registry, "team/my_tool:2.0.0")?.package;
    let manifest = package.manifest()?;
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("my-tool", "2.0.0"));
    assert!((package.code, package.signature, package.policy) == (CODE.to_vec(), None, None));
    Ok(())
}

#[test]
fn what_was_changed_on_the_way_is_refused() -> anyhow::Result<()> {
    let (registry, digest) = filled()?;
    registry.store().blobs.insert(Digest::of(CODE).to_string(), b"\0asm\x0d\0\x01\x01".to_vec());
    assert!(refused(&registry, "team/chat:1.2.3").contains("sent something else"));
    let (registry, _) = (filled()?.0, digest.clone());
    change(&registry, &format!("team/chat@{digest}"), "Made by a test.", "Made by others.");
    assert!(refused(&registry, &format!("team/chat@{digest}")).contains("sent something else"));
    change(&registry, "team/chat@1.2.3", "Made by a test.", "Made by others.");
    assert!(pulled(&registry, "team/chat:1.2.3").is_ok(), "a tag may be moved");
    Ok(())
}

#[test]
fn what_is_too_long_is_not_kept_whatever_the_manifest_says() -> anyhow::Result<()> {
    let registry = TestRegistry::start(Gate::Open)?;
    // A custom section makes it long: its id, the length of the rest, the length of its name.
    let code = [CODE, b"\0\xa0\x8d\x06\x01x", &[0; 100_000 - 2]].concat();
    at(&registry, "chat:1", RegistryAuth::Anonymous)?.push(&Package { code: code.clone(), ..package() })?;
    let pull = |bytes_max| {
        let limits = PackageLimits { code_bytes_max: bytes_max };
        at(&registry, "chat:1", RegistryAuth::Anonymous)
            .and_then(|place| place.pull(&limits))
            .err()
            .map(|error| format!("{error:#}"))
    };
    assert_eq!(pull(code.len() as u64), None);
    assert!(pull(99_999).is_some_and(|text| text.contains("99999 are the most")));
    change(&registry, "chat@1", &format!("\"size\":{}", code.len()), "\"size\":8");
    assert!(pull(99_999).is_some_and(|text| text.contains("more bytes than it said")));
    change(&registry, "chat@1", "\"size\":8", "\"size\":-1");
    assert!(pull(99_999).is_some_and(|text| text.contains("are the most")));
    Ok(())
}

#[test]
fn what_is_no_component_is_refused() -> anyhow::Result<()> {
    let (registry, _) = filled()?;
    assert!(refused(&registry, "team/chat:9.9.9").contains("there is no 127.0.0.1"));
    assert!(refused(&registry, "team/none:1.2.3").contains("look at its name and tag"));
    change(&registry, "team/chat@1.2.3", "application/wasm", "application/x-tar");
    assert!(refused(&registry, "team/chat:1.2.3").contains("a part of type `application/x-tar`"));
    change(&registry, "team/chat@1.2.3", WASM_MANIFEST_CONFIG_MEDIA_TYPE, "application/json");
    assert!(refused(&registry, "team/chat:1.2.3").contains("a part of type `application/json`"));
    registry.store().manifests.insert("team/chat@1.2.3".into(), b"{\"schemaVersion\": 2, \"manifests\": []}".to_vec());
    assert!(refused(&registry, "team/chat:1.2.3").contains("an index of many"));
    registry.store().manifests.insert("team/chat@1.2.3".into(), b"[[[".to_vec());
    assert!(pulled(&registry, "team/chat:1.2.3").is_err());
    let core = Package { code: b"\0asm\x01\0\0\0".to_vec(), ..package() };
    let pushed = at(&registry, "team/core:1", RegistryAuth::Anonymous)?.push(&core);
    assert!(format!("{:#}", pushed.expect_err("refused")).contains("core module"));
    Ok(())
}

#[test]
fn a_registry_that_wants_a_login_gets_it() -> anyhow::Result<()> {
    let ann = || RegistryAuth::Basic("ann".into(), "secret".into());
    for gate in [Gate::Basic, Gate::Token] {
        let registry = TestRegistry::start(gate)?;
        let push = |who| at(&registry, "team/chat:1", who)?.push(&package());
        for stranger in [RegistryAuth::Anonymous, RegistryAuth::Basic("ann".into(), "wrong".into())] {
            let text = format!("{:#}", push(stranger).expect_err("refused"));
            assert!(text.contains("--user NAME --password-stdin") && !text.contains("wrong"), "{text}");
        }
        push(ann())?;
        assert!(at(&registry, "team/chat:1", ann())?.pull(&LIMITS)?.package == package());
        assert!(refused(&registry, "team/chat:1").contains("--user NAME --password-stdin"));
    }
    Ok(())
}

#[test]
fn an_address_says_registry_and_repository() {
    let open = |address: &str| Registry::open(address, &Login::default()).map(|_| ());
    assert!(open("oci://registry.example/team/chat:1.2.3").is_ok());
    for address in
        ["chat:1", "oci://", "oci://chat:1", "oci://team/chat:1", "oci://registry.example/Chat", "oci://a.b/c@sha256:12"]
    {
        let text = open(address).expect_err("refused").to_string();
        assert!(text.contains("write oci://REGISTRY/REPOSITORY:TAG"), "{address}: {text}");
    }
    assert!(is_here("localhost:5000") && is_here("127.0.0.1") && is_here("127.9.9.9:1"));
    assert!(!is_here("localhost.example:5000") && !is_here("127.0.0.1.example") && !is_here("10.0.0.1:5000"));
}

#[test]
fn what_is_pinned_is_not_pushed() -> anyhow::Result<()> {
    let (registry, digest) = filled()?;
    let pushed = at(&registry, &format!("team/chat@{digest}"), RegistryAuth::Anonymous)?.push(&package());
    assert!(pushed.expect_err("refused").to_string().contains("leave @"));
    Ok(())
}
