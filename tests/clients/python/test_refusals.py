"""A full queue: an ERROR, unless the publisher accepts refusals."""

import pytest

from broker import Broker
from client import unique

LENGTH = 3
FULL = ["0", "1", "2"]


@pytest.fixture(scope="module")
def broker():
    broker = Broker({"STOMPD__QUEUE__MAX_LENGTH": str(LENGTH)})
    yield broker
    broker.stop()


@pytest.fixture
def resilient(connect):
    """A publisher that accepts refusals; stomp.py passes them to `on_message`."""
    return connect(headers={"x-refusals": "true"})


def test_a_send_to_a_full_queue_is_an_error_and_ends_the_connection(connect, left, queue):
    publisher = connect()
    publisher.send_all(queue, FULL)
    publisher.connection.send(queue, "too much", receipt="mine")
    error = publisher.error()
    assert "full" in error.headers["message"]
    assert error.headers["receipt-id"] == "mine"
    assert "x-refusals" in error.body, "it says how to live with it"
    publisher.ended()
    assert publisher.inbox.receipts.empty()
    assert left(queue, LENGTH) == FULL


def test_a_refused_send_is_reported_and_the_connection_stays_open(connect, resilient, queue):
    resilient.send_all(queue, FULL)
    send = resilient.connection.send
    send(unique(), "x", receipt="before")
    send(queue, "too much", receipt="mine")
    send(queue, "too much")
    send(unique(), "x", receipt="after")

    first, second = resilient.messages(2)
    for refusal in (first, second):
        assert refusal.headers["destination"] == "/stompd/refusals"
        assert refusal.headers["subscription"] == "/stompd/refusals"
        assert refusal.headers["reason"] == "queue_full"
        assert "full" in refusal.body
    assert first.headers["message-id"] != second.headers["message-id"]
    assert first.headers["receipt-id"] == "mine"
    assert "receipt-id" not in second.headers
    assert [resilient.inbox.receipts.get() for _ in range(2)] == ["before", "after"]

    consumer = connect()
    consumer.subscribe(queue, id="1")
    assert consumer.bodies(LENGTH) == FULL
    resilient.send(queue, "room again")
    assert consumer.bodies(1) == ["room again"]
    assert not resilient.has_more()
    assert resilient.inbox.errors.empty()


def test_an_ack_of_a_refusal_is_ignored(resilient, queue):
    resilient.send_all(queue, FULL)
    resilient.connection.send(queue, "too much")
    resilient.ack(resilient.message())
    assert not resilient.has_more()


def test_a_commit_is_refused_as_a_whole(connect, resilient, left, destination, queue):
    witness = connect()
    witness.subscribe(destination, id="1")
    resilient.send(queue, "there")
    transaction = resilient.begin("mine")
    resilient.send(destination, "never", transaction=transaction)
    resilient.send_all(queue, FULL, transaction=transaction)
    resilient.connection.commit(transaction, receipt="commit")
    refusal = resilient.message()
    assert refusal.headers["reason"] == "queue_full"
    assert refusal.headers["receipt-id"] == "commit"

    resilient.begin("mine")  # its id is free
    resilient.send(destination, "later")
    assert witness.bodies(1) == ["later"]
    assert left(queue, 1) == ["there"]


def test_an_ack_in_a_refused_commit_is_undone(resilient, left, queue):
    work = unique("/queue/")
    resilient.send(work, "1")
    resilient.subscribe(work, id="1", ack="client")
    held = resilient.message()
    resilient.send_all(queue, FULL)
    transaction = resilient.begin()
    resilient.ack(held, transaction)
    resilient.send(queue, "too much", transaction=transaction)
    resilient.connection.commit(transaction)
    assert resilient.message().headers["reason"] == "queue_full"
    resilient.drop()
    assert left(work, 1) == ["1 again"]


def test_a_commit_to_a_full_queue_is_an_error_and_ends_the_connection(connect, left, queue):
    publisher = connect()
    publisher.send(queue, "there")
    transaction = publisher.begin()
    publisher.send_all(queue, FULL, transaction=transaction)
    publisher.connection.commit(transaction)
    assert "full" in publisher.error().headers["message"]
    publisher.ended()
    assert left(queue, 1) == ["there"]


def test_a_send_to_an_invalid_destination_is_refused(connect, resilient, queue):
    resilient.connection.send("/queue/*", "x", receipt="mine")
    resilient.connection.send(queue, "x", headers={"reply-to": "/temp-queue/x"})
    wildcard, reply_to = resilient.messages(2)
    assert (wildcard.headers["reason"], wildcard.headers["receipt-id"]) == ("wildcard", "mine")
    assert reply_to.headers["reason"] == "reply_to"
    resilient.send(queue, "later")
    consumer = connect()
    consumer.subscribe(queue, id="1")
    assert consumer.bodies(1) == ["later"]
    assert resilient.inbox.errors.empty()


def test_other_faults_are_still_an_error(resilient):
    resilient.connection.subscribe("/queue/*", id="1")
    assert resilient.error().headers["message"]
    resilient.ended()
    assert resilient.inbox.messages.empty()


def test_returned_messages_have_room_even_in_a_full_queue(connect, queue):
    consumer, publisher = connect(), connect()
    consumer.subscribe(queue, id="1", ack="client", **{"prefetch-count": "2"})
    publisher.send_all(queue, ["a", "b", *FULL])
    consumer.messages(2)
    consumer.drop()
    other = connect()
    other.subscribe(queue, id="1", ack="client")
    assert sorted(other.bodies(2 + LENGTH)) == ["0", "1", "2", "a again", "b again"]
