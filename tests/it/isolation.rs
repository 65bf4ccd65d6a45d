//! How far one client can affect others. `tests/adversary` measures it; these tests check what
//! needs no clock.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;
use stomp_codec::{Headers, Version};
use stompd::config::SlowConsumer;
use stompd::encoding::{EncodedRun, Framing, Kind, MessageIds, RunEncoder, Scratch};
use stompd::engine::SessionId;
use stompd::engine::destination::{Destination, Pattern};
use stompd::engine::message::Message;
use stompd::engine::queue;
use stompd::engine::refusal::Refusal;
use stompd::engine::subscription::{AckMode, Prefetch, Subscription};
use stompd::hub::{self, Hub, Pressure};
use stompd::metrics::Registry;
use stompd::outbox::{
    Flushed, Outbox, OutboxBounds, Policy, Press, RUN_OVERHEAD, Subscriber, Write,
};
use stompd::queues;
use support::broker::TestBroker;
use support::peer::Peer;
use support::script::wire;
use support::wire::MemoryWire;
use tokio::io::AsyncWriteExt;

const KIND: Kind = Kind {
    version: Version::V1_2,
    framing: Framing::Tcp,
};

fn policy() -> Policy {
    Policy {
        bounds: OutboxBounds {
            bytes: 1 << 20,
            messages: 1 << 16,
            per_run: RUN_OVERHEAD,
        },
        slow_consumer: SlowConsumer::Disconnect,
        patience: Duration::from_secs(1),
    }
}

fn hub(pattern_shapes: usize) -> Hub {
    let settings = hub::HubSettings {
        policy: policy(),
        pattern_shapes,
    };
    let queues = queues::QueueSettings {
        bounds: queue::Bounds {
            messages: 1000,
            bytes: 1 << 20,
        },
        queues: 1000,
        named: None,
    };
    Hub::new("m", settings, queues, &Registry::new())
}

fn message(destination: &str, body: impl Into<Bytes>) -> Message {
    Message {
        destination: Destination::parse(destination).unwrap(),
        headers: Headers::new(),
        body: body.into(),
    }
}

fn encoded(size: usize) -> Arc<EncodedRun> {
    let messages = [message("/topic/a", vec![b'x'; size])];
    let ids = MessageIds {
        prefix: "m",
        first: 1,
    };
    Arc::new(RunEncoder::new(&messages, ids, &mut Scratch::default()).encode(KIND, Some("s")))
}

/// A client of the hub with a subscription, and its socket.
fn subscribe(
    hub: &Hub,
    session: u64,
    id: &str,
    pattern: &str,
) -> (Arc<Subscriber>, Arc<MemoryWire>) {
    let wire = MemoryWire::open();
    let socket = Arc::<MemoryWire>::clone(&wire);
    let subscriber = Arc::new(Subscriber {
        session: SessionId(session),
        subscription: Subscription {
            number: 1,
            id: Some(id.into()),
            pattern: Pattern::parse(pattern).unwrap(),
            mode: AckMode::Auto,
            prefetch: Prefetch {
                messages: 1000,
                bytes: None,
            },
            no_local: false,
        },
        kind: KIND,
        outbox: Arc::new(Outbox::new(socket, policy(), Instant::now())),
        ended: AtomicBool::new(false),
        progress: Arc::default(),
    });
    let place = hub.take_place(&subscriber.subscription.pattern).unwrap();
    hub.subscribe(&subscriber, place, Instant::now());
    (subscriber, wire)
}

/// Runs to the end. Returns how often it yielded, and calls `each` each time.
fn turns<F: Future>(future: F, mut each: impl FnMut(usize)) -> usize {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut turns = 0;
    while future.as_mut().poll(&mut context).is_pending() {
        turns += 1;
        each(turns);
    }
    turns
}

// --- Yielding -----------------------------------------------------------------------------------

#[test]
fn a_publisher_yields_by_the_bytes_it_copies_and_writes() {
    let hub = hub(10);
    let _clients: Vec<_> = (1..=20)
        .map(|number| subscribe(&hub, number, &format!("s{number}"), "/topic/large"))
        .collect();
    let batch = [message("/topic/large", vec![b'x'; 4 << 20])];
    let mut pressure = Pressure::default();
    let publish = hub.publish(&batch, SessionId(0), &mut pressure, Instant::now());
    // Each of the twenty gets its own copy, which is written.
    assert!(turns(publish, |_| ()) >= 2);
}

