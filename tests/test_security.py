"""The table of docs/security.md, row by row, against a real Mosquitto."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from support.broker import Mosquitto
from support.deploy import make_users

from edgemse.errors import BrokerRefusedError
from edgemse.mqtt import Broker, Connection, Publication

PAGE = Path(__file__).parent.parent / "docs" / "security.md"
LIST = """\
collector collector
device pump-7
device pump-8
labels laboratory
reader dashboard
"""


class Row(NamedTuple):
    """One row of the table."""

    who: str
    does: str
    topic: str
    with_list: str
    without: str


def rows() -> list[Row]:
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 5:
            found.append(Row(*cells))
    return found


class Party:
    """One user on one broker: hears what it may, and knows what it was refused."""

    def __init__(self, broker: Mosquitto, name: str, password: str) -> None:
        self.heard: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[bool] = queue.SimpleQueue()
        """Whether each publication was taken."""
        username = "" if name == "nobody" else name
        self.connection = Connection(
            Broker.at(broker.address, username=username, password=password),
            name,
            handlers={"#": lambda topic, payload: self.heard.put((topic, payload))},
            on_refused=lambda _topic, _reason: self.told.put(False),
        )
        self.connection.start(must_connect=True)

    def hears(self, topic: str, payload: bytes, fence: str) -> bool:
        """Take messages up to the one on the fence; return whether the wanted one came before."""
        found = False
        while (message := self.heard.get(timeout=20)) != (fence, payload):
            found = found or message == (topic, payload)
        return found


class Scene:
    """A broker with everybody on it."""

    def __init__(self, broker: Mosquitto, passwords: dict[str, str]) -> None:
        self._broker = broker
        self._number = 0
        self.parties = {name: Party(broker, name, word) for name, word in passwords.items()}

    def may(self, row: Row) -> bool:
        if row.who not in self.parties:
            with pytest.raises(BrokerRefusedError, match="Not authorized"):
                Party(self._broker, row.who, "")
            return False
        self._number += 1
        payload, party = str(self._number).encode(), self.parties[row.who]
        # Everybody may write to and hear the topics of its own name.
        fence = f"edgemse/v1/{row.who}/fence"
        if row.does == "hears":
            collector = self.parties["collector"].connection
            collector.publish(Publication(row.topic, payload))
            collector.publish(Publication(fence, payload))
            return party.hears(row.topic, payload, fence)
        assert row.does == "publishes"
        party.connection.publish(Publication(row.topic, payload))
        party.connection.publish(Publication(fence, payload))
        came = self.parties["collector"].hears(row.topic, payload, fence)
        if not came:
            assert not party.told.get(timeout=20)  # who is refused hears so
        assert party.told.empty()
        return came

    def close(self) -> None:
        for party in self.parties.values():
            party.connection.stop()
        self._broker.stop()


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory, needs_mosquitto: None) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("listed")
    passwords = make_users(folder, LIST)
    access = (folder / "edgemse-access").read_text()
    broker = Mosquitto(folder, passwords, access=access)
    broker.start()
    scene = Scene(broker, passwords)
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory, needs_mosquitto: None) -> Iterator[Scene]:
    broker = Mosquitto(tmp_path_factory.mktemp("open"))
    broker.start()
    names = ("nobody", "collector", "pump-7", "laboratory", "dashboard")
    scene = Scene(broker, dict.fromkeys(names, ""))
    yield scene
    scene.close()


def test_the_table_is_there() -> None:
    found = rows()
    assert len(found) > 30
    assert {row.who for row in found} == {
        "nobody",
        "pump-7",
        "laboratory",
        "dashboard",
        "collector",
    }
    assert {row.with_list for row in found} == {"yes", "no"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.who} {row.does} {row.topic}")
def test_with_the_access_list(row: Row, listed: Scene) -> None:
    assert listed.may(row) == (row.with_list == "yes")


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.who} {row.does} {row.topic}")
def test_without_one(row: Row, open_to_all: Scene) -> None:
    assert open_to_all.may(row) == (row.without == "yes")


def test_a_device_with_a_strange_name_has_its_topics(tmp_path: Path, needs_mosquitto: None) -> None:
    passwords = make_users(tmp_path, "collector collector\ndevice hall 3/north\n")
    access = (tmp_path / "edgemse-access").read_text()
    broker = Mosquitto(tmp_path, passwords, access=access)
    broker.start()
    scene = Scene(broker, passwords)
    name = "hall 3%2Fnorth"
    own = f"edgemse/v1/{name}"
    assert scene.may(Row(name, "publishes", f"{own}/report", "", ""))
    assert scene.may(Row(name, "hears", f"{own}/ack", "", ""))
    assert scene.may(Row(name, "hears", "edgemse/v1/collector/main", "", ""))
    assert not scene.may(Row(name, "publishes", "edgemse/v1/hall 3/north/report", "", ""))
    scene.close()


def test_a_certificate_may_stand_for_name_and_password(
    tmp_path: Path, needs_mosquitto: None
) -> None:
    make_users(tmp_path, "device pump-7\n")
    authority = trustme.CA()
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "server-key", "client")}
    server = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(paths["ca"])
    server.cert_chain_pems[0].write_to_path(paths["server"])
    server.private_key_pem.write_to_path(paths["server-key"])
    client = authority.issue_cert("pump-7", common_name="pump-7")
    client.private_key_and_cert_chain_pem.write_to_path(paths["client"])
    broker = Mosquitto(
        tmp_path,
        access=(tmp_path / "edgemse-access").read_text(),
        tls=(paths["server"], paths["server-key"]),
        settings=[
            f"cafile {paths['ca']}",
            "require_certificate true",
            "use_identity_as_username true",
        ],
    )
    broker.start()
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    refused: queue.SimpleQueue[str] = queue.SimpleQueue()
    connection = Connection(
        Broker.at(
            f"localhost:{broker.port}",
            tls=True,
            ca_file=str(paths["ca"]),
            cert_file=str(paths["client"]),
        ),
        "test",
        handlers={"edgemse/v1/+/report": lambda who, _payload: heard.put(who)},
        on_refused=lambda topic, _reason: refused.put(topic),
    )
    connection.start(must_connect=True)
    connection.publish(Publication("edgemse/v1/pump-8/report", b"x"))
    assert refused.get(timeout=20) == "edgemse/v1/pump-8/report"
    connection.publish(Publication("edgemse/v1/pump-7/report", b"x"))
    assert heard.get(timeout=20) == "pump-7"
    connection.stop()
    broker.stop()
