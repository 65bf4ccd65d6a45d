"""ACK, NACK and returned messages."""

import pytest
from stomp.constants import CMD_NACK

from client import unique

WITH_NACK = pytest.mark.parametrize("version", ["1.1", "1.2"], indirect=True)
PREFETCH = pytest.mark.parametrize("prefetch", ["prefetch-count", "activemq.prefetchSize"])


def test_client_an_ack_covers_all_messages_up_to_it(holding, left, queue):
    consumer, held = holding(queue, "12345", ack="client")
    consumer.ack(held[2])
    consumer.drop()
    assert left(queue, 2) == ["4 again", "5 again"]


def test_client_individual_an_ack_covers_one_message(holding, left, queue):
    consumer, held = holding(queue, "1234", ack="client-individual")
    consumer.ack(held[2])
    consumer.ack(held[0])
    consumer.drop()
    assert left(queue, 2) == ["2 again", "4 again"]


def test_client_subscriptions_are_separate(holding, left, queue):
    consumer, _ = holding(queue, "12", ack="client")
    other = unique("/queue/")
    consumer.send(other, "x")
    consumer.subscribe(other, id="other", ack="client")
    consumer.ack(consumer.message())
    consumer.drop()
    assert left(queue, 2) == ["1 again", "2 again"]


@pytest.mark.parametrize("version", ["1.0"], indirect=True)
def test_a_subscription_without_id_can_be_acknowledged(connect, left, queue):
    consumer = connect()
    consumer.send_all(queue, "123")
    consumer.subscribe(queue, ack="client")
    held = consumer.messages(3)
    assert not any("subscription" in message.headers for message in held)
    consumer.ack(held[1])
    consumer.drop()
    assert left(queue, 1) == ["3 again"]


def test_auto_an_ack_is_ignored(connect, either):
    consumer, sender = connect(), connect()
    consumer.subscribe(either, id="1")
    for body in "123":
        sender.send(either, body)
        message = consumer.message()
        assert message.body == body
        consumer.ack(message)
        consumer.ack(message)
    assert consumer.inbox.errors.empty()


def test_auto_written_messages_do_not_return(connect, left, queue):
    consumer = connect()
    consumer.subscribe(queue, id="held", ack="client", **{"prefetch-count": "1"})
    consumer.subscribe(queue, id="auto")
    consumer.send_all(queue, "123")
    assert [message.headers["subscription"] for message in consumer.messages(3)] == ["held", "auto", "auto"]
    consumer.drop()
    # The returned message proves that the broker has noticed.
    assert left(queue, 1) == ["1 again"]


def test_messages_of_a_lost_connection_go_to_others_in_order(connect, holding, left, queue, ack):
    consumer, _ = holding(queue, "123", ack=ack)
    other = connect()
    other.subscribe(queue, id="1", ack=ack)
    consumer.drop()
    assert other.bodies(3) == ["1 again", "2 again", "3 again"]
    other.drop()
    assert left(queue, 3) == ["1 again", "2 again", "3 again"]


def test_unacknowledged_messages_return_after_disconnect(holding, left, queue, ack):
    consumer, _ = holding(queue, "12", ack=ack)
    consumer.disconnect()
    assert left(queue, 2) == ["1 again", "2 again"]


def test_a_repeated_ack_is_ignored(holding, left, queue, version, ack):
    consumer, held = holding(queue, "12", ack=ack)
    consumer.ack(held[0])
    consumer.ack(held[0])
    if version != "1.0":
        consumer.nack(held[0])
    consumer.drop()
    assert left(queue, 1) == ["2 again"]


def test_an_ack_of_anothers_message_has_no_effect(connect, holding, left, queue, ack):
    consumer, held = holding(queue, "1", ack=ack)
    connect().ack(held[0])
    consumer.drop()
    assert left(queue, 1) == ["1 again"]


def test_messages_can_be_acknowledged_after_unsubscribe(connect, holding, queue, ack):
    consumer, held = holding(queue, "123", ack=ack)
    consumer.unsubscribe(id="holding")
    consumer.ack(held[0])
    other = connect()
    other.subscribe(queue, id="1", ack=ack)
    assert not other.has_more(), "the first one still has them"
    consumer.drop()
    assert other.bodies(2) == ["2 again", "3 again"]


@pytest.mark.parametrize("version", ["1.0"], indirect=True)
def test_nack_in_1_0_is_an_error_and_the_message_returns(holding, left, queue, ack):
    consumer, held = holding(queue, "1", ack=ack)
    # A raw frame: stomp.py's connection of 1.0 has no nack.
    consumer.connection.send_frame(CMD_NACK, {"message-id": held[0].headers["message-id"]})
    assert "NACK" in consumer.error().headers["message"]
    consumer.ended()
    assert left(queue, 1) == ["1 again"]


