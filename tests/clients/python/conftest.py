import pytest

from broker import Broker
from client import ACK_MODES, CONNECTIONS, Client, unique


@pytest.fixture(scope="session")
def broker():
    broker = Broker()
    yield broker
    broker.stop()


@pytest.fixture
def destination():
    return unique()


@pytest.fixture
def queue():
    return unique("/queue/")


@pytest.fixture(params=["/queue/", "/topic/"], ids=["queue", "topic"])
def either(request):
    """A queue, then a topic."""
    return unique(request.param)


@pytest.fixture(params=CONNECTIONS)
def version(request):
    return request.param


@pytest.fixture(params=ACK_MODES)
def ack(request):
    return request.param


@pytest.fixture
def connect(broker, version):
    """Returns connected clients, of the test's version unless it names another, that end with the test."""
    clients = []

    def connect(version=version, headers=None, **options):
        client = Client(broker.address, version, **options)
        clients.append(client)
        client.connected = client.connect(**(headers or {}))
        return client

    yield connect
    for client in clients:
        client.drop()


@pytest.fixture
def left(connect):
    """Returns what another client finds in a queue, then checks that there is nothing else."""

    def left(queue, count):
        peer = connect()
        peer.subscribe(queue, id="left", ack="client")
        found = peer.bodies(count)
        peer.send(queue, "new")
        assert peer.bodies(1) == ["new"], "nothing else is there"
        return found

    return left


@pytest.fixture
def holding(connect):
    """Returns a consumer that holds all of these bodies from a queue, and the messages."""

    def holding(queue, sent, **headers):
        consumer = connect()
        consumer.send_all(queue, sent)
        consumer.subscribe(queue, id="holding", **headers)
        return consumer, consumer.messages(len(sent))

    return holding