#[test]
fn a_message_does_not_wait_for_a_later_one_with_a_large_audience() {
    let hub = hub(10);
    let (_small, wire) = subscribe(&hub, 1, "s", "/topic/small");
    let _crowd: Vec<_> = (2..=20_000)
        .map(|number| subscribe(&hub, number, "s", "/topic/large"))
        .collect();
    let batch = [message("/topic/small", "1"), message("/topic/large", "2")];
    let mut pressure = Pressure::default();
    let publish = hub.publish(&batch, SessionId(0), &mut pressure, Instant::now());
    let all = turns(publish, |_| {
        assert!(!wire.is_empty(), "it was written in the first turn");
    });
    assert!(all >= 1);
}

// --- Outboxes -----------------------------------------------------------------------------------

/// The client is in a long step: it has replies that it has not written yet.
#[test]
fn a_busy_client_is_not_cut_while_its_socket_takes_messages() {
    let now = Instant::now();
    let wire = MemoryWire::open();
    let outbox = Outbox::new(Arc::<MemoryWire>::clone(&wire), policy(), now);
    outbox.reply(Bytes::from_static(b"RECEIPT\n\n\0"), now);
    let (encoded, never) = (encoded(10_000), AtomicBool::new(false));
    for _ in 0..1000 {
        let pushed = outbox.push(&encoded, 1, &never, Write::Now, now);
        assert_eq!((pushed.accepted, pushed.dropped), (1, 0));
    }
    assert!(!outbox.has_notices());
    assert!(wire.len() > 9 << 20, "other tasks have written for it");
    assert_eq!(outbox.flush(now).unwrap(), Flushed::All);
}

#[test]
fn a_piece_counts_its_overhead() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let policy = Policy {
        patience: Duration::ZERO,
        ..policy()
    };
    let outbox = Outbox::new(wire, policy, now);
    let (encoded, never) = (encoded(0), AtomicBool::new(false));
    let mut taken = 0;
    while !outbox.has_notices() {
        taken += outbox.push(&encoded, 1, &never, Write::Now, now).accepted;
    }
    let size = encoded.bytes().len() + RUN_OVERHEAD;
    assert!((1_usize << 20).abs_diff(taken * size) < 2 * size, "{taken}");
}

#[test]
fn a_long_outbox_frees_its_memory() {
    let now = Instant::now();
    let wire = MemoryWire::taking(0);
    let outbox = Outbox::new(Arc::<MemoryWire>::clone(&wire), policy(), now);
    let (encoded, never) = (encoded(1), AtomicBool::new(false));
    for _ in 0..2000 {
        outbox.push(&encoded, 1, &never, Write::Now, now);
    }
    assert!(outbox.memory() > 100_000);
    wire.allow(usize::MAX);
    while outbox.flush(now).unwrap() == Flushed::Some {}
    assert!(outbox.memory() < 2048, "{}", outbox.memory());
}

// --- Back-pressure ------------------------------------------------------------------------------

/// Fills an outbox past its mark, and returns since when.
fn pressed(wire: &Arc<MemoryWire>) -> (Outbox, Instant) {
    let now = Instant::now();
    let outbox = Outbox::new(Arc::<MemoryWire>::clone(wire), policy(), now);
    let (encoded, never) = (encoded(10_000), AtomicBool::new(false));
    while !outbox.push(&encoded, 1, &never, Write::Now, now).pressed {}
    assert!((1_usize << 19).abs_diff(outbox.load().bytes) < 20_000);
    (outbox, now)
}

#[test]
fn publishers_wait_until_a_client_has_taken_enough() {
    let wire = MemoryWire::taking(0);
    let (outbox, now) = pressed(&wire);
    assert_eq!(outbox.press(now), Press::Holds);
    wire.allow(100_000);
    let _ = outbox.flush(now);
    assert_eq!(outbox.press(now), Press::Eased);
}

#[test]
fn publishers_wait_half_as_long_for_a_client_that_never_took_much() {
    let wire = MemoryWire::taking(0);
    let (outbox, start) = pressed(&wire);
    let mut now = start;
    while outbox.press(now) == Press::Holds {
        now += Duration::from_millis(50);
        wire.allow(10);
        let _ = outbox.flush(now);
    }
    assert_eq!(now - start, Duration::from_millis(500));
    // No publisher waits again before the client has taken more.
    assert_eq!(outbox.press(now + Duration::from_secs(10)), Press::GivenUp);
}

