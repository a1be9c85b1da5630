//! placeholder while merging
use std::io::{Read, Write};
pub fn brultech(_i: impl Read, _o: impl Write, _e: impl Write) -> std::io::Result<()> {
    Ok(())
}
