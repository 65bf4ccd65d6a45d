"""Queues: each message goes to one consumer, and is kept until there is one."""

from queue import Queue

import pytest
import stomp

from broker import PATIENCE, Broker
from client import ACK_MODES, unique

MEBIBYTE = 1 << 20
ALL_MODES = pytest.mark.parametrize("ack", ["auto", *ACK_MODES])


@ALL_MODES
def test_messages_wait_for_their_consumer(connect, queue, version, ack):
    sender = connect()
    sender.send_all(queue, "12345")
    sender.disconnect()

    consumer = connect()
    consumer.subscribe(queue, id="1", ack=ack)
    got = consumer.messages(5)
    assert [message.body for message in got] == list("12345")
    assert len({message.headers["message-id"] for message in got}) == 5
    for message in got:
        assert message.headers["destination"] == queue
        assert message.headers["subscription"] == "1"
        assert "redelivered" not in message.headers
        assert ("ack" in message.headers) == (version == "1.2" and ack != "auto")


@ALL_MODES
def test_consumers_alternate(connect, queue, ack):
    consumers = [connect() for _ in range(3)]
    for consumer in consumers:
        consumer.subscribe(queue, id="1", ack=ack)
    connect().send_all(queue, "123456")
    assert [consumer.bodies(2) for consumer in consumers] == [["1", "4"], ["2", "5"], ["3", "6"]]
    assert not any(consumer.has_more() for consumer in consumers)


def test_two_subscriptions_of_one_client_alternate_as_well(connect, queue):
    client = connect()
    for id in "ab":
        client.subscribe(queue, id=id)
    client.send_all(queue, "123")
    got = [(message.headers["subscription"], message.body) for message in client.messages(3)]
    assert got == [("a", "1"), ("b", "2"), ("a", "3")]


def test_a_queue_and_a_topic_of_the_same_name_are_independent(connect):
    name = unique("")
    client = connect()
    client.subscribe(f"/queue/{name}", id="1")
    client.send(f"/topic/{name}", "to the topic")
    client.send(f"/amq/queue/{name}", "by RabbitMQ's name")
    message = client.message()
    assert message.body == "by RabbitMQ's name"
    assert message.headers["destination"] == f"/queue/{name}"


def test_after_unsubscribe_the_others_get_all_messages(connect, queue):
    client = connect()
    client.subscribe(queue, id="ended")
    client.subscribe(queue, id="kept")
    client.unsubscribe(id="ended")
    client.send_all(queue, "12")
    assert [message.headers["subscription"] for message in client.messages(2)] == ["kept", "kept"]
    assert not client.has_more()


BODIES = {
    "text of all kinds": "Žluťoučký kůň, 日本語, 👩‍👩‍👧 𝄞\r\n\nMESSAGE\n".encode(),
    "nothing": b"",
    "every byte": bytes(range(256)) * 2,
    "NULs": b"\0A\0\0",
    "a mebibyte": bytes(range(256)) * (MEBIBYTE // 256),
}


@pytest.mark.parametrize("what", BODIES)
def test_bytes_are_unchanged_also_when_redelivered(connect, queue, what):
    first, second = connect(auto_decode=False), connect(auto_decode=False)
    first.send(queue, BODIES[what])
    first.subscribe(queue, id="1", ack="client")
    assert first.message().body == BODIES[what]
    first.drop()
    second.subscribe(queue, id="1", ack="client")
    again = second.message()
    assert again.headers["redelivered"] == "true"
    assert again.body == BODIES[what]


def test_messages_of_one_version_reach_clients_of_another(connect, queue):
    sender = connect()
    for receiver in ("1.0", "1.1", "1.2"):
        sender.send(queue, f"for {receiver}", **{"x-words": "žluťoučký 🐎"})
        consumer = connect(version=receiver)
        consumer.subscribe(queue, id="1", ack="client", **{"prefetch-count": "1"})
        message = consumer.message()
        assert (message.body, message.headers["x-words"]) == (f"for {receiver}", "žluťoučký 🐎")
        assert "receipt" not in message.headers


def test_a_thousand_messages_keep_their_order(connect, queue):
    client = connect()
    sent = [str(n) for n in range(1000)]
    client.send_all(queue, sent)
    client.subscribe(queue, id="1")
    assert client.bodies(1000) == sent


class Worker(stomp.ConnectionListener):
    """Acknowledges each message as it arrives, in the reader thread, as most programs do."""

    def __init__(self, client, done):
        self._client = client
        self._done = done

    def on_message(self, message):
        self._client.connection.ack(**self._client.names(message))
        self._done.put(message.body)


def test_workers_that_acknowledge_each_message_finish_all(connect, queue, ack):
    sent = [str(n) for n in range(200)]
    done = Queue()
    workers = [connect() for _ in range(2)]
    for worker in workers:
        worker.connection.set_listener("worker", Worker(worker, done))
        worker.subscribe(queue, id="1", ack=ack, **{"prefetch-count": "1"})
    connect().send_all(queue, sent)
    assert sorted((done.get(timeout=PATIENCE) for _ in sent), key=int) == sent
    assert not any(worker.inbox.messages.empty() for worker in workers), "no worker was idle"
    for worker in workers:
        worker.disconnect()
    assert done.empty(), "each message once"


@pytest.mark.parametrize("end", [Broker.kill, Broker.stop], ids=["killed", "stopped"])
def test_a_worker_continues_after_a_restart(broker, connect, queue, end):
    worker = connect(reconnect_attempts_max=20, reconnect_sleep_max=0.5)
    worker.send(queue, "before")
    worker.subscribe(queue, id="1", ack="client")
    held = worker.message()
    end(broker)
    worker.ended()
    broker.up()
    worker.connect()
    worker.subscribe(queue, id="1", ack="client")
    worker.ack(held)  # of a past session, so it is ignored
    worker.send(queue, "after")
    assert worker.bodies(1) == ["after"]
    assert worker.inbox.errors.empty()