#[test]
fn the_wait_for_a_client_starts_when_it_stopped_reading() {
    let start = Instant::now();
    let late = start + Duration::from_secs(2);
    let outbox = Outbox::new(MemoryWire::taking(0), policy(), start);
    let (encoded, never) = (encoded(10_000), AtomicBool::new(false));
    for _ in 0..80 {
        assert!(!outbox.push(&encoded, 1, &never, Write::Now, late).pressed);
    }
    assert_eq!(outbox.press(late), Press::GivenUp);
}

/// How long publishers wait for a client that takes this much each 100 ms: at most 10 s.
fn waited_for(each: usize) -> Duration {
    let wire = MemoryWire::taking(0);
    let (outbox, start) = pressed(&wire);
    let (encoded, never) = (encoded(10_000), AtomicBool::new(false));
    let mut now = start;
    while outbox.press(now) == Press::Holds && now < start + Duration::from_secs(10) {
        now += Duration::from_millis(100);
        wire.allow(each);
        let _ = outbox.flush(now);
        outbox.push(&encoded, 1, &never, Write::Now, now);
    }
    now - start
}

#[test]
fn publishers_keep_waiting_for_a_client_that_takes_a_sixteenth_of_its_outbox_per_second() {
    assert_eq!(waited_for(10_000), Duration::from_secs(10));
    let slower = waited_for(4000);
    assert!(slower > Duration::from_secs(1) && slower < Duration::from_secs(4));
}

#[test]
fn publishers_do_not_wait_for_a_client_with_drop_oldest() {
    let now = Instant::now();
    let policy = Policy {
        slow_consumer: SlowConsumer::DropOldest,
        ..policy()
    };
    let outbox = Outbox::new(MemoryWire::taking(0), policy, now);
    let (encoded, never) = (encoded(10_000), AtomicBool::new(false));
    for _ in 0..200 {
        assert!(!outbox.push(&encoded, 1, &never, Write::Now, now).pressed);
    }
}

