//! From a Fluksometer's documents to its sensors.

use std::collections::BTreeMap;
use std::sync::Arc;

use meter_protocols::flukso::Id;
use meter_protocols::flukso::document::{self, Class, DataType, DocumentError, Place, Section};

use super::documents::Documents;
use super::safe;
use crate::adapters::fleet::MeterSettings;
use crate::model::{
    Channel, Device, DeviceId, Make, Model, OwnDocuments, OwnSection, Quantity, Recorded, Role,
    Sensor, SensorId, SensorType, Unit,
};

/// What a Fluksometer is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layout {
    pub(super) model: Model,
    /// The sensors in use, in the order of their channels.
    pub(super) slots: Vec<Slot>,
    /// What is to be published of it; `None` where it has said nothing of itself.
    pub(super) own: Option<Arc<OwnDocuments>>,
}

/// One sensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    pub(super) id: Id,
    pub(super) channel: Channel,
    pub(super) quantity: Quantity,
    pub(super) kind: SensorType,
    /// What its owner has called it on the device.
    pub(super) name: Option<Arc<str>>,
    pub(super) gauge: Option<Unit>,
    pub(super) counter: Option<Unit>,
    pub(super) constant: Option<i64>,
    /// Its gauges come from an FLM03's sensor daemon, which writes negative fractions wrongly.
    pub(super) clamp: bool,
    pub(super) own: Option<Arc<OwnSection>>,
}

impl Layout {
    /// Reads the documents. Sensors whose type is not known are left out.
    ///
    /// # Errors
    /// When `config/sensor` is none. The others are done without.
    pub(super) fn read(
        device: Id,
        documents: &Documents,
        on_our_broker: bool,
    ) -> Result<Layout, DocumentError> {
        let object = document::object(documents.sensor.as_bytes())?;
        let sections = document::sensors(&object);
        let places = |text: &Option<String>| {
            let object = document::object(text.as_deref().unwrap_or("{}").as_bytes());
            object.map(|object| document::places(&object)).unwrap_or_default()
        };
        let (flx, kube) = (places(&documents.flx), places(&documents.kube));
        let model = model(&sections, documents);
        let in_use = sections.iter().filter(|section| section.enabled);
        let mut slots: Vec<Slot> =
            in_use.filter_map(|section| slot(section, model, &flx, &kube)).collect();
        // Whoever shows a channel wants its sensors together.
        let mut order: Vec<Channel> = Vec::new();
        for slot in &slots {
            if !order.contains(&slot.channel) {
                order.push(slot.channel);
            }
        }
        slots.sort_by_key(|slot| order.iter().position(|one| *one == slot.channel));
        let own = safe::documents(device, documents, &object, &sections, model, on_our_broker);
        Ok(Layout { model, slots, own: Some(Arc::new(own)) })
    }

    /// The device with what the configuration says of it.
    pub(super) fn device(
        &self,
        serial: &Arc<str>,
        settings: &MeterSettings,
        (adopted, new): (bool, bool),
    ) -> Device {
        let sensors = self.slots.iter().map(|slot| {
            let channel = settings.channel(slot.channel);
            let name = channel.name.clone().or_else(|| slot.name.clone());
            let counts_both_ways = matches!(slot.channel, Channel::Ch(_) | Channel::Line);
            Sensor {
                id: SensorId::from(slot.id.0),
                channel: slot.channel,
                quantity: slot.quantity,
                kind: slot.kind,
                name: name.unwrap_or_else(|| slot.channel.to_string().into()),
                role: if counts_both_ways { channel.role } else { Role::Load },
                gauge: slot.gauge,
                counter: slot.counter,
                constant: slot.constant,
                own: slot.own.clone(),
            }
        });
        Device {
            id: settings.id.unwrap_or_else(|| DeviceId::derive(Make::Fluksometer, serial)),
            make: Make::Fluksometer,
            model: self.model,
            serial: Arc::clone(serial),
            name: Arc::clone(&settings.name),
            adopted,
            new,
            sensors: sensors.collect(),
            own: self.own.clone(),
        }
    }
}

/// Only an FLM03 has sensors that do not say what they are attached to, and tells what it is in
/// `test/tap`.
fn model(sections: &[Section], documents: &Documents) -> Model {
    let classless = sections.iter().any(|one| one.kind.is_some() && one.class.is_none());
    if classless || documents.tap.is_some() { Model::Flm03 } else { Model::Flm02 }
}

