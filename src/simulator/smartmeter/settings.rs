//! What a meter keeps: addresses, networks, calibration, and what it has counted.

use super::SmartKind;
use super::device::SmartDevice;

/// Settings that outlive a restart.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `-`: none.
    pub(super) mqtt_server: String,
    pub(super) mqtt_port: u16,
    /// User and password for the broker.
    pub(super) mqtt_login: (String, String),
    /// `-`: none.
    pub(super) stream_server: String,
    /// The port of the stream server, where it is not what the manners say.
    pub(super) stream_port: Option<u16>,
    pub(super) time_server: String,
    pub(super) wifi: Vec<String>,
    pub(super) calibration: Vec<f64>,
    /// Hour and minute.
    pub(super) daily_restart: Option<(i64, i64)>,
    /// Seconds from one `state/sample` to the next; `None`: none are sent.
    pub(super) publish: Option<f64>,
}

impl Settings {
    pub(super) fn new(kind: SmartKind, publish: f64) -> Settings {
        Settings {
            mqtt_server: "-".to_owned(),
            mqtt_port: 1883,
            mqtt_login: (String::new(), String::new()),
            stream_server: "-".to_owned(),
            stream_port: None,
            time_server: "time.google.com".to_owned(),
            wifi: vec!["energywifi".to_owned()],
            calibration: vec![1.0; 2 * kind.lines()],
            daily_restart: None,
            publish: Some(publish),
        }
    }
}

/// What has been counted.
#[derive(Debug, Clone)]
pub(super) struct Energy {
    /// Wh of each line, as stored last.
    pub(super) stored: Vec<f64>,
    /// When that was; what came since is in registers.
    pub(super) at: f64,
    /// Since when it counts.
    pub(super) since: f64,
}

impl Energy {
    pub(super) fn new(kind: SmartKind) -> Energy {
        let stored = [10149.5684, 5101.2324, 4509.2102].into_iter().take(kind.lines()).collect();
        Energy { stored, at: 0.0, since: 0.0 }
    }
}

impl SmartDevice {
    /// Stores what the registers have, when it is time or at once.
    pub(super) fn store(&mut self, now: f64, at_once: bool) {
        let every = self.manners.store.as_secs_f64();
        if !at_once && now < self.energy.at + every {
            return;
        }
        let mut energy = self.energy_wh(now);
        if self.kind.is_smart() && self.manners.export_trap {
            let hours = (now - self.energy.at) / 3600.0;
            for (line, level) in self.mains.at(now).iter().enumerate() {
                // The registers are read as unsigned: what is below nothing comes from above.
                if level.active_w < 0.0 {
                    energy[line] += WRAP + level.active_w * hours;
                }
            }
        }
        self.energy.stored = energy;
        self.energy.at = now;
    }

    /// What `getEnergy` tells. On a SmartMeter the registers are empty then, and nothing was stored:
    /// the energy since the last storing is lost.
    pub(super) fn read_energy(&mut self, now: f64) -> Vec<f64> {
        let energy = self.energy_wh(now);
        if self.kind.is_smart() {
            self.energy.at = now;
        }
        energy
    }
}

/// By how much a line's energy jumps when its registers wrap, Wh.
const WRAP: f64 = 455.4;
