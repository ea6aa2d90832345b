use super::*;

const LIMITS: PackageLimits = PackageLimits { code_bytes_max: 1 << 20 };
const MANIFEST: &str = "name = \"chat\"\nversion = \"0.1.0\"\ndescription = \"Made by a test.\"\n";

fn package() -> Package {
    Package {
        manifest_text: MANIFEST.into(),
        code: b"\0asm and more than a few bytes that repeat, repeat, repeat".to_vec(),
        signature: Some(b"a signature".to_vec()),
        policy: Some(b"schema = 1\n".to_vec()),
        readme: None,
    }
}

fn archive() -> Vec<u8> {
    package().write().expect("writes")
}

/// An archive of these entries, as the library makes it.
fn made(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        archive.start_file(*name, SimpleFileOptions::default()).expect("starts");
        archive.write_all(content).expect("writes");
    }
    archive.finish().expect("writes").into_inner()
}

fn refused(bytes: &[u8]) -> String {
    Package::read(bytes, &LIMITS).expect_err("refused").to_string()
}

/// Where the nth header of the directory begins.
fn listed(archive: &[u8], nth: usize) -> usize {
    let is_header = |at: &usize| archive[*at..].starts_with(b"PK\x01\x02");
    (0..archive.len()).filter(is_header).nth(nth).expect("a header")
}

fn with(mut archive: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    archive[at..at + bytes.len()].copy_from_slice(bytes);
    archive
}

#[test]
fn what_is_written_is_read_and_always_the_same_bytes() {
    let archive = archive();
    assert!(Package::is_package(&archive));
    assert_eq!(Package::read(&archive, &LIMITS).expect("reads"), package());
    assert_eq!(archive, package().write().expect("writes"));
    assert_eq!(package().manifest().expect("a manifest").name.as_str(), "chat");
    let other = Package { readme: Some("# Chat".into()), signature: None, ..package() };
    assert_eq!(Package::read(&other.write().expect("writes"), &LIMITS).expect("reads"), other);
}

#[test]
fn a_package_that_another_tool_made_plainly_is_read() {
    let archive = made(&[("component.wasm", b"code"), ("component.toml", MANIFEST.as_bytes())]);
    let package = Package::read(&archive, &LIMITS).expect("reads");
    assert_eq!((package.code.as_slice(), package.signature), (&b"code"[..], None));
}

#[test]
fn an_archive_that_is_cut_anywhere_is_refused() {
    let archive = archive();
    for length in 0..archive.len() {
        assert!(Package::read(&archive[..length], &LIMITS).is_err(), "{length}");
    }
}

#[test]
fn a_changed_byte_never_changes_the_content() {
    let archive = archive();
    for at in 0..archive.len() {
        for bits in [1, 0x80, 0xff] {
            let changed = with(archive.clone(), at, &[archive[at] ^ bits]);
            if let Ok(read) = Package::read(&changed, &LIMITS) {
                assert_eq!(read, package(), "byte {at}"); // a field without a meaning, as who made the archive
            }
        }
    }
}

#[test]
fn garbage_is_refused_and_never_a_panic() {
    let mut state = 0x9e37_79b9_u32;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let archive = archive();
    for _ in 0..20_000 {
        let mut bytes = archive.clone();
        for _ in 0..1 + random() % 8 {
            let (at, length) = (random() as usize % bytes.len(), 1 + random() as usize % 4);
            let value = [0, 0xff, random() as u8][random() as usize % 3];
            bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = value);
        }
        if let Ok(read) = Package::read(&bytes, &LIMITS) {
            assert_eq!(read, package());
        }
        let noise: Vec<u8> = (0..random() % 200).map(|_| random() as u8).collect();
        assert!(Package::read(&[b"PK\x03\x04", noise.as_slice()].concat(), &LIMITS).is_err());
    }
}

#[test]
fn no_entry_leads_elsewhere() {
    for name in [
        "../component.toml",
        "/etc/passwd",
        "..\\component.toml",
        "c:\\x",
        "component.toml\0",
        "./component.toml",
        "Component.toml",
        "COMPONENT.WASM",
        "folder/component.toml",
        "component.toml/",
        "component.cwasm",
        "",
        "x\n\u{1b}[31m",
    ] {
        let archive = made(&[("component.toml", b"a"), ("component.wasm", b"b"), (name, b"c")]);
        let text = refused(&archive);
        assert!(text.contains("has no place in it") && !text.contains(['\n', '\u{1b}']), "{name}: {text}");
    }
}

#[test]
fn two_entries_of_one_name_and_missing_ones_are_refused() {
    let archive = made(&[("component.toml", b"a"), ("component.wasm", b"b"), ("component.wasx", b"c")]);
    // Both places that have the name.
    let mut twice = archive;
    while let Some(at) = twice.windows(14).position(|name| name == b"component.wasx") {
        twice = with(twice, at, b"component.wasm");
    }
    assert!(refused(&twice).contains("two entries `component.wasm`"));
    assert!(refused(&made(&[("component.toml", b"a")])).contains("there is no component.wasm"));
    assert!(refused(&made(&[("component.wasm", b"a")])).contains("there is no component.toml"));
    assert!(refused(b"PK\x05\x06").contains("it is no package"));
    assert!(refused(b"\0asm").contains("it is no package"));
}