@WITH_NACK
def test_client_individual_a_nack_returns_one_message_to_its_place(connect, left, queue):
    consumer = connect()
    consumer.send_all(queue, "12345")
    consumer.subscribe(queue, id="1", ack="client-individual", **{"prefetch-count": "3"})
    held = consumer.messages(3)
    consumer.nack(held[1])
    again = consumer.message()
    assert again.body == "2", "before 4, which waits"
    assert again.headers["redelivered"] == "true"
    assert again.headers["message-id"] != held[1].headers["message-id"], "with a new id"
    consumer.ack(again)
    consumer.ack(held[2])
    assert consumer.bodies(2) == ["4", "5"]
    consumer.drop()
    assert left(queue, 3) == ["1 again", "4 again", "5 again"]


@WITH_NACK
def test_client_a_nack_returns_all_messages_up_to_it(holding, queue):
    consumer, held = holding(queue, "123", ack="client")
    consumer.nack(held[1])
    assert consumer.bodies(2) == ["1 again", "2 again"]
    assert not consumer.has_more(), "3 is still held"


@WITH_NACK
def test_a_nack_gives_the_message_to_the_next_consumer(connect, queue):
    one, two = connect(), connect()
    for consumer in (one, two):
        consumer.subscribe(queue, id="1", ack="client")
    one.send(queue, "1")
    one.nack(one.message())
    assert two.bodies(1) == ["1 again"]
    assert not one.has_more()


@WITH_NACK
def test_client_individual_a_nack_with_requeue_false_discards_one_message(holding, left, queue):
    consumer, held = holding(queue, "123", ack="client-individual")
    consumer.nack(held[1], requeue="false")
    consumer.drop()
    assert left(queue, 2) == ["1 again", "3 again"]


@WITH_NACK
def test_client_a_nack_with_requeue_false_discards_all_messages_up_to_it(holding, left, queue):
    consumer, held = holding(queue, "123", ack="client")
    consumer.nack(held[1], requeue="false")
    consumer.drop()
    assert left(queue, 1) == ["3 again"]


@PREFETCH
def test_prefetch_limits_unacknowledged_messages(connect, either, prefetch):
    client = connect()
    client.subscribe(either, id="1", ack="client-individual", **{prefetch: "2"})
    client.send_all(either, "12345")
    one, two = client.messages(2)
    assert not client.has_more()
    client.ack(two)
    assert client.bodies(1) == ["3"]
    assert not client.has_more()
    client.ack(one)
    assert client.bodies(1) == ["4"]


@PREFETCH
def test_client_a_cumulative_ack_gives_credit_for_all(connect, either, prefetch):
    client = connect()
    client.subscribe(either, id="1", ack="client", **{prefetch: "3"})
    client.send_all(either, "1234567")
    client.ack(client.messages(3)[2])
    assert client.bodies(3) == ["4", "5", "6"]
    assert not client.has_more()


def test_a_consumer_without_credit_is_skipped(connect, queue, ack):
    lazy, keen = connect(), connect()
    for consumer in (lazy, keen):
        consumer.subscribe(queue, id="1", ack=ack, **{"prefetch-count": "1"})
    lazy.send_all(queue, "1234")
    assert lazy.bodies(1) == ["1"]
    for body in "234":
        message = keen.message()
        assert message.body == body
        keen.ack(message)
    assert not lazy.has_more()


def test_on_a_topic_each_subscription_has_its_own_copy_and_order(connect, destination, ack):
    exact, wide = connect(), connect()
    exact.subscribe(destination, id="1", ack=ack, **{"prefetch-count": "1"})
    wide.subscribe(f"{destination}.#", id="1", ack=ack, **{"prefetch-count": "1"})
    exact.send_all(destination, "123")
    for body in "123":
        message = exact.message()
        assert (message.body, message.headers["destination"]) == (body, destination)
        exact.ack(message)
    held = wide.message()
    assert not wide.has_more()
    wide.ack(held)
    assert wide.bodies(1) == ["2"]


def test_on_a_topic_held_messages_end_with_the_connection(connect, destination, ack):
    one, two = connect(), connect()
    for client in (one, two):
        client.subscribe(destination, id="1", ack=ack)
    one.send(destination, "1")
    assert one.bodies(1) == two.bodies(1) == ["1"]
    one.drop()
    again = connect()
    again.subscribe(destination, id="1", ack=ack)
    two.send(destination, "2")
    assert again.bodies(1) == two.bodies(1) == ["2"]


@WITH_NACK
def test_on_a_topic_a_nack_returns_the_message_to_the_same_subscription(connect, destination, ack):
    one, two = connect(), connect()
    for client in (one, two):
        client.subscribe(destination, id="1", ack=ack)
    one.send_all(destination, "12")
    first, _ = one.messages(2)
    one.nack(first)
    again = one.message()
    assert (again.body, again.headers["redelivered"]) == ("1", "true")
    one.nack(again, requeue="false")
    assert not one.has_more()
    assert two.bodies(2) == ["1", "2"]
    assert not two.has_more()
