//! Handles to change middleware while the bus runs.

use busway_middleware::middleware::IntoStep;
use busway_middleware::publish::{PublishMiddleware, PublishStage};
use busway_middleware::{PublishRegistry, Registry, RegistryError, Stage, Step};

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
    /// [`RegistryError::NotFound`], also when the name is borne in another stage.
    pub fn replace<Form>(&self, name: &str, middleware: impl IntoStep<Form>) -> Result<(), RegistryError> {
        self.find(name)?;
        self.registry.replace(name, middleware.into_step())
    }

    /// Removes a middleware.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], also when the name is borne in another stage.
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        self.find(name)?;
        self.registry.remove(name)
    }

    /// Removes middleware of the stage and adds others behind those that stay, in one swap: a delivery passes what was there before, or all that is there
    /// then. Names in `gone` that nobody bears in the stage are left out.
    ///
    /// # Errors
    /// [`RegistryError::NameTaken`]; nothing has changed then.
    pub fn exchange(&self, gone: &[&str], new: Vec<(String, Step)>) -> Result<(), RegistryError> {
        self.registry.exchange(self.stage, gone, new)
    }

    /// A name is unique over all stages, so of those who change one at the same time one finds it gone.
    fn find(&self, name: &str) -> Result<(), RegistryError> {
        let nodes = self.registry.nodes();
        match nodes.iter().any(|node| node.name() == name && node.stage() == self.stage) {
            true => Ok(()),
            false => Err(RegistryError::NotFound { name: name.to_owned() }),
        }
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
    /// [`RegistryError::NotFound`], also when the name is borne in another stage.
    pub fn replace(&self, name: &str, middleware: impl PublishMiddleware) -> Result<(), RegistryError> {
        self.find(name)?;
        self.registry.replace(name, middleware)
    }

    /// Removes a middleware.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], also when the name is borne in another stage.
    pub fn remove(&self, name: &str) -> Result<(), RegistryError> {
        self.find(name)?;
        self.registry.remove(name)
    }

    fn find(&self, name: &str) -> Result<(), RegistryError> {
        let steps = self.registry.names();
        match steps.iter().any(|(stage, step)| **step == *name && *stage == self.stage) {
            true => Ok(()),
            false => Err(RegistryError::NotFound { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use busway_event::DraftHead;
    use busway_middleware::builtin::LogOutcome;
    use busway_middleware::publish::PublishRefused;

    use super::*;

    fn names(registry: &Registry) -> Vec<(Stage, String)> {
        registry.nodes().iter().map(|node| (node.stage(), node.name().to_owned())).collect()
    }

    #[test]
    fn a_handle_changes_the_middleware_of_its_own_stage_only() {
        let registry = Registry::new();
        let [decode, user] =
            [Stage::Decode, Stage::User].map(|stage| MiddlewareHandle::new(&registry, stage));
        decode.add("tenants", LogOutcome).unwrap();
        let not_found = Err(RegistryError::NotFound { name: "tenants".to_owned() });
        assert_eq!(user.remove("tenants"), not_found);
        assert_eq!(user.replace("tenants", LogOutcome), not_found);
        assert_eq!(names(&registry), [(Stage::Decode, "tenants".to_owned())]);
        decode.replace("tenants", LogOutcome).unwrap();
        decode.remove("tenants").unwrap();
        assert_eq!(names(&registry), []);
    }

    #[test]
    fn a_publish_handle_changes_the_steps_of_its_own_stage_only() {
        let registry = PublishRegistry::new();
        let [enrich, validate] = [PublishStage::Enrich, PublishStage::Validate]
            .map(|stage| PublishMiddlewareHandle::new(&registry, stage));
        let pass = |_: &mut DraftHead| Ok::<(), PublishRefused>(());
        enrich.add("tenant", pass).unwrap();
        let not_found = Err(RegistryError::NotFound { name: "tenant".to_owned() });
        assert_eq!(validate.remove("tenant"), not_found);
        assert_eq!(validate.replace("tenant", pass), not_found);
        assert_eq!(registry.names().len(), 1);
        enrich.replace("tenant", pass).unwrap();
        enrich.remove("tenant").unwrap();
        assert!(registry.is_empty());
    }
}
