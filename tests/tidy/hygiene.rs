//! Small things about text files: no machine's paths, no promises to finish later, every module compiled.

use super::tree::{File, Tree};
use super::{Offence, assert_caught, assert_tidy};

/// A text that no file may have. The pieces are put together here so that this file has none of them.
struct Ban {
    words: &'static [&'static str],
    files: fn(&File) -> bool,
    remedy: &'static str,
}

const BANS: [Ban; 2] = [
    Ban {
        words: &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")],
        files: |_| true,
        remedy: "a path of one machine: make it relative, or an option",
    },
    Ban {
        words: &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")],
        files: is_written_by_hand,
        remedy: "do it, or open an issue",
    },
];

#[test]
fn text_is_finished_and_of_no_machine() {
    assert_tidy(&words(Tree::ours()));
}

#[test]
fn every_rust_file_is_a_module_of_its_parent() {
    assert_tidy(&modules(Tree::ours()));
}

#[test]
fn every_file_ends_with_one_newline() {
    assert_tidy(&ends(Tree::ours()));
}

fn words(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in &tree.files {
        for ban in BANS.iter().filter(|ban| (ban.files)(file)) {
            // Most files have none: look at lines only of those that do.
            for word in ban.words.iter().filter(|word| file.text.contains(**word)) {
                let lines = file.numbered().filter(|(_, line)| stands_alone(line, word));
                offences.extend(lines.map(|(line, _)| Offence::new(&file.path, line, format!("`{word}`: {}", ban.remedy))));
            }
        }
    }
    offences
}

fn modules(tree: &Tree) -> Vec<Offence> {
    let mut offences = Vec::new();
    for file in tree.below("", ".rs") {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let stem = name.trim_end_matches(".rs");
        match stem {
            "mod" => offences.push(Offence::new(&file.path, 1, format!("move it to {folder}.rs"))),
            "lib" | "main" | "build" => {}
            _ => {
                if !is_declared(tree, folder, stem) {
                    let remedy = format!("is compiled by nobody: add `mod {stem};` to its parent, or delete it");
                    offences.push(Offence::new(&file.path, 1, remedy));
                }
            }
        }
    }
    offences
}

/// Whether the parent names a module, or the grandparent does in an inline `mod parent { … }`.
fn is_declared(tree: &Tree, folder: &str, stem: &str) -> bool {
    let has = |file: &str, code: &str| tree.file(file).is_some_and(|file| !file.find(code).is_empty());
    let of = |folder: &str| [format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")];
    let module = format!("mod {stem};");
    let (above, parent) = folder.rsplit_once('/').unwrap_or(("", folder));
    let inline = format!("mod {parent} {{");
    of(folder).iter().any(|file| has(file, &module)) || of(above).iter().any(|file| has(file, &inline) && has(file, &module))
}

fn ends(tree: &Tree) -> Vec<Offence> {
    let files = tree.files.iter().filter(|file| is_written_by_hand(file) && !file.text.is_empty());
    let torn = files.filter(|file| !file.text.ends_with('\n') || file.text.ends_with("\n\n"));
    torn.map(|file| Offence::new(&file.path, file.text.lines().count(), "end it with one newline")).collect()
}

/// Whether people write such a file; numbers and vocabularies of models may hold any word.
fn is_written_by_hand(file: &File) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let kinds = ["rs", "toml", "wit", "md", "sh", "py", "js", "ts", "css", "html", "yml", "yaml", "cedar"];
    name.rsplit_once('.').is_none_or(|(stem, kind)| stem.is_empty() || kinds.contains(&kind))
}

/// Whether a word is in a line with no letter or digit next to it, which would make it part of another.
fn stands_alone(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().filter(|c| c.is_alphanumeric() || "_-.~}".contains(*c));
        let after = line[at + word.len()..].chars().next().filter(|c| c.is_alphanumeric() || *c == '_');
        before.is_none() && (word.ends_with('/') || after.is_none())
    })
}

#[test]
fn every_banned_word_is_caught() {
    for word in BANS.iter().flat_map(|ban| ban.words) {
        let text = format!("good\n# {word}x is bad\n# {word} is bad\nx{word}x is good\n");
        let lines: Vec<usize> = words(&Tree::made_of(&[("a/b.sh", &text)])).iter().map(|offence| offence.line).collect();
        let expected = if word.ends_with('/') { vec![2, 3] } else { vec![3] };
        assert_eq!(lines, expected, "{word}");
    }
    let vocabulary = format!("\"{}\"", concat!("XX", "X"));
    assert_tidy(&words(&Tree::made_of(&[("tests/golden/a/tokenizer.json", &vocabulary)])));
}

#[test]
fn a_module_that_nobody_compiles_is_caught() {
    let tree = Tree::made_of(&[
        ("a/src/lib.rs", "mod b;\n// mod c;\nmod f { mod g; }"),
        ("a/src/f/g.rs", ""),
        ("a/src/b.rs", "pub mod d;"),
        ("a/src/b/d.rs", ""),
        ("a/src/c.rs", ""),
        ("a/src/e/mod.rs", ""),
    ]);
    assert_caught(&modules(&tree), &[("a/src/c.rs", 1, "`mod c;`"), ("a/src/e/mod.rs", 1, "move it to a/src/e.rs")]);
}

#[test]
fn a_torn_end_is_caught() {
    let tree = Tree::made_of(&[
        ("wit/a.wit", "package a:a;\n"),
        ("wit/b.wit", "package b:b;\n}"),
        ("c.rs", "//\n\n"),
        ("Makefile", "all:"),
        ("d.json", "{}"),
    ]);
    let expected = [("wit/b.wit", 2, "newline"), ("c.rs", 2, "newline"), ("Makefile", 1, "newline")];
    assert_caught(&ends(&tree), &expected);
}
