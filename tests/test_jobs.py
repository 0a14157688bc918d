"""What a collector does every so often, by a clock that the test turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.waiting import eventually

from edgemse.errors import StoreError
from edgemse.jobs import Job, Jobs
from edgemse.stores.duckdb import DuckDBStore


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def leased(_name: str, _seconds: float) -> bool:
    return True


def numbers(jobs: Jobs) -> dict[tuple[str, str], float]:
    """Return the jobs' metrics as Prometheus reads them, by name and job."""
    families = text_string_to_metric_families(jobs.exposition("edgemse_collector"))
    return {
        (sample.name.removeprefix("edgemse_collector_job_"), sample.labels["job"]): sample.value
        for family in families
        for sample in family.samples
    }


def test_each_job_runs_at_the_start_and_then_in_its_period(clock: Clock) -> None:
    ran: list[tuple[str, float]] = []

    def note(name: str) -> Callable[[Event], None]:
        return lambda _stopping: ran.append((name, clock.time))

    jobs = Jobs(
        [Job("slow", 60, note("slow")), Job("fast", 25, note("fast"))],
        lease=leased,
        now=clock,
        monotonic=clock,
    )
    while clock.time < 100:
        clock.time += jobs.turn()
    assert ran == [("slow", 0), *[("fast", at) for at in (0, 25, 50)], ("slow", 60), ("fast", 75)]
    assert numbers(jobs)["runs_total", "fast"] == 4
    assert numbers(jobs)["last_run_seconds", "slow"] == 60


def test_a_job_that_fails_is_told_and_tried_again(clock: Clock) -> None:
    errors: list[Exception] = [StoreError("the disk is full"), ZeroDivisionError("a defect")]

    def run(_stopping: Event) -> None:
        clock.time += 1.5
        if errors:
            raise errors.pop(0)

    other = Event()
    jobs = Jobs(
        [Job("rollups", 60, run), Job("other", 60, lambda _stopping: other.set())],
        lease=leased,
        monotonic=clock,
    )
    for told in ("the disk is full", "ZeroDivisionError('a defect')"):
        pause = jobs.turn()
        clock.time += pause
        assert jobs.problems() == [f"the job rollups failed: {told}"]
        assert numbers(jobs)["failing", "rollups"] == 1
        assert other.is_set()
    jobs.turn()
    assert jobs.problems() == []
    found = numbers(jobs)
    assert (found["failures_total", "rollups"], found["runs_total", "rollups"]) == (2, 3)
    assert found["failing", "rollups"] == 0
    assert found["last_run_milliseconds", "rollups"] == 1_500


def test_one_collector_at_a_time_runs_a_job(clock: Clock, tmp_path: Path) -> None:
    store = DuckDBStore(tmp_path / "fleet.duckdb", now=clock)
    ran: list[str] = []

    def jobs(worker: str) -> Jobs:
        def run(_stopping: Event) -> None:
            ran.append(worker)

        def own(_stopping: Event) -> None:
            ran.append(f"{worker}'s own")

        return Jobs(
            [Job("rollups", 60, run), Job("presence", 60, own, shared=False)],
            lease=lambda name, seconds: store.lease(name, worker, seconds),
            monotonic=clock,
        )

    a, b = jobs("a"), jobs("b")
    for _ in range(2):
        a.turn()
        b.turn()
        clock.time += 60
    assert ran == ["a", "a's own", "b's own"] * 2
    clock.time += 2 * 60
    b.turn()
    assert ran[6:] == ["b", "b's own"], "the lease of a collector that is gone has run out"
    store.close()


def test_a_job_keeps_its_lease_for_however_long_it_runs() -> None:
    asked: list[tuple[str, float]] = []
    renewed, failed = Event(), Event()

    def lease(name: str, seconds: float) -> bool:
        asked.append((name, seconds))
        if len(asked) == 3:
            failed.set()
            raise StoreError("the store is away")
        if len(asked) == 4:
            renewed.set()
        return True

    def run(_stopping: Event) -> None:
        assert renewed.wait(20)
        assert failed.is_set(), "a renewal that fails is tried again"

    jobs = Jobs([Job("rollups", 60, run)], lease=lease, renewal_seconds=0.001)
    jobs.turn()
    assert jobs.problems() == []
    assert set(asked) == {("rollups", 2 * 60 + 60.0)}
    assert [each.name for each in threading.enumerate() if each.name.startswith("lease")] == []


def test_a_job_that_another_collector_takes_over_says_so(caplog: pytest.LogCaptureFixture) -> None:
    answers = [True, False]

    def run(_stopping: Event) -> None:
        eventually(lambda: "another collector has taken the job rollups over" in caplog.text)

    Jobs([Job("rollups", 60, run)], lease=lambda *_: answers.pop(0), renewal_seconds=0.001).turn()
    assert answers == []


def test_a_lease_that_cannot_be_had_from_the_store_is_a_failure(clock: Clock) -> None:
    def lease(_name: str, _seconds: float) -> bool:
        raise StoreError("the store is gone")

    jobs = Jobs([Job("rollups", 60, lambda _stopping: None)], lease=lease, monotonic=clock)
    jobs.turn()
    assert jobs.problems() == ["the job rollups failed: the store is gone"]


def test_jobs_end_promptly_and_begin_nothing_more() -> None:
    begun, late = Event(), Event()

    def run(stopping: Event) -> None:
        begun.set()
        assert stopping.wait(30)

    jobs = Jobs(
        [Job("long", 1_000, run), Job("late", 1_000, lambda _stopping: late.set())], lease=leased
    )
    jobs.start()
    eventually(begun.is_set)
    jobs.stop()
    assert not late.is_set()
    jobs.stop()
