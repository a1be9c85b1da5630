//! Password hashes: the forms that are read, the one that is made, and the test against a password.
//!
//! Three forms are read: argon2id in the usual text (`$argon2id$v=19$m=…,t=…,p=…$salt$digest`), and
//! the two of mosquitto's password files, `$7$` (PBKDF2 with SHA-512 and a number of rounds) and
//! `$6$` (one round of salted SHA-512). New ones are always argon2id.
//!
//! Sources: RFC 9106 (argon2), RFC 8018 (PBKDF2), mosquitto_passwd(1).

use std::fmt;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Block, Params};
use base64ct::{Base64, Base64Unpadded, Encoding};
use sha2::{Digest, Sha512};

/// The hash of a password: enough to recognise it, not to tell it. Shown as a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    method: Method,
    salt: Box<[u8]>,
    digest: Box<[u8]>,
}

/// How the digest is made from salt and password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Argon2id { memory_kib: u32, passes: u32, lanes: u32 },
    Pbkdf2 { rounds: u32 },
    Sha512,
}

/// Why a text is no password hash. Never holds any of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// Does not begin like a hash: a password in clear, perhaps.
    #[error("is no password hash: it must begin with $argon2id$, $7$ or $6$")]
    Unknown,
    /// Begins like a hash and goes on wrongly.
    #[error("is not a whole {form} hash: its {part} is missing or wrong")]
    Part {
        /// The form it begins like.
        form: &'static str,
        /// What is wrong.
        part: &'static str,
    },
    /// Would cost more than a login may.
    #[error("asks for {part} beyond {limit}, which a login may not cost")]
    TooCostly {
        /// What there is too much of.
        part: &'static str,
        /// The most that is taken.
        limit: u32,
    },
    /// The system gave no random numbers for a salt.
    #[error("the system gives no random numbers for a salt")]
    NoRandomness,
}

impl PasswordHash {
    /// Hashes a new password with argon2id and a salt of its own. Takes some 20 ms and 19 MiB.
    ///
    /// # Errors
    /// [`HashError::NoRandomness`].
    pub fn make(password: &[u8]) -> Result<Self, HashError> {
        let mut salt = [0; SALT_LENGTH];
        getrandom::fill(&mut salt).map_err(|_| HashError::NoRandomness)?;
        let digest = USUAL.digest(password, &salt, USUAL_DIGEST);
        Ok(Self { method: USUAL, salt: salt.into(), digest: digest.into() })
    }

    /// The hash as text, as the configuration takes it.
    pub fn reveal(&self) -> String {
        match self.method {
            Method::Argon2id { memory_kib, passes, lanes } => {
                let [salt, digest] =
                    [&self.salt, &self.digest].map(|bytes| Base64Unpadded::encode_string(bytes));
                format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${digest}")
            }
            Method::Pbkdf2 { rounds } => {
                let [salt, digest] =
                    [&self.salt, &self.digest].map(|bytes| Base64::encode_string(bytes));
                format!("$7${rounds}${salt}${digest}")
            }
            Method::Sha512 => {
                let [salt, digest] =
                    [&self.salt, &self.digest].map(|bytes| Base64::encode_string(bytes));
                format!("$6${salt}${digest}")
            }
        }
    }

