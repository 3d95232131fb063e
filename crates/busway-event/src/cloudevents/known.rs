//! Attributes that an import looks for by name, each with a place of its own, so that none is searched for.

use super::attributes::{EXPIRY, KEY, META, PRIORITY, SCHEMA_VERSION, TRACE_PARENT, TRACE_STATE};

/// An attribute that every import takes out of what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    SpecVersion,
    Id,
    Source,
    Type,
    ContentType,
    Subject,
    Time,
    SchemaVersion,
    Key,
    Priority,
    Expiry,
    TraceParent,
    TraceState,
    Meta,
}

impl Known {
    /// How many there are.
    pub(super) const COUNT: usize = Self::Meta as usize + 1;

    /// The one of this name, in lower case.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "specversion" => Self::SpecVersion,
            "id" => Self::Id,
            "source" => Self::Source,
            "type" => Self::Type,
            "datacontenttype" => Self::ContentType,
            "subject" => Self::Subject,
            "time" => Self::Time,
            SCHEMA_VERSION => Self::SchemaVersion,
            KEY => Self::Key,
            PRIORITY => Self::Priority,
            EXPIRY => Self::Expiry,
            TRACE_PARENT => Self::TraceParent,
            TRACE_STATE => Self::TraceState,
            META => Self::Meta,
            _ => return None,
        })
    }

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SpecVersion => "specversion",
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::ContentType => "datacontenttype",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::SchemaVersion => SCHEMA_VERSION,
            Self::Key => KEY,
            Self::Priority => PRIORITY,
            Self::Expiry => EXPIRY,
            Self::TraceParent => TRACE_PARENT,
            Self::TraceState => TRACE_STATE,
            Self::Meta => META,
        }
    }
}

/// The name of an attribute on its way in.
#[derive(Debug)]
pub(super) enum Name {
    Known(Known),
    Other(String),
}

impl Name {
    /// A name as a header has it, in any case.
    pub(super) fn of_header(name: &str) -> Self {
        match Known::of(name) {
            Some(known) => Self::Known(known),
            None => Self::of_member(name.to_ascii_lowercase()),
        }
    }

    /// A name as it is.
    pub(super) fn of_member(name: String) -> Self {
        Known::of(&name).map_or(Self::Other(name), Self::Known)
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Known(known) => known.name(),
            Self::Other(name) => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name_in_any_case_and_has_a_place_of_its_own() {
        use Known::*;
        let all = [
            SpecVersion,
            Id,
            Source,
            Type,
            ContentType,
            Subject,
            Time,
            SchemaVersion,
            Key,
            Priority,
            Expiry,
            TraceParent,
            TraceState,
            Meta,
        ];
        assert_eq!(all.len(), Known::COUNT);
        for (place, known) in all.into_iter().enumerate() {
            assert_eq!((known as usize, Known::of(known.name())), (place, Some(known)));
            let shouted = Name::of_header(&known.name().to_ascii_uppercase());
            assert!(matches!(shouted, Name::Known(found) if found == known), "{shouted:?}");
        }
        assert!(matches!(Name::of_header("Tenant"), Name::Other(name) if name == "tenant"));
        assert!(matches!(Name::of_member("Id".to_owned()), Name::Other(name) if name == "Id"));
    }
}
