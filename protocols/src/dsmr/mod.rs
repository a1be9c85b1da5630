//! Customer ports of smart meters: P1 (DSMR and its kin) and TIC.
//!
//! One [`Decoder`] per link takes the bytes of a serial line or TCP connection and gives [`Frame`]s:
//! telegrams of the Dutch, Belgian, Luxembourgish and Swedish ports, of every version, and the frames
//! of a French meter's TIC in its historic mode. What lies between them comes out as [`FrameError`]s
//! that say why and how much.
//!
//! * `frame.rs`: the decoder; `judge.rs`: what it makes of the bytes before it; `skipped.rs`: what it
//!   tells of bytes that are no frame
//! * `encrypted.rs`: encrypted frames and the [`Key`] that opens them
//! * `telegram.rs`: [`Telegram`], its lines as they are; `obis.rs`: their codes
//! * `values.rs`: [`Measure`], a number with its unit; `time.rs`: [`Time`], local time with its mark
//! * `reading.rs`: [`Reading`], what a telegram means, whatever the country
//! * `tic.rs`: [`TicFrame`]
//!
//! Sources: the companion standards "P1 DSMR" 2.2, 3.0, 4.2 and 5.0.2 (Netbeheer Nederland), "e-MUCS P1"
//! 1.7 (Fluvius), "Smarty P1" (Luxmetering), "Branschrekommendation för lokalt kundgränssnitt" 1.3
//! (Energiföretagen Sverige), and "Enedis-NOI-CPT_02E" (TIC).

mod encrypted;
mod frame;
mod judge;
mod obis;
mod reading;
mod skipped;
mod telegram;
mod tic;
mod time;
mod values;

pub use encrypted::{BadKey, Key};
pub use frame::{Decoder, Frame};
pub use obis::Obis;
pub use reading::{MBus, Phase, Reading, Registers};
pub use skipped::{FrameError, SkipReason};
pub use telegram::{Object, Telegram};
pub use tic::TicFrame;
pub use time::{BadTime, Time, is_summer_time};
pub use values::{Measure, Number};
