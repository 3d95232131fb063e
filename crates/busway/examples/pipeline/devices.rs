//! Simulated devices: temperature and humidity, a radio that repeats itself, and a sensor that is broken now and then.

use std::time::Duration;

use busway::prelude::*;
use tokio::time::{Instant, interval};

/// What a device has measured.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, EventType)]
#[event(name = "reading", key = site)]
pub(crate) struct Reading {
    /// Of this reading; the same when the radio sends it again.
    pub(crate) number: String,
    pub(crate) site: String,
    pub(crate) metric: String,
    /// Nothing, when the sensor is broken.
    pub(crate) value: Option<f64>,
    /// Milliseconds since the devices were switched on.
    pub(crate) at: u64,
}

/// All devices of all sites.
pub(crate) struct Devices {
    sites: u32,
    of_each: u32,
    switched_on: Instant,
}

/// The name of a site.
pub(crate) fn site(number: u32) -> String {
    const NAMES: [&str; 4] = ["harbour", "mill", "orchard", "quarry"];
    match NAMES.get(number as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("site-{number}"),
    }
}

impl Devices {
    pub(crate) fn new(sites: u32, devices: u32) -> Self {
        Self { sites, of_each: devices, switched_on: Instant::now() }
    }

    /// Lets them measure ten times a second, and says how many readings there were.
    pub(crate) async fn run(&self, bus: &Bus, time: Duration) -> Result<u64, BoxError> {
        let mut clock = interval(BETWEEN_READINGS);
        let mut round = 0;
        while self.switched_on.elapsed() < time {
            clock.tick().await;
            for site in 0..self.sites {
                self.measure(bus, site, round).await?;
            }
            round += 1;
        }
        Ok(round * u64::from(self.sites) * u64::from(self.of_each) * METRICS.len() as u64)
    }

    /// All devices of a site, once: one wait for the disk.
    async fn measure(&self, bus: &Bus, site: u32, round: u64) -> Result<(), BoxError> {
        let mut sent = Vec::new();
        for device in 0..self.of_each {
            for metric in METRICS {
                let reading = self.reading(site, device, metric, round);
                // The radio has heard no answer.
                if (round + u64::from(device)).is_multiple_of(SENT_TWICE) {
                    sent.push(draft(device, &reading));
                }
                sent.push(draft(device, &reading));
            }
        }
        bus.publish_batch(sent).await?;
        Ok(())
    }

    fn reading(&self, number: u32, device: u32, metric: &str, round: u64) -> Reading {
        let site = site(number);
        let is_broken = device == 0 && (round + 1).is_multiple_of(BROKEN);
        // A day passes in ten seconds, and each site has an afternoon of its own.
        let hour = self.switched_on.elapsed().as_secs_f64() * 2.4 + f64::from(number) * 8.0;
        let sun = (hour / 24.0 * std::f64::consts::TAU).sin();
        let value = match metric {
            "temperature" => 21.0 + 8.0 * sun,
            _ => 55.0 - 20.0 * sun,
        } + f64::from(device) / 10.0;
        Reading {
            number: format!("{site}-{device}-{metric}-{round}"),
            site,
            metric: metric.to_owned(),
            value: (!is_broken).then_some(value),
            at: round * BETWEEN_MILLIS,
        }
    }
}

fn draft(device: u32, reading: &Reading) -> Draft<Reading> {
    let topic = format!("devices.{}.{device}.{}", reading.site, reading.metric);
    Event::new(topic, reading.clone()).meta("site", &reading.site)
}

const METRICS: [&str; 2] = ["temperature", "humidity"];
const BETWEEN_MILLIS: u64 = 100;
const BETWEEN_READINGS: Duration = Duration::from_millis(BETWEEN_MILLIS);
/// Each of so many readings comes twice.
const SENT_TWICE: u64 = 10;
/// So often the first device of a site measures nothing.
const BROKEN: u64 = 20;
