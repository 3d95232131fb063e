//! Declarations: a section or a choice is written down once, and what is read, its schema and how it is shown come from that. See [`read`](crate::read).

/// Declares a section: the struct, how it is read, and its schema.
macro_rules! section {
    (
        $(#[doc = $text:literal])*
        $name:ident, $said:literal {
            $( $(#[doc = $field_text:literal])* $field:ident: $type:ty, )*
        }
    ) => {
        $(#[doc = $text])*
        #[derive(Debug, Clone, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[doc = $field_text])* pub $field: $type, )*
            /// Where it begins.
            #[schemars(skip)]
            pub(crate) place: crate::read::Begin,
        }

        impl crate::read::Read for $name {
            fn read(node: &crate::node::Node, reader: &mut crate::read::Reader) -> Option<Self> {
                const FIELDS: &[&str] = &[$( stringify!($field) ),*];
                let entries = reader.section(node, $said, FIELDS)?;
                $(
                    let missing = crate::read::Missing {
                        field: stringify!($field),
                        section: $said,
                        place: &node.place,
                    };
                    let given = crate::read::field(entries, stringify!($field));
                    let $field = crate::read::Field::field(given, &missing, reader);
                )*
                Some(Self { $( $field: $field?, )* place: crate::read::Begin(node.place.clone()) })
            }
        }

        impl crate::show::Show for $name {
            fn show(&self, leaves: &mut crate::show::Leaves) {
                // That it is there may be all that it says.
                leaves.or_empty(|leaves| {
                    $( leaves.within(stringify!($field), |leaves| self.$field.show(leaves)); )*
                });
            }
        }
    };
}
pub(crate) use section;

/// Declares a choice between words.
macro_rules! choice {
    (
        $(#[doc = $text:literal])*
        $name:ident { $( $(#[doc = $variant_text:literal])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[doc = $text])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[doc = $variant_text])* $variant, )*
        }

        impl $name {
            const WORDS: &'static [&'static str] = &[$( $word ),*];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $( Self::$variant => $word, )* })
            }
        }

        impl crate::read::Value for $name {
            fn expecting() -> String {
                format!("one of {}", Self::WORDS.join(", "))
            }

            fn value(kind: &crate::node::Kind) -> Option<Result<Self, String>> {
                let (crate::node::Kind::Text(text) | crate::node::Kind::Loose(text)) = kind else {
                    return None;
                };
                match text.as_str() {
                    $( $word => Some(Ok(Self::$variant)), )*
                    other => Some(Err(crate::read::no_such_word(other, Self::WORDS))),
                }
            }

            fn schema() -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "enum": Self::WORDS })
            }
        }
    };
}
pub(crate) use choice;
