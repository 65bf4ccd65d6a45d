//! RECEIPTs that wait until their frame is done, while later frames are handled.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use stomp_codec::Version;
use stompd::engine::session::WaitingReplies;
use stompd::engine::size::OPEN_TRANSACTIONS;
use support::world::World;

/// A world in which a frame with a RECEIPT is done when the script says so.
fn slow() -> World {
    World::websocket().slow().connected(Version::V1_2)
}

fn slow_and_living_with_refusals() -> World {
    let mut world = World::websocket().slow();
    world.check(
        "> CONNECT|accept-version:1.2|heart-beat:0,0|x-refusals:true
         < CONNECTED|*",
    );
    world
}

const THREE_SENDS: &str = "> SEND|destination:/queue/a|receipt:1||one
     ! PUBLISH /queue/a one
     > SEND|destination:/queue/a|receipt:2||two
     ! PUBLISH /queue/a two
     > SEND|destination:/queue/a|receipt:3||three
     ! PUBLISH /queue/a three";

#[test]
fn later_frames_are_handled_and_their_receipts_wait() {
    let mut world = slow();
    world.check(THREE_SENDS);
    world.check(
        "> BEGIN|transaction:t|receipt:4
         > SUBSCRIBE|id:a|destination:/topic/b
         ! SUBSCRIBE 1 /topic/b
         > UNSUBSCRIBE|id:a|receipt:5
         ! UNSUBSCRIBE 1
         ~ done 2
         ~ done 4
         ~ done 1
         < RECEIPT|receipt-id:1
         < RECEIPT|receipt-id:2
         ~ done 3
         < RECEIPT|receipt-id:3
         < RECEIPT|receipt-id:4
         < RECEIPT|receipt-id:5",
    );
}

#[test]
fn a_subscribe_with_a_receipt_and_what_follows_wait_for_the_receipts_before() {
    let mut world = slow();
    world.check(
        "> SEND|destination:/queue/a|receipt:1||one
         ! PUBLISH /queue/a one
         > SUBSCRIBE|id:a|destination:/topic/b|receipt:2
         > SEND|destination:/topic/c||two",
    );
    assert!(!world.session.wants_input());
    world.check(
        "~ done 1
         < RECEIPT|receipt-id:1
         ! SUBSCRIBE 1 /topic/b
         < RECEIPT|receipt-id:2
         ! PUBLISH /topic/c two",
    );
}

#[test]
fn a_late_refusal_ends_the_connection_after_the_receipts_before_it() {
    let mut world = slow();
    world.check(THREE_SENDS);
    world.check("~ full 2");
    assert!(!world.session.wants_input());
    world.check(
        "~ done 3
         > SEND|destination:/queue/a||four
         ~ done 1
         < RECEIPT|receipt-id:1
         < ERROR|message:*|receipt-id:2|*
         ! CLOSE 1013 queue_full",
    );
}

#[test]
fn a_late_refusal_takes_the_place_of_its_receipt() {
    let mut world = slow_and_living_with_refusals();
    world.check(
        "> SEND|destination:/queue/a|receipt:1||one
         ! PUBLISH /queue/a one
         > SEND|destination:/queue/a||two
         ! PUBLISH /queue/a two
         > SEND|destination:/queue/a|receipt:3||three
         ! PUBLISH /queue/a three
         > COMMIT|transaction:none|receipt:4
         ~ full 3
         ~ full 2
         ~ done 1
         < RECEIPT|receipt-id:1
         < MESSAGE|destination:/stompd/refusals|subscription:/stompd/refusals|message-id:*|reason:queue_full|content-type:text/plain|*
         < MESSAGE|destination:/stompd/refusals|subscription:/stompd/refusals|message-id:*|reason:queue_full|receipt-id:3|*
         < ERROR|message:*|receipt-id:4|*
         ! CLOSE 1002 transaction_unknown",
    );
}

