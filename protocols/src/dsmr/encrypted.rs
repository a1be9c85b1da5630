//! Encrypted telegrams: their frame, and the key that opens it.
//!
//! A frame of "general-glo-ciphering": 0xDB, the system title of the meter behind its length (8), a length
//! of two bytes behind 0x82, and in that length: 0x30 (authenticated and encrypted), the frame counter
//! (4), what is encrypted, and a tag (12). AES-128-GCM; the initialisation vector is title and counter; what
//! is authenticated besides is 0x30 and the authentication key, which is the same public one everywhere.
//! That a frame is not an old one, sent again, is not looked at.
//!
//! Source: DLMS "Green Book" 8.3, table "general-glo-ciphering"; Luxmetering "Smarty P1" 1.1.3.

use std::fmt;
use std::str::FromStr;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::aes::Aes128;
use aes_gcm::{AesGcm, Nonce, Tag};

/// The key of one meter, which its network operator tells the customer.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_LENGTH]);

/// A text is no key. It does not say the text: that may be a key with one digit wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no key: write the 32 hex digits that your network operator has told you")]
pub struct BadKey;

impl FromStr for Key {
    type Err = BadKey;

    /// Reads 32 hex digits; spaces between them are passed over, as letters of operators have them.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|one| *one != ' ')
            .map(|one| one.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
            .collect();
        let digits = digits.filter(|all| all.len() == 2 * KEY_LENGTH).ok_or(BadKey)?;
        let mut key = [0; KEY_LENGTH];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// The frame of a telegram as a meter with this title and key sends it.
    ///
    /// `None` when the telegram is longer than any frame.
    #[must_use]
    pub fn encrypt(&self, title: [u8; 8], counter: u32, telegram: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(telegram.len() + AROUND).ok()?;
        let mut sealed = telegram.to_vec();
        let nonce = nonce(title, counter.to_be_bytes());
        let tag =
            self.cipher().encrypt_inout_detached(&nonce, &AUTHENTICATED, (&mut sealed[..]).into());
        let mut frame = vec![FIRST, TITLE_LENGTH];
        frame.extend(title);
        frame.push(TWO_BYTES_OF_LENGTH);
        frame.extend(length.to_be_bytes());
        frame.push(SECURITY);
        frame.extend(counter.to_be_bytes());
        frame.extend(sealed);
        frame.extend(tag.ok()?);
        Some(frame)
    }

    /// What is inside of a whole frame; `None` when the key is not the frame's, or a byte is wrong.
    pub(super) fn decrypt(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let title = frame.get(2..10)?.try_into().ok()?;
        let counter = frame.get(HEAD..HEAD + 4)?.try_into().ok()?;
        let (sealed, tag) = frame.get(HEAD + 4..)?.split_last_chunk::<TAG_LENGTH>()?;
        let mut telegram = sealed.to_vec();
        let tag: Tag<U12> = (*tag).into();
        let nonce = nonce(title, counter);
        let buffer = (&mut telegram[..]).into();
        self.cipher().decrypt_inout_detached(&nonce, &AUTHENTICATED, buffer, &tag).ok()?;
        Some(telegram)
    }

    fn cipher(&self) -> AesGcm<Aes128, U12, U12> {
        AesGcm::new(&self.0.into())
    }
}

fn nonce(title: [u8; 8], counter: [u8; 4]) -> Nonce<U12> {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&title);
    nonce[8..].copy_from_slice(&counter);
    nonce.into()
}

/// What the beginning of a frame tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    /// The frame has so many bytes.
    Whole(usize),
    /// More bytes are needed.
    Unknown,
    /// It is none.
    None,
}

/// Judges the head of what may be a frame; none is longer than `most`.
pub(super) fn head(held: &[u8], most: usize) -> Head {
    let fits = |(byte, at): (&u8, usize)| match at {
        0 => *byte == FIRST,
        1 => *byte == TITLE_LENGTH,
        10 => *byte == TWO_BYTES_OF_LENGTH,
        13 => *byte == SECURITY,
        _ => true,
    };
    if !held.iter().zip(0..HEAD).all(fits) {
        return Head::None;
    }
    let Some([high, low]) = held.get(11..13) else { return Head::Unknown };
    let inside = usize::from(u16::from_be_bytes([*high, *low]));
    let length = HEAD - 1 + inside;
    match held.len() {
        _ if inside < AROUND || length > most => Head::None,
        HEAD.. => Head::Whole(length),
        _ => Head::Unknown,
    }
}

/// The first byte of every frame.
pub(super) const FIRST: u8 = 0xDB;
const TITLE_LENGTH: u8 = 8;
const TWO_BYTES_OF_LENGTH: u8 = 0x82;
/// The security control byte: authenticated and encrypted.
const SECURITY: u8 = 0x30;
/// Bytes up to the frame counter.
const HEAD: usize = 14;
const TAG_LENGTH: usize = 12;
const KEY_LENGTH: usize = 16;
/// What the length counts besides the telegram: the security control byte, the frame counter, the tag.
const AROUND: usize = 1 + 4 + TAG_LENGTH;
/// The security control byte and the authentication key.
const AUTHENTICATED: [u8; 17] = [
    SECURITY, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD,
    0xEE, 0xFF,
];