    /// Whether this is the hash of `password`. Costs time and memory: not for async threads.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        let made = self.method.digest(password, &self.salt, self.digest.len());
        // No shortcut at the first difference.
        made.iter().zip(&self.digest).fold(0, |all, (one, other)| all | (one ^ other)) == 0
            && made.len() == self.digest.len()
    }

    /// A hash of nothing that costs as much as this one to test.
    pub(crate) fn decoy(&self) -> Self {
        // No digest is all zeros, as far as anybody will ever see.
        Self { digest: vec![0; self.digest.len()].into(), ..self.clone() }
    }

    /// A hash of nothing at the usual cost, where there is no other to be like.
    pub(crate) fn any_decoy() -> Self {
        Self { method: USUAL, salt: [0; SALT_LENGTH].into(), digest: [0; USUAL_DIGEST].into() }
    }

    /// About how much a test costs, for comparison.
    pub(crate) fn cost(&self) -> u64 {
        match self.method {
            // A kibibyte of argon2 takes about as long as two rounds of PBKDF2.
            Method::Argon2id { memory_kib, passes, .. } => {
                2 * u64::from(memory_kib) * u64::from(passes)
            }
            Method::Pbkdf2 { rounds } => u64::from(rounds),
            Method::Sha512 => 1,
        }
    }

    fn read_argon2id(rest: &str) -> Result<Self, HashError> {
        let wrong = |part| HashError::Part { form: "argon2id", part };
        let mut parts = rest.split('$');
        if parts.next() != Some("v=19") {
            return Err(wrong("version (v=19)"));
        }
        let costs = parts.next().unwrap_or_default();
        let mut costs = costs.split(',');
        let mut cost = |name: &str, most: u32, part| {
            let text = costs.next().and_then(|text| text.strip_prefix(name));
            let value: u32 = text.and_then(|text| text.parse().ok()).ok_or(wrong(part))?;
            if value > most {
                return Err(HashError::TooCostly { part, limit: most });
            }
            Ok(value)
        };
        let memory_kib = cost("m=", MOST_MEMORY_KIB, "memory (m=, in KiB)")?;
        let passes = cost("t=", MOST_PASSES, "number of passes (t=)")?;
        let lanes = cost("p=", MOST_LANES, "number of lanes (p=)")?;
        if costs.next().is_some() {
            return Err(wrong("list of costs (m=…,t=…,p=…)"));
        }
        let salt = decode::<Base64Unpadded>(parts.next(), 8..=64).ok_or(wrong("salt"))?;
        let digest = decode::<Base64Unpadded>(parts.next(), 16..=64).ok_or(wrong("digest"))?;
        if parts.next().is_some() {
            return Err(wrong("end"));
        }
        Params::new(memory_kib, passes, lanes, Some(digest.len()))
            .map_err(|_| wrong("list of costs (m=…,t=…,p=…)"))?;
        Ok(Self { method: Method::Argon2id { memory_kib, passes, lanes }, salt, digest })
    }

    /// The rest of `$6$` (no rounds) or `$7$`.
    fn read_mosquitto(rest: &str, form: &'static str) -> Result<Self, HashError> {
        let wrong = |part| HashError::Part { form, part };
        let mut parts = rest.split('$');
        let method = if form == "$7$" {
            let rounds = parts.next().and_then(|text| text.parse().ok());
            match rounds.ok_or(wrong("number of rounds"))? {
                0 => return Err(wrong("number of rounds")),
                rounds if rounds > MOST_ROUNDS => {
                    let part = "a number of rounds";
                    return Err(HashError::TooCostly { part, limit: MOST_ROUNDS });
                }
                rounds => Method::Pbkdf2 { rounds },
            }
        } else {
            Method::Sha512
        };
        let salt = decode::<Base64>(parts.next(), 1..=64).ok_or(wrong("salt"))?;
        let digest = decode::<Base64>(parts.next(), 64..=64).ok_or(wrong("digest"))?;
        if parts.next().is_some() {
            return Err(wrong("end"));
        }
        Ok(Self { method, salt, digest })
    }
}

impl Method {
    fn digest(self, password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
        let mut digest = vec![0; length];
        match self {
            Self::Argon2id { memory_kib, passes, lanes } => {
                let params = Params::new(memory_kib, passes, lanes, Some(length))
                    .expect("the costs were checked when the hash was read");
                let blocks = params.block_count();
                // The C library keeps what it thinks it will need again, for ever; a piece as large
                // as this always goes back to the system. Only what is used is ever touched.
                let mut memory = Vec::with_capacity(blocks.max(ALWAYS_GIVEN_BACK));
                memory.resize(blocks, Block::new());
                Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
                    .hash_password_into_with_memory(password, salt, &mut digest, &mut memory)
                    .expect("lengths of password, salt and digest are within the limits");
            }
            Self::Pbkdf2 { rounds } => {
                pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, rounds, &mut digest);
            }
            Self::Sha512 => {
                let mut hash = Sha512::new();
                hash.update(password);
                hash.update(salt);
                digest.copy_from_slice(&hash.finalize());
            }
        }
        digest
    }
}

