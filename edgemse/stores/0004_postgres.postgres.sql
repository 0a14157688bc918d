-- What only PostgreSQL needs. DuckDB keeps the smallest and largest value of each column of some
-- 100,000 rows, and knows infinity and 0 where PostgreSQL ends a question with an error.

-- What is asked of some hours, mostly of the last ones.
CREATE INDEX cells_by_start ON cells (window_start_seconds, model);
-- What is asked of one device, or done to one.
CREATE INDEX cells_by_device ON cells (device, window_start_seconds);

-- A product or quotient of two numbers that is too small for a double is 0, not an error. The
-- operators are found only where this schema goes before pg_catalog, which readers see to once a
-- question has failed: they take ten times as long.
CREATE FUNCTION multiplied(a DOUBLE PRECISION, b DOUBLE PRECISION) RETURNS DOUBLE PRECISION
    IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN a = 0 OR b = 0 THEN a * b
        WHEN abs(b) < 1 AND abs(a) < 2.2250738585072014e-308 / abs(b) THEN 0
        ELSE a * b
    END;
CREATE FUNCTION divided(a DOUBLE PRECISION, b DOUBLE PRECISION) RETURNS DOUBLE PRECISION
    IMMUTABLE PARALLEL SAFE
    RETURN CASE
        WHEN abs(b) > 1 AND abs(a) < 2.2250738585072014e-308 * abs(b) THEN 0
        ELSE a / b
    END;
CREATE OPERATOR * (
    LEFTARG = DOUBLE PRECISION, RIGHTARG = DOUBLE PRECISION, FUNCTION = multiplied
);
CREATE OPERATOR / (LEFTARG = DOUBLE PRECISION, RIGHTARG = DOUBLE PRECISION, FUNCTION = divided);
