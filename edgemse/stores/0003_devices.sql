-- What people do to devices: forget, retire, rename; and who did it.

-- The names of cells that are gone for good, as ranges of a producer's sequences: such a cell that
-- comes once more is acknowledged and not counted.
CREATE TABLE absorbed (
    producer BYTEA NOT NULL,
    first_sequence BIGINT NOT NULL,
    last_sequence BIGINT NOT NULL,
    PRIMARY KEY (producer, first_sequence)
);

-- Cells of forgotten devices that still grew: each goes, and its name into `absorbed`, once it is
-- final.
CREATE TABLE leaving (
    producer BYTEA NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (producer, sequence)
);

-- Devices that are out of service: their figures stay, and their silence is no news.
CREATE TABLE retired (
    device TEXT PRIMARY KEY,
    since_ms BIGINT NOT NULL
);

-- Devices whose figures stand under another name, what they still send included.
CREATE TABLE aliases (
    device TEXT PRIMARY KEY,
    shown TEXT NOT NULL,
    since_ms BIGINT NOT NULL
);

-- Who did what, and when. Rows are only ever added.
CREATE SEQUENCE audit_ids;
CREATE TABLE audit (
    id BIGINT PRIMARY KEY DEFAULT nextval('audit_ids'),
    at_ms BIGINT NOT NULL,
    who TEXT NOT NULL, -- the user's name, as his own machine says it
    host TEXT NOT NULL, -- that machine's name
    token TEXT NOT NULL, -- the name of the token that was shown; empty: the file itself was at hand
    action TEXT NOT NULL,
    device TEXT NOT NULL,
    details TEXT NOT NULL -- JSON
);

INSERT INTO counters (name, value) VALUES ('cells_forgotten', 0);
