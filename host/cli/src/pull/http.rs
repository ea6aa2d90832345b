//! Downloads one file over HTTP into a stage, and continues where an earlier run stopped.
//!
//! A half-finished file waits in the stage's scratch folder as `NAME.part` with the server's strong `ETag` in
//! `NAME.etag`. The next request asks for the rest by `Range` and names that tag in `If-Range` (RFC 9110, 13.1.5 and
//! 14.2), so a file that changed meanwhile comes whole instead of being glued to its predecessor.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::progress::size;
use super::stage::{Stage, disk};

/// A file whose size nobody pinned.
const FILE_BYTES_MAX: u64 = 256 << 30;
/// How often a connection that breaks after it brought something is made anew in one run.
const TRIES_MAX: usize = 5;
const CONNECT_WAIT: Duration = Duration::from_secs(20);
const READ_WAIT: Duration = Duration::from_secs(60);
const CHUNK_BYTES: usize = 1 << 18;

/// One file to download.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) url: &'a str,
    /// Sent as a bearer token to this host, never on to where it redirects.
    pub(crate) token: Option<&'a str>,
    /// Path of the file in the model.
    pub(crate) file: &'a str,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The file is in the stage; `commit` is the revision that a hub says it belongs to.
    Stored { commit: Option<String> },
    /// The server has no such file.
    Absent,
}

/// Downloads files.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
}

enum Step {
    Answered(Answer),
    Broken(anyhow::Error),
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_WAIT))
            .timeout_per_read(Some(READ_WAIT))
            .user_agent(concat!("tessera/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into() }
    }

    /// Brings the requested file into `stage`, unless it is there already with its pinned content.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or sends more than the file may have; what came stays for the next
    /// run.
    pub(crate) fn download(&self, stage: &Stage, request: &Request<'_>) -> anyhow::Result<Answer> {
        if stage.is_done(request.file)? {
            return Ok(Answer::Stored { commit: None });
        }
        let part = Part::new(stage, request.file)?;
        let mut tries = 1;
        loop {
            match self.attempt(stage, request, &part)? {
                Step::Answered(answer) => return Ok(answer),
                Step::Broken(error) if tries == TRIES_MAX => return Err(error.context("run it again to continue")),
                Step::Broken(error) => tracing::info!(%error, file = request.file, "connection broke: continuing"),
            }
            tries += 1;
        }
    }

    fn attempt(&self, stage: &Stage, request: &Request<'_>, part: &Part) -> anyhow::Result<Step> {
        let asked = shown(request.url);
        let response = self.send(request, part).with_context(|| {
            format!("cannot reach {asked}: is this machine offline, or does it need a proxy (HTTPS_PROXY)?")
        })?;
        let start = match response.status().as_u16() {
            200 => 0,
            206 if part.continues_with(&response) => part.bytes(),
            206 | 416 => {
                part.remove()?;
                return Ok(Step::Broken(anyhow::anyhow!("{asked} gave another range than was asked for")));
            }
            304 => return Ok(Step::Answered(Answer::Stored { commit: commit(&response) })),
            404 | 410 => {
                part.remove()?;
                remove_if_there(&part.place)?;
                return Ok(Step::Answered(Answer::Absent));
            }
            401 | 403 => bail!("{asked} does not exist or needs permission: check its name, or set HF_TOKEN for a hub"),
            status => bail!("{asked} answered with status {status}"),
        };
        store(stage, request, part, response, start)
    }

    fn send(&self, request: &Request<'_>, part: &Part) -> Result<Response<Body>, ureq::Error> {
        let mut get = self.agent.get(request.url);
        if let Some(token) = request.token {
            get = get.header("authorization", format!("Bearer {token}"));
        }
        match part.tag() {
            Some(tag) if part.place.exists() => get = get.header("if-none-match", tag),
            Some(tag) if part.bytes() > 0 => {
                get = get.header("range", format!("bytes={}-", part.bytes())).header("if-range", tag);
            }
            _ => {}
        }
        get.call()
    }
}

