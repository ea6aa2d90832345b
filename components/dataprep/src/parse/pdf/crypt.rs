//! Files that are encrypted and opened by no password, as those whose owner only forbids to print them (ISO 32000-2, 7.6).

use std::borrow::Cow;

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use md5::Md5;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::object::{Dict, Object};

/// What is put behind a password to make 32 bytes.
const PADDING: [u8; 32] = [
    0x28, 0xbf, 0x4e, 0x5e, 0x4e, 0x75, 0x8a, 0x41, 0x64, 0x00, 0x4e, 0x56, 0xff, 0xfa, 0x01, 0x08, 0x2e, 0x2e, 0x00, 0xb6,
    0xd0, 0x68, 0x3e, 0x80, 0x2f, 0x0c, 0xa9, 0xfe, 0x64, 0x53, 0x69, 0x7a,
];

/// Bytes of a block of AES.
const BLOCK: usize = 16;

/// How streams are decrypted.
#[derive(Debug)]
pub(super) struct Crypt {
    key: Vec<u8>,
    method: Method,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Identity,
    Rc4,
    Aes128,
    Aes256,
}

impl Crypt {
    /// The key of the empty password; none if that does not open the file, or the method is not known.
    pub(super) fn new(dict: &Dict, id: &[u8]) -> Option<Self> {
        if dict.get("Filter").name() != Some("Standard") {
            return None;
        }
        let version = dict.get("V").count()?;
        let revision = dict.get("R").count()?;
        let method = match version {
            1 | 2 => Method::Rc4,
            4 | 5 => stream_method(dict)?,
            _ => return None,
        };
        let key = match revision {
            2..=4 => old_key(dict, revision, version, id)?,
            5 | 6 => new_key(dict, revision)?,
            _ => return None,
        };
        Some(Self { key, method })
    }

    /// A stream's bytes.
    pub(super) fn decrypt_stream<'b>(&self, bytes: &'b [u8], id: (u32, u16)) -> Cow<'b, [u8]> {
        match self.method {
            Method::Identity => bytes.into(),
            Method::Rc4 => rc4(&self.object_key(id, b""), bytes).into(),
            Method::Aes128 => match <[u8; 16]>::try_from(self.object_key(id, b"sAlT")) {
                Ok(key) => decrypt(&Aes128::new(&key.into()), bytes).into(),
                Err(_) => Vec::new().into(),
            },
            Method::Aes256 => match <[u8; 32]>::try_from(self.key.as_slice()) {
                Ok(key) => decrypt(&Aes256::new(&key.into()), bytes).into(),
                Err(_) => Vec::new().into(),
            },
        }
    }

    /// The key of one object, of at most 16 bytes.
    fn object_key(&self, (number, generation): (u32, u16), salt: &[u8]) -> Vec<u8> {
        let hash = Md5::new()
            .chain_update(&self.key)
            .chain_update(&number.to_le_bytes()[..3])
            .chain_update(generation.to_le_bytes())
            .chain_update(salt)
            .finalize();
        hash[..(self.key.len() + 5).min(16)].to_vec()
    }
}

fn stream_method(dict: &Dict) -> Option<Method> {
    let name = dict.get("StmF").name().unwrap_or("Identity");
    if name == "Identity" {
        return Some(Method::Identity);
    }
    match dict.get("CF").dict()?.get(name).dict()?.get("CFM").name()? {
        "V2" => Some(Method::Rc4),
        "AESV2" => Some(Method::Aes128),
        "AESV3" => Some(Method::Aes256),
        "None" => Some(Method::Identity),
        _ => None,
    }
}

/// Algorithms 2, 4 and 5 of the standard.
fn old_key(dict: &Dict, revision: u32, version: u32, id: &[u8]) -> Option<Vec<u8>> {
    let length = match (version, dict.get("Length").count()) {
        (1, _) => 5,
        (4, _) => 16,
        (_, bits) => (bits.unwrap_or(40) as usize / 8).clamp(5, 16),
    };
    let permissions = dict.get("P").number()? as i64 as u32;
    let mut hash = Md5::new().chain_update(PADDING).chain_update(dict.get("O").text()?.get(..32)?);
    hash.update(permissions.to_le_bytes());
    hash.update(id);
    if revision >= 4 && *dict.get("EncryptMetadata") == Object::Bool(false) {
        hash.update([0xff; 4]);
    }
    let mut key = hash.finalize().to_vec();
    key.truncate(length);
    if revision >= 3 {
        for _ in 0..50 {
            key = Md5::digest(&key).to_vec();
            key.truncate(length);
        }
    }
    let user = dict.get("U").text()?;
    let expected = if revision == 2 {
        rc4(&key, &PADDING)
    } else {
        let first = Md5::new().chain_update(PADDING).chain_update(id).finalize();
        (0..20_u8).fold(first.to_vec(), |text, round| {
            let key: Vec<u8> = key.iter().map(|byte| byte ^ round).collect();
            rc4(&key, &text)
        })
    };
    let compared = if revision == 2 { 32 } else { 16 };
    (user.get(..compared)? == expected.get(..compared)?).then_some(key)
}

