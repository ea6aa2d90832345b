//! Forms with files, as `multipart/form-data`.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

/// What stands between the parts; no file of a case has it.
const BOUNDARY: &str = "tessera-case-7c1d0f52";

/// One part of a form: a text, or a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    name: String,
    /// The text, or, with `file_name`, the file's content.
    #[serde(default)]
    value: String,
    /// A file, from the case's folder.
    file: Option<String>,
    /// What the file is called to the service; the name of `file` without this.
    file_name: Option<String>,
    #[serde(skip)]
    bytes: Vec<u8>,
}

impl Part {
    /// Reads the file.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn load(&mut self, folder: &Path) -> anyhow::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let path = folder.join(file);
        self.bytes = std::fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
        if self.file_name.is_none() {
            self.file_name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        }
        Ok(())
    }
}

/// The content type of a form.
pub(crate) fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// The body of a form.
pub(super) fn body(parts: &[Part]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        let file = part.file_name.as_ref().map_or(String::new(), |name| format!("; filename=\"{name}\""));
        let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{}\"{file}\r\n\r\n", part.name);
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(if part.file.is_some() { &part.bytes } else { part.value.as_bytes() });
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_files_are_parts() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("b.bin"), b"\xff").expect("writes");
        let json =
            r#"[{"name": "a", "value": "1"}, {"name": "f", "file": "b.bin"}, {"name": "g", "file_name": "c", "value": "2"}]"#;
        let mut parts: Vec<Part> = serde_json::from_str(json).expect("parts");
        for part in &mut parts {
            part.load(folder.path()).expect("loads");
        }
        let body = body(&parts);
        for wanted in
            [b"name=\"a\"\r\n\r\n1\r\n".as_slice(), b"; filename=\"b.bin\"\r\n\r\n\xff\r\n", b"; filename=\"c\"\r\n\r\n2\r\n"]
        {
            assert!(body.windows(wanted.len()).any(|window| window == wanted), "{wanted:?}");
        }
        assert!(body.ends_with(b"--\r\n"));
        let mut missing: Part = serde_json::from_str(r#"{"name": "f", "file": "none"}"#).expect("a part");
        assert!(missing.load(folder.path()).is_err());
    }
}