/// Writes the response's body behind the first `start` bytes of the part, and the whole file to its place.
fn store(stage: &Stage, request: &Request<'_>, part: &Part, response: Response<Body>, start: u64) -> anyhow::Result<Step> {
    let asked = shown(request.url);
    let bytes_max = stage.pin(request.file).map_or(FILE_BYTES_MAX, |pin| pin.bytes);
    let total = header(&response, "content-length").and_then(|text| text.parse::<u64>().ok()).map(|rest| start + rest);
    let too_long = || format!("{asked} is longer than the {} expected", size(bytes_max));
    ensure!(total.is_none_or(|total| total <= bytes_max), too_long());
    let commit = commit(&response);
    let mut file = part.open(&response, start)?;
    let mut meter = stage.progress.meter(request.file, start, total);
    let mut body = response.into_body().into_reader();
    let (mut done, mut chunk) = (start, vec![0; CHUNK_BYTES]);
    loop {
        let read = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("{asked} broke off at {}", size(done)));
                return if done > start { Ok(Step::Broken(error)) } else { Err(error) };
            }
        };
        done += read as u64;
        if done > bytes_max {
            part.remove()?;
            bail!(too_long());
        }
        file.write_all(&chunk[..read]).map_err(|error| disk(&part.path, error))?;
        meter.set(done);
    }
    file.sync_all().map_err(|error| disk(&part.path, error))?;
    fs::rename(&part.path, &part.place).map_err(|error| disk(&part.place, error))?;
    Ok(Step::Answered(Answer::Stored { commit }))
}

/// A file on its way: `path` while it grows, `place` when it is whole.
struct Part {
    place: PathBuf,
    path: PathBuf,
    tag_path: PathBuf,
}

impl Part {
    fn new(stage: &Stage, file: &str) -> anyhow::Result<Self> {
        let flat = file.replace('/', "__");
        let place = stage.place(file)?;
        let part = Self {
            path: stage.scratch.join(format!("{flat}.part")),
            tag_path: stage.scratch.join(format!("{flat}.etag")),
            place,
        };
        // Had it the pinned content, it would not be asked for.
        if stage.pin(file).is_some() {
            remove_if_there(&part.place)?;
        }
        Ok(part)
    }

    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    fn tag(&self) -> Option<String> {
        fs::read_to_string(&self.tag_path).ok().filter(|tag| !tag.is_empty())
    }

    fn continues_with(&self, response: &Response<Body>) -> bool {
        let from_here = format!("bytes {}-", self.bytes());
        let same = header(response, "etag").is_none_or(|tag| self.tag().as_deref() == Some(tag));
        same && header(response, "content-range").is_some_and(|range| range.starts_with(&from_here))
    }

    /// Opens the part behind its first `start` bytes and keeps the response's tag. A weak tag says too little.
    fn open(&self, response: &Response<Body>, start: u64) -> anyhow::Result<File> {
        if start > 0 {
            return OpenOptions::new().append(true).open(&self.path).map_err(|error| disk(&self.path, error));
        }
        let file = File::create(&self.path).map_err(|error| disk(&self.path, error))?;
        let tag = header(response, "etag").filter(|tag| tag.starts_with('"')).unwrap_or_default();
        fs::write(&self.tag_path, tag).map_err(|error| disk(&self.tag_path, error))?;
        Ok(file)
    }

    fn remove(&self) -> anyhow::Result<()> {
        remove_if_there(&self.path)?;
        remove_if_there(&self.tag_path)
    }
}