#[test]
fn a_bomb_is_refused_by_what_it_says_and_by_what_it_is() {
    let zeros = vec![0; LIMITS.code_bytes_max as usize + 1];
    let bomb = Package { code: zeros, ..package() }.write().expect("writes");
    assert!(bomb.len() < 4096, "{} bytes", bomb.len());
    assert!(refused(&bomb).contains("component.wasm has 1048577 bytes and 1048576 are the most, as `component_bytes_max`"));
    // The same with a lie in both headers.
    let code = listed(&bomb, 3);
    let entry = u32::from_le_bytes(*bomb[code + 42..].first_chunk().expect("an offset")) as usize;
    let lie = with(with(bomb, code + 24, &9_u32.to_le_bytes()), entry + 22, &9_u32.to_le_bytes());
    assert!(refused(&lie).contains("another length than it says"));
    let readme = Package { readme: Some(vec![b' '; README_BYTES_MAX as usize + 1]), ..package() };
    assert!(refused(&readme.write().expect("writes")).contains("README.md has"));
    assert!(readme.check(&LIMITS).is_err() && package().check(&LIMITS).is_ok());
}

#[test]
fn what_packages_dont_have_is_refused() {
    let archive = archive();
    let header = listed(&archive, 0);
    let end = archive.len() - 22;
    let changed = |at: usize, bytes: &[u8]| refused(&with(archive.clone(), at, bytes));
    for mode in [0o120_777_u32, 0o040_755, 0o020_644, 0o010_644, 0o140_644, 0o060_644] {
        assert!(changed(header + 38, &(mode << 16).to_le_bytes()).contains("a link, a folder or a device"), "{mode:o}");
    }
    assert!(changed(header + 38, &[0x10]).contains("a link, a folder or a device"));
    assert!(changed(header + 8, &[1]).contains("encrypted"));
    assert!(changed(header + 8, &[8]).contains("as a stream"));
    assert!(changed(header + 10, &[12]).contains("compressed in a way"));
    assert!(changed(header + 42, &[1]).contains("overlap"));
    assert!(changed(header + 20, &u32::MAX.to_le_bytes()).contains("is missing"), "as zip64 has it");
    assert!(changed(header + 24, &u32::MAX.to_le_bytes()).contains("are the most"), "as zip64 has it");
    assert!(changed(header + 16, &[!archive[header + 16]]).contains("something else than the directory"));
    assert!(changed(end + 8, &[9, 0, 9, 0]).contains("more entries"));
    assert!(changed(end + 4, &[1]).contains("elsewhere"));
    assert!(changed(end + 20, &[1]).contains("a comment"));
    assert!(changed(end + 16, &[0]).contains("not where it says"));
}

#[test]
fn no_byte_is_before_between_or_after_the_entries() {
    let archive = archive();
    assert!(refused(&[b"#!", archive.as_slice()].concat()).contains("it is no package"));
    assert!(refused(&[&archive[..], b"\0"].concat()).contains("its end is missing"));
    assert!(refused(&[b"PK\x03\x04", archive.as_slice()].concat()).contains("not where it says"));
    // A file hidden before the directory, with the end mended.
    let (start, end) = (listed(&archive, 0), archive.len() - 22);
    let hidden = [&archive[..start], b"hidden", &archive[start..]].concat();
    let hidden = with(hidden, end + 6 + 16, &(start as u32 + 6).to_le_bytes());
    assert!(refused(&hidden).contains("belong to no entry"));
}

#[test]
fn a_folder_becomes_a_package_and_a_package_a_folder() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("chat");
    package().place(&folder).expect("places");
    std::fs::write(folder.join("src.rs"), "not part of it").expect("writes");
    assert_eq!(Package::from_folder(&folder, &LIMITS).expect("reads"), package());
    assert!(matches!(package().place(&folder), Err(PackageError::Occupied(_))));
    let names: Vec<_> = root.path().read_dir().expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["chat"], "no draft is left");
    std::fs::remove_file(folder.join("component.wasm")).expect("removes");
    assert!(matches!(Package::from_folder(&folder, &LIMITS), Err(PackageError::Missing("component.wasm"))));
    std::fs::create_dir(folder.join("component.wasm")).expect("a folder");
    assert!(matches!(Package::from_folder(&folder, &LIMITS), Err(PackageError::File { .. })));
}

#[test]
fn a_link_in_the_place_of_a_folder_is_not_followed() {
    let root = tempfile::tempdir().expect("a folder");
    let (folder, elsewhere) = (root.path().join("chat"), root.path().join("elsewhere"));
    std::os::unix::fs::symlink(&elsewhere, &folder).expect("links");
    assert!(matches!(package().place(&folder), Err(PackageError::Occupied(_))));
    assert!(!elsewhere.exists());
}

#[test]
fn no_package_is_longer_than_its_limits_let_it() {
    let mut state = 1_u64;
    let mut noise = |bytes: u64| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..bytes).map(|_| next()).collect()
    };
    let package = Package {
        manifest_text: noise(MANIFEST_BYTES_MAX),
        code: noise(LIMITS.code_bytes_max),
        signature: Some(noise(SIGNATURE_BYTES_MAX)),
        policy: Some(noise(POLICY_BYTES_MAX)),
        readme: Some(noise(README_BYTES_MAX)),
    };
    let archive = package.write().expect("writes");
    assert!(archive.len() as u64 <= LIMITS.archive_bytes_max(), "{} bytes", archive.len());
    assert_eq!(Package::read(&archive, &LIMITS).expect("reads"), package);
}
