"""One object, many threads: nothing is lost, nothing is torn, nobody waits for ever.

On a free-threaded Python the same tests run without the GIL. Subinterpreters: clean, or refused.
"""

import subprocess
import sys
import threading
from array import array
from functools import partial

import pytest

from edgemse import ErrorStats, ResidualHistogram, merge_all

THREADS = 6
ROUNDS = 120
BATCH = 17_000  # above the size from which a batch is folded without the GIL


@pytest.fixture(autouse=True)
def _eager_switching():
    """Threads take turns as often as Python can, not every 5 ms."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def together(*jobs) -> None:
    """Run all jobs at once; an exception in one of them is raised here."""
    failures = []
    start = threading.Barrier(len(jobs))

    def run(job):
        start.wait()
        try:
            job()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a deadlock"
    if failures:
        raise failures[0]


def whole(s: ErrorStats) -> ErrorStats:
    """The state, after it was found to be consistent in itself."""
    again = ErrorStats.from_bytes(s.to_bytes())
    assert again.histogram.count == again.count
    return again


def constant(count: int, error: float = 2.0) -> ErrorStats:
    s = ErrorStats()
    s.update_many(array("d", [1.0]) * count, array("d", [1.0 + error]) * count)
    return s


def singles(s: ErrorStats, *weight: float) -> None:
    for _ in range(ROUNDS * 50):
        s.update(1.0, 3.0, *weight)


def batches(s: ErrorStats) -> None:
    ones, threes = array("d", [1.0]) * BATCH, array("d", [3.0]) * BATCH
    for _ in range(ROUNDS):
        s.update_many(ones, threes)
        s.update_many(ones[:64], threes[:64])


def merges(s: ErrorStats) -> None:
    other = constant(7)
    for _ in range(ROUNDS * 20):
        s.merge(other)


def reads(s: ErrorStats, done: threading.Event) -> None:
    last = 0
    while not done.is_set():
        for seen in (whole(s), whole(s.copy()), merge_all([s])):
            assert seen.count >= last
            last = seen.count
            # Every error is 2: a torn state shows at once.
            assert seen.count == 0 or (seen.bias, seen.error_variance) == (2.0, 0.0)
        if last:
            seen_one_by_one = (s.bias, s.error_variance, s.min_error, s.mae, s.max_error, s.mse)
            assert seen_one_by_one == (2.0, 0.0, 2.0, 2.0, 2.0, 4.0)
            assert (s.quantile(0.5), s.share_above(1.0), s.abs_quantile(0.1)) == (2.0, 1.0, 2.0)
            assert s.mse_interval() == (4.0, 4.0) or last < 20


def test_every_writer_at_once_on_one_object():
    s, done = ErrorStats(), threading.Event()

    def writes():
        try:
            together(*(partial(job, s) for job in (singles, singles, batches, batches, merges)))
            together(partial(singles, s, 0.5), partial(batches, s), partial(merges, s))
        finally:
            done.set()

    together(writes, partial(reads, s, done), partial(reads, s, done))
    total = ROUNDS * (3 * 50 + 3 * (BATCH + 64) + 2 * 20 * 7)
    assert whole(s).count == s.count == total
    assert s.weight == total - ROUNDS * 50 / 2


def test_two_objects_merged_into_each_other():
    for _ in range(ROUNDS):
        a, b = constant(3), constant(5, error=-2.0)

        def forth(a=a, b=b):
            for _ in range(12):
                a.merge(b)
                assert isinstance(a == b, bool)

        def back(a=a, b=b):
            for _ in range(12):
                b.merge(a)
                assert isinstance(b == a, bool)

        def itself(a=a):
            for _ in range(4):
                a.merge(a)

        together(forth, back, itself)
        for s in (a, b):
            assert whole(s).count == s.count
            assert s.histogram.count == s.count
            assert s.mse == pytest.approx(4.0, rel=1e-14)


def test_a_ring_of_merges_does_not_wait_for_itself():
    """Each merges its neighbour into itself: the dining philosophers."""
    for _ in range(ROUNDS):
        ring = [constant(i + 1) for i in range(THREADS)]

        def dine(i, ring=ring):
            for _ in range(6):
                ring[i].merge(ring[(i + 1) % THREADS])
                assert isinstance(ring[i] == ring[i - 1], bool)

        together(*(partial(dine, i) for i in range(THREADS)))
        for s in ring:
            assert (whole(s).count, s.bias, s.error_variance) == (s.count, 2.0, 0.0)


def test_a_histogram_among_threads():
    h, other = ResidualHistogram(), ResidualHistogram()
    other.update(-5.0)

    def count():
        for i in range(ROUNDS * 30):
            h.update(2.0 ** (i % 60 - 30))
            h.merge(other)

    def read():
        for _ in range(ROUNDS * 10):
            again = ResidualHistogram.from_bytes(h.to_bytes())
            assert again.count == sum(again.negative()[1]) + sum(again.positive()[1])
            assert h.count >= again.count
            assert h.zero_count == 0
            h.quantile(0.3)

    together(count, count, read, read)
    assert h.count == 2 * 2 * ROUNDS * 30


SUBINTERPRETER = """
import sys, threading
try:
    import concurrent.interpreters as interpreters
    run = lambda code: interpreters.create().exec(code)
except ImportError:
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    run = lambda code: interpreters.run_string(interpreters.create(), code)
TRY = '''
try:
    from edgemse import ErrorStats
except ImportError as error:
    told = str(error)
else:
    told = ""
    s = ErrorStats()
    s.update(1.0, 3.0)
    assert ErrorStats.from_bytes(s.to_bytes()).mse == 4.0
'''
if {main_first}:
    exec(TRY)
    assert told == ""
run(TRY)
exec(TRY)
assert told == "" or not {main_first} and "interpreter" in told, told
"""


@pytest.mark.parametrize("main_first", [True, False])
def test_a_subinterpreter_gets_the_library_or_an_import_error(main_first):
    ran = subprocess.run(
        [sys.executable, "-P", "-c", SUBINTERPRETER.format(main_first=main_first)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
