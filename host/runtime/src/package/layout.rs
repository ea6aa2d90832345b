//! How an archive lies in its bytes, as APPNOTE.TXT of the zip format has it, and only that part of the format that packages use.
//!
//! Readers of zip disagree about archives that are strange: what lies before, between or after the entries, headers that say one
//! thing at the entry and another in the directory. So every byte is accounted for before anything is inflated.

use super::{PackageError, PackageLimits, Part};

/// How an entry begins.
pub(super) const ENTRY: &[u8] = b"PK\x03\x04";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

/// Length of an entry's header without its name, in bytes.
const ENTRY_BYTES: usize = 30;
/// Length of a directory entry without its name, in bytes.
const DIRECTORY_ENTRY_BYTES: usize = 46;
/// Length of the end of an archive that has no comment, in bytes.
const END_BYTES: usize = 22;

/// Flags without a meaning for the content: how hard it was compressed, and that names are UTF-8.
const FLAGS_IGNORED: u16 = 1 << 1 | 1 << 2 | 1 << 11;
const FLAG_ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// A file's type in the upper half of its attributes, as Unix has it, and that of a plain file.
const TYPE_MASK: u32 = 0o170_000 << 16;
const TYPE_FILE: u32 = 0o100_000 << 16;
/// Attributes of DOS that make a file something else: a volume's label, a folder.
const DOS_SPECIAL: u32 = 0x18;

/// One entry.
pub(super) struct Entry<'a> {
    pub(super) part: Part,
    /// Its header and its content as it lies in the archive.
    pub(super) bytes: &'a [u8],
    /// Length of its content when it is inflated.
    pub(super) content_bytes: u64,
}

/// The entries of an archive, which has no byte besides.
///
/// # Errors
/// When it is damaged or unusual.
pub(super) fn entries<'a>(archive: &'a [u8], limits: &PackageLimits) -> Result<Vec<Entry<'a>>, PackageError> {
    let (mut entries_left, mut directory, count) = split(archive)?;
    let mut offset = 0;
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for _ in 0..count {
        let listed = Listed::take(&mut directory)?;
        let entry = listed.entry(&mut entries_left, &mut offset, limits)?;
        if entries.iter().any(|other| other.part == entry.part) {
            return Err(PackageError::Twice(entry.part.name()));
        }
        entries.push(entry);
    }
    match entries_left.is_empty() && directory.is_empty() {
        true => Ok(entries),
        false => Err(PackageError::Unusual("there are bytes that belong to no entry")),
    }
}

/// The entries, the directory, and how many there are.
fn split(archive: &[u8]) -> Result<(&[u8], &[u8], u16), PackageError> {
    const CUT: PackageError = PackageError::Damaged("its end is missing");
    let (rest, end) = archive.split_at_checked(archive.len().saturating_sub(END_BYTES)).ok_or(CUT)?;
    if end.len() != END_BYTES || !end.starts_with(END) {
        return Err(CUT);
    }
    let count = short(end, 8)?;
    let is_one_disk = short(end, 4)? == 0 && short(end, 6)? == 0 && short(end, 10)? == count;
    if !is_one_disk || short(end, 20)? != 0 {
        return Err(PackageError::Unusual("it has parts elsewhere, or a comment"));
    }
    if usize::from(count) > Part::ALL.len() {
        return Err(PackageError::Unusual("it has more entries than packages have"));
    }
    let (length, start) = (long(end, 12)?, long(end, 16)?);
    let is_whole = u64::from(start).checked_add(length.into()) == Some(rest.len() as u64);
    let halves = usize::try_from(start).ok().and_then(|start| rest.split_at_checked(start));
    let (entries, directory) =
        halves.filter(|_| is_whole).ok_or(PackageError::Damaged("its directory is not where it says"))?;
    Ok((entries, directory, count))
}

/// An entry as the directory has it.
struct Listed<'a> {
    part: Part,
    name: &'a [u8],
    header: &'a [u8],
}

impl<'a> Listed<'a> {
    fn take(directory: &mut &'a [u8]) -> Result<Listed<'a>, PackageError> {
        let header = take(directory, DIRECTORY_ENTRY_BYTES)?;
        if !header.starts_with(DIRECTORY_ENTRY) {
            return Err(PackageError::Damaged("its directory is malformed"));
        }
        let [name, extra, comment] = [short(header, 28)?, short(header, 30)?, short(header, 32)?];
        let name = take(directory, name.into())?;
        let part = Part::ALL.into_iter().find(|part| part.name().as_bytes() == name);
        let part = part.ok_or_else(|| PackageError::Name(printable(name)))?;
        if extra != 0 || comment != 0 || short(header, 34)? != 0 {
            return Err(PackageError::Unusual("an entry has fields that packages don't have"));
        }
        let flags = short(header, 8)?;
        if flags & FLAG_ENCRYPTED != 0 {
            return Err(PackageError::Unusual("an entry is encrypted"));
        }
        if flags & !FLAGS_IGNORED != 0 {
            return Err(PackageError::Unusual("an entry was written as a stream, or in a way that packages don't know"));
        }
        let attributes = long(header, 38)?;
        if !matches!(attributes & TYPE_MASK, 0 | TYPE_FILE) || attributes & DOS_SPECIAL != 0 {
            return Err(PackageError::Unusual("an entry is a link, a folder or a device"));
        }
        Ok(Listed { part, name, header })
    }

    /// The entry itself, which has to come next and to say the same.
    fn entry(&self, entries: &mut &'a [u8], offset: &mut u64, limits: &PackageLimits) -> Result<Entry<'a>, PackageError> {
        const OTHER: PackageError = PackageError::Damaged("an entry says something else than the directory");
        let (packed, content, method) = (long(self.header, 20)?, long(self.header, 24)?, short(self.header, 10)?);
        self.part.check(content.into(), limits)?;
        if !matches!(method, STORED | DEFLATED) || method == STORED && packed != content {
            return Err(PackageError::Unusual("an entry is compressed in a way that packages don't know"));
        }
        if u64::from(long(self.header, 42)?) != *offset {
            return Err(PackageError::Unusual("entries overlap, or have something between them"));
        }
        let length = usize::try_from(packed).ok().and_then(|packed| packed.checked_add(ENTRY_BYTES + self.name.len()));
        let bytes = take(entries, length.ok_or(OTHER)?)?;
        *offset = offset.saturating_add(bytes.len() as u64);
        // From the version that is needed to the lengths of name and fields both headers are the same.
        let (said, listed) = (bytes.get(4..ENTRY_BYTES), self.header.get(6..32));
        let name = bytes.get(ENTRY_BYTES..ENTRY_BYTES + self.name.len());
        match bytes.starts_with(ENTRY) && said == listed && name == Some(self.name) {
            true => Ok(Entry { part: self.part, bytes, content_bytes: content.into() }),
            false => Err(OTHER),
        }
    }
}

/// A name from a stranger, for an error.
fn printable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().take(80).flat_map(char::escape_default).collect()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], PackageError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(PackageError::Damaged("a part of it is missing"))?;
    *bytes = rest;
    Ok(taken)
}

fn short(bytes: &[u8], at: usize) -> Result<u16, PackageError> {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    field.map(|field| u16::from_le_bytes(*field)).ok_or(PackageError::Damaged("a header is cut"))
}

fn long(bytes: &[u8], at: usize) -> Result<u32, PackageError> {
    let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    field.map(|field| u32::from_le_bytes(*field)).ok_or(PackageError::Damaged("a header is cut"))
}
