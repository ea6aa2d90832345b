//! Files that travel in the program: what plugins are made from and built with.

/// A file's path and its text.
pub(crate) type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../", $folder, "/", $path)))),*]
    };
}

/// `wit/`: the interfaces that this host has.
pub(crate) const WIT: &[File] = files!("wit":
    "blob.wit", "classify.wit", "config.wit", "deps/io.wit", "embed.wit", "generate.wit", "guard.wit", "handler.wit", "http.wit",
    "inference.wit", "kv.wit", "log.wit", "rerank.wit", "secret.wit", "service.wit", "store.wit", "tokenize.wit", "vector.wit",
);

/// `sdk/js/`.
pub(crate) const JAVASCRIPT: &[File] = files!("sdk/js":
    "config.js", "embed.js", "error.js", "generate.js", "guard.js", "http.js", "index.d.ts", "log.js", "package.json", "rerank.js",
    "secret.js", "service.js", "text.js", "tokenize.js",
);

/// `sdk/python/tessera_sdk/`.
pub(crate) const PYTHON: &[File] = files!("sdk/python/tessera_sdk":
    "__init__.py", "config.py", "embed.py", "error.py", "exports.py", "generate.py", "guard.py", "http.py", "log.py", "rerank.py",
    "secret.py", "service.py", "tokenize.py",
);

/// `sdk/templates/`: of a language and a kind, and what all of a language or all of a kind share.
pub(crate) const TEMPLATES: &[File] = files!("sdk/templates":
    "common/README.md",
    "common/guard/cases/allows/request.json", "common/guard/cases/allows/response.json",
    "common/guard/cases/blocks/request.json", "common/guard/cases/blocks/response.json",
    "common/guard/cases/redacts/request.json", "common/guard/cases/redacts/response.json",
    "common/guard/component.toml", "common/guard/policy.toml",
    "common/pipeline/cases/answer/request.json", "common/pipeline/cases/answer/response.json",
    "common/pipeline/cases/no-documents/error.txt", "common/pipeline/cases/no-documents/request.json",
    "common/pipeline/component.toml", "common/pipeline/policy.toml",
    "common/service/cases/ask/request.json", "common/service/cases/ask/response.json",
    "common/service/cases/no-question/error.txt", "common/service/cases/no-question/request.json",
    "common/service/cases/similarity/request.json", "common/service/cases/similarity/response.json",
    "common/service/component.toml", "common/service/policy.toml",
    "common/tool/cases/count/request.json", "common/tool/cases/count/response.json",
    "common/tool/cases/no-text/error.txt", "common/tool/cases/no-text/request.json",
    "common/tool/cases/similarity/request.json", "common/tool/cases/similarity/response.json",
    "common/tool/component.toml", "common/tool/policy.toml", "common/tool/wit/tool.wit",
    "javascript/common/gitignore", "javascript/common/package.json",
    "javascript/guard/src/index.js", "javascript/guard/wit/guard.wit",
    "javascript/pipeline/src/index.js", "javascript/service/src/index.js", "javascript/tool/src/index.js",
    "python/common/gitignore", "python/common/pyproject.toml",
    "python/guard/src/app.py", "python/guard/wit/guard.wit",
    "python/pipeline/src/app.py", "python/service/src/app.py", "python/tool/src/app.py",
    "rust/common/Cargo.toml", "rust/common/gitignore",
    "rust/guard/src/lib.rs", "rust/pipeline/src/lib.rs", "rust/service/src/lib.rs",
    "rust/tool/Cargo.toml", "rust/tool/src/lib.rs",
);

/// The script that finds or makes a toolchain for `wasm32-wasip2`.
pub(crate) const WASM_TARGET: &str = include_str!("../../../../scripts/wasm-target.sh");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Files below a folder of the repository, sorted.
    fn below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder.join(prefix)).expect("the folder is there").map(|entry| entry.expect("lists")) {
            let path = Path::new(prefix).join(entry.file_name()).to_string_lossy().into_owned();
            match entry.path().is_dir() {
                true if !path.ends_with("__pycache__") => below(folder, &path, found),
                true => {}
                false => found.push(path),
            }
        }
    }

    #[test]
    fn every_file_of_the_sdk_and_its_templates_travels_in_the_program() {
        for (folder, files) in [("sdk/js", JAVASCRIPT), ("sdk/python/tessera_sdk", PYTHON), ("sdk/templates", TEMPLATES)] {
            let mut there = Vec::new();
            below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder), "", &mut there);
            there.sort();
            let mut listed: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
            listed.sort_unstable();
            assert_eq!(there, listed, "{folder}: files.rs lists what is there");
        }
    }

    #[test]
    fn every_interface_of_the_host_travels_in_the_program() {
        let mut there = Vec::new();
        below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit"), "", &mut there);
        // `wasi:nn` is for components that are made without an SDK.
        there.retain(|path| path.ends_with(".wit") && path != "deps/nn.wit");
        there.sort();
        assert_eq!(there, WIT.iter().map(|(path, _)| *path).collect::<Vec<_>>());
    }
}
