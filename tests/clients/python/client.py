"""stomp.py as its users run it: a connection whose frames can be waited for."""

import itertools
import queue

import stomp

from broker import PATIENCE

CONNECTIONS = {
    "1.0": stomp.StompConnection10,
    "1.1": stomp.StompConnection11,
    "1.2": stomp.StompConnection12,
}


class Inbox(stomp.ConnectionListener):
    """What arrived, each kind in its order."""

    def __init__(self):
        self.connects = queue.Queue()
        self.messages = queue.Queue()
        self.receipts = queue.Queue()
        self.errors = queue.Queue()
        self.beats = queue.Queue()
        self.ends = queue.Queue()

    def on_connected(self, frame):
        self.connects.put(frame)

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_heartbeat(self):
        self.beats.put(None)

    def on_disconnected(self):
        self.ends.put(None)


class Client:
    """A connection of one version with its inbox; what it sends asks for a receipt and waits for it."""

    def __init__(self, address, version, **options):
        self.version = version
        self.inbox = Inbox()
        self.connection = CONNECTIONS[version]([address], **options)
        self.connection.set_listener("inbox", self.inbox)
        self._receipts = (f"receipt-{n}" for n in itertools.count())

    def connect(self, **headers):
        self.connection.connect(wait=True, **headers)
        return self.inbox.connects.get(timeout=PATIENCE)

    def subscribe(self, destination, **headers):
        self._receipted(self.connection.subscribe, destination=destination, **headers)

    def unsubscribe(self, **headers):
        self._receipted(self.connection.unsubscribe, **headers)

    def send(self, destination, body, **headers):
        self._receipted(self.connection.send, destination=destination, body=body, headers=headers)

    def message(self):
        return self.inbox.messages.get(timeout=PATIENCE)

    def error(self):
        return self.inbox.errors.get(timeout=PATIENCE)

    def ended(self):
        self.inbox.ends.get(timeout=PATIENCE)

    def disconnect(self):
        """Ends the session with a receipt; stomp.py closes the socket when it comes."""
        self.connection.disconnect(receipt="bye")
        assert self.inbox.receipts.get(timeout=PATIENCE) == "bye"

    def drop(self):
        self.connection.transport.disconnect_socket()

    def _receipted(self, send, headers=None, **arguments):
        receipt = next(self._receipts)
        send(headers={**(headers or {}), "receipt": receipt}, **arguments)
        assert self.inbox.receipts.get(timeout=PATIENCE) == receipt
