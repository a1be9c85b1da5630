//! Streams that the gateway has started.
