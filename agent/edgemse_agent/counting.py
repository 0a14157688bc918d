"""What the agent counts: what came in, what was refused, and what each bound has cost."""

from __future__ import annotations

from edgemse import growing
from edgemse.counters import counter, gauge

__all__ = ["MEANINGS"]

MEANINGS = {
    "lines": counter("lines taken, good and bad"),
    "lines_bad": counter("lines refused with a complaint"),
    "lines_repeated": counter("lines of a session that had been taken already"),
    "lines_ignored": counter("lines of a session ignored until its client began again"),
    "sessions_refused": counter("hellos of new sessions refused while the ledger takes nothing"),
    "clients_refused": counter(
        "clients of the socket refused, or displaced before their first line"
    ),
    "mqtt_messages": counter("messages on local topics that a rule was for"),
    "mqtt_lines": counter("lines that the rules made of them"),
    "mqtt_bad": counter("messages that a rule could not read, or that were refused as lines"),
    "mqtt_absent": counter("messages without their value: no such key, null, unavailable"),
    "mqtt_retained": counter("retained messages, of before we subscribed: old, and not counted"),
    "mqtt_repeated": counter("messages that the local broker sent again, not counted"),
    "mqtt_dropped": counter("messages on local topics past those that may wait"),
    "mqtt_unpaired": counter("labels joined by time that no prediction was near enough to"),
    "samples": counter("pairs of y_true and y_pred that reached a window"),
    **growing.MEANINGS,
    "labels_nonfinite": counter(
        "labels that were NaN or infinite; their predictions go on waiting"
    ),
    "labels_orphan": counter("labels whose prediction never came"),
    "labels_duplicate": counter("labels that came again for a matched prediction"),
    "labels_conflicting": counter("labels that contradict the one that was matched"),
    "predictions_expired": counter("predictions whose label did not come in time"),
    "predictions_repeated": counter("predictions refused because their id and series were known"),
    "predictions_crowded": counter("predictions refused past the 1,000 series of one id"),
    "pending_evicted": counter("predictions or labels that pending_max let go before their time"),
    "times_bounded": counter("samples without a time, counted at the nearest possible one"),
    "clock_steps": counter("times that the wall clock was set while the agent ran"),
    "cells_placed": counter("cells put on the calendar once the time was known"),
    "cells_placed_between": counter(
        "of these: of boots that ended before, placed between what was known"
    ),
    "cells_relayed": counter("revisions of cells that Monitors sent"),
    "cells_turned_away": counter("revisions that found no room; their Monitors keep them"),
    "cells_coarsened": counter("cells merged into wider windows, past ledger_cells_max"),
    "cells_folded": counter("of these: into the overflow segment or series, for want of room"),
    "reports_held": counter("times that reports began to wait for bytes_per_day_max"),
    "bytes_counted": counter("bytes counted for bytes_per_day_max, up and down"),
    "cells_parked": counter("cells that the collector refused, or the broker's limit"),
    "parked_let_go": counter("parked cells forgotten, past parked_cells_max"),
    "items_defective": counter("cells and ids that no ledger can hold, set aside in it as text"),
    "defects": counter("failures of the agent itself, survived; the log has them"),
    "commits_failed": counter("ledger transactions that failed and were tried again"),
    "ledgers_set_aside": counter("ledgers put away as corrupt or another board's, in this run"),
    "rows_lost": counter("cells and ids of a damaged ledger that could not be read"),
    "commits_lost": counter("last commits that a damaged ledger lacked"),
    "reports": counter("reports handed to the broker"),
    "report_bytes": counter("payload bytes of the reports before the one that says so"),
    "reports_resent": counter("reports of which a cell had been handed over before"),
    "acks": counter("acks taken"),
    "acks_ahead": counter("cells acked beyond what was handed over; such an ack is forged"),
    "stores_changed": counter("times that another store than before acknowledged"),
    "settings_applied": counter("times that settings were taken from the file or the centre"),
    "settings_refused": counter("settings from the file or the centre that were refused"),
    "messages_bad": counter("acks and presences that could not be read"),
    "cells_waiting": gauge("cells that the collector has not committed, now"),
    "bytes_pressing": gauge("1 while bytes_per_day_max makes windows wider, now"),
    "cpu_millidegrees": gauge("temperature of the processor, thousandths of a degree Celsius, now"),
    "cpu_throttled": gauge("1 while the board is slowed down for heat or voltage, now"),
    "cpu_under_voltage": gauge("1 while the board's supply is too weak, now"),
    "cells_unplaced": gauge("cells that wait for the time to be known, now"),
    "cells_parked_now": gauge("cells that are parked, now"),
}
"""Every number that a report's health carries, by name."""
