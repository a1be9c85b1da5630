//! Which channels of a stream a client may choose, in the words of the meters' `measures`.

use crate::model::{Channel, WaveChannel, WaveKind};
use crate::streams::shape::label;

/// The places in a frame of what `measures` asks for; `None`: all of them.
///
/// # Errors
/// What the stream has instead, for the client.
pub(super) fn choose(
    channels: &[WaveChannel],
    measures: Option<&str>,
) -> Result<Option<Vec<usize>>, String> {
    let Some(text) = measures else { return Ok(None) };
    if text == echo(channels) {
        return Ok(None);
    }
    let there = || channels.iter().map(label).collect::<Vec<_>>().join(",");
    let wanted = Wanted::read(text)
        .ok_or_else(|| format!("Unknown measures: {text}//nthe stream has {}", there()))?;
    let columns: Vec<usize> =
        (0..channels.len()).filter(|at| wanted.has(&channels[*at], channels)).collect();
    let found = |kind: &WaveKind| columns.iter().any(|at| channels[*at].kind == *kind);
    if !wanted.kinds.iter().all(found) {
        return Err(format!("{text} is not sampled://nthe stream has {}", there()));
    }
    Ok((columns.len() < channels.len()).then_some(columns))
}

/// `measures` as a reply to `sample` tells them.
pub(super) fn echo(channels: &[WaveChannel]) -> String {
    let letters: Vec<&str> = channels.iter().map(|one| letter(one.kind)).collect();
    let mut text = letters.join(",");
    let is = |kinds: [WaveKind; 2]| channels.iter().any(|one| kinds.contains(&one.kind));
    if is([WaveKind::VoltageRms, WaveKind::CurrentRms]) {
        text.push_str("_RMS");
    }
    if let Some(WaveChannel { channel: Channel::L(line), .. }) = channels.first()
        && channels.iter().all(|one| one.channel == Channel::L(*line))
    {
        text.push_str(&format!("_L{line}"));
    }
    text
}

/// `unit` as a reply to `sample` tells it: one for each channel.
pub(super) fn units(channels: &[WaveChannel]) -> String {
    let unit = |one: &WaveChannel| match one.kind {
        WaveKind::Voltage | WaveKind::VoltageRms => "V",
        WaveKind::Current | WaveKind::CurrentRms => "mA",
        WaveKind::Active => "W",
        WaveKind::Reactive => "VAR",
    };
    channels.iter().map(unit).collect::<Vec<_>>().join(",")
}

fn letter(kind: WaveKind) -> &'static str {
    match kind {
        WaveKind::Voltage | WaveKind::VoltageRms => "v",
        WaveKind::Current | WaveKind::CurrentRms => "i",
        WaveKind::Active => "p",
        WaveKind::Reactive => "q",
    }
}

/// What a client asks for.
struct Wanted {
    kinds: Vec<WaveKind>,
    line: Option<u8>,
}

impl Wanted {
    fn read(text: &str) -> Option<Wanted> {
        let momentary = || vec![WaveKind::Voltage, WaveKind::Current];
        let (kinds, line) = match text {
            // A meter with three lines takes it as its first.
            "v,i" | "v,i_L1" => (momentary(), Some(1)),
            "v,i_L2" => (momentary(), Some(2)),
            "v,i_L3" => (momentary(), Some(3)),
            "v,i,v,i,v,i" => (momentary(), None),
            "v,i_RMS" => (vec![WaveKind::VoltageRms, WaveKind::CurrentRms], None),
            "p,q" => (vec![WaveKind::Active, WaveKind::Reactive], None),
            "v,i,p,q" => {
                let all = [momentary(), vec![WaveKind::Active, WaveKind::Reactive]];
                (all.concat(), None)
            }
            _ => return None,
        };
        Some(Wanted { kinds, line })
    }

    fn has(&self, one: &WaveChannel, all: &[WaveChannel]) -> bool {
        let is_single = all.iter().all(|one| one.channel == Channel::Line);
        let of_line = match self.line {
            Some(line) if !is_single => one.channel == Channel::L(line),
            _ => true,
        };
        of_line && self.kinds.contains(&one.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::shape::tests::stream;

    #[test]
    fn a_client_may_choose_among_what_is_sampled() {
        let three = stream(1, 8000.0, 3);
        let of_three = |text| choose(&three.channels, text);
        assert_eq!(of_three(None), Ok(None));
        assert_eq!(of_three(Some("v,i,v,i,v,i")), Ok(None));
        assert_eq!(of_three(Some("v,i_L2")), Ok(Some(vec![2, 3])));
        assert_eq!(of_three(Some("v,i")), Ok(Some(vec![0, 1])));
        assert!(of_three(Some("p,q")).unwrap_err().contains("v_l1,i_l1"));
        assert!(of_three(Some("x")).unwrap_err().starts_with("Unknown measures"));
        let plug = stream(1, 8000.0, 1);
        assert_eq!(choose(&plug.channels, Some("v,i")), Ok(None));
        assert_eq!(choose(&plug.channels, Some("v,i_L1")), Ok(None));
    }

    #[test]
    fn a_reply_tells_channels_and_units_as_a_meter_does() {
        let three = stream(1, 8000.0, 3);
        assert_eq!(echo(&three.channels), "v,i,v,i,v,i");
        assert_eq!(units(&three.channels), "V,mA,V,mA,V,mA");
        assert_eq!(echo(&three.channels[2..4]), "v,i_L2");
        let kinds = [WaveKind::VoltageRms, WaveKind::CurrentRms];
        let rms: Vec<WaveChannel> = kinds
            .iter()
            .flat_map(|kind| (1..4).map(|n| WaveChannel { channel: Channel::L(n), kind: *kind }))
            .collect();
        assert_eq!(echo(&rms), "v,v,v,i,i,i_RMS");
    }
}
