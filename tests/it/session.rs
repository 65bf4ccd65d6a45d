//! One client's session, written as a script on a virtual clock.

use std::time::{Duration, Instant};

use stomp_codec::{Command, Frame, Version};
use stompd::encoding::Framing;
use stompd::engine::heart_beat::OutboundState;
use stompd::engine::refusal::Refusal;
use stompd::engine::session::{Credentials, LoginVerdict};
use support::world::World;

const CONNECTED: &str =
    "CONNECTED|version:1.2|session:00000000000000c1|server:stompd/test|heart-beat:1000,10000";

const NO_COMMON_VERSION: &str =
    "< ERROR|message:no common version with \"*\"|version:1.0,1.1,1.2|content-type:text/plain||*
         ! CLOSE 1002 no_common_version";

/// A world connected with STOMP 1.2, without heart-beats.
fn ready() -> World {
    World::websocket().connected(Version::V1_2)
}

/// A client of STOMP 1.2 sends a frame and is refused.
#[track_caller]
fn refused(frame: &str, message: &str, end: &str) {
    ready().check(&format!(
        "> {frame}
         < ERROR|message:{message}|content-type:text/plain||*
         ! CLOSE {end}"
    ));
}

// --- Opening -----------------------------------------------------------------------------------

#[test]
fn the_highest_common_version_is_chosen() {
    let all = ["1.0", "1.1", "1.2", "0.9", "2.0"];
    for chosen in 0_u32..1 << all.len() {
        let mut offered: Vec<_> = (0..all.len())
            .filter(|at| chosen & 1 << at != 0)
            .map(|at| all[at])
            .collect();
        let best = all[..3].iter().rfind(|version| offered.contains(version));
        for separator in [",", ", ", " ,\t"] {
            let mut world = World::tcp();
            let answer = best.map_or_else(
                || NO_COMMON_VERSION.to_owned(),
                |best| format!("< CONNECTED|version:{best}|session:*"),
            );
            let offer = offered.join(separator);
            world.check(&format!("> CONNECT|accept-version:{offer}\n{answer}"));
            assert_eq!(world.session.wants_input(), best.is_some());
            offered.reverse();
        }
    }
}

#[test]
fn without_accept_version_it_is_1_0() {
    World::tcp().check(
        "> CONNECT|host:any
         < CONNECTED|version:1.0|session:00000000000000c1|server:stompd/test",
    );
}

#[test]
fn stomp_is_like_connect_and_not_unescaped_either() {
    for command in ["CONNECT", "STOMP"] {
        World::tcp().check(&format!(
            "> {command}|accept-version:1.2|host:any|login:a\\cb\\q
             < {CONNECTED}|user-name:a\\cb\\q"
        ));
    }
}

#[test]
fn any_host_or_none_is_accepted() {
    for host in ["|host:/", "|host:some.where", "|host:", ""] {
        World::websocket().check(&format!(
            "> CONNECT|accept-version:1.1,1.2{host}
             < {CONNECTED}"
        ));
    }
}

#[test]
fn a_receipt_on_connect_is_ignored() {
    World::tcp().check(&format!(
        "> CONNECT|accept-version:1.2|receipt:1
         < {CONNECTED}"
    ));
    World::tcp().check(&format!(
        "> CONNECT|accept-version:3|receipt:1
         {NO_COMMON_VERSION}"
    ));
    refused(
        "CONNECT|accept-version:1.2|receipt:1",
        "this session is connected already",
        "1002 second_connect",
    );
}

#[test]
fn a_second_connect_is_an_error() {
    for command in ["CONNECT", "STOMP"] {
        refused(
            &format!("{command}|accept-version:1.2"),
            "this session is connected already",
            "1002 second_connect",
        );
    }
}

#[test]
fn login_is_the_user_name_and_the_passcode_is_not_shown() {
    World::tcp().check(&format!(
        "> CONNECT|accept-version:1.2|login:bob|passcode:hush
         < {CONNECTED}|user-name:bob"
    ));
    World::tcp().check(&format!(
        "> CONNECT|accept-version:1.2|login:|passcode:hush
         < {CONNECTED}"
    ));
    let credentials = Credentials {
        login: Some("bob".into()),
        passcode: Some("hush".into()),
    };
    let shown = format!("{credentials:?} {credentials:#?}");
    assert!(shown.contains("bob") && !shown.contains("hush"), "{shown}");
}

#[test]
fn the_first_frame_must_be_connect() {
    for command in Command::ALL {
        let (message, label) = match command {
            Command::Connect | Command::Stomp => continue,
            _ if command.is_client() => (format!("{command} before CONNECT"), "connect_first"),
            _ => (
                format!("{command} is a frame that servers send"),
                "server_frame",
            ),
        };
        World::websocket().check(&format!(
            "> {command}|destination:/topic/a|id:1|receipt:7
             < ERROR|message:{message}|receipt-id:7|content-type:text/plain||*
             ! CLOSE 1002 {label}"
        ));
    }
}

#[test]
fn connect_must_be_complete_in_time() {
    let end = "< ERROR|message:no complete CONNECT frame within 10 s (is the final NUL missing?)|content-type:text/plain||*
               ! CLOSE 1008 connect_timeout";
    World::websocket().check(&format!("@ 9999ms\n@ 1ms\n{end}"));
    World::tcp().check(&format!(
        "@ 9s\n~ bytes CONNECT|accept-version:1.2||\n@ 1s\n{end}"
    ));
    // An unanswered login ends in the same way.
    World::tcp().slow_login().check(&format!(
        "> CONNECT|accept-version:1.2
         ! AUTHENTICATE *
         @ 9999ms
         @ 1ms
         {end}"
    ));
    World::websocket().check(&format!(
        "@ 9999ms
         > CONNECT|accept-version:1.2
         < {CONNECTED}
         @ 1s"
    ));
}

// --- Authenticating ----------------------------------------------------------------------------

