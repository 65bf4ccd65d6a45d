"""Load that makes every panel and alert show something; it runs until it is stopped."""

import threading
import traceback

from processes import Broker
from stomp import Tcp, WebSocket

# Small limits that make a client slow.
SMALL = {
    "STOMPD__LIMITS__BODY": "64KiB",
    "STOMPD__LIMITS__HEADER_BYTES": "16KiB",
    "STOMPD__LIMITS__OUTBOX_BYTES": "80KiB",
}
# The first broker cuts slow consumers and is near its connection limit; the second one drops what they do not read,
# its queues are short, and it is nearly out of files.
CUTTING = {
    "STOMPD__STOP__SPREAD": "200ms",
    "STOMPD__LIMITS__CONNECTIONS": "80",
    **SMALL,
    "STOMPD__HEART_BEAT__PING": "500ms",
    "STOMPD__QUEUE__METRICS": "true",
}
DROPPING = {
    "STOMPD__STOP__SPREAD": "200ms",
    "STOMPD__LIMITS__SLOW_CONSUMER": "drop-oldest",
    **SMALL,
    "STOMPD__HEART_BEAT__SEND": "100ms",
    "STOMPD__HEART_BEAT__WANT": "100ms",
    "STOMPD__QUEUE__MAX_LENGTH": "5",
    "STOMPD__QUEUE__METRICS": "true",
    "STOMPD__ADMIN__CONNECTIONS": "4",
}
# Number of idle clients of the first and of the second broker. The first one needs room for slow consumers that
# are being cut, which takes 2 s. The second one keeps files in reserve, so it needs many
# to be nearly out of them.
IDLE_CLIENTS = (62, 140)
FILES = 196
BIG = "x" * 65_000


class Load:
    """Two brokers and their clients."""

    def __init__(self):
        self.cutting = Broker(CUTTING)
        self.dropping = Broker(DROPPING, files=FILES)
        self.brokers = [self.cutting, self.dropping]
        self.failure = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._clients = []

    def start(self):
        self._thread.start()

    def stop(self):
        """Stops the clients, not the brokers."""
        self._over.set()
        self._thread.join(timeout=30)
        for client in self._clients:
            client.close()

    def check(self):
        """Fails if a client saw an unexpected error."""
        assert self.failure is None, self.failure

    def _run(self):
        try:
            self._prepare()
            while not self._over.wait(0.1):
                self._turn()
        except Exception:
            self.failure = traceback.format_exc()

    def _prepare(self):
        for broker, clients in zip(self.brokers, IDLE_CLIENTS, strict=True):
            for _ in range(clients):
                self._tcp(broker)
        self._cut_slow_consumers()
        self._drop_for_a_slow_consumer()
        self._fill_a_queue_that_nobody_consumes()
        self._fall_silent()
        # This one is idle, so that it gets Pings.
        self._websocket(self.cutting).read_on()
        # And this one gets heart-beats.
        self._keep(Tcp(self.dropping.tcp).connect(**{"heart-beat": "0,100"})).read_on()
        self._reader = self._websocket(self.cutting)
        self._reader.receipt("SUBSCRIBE", {"destination": "/topic/news.*", "id": "1"})
        self._worker = self._tcp(self.dropping)
        self._worker.receipt(
            "SUBSCRIBE", {"destination": "/queue/work", "id": "1", "ack": "client-individual"}
        )
        # Messages that it holds and does not settle.
        lazy = self._tcp(self.dropping)
        lazy.receipt("SUBSCRIBE", {"destination": "/queue/lazy", "id": "1", "ack": "client"})
        self._publisher = self._tcp(self.dropping)
        self._publisher.receipt("SEND", {"destination": "/queue/lazy"})
        lazy.until(b"MESSAGE\n")
        lazy.send("BEGIN", {"transaction": "t"})
        lazy.receipt("SEND", {"destination": "/topic/x", "transaction": "t"}, "held")

    def _turn(self):
        self._publish()
        self._work()
        self._be_refused()
        self._flood.send("SEND", {"destination": "/topic/flood"}, BIG, times=4)
        # To use CPU time, which is counted in whole seconds.
        self._flood.send("SEND", {"destination": "/topic/nobody"}, times=100_000)
        self._long.send("SEND", {"destination": "/queue/long"}, times=50)

    def _publish(self):
        self._reader.send("SEND", {"destination": "/topic/news.eu"}, "hello")
        self._reader.until(b"MESSAGE\n")

    def _work(self):
        """One message that returns and is then acknowledged, one that is discarded, an ACK that is ignored."""
        self._publisher.send("SEND", {"destination": "/queue/work"})
        self._worker.send("NACK", {"id": self._delivery()})
        self._worker.send("ACK", {"id": self._delivery()})
        self._publisher.send("SEND", {"destination": "/queue/work"})
        self._worker.send("NACK", {"id": self._delivery(), "requeue": "false"})
        self._worker.send("ACK", {"id": "undefined"})

    def _delivery(self):
        head = self._worker.until(b"MESSAGE\n").partition(b"\n\n")[0].split(b"\n")[1:]
        headers = dict(line.split(b":", 1) for line in reversed(head))
        return headers[b"ack"].decode()

    def _be_refused(self):
        for _ in range(3):
            stranger = Tcp(self.cutting.tcp)
            stranger.send("CONNECT", {"accept-version": "9.9", "host": "x"})
            stranger.until(b"ERROR\n")
            stranger.close()
            lost = WebSocket(self.cutting.websocket, path="/nowhere")
            assert lost.status == 404, lost.status
            lost.close()
        old = WebSocket(self.cutting.websocket)
        old.connect(**{"accept-version": "1.1"})
        old.close()
        self._overfill()

    def _overfill(self):
        eager = Tcp(self.dropping.tcp).connect()
        eager.send("SEND", {"destination": "/queue/short"}, times=6)
        eager.until(b"ERROR\n")
        eager.close()

    def _cut_slow_consumers(self):
        slow = [self._slow(self.cutting) for _ in range(7)]
        publisher = self._tcp(self.cutting)
        publisher.send("SEND", {"destination": "/topic/flood"}, BIG, times=200)
        publisher.receipt("SEND", {"destination": "/topic/flood"})
        for client in slow:
            client.ended()

    def _drop_for_a_slow_consumer(self):
        self._slow(self.dropping)
        self._flood = self._tcp(self.dropping)
        self._flood.send("SEND", {"destination": "/topic/flood"}, BIG, times=200)
        self._flood.receipt("SEND", {"destination": "/topic/flood"})

    def _fill_a_queue_that_nobody_consumes(self):
        self._long = self._tcp(self.cutting)
        self._long.send("SEND", {"destination": "/queue/long"}, times=10_000)
        self._long.receipt("SEND", {"destination": "/queue/long"})

    def _fall_silent(self):
        silent = [Tcp(self.dropping.tcp).connect(**{"heart-beat": "100,0"}) for _ in range(15)]
        for client in silent:
            client.until(b"ERROR\n")
            client.close()

    def _slow(self, broker):
        slow = self._keep(Tcp(broker.tcp, buffer=4096).connect())
        slow.receipt("SUBSCRIBE", {"destination": "/topic/flood", "id": "1"})
        return slow

    def _tcp(self, broker):
        return self._keep(Tcp(broker.tcp).connect())

    def _websocket(self, broker):
        return self._keep(WebSocket(broker.websocket).connect())

    def _keep(self, client):
        self._clients.append(client)
        return client
