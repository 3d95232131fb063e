//! What `#[event(…)]` says.

use proc_macro2::{Ident, Span, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::ParseStream;
use syn::spanned::Spanned as _;
use syn::{Attribute, LitInt, LitStr, Member, Path, Token, Type};

use crate::errors::Errors;
use crate::{name, topic};

/// The options of one type, each checked by itself.
#[derive(Default)]
pub(crate) struct Attributes {
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<u16>,
    pub(crate) topic: Option<LitStr>,
    pub(crate) key: Option<(Member, Span)>,
    pub(crate) codec: Option<Ident>,
    pub(crate) weight: Option<Path>,
    pub(crate) upcast_from: Option<Type>,
    pub(crate) crate_path: Option<Path>,
}

impl Attributes {
    /// Reads all `#[event(…)]` among `attributes`. What is wrong goes to `errors`, and the rest is read on.
    pub(crate) fn read(attributes: &[Attribute], errors: &mut Errors) -> Self {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("event")) {
            let list = attribute.parse_args_with(|input: ParseStream<'_>| {
                found.read_list(input, errors);
                Ok(())
            });
            errors.take(list);
        }
        found
    }

    fn read_list(&mut self, input: ParseStream<'_>, errors: &mut Errors) {
        while !input.is_empty() {
            let item = self.read_item(input);
            let ended = input.is_empty() || input.peek(Token![,]);
            if errors.take(item).is_some() && !ended {
                errors.push(input.error("expected a comma before the next option"));
            }
            while !input.is_empty() && !input.peek(Token![,]) {
                if input.parse::<TokenTree>().is_err() {
                    return;
                }
            }
            _ = input.parse::<Token![,]>();
        }
    }

    fn read_item(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let option = input.call(Ident::parse_any)?;
        let text = option.to_string();
        if !OPTIONS.contains(&text.as_str()) {
            let message = format!("`{text}` is no option of `event`; use {}", OPTIONS.join(", "));
            return Err(syn::Error::new(option.span(), message));
        }
        input.parse::<Token![=]>()?;
        match text.as_str() {
            "name" => once(&option, &mut self.name, read_name(input)?),
            "version" => once(&option, &mut self.version, read_version(input)?),
            "topic" => once(&option, &mut self.topic, read_topic(input)?),
            "key" => once(&option, &mut self.key, read_key(input)?),
            "codec" => once(&option, &mut self.codec, read_codec(input)?),
            "weight" => once(&option, &mut self.weight, read_weight(input)?),
            "upcast_from" => once(&option, &mut self.upcast_from, input.parse()?),
            _ => once(&option, &mut self.crate_path, input.call(Path::parse_mod_style)?),
        }
    }
}

fn once<T>(option: &Ident, slot: &mut Option<T>, value: T) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(syn::Error::new(option.span(), format!("`{option}` is given twice"))),
    }
}

fn read_name(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let text: LitStr = input.parse()?;
    match name::flaw(&text.value()) {
        None => Ok(text),
        Some(flaw) => Err(syn::Error::new(text.span(), flaw)),
    }
}

fn read_version(input: ParseStream<'_>) -> syn::Result<u16> {
    let number: LitInt = input.parse()?;
    match number.base10_parse() {
        Ok(version) if version > 0 => Ok(version),
        _ => Err(syn::Error::new(number.span(), "a schema version is a number from 1 to 65535")),
    }
}

fn read_topic(input: ParseStream<'_>) -> syn::Result<LitStr> {
    let text: LitStr = input.parse()?;
    match topic::flaw(&text.value()) {
        None => Ok(text),
        Some((position, reason)) => {
            let message = format!("this is no topic, at byte {position}: {reason}");
            Err(syn::Error::new(text.span(), message))
        }
    }
}

fn read_key(input: ParseStream<'_>) -> syn::Result<(Member, Span)> {
    if input.peek(LitStr) {
        let text: LitStr = input.parse()?;
        let wrong = || syn::Error::new(text.span(), "the key is no name of a field");
        let member = match text.value().parse::<u32>() {
            Ok(index) => Member::Unnamed(syn::Index { index, span: text.span() }),
            Err(_) => Member::Named(text.parse_with(Ident::parse_any).map_err(|_| wrong())?),
        };
        return Ok((member, text.span()));
    }
    if input.peek(LitInt) || input.peek(Ident::peek_any) {
        let member = if input.peek(LitInt) {
            Member::Unnamed(input.parse()?)
        } else {
            Member::Named(input.call(Ident::parse_any)?)
        };
        let span = member.span();
        return Ok((member, span));
    }
    Err(input.error("name a field: `key = order_id`, or its index in a tuple struct: `key = 0`"))
}

fn read_codec(input: ParseStream<'_>) -> syn::Result<Ident> {
    let text: LitStr = input.parse()?;
    match text.value().as_str() {
        "json" => Ok(Ident::new("Json", text.span())),
        "bincode" => Ok(Ident::new("Bincode", text.span())),
        other => {
            let message = format!("\"{other}\" is no codec of a derived type; use \"json\" or \"bincode\"");
            Err(syn::Error::new(text.span(), message))
        }
    }
}

fn read_weight(input: ParseStream<'_>) -> syn::Result<Path> {
    input.parse().map_err(|error| syn::Error::new(error.span(), "name a function: `weight = Image::bytes`"))
}

const OPTIONS: [&str; 8] = ["name", "version", "topic", "key", "codec", "weight", "upcast_from", "crate"];