/// Reads more slowly than the publisher writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_reaches_a_client_that_keeps_reading() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 512 * 1024;
        config.limits.body = 64 * 1024;
        config.queue.prefetch_bytes = 512 * 1024;
    })
    .await;
    let mut reader = broker.connected_ws().await;
    SockRef::from(&reader.stream)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    reader.subscribe("s", "/topic/burst").await;
    let mut publisher = broker.connected_tcp().await;
    let body = "x".repeat(1000);
    let writer = tokio::spawn(async move {
        let frame = wire(&format!("SEND\ndestination:/topic/burst\n\n{body}"));
        publisher.raw(&frame.repeat(20_000)).await;
        publisher.sync().await;
    });
    for number in 0..20_000 {
        if number % 2000 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        reader.expect("MESSAGE\nsubscription:s\n*").await;
    }
    writer.await.unwrap();
    reader.sync().await;
    assert_eq!(broker.refusals("slow_consumer").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_that_was_cut_and_keeps_reading_gets_the_reason() {
    let broker = TestBroker::with(|config| {
        config.limits.outbox_bytes = 256 * 1024;
        config.limits.body = 64 * 1024;
        config.limits.patience = Duration::ZERO;
    })
    .await;
    for websocket in [true, false] {
        let mut slow = if websocket {
            broker.connected_ws().await
        } else {
            broker.connected_tcp().await
        };
        slow.subscribe("s", "/topic/flood").await;
        let before = broker.refusals("slow_consumer").await;
        let mut publisher = broker.connected_tcp().await;
        let frame = wire(&format!(
            "SEND\ndestination:/topic/flood\n\n{}",
            "x".repeat(16 * 1024)
        ));
        while broker.refusals("slow_consumer").await == before {
            publisher.raw(&frame.repeat(100)).await;
            publisher.sync().await;
        }
        // The frames written before, the rest of a partly written frame, then the reason.
        let error = loop {
            let frame = slow.frame().await;
            if !frame.starts_with("MESSAGE") {
                break frame;
            }
        };
        assert!(error.starts_with("ERROR\nmessage:slow consumer"), "{error}");
        slow.expect_close(4007).await;
    }
}

// --- Patterns -----------------------------------------------------------------------------------

#[test]
fn wildcard_arrangements_of_all_clients_are_limited() {
    let hub = hub(2);
    let (one, _) = subscribe(&hub, 1, "s", "/topic/*.a");
    let (two, _) = subscribe(&hub, 2, "s", "/topic/*.b");
    subscribe(&hub, 3, "s", "/topic/#");
    let third = Pattern::parse("/topic/*/a").unwrap();
    let refused = Refusal::ShapesUsedUp { limit: 2 };
    assert_eq!(hub.take_place(&third).err(), Some(refused.clone()));
    hub.unsubscribe(&one, None, Instant::now());
    assert_eq!(hub.take_place(&third).err(), Some(refused));
    hub.unsubscribe(&two, None, Instant::now());
    assert!(hub.take_place(&third).is_ok());
}

#[tokio::test]
async fn a_pattern_beyond_the_limits_is_refused_without_a_receipt() {
    let broker = TestBroker::with(|config| {
        config.limits.pattern_shapes = 2;
        config.limits.connection_pattern_shapes = 1;
    })
    .await;
    let mut client = broker.connected_tcp().await;
    client.subscribe("1", "/topic/*.a").await;
    client.subscribe("2", "/topic/*.b").await;
    client
        .send("SUBSCRIBE\nid:3\nreceipt:r\ndestination:/topic/#")
        .await;
    client
        .expect("ERROR\nmessage:subscriptions with more than 1 pattern shapes\nreceipt-id:r\n*")
        .await;
    client.expect_close(1013).await;
    let mut others = Vec::new();
    for (pattern, shapes) in [("/topic/#", 1), ("/topic/*/a", 2)] {
        let mut other = broker.connected_tcp().await;
        other.subscribe("1", pattern).await;
        broker.expect_metric("stompd_pattern_shapes", shapes).await;
        others.push(other);
    }
    let mut late = broker.connected_tcp().await;
    late.send("SUBSCRIBE\nid:1\nreceipt:r\ndestination:/topic/a.*")
        .await;
    late.expect("ERROR\nmessage:the subscriptions of all clients have 2 *\nreceipt-id:r\n*")
        .await;
    late.expect_close(1013).await;
    assert_eq!(broker.refusals("pattern_shapes").await, 2);
    drop(others);
    broker.wait_for("stompd_patterns", 0.0).await;
    broker.wait_for("stompd_subscription_bytes", 0.0).await;
}

// --- Subscriptions ------------------------------------------------------------------------------

#[tokio::test]
async fn the_memory_of_a_connections_subscriptions_is_limited() {
    let broker = TestBroker::with(|config| config.limits.subscription_bytes = 100_000).await;
    let mut client = broker.connected_tcp().await;
    let long = "i".repeat(10_000);
    for number in 0..9 {
        client
            .subscribe(&format!("{number}{long}"), "/topic/a")
            .await;
    }
    // Ended subscriptions make room.
    client.send(&format!("UNSUBSCRIBE\nid:0{long}")).await;
    client.subscribe(&format!("9{long}"), "/topic/a").await;
    client
        .send(&format!("SUBSCRIBE\nid:10{long}\ndestination:/topic/a"))
        .await;
    client
        .expect("ERROR\nmessage:subscriptions of more than 100000 bytes\n*")
        .await;
    client.expect_close(1013).await;
    assert_eq!(broker.refusals("subscription_bytes").await, 1);
}

// --- Dead clients -------------------------------------------------------------------------------

/// Its output is blocked for longer than its heart-beat interval, and a write finds the end of its
/// socket: the broker runs in this thread, so it sees the last byte and the end at once.
#[tokio::test]
async fn a_client_with_a_broken_socket_gets_no_heart_beats_and_ends() {
    let broker = TestBroker::with(|config| {
        config.heart_beat.send = Duration::from_millis(100);
        config.limits.patience = Duration::ZERO;
    })
    .await;
    let mut client = broker.tcp().await;
    client
        .send("CONNECT\naccept-version:1.2\nheart-beat:0,100")
        .await;
    client.expect("CONNECTED\n*").await;
    client.subscribe("s", "/topic/flood").await;
    let mut publisher = broker.connected_tcp().await;
    let frame = wire(&format!(
        "SEND\ndestination:/topic/flood\n\n{}",
        "x".repeat(60_000)
    ));
    publisher.raw(&frame.repeat(120)).await;
    publisher.sync().await;
    assert!(broker.metric("stompd_outboxes_waiting").await > 0.5);
    tokio::time::sleep(Duration::from_millis(250)).await;
    let beats = broker.metric("stompd_heart_beats_sent_total").await;
    client.stream.write_all(b"\n").await.unwrap();
    drop::<Peer>(client);
    // The broker cannot be asked, as it does not answer while it spins.
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker
        .wait_for("stompd_connections{transport=\"tcp\"}", 1.0)
        .await;
    assert!(broker.metric("stompd_heart_beats_sent_total").await - beats < 5.0);
}
