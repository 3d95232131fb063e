//! Handles to change middleware while the bus runs.

use busway_middleware::middleware::IntoStep;
use busway_middleware::publish::{PublishMiddleware, PublishStage};
use busway_middleware::{PublishRegistry, Registry, RegistryError, Stage};

/// The middleware of a bus or subscription in one stage. Each change is one atomic swap: deliveries that have started keep
/// the chain that they started with.
#[derive(Debug)]
pub struct MiddlewareHandle<'a> {
    registry: &'a Registry,
    stage: Stage,
}

impl<'a> MiddlewareHandle<'a> {
    pub(crate) const fn new(registry: &'a Registry, stage: Stage) -> Self {
        Self { registry, stage }
    }

    /// Adds a middleware behind those of the stage.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`].
    pub fn add<Form>(&self, name: &str, middleware: impl IntoStep<Form>) -> Result<(), RegistryError> {
        self.registry.add(self.stage, name, middleware.into_step())
    }

    /// Puts another middleware in the place of one that is there; it keeps its stage and place.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn replace<Form>(&self, name: &str, middleware: impl IntoStep<Form>) -> Result<(), RegistryError> {
        self.registry.replace(name, middleware.into_step())
    }

    /// Removes a middleware.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        self.registry.remove(name)
    }
}

/// The middleware around publishing in one stage.
#[derive(Debug)]
pub struct PublishMiddlewareHandle<'a> {
    registry: &'a PublishRegistry,
    stage: PublishStage,
}

impl<'a> PublishMiddlewareHandle<'a> {
    pub(crate) const fn new(registry: &'a PublishRegistry, stage: PublishStage) -> Self {
        Self { registry, stage }
    }

    /// Adds a middleware behind those of the stage.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`].
    pub fn add(&self, name: &str, middleware: impl PublishMiddleware) -> Result<(), RegistryError> {
        self.registry.add(self.stage, name, middleware)
    }

    /// Puts another middleware in the place of one that is there; it keeps its stage and place.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn replace(&self, name: &str, middleware: impl PublishMiddleware) -> Result<(), RegistryError> {
        self.registry.replace(name, middleware)
    }

    /// Removes a middleware.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        self.registry.remove(name)
    }
}
