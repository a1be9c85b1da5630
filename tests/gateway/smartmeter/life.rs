//! Connections that come and go, and readings of a meter that does not sample.
