//! `meterbridge passwd`: from a password to the line of the configuration that lets it in.

use std::io::{self, BufRead, Write};
use std::os::fd::AsFd;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::broker::{HashError, PasswordHash};

/// Why there is no entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswdError {
    /// The name cannot be a user's.
    #[error("{0:?} cannot be a user name: {1}")]
    Name(String, &'static str),
    /// Nothing was typed.
    #[error("the password is empty: it would let everybody in who knows the name")]
    Empty,
    /// Two different passwords were typed.
    #[error("the two passwords are not the same")]
    Different,
    /// More than MQTT can carry.
    #[error("the password is longer than 65535 bytes, which MQTT cannot carry")]
    TooLong,
    /// The terminal or the pipe failed.
    #[error("the password cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashError),
}

/// Checks a user name.
///
/// # Errors
/// [`PasswdError::Name`] for what the configuration or MQTT would not take.
pub fn check_name(name: &str) -> Result<(), PasswdError> {
    let fault = if name.is_empty() {
        "it is empty"
    } else if name == "*" {
        "in the access list it stands for every user"
    } else if name.len() > usize::from(u16::MAX) {
        "it is longer than 65535 bytes"
    } else if name.chars().any(char::is_control) {
        "it holds control characters"
    } else {
        return Ok(());
    };
    Err(PasswdError::Name(name.chars().take(64).collect(), fault))
}

/// Asks for a password: twice and unseen on a terminal, else one line of standard input.
///
/// # Errors
/// When there is no password to be had.
pub fn ask(name: &str) -> Result<String, PasswdError> {
    let stdin = io::stdin();
    let Ok(terminal) = tcgetattr(&stdin) else {
        return checked(read_line(&mut stdin.lock())?);
    };
    let _unseen = Unseen::begin(&stdin, terminal)?;
    let password = checked(prompt(&format!("Password for {name}: "))?)?;
    if prompt("The same again: ")? == password { Ok(password) } else { Err(PasswdError::Different) }
}

/// Asks for the password of somebody who has one: once and unseen on a terminal, else one line of
/// standard input.
///
/// # Errors
/// When there is no password to be had.
pub fn ask_once(name: &str) -> Result<String, PasswdError> {
    let stdin = io::stdin();
    let Ok(terminal) = tcgetattr(&stdin) else {
        return checked(read_line(&mut stdin.lock())?);
    };
    let _unseen = Unseen::begin(&stdin, terminal)?;
    checked(prompt(&format!("Password for {name}: "))?)
}

/// The entry of `broker.users` that lets this user in.
///
/// # Errors
/// [`PasswdError::Hash`] when the system gives no random numbers.
pub fn entry(name: &str, password: &str) -> Result<String, PasswdError> {
    let hash = PasswordHash::make(password.as_bytes())?.reveal();
    // JSON's strings are strings of YAML as well.
    let name = serde_json::Value::from(name);
    Ok(format!("- {{name: {name}, password_hash: \"{hash}\"}}"))
}

fn checked(password: String) -> Result<String, PasswdError> {
    match password.len() {
        0 => Err(PasswdError::Empty),
        length if length > usize::from(u16::MAX) => Err(PasswdError::TooLong),
        _ => Ok(password),
    }
}

fn prompt(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{question}")?;
    stderr.flush()?;
    let line = read_line(&mut io::stdin().lock());
    writeln!(stderr)?;
    line
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    io::Read::take(from, LONGEST).read_line(&mut line)?;
    let end = line.strip_suffix('\n').map_or(line.len(), str::len);
    let end = line[..end].strip_suffix('\r').map_or(end, str::len);
    line.truncate(end);
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Unseen<F: AsFd> {
    terminal: F,
    before: Termios,
}

impl<F: AsFd> Unseen<F> {
    fn begin(terminal: F, before: Termios) -> io::Result<Self> {
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &unseen)?;
        Ok(Self { terminal, before })
    }
}

impl<F: AsFd> Drop for Unseen<F> {
    fn drop(&mut self) {
        // A terminal that has gone needs no echo.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

const LONGEST: u64 = 128 * 1024;
