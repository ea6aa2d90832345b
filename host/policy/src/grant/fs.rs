//! `[fs]`: folders of the host that a component sees by `wasi:filesystem`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::authority::Authority;
use crate::denial::Reason;
use crate::{Action, Denial};

pub(super) const LINES: &str = "[fs]\nallow = [{ host = \"/srv/data\", guest = \"/data\", access = \"read\" }]";

/// Section `[fs]` of a policy: folders of the host that the component sees, and nothing above them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FsGrant {
    /// Folders. Of several that hold a path the innermost decides; those that lie in each other on the host have the same access.
    pub allow: Vec<Folder>,
}

/// One folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Folder {
    /// Where it is on the host; relative to where the server runs. No part of it may be a symbolic link.
    pub host: PathBuf,
    /// What the component calls it: an absolute path.
    pub guest: String,
    /// What may be done in it.
    #[serde(default)]
    pub access: Access,
}

/// What may be done in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Reading files and listing folders.
    #[default]
    Read,
    /// Making, changing and removing them as well.
    ReadWrite,
}

impl Authority<'_> {
    /// Whether the component may look at a path, as it knows it.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn read_file(&self, path: &str) -> Result<(), Denial> {
        self.decide(Action::Read(path), self.folder(path).map(|_| ()))?;
        self.tell_allowed(Action::Read(path));
        Ok(())
    }

    /// Whether the component may change what is at a path, as it knows it.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn write_file(&self, path: &str) -> Result<(), Denial> {
        let writable = self.folder(path).and_then(|folder| match folder.access {
            Access::ReadWrite => Ok(()),
            Access::Read => Err(Reason::ReadOnly),
        });
        self.decide(Action::Write(path), writable)?;
        self.tell_allowed(Action::Write(path));
        Ok(())
    }

    /// Whether the component may make a symbolic link at a path, as it knows it. Where rules speak of files it may not: a rule sees
    /// a path as it is written, and a link would lead past it.
    ///
    /// # Errors
    /// A [`Denial`].
    pub fn link_file(&self, path: &str) -> Result<(), Denial> {
        self.write_file(path)?;
        let rule = self.policy.rules().first_of_files();
        self.decide(Action::Write(path), rule.map_or(Ok(()), |rule| Err(Reason::Forbidden(rule))))
    }

    /// Refuses a path that was granted and led out of its folder all the same, as by a symbolic link, and tells of it.
    pub fn left_folder(&self, path: &str) -> Denial {
        self.refuse(Action::Read(path), Reason::NotListed)
    }

    fn folder(&self, path: &str) -> Result<&Folder, Reason> {
        let section = self.policy.section(&self.policy.grants().fs, "fs")?;
        section.folder(path).map(|(_, folder)| folder).ok_or(Reason::NotListed)
    }
}

impl FsGrant {
    /// Checks what types can't say.
    pub(crate) fn check(&self) -> Result<(), String> {
        let is_absolute = |guest: &str| guest.starts_with('/') && guest.split('/').all(|part| part != ".." && part != ".");
        for (index, Folder { host, guest, access }) in self.allow.iter().enumerate() {
            if !is_absolute(guest) {
                return Err(format!("`[fs] allow`: the guest path `{guest}` must begin with `/` and hold no `..`"));
            }
            let is_same = |other: &Folder| other.guest.trim_end_matches('/') == guest.trim_end_matches('/');
            if self.allow.iter().take(index).any(is_same) {
                return Err(format!("`[fs] allow`: the guest path `{guest}` is there twice"));
            }
            let place = |host: &Path| std::path::absolute(host).unwrap_or_else(|_| host.into());
            let overlaps = |other: &&Folder| {
                let (one, other) = (place(host), place(&other.host));
                one.starts_with(&other) || other.starts_with(&one)
            };
            // Inside its own folders a component can move and link what lies in two of them.
            if let Some(other) = self.allow.iter().take(index).filter(overlaps).find(|other| other.access != *access) {
                let (host, other) = (host.display(), other.host.display());
                return Err(format!("`[fs] allow`: `{host}` and `{other}` lie in each other and must have the same access"));
            }
        }
        Ok(())
    }

