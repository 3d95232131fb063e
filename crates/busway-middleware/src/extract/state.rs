//! Extractors of what the application or a middleware provides.

use std::any::type_name;
use std::ops::{Deref, DerefMut};

use super::{ExtractError, FromDelivery, FromScope, Requirements};
use crate::delivery::Delivery;
use crate::mode::Mode;
use crate::scope::Scope;

/// A clone of the value of type `S` that the bus was built with; share by `Arc` inside of it.
///
/// A state that nobody provided is an error of `.to(…)` that names the type.
#[derive(Debug, Clone, Copy)]
pub struct State<S>(pub S);

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S> DerefMut for State<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.0
    }
}

impl<M: Mode, S: Clone + Send + Sync + 'static> FromDelivery<M> for State<S> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        <Self as FromScope<M>>::from_scope(delivery.scope())
    }

    fn require(requirements: &mut Requirements) {
        requirements.state::<S>();
    }
}

impl<M: Mode, S: Clone + Send + Sync + 'static> FromScope<M> for State<S> {
    fn from_scope(scope: &Scope) -> Result<Self, ExtractError> {
        let state = scope.states().get::<S>().cloned();
        state.map(Self).ok_or(ExtractError::StateMissing { type_name: type_name::<S>() })
    }
}

/// A clone of the value of type `V` that a middleware left with [`Delivery::insert`]. A delivery without one fails.
#[derive(Debug, Clone, Copy)]
pub struct Extension<V>(pub V);

impl<V> Deref for Extension<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

impl<M: Mode, V: Clone + Send + Sync + 'static> FromDelivery<M> for Extension<V> {
    fn from_delivery(delivery: &Delivery) -> Result<Self, ExtractError> {
        let value = delivery.get::<V>().cloned();
        value.map(Self).ok_or(ExtractError::ExtensionMissing { type_name: type_name::<V>() })
    }
}
