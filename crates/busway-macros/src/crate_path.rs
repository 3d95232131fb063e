//! Where the generated code finds `EventType`: in `busway-event`, or in the facade that re-exports it.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// The path of the crate by the manifest of the crate that is compiled, renamed dependencies included.
///
/// `busway-event` is looked for first: a manifest does not tell which of its tables serves the code at hand, and a crate
/// that defines events on `busway-event` and tests them on a `busway` among its dev-dependencies is the common one with
/// both. Inside the two crates themselves the path is their own name, which examples, tests and doctests can use.
pub(crate) fn find() -> TokenStream {
    let found = ["busway-event", "busway"].into_iter().find_map(|package| match crate_name(package) {
        Ok(FoundCrate::Name(name)) => Some(name),
        Ok(FoundCrate::Itself) => Some(package.replace('-', "_")),
        Err(_) => None,
    });
    let name = Ident::new(found.as_deref().unwrap_or("busway_event"), Span::call_site());
    quote!(::#name)
}
