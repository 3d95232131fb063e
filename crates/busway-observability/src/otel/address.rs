//! Addresses as they may be shown: a user, a password or a key in one is nobody else's.

use crate::redact::HIDDEN;

/// The address without user and password, and without what follows its path: `http://***@agent:4317/v1/traces?***`. What cannot be told apart is hidden as a whole.
pub(super) fn shown(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => {
            (address.get(..scheme.len() + 3).unwrap_or_default(), rest)
        }
        _ => ("", address),
    };
    let (place, query) = match rest.find(['?', '#']) {
        // A mark of a query before the end of what may be a password.
        Some(query) if rest.rfind('@').is_some_and(|at| at > query) => return format!("{scheme}{HIDDEN}"),
        Some(query) => (rest.get(..query).unwrap_or_default(), rest.get(query..=query).unwrap_or_default()),
        None => (rest, ""),
    };
    // A password may hold slashes and further signs: up to the last one.
    let place = match place.rsplit_once('@') {
        Some((_, place)) => format!("{HIDDEN}@{place}"),
        None => place.to_owned(),
    };
    match query {
        "" => format!("{scheme}{place}"),
        mark => format!("{scheme}{place}{mark}{HIDDEN}"),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_address_is_shown_without_what_is_secret_in_it() {
        for (address, expected) in [
            ("http://127.0.0.1:4317", "http://127.0.0.1:4317"),
            ("http://agent:4318/v1/traces", "http://agent:4318/v1/traces"),
            ("http://ann:s3cr3t@agent:4318/v1/traces", "http://***@agent:4318/v1/traces"),
            ("http://s3cr3t@agent", "http://***@agent"),
            ("http://ann:s3/cr3t@s3cr3t@agent", "http://***@agent"),
            ("ann:s3cr3t@agent:4317", "***@agent:4317"),
            ("ann:s3cr3t://s3cr3t@agent", "***@agent"),
            ("http://agent/x?key=s3cr3t", "http://agent/x?***"),
            ("http://agent/x#s3cr3t", "http://agent/x#***"),
            ("http://ann:s3?cr3t@agent/x", "http://***"),
            ("http://agent/x?mail=ann@s3cr3t", "http://***"),
            ("ä://s3cr3t@ö", "***@ö"),
            ("no address at all", "no address at all"),
            ("", ""),
        ] {
            assert_eq!(shown(address), expected, "{address}");
        }
    }
}
