-- The store's first schema: plain SQL for DuckDB and PostgreSQL. Times are milliseconds or seconds
-- since 1970-01-01 UTC, as their names say.

-- One row: the random name of this store, which acks and the collector's presence carry, so that
-- devices and other collectors see when it is another one.
CREATE TABLE store (
    id TEXT NOT NULL,
    made_ms BIGINT NOT NULL
);

-- A row for each memory that makes cells: what a transaction locks first, before it looks up
-- revisions.
CREATE TABLE producers (
    producer BYTEA PRIMARY KEY,
    device TEXT NOT NULL,
    first_received_ms BIGINT NOT NULL
);

-- Producers whose cells came from a second device as well (that of producers is the first): the
-- device was renamed, or somebody uses what he has overheard.
CREATE TABLE renames (
    producer BYTEA NOT NULL,
    device TEXT NOT NULL,
    first_received_ms BIGINT NOT NULL,
    PRIMARY KEY (producer, device)
);

-- Every series that a device has reported: what the budgets of series and devices count.
CREATE TABLE series (
    device TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    output TEXT NOT NULL,
    segment TEXT NOT NULL,
    measure TEXT NOT NULL,
    PRIMARY KEY (device, model, version, output, segment, measure)
);

-- The newest revision of each cell. The columns from count to out_of_range are the moments of
-- edgemse.stats.moments by name; from predictions to lag_histogram, the coverage.
CREATE TABLE cells (
    producer BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    final BOOLEAN NOT NULL,
    device TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    output TEXT NOT NULL,
    segment TEXT NOT NULL,
    measure TEXT NOT NULL,
    window_start_seconds BIGINT NOT NULL,
    window_width_seconds BIGINT NOT NULL,
    count BIGINT NOT NULL,
    weight DOUBLE PRECISION NOT NULL,
    weight_lo DOUBLE PRECISION NOT NULL,
    weight2 DOUBLE PRECISION NOT NULL,
    mean DOUBLE PRECISION NOT NULL,
    mean_lo DOUBLE PRECISION NOT NULL,
    m2 DOUBLE PRECISION NOT NULL,
    m2_lo DOUBLE PRECISION NOT NULL,
    m3 DOUBLE PRECISION NOT NULL,
    m4 DOUBLE PRECISION NOT NULL,
    abs_sum DOUBLE PRECISION NOT NULL,
    min_error DOUBLE PRECISION NOT NULL,
    max_error DOUBLE PRECISION NOT NULL,
    y_mean DOUBLE PRECISION NOT NULL,
    y_mean_lo DOUBLE PRECISION NOT NULL,
    y_m2 DOUBLE PRECISION NOT NULL,
    y_m2_lo DOUBLE PRECISION NOT NULL,
    y_e DOUBLE PRECISION NOT NULL,
    y_e_lo DOUBLE PRECISION NOT NULL,
    nonfinite BIGINT NOT NULL,
    out_of_range BIGINT NOT NULL,
    histogram BYTEA, -- null: the state has none, and quantiles are null
    predictions BIGINT NOT NULL,
    matched BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    orphan BIGINT NOT NULL,
    duplicate BIGINT NOT NULL,
    conflicting BIGINT NOT NULL,
    lag_ms_sum BIGINT NOT NULL,
    lag_ms_max BIGINT NOT NULL,
    lag_histogram BYTEA NOT NULL,
    PRIMARY KEY (producer, sequence)
);

-- What each device last said of itself; a column is null until the message that fills it came.
-- report_run is the agent's run of the last report, earlier_run the one before it. A restart never
-- brings an earlier run back: where that has happened (runs_returned times, last at
-- run_returned_ms), two boards have one name. cells_refused counts since the device is known.
CREATE TABLE devices (
    device TEXT PRIMARY KEY,
    report_received_ms BIGINT,
    report_sent_ms BIGINT,
    clock_synchronised BOOLEAN,
    health TEXT,
    report_run TEXT,
    earlier_run TEXT,
    runs_returned BIGINT,
    run_returned_ms BIGINT,
    cells_refused BIGINT,
    presence_received_ms BIGINT,
    online BOOLEAN,
    software TEXT,
    run TEXT
);

-- The attributes of each device (site, hardware, firmware...), to group and filter by, with their
-- history: a value holds for windows that start in [since_seconds, until_seconds). The first one
-- that is known holds from 0; a change counts from a whole UTC hour; the present one has
-- until_seconds 2^62. What was said (said_seconds) before the present value changes nothing.
CREATE TABLE attributes (
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    since_seconds BIGINT NOT NULL,
    until_seconds BIGINT NOT NULL,
    said_seconds BIGINT NOT NULL,
    PRIMARY KEY (device, name, since_seconds)
);

-- Messages and cells that were refused: why, and how they begin. Bounded in rows and bytes.
CREATE SEQUENCE quarantine_ids;
CREATE TABLE quarantine (
    id BIGINT PRIMARY KEY DEFAULT nextval('quarantine_ids'),
    received_ms BIGINT NOT NULL,
    device TEXT NOT NULL,
    reason TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    head BYTEA NOT NULL
);

-- What bounds have dropped since the store was made; the transactions that it has had, and how many
-- of those it has lost (a damaged log, an older copy put in its place).
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES
    ('quarantine_dropped', 0),
    ('commits', 0),
    ('commits_missing', 0);

-- Who may do what only one collector at a time shall do, and until when.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);
