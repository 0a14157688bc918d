"""Counters and gauges, and Prometheus' text of them as Prometheus' own parser reads it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from edgemse.counters import Counters, counter, gauge

MEANINGS = {"lines": counter('back\\slash, "quotes"\nand two lines'), "queue": gauge("waiting")}


def test_every_number_begins_at_zero() -> None:
    assert Counters(MEANINGS).snapshot() == {"lines": 0, "queue": 0}


def test_an_unknown_name_is_a_bug() -> None:
    counters = Counters(MEANINGS)
    with pytest.raises(KeyError):
        counters.count("line")
    with pytest.raises(AssertionError):
        counters.set("lines", 3)


def test_prometheus_reads_the_text() -> None:
    counters = Counters(MEANINGS)
    counters.count("lines", 7)
    counters.set("queue", 3)
    text = counters.exposition("edgemse_agent")
    found = {each.name: each for each in text_string_to_metric_families(text)}
    assert found.keys() == {"edgemse_agent_lines", "edgemse_agent_queue"}
    lines = found["edgemse_agent_lines"]
    assert (lines.type, lines.documentation) == ("counter", MEANINGS["lines"].help)
    (sample,) = lines.samples
    assert (sample.name, sample.value) == ("edgemse_agent_lines_total", 7)
    (sample,) = found["edgemse_agent_queue"].samples
    assert (sample.name, sample.value) == ("edgemse_agent_queue", 3)
