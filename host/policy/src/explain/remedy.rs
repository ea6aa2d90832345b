//! Lines to change in a file, as people are told of them.

/// What to change in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remedy {
    /// The file.
    pub(crate) file: String,
    /// Where in it.
    pub(crate) place: Place,
    /// The lines that stand there then, without the last line break.
    pub(crate) lines: String,
}

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// They are the whole file, which is not there yet.
    NewFile,
    /// They come after the last line.
    End,
    /// They come after this line, counted from 1.
    After(usize),
    /// They replace the lines from this one to that one.
    Lines(usize, usize),
    /// They replace the line that begins as they do up to `=`, or are added before the first section.
    Key,
}

impl Remedy {
    /// What is different between a file's text and what it should be.
    pub(crate) fn between(file: &str, before: &str, after: &str) -> Remedy {
        let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
        let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
        let rest = old[start..].iter().rev().zip(new[start..].iter().rev());
        let end = rest.take_while(|(old, new)| old == new).count();
        let place = match (start, old.len() - end) {
            (start, until) if until > start => Place::Lines(start + 1, until),
            (start, _) if start == old.len() => Place::End,
            (start, _) => Place::After(start),
        };
        let lines = new[start..new.len() - end].join("\n");
        Remedy { file: file.into(), place, lines: lines.trim_matches('\n').into() }
    }

    /// In one line, after what was said, which names this line if any.
    pub(crate) fn inline(&self, said: &str, cited: Option<usize>) -> String {
        let Remedy { file, place, lines } = self;
        let (it, of_it) =
            if said.contains(file) { ("it".into(), String::new()) } else { (file.clone(), format!(" of {file}")) };
        let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        match *place {
            Place::NewFile => format!("{file} does not exist, make it with: {lines}"),
            Place::End => format!("add to {it}: {lines}"),
            Place::After(line) => format!("add after line {line}{of_it}: {lines}"),
            Place::Lines(first, last) if first == last && cited == Some(first) => format!("change that line to: {lines}"),
            Place::Lines(first, last) if first == last => format!("change line {first}{of_it} to: {lines}"),
            Place::Lines(first, last) => format!("change lines {first} to {last}{of_it} to: {lines}"),
            Place::Key => format!("there say: {lines}"),
        }
    }

    /// As a heading and the lines below it.
    pub(crate) fn block(&self) -> String {
        let Remedy { file, place, lines } = self;
        let heading = match *place {
            Place::NewFile => format!("make {file}:"),
            Place::End => format!("add to {file}:"),
            Place::After(line) => format!("add to {file} after line {line}:"),
            Place::Lines(first, last) if first == last => format!("change line {first} of {file} to:"),
            Place::Lines(first, last) => format!("change lines {first} to {last} of {file} to:"),
            Place::Key => format!("say in {file}:"),
        };
        format!("{heading}\n\n{lines}\n")
    }

    /// A file's text with this done to it.
    #[cfg(test)]
    pub(crate) fn apply(&self, text: &str) -> String {
        let old: Vec<&str> = text.lines().collect();
        let (before, after) = match self.place {
            Place::NewFile => (&[][..], &[][..]),
            Place::End => (&old[..], &[][..]),
            Place::After(line) => old.split_at(line),
            Place::Lines(first, last) => (&old[..first - 1], &old[last..]),
            Place::Key => panic!("not of a policy"),
        };
        [before, &[self.lines.as_str()], after].concat().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_different_says_where_it_goes_and_can_be_done_by_hand() {
        let cases = [
            ("a\nb\nc\n", "a\nx\nc\n", Place::Lines(2, 2), "x"),
            ("a\nb\nc\n", "a\nx\ny\nc\n", Place::Lines(2, 2), "x\ny"),
            ("a\nb\nc\nd\n", "a\nx\nd\n", Place::Lines(2, 3), "x"),
            ("a\nb\n", "a\nx\nb\n", Place::After(1), "x"),
            ("a\nb\n", "a\nb\n\nx\ny\n", Place::End, "x\ny"),
            ("a\na\n", "a\na\na\n", Place::End, "a"),
        ];
        for (before, after, place, lines) in cases {
            let remedy = Remedy::between("f", before, after);
            assert_eq!((remedy.place, remedy.lines.as_str()), (place, lines), "{before:?} to {after:?}");
            let without_gap = after.replace("\n\n", "\n");
            assert_eq!(remedy.apply(before).trim_end(), without_gap.trim_end());
        }
    }
}