fn slot(
    section: &Section,
    model: Model,
    flx: &BTreeMap<u8, Place>,
    kube: &BTreeMap<u8, Place>,
) -> Option<Slot> {
    let kind = kind(section.kind.as_deref()?)?;
    let port = section.ports.first().copied();
    let number = u8::try_from(section.number).unwrap_or(u8::MAX);
    let flx = port.and_then(|port| flx.get(&port));
    let is_pulse = match section.class {
        Some(class) => class == Class::Pulse,
        // FLM03 layout: clamps have sensors 1 to 36, pulse inputs 37 to 39.
        None => match flx.and_then(|place| place.class.as_deref()) {
            Some(class) => class == "pulse",
            None => section.number > 36,
        },
    };
    let is_electricity = kind == SensorType::Electricity;
    let (channel, quantity) = match section.class {
        Some(Class::Kube) => (Channel::Kube(section.kid?), of_kube(kind)?),
        Some(Class::Cosem) if is_electricity => (Channel::Ch(number), Quantity::Net),
        Some(Class::Cosem) => (Channel::Pulse(number), Quantity::Pulse),
        _ if is_pulse || !is_electricity => {
            (Channel::Pulse(port.unwrap_or(number)), Quantity::Pulse)
        }
        _ => {
            let quantity = match section.subtype.as_deref() {
                Some(subtype) => of_subtype(subtype)?,
                None => Quantity::PPlus,
            };
            (Channel::Ch(port.unwrap_or(number)), quantity)
        }
    };
    let (gauge, counter) = units(quantity, kind, model);
    let place = match channel {
        Channel::Kube(kid) => kube.get(&kid),
        _ => flx,
    };
    let name = section.function.as_deref().or_else(|| place.and_then(|one| one.name.as_deref()));
    let constant = section.constant.filter(|one| one.is_finite() && (0.0..1e9).contains(one));
    Some(Slot {
        id: section.id,
        channel,
        quantity,
        kind,
        name: name.map(Arc::from),
        gauge,
        counter,
        constant: constant.map(|one| (one * 1000.0).round() as i64),
        clamp: model == Model::Flm03
            && section.class.is_none()
            && section.subtype.is_some()
            && !is_pulse,
        own: Some(Arc::new(OwnSection {
            rid: section.rid,
            record: section.tmpo.then_some(match section.data_type {
                DataType::Counter => Recorded::Counter,
                DataType::Gauge => Recorded::Gauge,
            }),
            text: section.header(),
        })),
    })
}

fn kind(text: &str) -> Option<SensorType> {
    use SensorType::*;
    let all = [
        Electricity,
        Gas,
        Water,
        Temperature,
        Heat,
        Fuel,
        Pellet,
        Time,
        Humidity,
        Battery,
        Light,
        Pressure,
        Error,
        Movement,
        Vibration,
        Proximity,
        Other,
    ];
    all.into_iter().find(|kind| kind.as_str() == text)
}

fn of_subtype(text: &str) -> Option<Quantity> {
    use Quantity::*;
    let all = [PPlus, PMinus, Q1, Q2, Q3, Q4, Vrms, Irms, Pf, Vthd, Ithd, Alpha];
    all.into_iter().find(|quantity| quantity.as_str() == text)
}

fn of_kube(kind: SensorType) -> Option<Quantity> {
    Some(match kind {
        SensorType::Temperature => Quantity::Temperature,
        SensorType::Humidity => Quantity::Humidity,
        SensorType::Battery => Quantity::Battery,
        SensorType::Light => Quantity::Light,
        SensorType::Pressure => Quantity::Pressure,
        SensorType::Error => Quantity::Error,
        SensorType::Movement => Quantity::Movement,
        SensorType::Vibration => Quantity::Vibration,
        SensorType::Proximity => Quantity::Proximity,
        _ => return None,
    })
}

/// Source: protocol note, section 2.1.
fn units(quantity: Quantity, kind: SensorType, model: Model) -> (Option<Unit>, Option<Unit>) {
    if quantity != Quantity::Pulse {
        return (quantity.gauge_unit(), quantity.counter_unit());
    }
    let flow = if model == Model::Flm03 { Unit::LitrePerSecond } else { Unit::LitrePerDay };
    let gauge = match kind {
        SensorType::Electricity | SensorType::Heat => Unit::Watt,
        SensorType::Gas | SensorType::Water | SensorType::Fuel => flow,
        SensorType::Pellet => Unit::GramPerSecond,
        SensorType::Other => Unit::PerSecond,
        _ => Unit::Count,
    };
    // What other counts has no unit, and neither has its total.
    (Some(gauge), Some(kind.total_unit()))
}
