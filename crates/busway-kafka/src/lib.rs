//! Kafka as a transport of the busway event bus.
mod builder;
mod client;
mod desk;
mod fault;
mod founding;
mod gap;
mod link;
mod mark;
mod member;
mod message;
mod names;
mod part;
mod prepare;
mod produce;
mod receiver;
mod sender;
mod settle;
mod transaction;
mod transport;

pub use self::builder::KafkaBuilder;
pub use self::transport::KafkaTransport;
