"""Transactions: all or nothing, and no effect before COMMIT."""

import pytest

from client import unique

WITH_NACK = pytest.mark.parametrize("version", ["1.1", "1.2"], indirect=True)


def test_messages_of_a_transaction_are_sent_by_commit(connect, either):
    client, other = connect(), connect()
    other.subscribe(either, id="1")
    transaction = client.begin()
    client.send_all(either, "12", transaction=transaction)
    client.send(either, "outside")
    assert other.bodies(1) == ["outside"]
    client.commit(transaction)
    first, second = other.messages(2)
    assert (first.body, second.body) == ("1", "2")
    assert "transaction" not in first.headers
    assert not other.has_more()


def test_messages_of_an_aborted_transaction_are_never_sent(connect, either):
    client = connect()
    client.subscribe(either, id="1")
    transaction = client.begin()
    client.send(either, "never", transaction=transaction)
    client.abort(transaction)
    client.send(either, "later")
    assert client.bodies(1) == ["later"]


def test_bytes_are_held_unchanged(connect, either):
    client = connect(auto_decode=False)
    client.subscribe(either, id="1")
    data = bytes(range(256)) * 256
    transaction = client.begin()
    client.send(either, data, transaction=transaction)
    client.commit(transaction)
    assert client.message().body == data


def test_a_transaction_is_lost_with_its_connection(connect, holding, either, queue):
    client, _ = holding(queue, ["held"], ack="client")
    other = connect()
    other.subscribe(either, id="1")
    transaction = client.begin()
    client.send(either, "never", transaction=transaction)
    client.drop()
    other.subscribe(queue, id="2")
    assert other.bodies(1) == ["held again"]  # so the broker has noticed
    other.send(either, "later")
    assert other.bodies(1) == ["later"]


def test_disconnect_aborts(connect, either):
    client, other = connect(), connect()
    other.subscribe(either, id="1")
    client.send(either, "never", transaction=client.begin())
    client.disconnect()
    other.send(either, "later")
    assert other.bodies(1) == ["later"]


def test_ack_and_send_are_both_applied_by_commit(connect, holding, left, queue):
    client, held = holding(queue, "123", ack="client-individual")
    results = unique("/queue/")
    other = connect()
    other.subscribe(results, id="1")
    transaction = client.begin()
    client.ack(held[1], transaction)
    client.send(results, "result", transaction=transaction)
    assert not other.has_more()
    client.commit(transaction)
    assert other.bodies(1) == ["result"]
    client.drop()
    assert left(queue, 2) == ["1 again", "3 again"]


def test_ack_and_send_are_both_discarded_by_abort(holding, left, queue):
    client, held = holding(queue, "12", ack="client-individual")
    results = unique("/queue/")
    transaction = client.begin()
    client.ack(held[0], transaction)
    client.send(results, "result", transaction=transaction)
    client.abort(transaction)
    assert not client.has_more(), "it is unacknowledged again, not delivered again"
    client.ack(held[1])
    client.drop()
    assert left(queue, 1) == ["1 again"]
    assert left(results, 0) == []


def test_after_abort_a_message_can_be_acknowledged_again(holding, left, queue, ack):
    client, held = holding(queue, "12", ack=ack)
    transaction = client.begin()
    client.ack(held[0], transaction)
    client.abort(transaction)
    client.ack(held[0])
    client.drop()
    assert left(queue, 1) == ["2 again"]


def test_an_ack_of_an_open_transaction_is_lost_with_the_connection(holding, left, queue, ack):
    client, held = holding(queue, "12", ack=ack)
    client.ack(held[0], client.begin())
    client.drop()
    assert left(queue, 2) == ["1 again", "2 again"]


def test_client_an_ack_in_a_transaction_covers_all_messages_up_to_it(holding, left, queue):
    client, held = holding(queue, "123", ack="client")
    transaction = client.begin()
    client.ack(held[1], transaction)
    client.commit(transaction)
    client.drop()
    assert left(queue, 1) == ["3 again"]


def test_an_ack_for_a_message_held_by_a_transaction_is_ignored(holding, left, queue, ack):
    client, held = holding(queue, "1", ack=ack)
    transaction = client.begin()
    client.ack(held[0], transaction)
    client.ack(held[0])
    client.abort(transaction)
    client.drop()
    assert left(queue, 1) == ["1 again"]


def test_held_messages_take_no_credit(connect, either, ack):
    client = connect()
    client.subscribe(either, id="1", ack=ack, **{"prefetch-count": "1"})
    client.send_all(either, "1234")
    transaction = client.begin()
    client.ack(client.message(), transaction)
    assert client.bodies(1) == ["2"]
    assert not client.has_more()
    client.abort(transaction)
    assert not client.has_more(), "now two are not settled, which is more than it may have"


@WITH_NACK
def test_a_nack_in_a_transaction_waits_for_commit(holding, left, queue):
    client, held = holding(queue, "123", ack="client-individual")
    transaction = client.begin()
    client.nack(held[0], transaction)
    client.nack(held[1], transaction, requeue="false")
    assert not client.has_more()
    client.commit(transaction)
    assert client.bodies(1) == ["1 again"]
    client.drop()
    assert left(queue, 2) == ["1 again", "3 again"]


@WITH_NACK
def test_a_nack_in_an_aborted_transaction_has_no_effect(holding, left, queue, ack):
    client, held = holding(queue, "12", ack=ack)
    transaction = client.begin()
    client.nack(held[1], transaction, requeue="false")
    client.abort(transaction)
    assert not client.has_more()
    client.drop()
    assert left(queue, 2) == ["1 again", "2 again"]


def test_transactions_of_one_client_are_separate_and_their_ids_free_afterwards(connect, queue):
    client = connect()
    client.subscribe(queue, id="1")
    one, two = client.begin("one"), client.begin()
    for transaction, body in ((one, "a"), (two, "never"), (one, "b")):
        client.send(queue, body, transaction=transaction)
    client.commit(one)
    client.begin("one")
    client.send(queue, "c", transaction="one")
    client.abort(two)
    client.commit("one")
    assert client.bodies(3) == ["a", "b", "c"]
    assert not client.has_more()


def test_transactions_of_two_clients_may_have_the_same_name(connect, queue):
    one, two = connect(), connect()
    one.subscribe(queue, id="1")
    for client, body in ((one, "mine"), (two, "its")):
        client.begin("same")
        client.send(queue, body, transaction="same")
    one.abort("same")
    two.commit("same")
    assert one.bodies(1) == ["its"]
    assert not one.has_more()


BAD = {
    "a BEGIN of an open transaction": lambda c: [c.begin("same") for _ in range(2)],
    "a COMMIT of no transaction": lambda c: c.commit("none"),
    "an ABORT of no transaction": lambda c: c.abort("none"),
    "a second COMMIT": lambda c: [c.begin("mine"), c.commit("mine"), c.commit("mine")],
    "a SEND in no transaction": lambda c: c.send(unique(), "x", transaction="none"),
    "too many": lambda c: [c.begin() for _ in range(17)],
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_transaction_is_an_error_and_ends_the_connection(connect, what):
    client = connect()
    BAD[what](client.connection)
    assert "transaction" in client.error().headers["message"]
    client.ended()
