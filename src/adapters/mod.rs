//! One adapter per make: what its meters mean, in the model's terms.

pub mod brultech;
