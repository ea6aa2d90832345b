//! Versions of interfaces that take one another's place.

use semver::Version;

/// The version of an interface that is found, where it may stand for the one that is wanted: of the same name, and in a version
/// between which nothing may break by the rules of semantic versioning. The same name without any version will do as well.
pub(crate) fn instead(wanted: &str, found: &str) -> Option<Version> {
    let ((name, wanted), (other, found)) = (split(wanted), split(found));
    if name != other {
        return None;
    }
    match (wanted, found) {
        (None, None) => Some(Version::new(0, 0, 0)),
        (Some(wanted), Some(found)) => {
            let (wanted, found) = (Version::parse(wanted).ok()?, Version::parse(found).ok()?);
            (wanted == found || track(&wanted).is_some() && track(&wanted) == track(&found)).then_some(found)
        }
        _ => None,
    }
}

/// The name of an interface without its version.
pub(crate) fn unversioned(interface: &str) -> &str {
    split(interface).0
}

fn split(interface: &str) -> (&str, Option<&str>) {
    interface.split_once('@').map_or((interface, None), |(name, version)| (name, Some(version)))
}

/// What versions that don't break one another have in common; none for those that stand alone.
fn track(version: &Version) -> Option<(u64, u64)> {
    match version {
        version if !version.pre.is_empty() => None,
        Version { major: 0, minor: 0, .. } => None,
        Version { major: 0, minor, .. } => Some((0, *minor)),
        Version { major, .. } => Some((*major, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_stand_for_one_another_where_nothing_breaks() {
        for (wanted, found, is_right) in [
            ("1.2.0", "1.2.0", true),
            ("1.2.0", "1.9.1", true),
            ("1.2.0", "1.0.0", true),
            ("1.2.0", "2.0.0", false),
            ("0.2.0", "0.2.9", true),
            ("0.2.0", "0.3.0", false),
            ("0.0.1", "0.0.1", true),
            ("0.0.1", "0.0.2", false),
            ("1.0.0-rc.1", "1.0.0-rc.1", true),
            ("1.0.0-rc.1", "1.0.0", false),
            ("1.0", "1.0", false),
        ] {
            let found = instead(&format!("a:b/c@{wanted}"), &format!("a:b/c@{found}"));
            assert_eq!(found.is_some(), is_right, "{wanted} {found:?}");
        }
        assert!(instead("a:b/c", "a:b/c").is_some());
        for (wanted, found) in [("a:b/c", "a:b/c@1.0.0"), ("a:b/c@1.0.0", "a:b/c"), ("a:b/c", "a:b/d")] {
            assert_eq!(instead(wanted, found), None);
        }
    }
}