/// Algorithm 2.A of the standard, for the user's password.
fn new_key(dict: &Dict, revision: u32) -> Option<Vec<u8>> {
    let user = dict.get("U").text()?;
    let (hash, validation, key_salt) = (user.get(..32)?, user.get(32..40)?, user.get(40..48)?);
    let digest = |salt: &[u8]| if revision == 5 { Sha256::digest(salt).to_vec() } else { hardened_hash(salt) };
    if digest(validation) != hash {
        return None;
    }
    let between = <[u8; 32]>::try_from(digest(key_salt)).ok()?;
    let encrypted = dict.get("UE").text()?.get(..32)?;
    // Here the first block stands for zeros.
    let with_start: Vec<u8> = [0; BLOCK].iter().chain(encrypted).copied().collect();
    Some(decrypt_blocks(&Aes256::new(&between.into()), &with_start))
}

/// Algorithm 2.B of the standard for an empty password.
fn hardened_hash(salt: &[u8]) -> Vec<u8> {
    let mut key = Sha256::digest(salt).to_vec();
    let mut round = 0;
    loop {
        let text = key.repeat(64);
        let Ok(aes_key) = <[u8; 16]>::try_from(&key[..16]) else { return Vec::new() };
        let encrypted = encrypt(&Aes128::new(&aes_key.into()), &text, &key[16..32]);
        let remainder = encrypted[..16].iter().map(|&byte| u32::from(byte)).sum::<u32>() % 3;
        key = match remainder {
            0 => Sha256::digest(&encrypted).to_vec(),
            1 => Sha384::digest(&encrypted).to_vec(),
            _ => Sha512::digest(&encrypted).to_vec(),
        };
        round += 1;
        let last = encrypted.last().copied().unwrap_or(0);
        if round >= 64 && u32::from(last) + 32 <= round {
            key.truncate(32);
            return key;
        }
    }
}

/// Bytes that begin with a start block and end with padding.
fn decrypt(cipher: &impl BlockDecrypt<BlockSize = aes::cipher::consts::U16>, bytes: &[u8]) -> Vec<u8> {
    let mut out = decrypt_blocks(cipher, bytes);
    let padding = usize::from(out.last().copied().unwrap_or(0));
    if (1..=BLOCK).contains(&padding) {
        out.truncate(out.len().saturating_sub(padding));
    }
    out
}

/// Chained blocks behind a start block, whatever is behind the last whole one left out.
fn decrypt_blocks(cipher: &impl BlockDecrypt<BlockSize = aes::cipher::consts::U16>, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut before = bytes.get(..BLOCK).unwrap_or_default();
    for encrypted in bytes.get(BLOCK..).unwrap_or_default().chunks_exact(BLOCK) {
        let mut block = *GenericArray::from_slice(encrypted);
        cipher.decrypt_block(&mut block);
        out.extend(block.iter().zip(before).map(|(a, b)| a ^ b));
        before = encrypted;
    }
    out
}

fn encrypt(cipher: &impl BlockEncrypt<BlockSize = aes::cipher::consts::U16>, bytes: &[u8], start: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut before = start.to_vec();
    for plain in bytes.chunks_exact(BLOCK) {
        let mut block = *GenericArray::from_slice(plain);
        for (byte, mask) in block.iter_mut().zip(&before) {
            *byte ^= mask;
        }
        cipher.encrypt_block(&mut block);
        out.extend_from_slice(&block);
        before = block.to_vec();
    }
    out
}

fn rc4(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut state: Vec<u8> = (0..=255).collect();
    let mut j = 0_u8;
    for (i, &key_byte) in (0..256).zip(key.iter().cycle()) {
        j = j.wrapping_add(state[i]).wrapping_add(key_byte);
        state.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    let next = |byte: &u8| {
        i = i.wrapping_add(1);
        j = j.wrapping_add(state[usize::from(i)]);
        state.swap(usize::from(i), usize::from(j));
        byte ^ state[usize::from(state[usize::from(i)].wrapping_add(state[usize::from(j)]))]
    };
    bytes.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rc4_gives_its_known_stream() {
        assert_eq!(rc4(b"Key", b"Plaintext"), [0xbb, 0xf3, 0x16, 0xe8, 0xd9, 0x40, 0xaf, 0x0a, 0xd3]);
    }

    #[test]
    fn bytes_that_are_no_blocks_do_no_harm() {
        let cipher = Aes128::new(&[0; 16].into());
        assert!(decrypt(&cipher, b"").is_empty());
        assert!(decrypt(&cipher, &[7; 17]).is_empty());
    }
}
