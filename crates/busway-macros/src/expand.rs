//! Writes the impl.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Data, DeriveInput, Fields, GenericParam, Ident, LitStr, Member, Path, Type};

use crate::attributes::Attributes;
use crate::errors::Errors;
use crate::{crate_path, name};

/// The impl of `EventType` for `input`, or everything that is wrong with it.
pub(crate) fn event_type(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut errors = Errors::default();
    let attributes = Attributes::read(&input.attrs, &mut errors);
    errors.take(check_shape(input));
    errors.take(check_generics(input));
    let key = match &attributes.key {
        Some((member, span)) => {
            errors.take(key_field(input, member, *span)).map(|field| key_method(field, *span))
        }
        None => None,
    };
    let name = event_name(&input.ident, attributes.name.as_ref());
    if let Err(error) = &name {
        errors.push(error.clone());
    }
    errors.finish()?;
    let name = name?;

    let crate_path = match &attributes.crate_path {
        Some(path) => quote!(#path),
        None => crate_path::find(),
    };
    let version = attributes.version.unwrap_or(1);
    let codec = attributes.codec.as_ref().map(|codec| {
        quote! { const CODEC: #crate_path::CodecId = #crate_path::CodecId::#codec; }
    });
    let topic = attributes.topic.as_ref().map(|topic| {
        quote! { const TOPIC: ::core::option::Option<&'static str> = ::core::option::Option::Some(#topic); }
    });
    let weight = attributes.weight.as_ref().map(weight_method);
    let upcast = attributes.upcast_from.as_ref().map(|older| {
        Upcast { crate_path: &crate_path, ident: &input.ident, name: &name, version, older }.write(input)
    });
    let (method, assertions) = upcast.unwrap_or_default();

    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #crate_path::EventType for #ident #type_generics #where_clause {
            const NAME: &'static str = #name;
            const VERSION: u16 = #version;
            #codec
            #topic
            #key
            #weight
            #method
        }
        #assertions
    })
}

/// The name that was given, which is checked already, or the type's own.
fn event_name(ident: &Ident, given: Option<&LitStr>) -> syn::Result<LitStr> {
    if let Some(name) = given {
        return Ok(name.clone());
    }
    let name = name::kebab_case(&ident.unraw().to_string());
    match name::flaw(&name) {
        None => Ok(LitStr::new(&name, ident.span())),
        Some(_) => {
            let message =
                format!("`{ident}` gives no name for an event: write one, `#[event(name = \"…\")]`");
            Err(syn::Error::new(ident.span(), message))
        }
    }
}

fn check_shape(input: &DeriveInput) -> syn::Result<()> {
    match &input.data {
        Data::Struct(_) | Data::Enum(_) => Ok(()),
        Data::Union(data) => {
            let message = "a union is no payload: serde cannot know which field is meant; use an enum";
            Err(syn::Error::new(data.union_token.span(), message))
        }
    }
}

/// Lifetimes are refused here because the compiler's own words about `DeserializeOwned` say nothing of events.
fn check_generics(input: &DeriveInput) -> syn::Result<()> {
    let mut errors = Errors::default();
    for parameter in &input.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            let message = "an event owns its data: use String, Vec or Bytes instead of a reference";
            errors.push(syn::Error::new(lifetime.span(), message));
        }
    }
    errors.finish()
}

/// The field that `wanted` names, under the name that the type gives it: `"type"` finds `r#type`.
fn key_field(input: &DeriveInput, wanted: &Member, span: Span) -> syn::Result<Member> {
    let Data::Struct(data) = &input.data else {
        let message = "only a struct has a field for the key: implement `EventType` by hand, or give each event its key";
        return Err(syn::Error::new(span, message));
    };
    let found = data.fields.members().find(|member| match (member, wanted) {
        (Member::Named(field), Member::Named(wanted)) => field.unraw() == wanted.unraw(),
        (Member::Unnamed(field), Member::Unnamed(wanted)) => field.index == wanted.index,
        _ => false,
    });
    found.ok_or_else(|| {
        let wanted = match wanted {
            Member::Named(name) => name.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        };
        let ident = &input.ident;
        let message = match &data.fields {
            Fields::Unit => format!("`{ident}` has no fields, so `{wanted}` cannot be its key"),
            fields => format!("`{ident}` has no field `{wanted}`; it has {}", list(fields)),
        };
        syn::Error::new(span, message)
    })
}

