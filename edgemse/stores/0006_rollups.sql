-- Hours and days of a series in one row each, made from cells so that questions about long spans
-- read fewer rows: nothing is only here, and all of it can be made anew.

-- Every UTC hour that a cell starts in, and every day whose hours are rolled up. stage: 'open', as
-- long as nothing is made of it; 'closing', when what is committed notes in `touched` what it
-- touches; 'rolled', when each of its series either has its rows in `rollups` or stands in
-- `touched`.
CREATE TABLE hours (
    start_seconds BIGINT PRIMARY KEY,
    stage TEXT NOT NULL
);
CREATE TABLE days (
    start_seconds BIGINT PRIMARY KEY,
    stage TEXT NOT NULL
);

-- Series of a device whose rows of that hour or day are yet to be made, or made anew. Several rows
-- may say the same.
CREATE SEQUENCE touched_ids;
CREATE TABLE touched (
    id BIGINT PRIMARY KEY DEFAULT nextval('touched_ids'),
    width_seconds BIGINT NOT NULL, -- 3,600 or 86,400
    start_seconds BIGINT NOT NULL,
    device TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    output TEXT NOT NULL,
    segment TEXT NOT NULL,
    measure TEXT NOT NULL
);

-- The merge of the cells of one width, of a device's series, in an hour (wider ones left out) or in
-- a day: cell_count of them, of which the first starts at first_start_seconds. What comes after
-- cell_width_seconds is as in cells.
CREATE TABLE rollups (
    device TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    output TEXT NOT NULL,
    segment TEXT NOT NULL,
    measure TEXT NOT NULL,
    window_start_seconds BIGINT NOT NULL,
    window_width_seconds BIGINT NOT NULL, -- 3,600 or 86,400
    cell_count BIGINT NOT NULL,
    first_start_seconds BIGINT NOT NULL,
    last_start_seconds BIGINT NOT NULL,
    cell_width_seconds BIGINT NOT NULL,
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
    histogram BYTEA, -- null: a cell with samples has none
    predictions BIGINT NOT NULL,
    matched BIGINT NOT NULL,
    expired BIGINT NOT NULL,
    orphan BIGINT NOT NULL,
    duplicate BIGINT NOT NULL,
    conflicting BIGINT NOT NULL,
    lag_ms_sum BIGINT NOT NULL,
    lag_ms_max BIGINT NOT NULL,
    lag_histogram BYTEA NOT NULL
);

INSERT INTO hours
    SELECT DISTINCT window_start_seconds - window_start_seconds % 3600, 'open' FROM cells;

-- Retention: final cells that are old go into one cell of an hour or a day, which the store itself
-- names, and their own names into `absorbed`. absorber: the id of the store that holds their
-- figures since; '' where they are forgotten.
ALTER TABLE absorbed ADD COLUMN absorber TEXT DEFAULT '';

-- When retention last changed the cells of a UTC day: an export writes it anew.
CREATE TABLE retained (
    day_seconds BIGINT PRIMARY KEY,
    changed_ms BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('cells_absorbed', 0), ('cells_dropped', 0);

-- What a cell of the store no longer shows of the windows that went into it, if they were ten or
-- more: how much their squared errors scatter, and how they follow each other. Sums, to be pooled.
CREATE TABLE dependence (
    producer BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    device TEXT NOT NULL,
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    output TEXT NOT NULL,
    segment TEXT NOT NULL,
    measure TEXT NOT NULL,
    window_start_seconds BIGINT NOT NULL,
    windows BIGINT NOT NULL,
    window_variance DOUBLE PRECISION NOT NULL, -- of the MSE, from its windows
    sample_variance DOUBLE PRECISION NOT NULL, -- of the MSE, if samples were independent
    products DOUBLE PRECISION NOT NULL, -- of neighbouring windows' MSE less their mean
    squares DOUBLE PRECISION NOT NULL, -- of the same
    PRIMARY KEY (producer, sequence)
);
