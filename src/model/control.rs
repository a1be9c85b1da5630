//! What a meter can be told, as a thing to press or to choose: what user interfaces make of it.

/// One thing to press or to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Part of identities: never changes. Letters, digits and `_`.
    pub key: &'static str,
    /// What people read.
    pub name: &'static str,
    /// Whether the meter has one of it, or each of its clamps.
    pub scope: Scope,
    /// What it is.
    pub kind: ControlKind,
    /// Whether it is offered at once. What loses data or is seldom wanted is not.
    pub offered: bool,
}

/// See [`Control::scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One for the meter.
    Meter,
    /// One for each clamp that has a number; its command carries that as `channel`.
    EachClamp,
}

/// See [`Control::kind`]. Commands are those of `powermeter/<name>/cmd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlKind {
    /// Sends this command, a JSON object.
    Press {
        /// The object.
        command: &'static str,
    },
    /// The relay: told by `powermeter/<name>/switch`, and how it is by `…/state/switch`.
    Relay,
    /// A setting that is a whole number.
    Number {
        /// The setting's name.
        setting: &'static str,
        /// The least value.
        min: u16,
        /// The greatest value.
        max: u16,
        /// Its unit, if it has one.
        unit: Option<&'static str>,
    },
    /// A setting that is one of a few names.
    Choice {
        /// The setting's name.
        setting: &'static str,
        /// The names; the meter's answer carries one of them as `name`.
        options: &'static [&'static str],
    },
}
