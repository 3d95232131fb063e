//! Values that errors of decoding quote without the name of their field: `invalid type: string "4711", expected u32 at line 1 column 24`.

use super::HIDDEN;

/// Hides them; `None`: there is none.
pub(super) fn hide(text: &str) -> Option<String> {
    let begin = |lead: &&str| text.find(*lead).map(|found| found + lead.len());
    let from = LEADS.iter().filter_map(begin).min()?;
    let rest = text.get(from..)?;
    // A value may hold what stands behind it: up to the last one.
    let end = rest.rfind(TAIL).unwrap_or(rest.len());
    let quote = rest.get(..end)?.find(['"', '`', '\\', '\''])?;
    Some([text.get(..from + quote)?, HIDDEN, rest.get(end..)?].concat())
}

/// Of the errors of `serde`, those that quote a value.
const LEADS: [&str; 3] = ["invalid type: ", "invalid value: ", "unknown variant "];
const TAIL: &str = ", expected ";

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Card {
        #[expect(dead_code, reason = "it is never read")]
        number: u32,
    }

    #[test]
    fn what_errors_of_serde_quote_is_hidden() {
        for secret in ["47\"11", "4, expected 7"] {
            let json = serde_json::json!({ "number": secret }).to_string();
            let error = serde_json::from_str::<Card>(&json).unwrap_err().to_string();
            let shown = hide(&error).unwrap();
            assert!(shown.starts_with("invalid type: string ***, expected u32 at line 1"), "{shown}");
        }
        assert_eq!(
            hide("invalid value: integer `-1`, expected u32").unwrap(),
            "invalid value: integer ***, expected u32"
        );
        assert_eq!(hide("unknown variant `s3cr3t").unwrap(), "unknown variant ***");
        assert!(hide("invalid type: null, expected u32").is_none() && hide("missing field `a`").is_none());
    }
}
