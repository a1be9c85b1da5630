//! Links that misbehave.
