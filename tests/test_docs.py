"""The documentation mentions everything that can be set, sent, counted or raised, and its
examples run.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import edgemse_agent
import msgspec
import pytest
import typer
from edgemse_agent import counting
from edgemse_agent.intake.rules import MqttRule
from edgemse_agent.options import COMMANDS, parser
from edgemse_agent.settings import AgentSettings

import edgemse
from edgemse import errors, wire
from edgemse.cli.app import app
from edgemse.collector import CollectorSettings
from edgemse.collector import counters as collector_counters
from edgemse.fleet.promised import Objective, objectives_of
from edgemse.monitor import monitor
from edgemse.presence import Attribute, Presence
from edgemse.rollups import job as rollup_job
from edgemse.topics import Topics

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = sorted(
    name
    for package in (edgemse, edgemse_agent)
    for _, name, _ in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
)
TEXT = "\n".join(page.read_text() for page in PAGES)


def code() -> set[str]:
    """Return every word inside backticks or an indented or fenced block."""
    spans = re.findall(r"`([^`\n]+)`", TEXT)
    blocks = re.findall(r"^(?: {4}.*|```.*?^```)$", TEXT, re.MULTILINE | re.DOTALL)
    return {word for part in spans + blocks for word in re.findall(r"[\w<>/.-]+", part)}


WORDS = code()


def options(command: Any) -> Iterator[str]:
    for name in command.params:
        yield from (option for option in name.opts if option.startswith("--"))
    for child in getattr(command, "commands", {}).values():
        yield child.name
        yield from options(child)


def keys(kind: type) -> Iterator[str]:
    hints = get_type_hints(kind)
    for field in fields(kind):
        yield field.name
        if is_dataclass(hints[field.name]):
            yield from keys(hints[field.name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_run(page: Path) -> None:
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_lead_somewhere(page: Path) -> None:
    headings = {
        path: {
            re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
        }
        for path in PAGES
    }
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings[target], link


@pytest.mark.parametrize("option", sorted(set(options(typer.main.get_command(app)))))
def test_every_command_and_option_is_documented(option: str) -> None:
    assert option in WORDS


def test_every_option_of_the_agent_is_documented() -> None:
    given = {o for action in parser()._actions for o in action.option_strings if o != "-h"}
    assert given - {"--help"} <= WORDS
    assert COMMANDS.keys() <= WORDS


@pytest.mark.parametrize("kind", [AgentSettings, MqttRule, CollectorSettings, Objective])
def test_every_setting_is_documented(kind: type) -> None:
    assert {key for key in keys(kind) if key not in WORDS} == set()


def test_the_example_of_objectives_is_one() -> None:
    page = (ROOT / "docs" / "objectives.md").read_text()
    example = re.search(r"^    \[\[objective\]\].*?(?=^\S)", page, re.MULTILINE | re.DOTALL)
    assert example is not None
    assert [each.kind for each in objectives_of(example[0])] == ["share", "coverage"]


def test_every_counter_is_documented() -> None:
    assert counting.MEANINGS.keys() <= WORDS
    assert monitor.MEANINGS.keys() <= WORDS
    assert collector_counters.MEANINGS.keys() <= WORDS
    assert rollup_job.MEANINGS.keys() <= WORDS


def test_every_error_is_documented_with_its_exit_code() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    for name in errors.__all__:
        assert f"| {getattr(errors, name).exit_code} | `{name}` |" in page


def test_every_topic_is_documented() -> None:
    topics = Topics()
    of_devices = (topics.report, topics.ack, topics.presence, topics.label, topics.label_ack)
    known = {kind("WHO").replace("WHO", "<device>") for kind in (*of_devices, topics.config)}
    known |= {topics.group_config("WHO").replace("WHO", "<name>")}
    known |= {topics.collector("WHO").replace("WHO", "<worker>")}
    known |= {topics.alert("WHO").replace("WHO", "<objective>")}
    series = [f"<{part}>" for part in ("model", "version", "segment", "output", "measure")]
    known |= {"/".join([f"{topics.prefix}/fleet", *series])}
    assert known - WORDS == set()


def test_every_code_of_a_refusal_is_documented() -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    assert [code for code in wire.Code if f"| `{code}` |" not in page] == []


@pytest.mark.parametrize(
    "kind", [wire.PackedReport, wire.PackedCell, wire._Ack, wire._Refused, Presence, Attribute]
)
def test_every_wire_field_is_documented(kind: type[msgspec.Struct]) -> None:
    page = (ROOT / "docs" / "wire.md").read_text()
    assert [name for name in kind.__struct_fields__ if name not in page] == []