fn list(fields: &Fields) -> String {
    let names = fields.members().map(|member| match member {
        Member::Named(name) => format!("`{}`", name.unraw()),
        Member::Unnamed(index) => format!("`{}`", index.index),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn key_method(mut field: Member, span: Span) -> TokenStream {
    // A field without `ToString` is an error about `key = …`.
    let span = place_of(span);
    match &mut field {
        Member::Named(name) => name.set_span(span),
        Member::Unnamed(index) => index.span = span,
    }
    let text = quote_spanned! { span => ::std::string::ToString::to_string(&self.#field) };
    quote! {
        fn key(&self) -> ::core::option::Option<::std::string::String> {
            ::core::option::Option::Some(#text)
        }
    }
}

fn weight_method(function: &Path) -> TokenStream {
    // A function of another shape is an error about `weight = …`.
    let call = quote_spanned! { place_of(function.span()) =>
        let weight: fn(&Self) -> usize = #function;
    };
    quote! {
        fn weight(&self) -> usize {
            #call
            weight(self)
        }
    }
}

/// Errors point to `span`, names are those of the impl: an option may come out of a `macro_rules!` with names of its own.
fn place_of(span: Span) -> Span {
    span.resolved_at(Span::call_site())
}

/// The link to the version before.
struct Upcast<'a> {
    crate_path: &'a TokenStream,
    ident: &'a Ident,
    name: &'a LitStr,
    version: u16,
    older: &'a Type,
}

impl Upcast<'_> {
    /// The method, and the assertions that stand beside the impl. A generic type has none there, for they could not name
    /// its parameters: its assertions are in the method and speak when a program uses it.
    fn write(&self, input: &DeriveInput) -> (TokenStream, TokenStream) {
        let Self { crate_path, older, .. } = self;
        let read = quote_spanned! { place_of(older.span()) =>
            <#older as #crate_path::EventType>::read(older).map(::core::convert::Into::into)
        };
        let (inside, beside) = if input.generics.params.is_empty() {
            (TokenStream::new(), self.assertions(|assertion| quote!(const _: () = #assertion;)))
        } else {
            (self.assertions(|assertion| quote!(const #assertion)), TokenStream::new())
        };
        let method = quote! {
            fn upcast(
                older: &#crate_path::Encoded,
            ) -> ::core::result::Result<Self, #crate_path::DecodeError> {
                #inside
                #read
            }
        };
        (method, beside)
    }

    fn assertions(&self, place: impl Fn(TokenStream) -> TokenStream) -> TokenStream {
        let Self { crate_path, ident, name, version, older } = self;
        let older_text = quote!(#older).to_string();
        let not_older = format!(
            "`{ident}` is version {version}, and `{older_text}`, which it upcasts from, is not older: raise the version"
        );
        let other_name = format!(
            "`{ident}` is named \"{}\", and `{older_text}`, which it upcasts from, bears another name: \
             all versions of an event share one",
            name.value()
        );
        let span = place_of(older.span());
        let is_older = place(quote_spanned! { span => {
            ::core::assert!(<#older as #crate_path::EventType>::VERSION < #version, #not_older)
        }});
        let is_same = place(quote_spanned! { span => {
            const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
                while let ([first, rest @ ..], [second, others @ ..]) = (one, other) {
                    if *first != *second {
                        return false;
                    }
                    one = rest;
                    other = others;
                }
                one.is_empty() && other.is_empty()
            }
            ::core::assert!(
                same(<#older as #crate_path::EventType>::NAME.as_bytes(), #name.as_bytes()),
                #other_name
            )
        }});
        quote! { #is_older #is_same }
    }
}
