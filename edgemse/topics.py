"""Every MQTT topic that edgemse uses.

    edgemse/v1/<device>/report      up: cells                              docs/wire.md, "Report"
    edgemse/v1/<device>/ack         down: what is committed                "Ack"
    edgemse/v1/<device>/presence    up, retained: birth and last will      "Presence"
    edgemse/v1/<device>/label       down: labels                           "Labels"
    edgemse/v1/<device>/label/ack   up: which labels are durable           "Labels"
    edgemse/v1/<device>/config      down, retained: settings of a device   "Settings"
    edgemse/v1/group/<name>/config  down, retained: settings of a group    "Settings"
    edgemse/v1/collector/<worker>   retained: birth and last will          "Presence"
    edgemse/v1/fleet/<model>/<version>/<segment>/<output>/<measure>        "Figures"
    edgemse/v1/alert/<objective>    retained: an objective's state         "Figures"

The device's name stands third, so that one line of a broker's access list binds each device to its
own topics: `pattern readwrite edgemse/v1/%u/#`. The third levels that are no devices are RESERVED.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from edgemse.errors import SettingsError
from edgemse.names import wrong_with

__all__ = [
    "DEFAULT_PREFIX",
    "LABELS_BYTES_MAX",
    "RESERVED",
    "Topics",
    "checked_device",
    "device_in",
    "escape",
    "unescape",
]

DEFAULT_PREFIX = "edgemse/v1"
RESERVED = frozenset({"collector", "fleet", "alert", "group"})
EMPTY = "%"
"""Stands for an empty name in a topic: MQTT levels may be empty, but few tools show it."""
NAME_BYTES_MAX = 256
LABELS_BYTES_MAX = 65_536
"""The largest message on a label topic, as the largest report: docs/wire.md."""


def escape(name: str) -> str:
    """Percent-encode what MQTT, or a reader of topics, gives a meaning: / + # $ % and controls.

    >>> escape("hall 3/north")
    'hall 3%2Fnorth'
    """
    return quote(name, safe=" !\"&'()*,-.:;<=>?@[\\]^_`{|}~")


def unescape(level: str) -> str:
    """Return the name that `escape` encoded."""
    return unquote(level)


def checked_device(name: str) -> str:
    """Return the name if a device can be called so, else raise SettingsError."""
    wrong = wrong_with(name)
    if wrong:
        raise SettingsError(f"device name {name!r:.80}: {wrong}; set another device name")
    if not name or len(name.encode()) > NAME_BYTES_MAX or name in RESERVED:
        raise SettingsError(
            f"device name {name!r:.80}: wanted 1 to {NAME_BYTES_MAX} bytes,"
            f" none of {', '.join(sorted(RESERVED))}; set another device name"
        )
    return name


def device_in(level: str) -> str:
    """Return the device that a level of a topic stands for, else raise SettingsError.

    Only the spelling that `escape` gives counts: an access list binds spellings, so that one name
    in two spellings (`%67ood` for `good`) would be two users'.
    """
    name = checked_device(unescape(level))
    if escape(name) != level:
        raise SettingsError(
            f"topic level {level!r:.80}: device {name!r:.80} is written {escape(name)!r:.80} in"
            " topics; another spelling is nobody's"
        )
    return name


class Topics:
    """The topic names under one prefix."""

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        if not prefix or prefix.strip("/") != prefix or set("+#\0") & set(prefix):
            raise SettingsError(
                f"topic prefix {prefix!r}: wanted levels joined by /, without + or #,"
                f" for example {DEFAULT_PREFIX!r}"
            )
        self.prefix = prefix
        self.any_report = f"{prefix}/+/report"
        self.any_label_ack = f"{prefix}/+/label/ack"
        self.any_presence = f"{prefix}/+/presence"
        self.any_collector = f"{prefix}/collector/+"
        self.any_fleet = f"{prefix}/fleet/+/+/+/+/+"

    def report(self, device: str) -> str:
        """Cells, from the device."""
        return f"{self.prefix}/{escape(device)}/report"

    def ack(self, device: str) -> str:
        """What the collector has committed, to the device."""
        return f"{self.prefix}/{escape(device)}/ack"

    def presence(self, device: str) -> str:
        """The device's retained birth and last will."""
        return f"{self.prefix}/{escape(device)}/presence"

    def label(self, device: str) -> str:
        """Labels, to the device."""
        return f"{self.prefix}/{escape(device)}/label"

    def label_ack(self, device: str) -> str:
        """Which labels the device holds durably, to whoever sent them."""
        return f"{self.prefix}/{escape(device)}/label/ack"

    def config(self, device: str) -> str:
        """Retained settings, to the device."""
        return f"{self.prefix}/{escape(device)}/config"

    def group_config(self, group: str) -> str:
        """Retained settings, to every device of a group."""
        return f"{self.prefix}/group/{escape(group)}/config"

    def collector(self, worker: str) -> str:
        """A collector's retained birth and last will."""
        return f"{self.prefix}/collector/{escape(worker)}"

    def fleet(self, model: str, version: str, segment: str, output: str, measure: str) -> str:
        """The retained figures of one series, merged over the fleet."""
        names = (model, version, segment, output, measure)
        return f"{self.prefix}/fleet/{'/'.join(escape(name) or EMPTY for name in names)}"

    def alert(self, objective: str) -> str:
        """The retained state of an objective."""
        return f"{self.prefix}/alert/{escape(objective)}"
