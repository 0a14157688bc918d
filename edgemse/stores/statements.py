"""Every SQL statement of the stores, once: `?` for parameters, the same text for every engine."""

from __future__ import annotations

from pathlib import Path

from edgemse.stores.base import Selection
from edgemse.stores.tables import (
    ALIASES,
    ATTRIBUTES,
    BASELINES,
    CELLS,
    MODEL_VERSIONS,
    PRESENCES,
    REPORTS,
    RETAINED,
    SERIES,
    Table,
)

__all__ = [
    "ABSORB",
    "ALIASES_OF",
    "ANALYSE",
    "ATTRIBUTES_OF",
    "AUDITED",
    "BASELINES_OF",
    "CELLS_OF_PARTITION",
    "CENSUS",
    "COMMITS",
    "COUNT_COMMIT",
    "COUNT_DROPPED",
    "COUNT_FORGOTTEN",
    "COUNT_MISSING",
    "COUNT_RETAINED",
    "CREATE_VERSIONS",
    "DROP_ALIASES",
    "DROP_ATTRIBUTES",
    "DROP_CELL",
    "DROP_CELLS",
    "DROP_DEPENDENCE",
    "DROP_NAMED",
    "DROP_OTHER_PARTS",
    "DROP_QUARANTINED",
    "DROP_SPAN",
    "DROP_WITHIN",
    "EMPTY_QUARANTINE",
    "FIRST_COPY",
    "FIRST_DEVICES",
    "FIRST_WINDOW",
    "FOLLOW_ALIASES",
    "FORGET",
    "GONE_OR_LEAVING",
    "HAS_DEVICE",
    "HISTORY",
    "HOLDS",
    "JOIN_RANGES",
    "KEEP",
    "KEEP_HIGHEST",
    "LABELS",
    "LAST_COPY",
    "LEAVE",
    "LEAVE_NO_MORE",
    "LOSE_ALIAS",
    "MODEL_VERSION",
    "NEW_STORE",
    "NOTE_COPY",
    "NOTE_VERSION",
    "ONLINE",
    "PARTITIONS",
    "PLACES",
    "PLACES_WITHIN",
    "PRESENT_ATTRIBUTES",
    "QUARANTINED",
    "RANGES",
    "RANGES_WITHIN",
    "REACTIVATE",
    "RENAMED",
    "RENAME_CELLS",
    "RENAME_DEPENDENCE",
    "RENAME_DEVICE",
    "RENAME_PRODUCERS",
    "RENAME_QUARANTINE",
    "RENAME_RENAMES",
    "RENAME_SERIES",
    "RENAME_STORE",
    "REPLACE_ALIAS",
    "REPLACE_ATTRIBUTES",
    "REPLACE_BASELINE",
    "REPLACE_MODEL_VERSION",
    "REPLACE_PRESENCE",
    "REPLACE_REPORT",
    "REPLACE_RETAINED",
    "REPLAYABLE",
    "REPORTED",
    "RETAINED_DAYS",
    "RETAINED_SO_FAR",
    "RETIRE",
    "RETIRED",
    "REVISIONS",
    "RUNS",
    "SERIES_COUNTS",
    "SERIES_COUNTS_OF",
    "SERIES_OF",
    "SETTLE_RENAMES",
    "STORE_ID",
    "TABLES",
    "TAKE_LEASE",
    "TRIM_QUARANTINE",
    "UNHEARD",
    "VERSION",
    "everything",
    "group_keys",
    "insert",
    "into_parquet",
    "keyed_histograms",
    "numbered_groups",
    "numbered_histograms",
]


def insert(table: Table, source: str, on_conflict: str = "") -> str:
    """Return the statement that puts the rows of `source`, a SELECT, into the table."""
    names = ", ".join(table.columns)
    conflict = f" ON CONFLICT ({', '.join(table.key)}) {on_conflict}" if on_conflict else ""
    return f"INSERT INTO {table.name} ({names}) {source}{conflict}"


def everything(table: Table) -> str:
    """Return the SELECT of all rows of a table, in the order of its key."""
    return f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}"


def into_parquet(source: str, path: Path) -> str:
    """Return DuckDB's statement that writes the rows of `source`, a SELECT, into a new file."""
    quoted = str(path).replace("'", "''")
    return f"COPY ({source}) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"


def group_keys(selection: Selection) -> str:
    """Return the SELECT of the keys of all groups of a selection, each once and in order."""
    keys = _keys(selection)
    return f"SELECT DISTINCT {keys} FROM ({selection.sql}) AS chosen ORDER BY {keys}"


