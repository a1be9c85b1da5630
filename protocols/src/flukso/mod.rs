//! What Fluksometers say and keep.
//!
//! | module | has |
//! |---|---|
//! | [`tmpo`] | history blocks: the text, its gzip form, merging |

pub mod tmpo;
