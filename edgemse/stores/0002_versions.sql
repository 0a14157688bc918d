-- What people say of the versions of their models: how wrong each was offline, and what it was made
-- of. Both may be said before a version runs anywhere, so nothing here refers to cells.

-- The offline error of a version: of everything (part {}), or of a part of it such as a segment.
CREATE TABLE baselines (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    part TEXT NOT NULL, -- JSON, keys sorted: the columns that make the part, with their values
    rmse DOUBLE PRECISION NOT NULL,
    count BIGINT, -- samples; null: not known
    state BYTEA, -- the ErrorStats of the validation run; null: a bare figure
    set_ms BIGINT NOT NULL,
    PRIMARY KEY (model, version, part)
);

-- A text that is empty has not been said.
CREATE TABLE model_versions (
    model TEXT NOT NULL,
    version TEXT NOT NULL,
    owner TEXT NOT NULL,
    git TEXT NOT NULL,
    training_data TEXT NOT NULL,
    preprocessing_sha TEXT NOT NULL,
    set_ms BIGINT NOT NULL,
    PRIMARY KEY (model, version)
);
