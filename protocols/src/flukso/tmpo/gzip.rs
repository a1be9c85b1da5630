//! The packing: one gzip member with the header that devices write.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::{Crc, write::DeflateEncoder};

use super::{Block, BlockError};

/// The most bytes of a packed block, as Flukso's server accepts them.
pub const LARGEST_GZIP: usize = 16 << 20;
/// The most bytes of a block's text: 2^20 readings of an ordinary length have about 10 MB.
pub const LARGEST_TEXT: usize = 48 << 20;

impl Block {
    /// The block, packed.
    pub fn gzip(&self) -> Vec<u8> {
        pack(self.text().as_bytes())
    }

    /// Reads a packed block; takes no more memory than a block can have.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_gzip(bytes: &[u8]) -> Result<Block, BlockError> {
        Block::parse(&unpack(bytes)?)
    }
}

/// Packs a text as devices do: modification time 0, `XFL` 2, `OS` 3, level 9.
pub fn pack(text: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(text);
    let mut encoder = DeflateEncoder::new(HEADER.to_vec(), Compression::best());
    // Writing to memory cannot fail.
    let _ = encoder.write_all(text);
    let mut packed = encoder.finish().unwrap_or_default();
    packed.extend_from_slice(&crc.sum().to_le_bytes());
    packed.extend_from_slice(&(text.len() as u32).to_le_bytes());
    packed
}

/// Unpacks one gzip member of at most [`LARGEST_GZIP`] into at most [`LARGEST_TEXT`].
///
/// # Errors
/// When it is not gzip, damaged, too large, or something follows.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
    if bytes.len() > LARGEST_GZIP {
        return Err(BlockError::TooLarge { limit: LARGEST_GZIP });
    }
    match unpack_first(bytes)? {
        (text, []) => Ok(text),
        (_, rest) => Err(BlockError::Trailing(rest.len())),
    }
}

/// Unpacks the gzip member that `bytes` begin with, and answers what follows as well.
///
/// # Errors
/// When it is not gzip, damaged or too large.
pub fn unpack_first(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), BlockError> {
    if !bytes.starts_with(&HEADER[..2]) {
        return Err(BlockError::NotGzip);
    }
    let mut decoder = GzDecoder::new(bytes);
    let mut text = Vec::new();
    let mut limited = (&mut decoder).take(LARGEST_TEXT as u64 + 1);
    limited.read_to_end(&mut text).map_err(|error| BlockError::Damaged(error.to_string()))?;
    if text.len() > LARGEST_TEXT {
        return Err(BlockError::TooLarge { limit: LARGEST_TEXT });
    }
    let rest = decoder.into_inner();
    match bytes.len() - rest.len() {
        ..=LARGEST_GZIP => Ok((text, rest)),
        _ => Err(BlockError::TooLarge { limit: LARGEST_GZIP }),
    }
}

/// Magic, deflate, no flags, no time, best compression, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3];