def keyed_histograms(selection: Selection, column: str) -> str:
    """Return the SELECT of each cell's group columns and of a histogram."""
    assert column in ("histogram", "lag_histogram"), column
    keys = f"{_keys(selection)}, " if selection.keys else ""
    return f"SELECT {keys}{column} FROM ({selection.sql}) AS chosen"


def numbered_histograms(selection: Selection, column: str) -> str:
    """Return the SELECT of each cell's group, as its place in `group_keys`, and of a histogram.

    Its parameters are the selection's, twice (once without keys).
    """
    assert column in ("histogram", "lag_histogram"), column
    if not selection.keys:
        return f"SELECT CAST(0 AS BIGINT) AS number, {column} FROM ({selection.sql}) AS chosen"
    return (
        f"SELECT number, {column} FROM ({selection.sql}) AS chosen"
        f" JOIN ({numbered_groups(selection)}) AS numbered USING ({_keys(selection)})"
    )


def numbered_groups(selection: Selection) -> str:
    """Return the SELECT of the keys of all groups, each with its place in `group_keys`."""
    keys = _keys(selection)
    return (
        f"SELECT {keys}, row_number() OVER (ORDER BY {keys}) - 1 AS number"
        f" FROM (SELECT DISTINCT {keys} FROM ({selection.sql}) AS every) AS each"
    )


def _keys(selection: Selection) -> str:
    return ", ".join(f"g{place}" for place in range(1, selection.keys + 1))


def _replaced(table: Table) -> str:
    return ", ".join(f"{name} = excluded.{name}" for name in table.columns if name not in table.key)


# What becomes of a row whose key is there already.
KEEP = "DO NOTHING"
# A cell stays where its first revision was: its old place would not know that it has gone.
PLACE = (*SERIES.key[1:], "window_start_seconds", "window_width_seconds")
KEEP_HIGHEST = (
    f"DO UPDATE SET {_replaced(CELLS)} WHERE excluded.revision > cells.revision"
    f" AND {' AND '.join(f'excluded.{name} = cells.{name}' for name in PLACE)}"
    " RETURNING producer, sequence, revision"
)
REPLACE_REPORT = f"DO UPDATE SET {_replaced(REPORTS)}"
REPLACE_PRESENCE = f"DO UPDATE SET {_replaced(PRESENCES)}"
REPLACE_ALIAS = f"DO UPDATE SET {_replaced(ALIASES)}"
REPLACE_ATTRIBUTES = f"DO UPDATE SET {_replaced(ATTRIBUTES)}"
REPLACE_BASELINE = f"DO UPDATE SET {_replaced(BASELINES)}"
REPLACE_MODEL_VERSION = f"DO UPDATE SET {_replaced(MODEL_VERSIONS)}"

# Cells and devices.
REVISIONS = (
    "SELECT producer, sequence, revision FROM cells JOIN"
    " (SELECT unnest(?::BYTEA[]) AS producer, unnest(?::BIGINT[]) AS sequence) AS asked"
    " USING (producer, sequence)"
)
PLACES = (
    f"SELECT window_start_seconds - window_start_seconds % 3600, {', '.join(SERIES.key)} FROM cells"
    " JOIN (SELECT unnest(?::BYTEA[]) AS producer, unnest(?::BIGINT[]) AS sequence) AS asked"
    " USING (producer, sequence)"
)
RENAMED = "SELECT DISTINCT producer FROM renames WHERE producer = ANY(?::BYTEA[])"
FIRST_DEVICES = "SELECT producer, device FROM producers WHERE producer = ANY(?::BYTEA[])"
REPORTED = (
    "SELECT device, report_run, earlier_run, runs_returned, run_returned_ms, cells_refused"
    " FROM devices WHERE report_received_ms IS NOT NULL AND device = ANY(?::TEXT[])"
)
SERIES_COUNTS = (
    "SELECT d.device, count(s.device) FROM devices AS d"
    " LEFT JOIN series AS s ON s.device = d.device GROUP BY d.device"
)
SERIES_COUNTS_OF = (
    "SELECT device, count(*) FROM series WHERE device = ANY(?::TEXT[]) GROUP BY device"
)
SERIES_OF = "SELECT model, version, output, segment, measure FROM series WHERE device = ?"
# Also a device whose twin has gone: what reports after a last will, by another run, is there.
ONLINE = (
    "(online OR (report_run <> '' AND report_run <> run"
    " AND report_received_ms > presence_received_ms))"
)
CENSUS = (
    f"SELECT count(*), count(CASE WHEN {ONLINE} THEN 1 END),"
    " count(CASE WHEN run_returned_ms >= ? THEN 1 END),"
    " (SELECT count(DISTINCT device) FROM renames),"
    " (SELECT value FROM counters WHERE name = 'commits_missing') FROM devices"
)
# Coverage is counted in the error's cells only. A sum of BIGINTs may be larger than one.
LABELS = (
    "SELECT "
    + ", ".join(
        f"CAST(least(coalesce(sum({name}), 0), {2**63 - 1}) AS BIGINT)"
        for name in ("matched", "orphan", "duplicate", "conflicting", "expired")
    )
    + " FROM cells WHERE measure = ''"
)
UNHEARD = (
    "SELECT device, report_run FROM devices"
    " WHERE report_received_ms >= ? AND report_run <> '' AND (run IS NULL OR run <> report_run)"
    " ORDER BY report_received_ms DESC"
)
RUNS = "SELECT device, run FROM devices WHERE online AND device = ANY(?::TEXT[])"
PRESENT_ATTRIBUTES = (
    "SELECT device, name, value, since_seconds, until_seconds, said_seconds FROM attributes"
    " WHERE until_seconds = ? AND device = ANY(?::TEXT[])"
)

