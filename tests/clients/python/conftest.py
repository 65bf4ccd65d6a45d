import uuid

import pytest

from broker import Broker
from client import CONNECTIONS, Client


@pytest.fixture(scope="session")
def broker():
    broker = Broker()
    yield broker
    broker.stop()


@pytest.fixture
def destination():
    return f"/topic/{uuid.uuid4()}"


@pytest.fixture(params=CONNECTIONS)
def version(request):
    return request.param


@pytest.fixture
def connect(broker, version):
    """Gives connected clients, of the test's version unless it says another, that end with the test."""
    clients = []

    def connect(version=version, **options):
        client = Client(broker.address, version, **options)
        clients.append(client)
        client.connected = client.connect()
        return client

    yield connect
    for client in clients:
        client.drop()
