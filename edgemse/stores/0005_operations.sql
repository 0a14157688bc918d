-- What a store is a copy of, a row for each copy on its way here: `edgemse backup` gives a copy an
-- id of its own.
CREATE TABLE copies (
    source TEXT NOT NULL, -- that store's id
    copied_ms BIGINT NOT NULL
);

-- What a row of the quarantine holds: 'report', 'presence', or 'cell' (a report of one cell, made
-- for it). '' in rows of before.
ALTER TABLE quarantine ADD COLUMN kind TEXT DEFAULT '';
