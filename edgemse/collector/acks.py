"""Acks: what the store holds now, told to each device in messages of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from edgemse.cells import Identity
from edgemse.wire import REPORT_BYTES_MAX, Ack, Refusal, encode_ack

__all__ = ["acks"]

IDENTITY_BYTES = 40
"""At most so much of an ack belongs to a committed cell whose producer stands alone."""
REFUSAL_BYTES = 48
"""The same of a refused one, beside its reason."""


def acks(
    worker: str, committed: Mapping[Identity, int], refused: Iterable[Refusal]
) -> Iterator[bytes]:
    """Yield the acks of one device, none larger than a report may be."""
    cells: dict[Identity, int] = {}
    refusals: list[Refusal] = []
    size = 0
    # Sorted, so that each producer stands once in an ack.
    for identity in sorted(committed):
        if size + IDENTITY_BYTES > REPORT_BYTES_MAX:
            yield encode_ack(Ack(worker, cells))
            cells, size = {}, 0
        cells[identity] = committed[identity]
        size += IDENTITY_BYTES
    for refusal in refused:
        refusal_bytes = REFUSAL_BYTES + len(refusal.reason.encode())
        if size + refusal_bytes > REPORT_BYTES_MAX:
            yield encode_ack(Ack(worker, cells, tuple(refusals)))
            cells, refusals, size = {}, [], 0
        refusals.append(refusal)
        size += refusal_bytes
    if cells or refusals:
        yield encode_ack(Ack(worker, cells, tuple(refusals)))
