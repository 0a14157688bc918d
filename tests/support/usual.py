"""What the short way of a line reads is what the long way says."""

from __future__ import annotations

from edgemse_agent.intake.usual import read
from edgemse_agent.lines import LabelLine, PredictionLine, SampleLine, parse

__all__ = ["check_usual"]


def check_usual(line: bytes) -> bool:
    """Compare both ways, to the bit; return whether the short one read the line."""
    found = read(line)
    if found is None:
        return False
    kind, key, where, y_true, y_pred, weight, ts, n = found
    said = parse(line.strip())
    wanted: SampleLine | PredictionLine | LabelLine
    if kind == "sample":
        assert y_true is not None
        assert y_pred is not None
        wanted = SampleLine(where, y_true, y_pred, weight, ts)
    elif kind == "prediction":
        assert key is not None
        assert y_pred is not None
        wanted = PredictionLine(key, where, y_pred, weight, ts)
    else:
        assert key is not None
        assert y_true is not None
        wanted = LabelLine(key, where, y_true, ts)
    assert (repr(said.line), said.n) == (repr(wanted), n), line  # repr tells -0.0 from 0.0
    return True
