//! What librdkafka says, in the words of transports.

use busway_engine::transport::TransportError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// An error of a client, of which `address` was asked for `what`.
pub(crate) fn said(address: &str, what: &str, error: &KafkaError) -> TransportError {
    match error {
        // Its value may be a password: only the name of the setting is told.
        KafkaError::ClientConfig(_, _, name, _) => TransportError::Refused(format!(
            "librdkafka does not take the setting {name}: its value is none, or this build lacks what it needs (TLS and SCRAM need the feature `ssl`)"
        )),
        KafkaError::ClientCreation(reason) => {
            TransportError::Refused(format!("librdkafka makes no client of these settings: {reason}"))
        }
        // The producer is shut out, by another of its transactional id most likely: no event is to blame.
        KafkaError::Transaction(reason) if reason.is_fatal() => TransportError::Closed,
        KafkaError::Transaction(reason) => of_code(address, what, reason.code()),
        KafkaError::AdminOp(code) => of_code(address, what, *code),
        error => match error.rdkafka_error_code() {
            Some(code) => of_code(address, what, code),
            None => TransportError::Refused(format!("{what}: {error}")),
        },
    }
}

/// An error code of a client or of a broker.
pub(crate) fn of_code(address: &str, what: &str, code: Code) -> TransportError {
    let (address, reason) = (address.to_owned(), format!("{what}: {code}"));
    match code {
        code if is_denied(code) => TransportError::AccessDenied { address, reason },
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => TransportError::Gone {
            what: what.to_owned(),
            reason: format!(
                "{code}: somebody has removed the topic, or it was never there; prepare its stream"
            ),
        },
        code if is_unfit(code) => TransportError::Refused(reason),
        Code::UnsupportedFeature
        | Code::UnsupportedVersion
        | Code::NotImplemented
        | Code::InvalidArgument
        | Code::InvalidReplicationFactor
        | Code::InvalidPartitions
        | Code::InvalidConfig
        | Code::InvalidRequiredAcks
        | Code::InvalidRequest
        | Code::InvalidSessionTimeout
        | Code::InvalidGroupId
        | Code::OffsetMetadataTooLarge
        | Code::InvalidCommitOffsetSize => TransportError::Refused(reason),
        Code::InconsistentGroupProtocol => TransportError::Refused(format!(
            "{reason}; the group has members that share partitions by other rules than cooperative-sticky: they have to leave first"
        )),
        // What is wrong is this client, and nothing with what it was asked for: another client would be told otherwise.
        Code::Fenced | Code::Fatal | Code::ProducerFenced => TransportError::Closed,
        _ => TransportError::Unreachable { address, reason },
    }
}

/// What is said of what a producer was asked for whose end this is. Another one comes in its place, but where one of the same transactional id has shut it out: of two that shut each
/// other out neither would get anywhere. Where it was not let write, somebody can put that right.
pub(crate) fn of_fatal(
    address: &str,
    what: &str,
    code: Code,
    said: &str,
    is_transactional: bool,
) -> TransportError {
    let (address, reason) = (address.to_owned(), format!("{what}: {code}; {said}"));
    match code {
        code if is_denied(code) => TransportError::AccessDenied { address, reason },
        code if is_transactional && is_shut_out(code) => TransportError::Closed,
        _ => TransportError::Unreachable { address, reason },
    }
}

/// Whether another producer has the transactional id.
pub(crate) const fn is_shut_out(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// Whether a broker does not let this client do that, or does not know it.
pub(crate) const fn is_denied(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
    )
}

/// Whether a broker never takes a message like that.
const fn is_unfit(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::InvalidMessage
            | Code::InvalidTimestamp
            | Code::InvalidRecord
            | Code::MessageBatchTooLarge
            | Code::UnsupportedForMessageFormat
            | Code::InvalidTopic
            | Code::PolicyViolation
    )
}

/// Whether a message that failed so is certainly not in its topic and will not be. Of all others nobody can say.
pub(crate) const fn is_certain(code: Code) -> bool {
    is_denied(code)
        || is_unfit(code)
        || matches!(
            code,
            Code::InvalidRequiredAcks
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::UnknownTopicOrPartition
                | Code::QueueFull
        )
}

/// Whether librdkafka, left alone with it, comes out of it: brokers that go and come back, groups that change.
pub(crate) const fn passes_by_itself(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::Resolve
            | Code::SSL
            | Code::PartitionEOF
            | Code::OperationTimedOut
            | Code::MessageTimedOut
            | Code::WaitingForCoordinator
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::AssignmentLost
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::IllegalGeneration
            | Code::UnknownMemberId
            | Code::MemberIdRequired
            | Code::RebalanceInProgress
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
    )
}

pub(crate) fn unmappable(name: &str, reason: impl Into<String>) -> TransportError {
    TransportError::Unmappable { name: name.to_owned(), transport: KIND, reason: reason.into() }
}

/// A task of this crate's that did not come to its end: it panicked, or the runtime is going down.
pub(crate) fn ended(error: &tokio::task::JoinError) -> TransportError {
    match error.is_panic() {
        true => {
            TransportError::Refused("a task of busway-kafka has panicked: its message says where".to_owned())
        }
        false => TransportError::Closed,
    }
}

pub(crate) const KIND: &str = "kafka";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let of = |code| of_code("b:9092", "sending", code);
        assert!(of(Code::MessageTimedOut).is_transient() && of(Code::AllBrokersDown).is_transient());
        assert!(matches!(of(Code::TopicAuthorizationFailed), TransportError::AccessDenied { .. }));
        assert!(matches!(of(Code::UnknownTopicOrPartition), TransportError::Gone { .. }));
        assert!(matches!(of(Code::PolicyViolation), TransportError::Refused(_)));
        assert!(is_certain(Code::MessageSizeTooLarge) && !is_certain(Code::MessageTimedOut));
    }

    #[test]
    fn what_no_broker_ever_takes_is_neither_sent_again_nor_doubted() {
        for code in
            [Code::InvalidTimestamp, Code::InvalidRecord, Code::MessageBatchTooLarge, Code::InvalidTopic]
        {
            assert!(matches!(of_code("b:9092", "sending", code), TransportError::Refused(_)), "{code}");
            assert!(is_certain(code), "{code}");
        }
        for code in [Code::InvalidSessionTimeout, Code::InconsistentGroupProtocol, Code::InvalidGroupId] {
            assert!(matches!(of_code("b:9092", "joining", code), TransportError::Refused(_)), "{code}");
        }
    }

    #[test]
    fn a_client_that_is_shut_out_is_no_verdict_on_an_event() {
        for code in [Code::Fenced, Code::Fatal, Code::ProducerFenced] {
            assert_eq!(of_code("b:9092", "sending", code), TransportError::Closed, "{code}");
            assert!(!is_certain(code), "{code}");
        }
        let of = |code| of_fatal("b:9092", "sending", code, "said so", true);
        assert_eq!(of(Code::ProducerFenced), TransportError::Closed);
        assert!(matches!(of(Code::ClusterAuthorizationFailed), TransportError::AccessDenied { .. }));
        assert!(of(Code::OutOfOrderSequenceNumber).is_transient(), "another producer comes in its place");
    }
}
