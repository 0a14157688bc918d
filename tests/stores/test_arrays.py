"""Columns in PostgreSQL's binary form: each value comes back as it was, or is refused."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.postgres import Postgres

from edgemse.stores.arrays import OIDS, encoded
from edgemse.stores.postgres import PostgresStore


@pytest.fixture(scope="module")
def store(postgres: Postgres) -> Iterator[PostgresStore]:
    store = PostgresStore(postgres.schema())
    yield store
    store.close()


VALUES = {
    "BOOLEAN": st.booleans(),
    "BYTEA": st.binary(max_size=40),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "TEXT": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40),
    "DOUBLE PRECISION": st.floats(),
}


def test_the_types_are_those_of_the_server(store: PostgresStore) -> None:
    with store.reading() as reading:
        for kind, oid in OIDS.items():
            sql = f"SELECT CAST(CAST('{kind.lower()}' AS regtype) AS oid)"
            assert reading.rows(sql).rows == [(oid,)]


@pytest.mark.parametrize("kind", VALUES)
def test_values_come_back_to_the_bit(store: PostgresStore, kind: str) -> None:
    @settings(
        max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(st.none() | VALUES[kind], min_size=1, max_size=30))
    def check(values: list[object]) -> None:
        with store.reading() as reading:
            rows = reading.rows(f"SELECT unnest(?::{kind}[])", [encoded(kind, values)]).rows
        assert [bits(value) for (value,) in rows] == [bits(value) for value in values]

    check()


def bits(value: object) -> object:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else struct.pack("d", value)
    return value


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("BIGINT", [1, 2.5]),
        ("BIGINT", ["1"]),
        ("BIGINT", [2**63]),
        ("BIGINT", [None, "1"]),
        ("BIGINT", [True]),
        ("DOUBLE PRECISION", ["1.5"]),
        ("BOOLEAN", [1]),
        ("TEXT", [b"a"]),
        ("TEXT", ["\ud800"]),
        ("BYTEA", ["a"]),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, values: list[object]) -> None:
    with pytest.raises(ValueError, match=r"is no|surrogates"):
        encoded(kind, values)
