//! A model from a hub repository, file by file through the hub's `resolve` address.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use super::http::{Answer, Client, Request};
use super::source::{stem, weights_file};
use super::stage::Stage;

/// The public hub; `HF_ENDPOINT` names another.
const ENDPOINT: &str = "https://huggingface.co";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Files that many models have and none must.
const OPTIONAL: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
];

/// A repository at a revision: all of a model in it, or one file.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    id: String,
    revision: Option<String>,
    file: Option<String>,
}

impl Repo {
    /// The repository's name without its owner, or the file's without its extension.
    pub(crate) fn name(&self) -> String {
        match &self.file {
            Some(file) => stem(file),
            None => self.id.rsplit('/').next().unwrap_or(&self.id).to_owned(),
        }
    }

    /// Downloads the model from the hub of `HF_ENDPOINT`, with the token in `HF_TOKEN`; gives the revision.
    ///
    /// # Errors
    /// When the hub cannot be reached or the repository holds no model.
    pub(crate) fn fetch(&self, stage: &Stage) -> anyhow::Result<String> {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let hub = Hub {
            client: Client::new(),
            endpoint: set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            token: set("HF_TOKEN"),
        };
        self.fetch_from(&hub, stage)
    }

    fn fetch_from(&self, hub: &Hub, stage: &Stage) -> anyhow::Result<String> {
        let mut at = Snapshot { hub, repo: &self.id, revision: self.revision.as_deref().unwrap_or("main").to_owned() };
        if let Some(file) = &self.file {
            at.need(file, weights_file(file)?, stage)?;
            return Ok(at.revision);
        }
        // Whatever moves on the branch meanwhile: all files come from the commit that the first one came from.
        if let Some(commit) = at.need("config.json", "config.json", stage)? {
            at.revision = commit;
        }
        at.weights(stage)?;
        for file in OPTIONAL {
            at.get(file, file, stage)?;
        }
        Ok(at.revision)
    }
}

impl FromStr for Repo {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (rest, file) = split(text, ':');
        let (id, revision) = split(rest, '@');
        let plain = |part: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(known)
        };
        let path = |text: &str| text.split('/').all(plain);
        let well = path(id) && id.split('/').count() == 2;
        ensure!(
            well && revision.is_none_or(path) && file.is_none_or(path),
            "`hf:{text}` is no hub source: write hf:ORG/REPO, hf:ORG/REPO@REVISION or hf:ORG/REPO@REVISION:FILE.gguf"
        );
        Ok(Self { id: id.to_owned(), revision: revision.map(str::to_owned), file: file.map(str::to_owned) })
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(head, tail)| (head, Some(tail)))
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))?;
        self.file.iter().try_for_each(|file| write!(f, ":{file}"))
    }
}

struct Hub {
    client: Client,
    endpoint: String,
    token: Option<String>,
}

/// A repository at one revision of one hub.
struct Snapshot<'a> {
    hub: &'a Hub,
    repo: &'a str,
    revision: String,
}

impl Snapshot<'_> {
    /// Downloads `path` as the model's `file`.
    fn get(&self, path: &str, file: &str, stage: &Stage) -> anyhow::Result<Answer> {
        let endpoint = self.hub.endpoint.trim_end_matches('/');
        // A branch such as `refs/pr/1` is one segment of the address.
        let revision = self.revision.replace('/', "%2F");
        let url = format!("{endpoint}/{}/resolve/{revision}/{path}", self.repo);
        self.hub.client.download(stage, &Request { url: &url, token: self.hub.token.as_deref(), file })
    }

    /// The same, for a file without which there is no model; gives the commit it belongs to.
    fn need(&self, path: &str, file: &str, stage: &Stage) -> anyhow::Result<Option<String>> {
        match self.get(path, file, stage)? {
            Answer::Stored { commit } => Ok(commit),
            Answer::Absent => bail!(
                "{} has no {path} at revision {}: check both, and for one GGUF file write hf:{}:FILE.gguf",
                self.repo,
                self.revision,
                self.repo
            ),
        }
    }

    /// Downloads the weights, whole or in shards.
    fn weights(&self, stage: &Stage) -> anyhow::Result<()> {
        if self.get(WEIGHTS, WEIGHTS, stage)? != Answer::Absent {
            return Ok(());
        }
        self.need(INDEX, INDEX, stage).context("no safetensors weights, whole or sharded")?;
        for shard in shards(&fs::read(stage.place(INDEX)?)?)? {
            self.need(&shard, &shard, stage)?;
        }
        Ok(())
    }
}

