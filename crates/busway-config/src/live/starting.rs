//! How a route begins: in memory, in the store, at a broker, or at both ends of a stream that is carried.

use busway_engine::remote::{RemoteBuilder, RemoteError, RemoteSubscription};
use busway_engine::{Bus, DurableBuilder, Timeout};
use busway_middleware::{AnyHandler, Ephemeral, Stage};

use super::leaving::Leaving;
use super::legacy::Legacy;
use super::routes::{Live, NEEDS_DURABLE, Running, Wanted, durable, failed, subscribe};
use super::transports::{Carried, Carriers, chain};
use crate::model::{DeadLetterKeeping, StartingAt};
use crate::problem::{Problem, escaped};
use crate::read::Given;

/// Begins a route. What the one before leaves behind of circuits and keys goes on; where it begins with what is new, that is what came since the one before was told to end.
pub(super) async fn begin(
    bus: &Bus,
    (carriers, leaving): (&Carriers, &Leaving),
    wanted: Wanted,
    legacy: Option<Legacy>,
) -> Result<Live, Problem> {
    let running = match &wanted.route.durable {
        Some(_) => {
            let mut builder = durable(bus, &wanted);
            if let Some(Legacy { heritage, ends, .. }) = &legacy {
                builder = builder.inherit(heritage);
                if !matches!(wanted.route.start_at.as_ref().map(Given::value), Some(StartingAt::Earliest)) {
                    builder = builder.start_behind(ends.clone());
                }
            }
            match carriers.of(bus, &wanted.route)? {
                Some(carried) => at_both(bus, (carried, leaving), builder, &wanted).await?,
                None => {
                    let builder = carriers.guarded(bus, &wanted.route, builder);
                    let begun = builder.to(wanted.handler.clone()).await;
                    Running::Durable(begun.map_err(|error| failed(&wanted, &error))?)
                }
            }
        }
        None => {
            let handler = for_memory(&wanted)?;
            let mut builder = subscribe(bus, &wanted);
            if let Some(legacy) = &legacy {
                builder = builder.inherit(&legacy.heritage);
            }
            match &wanted.route.at {
                Some(at) => {
                    let transport = at.registered(bus)?;
                    let builder = at.builder((&wanted.name, &wanted.route), builder, &*transport);
                    Running::Remote(begun(builder, handler, &wanted).await?)
                }
                None => {
                    let begun = builder.to(handler).await;
                    Running::Ephemeral(begun.map_err(|error| failed(&wanted, &error))?)
                }
            }
        }
    };
    Ok(wanted.live(running))
}

/// The two subscriptions of which one handles each event of a stream that is carried.
async fn at_both(
    bus: &Bus,
    (carried, leaving): (&Carried, &Leaving),
    builder: DurableBuilder,
    wanted: &Wanted,
) -> Result<Running, Problem> {
    let name = wanted.route.durable.as_ref().map_or("", |name| name.as_str());
    // Its name and that of the durable one may be the same.
    let mut named = subscribe(bus, wanted).name(format!("{name}@{}", carried.transport.kind()));
    if let Some(deadline) = &wanted.route.deadline {
        // In the store it is the subscription's; there it is a step, inside of those that the route has.
        named = named.middleware(Stage::Timeout, DEADLINE, Timeout::new(deadline.duration()));
    }
    let letters = wanted.route.dead_letters.as_ref().and_then(|letters| letters.policy.as_ref());
    let is_discarded = letters.is_some_and(|policy| *policy.value() == DeadLetterKeeping::Discard);
    let there = match carried.cut.remote(named, &*carried.transport, name) {
        Some(there) if is_discarded => Some((there.discard(), for_memory(wanted)?)),
        Some(there) => Some((there, for_memory(wanted)?)),
        None => None,
    };
    let here = carried.cut.local(builder).to(wanted.handler.clone()).await;
    // It ends when the other half does not begin, also because nobody waits for that any more.
    let here = leaving.half(name, here.map_err(|error| failed(wanted, &error))?);
    let there = match there {
        None => None,
        // Where the route begins in the log says nothing of the broker: there it begins with all that is led there.
        Some((builder, handler)) => Some(begun(builder, handler, wanted).await?),
    };
    let here = here.keep().ok_or_else(|| Problem::at(wanted.name.place(), "its subscription has ended"))?;
    Ok(Running::Carried(here, there))
}

async fn begun(
    builder: RemoteBuilder<'_>,
    handler: AnyHandler<Ephemeral>,
    wanted: &Wanted,
) -> Result<RemoteSubscription, Problem> {
    builder.to(handler).await.map_err(|error| match error {
        RemoteError::Subscription(error) => failed(wanted, &error),
        error => Problem::at(wanted.name.place(), escaped(&chain(&error))),
    })
}

/// The step that a route's deadline is at a broker.
const DEADLINE: &str = "deadline";

fn for_memory(wanted: &Wanted) -> Result<AnyHandler<Ephemeral>, Problem> {
    let handler = wanted.handler.for_ephemeral();
    handler.ok_or_else(|| Problem::at(wanted.route.handler.place(), NEEDS_DURABLE))
}
