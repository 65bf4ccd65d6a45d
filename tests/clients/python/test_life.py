"""Heart-beats, silence and restarts: tests that depend on time."""

import signal
import socket
import subprocess
import sys
import time

import pytest

from broker import HERE, PATIENCE, Broker

INTERVAL = 0.5
BEATING = pytest.mark.parametrize("version", ["1.1", "1.2"], indirect=True)


@BEATING
def test_heart_beats_keep_both_sides(connect, destination):
    client = connect(heartbeats=(1000, 1000))
    client.subscribe(destination, id="1")
    time.sleep(5)
    assert client.inbox.beats.qsize() >= 4
    assert client.connection.is_connected()
    client.send(destination, "alive")
    assert client.message().body == "alive"


@BEATING
def test_a_silent_client_gets_an_error_and_is_cut(broker, version):
    with socket.create_connection(broker.address, timeout=PATIENCE) as silent:
        silent.sendall(f"CONNECT\naccept-version:{version}\nheart-beat:{INTERVAL * 1000:.0f},0\n\n\0".encode())
        start = time.monotonic()
        said = b""
        while data := silent.recv(4096):
            said += data
        intervals = (time.monotonic() - start) / INTERVAL
    connected, error = said.split(b"\0")[:2]
    assert connected.startswith(b"CONNECTED\n")
    assert error.lstrip().startswith(b"ERROR\n")
    assert 2 < intervals < 3.2


# Takes a message of the queue; prints its body, then whether the broker has reported that it was silent for too long.
CHILD = """
import sys
from client import Client
client = Client(("127.0.0.1", int(sys.argv[1])), sys.argv[2], heartbeats=(500, 0))
client.connect()
client.subscribe(sys.argv[3], id="1", ack="client")
print(client.message().body, flush=True)
print(client.inbox.errors.get(timeout=30).headers["message"], flush=True)
"""


@BEATING
def test_a_stopped_process_is_cut_with_a_reason_and_another_gets_its_message(broker, connect, version, queue):
    other = connect()
    other.send(queue, "work")
    command = [sys.executable, "-c", CHILD, str(broker.address[1]), version, queue]
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "work\n"
            other.subscribe(queue, id="1", ack="client")
            time.sleep(2 * INTERVAL)
            assert child.poll() is None
            assert not other.has_more()
            child.send_signal(signal.SIGSTOP)  # its kernel continues to send TCP acknowledgements
            assert other.bodies(1) == ["work again"]
            child.send_signal(signal.SIGCONT)
            assert child.stdout.readline().strip()
        finally:
            child.kill()


@BEATING
def test_a_broker_that_was_stopped_cuts_no_client_that_sent_heart_beats(broker, version):
    with socket.create_connection(broker.address, timeout=PATIENCE) as client:
        client.sendall(f"CONNECT\naccept-version:{version}\nheart-beat:{INTERVAL * 1000:.0f},0\n\n\0".encode())
        assert client.recv(4096).startswith(b"CONNECTED\n")
        with broker.paused():
            for _ in range(8):
                time.sleep(INTERVAL / 2)
                client.sendall(b"\n")
        for _ in range(4):
            time.sleep(INTERVAL / 2)
            client.sendall(b"\n")
        client.sendall(b"DISCONNECT\nreceipt:bye\n\n\0")
        assert client.recv(4096).lstrip().startswith(b"RECEIPT\nreceipt-id:bye\n")


@pytest.mark.parametrize("end", [Broker.kill, Broker.stop], ids=["killed", "stopped"])
def test_a_client_reconnects_after_a_restart(broker, connect, destination, end):
    client = connect(reconnect_attempts_max=20, reconnect_sleep_max=0.5)
    client.subscribe(destination, id="1")
    end(broker)
    client.ended()
    broker.up()
    client.connect()
    client.subscribe(destination, id="1")
    client.send(destination, "still here")
    assert client.message().body == "still here"
    assert client.inbox.errors.empty()
