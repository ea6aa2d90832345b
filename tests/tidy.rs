//! The structural rules of this repository. Each file in `tidy/` holds the rules of one area as a table or a check, a
//! test that applies them to the tree, and tests that each rule catches a small example of what it forbids.

mod capabilities;
mod docs;
mod edges;
mod hygiene;
mod links;
mod manifests;
mod places;
mod rust;
mod size;
mod tree;
mod wit;

/// Something against a rule, where it is, and what to do about it.
#[derive(Debug)]
struct Offence {
    file: String,
    line: usize,
    remedy: String,
}

impl Offence {
    fn new(file: &str, line: usize, remedy: impl Into<String>) -> Self {
        Offence { file: file.into(), line, remedy: remedy.into() }
    }
}

/// Fails with all offences at once, in the form that editors jump from.
#[track_caller]
fn assert_tidy(offences: &[Offence]) {
    let lines: String = offences.iter().map(|o| format!("\n{}:{}: {}", o.file, o.line, o.remedy)).collect();
    assert!(offences.is_empty(), "{} against the rules:{lines}", offences.len());
}

/// Fails unless there is one offence for each of these, in any order: a file, a line, and words of the remedy.
#[track_caller]
fn assert_caught(offences: &[Offence], expected: &[(&str, usize, &str)]) {
    for &(file, line, words) in expected {
        let is_it = |o: &Offence| o.file == file && o.line == line && o.remedy.contains(words);
        assert!(offences.iter().any(is_it), "nothing like {file}:{line}: {words} in {offences:#?}");
    }
    assert_eq!(offences.len(), expected.len(), "{offences:#?}");
}
