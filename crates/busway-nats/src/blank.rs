//! The headers of an event before there are any.
//!
//! The client's map grows three times while a message gets its ten headers, and each time it hashes all of their names again: a tenth of what a publish costs. It takes no
//! capacity, but a copy of a map has the room of its model, and a map that is read from a text has room for each entry of the text, also where all of
//! them are of one name. So one is read once, and copied for each message. The name that it has is one that each message sets, and has no value until
//! then: that is no line of a message.

use std::sync::LazyLock;

use async_nats::HeaderMap;

use crate::message::MESSAGE_ID;

/// A map with room for the headers of an event.
pub(crate) fn headers() -> HeaderMap {
    BLANK.clone()
}

static BLANK: LazyLock<HeaderMap> = LazyLock::new(|| {
    let entries = vec![format!("\"{MESSAGE_ID}\":[]"); ROOM];
    // What a client does not read that has another idea of such texts is only slower.
    serde_json::from_str(&format!("{{{}}}", entries.join(","))).unwrap_or_default()
});

/// As many as find room in a table of sixteen: ten that all events have, and a key, an expiry or a trace.
const ROOM: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_name_and_no_value() {
        let blank = headers();
        assert_eq!((blank.len(), blank.get(MESSAGE_ID)), (1, None));
        assert_eq!(blank.get_all(MESSAGE_ID).count(), 0);
    }

    #[test]
    fn what_is_set_is_there_once_and_in_no_other_copy() {
        let mut set = headers();
        set.insert("ce-id", "1");
        set.insert(async_nats::header::NATS_MESSAGE_ID, "1");
        assert_eq!((set.len(), set.get_all(MESSAGE_ID).count()), (2, 1));
        assert_eq!((headers().len(), headers().get(MESSAGE_ID)), (1, None));
    }
}
