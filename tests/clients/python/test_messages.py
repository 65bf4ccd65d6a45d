"""Connecting, subscribing, publishing."""

import pytest

from broker import PATIENCE
from client import Client, unique

MEBIBYTE = 1 << 20
TEXTS = ["hello", "Žluťoučký kůň, 日本語", "🐎 👩‍👩‍👧 𝄞", "\n\nMESSAGE\r\nnot-a:header\r\n"]
BYTES = [bytes(range(256)) * 2, b"\0", b"\0A\0\0", b"ends with\0"]


def test_the_requested_version_is_used(connect, version):
    connected = connect().connected.headers
    assert connected["version"] == version
    assert connected["server"].startswith("stompd/")
    assert connected["session"]


@pytest.mark.parametrize("version", ["1.1", "1.2"], indirect=True)  # 1.0 has no STOMP command
def test_connect_and_stomp_are_the_same(broker, version):
    for with_connect_command in (True, False):
        client = Client(broker.address, version, vhost="any.host")
        client.connection.connect("ada", "C:\\any:thing", wait=True, with_connect_command=with_connect_command)
        assert client.inbox.connects.get(timeout=PATIENCE).headers["user-name"] == "ada"
        client.disconnect()


def test_text_arrives(connect, destination):
    client = connect()
    client.subscribe(destination, id="1")
    for text in TEXTS:
        client.send(destination, text, **{"content-type": "text/plain"})
        message = client.message()
        assert message.body == text
        assert message.headers["destination"] == destination
        assert message.headers["subscription"] == "1"
        assert message.headers["content-type"] == "text/plain"


def test_bytes_arrive(connect, destination):
    client = connect(auto_decode=False)
    client.subscribe(destination, id="1")
    for data in BYTES:
        client.send(destination, data)
        assert client.message().body == data


def test_text_without_content_length_arrives(connect, destination):
    client = connect(auto_content_length=False)
    client.subscribe(destination, id="1")
    client.send(destination, "🐎")
    message = client.message()
    assert (message.body, message.headers["content-length"]) == ("🐎", "4")


def test_a_mebibyte_arrives(connect, destination):
    client = connect(auto_decode=False)
    client.subscribe(destination, id="1")
    data = bytes(range(256)) * (MEBIBYTE // 256)
    client.send(destination, data)
    assert client.message().body == data


def test_wildcards(connect, destination):
    client = connect()
    client.subscribe(f"{destination}.*", id="one")
    client.subscribe(f"{destination}.#", id="all")
    for name in ("", ".a.b", "/a", ".a"):
        client.send(destination + name, name)
    got = [client.message() for _ in range(4)]
    assert sorted((m.headers["subscription"], m.body) for m in got) == [
        ("all", ""),
        ("all", ".a"),
        ("all", ".a.b"),
        ("one", ".a"),
    ]
    assert client.inbox.messages.empty()


def test_users_headers_arrive(connect, destination, version):
    client = connect()
    client.subscribe(destination, id="1")
    headers = {"correlation-id": "42", "X-Case": "Kept", "x-words": "žluťoučký 🐎"}
    if version != "1.0":  # 1.0 cannot encode them
        headers |= {"x-colon": "a:b::c", "x-line": "one\ntwo", "x-path": "C:\\new\\temp"}
    if version == "1.2":
        headers |= {"x-return": "one\rtwo"}
    client.send(destination, "x", **headers)
    got = client.message().headers
    assert {name: got.get(name) for name in headers} == headers
    assert "receipt" not in got


def test_all_versions_exchange_messages(connect, destination, version):
    receivers = [connect(version=other) for other in ("1.0", "1.1", "1.2")]
    for receiver in receivers:
        receiver.subscribe(destination, id="1")
    connect().send(destination, f"from {version}", **{"x-word": "same"})
    for receiver in receivers:
        message = receiver.message()
        assert (message.body, message.headers["x-word"]) == (f"from {version}", "same")


def test_unsubscribe_ends_delivery(connect, destination):
    client = connect()
    client.subscribe(destination, id="ended")
    client.subscribe(destination, id="kept")
    client.unsubscribe(id="ended")
    for body in "12":
        client.send(destination, body)
    assert [client.message().headers["subscription"] for _ in "12"] == ["kept", "kept"]
    assert client.inbox.messages.empty()


@pytest.mark.parametrize("version", ["1.0"], indirect=True)
def test_a_subscription_without_id_is_identified_by_its_destination(connect, destination):
    client = connect()
    client.subscribe(destination)
    client.send(destination, "first")
    assert "subscription" not in client.message().headers
    client.unsubscribe(destination=destination)
    client.subscribe(f"{destination}.*")
    client.send(destination, "second")
    client.send(f"{destination}.x", "third")
    assert client.message().body == "third"


def test_a_thousand_messages_keep_their_order(connect, destination):
    receiver, sender = connect(), connect()
    receiver.subscribe(destination, id="1")
    for n in range(1000):
        sender.connection.send(destination, str(n))
    assert [receiver.message().body for _ in range(1000)] == [str(n) for n in range(1000)]


def test_disconnect_has_a_receipt_and_ends(connect):
    client = connect()
    client.disconnect()
    client.ended()
    assert client.inbox.errors.empty()


BAD = {
    "a SEND to a wildcard": lambda c: c.send("/topic/*", "x"),
    "an empty name": lambda c: c.subscribe("/topic/", id="1"),
    "a duplicate id": lambda c: [c.subscribe(unique(), id="same") for _ in range(2)],
    "an unknown command": lambda c: c.send_frame("SHOUT"),
    "a SEND without a destination": lambda c: c.send_frame("SEND", {}, "x"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_frame_is_an_error_and_ends_the_connection(connect, what):
    client = connect()
    BAD[what](client.connection)
    assert client.error().headers["message"]
    client.ended()
