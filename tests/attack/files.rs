//! Leaving a granted folder, and changing one that may only be read: by `wasi:filesystem` 0.2 and 0.3 alike.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tests::{Reply, TestServer};

use crate::hostile::{achieved, assert_done, assert_serves, denials, get, start, with_neighbour};

/// What nobody may read or change.
const SECRET: &str = "outside of what is granted";

const INTERFACES: [u32; 2] = [2, 3];

/// A folder with another in it, which is granted, and links out of that.
struct Granted {
    outer: TempDir,
}

impl Granted {
    fn new() -> Granted {
        let outer = tempfile::tempdir().expect("a temporary folder");
        let granted = Granted { outer };
        let (inner, write) = (granted.path("granted"), |path: PathBuf, text: &str| std::fs::write(path, text).expect("writes"));
        std::fs::create_dir_all(inner.join("folder")).expect("a folder");
        std::fs::create_dir(granted.path("other")).expect("a folder");
        write(granted.path("outside.txt"), SECRET);
        write(inner.join("inside.txt"), "inside");
        write(inner.join("folder/deeper.txt"), "deeper");
        let link = |target: &Path, name: &str| symlink(target, inner.join(name)).expect("links");
        link(Path::new("../outside.txt"), "file-link");
        link(&granted.path("outside.txt"), "absolute-link");
        link(Path::new(".."), "folder-link");
        link(Path::new("folder-link"), "two-links");
        link(Path::new("/proc/self"), "process-link");
        symlink("outside.txt", granted.path("secret-link")).expect("links");
        granted
    }

    fn path(&self, name: &str) -> PathBuf {
        self.outer.path().join(name)
    }

    /// A server whose attacker has the folder as `/data`.
    fn server(&self, access: &str) -> TestServer {
        let host = self.path("granted");
        start(&format!("fs.allow = [{{ host = {:?}, guest = \"/data\", access = \"{access}\" }}]", host.display().to_string()))
    }

    /// Nothing outside is changed, and nothing is added there.
    #[track_caller]
    fn assert_outside_is_as_it_was(&self) {
        assert_eq!(std::fs::read_to_string(self.path("outside.txt")).expect("is there"), SECRET);
        assert_eq!(names(self.outer.path()), ["granted", "other", "outside.txt", "secret-link"]);
    }
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("lists").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Attempts that were done.
fn done(reply: &Reply) -> Vec<String> {
    let Value::Object(attempts) = reply.json()["attempts"].clone() else { panic!("no attempts: {}", reply.text()) };
    attempts.into_iter().filter(|(_, outcome)| outcome == "done").map(|(name, _)| name).collect()
}

#[test]
fn no_path_and_no_link_leads_out_of_a_folder_whatever_is_granted_in_it() {
    for access in ["read", "read-write"] {
        for interface in INTERFACES {
            let granted = Granted::new();
            let server = granted.server(access);
            for reply in with_neighbour(&server, 3, || get(&server, &format!("fs-escape?size={interface}"))) {
                assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"stopped".into()), "{}", reply.text());
                assert_eq!(done(&reply), [""; 0], "{access}, interface {interface}");
            }
            granted.assert_outside_is_as_it_was();
            assert_eq!(std::fs::read_to_string(granted.path("granted/inside.txt")).expect("is there"), "inside");
            assert_serves(&server);
        }
    }
}

#[test]
fn a_folder_that_may_be_read_is_not_changed_and_one_that_may_be_written_is() {
    for interface in INTERFACES {
        let path = format!("fs-write?size={interface}");
        let granted = Granted::new();
        let server = granted.server("read");
        let before = names(&granted.path("granted"));
        for reply in with_neighbour(&server, 3, || get(&server, &path)) {
            assert_eq!((reply.status, &reply.json()["outcome"]), (200, &"stopped".into()), "{}", reply.text());
            assert_eq!(done(&reply), [""; 0], "interface {interface}");
        }
        assert_eq!(names(&granted.path("granted")), before);
        assert_eq!(std::fs::read_to_string(granted.path("granted/inside.txt")).expect("is there"), "inside");
        assert!(denials(&server, "fs", "read_only") > 0.0, "an operator sees it");

        let granted = Granted::new();
        let reply = get(&granted.server("read-write"), &path);
        assert_done(&reply);
        assert_eq!(achieved(&reply), 13, "{}", reply.text());
        let after = names(&granted.path("granted"));
        assert!(after.contains(&"new.txt".into()) && after.contains(&"moved".into()), "{after:?}");
        granted.assert_outside_is_as_it_was();
    }
}

#[test]
fn without_a_grant_there_is_no_folder() {
    let server = start("");
    for interface in INTERFACES {
        let reply = get(&server, &format!("fs-escape?size={interface}"));
        assert_eq!((achieved(&reply), &reply.json()["outcome"]), (0, &"no folder is granted".into()));
    }
}
