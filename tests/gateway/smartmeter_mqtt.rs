//! SmartMeters and PowerMeters on the gateway's broker: one meter each, told of once and told once.

mod board;
mod clashes;
mod commands;
mod device;
mod measured;
mod streams;
mod timed;
