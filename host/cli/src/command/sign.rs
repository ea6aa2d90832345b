//! `tessera sign`: signs a component, or makes a key to sign with.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use policy::{SigningKey, Statement};
use runtime::{ComponentFiles, ServerConfig};

/// What to sign, with what.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component's folder; component.sig is written there.
    #[arg(value_name = "COMPONENT_DIR", required_unless_present = "new_key")]
    component: Option<PathBuf>,
    /// The file of the key, an Ed25519 key in PKCS#8. Its name without ending is that of the key in policies/signers.toml.
    #[arg(long, value_name = "FILE", required_unless_present = "new_key")]
    key: Option<PathBuf>,
    /// Make a key and write it to this new file, for its owner alone.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["component", "key"])]
    new_key: Option<PathBuf>,
}

/// Length of a key's file, in bytes.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Runs the command.
///
/// # Errors
/// When a file can't be read or written, or the component's version is none.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    args.run(&mut std::io::stdout())
}

impl Args {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        match (self.component, self.key, self.new_key) {
            (_, _, Some(file)) => new_key(&file, out),
            (Some(component), Some(key), None) => sign(&component, &key, out),
            _ => bail!("name a component's folder and --key FILE, or --new-key FILE"),
        }
    }
}

fn new_key(file: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let name = name_of(file)?;
    let key = SigningKey::generate()?;
    let public = SigningKey::parse(key.as_bytes())?.public();
    let writing = || format!("{} can't be made; an old key is never overwritten", file.display());
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).with_context(writing)?;
    open.write_all(key.as_bytes()).and_then(|()| open.sync_all()).with_context(writing)?;
    writeln!(out, "# {}: keep it from everybody else. In policies/signers.toml, to trust it:\n", file.display())?;
    writeln!(out, "[signers]\n{name} = \"{public}\"")?;
    Ok(())
}

fn sign(component: &Path, file: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let name = name_of(file)?;
    let about = std::fs::metadata(file).with_context(|| format!("{} can't be read", file.display()))?;
    ensure!(about.len() <= KEY_BYTES_MAX, "{} is too long for a key", file.display());
    let key = std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))?;
    let key = SigningKey::parse(&key).with_context(|| file.display().to_string())?;
    // The folder's name is the component's: `.` has to be looked up.
    let component = component.canonicalize().with_context(|| format!("there is no folder {}", component.display()))?;
    let target = component.join("component.sig");
    // An old signature may be damaged, and is replaced in any case.
    let files = ComponentFiles::unsigned(&component, ServerConfig::default().component_bytes_max)?;
    let manifest = files.manifest();
    let version = manifest.version.parse().with_context(|| {
        format!("component.toml says version `{}`: signed versions are compared, write it as 1.2.3", manifest.version)
    })?;
    let (code, manifest_digest) = (files.code_digest(), files.manifest_digest());
    let statement = Statement { name: &manifest.name, version: &version, manifest: manifest_digest, code };
    let signature = key.sign(name, &statement);
    let draft = component.join(".component.sig.draft");
    let writing = || format!("{} can't be written", target.display());
    drop(std::fs::remove_file(&draft)); // of a signing that was broken off, or a link that leads elsewhere
    let made = std::fs::File::create_new(&draft).and_then(|mut file| file.write_all(signature.to_text().as_bytes()));
    made.and_then(|()| std::fs::rename(&draft, &target)).with_context(writing)?;
    writeln!(out, "{} {version}, {code}: signed by `{name}`, in {}", manifest.name, target.display())?;
    Ok(())
}

fn name_of(file: &Path) -> anyhow::Result<&str> {
    policy::key_name(file).with_context(|| {
        format!("{}: a key is called as its file, so name the file with A-Z a-z 0-9 - _, as ops-2026.pem", file.display())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::command::verify;

    const MANIFEST: &str = "name = \"NAME\"\nversion = \"1.2.3\"\ndescription = \"Made by a test.\"\n";

    struct World(tempfile::TempDir);

    impl World {
        fn new() -> anyhow::Result<World> {
            let world = World(tempfile::tempdir()?);
            for folder in ["policies", "chat"] {
                std::fs::create_dir(world.path(folder))?;
            }
            world.write("chat/component.toml", &MANIFEST.replace("NAME", "chat"))?;
            world.write("chat/component.wasm", "code")?;
            Ok(world)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
            Ok(std::fs::write(self.path(name), text)?)
        }

        fn new_key(&self, name: &str) -> anyhow::Result<String> {
            let args = Args { component: None, key: None, new_key: Some(self.path(name)) };
            let mut out = Vec::new();
            args.run(&mut out)?;
            Ok(String::from_utf8(out)?)
        }

        fn sign(&self, key: &str) -> anyhow::Result<()> {
            Args { component: Some(self.path("chat")), key: Some(self.path(key)), new_key: None }.run(&mut Vec::new())
        }

        fn verify(&self) -> anyhow::Result<String> {
            let (component, policies, data) = (self.path("chat"), self.path("policies"), self.path("data"));
            verify::Args::of(component, policies, data).run_to_text()
        }
    }

    #[test]
    fn what_is_signed_is_verified_until_a_byte_changes() -> anyhow::Result<()> {
        let world = World::new()?;
        assert!(world.verify()?.contains("not signed"), "nothing is required yet");
        let printed = world.new_key("ops-2026.pem")?;
        assert_eq!(std::fs::metadata(world.path("ops-2026.pem"))?.permissions().mode() & 0o777, 0o600);
        assert!(world.new_key("ops-2026.pem").is_err(), "an old key is not overwritten");
        world.write("policies/signers.toml", &format!("schema = 1\nrequired = true\n{printed}"))?;
        let error = world.verify().expect_err("required").to_string();
        assert!(error.contains("is not signed"), "{error}");
        world.sign("ops-2026.pem")?;
        let told = world.verify()?;
        let digest = policy::Digest::of(b"code").to_string();
        assert!(told.contains("signed by `ops-2026`") && told.contains(&digest) && told.contains("may run"), "{told}");
        world.write("chat/component.wasm", "Code")?;
        assert!(world.verify().expect_err("changed").to_string().contains("is not what the key `ops-2026` has signed"));
        world.sign("ops-2026.pem")?;
        world.write("chat/component.toml", &MANIFEST.replace("NAME", "chat").replace("test", "Test"))?;
        assert!(world.verify().is_err(), "the manifest is signed as well");
        world.new_key("other.pem")?;
        world.sign("other.pem")?;
        assert!(world.verify().expect_err("another key").to_string().contains("of the key `other`"));
        Ok(())
    }

    #[test]
    fn what_has_no_version_or_key_is_not_signed() -> anyhow::Result<()> {
        let world = World::new()?;
        world.new_key("a.pem")?;
        world.write("b.pem", "no key")?;
        assert!(format!("{:#}", world.sign("b.pem").expect_err("no key")).contains("no Ed25519 key"));
        assert!(world.sign("c.pem").is_err() && world.new_key("a b.pem").is_err());
        world.write("chat/component.sig", "damaged")?;
        world.sign("a.pem").context("replaces what is damaged")?;
        world.write("chat/component.toml", &MANIFEST.replace("NAME", "chat").replace("1.2.3", "new"))?;
        assert!(format!("{:#}", world.sign("a.pem").expect_err("no version")).contains("write it as 1.2.3"));
        Ok(())
    }
}
