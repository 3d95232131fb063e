//! What a pair of metadata may be.

use super::{MetadataError, NAME_BYTES_MAX, VALUE_BYTES_MAX};

/// Fixed fields have setters of their own; a pair of the same name would be a second truth.
const RESERVED: [&str; 5] = ["producer", "version", "trace_id", "traceparent", "tracestate"];

pub(super) fn check_pair(name: &str, value: &str) -> Result<(), MetadataError> {
    let wrong = |reason: String| MetadataError::Name { name: name.chars().take(64).collect(), reason };
    if name.is_empty() {
        return Err(wrong("is empty".to_owned()));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(wrong(format!("has {} bytes, more than {NAME_BYTES_MAX}", name.len())));
    }
    if RESERVED.contains(&name) {
        return Err(wrong("is reserved: busway sets it itself".to_owned()));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if let Some(position) = name.bytes().position(|byte| !allowed(byte)) {
        return Err(wrong(format!("holds a byte outside of [A-Za-z0-9._-] at position {position}")));
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(MetadataError::ValueTooLarge {
            name: name.to_owned(),
            len: value.len(),
            limit: VALUE_BYTES_MAX,
        });
    }
    Ok(())
}
