"""stomp.py as its users run it: a connection whose frames can be waited for."""

import itertools
import queue
import uuid

import stomp

from broker import PATIENCE

CONNECTIONS = {
    "1.0": stomp.StompConnection10,
    "1.1": stomp.StompConnection11,
    "1.2": stomp.StompConnection12,
}


ACK_MODES = ["client", "client-individual"]


def unique(prefix="/topic/"):
    """A destination that no other test uses."""
    return f"{prefix}{uuid.uuid4()}"


class Inbox(stomp.ConnectionListener):
    """What arrived, each kind in order."""

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
    """A connection of one version with its inbox; what it sends requests a receipt and waits for it."""

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

    def send_all(self, destination, bodies, **headers):
        """Sends these bodies in order."""
        *others, last = bodies
        for body in others:
            self.connection.send(destination, body, headers=headers)
        self.send(destination, last, **headers)

    def ack(self, message, transaction=None):
        self._receipted(self.connection.ack, **self.names(message), transaction=transaction)

    def nack(self, message, transaction=None, **headers):
        self._receipted(self.connection.nack, **self.names(message), transaction=transaction, **headers)

    def names(self, message):
        """Returns the arguments that name a message in stomp.py's `ack` and `nack`, which depend on the version."""
        headers = message.headers
        if self.version == "1.2":
            return {"id": headers.get("ack", headers["message-id"])}
        if self.version == "1.1":
            return {"id": headers["message-id"], "subscription": headers["subscription"]}
        return {"id": headers["message-id"]}

    def begin(self, transaction=None):
        return self._receipted(self.connection.begin, transaction=transaction)

    def commit(self, transaction):
        self._receipted(self.connection.commit, transaction=transaction)

    def abort(self, transaction):
        self._receipted(self.connection.abort, transaction=transaction)

    def message(self):
        return self.inbox.messages.get(timeout=PATIENCE)

    def messages(self, count):
        return [self.message() for _ in range(count)]

    def bodies(self, count):
        """The bodies of the next messages; "again" marks redelivered ones."""
        again = {None: "", "true": " again"}
        return [message.body + again[message.headers.get("redelivered")] for message in self.messages(count)]

    def has_more(self):
        """Whether the broker has sent this client another message by now."""
        self.send(unique(), "nobody listens")
        return not self.inbox.messages.empty()

    def error(self):
        return self.inbox.errors.get(timeout=PATIENCE)

    def ended(self):
        self.inbox.ends.get(timeout=PATIENCE)

    def disconnect(self):
        """Ends the session with a receipt; stomp.py closes the socket when it arrives."""
        self.connection.disconnect(receipt="bye")
        assert self.inbox.receipts.get(timeout=PATIENCE) == "bye"

    def drop(self):
        self.connection.transport.disconnect_socket()

    def _receipted(self, send, **arguments):
        receipt = next(self._receipts)
        result = send(receipt=receipt, **arguments)
        assert self.inbox.receipts.get(timeout=PATIENCE) == receipt
        return result
