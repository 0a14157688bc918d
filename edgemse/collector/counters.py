"""What the collector counts of itself."""

from __future__ import annotations

from edgemse.counters import counter, gauge

__all__ = ["MEANINGS", "PREFIX"]

PREFIX = "edgemse_collector"
"""Of the names in Prometheus' text."""

MEANINGS = {
    "messages": counter("Messages received from the broker"),
    "messages_dropped": counter(
        "Messages dropped because the queue was full or the store failed; devices send them again"
    ),
    "reports": counter("Reports decoded"),
    "cells": counter("Cells offered by devices, repetitions included"),
    "cells_refused": counter("Cells refused, with the reason in the ack"),
    "over_limit": counter("Cells, reports and presences refused for a limit on devices or series"),
    "reports_malformed": counter("Reports and presences that could not be read"),
    "quarantine_unrecorded": counter(
        "Refusals not written into the quarantine because too many came"
    ),
    "attribute_times_ignored": counter(
        "Attributes that a device dates a day ahead or more; taken as of their receipt"
    ),
    "commits": counter("Transactions committed"),
    "commit_failures": counter("Transactions that failed and were tried again"),
    "acks": counter("Acks handed to the broker"),
    "acks_unsent": counter("Acks that found no connection; devices send their cells again"),
    "presences_asked": counter("Presences of devices that the broker was asked for again"),
    "publications_refused": counter(
        "Acks and presences that the broker does not take: its limits or its access list"
    ),
    "messages_failed": counter("Messages dropped because taking them in failed; see the log"),
    "messages_unasked": counter("Messages on topics that nobody subscribed to; dropped"),
    "internal_errors": counter("Messages set aside because of a defect in edgemse; see the log"),
    "queue": gauge("Messages that wait to be committed"),
    "queue_seconds": gauge("Age in seconds of the oldest message that is not committed"),
    "ack_seconds": gauge("How long an ack takes, as devices are told; 0: no longer than usual"),
    "devices": gauge("Devices that the store knows"),
    "devices_online": gauge("Devices whose presence says online"),
    "labels_matched": gauge("Labels in the store that met their prediction"),
    "labels_orphan": gauge("Labels in the store whose prediction never came"),
    "labels_duplicate": gauge("Labels in the store that came again"),
    "labels_conflicting": gauge("Labels in the store that contradict the one that was taken"),
    "predictions_expired": gauge("Predictions in the store that got no label in time"),
    "twins": gauge("Device names under which two boards reported in turn within a day"),
    "devices_renamed": gauge("Devices that report cells of a producer of another device"),
    "commits_missing": gauge("Transactions that the store has lost since it was made; see the log"),
    "fleet_topics": gauge("Series whose figures are published on a topic of their own"),
    "fleet_topics_left_out": gauge("Series that have none because there are topics_max"),
    "connected": gauge("1 while the broker is connected, else 0"),
}
"""Each number and what it says; docs/collector.md lists the same."""