fn remove_if_there(path: &Path) -> anyhow::Result<()> {
    if path.exists() { fs::remove_file(path).map_err(|error| disk(path, error)) } else { Ok(()) }
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn commit(response: &Response<Body>) -> Option<String> {
    let is_commit = |text: &&str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    header(response, "x-repo-commit").filter(is_commit).map(str::to_owned)
}

/// The address without its query, which may hold a signature.
pub(crate) fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Digest;

    use crate::pull::digest::Pin;
    use crate::pull::progress::Progress;
    use crate::pull::test_server::{Reply, Server};

    const TEXT: &[u8] = b"GGUF and then some weights";

    fn stage(models: &Path) -> anyhow::Result<Stage> {
        Stage::open(models, &"m".parse()?, &"hf:org/m".parse()?, Progress::Silent)
    }

    fn download(stage: &Stage, server: &Server) -> anyhow::Result<Answer> {
        let url = server.url("/model.gguf");
        Client::new().download(stage, &Request { url: &url, token: None, file: "model.gguf" })
    }

    fn leave_part(stage: &Stage, bytes: &[u8], tag: &str) -> anyhow::Result<()> {
        fs::write(stage.scratch.join("model.gguf.part"), bytes)?;
        Ok(fs::write(stage.scratch.join("model.gguf.etag"), tag)?)
    }

    fn stored(stage: &Stage) -> anyhow::Result<Vec<u8>> {
        Ok(fs::read(stage.files.join("model.gguf"))?)
    }

    #[test]
    fn part_of_an_earlier_run_is_continued() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        leave_part(&stage, &TEXT[..10], "\"v1\"")?;
        let server = Server::start(|request| request.ranged(TEXT, "\"v1\""))?;
        download(&stage, &server)?;
        assert_eq!(stored(&stage)?, TEXT);
        let requests = server.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].header("range"), Some("bytes=10-"));
        assert_eq!(requests[0].header("if-range"), Some("\"v1\""));
        Ok(())
    }

    #[test]
    fn changed_tag_brings_the_whole_file_anew() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        leave_part(&stage, b"something older", "\"v0\"")?;
        let server = Server::start(|request| request.ranged(TEXT, "\"v1\""))?;
        download(&stage, &server)?;
        assert_eq!(stored(&stage)?, TEXT);
        Ok(())
    }

    #[test]
    fn range_of_another_version_is_thrown_away() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        leave_part(&stage, b"something older", "\"v0\"")?;
        // This server ignores If-Range.
        let server = Server::start(|request| request.range_of(TEXT, "\"v1\""))?;
        download(&stage, &server)?;
        assert_eq!(stored(&stage)?, TEXT);
        Ok(())
    }

    #[test]
    fn broken_connection_continues_in_the_same_run() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        let server = Server::start(|request| {
            let reply = request.ranged(TEXT, "\"v1\"");
            if request.header("range").is_none() { reply.cut(8) } else { reply }
        })?;
        download(&stage, &server)?;
        assert_eq!(stored(&stage)?, TEXT);
        assert_eq!(server.requests()[1].header("range"), Some("bytes=8-"));
        Ok(())
    }

    #[test]
    fn server_that_always_breaks_off_is_given_up_and_part_stays() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        let server = Server::start(|request| request.ranged(TEXT, "\"v1\"").cut(2))?;
        let error = format!("{:#}", download(&stage, &server).expect_err("never whole"));
        assert!(error.contains("run it again"), "{error}");
        assert_eq!(fs::read(stage.scratch.join("model.gguf.part"))?, &TEXT[..2 * TRIES_MAX]);
        Ok(())
    }

    #[test]
    fn unchanged_file_is_not_sent_again() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        let server = Server::start(|request| match request.header("if-none-match") {
            Some("\"v1\"") => Reply::status(304),
            _ => request.ranged(TEXT, "\"v1\""),
        })?;
        download(&stage, &server)?;
        assert_eq!(download(&stage, &server)?, Answer::Stored { commit: None });
        assert_eq!(server.requests().len(), 2);
        assert_eq!(stored(&stage)?, TEXT);
        Ok(())
    }

    #[test]
    fn pinned_file_that_is_there_asks_nobody() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let mut stage = stage(models.path())?;
        let pin = Pin { path: "model.gguf".to_owned(), bytes: TEXT.len() as u64, sha256: Digest::of(TEXT) };
        stage.pins.push(pin);
        fs::write(stage.place("model.gguf")?, TEXT)?;
        let server = Server::start(|_| Reply::status(500))?;
        download(&stage, &server)?;
        assert!(server.requests().is_empty());
        Ok(())
    }

    #[test]
    fn file_longer_than_its_pin_is_refused_before_it_is_read() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let mut stage = stage(models.path())?;
        stage.pins.push(Pin { path: "model.gguf".to_owned(), bytes: 4, sha256: Digest::of(b"GGUF") });
        let server = Server::start(|request| request.ranged(TEXT, "\"v1\""))?;
        let error = download(&stage, &server).expect_err("too long").to_string();
        assert!(error.contains("longer than the 4 B expected"), "{error}");
        assert!(!stage.scratch.join("model.gguf.part").exists());
        Ok(())
    }

    #[test]
    fn missing_file_is_absent_and_forbidden_one_an_error() -> anyhow::Result<()> {
        let models = tempfile::tempdir()?;
        let stage = stage(models.path())?;
        fs::write(stage.place("model.gguf")?, "of an earlier run")?;
        assert_eq!(download(&stage, &Server::start(|_| Reply::status(404))?)?, Answer::Absent);
        assert!(!stage.files.join("model.gguf").exists());
        let error = download(&stage, &Server::start(|_| Reply::status(401))?).expect_err("forbidden").to_string();
        assert!(error.contains("HF_TOKEN"), "{error}");
        Ok(())
    }
}
