//! x
#![allow(missing_docs)]
pub mod adapters;
pub mod broker;
pub mod bus;
pub mod cli;
pub mod config;
pub mod decode;
pub mod demo;
pub mod gateway;
pub mod health;
pub mod ledger;
mod links;
pub mod metrics;
pub mod model;
pub mod publish;
pub mod simulator;
pub mod store;
pub mod task;
pub mod topic;
pub mod transport;
pub mod web;
