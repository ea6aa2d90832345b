//! Links between the documents of the repository lead somewhere.

use super::tree::Tree;
use super::{Offence, assert_caught, assert_tidy};

#[test]
fn every_relative_link_leads_to_a_file() {
    assert_tidy(&check(Tree::ours()));
}

fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.below("", ".md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, text) in file.prose() {
            for link in links(text).filter(|link| !leads_somewhere(tree, folder, link)) {
                offences.push(Offence::new(&file.path, line, format!("`{link}` leads to no file of the repository")));
            }
        }
    }
    offences
}

/// Targets of `[text](target)`, `[text](target "title")` and `[name]: target`, those in code spans left out.
fn links(line: &str) -> impl Iterator<Item = String> {
    let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
    let named = outside.starts_with('[').then(|| outside.split_once("]: ").map(|(_, target)| target.to_owned())).flatten();
    let inline = outside.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default().to_owned());
    let targets: Vec<String> = inline.chain(named).collect();
    targets.into_iter().filter_map(|target| target.split_whitespace().next().map(str::to_owned))
}

fn leads_somewhere(tree: &Tree, folder: &str, link: &str) -> bool {
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:");
    let path = link.split('#').next().unwrap_or_default();
    is_elsewhere || path.is_empty() || joined(folder, path).is_some_and(|path| tree.has(&path))
}

/// A path seen from a folder, as seen from the root; none where it leaves the repository.
fn joined(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { folder.split('/').collect() };
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop().filter(|part| !part.is_empty())?),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    Some(parts.join("/"))
}

#[test]
fn a_link_to_nothing_is_caught() {
    let readme = "\
[a](docs/a.md) [b](docs/b.md#x) [docs](docs) [out](https://example.org/x.md) [here](#what) `[x](code.md)`
[named]: gone.md
![picture](docs/gone.png \"title\")
```sh
[x](fenced.md)
```
[above](../shared/a.md)
";
    let below = "[up](../README.md) [side](./b.md) [root](/README.md) [gone](README.md)\n";
    let tree = Tree::made_of(&[("README.md", readme), ("docs/a.md", below), ("docs/b.md", "")]);
    let expected = [
        ("README.md", 2, "gone.md"),
        ("README.md", 3, "docs/gone.png"),
        ("README.md", 7, "../shared/a.md"),
        ("docs/a.md", 1, "`README.md`"),
    ];
    assert_caught(&check(&tree), &expected);
}
