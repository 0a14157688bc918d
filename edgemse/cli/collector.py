"""`edgemse collector`: the process that puts collector, store and HTTP together."""

from __future__ import annotations

import logging
import signal
from contextlib import ExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event, Thread
from typing import Annotated, Any

import typer

from edgemse.cli.broker_options import BrokerOptions, connects
from edgemse.collector import Collector, CollectorSettings
from edgemse.collector.counters import PREFIX
from edgemse.collector.quarantine import trim
from edgemse.errors import SettingsError
from edgemse.export.fleet_topics import FleetTopics
from edgemse.jobs import Job, Jobs
from edgemse.rollups.job import EVERY_SECONDS, RETENTION_SECONDS, Rolling
from edgemse.settings import load, read_toml
from edgemse.stores import Store, open_store, statements
from edgemse.topics import Topics

__all__ = ["command", "run"]

log = logging.getLogger(__name__)

STOPS = {signal.SIGTERM, signal.SIGINT}


@connects(required=False, help="The MQTT broker [127.0.0.1:1883].")
def command(
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|URL",
            help="The store's DuckDB file, made if it is not there, or postgresql://...",
        ),
    ] = None,
    broker: BrokerOptions,
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Where to serve HTTP [127.0.0.1:8080]."),
    ] = None,
    http_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further name that HTTP requests may ask for."),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may ask over HTTP; a must beyond this machine."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings in TOML; options go before it.")
    ] = None,
    worker: Annotated[
        str | None, typer.Option(help="This collector's name on its broker [main].")
    ] = None,
    shared_group: Annotated[
        str | None, typer.Option(help="Divide the reports with the collectors of this group.")
    ] = None,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Take the topic prefix from another store's collectors."),
    ] = False,
) -> None:
    """Take the devices' reports from the broker into the store, and serve the fleet over HTTP."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    values = read_toml(config) if config else {}
    _override(values, {"store": store, "http": http, "worker": worker})
    _override(values, {"shared_group": shared_group, "http_hosts": http_host or None})
    _override(values, {"tokens": tokens and str(tokens)})
    table = values.setdefault("broker", {})
    if isinstance(table, dict):
        table.update(broker.said)
    if "store" not in values:
        raise SettingsError(
            'no store: give --store PATH|URL, or store = "PATH|URL" in the --config file'
        )
    settings = load(CollectorSettings, values, str(config) if config else "options")
    run(settings, take_over=take_over)


def _override(values: dict[str, Any], options: dict[str, Any]) -> None:
    values.update({name: value for name, value in options.items() if value is not None})


def run(settings: CollectorSettings, *, take_over: bool = False) -> None:
    """Run until SIGTERM or SIGINT, then commit and acknowledge what is queued."""
    from edgemse.web import Server, create_app

    over = Event()
    _end_when_told(over)
    with ExitStack() as stack:
        # The address first: nothing has to be undone if somebody else has it.
        server = Server(settings.http, hosts=settings.http_hosts, tokens=settings.tokens)
        stack.callback(server.close)
        store = open_store(settings.store)
        stack.callback(store.close)
        _say_origin(store)
        collector = Collector(settings, store, over=over, take_over=take_over)
        collector.start()
        rolling = Rolling(store, settings.retention)
        jobs = _jobs(settings, store, collector, rolling)
        jobs.start()
        stack.callback(jobs.stop)

        def problems() -> list[str]:
            return collector.problems() + jobs.problems()

        def metrics() -> str:
            counted = [each.counters.exposition(PREFIX) for each in (server, rolling)]
            return "".join([collector.metrics(), *counted, jobs.exposition(PREFIX)])

        is_file = "://" not in settings.store
        scratch = Path(settings.store).absolute().parent if is_file else None
        app = create_app(
            store,
            problems=problems,
            metrics=metrics,
            scratch=scratch,
            replay=collector.replay,
        )
        server.start(app)
        stack.callback(server.stop)
        log.info(
            "edgemse %s, collector %s: from %s into %s, the store %s",
            version("edgemse"),
            settings.worker,
            settings.broker.address,
            store.where,
            store.id,
        )
        log.info("serving on http://%s", server.address)
        over.wait()
        log.info("stopping")
        jobs.stop()
        collector.stop()


def _end_when_told(over: Event) -> None:
    """Set `over` at SIGTERM or SIGINT.

    A thread waits for them. A handler would run in the main thread only, which sleeps on when the
    kernel wakes another one, and would take the lock of an Event that it may hold just then.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)

    def wait() -> None:
        signal.sigwait(STOPS)
        over.set()

    Thread(target=wait, name="signals", daemon=True).start()


def _say_origin(store: Store) -> None:
    """Say what a store that is a copy lacks."""
    with store.reading() as reading:
        for source, copied_ms in reading.rows(statements.LAST_COPY):
            at = datetime.fromtimestamp(copied_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            log.warning(
                "this store is a copy of the store %s, made at %s: what that one has acknowledged"
                " since then, devices have forgotten, and it is not here (docs/backup.md)",
                source,
                at,
            )


def _jobs(
    settings: CollectorSettings, store: Store, collector: Collector, rolling: Rolling
) -> Jobs:
    """Return what is done every so often: a further job is one line here."""
    jobs = [
        Job("presence", 60, collector.announce, shared=False),
        Job("presences", 20, collector.ask_again),
        Job("labels", 300, collector.count_labels, shared=False),
        Job("quarantine", 60, lambda _stopping: trim(store)),
        Job("rollups", EVERY_SECONDS, rolling.run),
    ]
    if settings.retention:
        jobs.append(Job("retention", RETENTION_SECONDS, rolling.retain))
    if settings.topics.enabled:
        figures = FleetTopics(
            store,
            Topics(settings.broker.prefix),
            devices_min=settings.topics.devices_min,
            topics_max=settings.topics.topics_max,
            publish=collector.publish,
            learn=collector.figures_retained,
            told=collector.count_topics,
        )
        jobs.append(Job("fleet_topics", settings.topics.every_seconds, figures.run))
    return Jobs(
        jobs,
        lease=lambda name, seconds: store.lease(f"job:{name}", settings.worker, seconds),
    )
