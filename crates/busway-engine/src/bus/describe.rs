//! The bus as it is: settings in force, where each came from, who is subscribed, what surrounds whom.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use busway_middleware::publish::PublishStage;
use busway_middleware::{Chain, HandlerInfo, ModeKind, Run, Stage};

use super::{BusCore, Services};
use crate::durable::{DurableCore, Member as DurableMember};
use crate::log::Log;
use crate::settings::{Setting, is_for_durable, is_for_ephemeral};
use crate::stats::State;
use crate::subscription::{Entry, Member};

/// A bus at one moment. `Display` is a text for people.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Description {
    /// The producer of events that name none.
    pub producer: String,
    /// The largest encoded payload, in bytes.
    pub payload_bytes_max: usize,
    /// Publish middleware, outermost first.
    pub publish_middleware: Vec<(PublishStage, Arc<str>)>,
    /// Streams, in the order in which they were declared.
    pub streams: Vec<StreamDescription>,
    /// Subscriptions, in the order in which they subscribed, durable ones behind the others.
    pub subscriptions: Vec<SubscriptionDescription>,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamDescription {
    /// Its name.
    pub name: String,
    /// What its events survive when their publish returns, unless the event says otherwise; with the level that this came from.
    pub durability: Setting,
}

/// A subscription at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubscriptionDescription {
    /// Its name.
    pub name: Arc<str>,
    /// Its filter.
    pub filter: String,
    /// Its mode.
    pub mode: ModeKind,
    /// Its group, when it is one.
    pub group: Option<Arc<str>>,
    /// Where it is in its life.
    pub state: State,
    /// Its handlers: one, or one a member of the group.
    pub handlers: Vec<HandlerDescription>,
    /// Every setting in force, with the level that it came from.
    pub settings: Vec<Setting>,
}

/// A handler and what surrounds it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HandlerDescription {
    /// Its Rust path.
    pub name: &'static str,
    /// Where it runs.
    pub run: Run,
    /// Event names of the payloads that it takes.
    pub payloads: Vec<&'static str>,
    /// Of a durable subscription: how often it runs at once. Members of a group may differ.
    pub concurrency: Option<NonZeroU32>,
    /// Middleware, outermost first.
    pub chain: Vec<NodeDescription>,
}

/// A middleware in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeDescription {
    /// Its stage.
    pub stage: Stage,
    /// Its name.
    pub name: String,
}

impl Description {
    pub(crate) fn of(core: &BusCore) -> Self {
        Self {
            producer: core.metadata.producer().to_owned(),
            payload_bytes_max: core.payload_bytes_max,
            publish_middleware: core.publish_steps.names(),
            streams: core.log.iter().flat_map(|log| log.described()).collect(),
            subscriptions: core
                .entries()
                .iter()
                .map(|entry| SubscriptionDescription::of(entry, &core.services))
                .chain(core.durable.list().iter().map(|durable| SubscriptionDescription::of_durable(durable)))
                .collect(),
        }
    }

    /// The subscription of this name.
    #[must_use]
    pub fn subscription(&self, name: &str) -> Option<&SubscriptionDescription> {
        self.subscriptions.iter().find(|description| *description.name == *name)
    }
}

impl Log {
    fn described(&self) -> impl Iterator<Item = StreamDescription> {
        self.streams().map(|(stream, durability, origin)| StreamDescription {
            name: stream.name().to_owned(),
            durability: Setting { name: "durability", value: durability.to_string(), origin },
        })
    }
}

impl SubscriptionDescription {
    pub(crate) fn of(entry: &Entry, services: &Services) -> Self {
        let members = match entry.awake() {
            Some(core) => core.members.read().clone(),
            None => vec![Arc::clone(&entry.member)],
        };
        Self {
            name: entry.awake().map_or_else(|| entry.name(), |core| Arc::clone(&core.name)),
            filter: entry.filter.to_string(),
            mode: ModeKind::Ephemeral,
            group: entry.awake().and_then(|core| core.group.clone()),
            state: entry.state(),
            handlers: members.iter().map(|member| HandlerDescription::of(member, services)).collect(),
            settings: {
                let again = members.first().and_then(|member| member.again.as_ref());
                // The budget is told of beside the retries that it bounds.
                let is_told = |setting: &&Setting| is_for_ephemeral(setting, again.is_some());
                let described = entry.settings.described.iter().filter(is_told).cloned();
                let keeper = entry.member.keeper.iter().map(|keeper| keeper.described());
                described.chain(again.map(|again| again.described())).chain(keeper).collect()
            },
        }
    }
}

impl SubscriptionDescription {
    fn of_durable(core: &DurableCore) -> Self {
        let handler = |member: &Arc<DurableMember>| {
            let chain = Chain::merge([&core.services.middleware, &member.middleware]);
            let described = HandlerDescription::new(&member.handler.info(), &chain);
            HandlerDescription { concurrency: Some(member.concurrency), ..described }
        };
        Self {
            name: Arc::clone(&core.name),
            filter: core.filter.to_string(),
            mode: ModeKind::Durable,
            group: core.group.clone(),
            state: core.state(),
            handlers: core.members().iter().map(handler).collect(),
            settings: core
                .settings
                .described
                .iter()
                .filter(|setting| is_for_durable(setting))
                .cloned()
                .chain(core.described_ttl())
                .chain(core.described_deadline())
                .chain(core.described_at_most_once())
                .chain(core.guard.iter().map(|guard| guard.described()))
                .chain(core.keeper.iter().map(|keeper| keeper.described()))
                .collect(),
        }
    }
}

impl HandlerDescription {
    fn of(member: &Member, services: &Services) -> Self {
        Self::new(&member.handler.info(), &member.chain(&services.middleware))
    }

    fn new(info: &HandlerInfo, chain: &Chain) -> Self {
        let node = |node: &busway_middleware::Node| NodeDescription {
            stage: node.stage(),
            name: node.name().to_owned(),
        };
        Self {
            name: info.name,
            run: info.run,
            payloads: info.requirements.payloads().to_vec(),
            concurrency: None,
            chain: chain.nodes().iter().map(node).collect(),
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "producer {}, payloads up to {} bytes", self.producer, self.payload_bytes_max)?;
        for (stage, name) in &self.publish_middleware {
            writeln!(f, "publishing passes {name} ({stage:?})")?;
        }
        for StreamDescription { name, durability } in &self.streams {
            writeln!(f, "stream {name}: {durability}")?;
        }
        self.subscriptions.iter().try_for_each(|subscription| write!(f, "{subscription}"))
    }
}

impl fmt::Display for SubscriptionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({}, {})", self.name, self.filter, self.mode, self.state)?;
        if let Some(group) = &self.group {
            write!(f, ", group {group}")?;
        }
        writeln!(f)?;
        for handler in &self.handlers {
            match handler.concurrency {
                Some(at_once) => writeln!(f, "  {} ({}, {at_once} at once)", handler.name, handler.run)?,
                None => writeln!(f, "  {} ({})", handler.name, handler.run)?,
            }
            for node in &handler.chain {
                writeln!(f, "    behind {} ({})", node.name, node.stage)?;
            }
        }
        self.settings.iter().try_for_each(|setting| writeln!(f, "  {setting}"))
    }
}
