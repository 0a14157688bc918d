"""The seed corpus: bytes made here, and bytes that the fuzzer found worth keeping.

`corpus.txt` has one input a line, in hex: what reached new code, the shortest of its kind.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from edgemse_agent.entries import Entry, Label, Prediction

from edgemse import Coverage, ErrorStats
from edgemse.cells import Cell, Identity, SealedCell, Series, Window, seal
from edgemse.presence import Attribute, Presence, encode_presence
from edgemse.wire import Ack, Code, Refusal, Report, encode_ack, encode_report

__all__ = ["corpus", "keep", "made"]

KEPT = Path(__file__).parent / "corpus.txt"
KEPT_SIZE_MAX = 80_000
"""Characters of `corpus.txt`; short inputs come first, long ones tell little more."""
SAMPLES: dict[str, list[tuple[float, ...]]] = {
    "empty": [],
    "refused": [(float("nan"), 1.0), (0.0, 1e300)],
    "one": [(1.0, 3.5)],
    "exact": [(1.0, 1.0)] * 30,
    "both signs": [(0.0, (-1.0) ** i * 1.3**i) for i in range(40)],
    "weighted": [(2.0, 2.5, 0.25), (3.0, 1.5, 2.0**-100), (5.0, 1.0, 2.0**100)],
    "wide": [(0.0, 2.0**-600), (0.0, -(2.0**-63)), (0.0, 1.0), (0.0, 2.0**200)],
    "smallest": [(0.0, 5e-324), (0.0, -5e-324)],
    "many": [(float(i % 11), float(i % 7) / 3) for i in range(500)],
}

TEXTS = (
    '{"y_true": 1.5, "y_pred": 1, "ts": "2026-01-01", "segment": 3, "weight": 2, "n": 7}',
    '{"id": 17, "y_pred": NaN, "model": "m", "version": "v", "output": "o", "loss": "mape"}',
    '{"id": "a", "y_true": 1e400}\n{"measure": "latency", "value": 0.25}\n{"request": "flush"}',
    '{"session": "s", "from": 3}\n{"producer": "000102030405060708090a0b0c0d0e0f"}',
    '{"producer": "00", "sequence": 0, "revision": 1, "final": true, "series": ["m"],'
    ' "window": [60, 60], "state": "AQ=="}',
    "hall%2F3",
    'device = "pi"\nledger = "/l"\n[windows]\nwidth_seconds = 60\n[broker]\naddress = "h:1"\n'
    "[delivery]\ndurable_seconds = 75\n[attributes]\nsite = 'north'\n",
)
"""Lines of clients, a level of a topic, settings."""
ENTRY = Entry(1.5, [(Series("m"), Prediction(2.0, 1.0, 1e9))], [Label(1.0, 1e9, (None,) * 4)])


def state_of(samples: list[tuple[float, ...]]) -> ErrorStats:
    s = ErrorStats()
    for sample in samples:
        s.update(*sample)
    return s


def coverage_of(labels: int) -> Coverage:
    coverage = Coverage()
    for lag_ms in range(0, 250 * labels, 250):
        coverage.predictions += 1
        coverage.match(lag_ms)
    return coverage


def cell_of(sequence: int, stats: ErrorStats) -> SealedCell:
    coverage = coverage_of(sequence % 3)
    series, window = Series("pump", "2", "", "hall"), Window(1_767_225_600, 60)
    identity = Identity(bytes(16), sequence)
    return seal(Cell(identity, 1 + sequence, True, series, window, stats, coverage))


def made() -> list[bytes]:
    states = [state_of(samples) for samples in SAMPLES.values()]
    cells = tuple(cell_of(i, s) for i, s in enumerate(states[:5]))
    acks = (
        Ack("w", {}),
        Ack("w", {Identity(bytes(16), 3): 2}, (Refusal(bytes(16), 4, 1, Code.WINDOW, "too wide"),)),
    )
    reports = [Report("d", 1, True, some, {"lines": 7}) for some in (cells, cells[:1], ())]
    return [
        b"",
        *(s.to_bytes() for s in states),
        *(s.to_bytes(histogram=False) for s in states if s.count),
        *(s.histogram.to_bytes() for s in states if s.histogram),
        *(coverage_of(n).to_bytes() for n in range(4)),
        *map(encode_report, reports),
        *map(encode_ack, acks),
        *(text.encode() for text in TEXTS),
        msgspec.msgpack.encode(ENTRY),
        encode_presence(
            Presence(True, "edgemse", "1f", attributes={"site": Attribute("north", 9)})
        ),
    ]


def corpus() -> list[bytes]:
    return [*made(), *map(bytes.fromhex, KEPT.read_text().split())]


def keep(folder: Path) -> int:
    """Write the inputs of a folder into `corpus.txt`; returns their number."""
    found = {path.read_bytes() for path in folder.iterdir()} - set(made())
    kept: list[str] = []
    size = 0
    for data in sorted(found, key=lambda data: (len(data), data)):
        size += 2 * len(data) + 1
        if size > KEPT_SIZE_MAX:
            break
        kept.append(data.hex() + "\n")
    KEPT.write_text("".join(kept))
    return len(kept)


def lay_out(folder: Path) -> None:
    """Write the corpus into a folder, one input a file, as libFuzzer wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(corpus()):
        (folder / f"seed-{number:04}").write_bytes(data)


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "lay-out":
        lay_out(folder)
    else:
        sys.stdout.write(f"{keep(folder)} inputs kept in {KEPT}\n")
