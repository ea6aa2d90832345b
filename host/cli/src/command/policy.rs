//! `tessera policy`: what components may do, why, and what is different.

mod check;
mod diff;
mod explain;
mod facts;
mod reference;
mod test;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use policy::{Admitted, ComponentName, Policies, Snapshot};
use runtime::{ComponentFiles, ComponentRecord, Manifest};

use self::facts::CliFacts;

/// What to do with policies.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check rules and policies against what the components want.
    Check(check::Args),
    /// Whether a component may do something, by which line or rule, and what to change.
    Explain(explain::Args),
    /// Run the tests of policies.
    Test(test::Args),
    /// What a folder or file of policies grants, revokes or changes against another.
    Diff(diff::Args),
    /// Every key of a policy, in Markdown.
    Reference(reference::Args),
}

/// Runs the command.
///
/// # Errors
/// When something is wrong, denied or not as expected: what it is was printed then.
pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    command.run(&mut std::io::stdout())
}

impl Command {
    fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        match self {
            Command::Check(args) => args.run(out),
            Command::Explain(args) => args.run(out),
            Command::Test(args) => args.run(out),
            Command::Diff(args) => args.run(out),
            Command::Reference(args) => args.run(out),
        }
    }
}

/// Where things are: as in the settings file, unless said otherwise.
#[derive(clap::Args)]
struct Places {
    /// Settings file; `tessera.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder with a policy file for each component.
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Folder with a folder for each component.
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// Folder with a folder for each model.
    #[arg(long, value_name = "DIR", env = "TESSERA_MODELS")]
    models: Option<PathBuf>,
}

/// The policies with what they are held against.
struct Setup {
    policies: Policies,
    components: PathBuf,
    /// The file of keys.
    keys: PathBuf,
    facts: CliFacts,
    /// What has run on the server.
    record: ComponentRecord,
    /// Length of a component's code, in bytes.
    code_bytes_max: u64,
}

impl Places {
    /// Reads the rules; policies and manifests are read when they are asked for.
    fn setup(&self) -> anyhow::Result<Setup> {
        let mut config = super::serve::read_config(self.config.as_deref())?;
        let places = [
            (&mut config.policies, &self.policies),
            (&mut config.components, &self.components),
            (&mut config.models, &self.models),
        ];
        for (place, option) in places {
            if let Some(option) = option {
                place.clone_from(option);
            }
        }
        let folder = &config.policies;
        ensure!(folder.is_dir(), "there is no folder {}: say where the policies are with --policies", folder.display());
        Ok(Setup {
            keys: config.keys_file(),
            policies: Policies::read(folder)?,
            record: ComponentRecord::at(&config.data),
            code_bytes_max: config.component_bytes_max,
            facts: CliFacts { protected: runtime::protected(&config), device: config.device, models: config.models },
            components: config.components,
        })
    }
}