# What people say of the versions of their models.
BASELINES_OF = (
    "SELECT part, rmse, count, state, set_ms FROM baselines WHERE model = ? AND version = ?"
)
DROP_OTHER_PARTS = (
    "DELETE FROM baselines WHERE model = ? AND version = ? AND NOT part = ANY(?::TEXT[])"
)
MODEL_VERSION = (
    "SELECT owner, git, training_data, preprocessing_sha, set_ms FROM model_versions"
    " WHERE model = ? AND version = ?"
)

# The quarantine: parameters are the bounds in rows, in rows of a device, and in bytes.
TRIM_QUARANTINE = (
    "DELETE FROM quarantine WHERE id IN (SELECT id FROM ("
    "  SELECT id, row_number() OVER (ORDER BY id DESC) AS place,"
    "    row_number() OVER (PARTITION BY device ORDER BY id DESC) AS place_of_device,"
    "    sum(octet_length(head)) OVER (ORDER BY id DESC) AS bytes"
    "  FROM quarantine) AS ranked"
    " WHERE place > ? OR place_of_device > ? OR bytes > ?)"
)
QUARANTINED = (
    "SELECT id, received_ms, device, kind, reason, size_bytes, octet_length(head), head"
    " FROM quarantine WHERE ? = '' OR device = ? ORDER BY id"
)
REPLAYABLE = (
    "SELECT id, device, head FROM quarantine WHERE kind IN ('report', 'cell')"
    " AND size_bytes = octet_length(head) AND (? = '' OR device = ?) ORDER BY id"
)
DROP_QUARANTINED = "DELETE FROM quarantine WHERE id = ANY(?::BIGINT[])"
EMPTY_QUARANTINE = "DELETE FROM quarantine WHERE ? = '' OR device = ?"
# Export; edgemse.stores.parquet. Days are UTC.
PARTITIONS = (
    "SELECT DISTINCT window_start_seconds - window_start_seconds % 86400 AS day, model FROM cells"
    " WHERE window_start_seconds >= ? ORDER BY day, model"
)
CELLS_OF_PARTITION = (
    f"SELECT {', '.join(CELLS.columns)} FROM cells WHERE window_start_seconds >= ?"
    " AND window_start_seconds < ? AND model = ? ORDER BY producer, sequence"
)
DROP_DEPENDENCE = (
    "DELETE FROM dependence WHERE EXISTS (SELECT 1 FROM (SELECT unnest(?::BYTEA[]) AS producer,"
    " unnest(?::BIGINT[]) AS sequence) AS named WHERE named.producer = dependence.producer"
    " AND named.sequence = dependence.sequence)"
)
JOIN_RANGES = (
    "DO UPDATE SET last_sequence = greatest(absorbed.last_sequence, excluded.last_sequence)"
)
# Without statistics PostgreSQL takes twice as long for a question (docs/collector.md).
ANALYSE = tuple(f"ANALYZE {name}" for name in ("cells", "devices", "attributes"))
HISTORY = (
    "SELECT device, name, value, since_seconds, until_seconds, said_seconds FROM attributes"
    " WHERE device = ANY(?::TEXT[]) ORDER BY device, name, since_seconds"
)
COMMITS = "SELECT value FROM counters WHERE name = 'commits'"
COUNT_COMMIT = "UPDATE counters SET value = ? WHERE name = 'commits'"
COUNT_MISSING = "UPDATE counters SET value = value + ? WHERE name = 'commits_missing'"
COUNT_DROPPED = "UPDATE counters SET value = value + ? WHERE name = 'quarantine_dropped'"

