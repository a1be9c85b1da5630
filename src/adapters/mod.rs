//! One adapter per make: what its meters mean, in the model's terms.

pub mod brultech;
pub mod fleet;
pub mod fluksometer;
pub mod p1;
pub mod smartmeter;

use crate::model::{Control, Model};

/// What a meter of this model can be told.
pub fn controls(model: Model) -> &'static [Control] {
    match model {
        Model::Gem | Model::Ecm1240 | Model::Ecm1220 => brultech::controls(model),
        Model::Powermeter => smartmeter::CONTROLS,
        Model::Flm02 | Model::Flm03 | Model::P1 | Model::Smartmeter => &[],
    }
}