/// The shard files that an index names.
fn shards(index: &[u8]) -> anyhow::Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).with_context(|| format!("{INDEX} is damaged"))?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    let plain = |shard: &String| shard.ends_with(".safetensors") && !shard.contains(['/', '?', '#', '%']);
    ensure!(!shards.is_empty() && shards.iter().all(plain), "{INDEX} names files that are no shards");
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pull::progress::Progress;
    use crate::pull::test_server::{Reply, Server};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn fetched(source: &str, server: &Server) -> anyhow::Result<(tempfile::TempDir, Stage, String)> {
        let models = tempfile::tempdir()?;
        let stage = Stage::open(models.path(), &"m".parse()?, &source.parse()?, Progress::Silent)?;
        let hub = Hub { client: Client::new(), endpoint: server.url("/"), token: Some("secret".to_owned()) };
        let repo: Repo = source.trim_start_matches("hf:").parse()?;
        let revision = repo.fetch_from(&hub, &stage)?;
        Ok((models, stage, revision))
    }

    #[test]
    fn optional_files_may_be_missing_and_all_come_from_one_commit() -> anyhow::Result<()> {
        let server = Server::start(|request| match request.path.rsplit('/').next() {
            Some("config.json") if !request.path.contains("Pooling") => Reply::whole(b"{}").with("x-repo-commit", COMMIT),
            Some("model.safetensors" | "tokenizer.json") => Reply::whole(b"x"),
            _ => Reply::status(404),
        })?;
        let (_models, stage, revision) = fetched("hf:org/m", &server)?;
        assert_eq!(revision, COMMIT);
        assert!(stage.files.join("tokenizer.json").exists() && !stage.files.join("modules.json").exists());
        let requests = server.requests();
        assert_eq!(requests[0].path, "/org/m/resolve/main/config.json");
        assert_eq!(requests[0].header("authorization"), Some("Bearer secret"));
        assert!(requests[1..].iter().all(|request| request.path.contains(COMMIT)));
        Ok(())
    }

    #[test]
    fn sharded_weights_come_with_their_index() -> anyhow::Result<()> {
        let index = br#"{"weight_map": {"a": "m-1-of-2.safetensors", "b": "m-2-of-2.safetensors"}}"#;
        let server = Server::start(|request| match request.path.rsplit('/').next() {
            Some("model.safetensors.index.json") => Reply::whole(index),
            Some("config.json" | "m-1-of-2.safetensors" | "m-2-of-2.safetensors") => Reply::whole(b"{}"),
            _ => Reply::status(404),
        })?;
        let (_models, stage, revision) = fetched("hf:org/m@v1", &server)?;
        assert_eq!(revision, "v1");
        assert!(stage.files.join("m-2-of-2.safetensors").exists() && stage.files.join(INDEX).exists());
        Ok(())
    }

    #[test]
    fn one_file_of_a_repository_is_a_model() -> anyhow::Result<()> {
        let server = Server::start(|_| Reply::whole(b"GGUF"))?;
        let (_models, stage, _) = fetched("hf:org/m:small.Q4_1.gguf", &server)?;
        assert!(stage.files.join("model.gguf").exists());
        assert_eq!(server.requests().len(), 1);
        Ok(())
    }

    #[test]
    fn repository_without_a_model_says_how_to_name_a_file() -> anyhow::Result<()> {
        let server = Server::start(|_| Reply::status(404))?;
        let error = format!("{:#}", fetched("hf:org/m", &server).err().context("an error")?);
        assert!(error.contains("hf:org/m:FILE.gguf"), "{error}");
        Ok(())
    }

    #[test]
    fn index_cannot_name_files_elsewhere() {
        for shard in ["../x.safetensors", "x.py", "a%2Fb.safetensors"] {
            let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
            assert!(shards(index.as_bytes()).is_err(), "{shard}");
        }
    }

    #[test]
    fn malformed_sources_are_refused() {
        for bad in ["", "repo", "a/b/c", "org/..", "org/repo@", "org/repo@a b", "org/repo:../x.gguf"] {
            assert!(bad.parse::<Repo>().is_err(), "{bad}");
        }
    }
}
