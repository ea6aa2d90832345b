//! Weights in ONNX files: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3>. The graph is not run: it tells which
//! parameter each of its tensors is, and how the quantised ones become numbers.
//!
//! Nothing in a file is believed: what is read takes memory in proportion to the file, and counts have limits.

mod graph;
mod message;
mod quantized;
mod tensor;

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Weights, WeightsError, files, map};

const EXTENSION: &str = "onnx";
/// Where exporters put the files beside a model's others.
const FOLDER: &str = "onnx";

/// The ONNX file that a path means: itself, or the one in the folder or in its folder `onnx`.
pub(super) fn find(path: &Path) -> Result<Option<PathBuf>, WeightsError> {
    match files::find(path, EXTENSION)? {
        None => files::find(&path.join(FOLDER), EXTENSION),
        found => Ok(found),
    }
}

/// Maps a file and makes of its tensors what the parameters are. Plain numbers stay where they are.
pub(super) fn open(path: &Path) -> Result<Weights, WeightsError> {
    let file = map::open(path)?;
    read(file).map_err(|reason| WeightsError::Malformed { file: path.into(), reason })
}

fn read(file: Bytes) -> Result<Weights, String> {
    let graph = graph::Graph::read(file)?;
    Ok(Weights { entries: graph.parameters()?, metadata: None, random: None })
}

#[cfg(test)]
mod tests;
