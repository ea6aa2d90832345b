//! `tessera policy diff`: what one folder or file of policies grants, revokes or changes against another.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use policy::{Change, ChangeKind, ComponentName, Policies, PolicyFile};

/// What to compare.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A folder of policies, or one policy file.
    old: PathBuf,
    /// Another folder, or another file.
    new: PathBuf,
}

impl Args {
    pub(super) fn run(&self, out: &mut dyn Write) -> anyhow::Result<()> {
        let (old, new) = (&self.old, &self.new);
        for path in [old, new] {
            ensure!(path.exists(), "there is no {}", path.display());
        }
        ensure!(old.is_dir() == new.is_dir(), "compare two folders or two files, not a folder with a file");
        let sections = if old.is_dir() { folders(old, new)? } else { vec![(String::new(), files(old, new)?)] };
        let sections: Vec<(String, Vec<Change>)> = sections.into_iter().filter(|(_, changes)| !changes.is_empty()).collect();
        if sections.is_empty() {
            writeln!(out, "no difference")?;
        }
        for (name, changes) in sections {
            let indent = if name.is_empty() { "" } else { "  " };
            if !name.is_empty() {
                writeln!(out, "{name}")?;
            }
            for change in changes {
                writeln!(out, "{indent}{change}")?;
            }
        }
        Ok(())
    }
}

fn files(old: &Path, new: &Path) -> anyhow::Result<Vec<Change>> {
    let read = |file: &Path| {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
        anyhow::Ok(PolicyFile::parse(file, &text)?)
    };
    Ok(policy::diff(&read(old)?, &read(new)?))
}

/// The differences of every component that has a policy in one of the folders, and of the rules.
fn folders(old: &Path, new: &Path) -> anyhow::Result<Vec<(String, Vec<Change>)>> {
    let rules = rules(&cedar(old)?, &cedar(new)?);
    let (old, new) = (Policies::read(old)?, Policies::read(new)?);
    let (before, after) = (names(&old)?, names(&new)?);
    let mut sections = vec![("rules".to_owned(), rules)];
    for name in before.union(&after) {
        // Only a file can have another name, and no component gets its policy from it.
        let Ok(component) = name.parse::<ComponentName>() else { continue };
        let heading = match (before.contains(name), after.contains(name)) {
            (true, false) => format!("{name} (falls back to default.toml)"),
            (false, true) if name != "default" => format!("{name} (had default.toml before)"),
            _ => name.clone(),
        };
        sections.push((heading, policy::diff(&old.file(&component)?, &new.file(&component)?)));
    }
    Ok(sections)
}

fn names(policies: &Policies) -> anyhow::Result<BTreeSet<String>> {
    let names = policies.names().with_context(|| format!("{} can't be read", policies.folder().display()))?;
    Ok(names.into_iter().collect())
}

/// The texts of the rules of a folder, by the names of their files.
fn cedar(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let file = entry?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".cedar") && !name.starts_with('.') {
            texts.insert(name, std::fs::read_to_string(&file).with_context(|| format!("{} can't be read", file.display()))?);
        }
    }
    Ok(texts)
}

/// What is different between rules. They only take rights away, so rules that are gone grant.
fn rules(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (Some(before), Some(after)) if before == after => None,
        (Some(_), Some(_)) => {
            Some(Change { kind: ChangeKind::Changes, text: format!("the rules of {name}: compare the two files") })
        }
        (Some(_), None) => Some(Change { kind: ChangeKind::Grants, text: format!("what the rules of {name} forbade") }),
        (None, _) => Some(Change { kind: ChangeKind::Revokes, text: format!("what the rules of {name} forbid") }),
    };
    names.into_iter().filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    #[test]
    fn folders_are_compared_as_the_components_get_them() {
        let rule = "forbid (principal, action == Action::\"log\", resource);";
        let default = ("default.toml", "schema = 1\n[log]\n");
        let old = folder(&[default, ("a.toml", "schema = 1\n"), ("gone.cedar", rule)]);
        let new = folder(&[default, ("b.toml", "schema = 1\n[config]\n"), ("new.cedar", rule)]);
        let told: Vec<String> = folders(old.path(), new.path())
            .expect("two folders")
            .into_iter()
            .flat_map(|(name, changes)| changes.into_iter().map(move |change| format!("{name}: {change}")))
            .collect();
        let expected = [
            "rules: + grants  what the rules of gone.cedar forbade",
            "rules: - revokes what the rules of new.cedar forbid",
            "a (falls back to default.toml): + grants  [log] level_min = \"info\"",
            "b (had default.toml before): + grants  [config]",
            "b (had default.toml before): - revokes [log] level_min = \"info\"",
        ];
        assert_eq!(told, expected);
    }
}
