"""One prefix, one store: what a collector makes of the presences of others."""

from __future__ import annotations

import pytest

from edgemse.collector.neighbours import Neighbours, Verdict, checked
from edgemse.errors import OtherStoreError
from edgemse.presence import Presence, encode_presence

OURS = Presence(online=True, software="edgemse 1", run="run-1", store="ours")


def said(run: str = "run-2", store: str = "ours", *, online: bool = True) -> bytes:
    return encode_presence(Presence(online=online, software="edgemse 1", run=run, store=store))


@pytest.mark.parametrize(
    ("worker", "payload", "verdict"),
    [
        ("main", said("run-1"), Verdict.NOTHING),
        ("main", said("run-1", online=False), Verdict.ANNOUNCE),
        ("main", said(online=False), Verdict.ANNOUNCE),
        ("main", said(), Verdict.WARN),
        ("main", b"", Verdict.ANNOUNCE),
        ("main", said(store="theirs"), Verdict.GIVE_WAY),
        ("main", said(store="gone", online=False), Verdict.ANNOUNCE),
        ("main", said(store="", online=False), Verdict.ANNOUNCE),
        ("main", b"{", Verdict.NOTHING),
        ("b", said(), Verdict.NOTHING),
        ("b", said(online=False), Verdict.NOTHING),
        ("b", said(store="", online=False), Verdict.NOTHING),
        ("b", b"", Verdict.NOTHING),
        ("b", b"\xff", Verdict.NOTHING),
        ("b", said(store="theirs"), Verdict.GIVE_WAY),
        ("b", said(store="theirs", online=False), Verdict.GIVE_WAY),
        ("b", said(store="gone"), Verdict.CLEAR),
    ],
)
def test_what_a_presence_means(worker: str, payload: bytes, verdict: Verdict) -> None:
    neighbours = Neighbours("main", OURS, frozenset({"gone"}))
    assert neighbours.heard(worker, payload) is verdict


def test_a_collector_does_not_start_beside_another_store() -> None:
    found = {"a": said(), "b": said(store="theirs", online=False), "c": b"not a presence"}
    with pytest.raises(OtherStoreError, match="theirs of collector 'b', offline; this"):
        checked("ours", found, take_over=False)
    assert checked("ours", found, take_over=True) == {"theirs"}
    del found["b"]
    assert checked("ours", found, take_over=False) == frozenset()
