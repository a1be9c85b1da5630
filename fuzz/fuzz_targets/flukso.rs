//! Any bytes as a reading, a document and a topic: nothing panics, a topic comes back from its own
//! spelling, and a section's header is an object without what passes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use meter_protocols::flukso::document;
use meter_protocols::flukso::payload::Reading;
use meter_protocols::flukso::topic::Topic;

fuzz_target!(|input: &[u8]| {
    if let Ok(reading) = Reading::read(input) {
        let clamp = reading.clamp_milli();
        assert!(clamp == reading.milli || reading.milli < 0);
    }
    if let Ok(document) = document::object(input) {
        for section in document::sensors(&document) {
            let header = document::object(section.header().as_bytes()).expect("an object");
            assert!(!header.contains_key("enable"));
        }
        document::places(&document);
    }
    document::tap(input);
    if let Ok(text) = std::str::from_utf8(input)
        && let Some(topic) = Topic::parse(text)
    {
        assert_eq!(topic.to_string(), text);
    }
});
