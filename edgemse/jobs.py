"""What the collector's process does every so often, beside taking reports in: one thread for all.

A job belongs to the whole of a store, not to one of its collectors: of several, one at a time runs
it, by the store's lease. Only a job that is each collector's own (its presence) goes without.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from threading import Event, Thread

from edgemse.counters import Counters, counter, exposition, gauge
from edgemse.errors import EdgemseError

__all__ = ["MEANINGS", "Job", "Jobs"]

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""A lease lasts two periods and so much longer: another collector goes on that late."""

MEANINGS = {
    "job_runs": counter("Runs of the job, failed ones included"),
    "job_failures": counter("Runs of the job that failed"),
    "job_failing": gauge("1 while the last run of the job failed, else 0"),
    "job_last_run_seconds": gauge("When the job last ended, seconds since 1970-01-01 UTC"),
    "job_last_run_milliseconds": gauge("How long the last run of the job took"),
}
"""Each number of a job; docs/collector.md lists the same."""


@dataclass(frozen=True, slots=True)
class Job:
    """`run` is called every so often; it ends soon after the event that it is given is set."""

    name: str
    every_seconds: float
    run: Callable[[Event], None]
    shared: bool = True
    """Whether only one collector of a store at a time shall run it."""


@dataclass(slots=True)
class _Entry:
    job: Job
    due: float
    counters: Counters
    problem: str = ""


class Jobs:
    """Runs each job once at the start and then every so often, from `start` to `stop`.

    A run that fails is logged, counted and tried again a period later. Thread safety: `problems`
    and `exposition` may be called from any thread.

    Args:
        jobs: What to run.
        lease: The store's lease, for this collector: (name, seconds) -> bool.
        now: Seconds since 1970-01-01 UTC.
        monotonic: Seconds that never jump.
        renewal_seconds: How often a job that runs long renews its lease, which lasts longer.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        lease: Callable[[str, float], bool],
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        renewal_seconds: float = LEASE_SECONDS / 3,
    ) -> None:
        self._lease = lease
        self._renewal_seconds = renewal_seconds
        self._now, self._monotonic = now, monotonic
        start = monotonic()
        self._entries = [_Entry(job, start, Counters(MEANINGS)) for job in jobs]
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Let the present run end, and begin no other."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def turn(self) -> float:
        """Run what is due, and return the seconds until something is due again."""
        for entry in self._entries:
            if not self._stopping.is_set() and self._monotonic() >= entry.due:
                self._run_one(entry)
                entry.due = self._monotonic() + entry.job.every_seconds
        return max(0.0, min(entry.due for entry in self._entries) - self._monotonic())

    def problems(self) -> list[str]:
        """Return a line for each job whose last run failed."""
        return [entry.problem for entry in self._entries if entry.problem]

    def exposition(self, prefix: str) -> str:
        """Return the numbers of each job in Prometheus' text format."""
        return exposition(prefix, "job", {each.job.name: each.counters for each in self._entries})

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._stopping.wait(self.turn())

    def _run_one(self, entry: _Entry) -> None:
        job, counters = entry.job, entry.counters
        begun = self._monotonic()
        try:
            if job.shared and not self._leased(job):
                entry.problem = ""  # another collector runs it, and says if it fails
                counters.set("job_failing", 0)
                return
            with self._held(job) if job.shared else nullcontext():
                job.run(self._stopping)
        except EdgemseError as error:
            self._failed(entry, str(error))
            log.error("%s; trying again in %g s", entry.problem, job.every_seconds)
        except Exception as error:
            # A defect of one job must not end the others.
            self._failed(entry, repr(error))
            log.exception("%s; trying again in %g s", entry.problem, job.every_seconds)
        else:
            entry.problem = ""
            counters.set("job_failing", 0)
        counters.count("job_runs")
        counters.set("job_last_run_seconds", int(self._now()))
        counters.set("job_last_run_milliseconds", int((self._monotonic() - begun) * 1000))

    def _leased(self, job: Job) -> bool:
        return self._lease(job.name, 2 * job.every_seconds + LEASE_SECONDS)

    @contextmanager
    def _held(self, job: Job) -> Iterator[None]:
        """Keep the lease while the job runs, for however long it does."""
        ended = Event()

        def renew() -> None:
            while not ended.wait(self._renewal_seconds):
                try:
                    if not self._leased(job):
                        log.error(
                            "another collector has taken the job %s over while it ran", job.name
                        )
                        return
                except EdgemseError as error:  # it lasts for two periods more, and is tried again
                    log.warning("the lease of the job %s is not renewed: %s", job.name, error)

        thread = Thread(target=renew, name=f"lease of {job.name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _failed(self, entry: _Entry, reason: str) -> None:
        entry.problem = f"the job {entry.job.name} failed: {reason}"
        entry.counters.count("job_failures")
        entry.counters.set("job_failing", 1)
