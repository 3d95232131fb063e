//! Streams that are carried, and routes at brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use busway_engine::cutover::{Carrier, CutOver, CutOverMode, StreamLead};
use busway_engine::remote::{Members, RemoteBuilder};
use busway_engine::transport::Transport;
use busway_engine::{Bus, DurableBuilder, SubscribeBuilder};

use super::fit::not_registered;
use crate::model::{AtSection, CarrierMode, CarrierSection, DeadLetterKeeping, OtherMembers, Route};
use crate::problem::{Problem, escaped};
use crate::read::{Given, Named};

/// Streams that are carried, by name.
#[derive(Debug, Default)]
pub(super) struct Carriers {
    carried: BTreeMap<String, Carried>,
    /// Of these it is not known who leads: nobody may handle their events.
    unknown: BTreeSet<String>,
    /// Streams that are carried no more, and of which some events were led at a broker: those are nobody's here.
    guarded: BTreeMap<String, CutOver>,
}

/// A stream of which it is known who handles its events.
#[derive(Debug)]
pub(super) struct Carried {
    name: Given<String>,
    section: Arc<CarrierSection>,
    pub(super) cut: CutOver,
    pub(super) transport: Arc<dyn Transport>,
    /// `None` until it is begun, behind its subscriptions.
    carrier: Option<Carrier>,
}

impl Carriers {
    /// What was said of them.
    pub(super) fn said(&self) -> Vec<(Given<String>, Arc<CarrierSection>)> {
        self.carried.values().map(|carried| (carried.name.clone(), Arc::clone(&carried.section))).collect()
    }

    /// Streams of which something else is wanted than what is in force.
    pub(super) fn differing(&self, wanted: &Named<CarrierSection>) -> BTreeSet<String> {
        let idle = self.carried.iter().filter(|(_, carried)| carried.carrier.is_none());
        let mut differing = wanted.differing(&Named::of(self.said()));
        differing.extend(idle.map(|(name, _)| name.clone()));
        differing
    }

    /// A durable subscription as it has to be in its stream, when that is not carried: what was led at a broker is not handled here.
    pub(super) fn guarded(&self, bus: &Bus, route: &Route, builder: DurableBuilder) -> DurableBuilder {
        let stream = bus.stream_within(route.filter.value());
        match stream.and_then(|stream| self.guarded.get(&stream)) {
            Some(cut) => cut.local(builder),
            None => builder,
        }
    }

    /// No other durable subscriptions than these handle what is led here, from now on.
    pub(super) fn retain_local(&self, durables: &BTreeSet<String>) {
        let carried = self.carried.values().map(|carried| &carried.cut);
        carried.chain(self.guarded.values()).for_each(|cut| cut.retain_local(|name| durables.contains(name)));
    }

    /// The one that carries what a durable route wants.
    pub(super) fn of(&self, bus: &Bus, route: &Route) -> Result<Option<&Carried>, Problem> {
        let Some(stream) = bus.stream_within(route.filter.value()) else { return Ok(None) };
        match self.unknown.contains(&stream) {
            true => {
                let message = format!("stream \"{}\" is not cut over as it is wanted", escaped(&stream));
                Err(Problem::at(route.filter.place(), message))
            }
            false => Ok(self.carried.get(&stream)),
        }
    }

    /// Ends those that differ, and says who leads from now on. Their subscriptions have ended before.
    pub(super) async fn exchange(
        &mut self,
        differing: &BTreeSet<String>,
        wanted: &Named<CarrierSection>,
        bus: &Bus,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        for stream in differing {
            self.unknown.remove(stream);
            self.guarded.remove(stream);
            if let Some(carrier) = self.carried.remove(stream).and_then(|old| old.carrier) {
                carrier.stop().await;
            }
        }
        problems.extend(self.guard(wanted, bus).await);
        for (name, section) in wanted.shared().filter(|(name, _)| differing.contains(name.value())) {
            let Some(transport) = bus.named_transport(section.transport.value()) else {
                self.unknown.insert(name.value().clone());
                problems.push(no_transport(bus, &section.transport));
                continue;
            };
            match bus.cut_over(name.value(), section.mode()).await {
                Ok(cut) => {
                    let cut = match &section.patience {
                        Some(patience) => cut.patience(patience.duration()),
                        None => cut,
                    };
                    // Before routes of it begin there.
                    if let Err(error) = cut.prepare(&*transport).await {
                        problems.push(Problem::at(name.place(), escaped(&chain(&error))));
                    }
                    let (name, section) = (name.clone(), Arc::clone(section));
                    let carried = Carried { name, section, cut, transport, carrier: None };
                    self.carried.insert(carried.name.value().clone(), carried);
                }
                Err(error) => {
                    self.unknown.insert(name.value().clone());
                    problems.push(Problem::at(name.place(), escaped(&chain(&error))));
                }
            }
        }
        problems
    }

    /// Streams that are not carried any more, or were before a restart: what was led at a broker stays somebody else's.
    async fn guard(&mut self, wanted: &Named<CarrierSection>, bus: &Bus) -> Vec<Problem> {
        let mut problems = Vec::new();
        let streams: Vec<_> = bus.stream_names().filter(|stream| wanted.get(stream).is_none()).collect();
        for stream in streams {
            if self.guarded.contains_key(&stream) || self.carried.contains_key(&stream) {
                continue;
            }
            let opened = match bus.stream_lead(&stream) {
                Ok(StreamLead::HereAgain) => bus.cut_over(&stream, CutOverMode::Local).await,
                Ok(StreamLead::AlwaysHere | StreamLead::There) => continue,
                Err(error) => Err(error),
            };
            match opened {
                Ok(cut) => _ = self.guarded.insert(stream, cut),
                Err(error) => problems.push(Problem::without_place(escaped(&chain(&error)))),
            }
        }
        problems
    }