# What people do to devices; edgemse.stores.devices. Neighbouring sequences make one range.
HOLDS = (
    "SELECT (SELECT count(*) FROM cells WHERE device = ?), (SELECT count(*) FROM devices"
    " WHERE device = ?), (SELECT count(*) FROM retired WHERE device = ?)"
)
HAS_DEVICE = "SELECT 1 FROM devices WHERE device = ?"
ABSORB = (
    "INSERT INTO absorbed (producer, first_sequence, last_sequence)"
    " SELECT producer, min(sequence), max(sequence) FROM (SELECT producer,"
    " sequence, sequence - row_number() OVER (PARTITION BY producer ORDER BY sequence) AS island"
    " FROM cells WHERE device = ? AND (final OR ?)) AS going GROUP BY producer, island"
)
DROP_CELLS = "DELETE FROM cells WHERE device = ? AND (final OR ?)"
LEAVE = (
    "INSERT INTO leaving SELECT producer, sequence FROM cells WHERE device = ?"
    " ON CONFLICT (producer, sequence) DO NOTHING"
)
FORGET = (
    "DELETE FROM devices WHERE device = ?",
    "DELETE FROM attributes WHERE device = ?",
    "DELETE FROM retired WHERE device = ?",
    "DELETE FROM quarantine WHERE device = ?",
    "DELETE FROM series WHERE device = ?",
    "DELETE FROM renames WHERE device = ?",
    "DELETE FROM dependence WHERE device = ?",
)
LEAVE_NO_MORE = (
    "DELETE FROM leaving WHERE EXISTS (SELECT 1 FROM cells AS c WHERE c.device = ?"
    " AND c.producer = leaving.producer AND c.sequence = leaving.sequence)"
)
DROP_ALIASES = "DELETE FROM aliases WHERE shown = ?"
RETIRE = "INSERT INTO retired VALUES (?, ?) ON CONFLICT (device) DO NOTHING"
REACTIVATE = "DELETE FROM retired WHERE device = ?"
RETIRED = "SELECT device, since_ms FROM retired"
RENAME_CELLS = "UPDATE cells SET device = ? WHERE device = ?"
RENAME_QUARANTINE = "UPDATE quarantine SET device = ? WHERE device = ?"
RENAME_DEPENDENCE = "UPDATE dependence SET device = ? WHERE device = ?"
RENAME_PRODUCERS = "UPDATE producers SET device = ? WHERE device = ?"
RENAME_SERIES = (
    "INSERT INTO series SELECT ?, model, version, output, segment, measure FROM series"
    " WHERE device = ? ON CONFLICT DO NOTHING"
)
RENAME_RENAMES = (
    "INSERT INTO renames SELECT producer, ?, first_received_ms FROM renames"
    " WHERE device = ? ON CONFLICT DO NOTHING"
)
SETTLE_RENAMES = (
    "DELETE FROM renames WHERE device = ? OR EXISTS (SELECT 1 FROM producers AS p"
    " WHERE p.producer = renames.producer AND p.device = renames.device)",
    "DELETE FROM series WHERE device = ?",
)
RENAME_DEVICE = "UPDATE devices SET device = ? WHERE device = ?"
ATTRIBUTES_OF = (
    "SELECT name, value, since_seconds, until_seconds, said_seconds FROM attributes"
    " WHERE device = ? ORDER BY name, since_seconds"
)
DROP_ATTRIBUTES = "DELETE FROM attributes WHERE device = ?"
DROP_SPAN = "DELETE FROM attributes WHERE device = ? AND name = ? AND since_seconds = ?"
FIRST_WINDOW = "SELECT min(window_start_seconds) FROM cells WHERE device = ?"
FOLLOW_ALIASES = "UPDATE aliases SET shown = ? WHERE shown = ?"
LOSE_ALIAS = "DELETE FROM aliases WHERE device = ?"
ALIASES_OF = "SELECT device, shown FROM aliases WHERE device = ANY(?::TEXT[])"
# The new name of a rename stands in its details, which are JSON: who asks looks there.
AUDITED = (
    "SELECT at_ms, who, host, token, action, device, details FROM audit"
    " WHERE ? = '' OR device = ? OR action = 'rename' ORDER BY id"
)