    /// The innermost folder that a path lies in, and its place in the list.
    pub(crate) fn folder(&self, path: &str) -> Option<(usize, &Folder)> {
        if path.split('/').any(|part| part == "..") {
            return None;
        }
        let guest = |folder: &'_ Folder| folder.guest.trim_end_matches('/').len();
        let is_below = |folder: &Folder| {
            path.strip_prefix(&folder.guest[..guest(folder)]).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.allow.iter().enumerate().filter(|(_, folder)| is_below(folder)).max_by_key(|(_, folder)| guest(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{FakeFacts, World};

    const FOLDERS: &str = r#"
        [fs]
        allow = [
            { host = "in", guest = "/data" },
            { host = "out", guest = "/data/out", access = "read-write" },
            { host = "old", guest = "/data/out/old//", access = "read" },
            { host = "tmp", guest = "/tmp/", access = "read-write" },
        ]"#;

    #[test]
    fn the_innermost_folder_decides() {
        let world = World::new(FOLDERS);
        let cases = [
            ("/data", Ok(()), Err(Reason::ReadOnly)),
            ("/data/", Ok(()), Err(Reason::ReadOnly)),
            ("/data/x/y", Ok(()), Err(Reason::ReadOnly)),
            ("/data/out", Ok(()), Ok(())),
            ("/data/out/x", Ok(()), Ok(())),
            ("/data/outer", Ok(()), Err(Reason::ReadOnly)),
            ("/data/out/old", Ok(()), Err(Reason::ReadOnly)),
            ("/data/out/old/x", Ok(()), Err(Reason::ReadOnly)),
            ("/data/out/./x", Ok(()), Ok(())),
            ("/tmp", Ok(()), Ok(())),
            ("/tmp/x", Ok(()), Ok(())),
            ("/tmpx", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("/database", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("/", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("data/x", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("/Data/x", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("/data/../etc/passwd", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("/data/out/..", Err(Reason::NotListed), Err(Reason::NotListed)),
            ("/data/..x/x", Ok(()), Err(Reason::ReadOnly)),
            ("/../data/x", Err(Reason::NotListed), Err(Reason::NotListed)),
        ];
        for (path, read, write) in cases {
            let reason = |denial: Denial| denial.reason;
            assert_eq!(world.authority().read_file(path).map_err(reason), read, "read {path}");
            assert_eq!(world.authority().write_file(path).map_err(reason), write, "write {path}");
        }
    }

    #[test]
    fn a_folder_at_the_root_holds_everything() {
        let world = World::new("[fs]\nallow = [{ host = \".\", guest = \"/\" }]");
        for path in ["/", "/x", "/x/y"] {
            world.authority().read_file(path).expect("granted");
            assert_eq!(world.authority().write_file(path).expect_err("read only").reason, Reason::ReadOnly);
        }
    }

    #[test]
    fn without_the_section_there_are_no_files() {
        let world = World::new("[log]");
        assert_eq!(world.authority().read_file("/x").expect_err("none").reason, Reason::NoSection);
        let world = World::of(&format!("schema = 1\n{FOLDERS}"), &["log"], &FakeFacts::default()).expect("a good policy");
        assert_eq!(world.authority().read_file("/data/x").expect_err("not wanted").reason, Reason::Undeclared);
    }

    #[test]
    fn in_the_mode_observe_writing_to_what_may_only_be_read_is_told_and_done() {
        let world = World::new("mode = \"observe\"\n[fs]\nallow = [{ host = \".\", guest = \"/a\" }]");
        world.authority().write_file("/a/x").expect("observed");
        let told = world.told_once();
        assert_eq!((told.reason, told.is_enforced), (Reason::ReadOnly, false));
    }

    #[test]
    fn guest_paths_that_mean_no_one_folder_are_refused() {
        let folders = |guests: &[&str]| {
            let allow = guests.iter().map(|guest| format!("{{ host = \"x\", guest = \"{guest}\" }}"));
            let text = format!("schema = 1\n[fs]\nallow = [{}]", allow.collect::<Vec<_>>().join(", "));
            World::of(&text, &[], &FakeFacts::default()).map(drop)
        };
        for guests in [&[""][..], &["data"], &["/a/../b"], &["/./a"], &["/a", "/b", "/a/"], &["/", "//"]] {
            let error = folders(guests).expect_err("refused").to_string();
            assert!(error.contains("`[fs] allow`: the guest path"), "{error}");
        }
        folders(&["/", "/a", "/a/b"]).expect("each is another");
    }
}
