//! Wire protocols of energy meters, without input or output.
//!
//! Each module turns the bytes of one make of meter into typed frames and back; sockets, serial
//! ports, clocks and tasks are the caller's. In the gateway's data path this crate is step 2:
//! an adapter pushes what its transport read into a `Decoder` and takes out frames, each checked,
//! each in the vendor's own units.
//!
//! | module | protocol |
//! |---|---|
//! | [`brultech`] | ECM-1220, ECM-1240 and GreenEye Monitor (GEM): binary packets and text formats |
//! | [`dsmr`] | P1 ports of smart meters (DSMR, e-MUCS and kin) and French meters' TIC |
//! | [`flukso`] | FLM02 and FLM03: topics, readings, documents, TMPO history blocks |
//! | [`mains`] | no protocol: RMS, powers and frequency from the samples that some meters send |
//! | [`smartmeter`] | SmartMeter and PowerMeter: command channel, packets of samples, MQTT |
//! | [`wire`] | byte orders, odd widths and checksums that the protocols share |
//!
//! Rules that every protocol here keeps:
//!
//! * Bytes, and the time where a protocol needs it, come in as arguments. There is no socket, clock,
//!   task, lock or log inside.
//! * Too few bytes are not an error: `next_frame` answers `None`. An error says what was wrong and
//!   how many bytes were passed over, and decoding goes on behind them.
//! * Splitting a stream anywhere gives the same frames; junk costs only the junk; no input panics.
//! * Memory is bounded by the longest legal frame, whatever a peer sends.
//! * Fields keep the vendor's names and scale. Scaling to SI units is the adapter's business.

pub mod brultech;
pub mod dsmr;
pub mod flukso;
pub mod mains;
pub mod smartmeter;
pub mod wire;
