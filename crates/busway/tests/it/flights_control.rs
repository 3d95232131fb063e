//! The control of the main job's proof: fed with what must not happen, its checks see it.

use std::sync::Arc;
use std::time::Duration;

use busway::prelude::*;

use crate::board::{self, Boards, Carriers};
use crate::flight::{Flight, Status};
use crate::output::{Figures, Notices};

/// The boards after these rows of one aircraft, published in this order.
async fn boards_after(rows: &[u64]) -> Arc<Boards> {
    let boards = Arc::new(Boards::default());
    let bus = Bus::memory().state(Arc::clone(&boards)).start().await.unwrap();
    let subscriptions = board::subscribe(&bus).await.unwrap();
    for row in rows {
        let flight = Flight {
            carrier: "ua".to_owned(),
            origin: "jfk".to_owned(),
            tail_number: "N1".to_owned(),
            status: Status::of_delay(20),
        };
        let (topic, priority) = (flight.topic(), flight.priority());
        let event = Event::new(topic, flight).key("N1").priority(priority).meta("row", row.to_string());
        bus.publish(event).await.unwrap();
    }
    assert!(bus.shutdown(Duration::from_secs(60)).await.is_drained());
    board::check_handled(&subscriptions).unwrap();
    boards
}

fn figures(boards: &Boards, dropped: u64) -> Figures {
    Figures::new(boards, dropped, 0, Duration::ZERO)
}

#[tokio::test]
async fn rows_in_their_order_are_sound() {
    let boards = boards_after(&[1, 2, 3]).await;
    assert_eq!(figures(&boards, 0).to_json()["out_of_order"], 0);
    assert_eq!(figures(&boards, 0).exit_code(), 0);
}

#[tokio::test]
async fn a_row_that_comes_too_late_or_twice_is_counted_and_fails_the_run() {
    for rows in [[2, 1], [1, 1]] {
        let figures = figures(&*boards_after(&rows).await, 0);
        assert_eq!(figures.to_json()["out_of_order"], 1, "{rows:?}");
        assert!(figures.to_string().contains("out of order 1,"), "{figures}");
        assert_eq!(figures.exit_code(), 1, "{rows:?}");
    }
}

#[tokio::test]
async fn a_dropped_event_fails_the_run() {
    let boards = boards_after(&[1]).await;
    assert_eq!(figures(&boards, 1).to_json()["dropped"], 1);
    assert_eq!(figures(&boards, 1).exit_code(), 1);
}

#[test]
fn boards_that_were_read_from_a_store_show_what_was_counted() {
    let boards = Boards::of(Carriers { events: 7, ..Carriers::default() }, [1, 2, 3, 4]);
    let figures = figures(&boards, 5);
    assert_eq!(figures.exit_code(), 1);
    let json = figures.to_json();
    let shown =
        ["events", "jfk_desk", "alerts", "out_of_order", "dropped"].map(|figure| json[figure].as_u64());
    assert_eq!(shown, [7, 2, 3, 4, 5].map(Some));
    assert!(figures.to_string().contains("delay board 1, JFK desk 2, alerts 3"), "{figures}");
}

#[tokio::test]
async fn a_notice_that_is_neither_delivered_nor_a_dead_letter_fails_the_run() {
    let boards = boards_after(&[1]).await;
    let notices = |unaccounted| {
        let (retried, dead_letters, breaker_opened, redelivered_ok) = (3, 2, 1, 3);
        Some(Notices { retried, dead_letters, breaker_opened, redelivered_ok, unaccounted })
    };
    let sound = figures(&boards, 0).with(notices(0));
    assert_eq!(sound.exit_code(), 0);
    assert_eq!((&sound.to_json()["retried"], &sound.to_json()["dead_letters"]), (&3.into(), &2.into()));
    assert_eq!(figures(&boards, 0).with(notices(1)).exit_code(), 1);
    assert!(
        figures(&boards, 0).to_json().get("retried").is_none(),
        "they are there when they were asked for"
    );
}
