"""What holds for any bytes: a typed error, or a whole object that writes the same bytes again."""

from __future__ import annotations

from collections.abc import Callable

from fuzz.device import check_device

from edgemse import Coverage, ErrorStats, ResidualHistogram
from edgemse.cells import unseal
from edgemse.errors import StateError, WireError
from edgemse.stats.grouped import merge_histograms
from edgemse.stats.parts import join_coverage, split_coverage, split_state
from edgemse.wire import decode_ack, decode_report, encode_ack, encode_report

FIGURES = tuple(
    name
    for name in dir(ErrorStats)
    if not name.startswith("_") and not callable(getattr(ErrorStats, name))
)
SHARES = (0.0, 0.01, 0.5, 0.95, 1.0)
TOLERANCES = (-1.0, 0.0, 5e-324, 0.3, 1.0, 2.0**200, float("inf"))
MAX_COUNT = 2**53
CELL_ERRORS = (StateError, WireError)


def check(data: bytes) -> None:
    """Raise nothing but AssertionError, and that only for a fault of ours."""
    check_state(data)
    check_histogram(data)
    check_coverage(data)
    check_report(data)
    check_ack(data)
    check_device(data)


def check_state(data: bytes) -> None:
    try:
        s = ErrorStats.from_bytes(data)
    except StateError as error:
        assert refused(split_state, data) == str(error)
        return
    assert s.to_bytes() == data
    assert ErrorStats.from_moments(*split_state(data)).to_bytes() == data
    assert ErrorStats.from_moments(s.moments(), s.histogram) == s
    read_all(s)
    assert s.has_histogram == (s.histogram is not None)
    assert s.histogram is None or s.histogram.count == s.count
    bare = ErrorStats.from_bytes(s.to_bytes(histogram=False))
    assert bare.moments() == s.moments()
    for other in (s, ErrorStats.from_bytes(data), ErrorStats(), bare):
        merged = s.copy()
        total = s.count + other.count
        if total > MAX_COUNT:
            continue
        try:
            merged.merge(other)
        except OverflowError:
            assert max(s.nonfinite, s.out_of_range) > MAX_COUNT // 2
            continue
        assert merged.count == total
        read_all(merged)
    s.update(1.0, 2.0**200)
    s.update_many([0.0, 1.0], [-1e-300, 3.0])
    read_all(s)


def read_all(s: ErrorStats) -> None:
    """Every figure can be read, however odd the state."""
    for name in FIGURES:
        getattr(s, name)
    s.mse_interval()
    s.rmse_interval(0.9999)
    for q in SHARES:
        s.quantile(q)
        s.abs_quantile(q)
    for t in TOLERANCES:
        s.share_above(t)
    repr(s)


def refused(read: Callable[[bytes], object], data: bytes) -> str:
    """What the reader says against the bytes."""
    try:
        read(data)
    except StateError as error:
        return str(error)
    raise AssertionError(f"{read} takes {data.hex()}")


def check_histogram(data: bytes) -> None:
    try:
        h = ResidualHistogram.from_bytes(data)
    except StateError:
        assert data == b"" or refused(lambda raw: merge_histograms([(0, raw)]), data)
        return
    assert h.to_bytes() == data
    assert merge_histograms([(0, data)]) == {0: h}
    counts = [h.zero_count, *h.positive()[1], *h.negative()[1]]
    assert sum(counts) == h.count
    for q in SHARES:
        h.quantile(q)
        h.abs_quantile(q)
    for t in TOLERANCES:
        h.share_above(t)
        h.share_above_bounds(t)
    twice = h.copy()
    if 2 * h.count > MAX_COUNT:
        return
    twice.merge(h)
    assert twice.count == 2 * h.count
    twice.update(2.0**200)
    twice.update(-5e-324)
    assert twice.count == 2 * h.count + 2


def check_coverage(data: bytes) -> None:
    try:
        coverage = Coverage.from_bytes(data)
    except StateError:
        return
    assert coverage.to_bytes() == data
    assert join_coverage(split_coverage(data)) == data
    assert coverage.lag_histogram.count == coverage.matched
    twice = coverage.copy()
    try:
        twice.merge(Coverage.from_bytes(data))
    except OverflowError:
        assert max(*coverage.to_row()[:7], coverage.matched * 2**10) > 2**62
        assert twice == coverage
        return
    assert twice.predictions == 2 * coverage.predictions
    repr(twice)


def check_report(data: bytes) -> None:
    try:
        report = decode_report(data)
    except WireError:
        return
    assert decode_report(encode_report(report)) == report
    for sealed in report.cells:
        try:
            cell = unseal(sealed)
        except CELL_ERRORS:
            continue
        assert cell.stats.to_bytes() == sealed.state


def check_ack(data: bytes) -> None:
    try:
        ack = decode_ack(data)
    except WireError:
        return
    assert decode_ack(encode_ack(ack)) == ack
