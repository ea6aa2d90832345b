//! The server's own folders, which no component is shown: who could write there would choose what runs next.

use std::path::{Component, Path, PathBuf};

use crate::grant::fs::{Access, Folder};
use crate::{Facts, PolicyFile};

/// A folder or file of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protected {
    /// What it is, as `data` or `policies`: the name of the setting.
    pub what: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// Whether a component may be shown it to read.
    pub is_readable: bool,
}

/// Checks that no folder of `[fs]` is one of the server's, contains one or lies inside one.
pub(crate) fn check(policy: &PolicyFile, facts: &dyn Facts) -> Result<(), String> {
    let Some(fs) = policy.fs.as_ref().filter(|fs| !fs.allow.is_empty()) else { return Ok(()) };
    let protected: Vec<(Protected, PathBuf)> =
        facts.protected().into_iter().map(|own| (own.clone(), canonical(&own.path))).collect();
    for Folder { host, access, .. } in &fs.allow {
        let place = canonical(host);
        let is_refused = |own: &Protected| !(own.is_readable && *access == Access::Read);
        let meets = |path: &Path| path.starts_with(&place) || place.starts_with(path);
        if let Some((own, _)) = protected.iter().find(|(own, path)| is_refused(own) && meets(path)) {
            let (host, what, path) = (host.display(), own.what, own.path.display());
            let how = if own.is_readable { "change" } else { "see" };
            return Err(format!(
                "`[fs] allow`: `{host}` and the server's own `{what}`, {path}, lie in each other, and no component may {how} that: \
                 name another folder"
            ));
        }
    }
    Ok(())
}

/// Where a path leads, as far as it exists; the rest as it is written.
fn canonical(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut place = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(place.pop()), // of what links lead to, as the system reads it
            part => place.push(part),
        }
        if let Ok(real) = place.canonicalize() {
            place = real;
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeFacts;
    use crate::{ComponentName, ModelName, SecretSource};

    struct Server(Vec<Protected>);

    impl Facts for Server {
        fn device(&self) -> &str {
            "flex"
        }

        fn model_digest(&self, _: &ModelName) -> Option<String> {
            None
        }

        fn secret(&self, _: &SecretSource) -> Option<String> {
            None
        }

        fn token(&self, component: &ComponentName, secret: &str) -> String {
            FakeFacts::default().token(component, secret)
        }

        fn protected(&self) -> Vec<Protected> {
            self.0.clone()
        }
    }

    fn refused(server: &Server, host: &Path, access: &str) -> Option<String> {
        let text = format!("schema = 1\n[fs]\nallow = [{{ host = {host:?}, guest = \"/a\", access = \"{access}\" }}]");
        let policy = PolicyFile::parse("p.toml".as_ref(), &text).expect("a policy");
        check(&policy, server).err()
    }

    #[test]
    fn a_folder_that_is_contains_or_lies_in_one_of_the_servers_is_refused() {
        let root = tempfile::tempdir().expect("a folder");
        let path = |name: &str| root.path().join(name);
        for folder in ["data/compiled", "models", "other", "database"] {
            std::fs::create_dir_all(path(folder)).expect("a folder");
        }
        std::os::unix::fs::symlink(path("data"), path("link")).expect("links");
        let own = |what, name, is_readable| Protected { what, path: path(name), is_readable };
        let server = Server(vec![own("data", "data", false), own("models", "models", true), own("policies", "none", false)]);
        for host in ["data", "data/compiled", "data/new", "", "link", "link/compiled", "other/../data", "none", "none/x"] {
            for access in ["read", "read-write"] {
                let refused = refused(&server, &path(host), access);
                assert!(refused.is_some_and(|text| text.contains("name another folder")), "{host} {access}");
            }
        }
        for host in ["other", "database", "other/data", "data/../other"] {
            assert_eq!(refused(&server, &path(host), "read-write"), None, "{host}");
        }
        assert_eq!(refused(&server, &path("models"), "read"), None);
        let text = refused(&server, &path("models/m"), "read-write").expect("refused");
        assert!(text.contains("`models`") && text.contains("may change that"), "{text}");
        assert!(refused(&server, &path("data"), "read").expect("refused").contains("may see that"));
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_of_the_servers_is_followed() {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join("real")).expect("a folder");
        std::os::unix::fs::symlink(root.path().join("real"), root.path().join("data")).expect("links");
        let server = Server(vec![Protected { what: "data", path: root.path().join("data"), is_readable: false }]);
        assert!(refused(&server, &root.path().join("real/x"), "read-write").is_some());
    }
}
