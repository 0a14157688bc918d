"""A short campaign, and that its auditor sees what it is there to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from chaos.audit import audit
from chaos.campaign import campaign, killed

SECONDS = 20.0
SEED = 20_261
KILLS = 10


@dataclass
class Feeder:
    name: str
    errors: list[float]
    source: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        self.source = SimpleNamespace(errors=self.errors)


@pytest.mark.timeout(420)
def test_what_feeders_saw_confirmed_is_counted_once(tmp_path: Path) -> None:
    print(f"seed {SEED}; python tests/chaos/campaign.py --seed {SEED} --seconds {SECONDS:g}")
    found = campaign(SECONDS, SEED, agents=3, every=1.0, folder=tmp_path)
    assert found["wrong"] == []
    assert found["faults"] > 5
    assert found["samples_confirmed"] > 1_000


@pytest.mark.timeout(420)
def test_an_agent_that_is_killed_ten_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}; python tests/chaos/campaign.py --seed {SEED} --kills {KILLS}")
    found = killed(KILLS, SEED, tmp_path)
    assert found["wrong"] == []
    assert found["samples_confirmed"] > 1_000


def test_the_auditor_sees_a_lost_a_doubled_and_a_wrong_sample() -> None:
    fed = [Feeder("a", [1.0, 2.0]), Feeder("b", [3.0]), Feeder("c", [1.0, -1.0])]
    right = {"count": 2, "mse": 2.5, "bias": 1.5}
    fleet = {"a": right, "b": {"count": 1, "mse": 9.0, "bias": 3.0}}
    lost = audit(fleet, fed, [])
    assert (lost.lost, lost.twice) == (2, 0)
    assert lost.wrong == ["c: counted 0, wanted 2 to 2"]
    twice = audit({"a": right | {"count": 3}, "z": right}, fed[:1], [])
    assert (twice.lost, twice.twice) == (0, 3)
    wrong = audit({"a": right | {"mse": 2.5 * (1 + 1e-11), "bias": 1.5 + 1e-11}}, fed[:1], [])
    assert [text.split()[1] for text in wrong.wrong] == ["MSE", "bias"]


@pytest.mark.parametrize(
    ("counted", "closed", "lost", "twice"),
    [(9, False, 1, 0), (10, False, 0, 0), (12, False, 0, 0), (13, False, 0, 1), (12, True, 0, 2)],
)
def test_a_killed_model_may_count_what_it_did_not_see_confirmed(
    counted: int, closed: bool, lost: int, twice: int
) -> None:
    run = SimpleNamespace(segment="m", fed=12, confirmed=10, closed=closed)
    found = audit({"m": {"count": counted}}, [], [run])
    assert (found.lost, found.twice, bool(found.wrong)) == (lost, twice, bool(lost or twice))