# Cells that come although they are gone, or only wait to go.
GONE_OR_LEAVING = (
    "SELECT producer, first_sequence, last_sequence, TRUE FROM absorbed"
    " WHERE producer = ANY(?::BYTEA[]) UNION ALL SELECT producer, sequence, sequence, FALSE"
    " FROM leaving WHERE producer = ANY(?::BYTEA[])"
)
DROP_CELL = (
    "DELETE FROM cells WHERE producer = ? AND sequence = ?",
    "DELETE FROM leaving WHERE producer = ? AND sequence = ?",
)
# Retention; edgemse.stores.retaining.
DROP_NAMED = (
    "DELETE FROM cells WHERE window_start_seconds >= ? AND window_start_seconds <= ? AND final"
    " AND EXISTS (SELECT 1 FROM (SELECT unnest(?::BYTEA[]) AS producer, unnest(?::BIGINT[]) AS"
    " sequence, unnest(?::BIGINT[]) AS revision, unnest(?::TEXT[]) AS device) AS named"
    " WHERE named.producer = cells.producer AND named.sequence = cells.sequence"
    " AND named.revision = cells.revision AND named.device = cells.device)"
)
RANGES = (
    "SELECT producer, first_sequence, last_sequence FROM absorbed"
    " WHERE producer = ANY(?::BYTEA[]) AND absorber = ?"
)
REPLACE_RETAINED = f"DO UPDATE SET {_replaced(RETAINED)}"
COUNT_RETAINED = (
    "UPDATE counters SET value = value + ? WHERE name = 'cells_dropped'",
    "UPDATE counters SET value = value + ? WHERE name = 'cells_absorbed'",
)
RETAINED_DAYS = "SELECT day_seconds FROM retained WHERE changed_ms >= ?"
_WITHIN = (
    " (SELECT unnest(?::BYTEA[]) AS producer, unnest(?::BIGINT[]) AS first_sequence,"
    " unnest(?::BIGINT[]) AS last_sequence) AS named WHERE named.producer = {0}.producer"
    " AND named.first_sequence <= {0}.{2} AND named.last_sequence >= {0}.{1}"
)
RANGES_WITHIN = (
    "SELECT absorbed.producer, absorbed.first_sequence, absorbed.last_sequence, absorbed.absorber"
    f" FROM absorbed,{_WITHIN.format('absorbed', 'first_sequence', 'last_sequence')}"
)
PLACES_WITHIN = (
    f"SELECT DISTINCT window_start_seconds - window_start_seconds % 3600, {', '.join(SERIES.key)}"
    f" FROM cells,{_WITHIN.format('cells', 'sequence', 'sequence')}"
)
DROP_WITHIN = tuple(
    f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM"
    f"{_WITHIN.format(table, 'sequence', 'sequence')})"
    for table in ("cells", "dependence")
)
RETAINED_SO_FAR = (
    "SELECT name, value FROM counters WHERE name IN ('cells_absorbed', 'cells_dropped')"
)
COUNT_FORGOTTEN = "UPDATE counters SET value = value + ? WHERE name = 'cells_forgotten'"

# The store itself.
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
CREATE_VERSIONS = (
    "CREATE TABLE schema_versions (version INTEGER PRIMARY KEY, applied_ms BIGINT NOT NULL)"
)
VERSION = "SELECT coalesce(max(version), 0) FROM schema_versions"
NOTE_VERSION = "INSERT INTO schema_versions VALUES (?, ?)"
STORE_ID = "SELECT id FROM store"
RENAME_STORE = "UPDATE store SET id = ?"
NOTE_COPY = "INSERT INTO copies SELECT id, ? FROM store"
FIRST_COPY = "SELECT source FROM copies ORDER BY copied_ms LIMIT 1"
LAST_COPY = "SELECT source, copied_ms FROM copies ORDER BY copied_ms DESC LIMIT 1"
NEW_STORE = "INSERT INTO store VALUES (?, ?)"
TAKE_LEASE = (
    "INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (name)"
    " DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms"
    " WHERE leases.holder = excluded.holder OR leases.until_ms <= ? RETURNING holder"
)
