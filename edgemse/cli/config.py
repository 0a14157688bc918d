"""`edgemse config`: settings of devices and groups, as the broker retains them."""

from __future__ import annotations

import dataclasses
import json
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from edgemse_agent.central import ALLOWED, checked, read_document

from edgemse.broker import BrokerSettings
from edgemse.cli.broker_options import BrokerOptions, connects
from edgemse.errors import BrokerError, SettingsError
from edgemse.mqtt import Connection, Publication
from edgemse.printing import say
from edgemse.topics import Topics, checked_device

__all__ = ["app", "clear", "set_", "show"]

RETAINED_SECONDS = 2.0
"""A retained message comes with the subscription; one that has not come by then is not there."""
ECHO_SECONDS = 10.0
"""For what was published to come back from the broker."""

app = typer.Typer(
    no_args_is_help=True,
    help="Settings that devices take from the broker, if their own file allows it.",
)

Device = Annotated[str, typer.Option("--device", metavar="NAME", help="Of this device.")]
Group = Annotated[str, typer.Option("--group", metavar="NAME", help="Of this group of devices.")]
Keys = Annotated[
    list[str],
    typer.Argument(metavar="KEY=VALUE...", help="For example windows.width_seconds=300."),
]


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """A topic at a broker."""

    broker: BrokerSettings
    topic: str


class _Retained:
    """What the broker retains on a topic, and how to change it."""

    def __init__(self, connection: Connection, heard: queue.SimpleQueue[bytes], topic: str) -> None:
        self._connection, self._heard, self._topic = connection, heard, topic

    def read(self, seconds: float = RETAINED_SECONDS) -> bytes:
        """Return the payload, empty if there is none."""
        try:
            return self._heard.get(timeout=seconds)
        except queue.Empty:
            return b""

    def write(self, payload: bytes) -> None:
        """Retain a payload, and see it come back; BrokerError if it does not."""
        self._connection.publish(Publication(self._topic, payload, retain=True))
        try:
            came = self._heard.get(timeout=ECHO_SECONDS)
        except queue.Empty:
            came = None
        if came != payload:
            raise BrokerError(
                f"{self._topic}: the broker did not take it"
                f" ({self._connection.last_error or 'no answer'}); check its access list"
            )


@contextmanager
def _retained(place: _Place) -> Iterator[_Retained]:
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    connection = Connection(
        place.broker.broker(),
        "edgemse-config",
        handlers={place.topic: lambda _, payload: heard.put(payload)},
    )
    connection.start(must_connect=True)
    try:
        yield _Retained(connection, heard, place.topic)
    finally:
        connection.stop()


def _place(broker: BrokerSettings, device: str, group: str) -> _Place:
    if bool(device) == bool(group):
        raise SettingsError("say either --device or --group")
    topics = Topics(broker.prefix)
    if group:
        return _Place(broker, topics.group_config(group))
    return _Place(broker, topics.config(checked_device(device)))


def _changed(document: dict[str, dict[str, Any]], keys: list[str]) -> dict[str, dict[str, Any]]:
    """Return the document with the keys set; a key without a value is taken out."""
    tables = {table: dict(values) for table, values in document.items()}
    for each in keys:
        name, equals, text = each.partition("=")
        table, _, key = name.partition(".")
        if not equals or key not in ALLOWED.get(table, ()):
            known = ", ".join(f"{t}.{k}" for t in ALLOWED for k in sorted(ALLOWED[t]))
            raise SettingsError(f"{each!r}: wanted KEY=VALUE, KEY one of {known}")
        if not text:
            tables.get(table, {}).pop(key, None)
            continue
        try:
            tables.setdefault(table, {})[key] = json.loads(text)
        except ValueError:
            raise SettingsError(f"{each!r}: wanted a number after =") from None
    found = {table: values for table, values in tables.items() if values}
    checked(found, "settings")
    return found


@app.command("set")
@connects()
def set_(
    keys: Keys,
    broker: BrokerOptions,
    device: Device = "",
    group: Group = "",
) -> None:
    """Change some keys; KEY= takes one out. Devices apply it at once, or when they connect."""
    with _retained(_place(broker.settings(), device, group)) as retained:
        before = read_document(retained.read(), "what the broker retains")
        document = _changed({t: dict(v) for t, v in before.items()}, keys)
        retained.write(msgspec.json.encode(document) if document else b"")
    say(json.dumps(document, indent=2))


@app.command()
@connects()
def show(
    broker: BrokerOptions,
    device: Device = "",
    group: Group = "",
) -> None:
    """Print what the broker retains, as JSON."""
    with _retained(_place(broker.settings(), device, group)) as retained:
        document = read_document(retained.read(), "what the broker retains")
    say(json.dumps(document, indent=2))


@app.command()
@connects()
def clear(
    broker: BrokerOptions,
    device: Device = "",
    group: Group = "",
) -> None:
    """Take everything back: devices go on with their own files."""
    with _retained(_place(broker.settings(), device, group)) as retained:
        if retained.read():
            retained.write(b"")
