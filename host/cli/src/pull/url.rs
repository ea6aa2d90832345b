//! A model that is one file at an address.

use std::fmt;
use std::str::FromStr;

use anyhow::{bail, ensure};

use super::http::{Answer, Client, Request, shown};
use super::source::{stem, weights_file};
use super::stage::Stage;

/// The address of a .gguf or .safetensors file.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    url: String,
    file: &'static str,
}

impl Link {
    /// The file's name at the source, without extension.
    pub(crate) fn name(&self) -> String {
        stem(shown(&self.url))
    }

    /// Whether anyone between here and there can change what is sent.
    pub(crate) fn is_plain(&self) -> bool {
        self.url.starts_with("http:")
    }

    /// Downloads the file.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) fn fetch(&self, stage: &Stage) -> anyhow::Result<()> {
        let request = Request { url: &self.url, token: None, file: self.file };
        match Client::new().download(stage, &request)? {
            Answer::Stored { .. } => Ok(()),
            Answer::Absent => bail!("there is no file at {}", shown(&self.url)),
        }
    }
}

impl FromStr for Link {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> anyhow::Result<Self> {
        ensure!(!url.contains(char::is_whitespace), "`{url}` is no address");
        let file = weights_file(shown(url))?;
        Ok(Self { url: url.to_owned(), file })
    }
}

impl fmt::Display for Link {
    /// Without the query, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(shown(&self.url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_not_part_of_the_name_and_never_shown() -> anyhow::Result<()> {
        let link: Link = "https://host.example/m/tiny.Q4_1.gguf?signature=secret".parse()?;
        assert_eq!((link.name().as_str(), link.file), ("tiny.Q4_1", "model.gguf"));
        assert!(!link.to_string().contains("secret"));
        Ok(())
    }

    #[test]
    fn address_of_no_weights_is_refused() {
        assert!("https://host.example/model.zip".parse::<Link>().is_err());
    }
}
