//! The files of the repository, read once; or a few made up by a test.

use std::path::Path;
use std::sync::OnceLock;

use super::rust::{self, Token};

/// Folders that hold nothing of ours: build outputs, what was pulled, and what others wrote.
const SKIPPED: [&str; 8] = ["target", "data", "models", "third_party", "node_modules", "venv", "__pycache__", "deps"];

/// Hidden files and folders that are ours all the same.
const HIDDEN: [&str; 5] = [".ci", ".cargo", ".config", ".github", ".gitignore"];

/// Text files of a repository, sorted by path.
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

/// One text file.
pub(super) struct File {
    /// From the repository's root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    /// Of Rust files only.
    pub(super) tokens: Vec<Token>,
}

impl Tree {
    /// This repository.
    pub(super) fn ours() -> &'static Tree {
        static OURS: OnceLock<Tree> = OnceLock::new();
        OURS.get_or_init(|| {
            let mut files: Vec<(String, String)> = Vec::new();
            collect(tests::root(), "", &mut files);
            assert!(files.iter().any(|(path, _)| path == "Cargo.toml"), "the repository's root was not found");
            Tree::of(files)
        })
    }

    /// A made-up repository of paths and texts.
    pub(super) fn made_of(files: &[(&str, &str)]) -> Tree {
        Tree::of(files.iter().map(|&(path, text)| (path.into(), text.into())).collect())
    }

    fn of(files: Vec<(String, String)>) -> Tree {
        let mut files: Vec<File> = files
            .into_iter()
            .map(|(path, text)| {
                let tokens = if path.ends_with(".rs") { rust::lex(&text) } else { Vec::new() };
                File { path, text, tokens }
            })
            .collect();
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Tree { files }
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Files below a folder whose name ends so: `("wit/", ".wit")`.
    pub(super) fn below<'a>(&'a self, folder: &'a str, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(folder) && file.path.ends_with(end))
    }

    /// Whether a file or a folder of this path is there.
    pub(super) fn has(&self, path: &str) -> bool {
        let is_it = |file: &File| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        path.is_empty() || self.files.iter().any(is_it)
    }
}

impl File {
    /// Lines on which these Rust tokens begin, comments and literals left out.
    pub(super) fn find(&self, code: &str) -> Vec<usize> {
        rust::find(&self.tokens, code)
    }

    /// Lines of a Markdown file outside its fenced code, counted from 1.
    pub(super) fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut fenced = false;
        self.numbered().filter(move |(_, line)| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
    }

    /// Lines, counted from 1.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The first line that begins so; 1 if none does.
    pub(super) fn line_of(&self, start: &str) -> usize {
        self.numbered().find(|(_, line)| line.starts_with(start)).map_or(1, |(number, _)| number)
    }
}

/// Puts the text files below a folder into `files`.
fn collect(root: &Path, folder: &str, files: &mut Vec<(String, String)>) {
    let entries = std::fs::read_dir(root.join(folder)).expect("the repository can be read");
    for entry in entries.map(|entry| entry.expect("the repository can be read")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}{name}");
        let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
        let kind = entry.file_type().expect("the repository can be read");
        if kind.is_dir() && !hidden && !SKIPPED.contains(&name.as_str()) && !name.starts_with("target-") {
            collect(root, &format!("{path}/"), files);
        } else if kind.is_file() && !hidden {
            // Weights and components are not text.
            files.extend(std::fs::read_to_string(entry.path()).ok().map(|text| (path, text)));
        }
    }
}

#[test]
fn our_tree_holds_sources_and_no_outputs() {
    let tree = Tree::ours();
    for path in ["host/engine/src/lib.rs", "wit/service.wit", "tests/tidy.rs", ".gitignore"] {
        assert!(tree.has(path), "{path}");
    }
    assert!(!tree.files.iter().any(|file| file.path.starts_with("target/") || file.path.ends_with(".wasm")));
}

#[test]
fn prose_leaves_fenced_code_out() {
    let tree = Tree::made_of(&[("a.md", "one\n```toml\ntwo\n```\nthree\n")]);
    let prose: Vec<_> = tree.files[0].prose().collect();
    assert_eq!(prose, [(1, "one"), (5, "three")]);
}
