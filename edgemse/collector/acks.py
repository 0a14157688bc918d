"""Acks: what the store holds now, told to each device in messages of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edgemse.cells import Identity
from edgemse.wire import REPORT_BYTES_MAX, Ack, Code, Refusal, encode_ack

__all__ = ["acks"]

# At most so many bytes of an ack, by MessagePack's own sizes (docs/wire.md, "Ack").
HEADER_BYTES = 32
"""Beside the worker's name and the store's id: seven small values and the lengths of two arrays."""
CELL_BYTES = 40
"""A cell whose producer stands alone; each further one of the same producer takes 19."""
REASON_BYTES = 24
"""A group of refused cells, beside its code and its reason."""


def acks(
    worker: str, store: str, committed: Mapping[Identity, int], refused: Iterable[Refusal]
) -> Iterator[bytes]:
    """Yield the acks of one device, none larger than a report may be."""
    start = HEADER_BYTES + len(worker.encode()) + len(store.encode())
    cells: dict[Identity, int] = {}
    refusals: list[Refusal] = []
    reasons: set[tuple[Code, str]] = set()
    size = start

    def full() -> bytes:
        nonlocal cells, refusals, size
        ack = encode_ack(Ack(worker, cells, tuple(refusals), store))
        cells, refusals, size = {}, [], start
        reasons.clear()
        return ack

    # Sorted, so that each producer stands once in an ack.
    for identity in sorted(committed):
        if size + CELL_BYTES > REPORT_BYTES_MAX:
            yield full()
        cells[identity] = committed[identity]
        size += CELL_BYTES
    for refusal in refused:
        why = refusal.code, refusal.reason
        reason_bytes = REASON_BYTES + len(refusal.code) + len(refusal.reason.encode())
        if size + CELL_BYTES + (why not in reasons) * reason_bytes > REPORT_BYTES_MAX:
            yield full()
        size += CELL_BYTES + (why not in reasons) * reason_bytes
        reasons.add(why)
        refusals.append(refusal)
    if cells or refusals:
        yield full()