impl Setup {
    /// Names of the folders that hold a component, sorted.
    fn components(&self) -> anyhow::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.components) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("{} can't be read", self.components.display()))?,
        };
        let folders = entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
        let components = folders.iter().filter(|folder| folder.join("component.toml").is_file());
        let mut names: Vec<String> =
            components.filter_map(|folder| Some(folder.file_name()?.to_string_lossy().into_owned())).collect();
        names.sort();
        Ok(names)
    }

    /// What a component wants; none where there is no such component.
    fn manifest(&self, name: &str) -> anyhow::Result<Option<Manifest>> {
        let file = self.components.join(name).join("component.toml");
        let text = match std::fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("{} can't be read", file.display()))?,
        };
        let manifest: Manifest = toml::from_str(&text).with_context(|| format!("{} is refused", file.display()))?;
        let named = &manifest.name;
        ensure!(
            named.as_str() == name,
            "the folder is named `{name}` and its component.toml says `{named}`: give both the same name"
        );
        Ok(Some(manifest))
    }

    /// Whether the policies let a component run, and who has signed it; none where there is no code yet.
    fn admit(&self, name: &str, policy: &Snapshot) -> anyhow::Result<Option<Admitted>> {
        let folder = self.components.join(name);
        if !folder.join("component.wasm").is_file() {
            return Ok(None);
        }
        let files = ComponentFiles::read(&folder, self.code_bytes_max)?;
        Ok(Some(files.admit(&self.policies, policy, &self.record)?))
    }

    /// A component's policy.
    fn snapshot(&self, component: &ComponentName, wanted: &[String]) -> anyhow::Result<Snapshot> {
        Ok(self.policies.snapshot(component, wanted, &self.facts)?)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    /// What a command line prints, on the bundled policies and components.
    fn run_line(line: &[&str]) -> anyhow::Result<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (policies, components) = (root.join("policies"), root.join("components"));
        let line: Vec<String> = line.iter().map(|word| word.replace("POLICIES", &policies.display().to_string())).collect();
        let mut line = [vec!["policy".into()], line].concat();
        if !matches!(line[1].as_str(), "diff" | "reference") {
            let places = ["--policies", &policies.display().to_string(), "--components", &components.display().to_string()];
            line.extend(places.map(String::from));
        }
        let mut out = Vec::new();
        Line::try_parse_from(line)?.command.run(&mut out)?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn the_bundled_policies_are_right_and_pass_their_tests() {
        let all = run_line(&["check"]).expect("nothing to mend");
        assert!(all.contains("\nreranking\n  ok  grants log, rerank by ") && all.contains("\ndefault\n"), "{all}");
        let some = run_line(&["check", "chat", "embeddings"]).expect("nothing to mend");
        assert!(some.starts_with("chat\n") && some.contains("\nembeddings\n") && !some.contains("reranking"), "{some}");
        let cases = run_line(&["test"]).expect("as expected");
        assert!(
            cases.contains("chat generate qwen2.5-coder-0.5b-instruct: allow") && cases.ends_with(" as expected\n"),
            "{cases}"
        );
    }

    #[test]
    fn a_denial_is_an_error_and_a_grant_is_none() {
        let granted = run_line(&["explain", "chat", "generate"]).expect("granted");
        assert!(granted.starts_with("allowed: component \"chat\" may generate smollm2-135m-instruct by "), "{granted}");
        run_line(&["explain", "chat", "log", "--at", "2026-01-02T03:04:05Z", "--tenant", "somebody"]).expect("granted");
        for line in [
            &["explain", "chat", "generate", "another"][..],
            &["explain", "chat", "fly"],
            &["explain", "nobody", "log"],
            &["explain", "chat", "log", "--at", "noon"],
            &["check", "nobody"],
        ] {
            assert!(run_line(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_guard_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, text: &str| {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().expect("has one")).expect("made");
            std::fs::write(file, text).expect("written");
        };
        let check = |policy: &str| {
            write("policies/chat.toml", &format!("schema = 1\n[guard]\noutput = [\"pii\"]\n{policy}"));
            let place = |name: &str| folder.path().join(name).display().to_string();
            let line = ["policy", "check", "--policies", &place("policies"), "--components", &place("components")];
            let mut out = Vec::new();
            let checked = Line::try_parse_from(line).expect("a line").command.run(&mut out);
            (checked.is_ok(), String::from_utf8(out).expect("text"))
        };
        let component = |name: &str| format!("name = \"{name}\"\nversion = \"1\"\ndescription = \"A test.\"\n");
        write("components/chat/component.toml", &component("chat"));
        let (is_good, told) = check("");
        assert!(!is_good && told.contains("guarded by `pii`, which is no guard in"), "{told}");
        let (is_good, told) = check("on_failure = \"pass\"");
        assert!(is_good && told.contains("!   ") && told.contains("pass unchecked"), "{told}");
        write("components/pii/component.toml", &component("pii"));
        assert!(!check("").0, "it is no guard");
        write("components/pii/component.toml", &(component("pii") + "[guard]\n"));
        let (is_good, told) = check("");
        assert!(is_good && !told.contains("guarded"), "{told}");
        write("policies/pii.toml", "schema = 1\n[guard]\ninput = [\"pii\"]\n");
        let (is_good, told) = check("");
        assert!(!is_good && told.contains("nobody guards a guard"), "{told}");
    }

    #[test]
    fn policies_are_compared_by_file_and_by_folder() {
        let told = run_line(&["diff", "POLICIES/default.toml", "POLICIES/embeddings.toml"]).expect("two files");
        let expected = "+ grants  [embed] models = [\"all-minilm-l6-v2\"]\n\
            ~ changes [quota] input_tokens_per_min_max from 1000000 to 1000000000 (wider)\n\
            ~ changes [quota] requests_per_min_max from 600000 to 6000000 (wider)\n\
            + grants  [routes] allow \"POST /v1/embeddings\"\n+ grants  [routes] allow \"POST /embed\"\n";
        assert_eq!(told, expected);
        assert_eq!(run_line(&["diff", "POLICIES", "POLICIES"]).expect("two folders"), "no difference\n");
        assert!(run_line(&["diff", "POLICIES", "POLICIES/chat.toml"]).is_err());
        assert!(run_line(&["diff", "POLICIES/README.md", "POLICIES/chat.toml"]).is_err());
    }

    #[test]
    fn the_reference_is_for_people_or_for_editors() {
        assert!(run_line(&["reference"]).expect("prints").starts_with("| key | type |"));
        assert!(run_line(&["reference", "--json-schema"]).expect("prints").starts_with("{\n  \"$schema\""));
    }
}
