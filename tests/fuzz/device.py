"""What holds for any bytes that reach a device: its lines, settings, topics, and ledger's rows."""

from __future__ import annotations

import math
import tomllib

import msgspec
from edgemse_agent.ledger.rows import entry_of
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine, parse
from edgemse_agent.settings import AgentSettings
from support.usual import check_usual

from edgemse.cells import SealedCell, check
from edgemse.errors import SettingsError, WireError
from edgemse.names import wrong_with
from edgemse.presence import decode_presence, encode_presence
from edgemse.settings import load
from edgemse.topics import checked_device, device_in, escape

__all__ = ["check_device"]


def check_device(data: bytes) -> None:
    """Raise nothing but AssertionError, and that only for a fault of ours."""
    for line in data.split(b"\n"):
        check_line(line)
    check_presence(data)
    check_entry(data)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    check_topic(text)
    check_settings(text)


def check_line(line: bytes) -> None:
    check_usual(line)
    parsed = parse(line)
    assert (parsed.line is None) == bool(parsed.wrong)
    assert len(parsed.wrong) < 1_000
    match parsed.line:
        case SampleLine() | PredictionLine() | LabelLine() as taken:
            assert not any(wrong_with(name) for name in taken.where if name is not None)
            assert taken.time is None or math.isfinite(taken.time)
        case SealedCell() as cell:
            check(cell)


def check_presence(data: bytes) -> None:
    try:
        presence = decode_presence(data)
    except WireError:
        return
    assert decode_presence(encode_presence(presence)) == presence


def check_entry(data: bytes) -> None:
    try:
        entry = entry_of(data)
    except (msgspec.MsgspecError, ValueError, OverflowError):
        return
    assert entry_of(msgspec.msgpack.encode(entry)) == entry or b"\x7f\xf8" in data  # a NaN


def check_topic(level: str) -> None:
    try:
        name = device_in(level)
    except SettingsError:
        return
    assert escape(name) == level
    assert checked_device(name) == name
    assert not set(level) & set("/+#\0")


def check_settings(text: str) -> None:
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return
    try:
        settings = load(AgentSettings, content, "agent.toml")
    except SettingsError as error:
        assert str(error).startswith("agent.toml: ")
        return
    assert checked_device(settings.device) == settings.device