    /// Begins to carry those that do not yet: behind their subscriptions, which others wait for.
    pub(super) async fn begin(&mut self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for carried in self.carried.values_mut().filter(|carried| carried.carrier.is_none()) {
            match carried.cut.begin(&*carried.transport).await {
                Ok(carrier) => carried.carrier = Some(carrier),
                Err(error) => problems.push(Problem::at(carried.name.place(), escaped(&chain(&error)))),
            }
        }
        problems
    }
}

impl Named<CarrierSection> {
    /// Names of those that are not as they were, or not there any more.
    pub(super) fn differing(&self, before: &Self) -> BTreeSet<String> {
        let changed = self.iter().filter(|(name, section)| before.get(name.value()) != Some(*section));
        let gone = before.iter().filter(|(name, _)| self.get(name.value()).is_none());
        let names = changed.chain(gone).map(|(name, _)| name.value().clone());
        names.collect()
    }
}

impl CarrierSection {
    pub(super) fn mode(&self) -> CutOverMode {
        match self.mode.as_ref().map(Given::value) {
            None | Some(CarrierMode::Local) => CutOverMode::Local,
            Some(CarrierMode::Mirror) => CutOverMode::Mirror,
            Some(CarrierMode::Compare) => CutOverMode::Compare,
            Some(CarrierMode::Remote) => CutOverMode::Remote,
        }
    }
}

impl AtSection {
    /// What the subscription of a route is called there.
    pub(super) fn name_there<'a>(&'a self, route: &'a str) -> &'a str {
        self.subscription.as_ref().map_or(route, |name| name.as_str())
    }

    /// Its transport.
    pub(super) fn registered(&self, bus: &Bus) -> Result<Arc<dyn Transport>, Problem> {
        bus.named_transport(self.transport.value()).ok_or_else(|| no_transport(bus, &self.transport))
    }

    /// The subscription of a route at its transport.
    pub(super) fn builder<'a>(
        &self,
        (name, route): (&Given<String>, &Route),
        builder: SubscribeBuilder,
        transport: &'a dyn Transport,
    ) -> RemoteBuilder<'a> {
        let mut builder = builder.on(transport, self.stream.value(), self.name_there(name.value()));
        if let Some(member) = &self.member {
            builder = builder.member(member.value());
        }
        if let Some(start) = &route.start_at {
            builder = builder.start_at((*start.value()).into());
        }
        if let Some(wait) = &self.ack_wait {
            builder = builder.ack_wait(wait.duration());
        }
        if let Some(events) = &self.in_flight_max {
            builder = builder.in_flight_max(events.size());
        }
        if let Some(deliveries) = &self.deliveries_max {
            builder = builder.deliveries_max(deliveries.small());
        }
        if self.members.as_ref().map(Given::value) == Some(&OtherMembers::One) {
            builder = builder.members(Members::One);
        }
        match self.dead_letters.as_ref().map(Given::value) {
            Some(DeadLetterKeeping::Discard) => builder.discard(),
            _ => builder,
        }
    }
}

/// What keeps carriers and routes at brokers from being put in force.
pub(super) fn misfits(bus: &Bus, carriers: &Named<CarrierSection>, routes: &Named<Route>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, section) in carriers.iter() {
        if bus.named_transport(section.transport.value()).is_none() {
            problems.push(no_transport(bus, &section.transport));
        }
        if !bus.has_stream(name.value()) {
            let message = format!("the bus has no stream \"{}\"", escaped(name.value()));
            problems.push(Problem::at(name.place(), message).hint("declare it below streams"));
        }
    }
    for (_, route) in routes.iter() {
        let within = bus.stream_within(route.filter.value());
        if let Some(stream) = within.as_ref().filter(|stream| carriers.get(stream).is_none())
            && route.durable.is_some()
            && matches!(bus.stream_lead(stream), Ok(StreamLead::There))
        {
            let message =
                format!("stream \"{}\" is led at a broker, and nothing carries it", escaped(stream));
            let hint =
                "let its carrier have mode: local until what was led there is forwarded, then take it out";
            problems.push(Problem::at(route.filter.place(), message).hint(hint));
        }
        if let Some(at) = &route.at {
            problems.extend(at.registered(bus).err());
        }
        let is_split = route.durable.is_some() && within.is_none();
        let touched =
            carriers.iter().find(|(name, _)| bus.stream_overlaps(name.value(), route.filter.value()));
        if let (true, Some((stream, _))) = (is_split, touched) {
            let message = format!(
                "stream \"{}\" is carried, and this filter wants more than what that stream captures",
                escaped(stream.value())
            );
            let hint = "make two routes of it: one within the stream, one for the rest";
            problems.push(Problem::at(route.filter.place(), message).hint(hint));
        }
    }
    problems
}

fn no_transport(bus: &Bus, name: &Given<String>) -> Problem {
    not_registered(("transport", ".transport(name, transport)"), name, bus.transport_names())
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