impl FromStr for PasswordHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        if let Some(rest) = text.strip_prefix("$argon2id$") {
            Self::read_argon2id(rest)
        } else if let Some(rest) = text.strip_prefix("$7$") {
            Self::read_mosquitto(rest, "$7$")
        } else if let Some(rest) = text.strip_prefix("$6$") {
            Self::read_mosquitto(rest, "$6$")
        } else {
            Err(HashError::Unknown)
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

fn decode<E: Encoding>(
    text: Option<&str>,
    length: std::ops::RangeInclusive<usize>,
) -> Option<Box<[u8]>> {
    let bytes = E::decode_vec(text?).ok()?;
    length.contains(&bytes.len()).then(|| bytes.into())
}

/// For new hashes.
const USUAL: Method = Method::Argon2id {
    memory_kib: Params::DEFAULT_M_COST,
    passes: Params::DEFAULT_T_COST,
    lanes: Params::DEFAULT_P_COST,
};
const USUAL_DIGEST: usize = Params::DEFAULT_OUTPUT_LEN;
const SALT_LENGTH: usize = 16;
/// 256 MiB.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
const MOST_PASSES: u32 = 100;
const MOST_LANES: u32 = 64;
const MOST_ROUNDS: u32 = 10_000_000;
/// In blocks of 1 KiB; glibc never keeps pieces above 32 MiB.
const ALWAYS_GIVEN_BACK: usize = 33 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by mosquitto_passwd 2.0.11 with `-H sha512-pbkdf2` and `-H sha512`, and by
    /// argon2-cffi 25.1.0 with `time_cost=1, memory_cost=1024, parallelism=1`.
    const GIVEN: [(&str, &str); 3] = [
        (
            "hunter2",
            "$7$101$2YNOHXGGTuVWUUt2$Xfq/xfLVhXPRXV6iZN+OCL8Wg3dNrehn3HPQ54xFTU4JEKexLYapf1mEPaMCiOqJ6WOkQ/qsj8frGnhpwsFWIQ==",
        ),
        (
            "x",
            "$6$AtEq/yI7bePoP0yG$FUJmhNHxmDrzErAfEI7nx/xAPOL/XsnosTvUq5Ir067XoE8jF+f5erSTxiX2oipczDhD75hT5ksTudLPoXjznQ==",
        ),
        (
            "password",
            "$argon2id$v=19$m=1024,t=1,p=1$MdowDE1AQ654nywP1gpqFA$8N9dhGzK7Ju15LvnGzQz9swWB9jYnOqGO0eZkm5fLeY",
        ),
    ];

    #[test]
    fn hashes_that_others_made_are_recognised() {
        for (password, text) in GIVEN {
            let hash: PasswordHash = text.parse().unwrap();
            assert!(hash.is_of(password.as_bytes()), "{text}");
            assert_eq!(hash.reveal(), text);
            assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
            let longer = format!("{password} ");
            for wrong in ["", longer.as_str(), "Hunter2"] {
                assert!(!hash.is_of(wrong.as_bytes()), "{text}");
            }
            assert!(!hash.decoy().is_of(password.as_bytes()));
            assert_eq!(hash.decoy().cost(), hash.cost());
        }
    }

    #[test]
    fn a_new_hash_is_argon2id_with_a_salt_of_its_own() {
        let [one, other] = [0, 1].map(|_| PasswordHash::make(b"hunter2").unwrap());
        assert_ne!(one.reveal(), other.reveal());
        let read: PasswordHash = one.reveal().parse().unwrap();
        assert!(one.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(read.is_of(b"hunter2") && !read.is_of(b"hunter3"));
    }

    #[test]
    fn what_is_no_hash_is_refused_without_showing_it() {
        let good = GIVEN[2].1;
        for (text, words) in [
            (String::new(), "must begin with"),
            ("hunter2".to_owned(), "must begin with"),
            ("$2b$12$hunter2".to_owned(), "must begin with"),
            ("$argon2id$hunter2".to_owned(), "version"),
            (good.replace("v=19", "v=16"), "version"),
            (good.replace("m=", "x="), "memory"),
            (good.replace("m=", "m=999"), "beyond 262144"),
            (good.replace("t=1", "t=0"), "costs"),
            (good.replace("t=", "t=99"), "beyond 100"),
            (good.replace("p=1", "p=1,q=1"), "list of costs"),
            (good[..good.len() - 2].to_owned(), "digest"),
            (format!("{good}$"), "end"),
            (GIVEN[0].1.replace("$101$", "$0$"), "rounds"),
            (GIVEN[0].1.replace("$101$", "$99999999$"), "beyond 10000000"),
            (GIVEN[0].1.replace("==", ""), "digest"),
            (GIVEN[1].1.replace("$6$", "$7$"), "rounds"),
            ("$6$$hunter2".to_owned(), "salt"),
        ] {
            let error = text.parse::<PasswordHash>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
