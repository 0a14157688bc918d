"""A model's process with a Monitor, to be killed: what it saw confirmed stands in its journal.

    python model.py SOCKET SEGMENT JOURNAL SEED

Lines of the journal: `fed N`, before the N-th sample is observed; `confirmed N`, after a flush.
SIGTERM ends it in order, and the last line is then `closed N`.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from pathlib import Path

from edgemse import Monitor
from edgemse.errors import UnacknowledgedError

FLUSH_SECONDS = 20.0


def main() -> None:
    """Feed until SIGTERM."""
    path, segment, journal_path, seed = sys.argv[1:]
    dice = random.Random(seed)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    fed = 0
    with Path(journal_path).open("a", buffering=1) as journal:
        monitor = Monitor(socket=path, model="chaos")
        while not ending.wait(0.02):
            count = dice.randrange(1, 300)
            journal.write(f"fed {fed + count}\n")
            for _ in range(count):
                feed(monitor, dice, segment, fed)
                fed += 1
            if dice.random() < 0.2:
                try:
                    monitor.flush(FLUSH_SECONDS)
                except UnacknowledgedError:
                    continue
                journal.write(f"confirmed {fed}\n")
        monitor.close(FLUSH_SECONDS * 6)
        journal.write(f"closed {fed}\n")


def feed(monitor: Monitor, dice: random.Random, segment: str, number: int) -> None:
    """Observe one sample, of the present or of closed windows, sometimes by way of pairing."""
    true, ts = float(number % 97), time.time() - dice.uniform(0, 90)
    predicted = true + (1.0 if number % 2 else -2.0)
    if dice.random() < 0.1:
        monitor.predict(f"{segment}-{number}", predicted, segment=segment, ts=ts)
        monitor.label(f"{segment}-{number}", true, ts=ts)
    else:
        monitor.observe(true, predicted, segment=segment, ts=ts)


if __name__ == "__main__":
    main()
