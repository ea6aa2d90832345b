//! `tessera package`: a component's folder as one file.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use policy::Digest;
use runtime::{ComponentFiles, PackageLimits};

use crate::component_source::component_from;
use crate::oci::login::Login;

/// Make a package of a component: component.toml and component.wasm, with component.sig, policy.toml and README.md if they are there.
///
/// Sign the folder before. policy.toml is what the component asks for; whoever runs it decides.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component's folder.
    #[arg(value_name = "DIR", default_value = ".")]
    component: PathBuf,
    /// The package [default: NAME-VERSION.tessera].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the folder has no component, or the package can't be written.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    args.run(&mut std::io::stdout())
}

impl Args {
    fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let folder = &self.component;
        ensure!(folder.is_dir(), "there is no folder {}", folder.display());
        let limits = PackageLimits::of(&super::serve::read_config(None)?);
        let package = component_from(&folder.to_string_lossy(), &Login::default(), &limits)?;
        let files = ComponentFiles::of_package(&package)?;
        let manifest = files.manifest();
        let name = || format!("{}-{}.tessera", manifest.name, manifest.version.replace(['/', '\\'], "-")).into();
        let target = self.out.unwrap_or_else(name);
        let archive = package.write()?;
        write(&target, &archive).with_context(|| format!("{} can't be written", target.display()))?;
        writeln!(out, "{} {}: {} bytes in {}", manifest.name, manifest.version, archive.len(), target.display())?;
        for (name, content) in package.files() {
            writeln!(out, "  {name:<14}  {:>9} bytes  {}", content.len(), Digest::of(content))?;
        }
        match files.signature() {
            Some(signature) => writeln!(out, "  signed by `{}`, as it says", signature.key().escape_debug())?,
            None => writeln!(out, "  not signed: `tessera sign` before `tessera package` signs it")?,
        }
        Ok(())
    }
}

/// Writes a file that is there whole or as it was.
fn write(target: &Path, content: &[u8]) -> std::io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let draft = target.with_file_name(format!(".{name}.draft-{}", std::process::id()));
    let written = std::fs::write(&draft, content).and_then(|()| std::fs::rename(&draft, target));
    if written.is_err() {
        drop(std::fs::remove_file(&draft)); // it may not be there
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::verify;

    #[test]
    fn a_folder_is_packaged_and_the_package_verified() -> anyhow::Result<()> {
        let root = tempfile::tempdir()?;
        let path = |name: &str| root.path().join(name);
        for folder in ["chat", "policies"] {
            std::fs::create_dir(path(folder))?;
        }
        std::fs::write(path("chat/component.toml"), "name = \"chat\"\nversion = \"1.2.3\"\ndescription = \"A test's.\"\n")?;
        std::fs::write(path("chat/component.wasm"), b"\0asm\x0d\0\x01\0")?;
        std::fs::write(path("chat/Cargo.toml"), "stays behind")?;
        let package = |out: &str| -> anyhow::Result<String> {
            let mut text = Vec::new();
            Args { component: path("chat"), out: Some(path(out)) }.run(&mut text)?;
            Ok(String::from_utf8(text)?)
        };
        let text = package("chat.tessera")?;
        assert!(text.contains("chat 1.2.3") && text.contains("component.wasm          8 bytes  sha256:"), "{text}");
        assert!(text.contains("not signed") && !text.contains("Cargo.toml"), "{text}");
        package("again.tessera")?;
        assert_eq!(std::fs::read(path("chat.tessera"))?, std::fs::read(path("again.tessera"))?);
        let verify = |file: &str| verify::Args::of(path(file), path("policies"), path("data")).run_to_text();
        assert_eq!(verify("chat.tessera")?, verify("chat")?);
        std::fs::write(path("chat/component.wasm"), "code")?;
        assert!(format!("{:#}", package("bad.tessera").expect_err("no component")).contains("component.wasm is refused"));
        assert!(!path("bad.tessera").exists());
        Ok(())
    }
}
