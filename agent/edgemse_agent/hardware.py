"""Which board this is, what it is called by default, and how hot it is."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["AUTO_DEVICE", "BOARD_VARIABLE", "Board", "board", "default_device", "health"]

AUTO_DEVICE = "auto"
"""The setting `device` that stands for the default name."""
BOARD_VARIABLE = "EDGEMSE_BOARD"
"""Names the board where its own number is not to be seen, as in a container."""
SERIAL_FILE = "proc/device-tree/serial-number"
MACHINE_ID_FILE = "etc/machine-id"
CONTAINER_FILES = (".dockerenv", "run/.containerenv")
"""What Docker and Podman leave in a container; its machine id is its image's, and no board's."""
TEMPERATURE_FILE = "sys/class/thermal/thermal_zone0/temp"
THROTTLED_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"
"""Of a Raspberry Pi's firmware: bit 0 too little voltage now, bit 2 throttled now (raspberrypi.com,
"vcgencmd", get_throttled), in hexadecimal."""
UNDER_VOLTAGE, THROTTLED = 1, 4
NAME_END_CHARACTERS = 6
"""Of the serial number: enough to tell a fleet's boards apart, short enough to read aloud."""


class Board(NamedTuple):
    """A number that no other board has, and where it is from; both empty if there is none."""

    serial: str
    source: str


def board(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> Board:
    """Return the board: what the environment says, a Pi's serial number, else the machine id.

    A container's machine id is not taken: it comes and goes with the image.
    """
    named = environment.get(BOARD_VARIABLE, "").strip()
    if named:
        return Board(named, BOARD_VARIABLE)
    serial = _text(root / SERIAL_FILE)
    if serial:
        return Board(serial, "device tree")
    if any((root / name).exists() for name in CONTAINER_FILES):
        return Board("", "")
    machine = _text(root / MACHINE_ID_FILE)
    return Board(machine, "machine id") if machine else Board("", "")


def default_device(found: Board | None = None, host: str | None = None) -> str:
    """Return the host's name and the end of the board's number.

    >>> default_device(Board("10000000b5d8c9a2", "device tree"), "pump-room")
    'pump-room-d8c9a2'
    >>> default_device(Board("", ""), "pump-room.example.org")
    'pump-room'
    """
    serial = (board() if found is None else found).serial
    name = (socket.gethostname() if host is None else host).partition(".")[0] or "device"
    end = serial[-NAME_END_CHARACTERS:]
    return f"{name}-{end}" if end else name


def health(root: Path = Path("/")) -> dict[str, int]:
    """Return what the board says of itself, as far as it says it: the gauges cpu_*."""
    found: dict[str, int] = {}
    temperature, throttled = _text(root / TEMPERATURE_FILE), _text(root / THROTTLED_FILE)
    with contextlib.suppress(ValueError):  # a driver that says something else says nothing
        found["cpu_millidegrees"] = max(0, int(temperature))
    with contextlib.suppress(ValueError):
        bits = int(throttled, 16)
        found["cpu_throttled"] = int(bool(bits & THROTTLED))
        found["cpu_under_voltage"] = int(bool(bits & UNDER_VOLTAGE))
    return found


def _text(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text().strip("\0\n ")
    return ""