#[test]
fn frames_after_connect_wait_for_the_verdict() {
    let connect_and_more = "~ bytes CONNECT|accept-version:1.2|login:bob|passcode:hush||\0SEND|destination:/topic/a||x\0
                            ! AUTHENTICATE Credentials { login: Some(\"bob\"), .. }
                            @ 5s";
    let mut world = World::tcp().slow_login();
    world.check(connect_and_more);
    assert!(!world.session.wants_input());
    world.check(&format!(
        "~ welcome bob
         < {CONNECTED}|user-name:bob
         ! PUBLISH /topic/a x"
    ));
    let mut world = World::tcp().slow_login();
    world.check(connect_and_more);
    world.check(
        "~ refused
         < ERROR|message:this session is connected already|content-type:text/plain||*
         ! CLOSE 1002 second_connect",
    );
}

#[test]
fn an_unexpected_verdict_changes_nothing() {
    World::tcp().check("~ welcome bob\n~ refused");
    ready().check("~ welcome bob\n~ refused");
}

// --- Ready -------------------------------------------------------------------------------------

#[test]
fn a_send_is_handed_over_before_its_receipt() {
    ready().check(
        "> SEND|destination:/topic/a||one
         ! PUBLISH /topic/a one
         > SEND|destination:/topic/a|receipt:r:\\c1||two
         ! PUBLISH /topic/a two
         < RECEIPT|receipt-id:r::1
         > SEND|destination:/exchange/amq.topic/a
         ! PUBLISH /topic/a
         > SEND|destination:/topic/a
         ! PUBLISH /topic/a",
    );
}

#[test]
fn subscriptions_are_numbered_and_their_ids_can_be_reused() {
    ready().check(
        "> SUBSCRIBE|id:a|destination:/topic/a|receipt:1
         ! SUBSCRIBE 1 /topic/a
         < RECEIPT|receipt-id:1
         > SUBSCRIBE|id:b|destination:/topic/a|ack:auto
         ! SUBSCRIBE 2 /topic/a
         > UNSUBSCRIBE|id:a|receipt:2
         ! UNSUBSCRIBE 1
         < RECEIPT|receipt-id:2
         > SUBSCRIBE|id:a|destination:/topic/#
         ! SUBSCRIBE 3 /topic/#
         > UNSUBSCRIBE|id:a
         ! UNSUBSCRIBE 3
         > UNSUBSCRIBE|id:b|destination:/topic/other
         ! UNSUBSCRIBE 2",
    );
}

#[test]
fn no_local_has_two_headers() {
    for (header, asked) in [
        ("no-local:true", " no-local"),
        ("activemq.noLocal:true", " no-local"),
        ("no-local:false", ""),
        ("x:true", ""),
    ] {
        ready().check(&format!(
            "> SUBSCRIBE|id:a|destination:/topic/a|{header}
             ! SUBSCRIBE 1 /topic/a{asked}"
        ));
    }
}

#[test]
fn an_id_in_use_is_refused() {
    let mut world = ready();
    world.check(
        "> SUBSCRIBE|id:a|destination:/topic/a
         ! SUBSCRIBE 1 /topic/a
         > SUBSCRIBE|id:a|destination:/topic/b|receipt:2
         < ERROR|message:subscription \"a\" exists already|receipt-id:2|content-type:text/plain||*
         ! CLOSE 1002 duplicate_subscription",
    );
}

#[test]
fn unsubscribing_an_unknown_id_is_no_error() {
    ready().check(
        "> UNSUBSCRIBE|id:none
         > UNSUBSCRIBE|id:none|receipt:1
         < RECEIPT|receipt-id:1",
    );
}

#[test]
fn a_refusal_contains_the_receipt_id() {
    for (frame, message, end) in [
        (
            "SEND|x:y",
            "SEND without the header \"destination\"",
            "1002 header_missing",
        ),
        (
            "SEND|Destination:/topic/a",
            "SEND without the header \"destination\"",
            "1002 header_missing",
        ),
        (
            "SUBSCRIBE|id:1",
            "SUBSCRIBE without the header \"destination\"",
            "1002 header_missing",
        ),
        (
            "SUBSCRIBE|destination:/topic/a",
            "SUBSCRIBE without the header \"id\"",
            "1002 header_missing",
        ),
        (
            "UNSUBSCRIBE|destination:/topic/a",
            "UNSUBSCRIBE without the header \"id\"",
            "1002 header_missing",
        ),
        (
            "SUBSCRIBE|id:1|destination:/topic/a|ack:Auto",
            "unknown ack mode \"Auto\"",
            "1002 ack_mode",
        ),
        (
            "SEND|destination:/topic/a|transaction:t",
            "transaction \"t\" is not open",
            "1002 transaction_unknown",
        ),
        (
            "SEND|destination:/topic/*",
            "SEND to the wildcard \"/topic/*\"",
            "1002 wildcard",
        ),
        (
            "SEND|destination:/topic/",
            "destination \"/topic/\" has no name",
            "1002 destination",
        ),
        (
            "SUBSCRIBE|id:1|destination:/queue/*",
            "SUBSCRIBE to the queues \"/queue/*\"",
            "1002 wildcard",
        ),
        (
            "SUBSCRIBE|id:1|destination:/amq/queue/a.#",
            "SUBSCRIBE to the queues \"/queue/a.#\"",
            "1002 wildcard",
        ),
        (
            "SEND|destination:/queue/>",
            "SEND to the wildcard \"/queue/>\"",
            "1002 wildcard",
        ),
        (
            "SUBSCRIBE|id:1|destination:/topic/a|selector:colour = 'red'",
            "a selector is not supported yet",
            "1002 not_supported",
        ),
        (
            "SUBSCRIBE|id:1|destination:/queue/a|browser:true",
            "browsing a queue is not supported yet",
            "1002 not_supported",
        ),
        (
            "SUBSCRIBE|id:1|destination:/temp-queue/a",
            "destination \"/temp-queue/a\" is not supported yet",
            "1002 reserved_destination",
        ),
        ("SEND|destination:/topic/a\\q", "*", "1002 undefined_escape"),
    ] {
        refused(frame, message, end);
        if message != "*" {
            refused(
                &format!("{frame}|receipt:r"),
                &format!("{message}|receipt-id:r"),
                end,
            );
        }
    }
}

#[test]
fn frames_of_servers_are_refused() {
    for command in Command::ALL {
        if !command.is_client() {
            refused(
                &format!("{command}|destination:/topic/a"),
                &format!("{command} is a frame that servers send"),
                "1002 server_frame",
            );
        }
    }
}

#[test]
fn the_number_of_subscriptions_is_limited() {
    let mut world = World::with(Framing::Tcp, |settings| settings.subscriptions.count = 2)
        .connected(Version::V1_2);
    world.check(
        "> SUBSCRIBE|id:a|destination:/topic/a
         ! SUBSCRIBE 1 /topic/a
         > SUBSCRIBE|id:b|destination:/topic/b
         ! SUBSCRIBE 2 /topic/b
         > UNSUBSCRIBE|id:a
         ! UNSUBSCRIBE 1
         > SUBSCRIBE|id:c|destination:/topic/c
         ! SUBSCRIBE 3 /topic/c
         > SUBSCRIBE|id:d|destination:/topic/d
         < ERROR|message:more than 2 subscriptions|content-type:text/plain||*
         ! CLOSE 1013 subscriptions",
    );
}

#[test]
fn frames_before_the_error_count_and_later_ones_do_not() {
    ready().check(
        "~ bytes SEND|destination:/topic/a||1\0|SEND||2\0SEND|destination:/topic/a||3\0
         ! PUBLISH /topic/a 1
         < ERROR|message:SEND without the header \"destination\"|*
         ! CLOSE 1002 header_missing",
    );
    ready().check(
        "~ bytes SEND|destination:/topic/a||1\0NONSENSE||\0SEND|destination:/topic/a||3\0
         ! PUBLISH /topic/a 1
         < ERROR|*
         ! CLOSE 1002 *",
    );
    ready().check(
        "~ bytes DISCONNECT||\0SEND|destination:/topic/a||3\0
         ! CLOSE 1000 disconnect",
    );
}

// --- STOMP 1.0 ---------------------------------------------------------------------------------

#[test]
fn in_1_0_there_are_pings_and_no_heart_beats() {
    for heart_beat in ["10000,10000", "nonsense"] {
        World::websocket()
            .answering_pings(Duration::from_millis(10))
            .check(&format!(
                "> CONNECT|accept-version:1.0|heart-beat:{heart_beat}
                 < CONNECTED|version:1.0|session:00000000000000c1|server:stompd/test
                 @ 24999ms
                 @ 1ms
                 ! PING
                 @ 25s
                 ! PING"
            ));
        World::tcp().check(&format!(
            "> CONNECT|heart-beat:{heart_beat}
             < CONNECTED|version:1.0|*
             @ 10000s"
        ));
    }
}

#[test]
fn in_1_0_there_is_no_nack() {
    World::tcp().connected(Version::V1_0).check(
        "> NACK|message-id:1|receipt:r
         < ERROR|message:NACK does not exist in STOMP 1.0|receipt-id:r|content-type:text/plain||*
         ! CLOSE 1002 nack_in_1_0",
    );
}

#[test]
fn in_1_0_a_destination_identifies_a_subscription_without_id() {
    let mut world = World::tcp().connected(Version::V1_0);
    world.check(
        "> SUBSCRIBE|destination:/topic/a
         ! SUBSCRIBE 1 /topic/a
         > SUBSCRIBE|id:/topic/a|destination:/topic/b
         ! SUBSCRIBE 2 /topic/b
         > UNSUBSCRIBE|destination:/topic/b|receipt:1
         < RECEIPT|receipt-id:1
         > UNSUBSCRIBE|destination:/topic/a|receipt:2
         ! UNSUBSCRIBE 1
         < RECEIPT|receipt-id:2
         > SUBSCRIBE|destination:/topic/a
         ! SUBSCRIBE 3 /topic/a
         > SUBSCRIBE|destination:/topic/a
         < ERROR|message:subscription \"/topic/a\" exists already|content-type:text/plain||*
         ! CLOSE 1002 duplicate_subscription",
    );
    World::tcp().connected(Version::V1_0).check(
        "> UNSUBSCRIBE|receipt:r
         < ERROR|message:UNSUBSCRIBE without the header \"id\"|receipt-id:r|content-type:text/plain||*
         ! CLOSE 1002 header_missing",
    );
}

// --- Acknowledgement ---------------------------------------------------------------------------

/// A world of this version with a subscription 1 in mode `client` and 2 in mode `auto`.
fn consuming(version: Version) -> World {
    let mut world = World::tcp().connected(version);
    world.check(
        "> SUBSCRIBE|id:a|destination:/queue/a|ack:client
         ! SUBSCRIBE 1 /queue/a Client
         > SUBSCRIBE|id:b|destination:/queue/b
         ! SUBSCRIBE 2 /queue/b",
    );
    world
}

#[test]
fn each_version_has_its_own_header_for_the_ack_id() {
    consuming(Version::V1_0).check(
        "> ACK|message-id:00000000000000c1-1-7|receipt:r
         ! ACK 1-7
         < RECEIPT|receipt-id:r",
    );
    consuming(Version::V1_1).check(
        "> ACK|subscription:a|message-id:00000000000000c1-1-7|receipt:r
         ! ACK 1-7
         < RECEIPT|receipt-id:r
         > NACK|subscription:a|message-id:00000000000000c1-1-8
         ! REQUEUE 1-8",
    );
    // The id alone identifies the subscription.
    consuming(Version::V1_1).check(
        "> ACK|message-id:00000000000000c1-1-7|receipt:r
         ! ACK 1-7
         < RECEIPT|receipt-id:r
         > NACK|message-id:00000000000000c1-1-8
         ! REQUEUE 1-8
         > ACK|message-id:undefined
         ! IGNORE",
    );
    consuming(Version::V1_2).check(
        "> ACK|id:00000000000000c1-1-7|receipt:r
         ! ACK 1-7
         < RECEIPT|receipt-id:r
         > NACK|id:00000000000000c1-1-8
         ! REQUEUE 1-8",
    );
}

#[test]
fn an_ack_without_the_header_of_its_version_is_refused() {
    for (version, frame, header) in [
        (Version::V1_0, "ACK|id:undefined", "message-id"),
        (
            Version::V1_1,
            "ACK|subscription:a|id:undefined",
            "message-id",
        ),
        (Version::V1_1, "NACK|id:undefined", "message-id"),
        (
            Version::V1_2,
            "ACK|message-id:undefined|subscription:a",
            "id",
        ),
        (Version::V1_2, "NACK|message-id:undefined", "id"),
    ] {
        let command = frame.split('|').next().unwrap();
        consuming(version).check(&format!(
            "> {frame}|receipt:r
             < ERROR|message:{command} without the header \"{header}\"|receipt-id:r|content-type:text/plain||*
             ! CLOSE 1002 header_missing"
        ));
    }
}

#[test]
fn ids_of_no_delivery_of_this_session_are_ignored() {
    let mut world = consuming(Version::V1_2);
    for id in [
        "undefined",
        // The message-id of a message in mode auto.
        "00000000000000c1-7",
        "ffffffffffffffff-18446744073709551615",
        // Other sessions, before and after this one.
        "00000000000000c2-1-1",
        "ffffffffffffffff-4294967295-18446744073709551615",
        // The id in a refusal.
        "00000000000000c1-0-1",
    ] {
        for command in ["ACK", "NACK"] {
            world.check(&format!(
                "> {command}|id:{id}
                 ! IGNORE
                 > {command}|id:{id}|receipt:r
                 ! IGNORE
                 < RECEIPT|receipt-id:r"
            ));
        }
    }
    // The queue, not the session, checks whether the number exists.
    world.check(
        "> ACK|id:00000000000000c1-2-1
         ! ACK 2-1
         > ACK|id:00000000000000c1-1-99999
         ! ACK 1-99999",
    );
}

#[test]
fn impossible_ack_ids_are_refused_with_the_receipt() {
    for id in [
        "",
        "1",
        "Undefined",
        "00000000000000c1",
        "00000000000000c1-1-",
        "00000000000000c1-1-x",
        "00000000000000c1-1-1-1",
        "00000000000000c1--1",
        "00000000000000c1-1- 1",
        "c1-1-1",
        "00000000000000c1-1-18446744073709551616",
    ] {
        for command in ["ACK", "NACK"] {
            consuming(Version::V1_2).check(&format!(
                "> {command}|id:{id}|receipt:r
                 < ERROR|message:\"{id}\" is not the id of a message|receipt-id:r|content-type:text/plain||*
                 ! CLOSE 1002 ack_malformed"
            ));
        }
    }
}

#[test]
fn a_subscription_that_never_existed_is_refused_and_an_ended_one_is_not() {
    for number in ["3", "4294967295"] {
        consuming(Version::V1_2).check(&format!(
            "> ACK|id:00000000000000c1-{number}-1|receipt:r
             < ERROR|message:00000000000000c1-{number}-1 was never delivered|receipt-id:r|content-type:text/plain||*
             ! CLOSE 1002 ack_unknown"
        ));
    }
    consuming(Version::V1_2).check(
        "> UNSUBSCRIBE|id:a
         ! UNSUBSCRIBE 1
         > ACK|id:00000000000000c1-1-1
         ! ACK 1-1",
    );
}

#[test]
fn a_nack_discards_only_with_requeue_false() {
    let mut world = consuming(Version::V1_2);
    for (header, verdict) in [
        ("", "REQUEUE"),
        ("|requeue:true", "REQUEUE"),
        ("|requeue:", "REQUEUE"),
        ("|Requeue:false", "REQUEUE"),
        ("|requeue:false", "DROP"),
        ("|requeue:False", "DROP"),
    ] {
        world.check(&format!(
            "> NACK|id:00000000000000c1-1-1{header}
             ! {verdict} 1-1"
        ));
    }
    // An ACK ignores it.
    world.check("> ACK|id:00000000000000c1-1-1|requeue:false\n! ACK 1-1");
}

#[test]
fn a_subscribe_may_have_a_prefetch() {
    for (headers, prefetch) in [
        ("", ""),
        ("|prefetch-count:0", ""),
        ("|activemq.prefetchSize:0", ""),
        ("|Prefetch-Count:7", ""),
        ("|prefetch-count:1", " prefetch 1"),
        ("|prefetch-count:007", " prefetch 7"),
        ("|activemq.prefetchSize:12", " prefetch 12"),
        ("|activemq.prefetchSize:12|prefetch-count:3", " prefetch 3"),
        ("|prefetch-count:65535", " prefetch 65535"),
        ("|prefetch-count:65536", " prefetch 65535"),
        ("|prefetch-count:18446744073709551616", " prefetch 65535"),
    ] {
        ready().check(&format!(
            "> SUBSCRIBE|id:a|destination:/queue/a|ack:client{headers}
             ! SUBSCRIBE 1 /queue/a Client{prefetch}
             > SUBSCRIBE|id:b|destination:/topic/#|ack:client-individual{headers}
             ! SUBSCRIBE 2 /topic/# Individual{prefetch}"
        ));
    }
}

#[test]
fn a_malformed_prefetch_is_refused_with_the_receipt() {
    for header in ["prefetch-count", "activemq.prefetchSize"] {
        for text in ["", "-1", "+1", "1.5", "1 ", "0x10", "many", "٣"] {
            ready().check(&format!(
                "> SUBSCRIBE|id:a|destination:/queue/a|{header}:{text}|receipt:r
                 < ERROR|message:malformed prefetch \"{text}\"|receipt-id:r|content-type:text/plain||*
                 ! CLOSE 1002 prefetch_malformed"
            ));
        }
    }
}

#[test]
fn the_names_of_a_queue_are_equivalent() {
    ready().check(
        "> SUBSCRIBE|id:a|destination:/amq/queue/a.b/c
         ! SUBSCRIBE 1 /queue/a.b/c
         > SEND|destination:/amq/queue/a.b/c||x
         ! PUBLISH /queue/a.b/c x",
    );
}

// --- Refusals of a SEND ------------------------------------------------------------------------

/// A client of STOMP 1.2 that accepts refusals.
fn living_with_refusals() -> World {
    let mut world = World::websocket();
    world.check(
        "> CONNECT|accept-version:1.2|x-refusals:true
         < CONNECTED|version:1.2|*",
    );
    world
}

#[test]
fn a_send_with_an_invalid_reply_to_is_refused() {
    for (reply_to, why) in [
        ("/topic/*", "SEND to the wildcard *"),
        ("/topic/a.#", "SEND to the wildcard *"),
        (
            "/temp-queue/x",
            "destination \"/temp-queue/x\" is not supported yet",
        ),
        (
            "/user/queue/x",
            "destination \"/user/queue/x\" is not supported yet",
        ),
        ("/queue/", "destination \"/queue/\" has no name"),
        ("", "destination \"\" has no name"),
        ("#", "pattern \"#\" begins with a wildcard"),
        (
            &format!("/topic/{}", "x".repeat(1020)),
            "destination of 1027 bytes*",
        ),
    ] {
        refused(
            &format!("SEND|destination:/topic/a|reply-to:{reply_to}||x"),
            &format!("reply-to cannot be sent to: {why}"),
            "1002 reply_to",
        );
    }
    for reply_to in ["/topic/a", "/queue/answers.1", "/amq/queue/a", "answers"] {
        ready().check(&format!(
            "> SEND|destination:/topic/a|reply-to:{reply_to}||x
             ! PUBLISH /topic/a x"
        ));
    }
}

#[test]
fn a_send_to_an_invalid_destination_is_a_refusal_like_any_other() {
    let mut world = living_with_refusals();
    for (headers, reason) in [
        ("destination:/topic/*", "wildcard"),
        ("destination:*.eu", "wildcard"),
        ("destination:/temp-queue/x", "reserved_destination"),
        ("destination:/queue/", "destination"),
        (
            &format!("destination:/topic/{}", "x".repeat(1020)),
            "destination",
        ),
        (
            &format!("destination:/topic{}", "/x".repeat(64)),
            "destination",
        ),
        ("destination:/topic/#.#.#.#.#", "destination"),
        ("destination:/topic/a|reply-to:/topic/*", "reply_to"),
    ] {
        world.check(&format!(
            "> SEND|{headers}|receipt:r||x
             < MESSAGE|destination:/stompd/refusals|subscription:/stompd/refusals|message-id:*|reason:{reason}|receipt-id:r|*
             > SEND|{headers}||x
             < MESSAGE|destination:/stompd/refusals|*|reason:{reason}|content-type:text/plain|*
             > SEND|destination:/topic/a|receipt:s||x
             ! PUBLISH /topic/a x
             < RECEIPT|receipt-id:s"
        ));
    }
    // Faults other than the destination still end the connection.
    for (frame, message, end) in [
        (
            "SEND||x",
            "SEND without the header *",
            "1002 header_missing",
        ),
        (
            "SEND|destination:/topic/*|transaction:none||x",
            "transaction \"none\" is not open",
            "1002 transaction_unknown",
        ),
        (
            "SUBSCRIBE|id:1|destination:/temp-queue/x",
            "*",
            "1002 reserved_destination",
        ),
    ] {
        living_with_refusals().check(&format!(
            "> {frame}
             < ERROR|message:{message}|content-type:text/plain||*
             ! CLOSE {end}"
        ));
    }
}

#[test]
fn a_transaction_without_a_refused_send_is_refused_and_aborted() {
    for bad in [
        "destination:/topic/*",
        "destination:/topic/a|reply-to:/topic/*",
    ] {
        living_with_refusals().check(&format!(
            "> BEGIN|transaction:t
             > BEGIN|transaction:u
             > SEND|destination:/topic/a|transaction:t||one
             > SEND|{bad}|transaction:t|receipt:1||two
             < MESSAGE|destination:/stompd/refusals|*|receipt-id:1|*
             > SEND|destination:/topic/a|transaction:t|receipt:2||three
             < RECEIPT|receipt-id:2
             > SEND|destination:/topic/a|transaction:u||four
             > COMMIT|transaction:t|receipt:3
             ! ABORT 1, /topic/a one, /topic/a three
             < MESSAGE|destination:/stompd/refusals|*|reason:transaction_broken|receipt-id:3|*
             > COMMIT|transaction:u
             ! COMMIT 2, /topic/a four
             > BEGIN|transaction:t
             > SEND|{bad}|transaction:t||five
             < MESSAGE|destination:/stompd/refusals|*
             > ABORT|transaction:t|receipt:4
             ! ABORT 3
             < RECEIPT|receipt-id:4
             > BEGIN|transaction:t
             > COMMIT|transaction:t
             ! COMMIT 4"
        ));
    }
}

// --- Transactions ------------------------------------------------------------------------------

#[test]
fn held_frames_are_applied_at_commit() {
    consuming(Version::V1_2).check(
        "> BEGIN|transaction:t|receipt:1
         < RECEIPT|receipt-id:1
         > SEND|destination:/topic/a|transaction:t|receipt:2||one
         < RECEIPT|receipt-id:2
         > SEND|destination:/queue/a|transaction:t||two
         > ACK|id:00000000000000c1-1-3|transaction:t|receipt:3
         ! ACK 1-3 in 1
         < RECEIPT|receipt-id:3
         > NACK|id:00000000000000c1-2-1|transaction:t
         ! REQUEUE 2-1 in 1
         > NACK|id:00000000000000c1-1-5|transaction:t|requeue:false
         ! DROP 1-5 in 1
         > COMMIT|transaction:t|receipt:4
         ! COMMIT 1, /topic/a one, /queue/a two, of 1, of 2
         < RECEIPT|receipt-id:4",
    );
}

#[test]
fn an_abort_releases_held_frames() {
    consuming(Version::V1_2).check(
        "> BEGIN|transaction:t
         > SEND|destination:/topic/a|transaction:t||one
         > ACK|id:00000000000000c1-1-3|transaction:t
         ! ACK 1-3 in 1
         > ABORT|transaction:t|receipt:1
         ! ABORT 1, /topic/a one, of 1
         < RECEIPT|receipt-id:1",
    );
}

#[test]
fn transactions_are_separate_and_their_ids_can_be_reused() {
    ready().check(
        "> BEGIN|transaction:a
         > BEGIN|transaction:b
         > SEND|destination:/topic/a|transaction:b||b
         > SEND|destination:/topic/a|transaction:a||a
         > SEND|destination:/topic/a||at once
         ! PUBLISH /topic/a at once
         > COMMIT|transaction:b
         ! COMMIT 2, /topic/a b
         > BEGIN|transaction:b
         > COMMIT|transaction:a
         ! COMMIT 1, /topic/a a
         > ABORT|transaction:b
         ! ABORT 3",
    );
}

#[test]
fn ignored_frames_are_not_held() {
    consuming(Version::V1_2).check(
        "> BEGIN|transaction:t
         > ACK|id:undefined|transaction:t|receipt:1
         ! IGNORE
         < RECEIPT|receipt-id:1
         > COMMIT|transaction:t
         ! COMMIT 1",
    );
}

#[test]
fn frames_of_a_transaction_that_is_not_open_are_refused() {
    for before in [
        "",
        "> BEGIN|transaction:u",
        "> BEGIN|transaction:T",
        "> BEGIN|transaction:t\n> COMMIT|transaction:t\n! COMMIT 1",
        "> BEGIN|transaction:t\n> ABORT|transaction:t\n! ABORT 1",
    ] {
        for frame in [
            "SEND|destination:/topic/a|transaction:t",
            "ACK|id:00000000000000c1-1-1|transaction:t",
            "ACK|id:undefined|transaction:t",
            "NACK|id:00000000000000c1-1-1|transaction:t",
            "COMMIT|transaction:t",
            "ABORT|transaction:t",
        ] {
            let mut world = consuming(Version::V1_2);
            world.check(before);
            world.check(&format!(
                "> {frame}|receipt:r
                 < ERROR|message:transaction \"t\" is not open|receipt-id:r|content-type:text/plain||*
                 ! CLOSE 1002 transaction_unknown"
            ));
        }
    }
}

#[test]
fn a_transaction_is_begun_once_and_has_a_name() {
    ready().check(
        "> BEGIN|transaction:t
         > BEGIN|transaction:t|receipt:r
         < ERROR|message:transaction \"t\" is open already|receipt-id:r|content-type:text/plain||*
         ! CLOSE 1002 transaction_open",
    );
    for command in ["BEGIN", "COMMIT", "ABORT"] {
        refused(
            &format!("{command}|receipt:r"),
            &format!("{command} without the header \"transaction\"|receipt-id:r"),
            "1002 header_missing",
        );
    }
    // A name may be empty.
    ready().check(
        "> BEGIN|transaction:
         > COMMIT|transaction:
         ! COMMIT 1",
    );
}

#[test]
fn a_17th_open_transaction_is_refused() {
    let mut world = ready();
    for number in 1..=16 {
        world.check(&format!("> BEGIN|transaction:{number}"));
    }
    world.check(
        "> COMMIT|transaction:3
         ! COMMIT 3
         > BEGIN|transaction:17
         > BEGIN|transaction:18|receipt:r
         < ERROR|message:more than 16 open transactions|receipt-id:r|content-type:text/plain||*
         ! CLOSE 1013 transactions",
    );
}

const TOO_MUCH: &str =
    "< ERROR|message:a transaction of more than 1024 frames, or transactions of more than 16777216 bytes|receipt-id:r|content-type:text/plain||*
     ! CLOSE 1013 transaction_too_big";

#[test]
fn a_1025th_frame_of_a_transaction_is_refused() {
    let frames = [
        "SEND|destination:/queue/a|transaction:t",
        "ACK|id:00000000000000c1-1-1|transaction:t",
        "NACK|id:00000000000000c1-1-2|transaction:t",
    ];
    for last in frames {
        let mut world = consuming(Version::V1_2);
        world.check("> BEGIN|transaction:t\n> BEGIN|transaction:other");
        for number in 0..1024 {
            let frame = frames[number % 3].replace('|', "\n");
            world.bytes(&support::script::wire(&frame));
        }
        assert!(world.session.wants_input());
        world.log();
        // Another transaction has its own limit.
        world.check("> SEND|destination:/queue/a|transaction:other");
        world.check(&format!("> {last}|receipt:r\n{TOO_MUCH}"));
    }
}

#[test]
fn all_transactions_together_hold_16_mib() {
    const MIB: usize = 1 << 20;
    const KIB: usize = 1 << 10;
    // Headers count too, so a small remainder is left for them.
    let send = |world: &mut World, transaction: &str, bytes: usize| {
        let body = "x".repeat(bytes);
        let frame =
            format!("SEND\ndestination:/queue/a\ntransaction:{transaction}\nreceipt:r\n\n{body}");
        world.bytes(&support::script::wire(&frame));
    };
    let full = || {
        let mut world = ready();
        world.check("> BEGIN|transaction:t\n> BEGIN|transaction:u");
        for transaction in ["t", "t", "u", "u"] {
            send(&mut world, transaction, 4 * MIB - KIB);
            world.check("< RECEIPT|receipt-id:r");
        }
        world
    };
    let mut world = full();
    send(&mut world, "u", 2 * KIB);
    world.check("< RECEIPT|receipt-id:r");
    send(&mut world, "t", 2 * KIB);
    world.check(TOO_MUCH);
    // Ended transactions make room.
    for (end, how) in [("COMMIT", "! COMMIT 1*"), ("ABORT", "! ABORT 1*")] {
        let mut world = full();
        world.check(&format!("> {end}|transaction:t\n{how}"));
        for _ in 0..2 {
            send(&mut world, "u", 4 * MIB - KIB);
            world.check("< RECEIPT|receipt-id:r");
        }
        send(&mut world, "u", 4 * KIB);
        world.check(TOO_MUCH);
    }
}

#[test]
fn the_end_of_a_session_ends_its_transactions_silently() {
    ready().check(
        "> BEGIN|transaction:t
         > SEND|destination:/topic/a|transaction:t||lost
         > DISCONNECT|receipt:bye
         < RECEIPT|receipt-id:bye
         ! CLOSE 1000 disconnect",
    );
}

// --- The end -----------------------------------------------------------------------------------

#[test]
fn disconnect_is_answered_before_the_end() {
    ready().check(
        "> DISCONNECT|receipt:bye
         < RECEIPT|receipt-id:bye
         ! CLOSE 1000 disconnect",
    );
    ready().check("> DISCONNECT\n! CLOSE 1000 disconnect");
}

#[test]
fn a_stop_sends_only_the_close_code() {
    for mut world in [World::websocket(), ready()] {
        world.check("~ stop\n! CLOSE 1001 stopping");
    }
}

#[test]
fn a_full_outbox_ends_the_session_without_waiting() {
    ready().check(
        "~ overflow
         < ERROR|message:slow consumer: the outbox of this client is full|content-type:text/plain||*
         ! CLOSE 4007 slow_consumer, not waiting",
    );
}

#[test]
fn nothing_happens_after_the_end() {
    for end in [
        "> DISCONNECT\n! CLOSE *",
        "> ACK|id:1\n< ERROR*\n! CLOSE *",
        "~ closed",
        "~ stop\n! CLOSE *",
    ] {
        let mut world = ready();
        world.check(end);
        let session = &mut world.session;
        let now = Instant::now() + Duration::from_secs(10_000);
        let outbound = OutboundState {
            last_data: now,
            last_write: now,
            open: true,
            blocked: true,
            replies_stuck: Some(now),
            ping_progress: None,
        };
        for command in Command::ALL {
            session.on_frame(Frame::new(command).with_header("destination", "/topic/a"));
        }
        session.on_verdict(LoginVerdict::Welcome { user: None }, now);
        session.on_timeout(now, &outbound);
        session.on_failure(&Refusal::SlowConsumer, None);
        session.on_stop();
        session.on_close();
        assert!(!session.wants_input());
        assert_eq!(session.next_timeout(&outbound), None);
        assert!(
            session.next_reply().is_none() && session.next_action().is_none(),
            "{end}"
        );
    }
}

// --- Heart-beats -------------------------------------------------------------------------------

#[test]
fn a_malformed_heart_beat_is_an_error() {
    for text in [
        "",
        "1",
        "a,b",
        "1,",
        "-1,0",
        "+1,0",
        "1, 0",
        "1,2,3",
        "4294967296,0",
    ] {
        World::tcp().check(&format!(
            "> CONNECT|accept-version:1.1|heart-beat:{text}
             < ERROR|message:malformed heart-beat \"{text}\"|content-type:text/plain||*
             ! CLOSE 1002 heart_beat_malformed"
        ));
    }
    World::tcp().check(&format!(
        "> CONNECT|accept-version:1.2|heart-beat:4294967295,4294967295
         < {CONNECTED}
         @ 4000000s"
    ));
}

#[test]
fn a_client_that_sends_heart_beats_faster_must_keep_its_interval() {
    // The client's header, the one of CONNECTED, when an EOL is due and when a Ping is.
    for (client, ours, eol, ping) in [
        ("1000,1000", "1000,1000", Some(1000), 1500),
        ("500,500", "1000,1000", Some(1000), 1500),
        ("4000,2500", "1000,4000", Some(2500), 6000),
        ("10000,10000", "1000,10000", Some(10_000), 15_000),
        ("20000,20000", "1000,10000", Some(20_000), 25_000),
        ("0,0", "1000,10000", None, 25_000),
    ] {
        let mut world = World::websocket();
        world.check(&format!(
            "> CONNECT|accept-version:1.2|heart-beat:{client}
             < CONNECTED|version:1.2|*|heart-beat:{ours}"
        ));
        world.pass(Duration::from_secs(26));
        let log = world.log();
        let first = |wanted: &str| {
            let found = log.iter().find(|(_, line)| line == wanted);
            found.map(|(at, _)| at.as_millis())
        };
        assert_eq!(first("! EOL"), eol, "{client}: {log:?}");
        assert_eq!(first("! PING"), Some(ping), "{client}: {log:?}");
    }
}

#[test]
fn our_own_heart_beats_follow_the_settings() {
    let mut world = World::with(Framing::Text, |settings| {
        settings.send = Duration::ZERO;
        settings.want = Duration::from_millis(1500);
        settings.ping = Duration::ZERO;
    });
    world.check(
        "> CONNECT|accept-version:1.2|heart-beat:1500,1000
         < CONNECTED|version:1.2|*|heart-beat:0,1500
         @ 2249ms
         @ 1ms
         ! PING
         @ 1499ms
         @ 1ms
         < ERROR|message:nothing was received for 3.8 s|*
         ! CLOSE 4000 heart_beat, not waiting",
    );
}

#[test]
fn a_throttled_tab_that_answers_pings_stays_connected() {
    let mut world = World::websocket()
        .answering_pings(Duration::from_millis(30))
        .connected_with(Version::V1_2, "10000,10000");
    // Browsers run the timers of a background tab once a minute.
    for _ in 0..9 {
        world.check("~ bytes |");
        world.pass(Duration::from_secs(60));
        world.log().iter().for_each(|(at, line)| {
            assert!(line == "! PING" || line == "! EOL", "{at:?}: {line}");
        });
    }
}

#[test]
fn a_frozen_page_whose_browser_answers_pings_stays_connected() {
    let mut world = World::websocket()
        .answering_pings(Duration::from_millis(30))
        .connected_with(Version::V1_2, "10000,0");
    world.pass(Duration::from_secs(500));
    let log = world.log();
    assert!(log.iter().all(|(_, line)| line == "! PING"), "{log:?}");
    assert!((30..=34).contains(&log.len()), "{log:?}");
}

#[test]
fn a_dead_client_is_cut_between_two_and_three_intervals() {
    World::websocket()
        .connected_with(Version::V1_2, "10000,10000")
        .check(
            "@ 9999ms
             @ 1ms
             ! EOL
             @ 4999ms
             @ 1ms
             ! PING
             @ 5s
             ! EOL
             @ 4999ms
             @ 1ms
             < ERROR|message:nothing was received for 25.0 s|content-type:text/plain||*
             ! CLOSE 4000 heart_beat, not waiting",
        );
    World::tcp().connected_with(Version::V1_1, "10000,0").check(
        "@ 24999ms
             @ 1ms
             < ERROR|message:nothing was received for 25.0 s|content-type:text/plain||*
             ! CLOSE 4000 heart_beat, not waiting",
    );
}

#[test]
fn without_a_heart_beat_interval_a_dead_browser_is_found_by_ping() {
    ready().check(
        "@ 25s
         ! PING
         @ 25s
         ! PING
         @ 12499ms
         @ 1ms
         < ERROR|message:nothing was received for 62.5 s|*
         ! CLOSE 4000 heart_beat, not waiting",
    );
    World::tcp().connected(Version::V1_2).check("@ 10000s");
}

#[test]
fn an_eol_is_sent_in_each_idle_interval_regardless_of_pings() {
    let mut world = World::with(Framing::Text, |settings| {
        settings.ping = Duration::from_secs(3);
    })
    .answering_pings(Duration::from_millis(10))
    .connected_with(Version::V1_2, "0,10000");
    world.pass(Duration::from_secs(99));
    let log = world.log();
    let beats: Vec<_> = log
        .iter()
        .filter(|(_, line)| line == "! EOL")
        .map(|(at, _)| at.as_secs())
        .collect();
    assert_eq!(beats, [10, 20, 30, 40, 50, 60, 70, 80, 90]);
    assert!(log.len() > 35, "{log:?}");
}

#[test]
fn data_puts_the_eol_off() {
    World::tcp().connected_with(Version::V1_2, "0,10000").check(
        "@ 9s
             > UNSUBSCRIBE|id:none|receipt:1
             < RECEIPT|receipt-id:1
             @ 9999ms
             @ 1ms
             ! EOL",
    );
}

#[test]
fn a_large_frame_on_a_slow_connection_keeps_its_sender_alive() {
    const BODY: usize = 4 << 20;
    const PART: usize = 64 << 10;
    let mut world = World::tcp().connected_with(Version::V1_2, "10000,0");
    world.bytes(format!("SEND\ndestination:/topic/a\ncontent-length:{BODY}\n\n").as_bytes());
    for _ in 0..BODY / PART {
        world.pass(Duration::from_secs(24));
        world.bytes(&vec![b'x'; PART]);
        world.check("");
    }
    world.bytes(b"\0");
    let log = world.log();
    assert!(log.len() == 1 && log[0].1.starts_with("! PUBLISH /topic/a xxx"));
}

#[test]
fn the_silence_timer_stops_while_a_client_is_not_read() {
    World::tcp().connected_with(Version::V1_2, "10000,0").check(
        "@ 20s
             ~ unread
             @ 1000s
             ~ read
             @ 24999ms
             @ 1ms
             < ERROR|message:nothing was received for 25.0 s|*
             ! CLOSE 4000 heart_beat, not waiting",
    );
}

#[test]
fn our_heart_beats_continue_while_a_client_is_not_read() {
    World::websocket()
        .connected_with(Version::V1_2, "10000,10000")
        .check(
            "~ unread
             @ 10s
             ! EOL
             @ 10s
             ! EOL
             @ 5s
             ! PING
             @ 5s
             ! EOL
             @ 20s
             ! EOL
             ! PING
             ! EOL",
        );
}

#[test]
fn a_ping_behind_progressing_output_delays_the_cut_by_at_most_stall() {
    let reply = format!(
        "> UNSUBSCRIBE|id:none|receipt:{0}\n< RECEIPT|receipt-id:{0}",
        "x".repeat(80)
    );
    let start = || {
        let mut world = World::with(Framing::Text, |settings| settings.ping = Duration::ZERO)
            .connected_with(Version::V1_2, "10000,0");
        world.check(&format!("~ takes nothing\n{reply}"));
        world
    };
    let end = "< ERROR|message:nothing was received for *\n! CLOSE 4000 heart_beat, not waiting";
    let mut stuck = start();
    stuck.check(&format!("@ 15s\n! PING\n@ 9999ms\n@ 1ms\n{end}"));

    let mut moving = start();
    for second in 1..=54 {
        let ping = if second == 15 { "! PING" } else { "" };
        moving.check(&format!("@ 1s\n{ping}\n~ takes 1"));
    }
    moving.check(&format!("@ 999ms\n@ 1ms\n{end}"));
}

#[test]
fn a_client_that_does_not_read_its_replies_is_cut() {
    let receipt = "> UNSUBSCRIBE|id:none|receipt:1\n< RECEIPT|receipt-id:1";
    let end = "< ERROR|message:slow consumer: nothing was read for 30 s while replies waited|*
               ! CLOSE 4007 stalled, not waiting";
    World::tcp().connected(Version::V1_2).check(&format!(
        "~ takes nothing
         {receipt}
         @ 29s
         {receipt}
         @ 999ms
         @ 1ms
         {end}"
    ));
    World::tcp().connected(Version::V1_2).check(&format!(
        "~ takes nothing
         {receipt}
         @ 20s
         ~ takes 1
         @ 29999ms
         @ 1ms
         {end}"
    ));
    World::tcp().connected(Version::V1_2).check(&format!(
        "~ takes nothing
         {receipt}
         @ 29s
         ~ takes all
         @ 1000s"
    ));
}