#[test]
fn the_receipt_of_disconnect_waits_for_those_before_it() {
    let mut world = slow();
    world.check(THREE_SENDS);
    world.check(
        "> DISCONNECT|receipt:4
         > SEND|destination:/queue/a||four
         @ 4s
         ~ done 3
         ~ done 1
         < RECEIPT|receipt-id:1
         ~ done 2
         < RECEIPT|receipt-id:2
         < RECEIPT|receipt-id:3
         < RECEIPT|receipt-id:4
         ! CLOSE 1000 disconnect",
    );
}

#[test]
fn an_end_that_waits_too_long_confirms_nothing_more() {
    for (end, last) in [
        ("DISCONNECT|receipt:4", "! CLOSE 1000 disconnect"),
        (
            "SEND|destination:/topic/*|receipt:4||x",
            "< ERROR|message:*|receipt-id:4|*\n! CLOSE 1002 wildcard",
        ),
    ] {
        let mut world = slow();
        world.check(THREE_SENDS);
        world.check(&format!(
            "> {end}
             ~ done 1
             < RECEIPT|receipt-id:1
             ~ done 3
             @ 4900ms
             @ 200ms
             {last}"
        ));
    }
}

#[test]
fn a_stop_and_a_slow_client_do_not_wait() {
    for (end, last) in [
        ("stop", "! CLOSE 1001 stopping"),
        (
            "overflow",
            "< ERROR|message:*|*\n! CLOSE 4007 slow_consumer, not waiting",
        ),
    ] {
        for leaving in ["", "> DISCONNECT|receipt:4"] {
            let mut world = slow();
            world.check(THREE_SENDS);
            world.check(&format!(
                "{leaving}
                 ~ {end}
                 {last}"
            ));
        }
    }
}

#[test]
fn heart_beats_do_not_wait() {
    let mut world = World::websocket()
        .slow()
        .connected_with(Version::V1_2, "0,1000");
    world.check(
        "> SEND|destination:/queue/a|receipt:1||one
         ! PUBLISH /queue/a one
         @ 1s
         ! EOL
         > DISCONNECT|receipt:2
         ~ unread
         @ 1s
         ! EOL
         ~ done 1
         < RECEIPT|receipt-id:1
         < RECEIPT|receipt-id:2
         ! CLOSE 1000 disconnect",
    );
}

proptest! {
    /// Frames whose RECEIPT waits, or not, done in any order.
    #[test]
    fn receipts_leave_in_the_order_of_their_frames(
        frames in vec(any::<bool>(), 1..OPEN_TRANSACTIONS),
        order in vec(any::<Index>(), 20),
    ) {
        let mut world = slow();
        let mut waits = Vec::new();
        for (number, slow) in frames.iter().enumerate() {
            let frame = if *slow {
                waits.push(number);
                format!("SEND|destination:/queue/a|receipt:{number}||x")
            } else {
                format!("BEGIN|transaction:{number}|receipt:{number}")
            };
            world.happens(&format!("bytes {frame}{}\0", if *slow { "" } else { "||" }));
        }
        let tickets = waits.clone();
        let mut sent = 0;
        for at in order.iter().map(Some).chain([None]) {
            let first = waits.iter().min().copied().unwrap_or(frames.len());
            let log = world.log().into_iter().map(|(_, line)| line);
            let receipts: Vec<_> = log.filter(|line| line.starts_with("< RECEIPT")).collect();
            let expected: Vec<_> = (sent..first)
                .map(|number| format!("< RECEIPT\nreceipt-id:{number}"))
                .collect();
            prop_assert_eq!(receipts, expected);
            sent = first;
            let waiting = world.session.waiting_replies();
            prop_assert_eq!(waiting.frames, frames.len() - first);
            prop_assert_eq!(waiting.bytes > 0, waiting.frames > 0);
            if let Some(at) = at.filter(|_| !waits.is_empty()) {
                let number = waits.remove(at.index(waits.len()));
                let place = tickets.iter().position(|ticket| *ticket == number).unwrap();
                world.happens(&format!("done {}", place + 1));
            }
        }
        prop_assert_eq!(world.session.waiting_replies(), WaitingReplies::default());
    }
}
