use super::super::said::sampled;
use super::*;
use crate::adapters::fleet::LinkId;

struct Run {
    device: Device,
    entry: EntrySettings,
    begin: Instant,
}

impl Run {
    fn new(energy: EnergySource) -> Run {
        let begin = Instant::now();
        let topics = Arc::new(DeviceTopics::new("powermeter"));
        let device = Device::new("smartmeter001".into(), topics, begin);
        Run { device, entry: EntrySettings { energy, ..EntrySettings::adopted(LinkId(0)) }, begin }
    }

    fn at(&self, second: u64) -> Instant {
        self.begin + Duration::from_secs(second)
    }

    /// What is handed on of the energy after this was said on `state/sample`.
    fn say(&mut self, second: u64, payload: &str, connected: Option<Kind>) -> Option<Energy> {
        let now = self.at(second);
        self.device.sampled(sampled(payload.as_bytes()), now);
        self.device.frame(connected, &self.entry, now).now?.energy
    }
}

const MESSAGE: &str = r#"{"power":720,"current":3.1,"volt":230,"ts":"1700000000"}"#;
const FLOWED: Option<Energy> =
    Some(Energy::Flowed { whole_wh: Some((1.0, 0.0)), lines_wh: [None; 3] });

#[test]
fn what_flows_is_told_by_one_alone() {
    let mut run = Run::new(EnergySource::Integrated);
    assert_eq!(run.say(0, MESSAGE, None), None);
    assert_eq!(run.say(5, MESSAGE, None), FLOWED);
    // Its samples tell meanwhile, or a connection.
    run.say(6, "on", None);
    run.device.streamed(run.at(12));
    run.say(13, "off", None);
    assert_eq!(run.say(15, MESSAGE, None), None);
    assert_eq!(run.say(20, MESSAGE, None), FLOWED);
    assert_eq!(run.say(25, MESSAGE, Some(Kind::SmartMeter)), None);
    assert_eq!(run.say(30, MESSAGE, None), None);
    assert_eq!(run.say(35, MESSAGE, None), FLOWED);
    // Nothing is known of a pause.
    assert_eq!(run.say(95, MESSAGE, None), None);
}

#[test]
fn a_temperature_goes_out_once_with_whatever_comes_next() {
    let mut run = Run::new(EnergySource::Auto);
    let now = run.at(1);
    run.device.sensed(Some(25.5), now);
    run.device.sampled(sampled(MESSAGE.as_bytes()), now);
    let measured = run.device.frame(None, &run.entry, now).now.unwrap();
    assert_eq!((measured.temperature_c, measured.whole.active_w), (Some(25.5), Some(720.0)));
    assert!(run.device.frame(None, &run.entry, now).now.is_none());
    run.device.sensed(Some(26.0), now);
    let connected = run.device.frame(Some(Kind::PowerMeter), &run.entry, now).now.unwrap();
    assert_eq!((connected.temperature_c, connected.whole.active_w), (Some(26.0), None));
}

#[test]
fn who_samples_when_it_is_first_heard_is_asked_what_it_is() {
    for (relay, kind) in [(Some(true), Kind::PowerMeter), (None, Kind::SmartMeter)] {
        let begin = Instant::now();
        let topics = Arc::new(DeviceTopics::new("powermeter"));
        let mut device = Device::new("kitchen".into(), topics, begin);
        device.sampled(Sampled::Sampling(true), begin);
        assert_eq!(device.due(begin, true), [Due::Ask]);
        assert_eq!(device.due(begin, true), []);
        device.state(Some(true), relay, begin);
        assert_eq!(device.due(begin, true)[0], Due::Arrived(kind));
    }
}

#[test]
fn who_does_not_say_what_it_is_is_taken_in_after_a_while() {
    let mut run = Run::new(EnergySource::Auto);
    run.device = Device::new("kitchen".into(), Arc::clone(run.device.topics()), run.begin);
    run.device.sampled(Sampled::Sampling(true), run.begin);
    run.device.due(run.begin, true);
    assert_eq!(run.device.due(run.at(6), true), []);
    assert_eq!(run.device.due(run.at(7), true)[0], Due::Arrived(Kind::SmartMeter));
}
