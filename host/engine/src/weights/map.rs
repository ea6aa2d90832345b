//! Files mapped into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::Path;

use bytes::Bytes;

use super::WeightsError;

/// A file's bytes, read by the system when they are touched. Any part of them keeps the file mapped.
pub(super) fn open(path: &Path) -> Result<Bytes, WeightsError> {
    let unreadable = |cause| WeightsError::Unreadable { file: path.into(), cause };
    let file = File::open(path).map_err(unreadable)?;
    // SAFETY: the map is read-only and private to this process. Weights are installed by renaming a finished file into
    // place and never written again; a file that is cut short behind our back ends the process with SIGBUS, as it does
    // in every engine that maps weights, but cannot be read beyond its end.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(unreadable)?;
    Ok(Bytes::from_owner(map))
}
