//! Calling an ECM: by which command byte, and that it is the meter meant.
//!
//! An ECM's command byte is in no packet, and an acknowledgement says neither who gives it nor what
//! for. Settings do: they have a serial number and a checksum. So they are read before each change,
//! which also takes up acknowledgements that came late.

use std::sync::Arc;

use meter_protocols::brultech::{EcmCommand, EcmSettings, Reply, Request};

use super::super::identity::ALL_UNITS;
use super::{Call, unexpected};
use crate::command::CommandError;

impl Call {
    /// Asks an ECM. What changes something goes to a unit only that has told its serial number.
    pub(in super::super) async fn ecm(
        &mut self,
        command: EcmCommand,
    ) -> Result<Reply, CommandError> {
        let harmless = command == EcmCommand::Poll;
        if !harmless && !self.way().await?.confirmed {
            self.ecm_settings().await?;
        }
        let unit = self.unit().await?;
        let asked = self.ask(harmless, |_| Request::Ecm { unit, command }).await;
        if asked.is_err() {
            self.switchboard.forget_unit(&self.meter.serial);
        }
        Ok(asked?.reply)
    }

    /// Reads an ECM's settings, and makes sure that they are its own.
    pub(in super::super) async fn ecm_settings(&mut self) -> Result<EcmSettings, CommandError> {
        let unit = self.unit().await?;
        let read = self.settings_of(unit).await;
        match read {
            Ok(settings) if settings.serial() == *self.meter.serial => Ok(settings),
            // Its neighbour's packet can come just when it is polled, and then they are mixed up.
            Ok(_) => {
                self.switchboard.forget_unit(&self.meter.serial);
                self.look_for().await.map(|(_, settings)| settings)
            }
            Err(error) => {
                self.switchboard.forget_unit(&self.meter.serial);
                Err(error)
            }
        }
    }

    async fn settings_of(&mut self, unit: u8) -> Result<EcmSettings, CommandError> {
        let command = EcmCommand::Settings;
        let settings = match self.ask(true, |_| Request::Ecm { unit, command }).await?.reply {
            Reply::EcmSettings(settings) => settings,
            other => return Err(unexpected(&other)),
        };
        let is_its_own = settings.serial() == *self.meter.serial;
        if let Some(way) = &mut self.way {
            way.confirmed = is_its_own;
            self.switchboard.note_unit(&way.connection, &settings.serial(), unit);
        }
        Ok(settings)
    }

    /// The command byte of the ECM called, as far as it is known.
    async fn unit(&mut self) -> Result<u8, CommandError> {
        if let Some(unit) = self.switchboard.unit(&self.meter.serial) {
            return Ok(unit);
        }
        let connection = Arc::clone(&self.way().await?.connection);
        let configured = self.switchboard.link(connection.link).ecm_units();
        let shared = self.switchboard.is_shared(&connection);
        match configured.as_slice() {
            [] if !shared => Ok(ALL_UNITS[0]),
            [only] if !shared => Ok(*only),
            _ => self.look_for().await.map(|(unit, _)| unit),
        }
    }

    /// Reads the settings of one unit after the other until the serial number is the right one.
    async fn look_for(&mut self) -> Result<(u8, EcmSettings), CommandError> {
        let connection = Arc::clone(&self.way().await?.connection);
        let configured = self.switchboard.link(connection.link).ecm_units();
        let candidates = if configured.is_empty() { ALL_UNITS.to_vec() } else { configured };
        for unit in candidates {
            if let Ok(settings) = self.settings_of(unit).await
                && settings.serial() == *self.meter.serial
            {
                return Ok((unit, settings));
            }
        }
        Err(CommandError::Unreachable(format!(
            "no command byte from fc to ff reaches meter {} on this line",
            self.meter.serial
        )))
    }
}
