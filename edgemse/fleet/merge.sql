-- Merges moments and coverage of many cells into one row for each group; runs unchanged on DuckDB,
-- PostgreSQL and Spark SQL.
--
-- {chosen} stands for a SELECT of cells (stores/base.py: Selection), {keys} for its group columns
-- g1, g2, ... Output: the keys, the moments as edgemse.stats.moments names them but for the shifts,
-- and coverage. The mean is (mean + mean_lo), not yet normalised.
--
-- Two passes. The first finds an origin k of each group: the plain weighted average of the means,
-- held between the smallest and the largest of them. The second adds up moments about k, with
--     d_i = mean_i - k                      m2' = sum(m2_i + w_i d_i^2)
--     m3' = sum(m3_i + 3 d_i m2_i + w_i d_i^3)
--     m4' = sum(m4_i + 4 d_i m3_i + 6 d_i^2 m2_i + w_i d_i^4)
-- (Chan, Golub and LeVeque 1979; Pebay 2008), and takes the shift s = sum(w_i d_i) / W out again:
--     m2 = m2' - W s^2     m3 = m3' - 3 s m2' + 2 W s^3
--     m4 = m4' - 4 s m3' + 6 s^2 m2' - 3 W s^4
-- What that costs: with N cells in a group, u = 2^-53 and means up to M in size, s is at most N u M
-- (the rounding of the average) and at most the spread R of the means (k lies between them). Half
-- the spread at least is between the group's mean and one cell's, so that m2 >= w_min R^2 / 4.
-- Hence W s^2 / m2 is at most (N u M)^2 / variance, and never more than 4 W / w_min: the relative
-- error of m2 is N u times 1 + that. Errors with a mean of 1e9 standard deviations in a million
-- cells still come out to 1e-10. But for a small factor and the rounding of each cell's own terms
-- tests/fleet/test_merging_bound.py holds it to that. A cell without samples has weight 0 and adds
-- nothing.
--
-- A sum of counts that no integer of the engine holds comes out as the largest, 2^63 - 1; who reads
-- the row leaves such a group out (merging.py).
WITH origins AS (
    SELECT {keys},
        coalesce(greatest(least(sum(weight * mean) / nullif(sum(weight), 0),
            max(CASE WHEN count > 0 THEN mean END)),
            min(CASE WHEN count > 0 THEN mean END)), 0) AS k,
        coalesce(greatest(least(sum(weight * y_mean) / nullif(sum(weight), 0),
            max(CASE WHEN count > 0 THEN y_mean END)),
            min(CASE WHEN count > 0 THEN y_mean END)), 0) AS y_k
    FROM ({chosen}) AS chosen
    GROUP BY {keys}
),
centred AS (
    SELECT c.*, o.k, o.y_k,
        CASE WHEN c.count > 0 THEN (c.mean - o.k) + c.mean_lo ELSE 0 END AS d,
        CASE WHEN c.count > 0 THEN (c.y_mean - o.y_k) + c.y_mean_lo ELSE 0 END AS y_d
    FROM ({chosen}) AS c
    JOIN origins AS o USING ({keys})
),
sums AS (
    SELECT {keys},
        -- One of the same: grouped by them, PostgreSQL expects a hundred times as many groups.
        min(k) AS k,
        min(y_k) AS y_k,
        CAST(least(sum(count), 9223372036854775807) AS BIGINT) AS count,
        sum(weight) AS weight,
        sum(weight_lo) AS weight_lo,
        sum(weight2) AS weight2,
        coalesce(sum(weight * d) / nullif(sum(weight), 0), 0) AS s,
        coalesce(sum(weight * y_d) / nullif(sum(weight), 0), 0) AS y_s,
        sum(m2 + weight * d * d) AS m2,
        sum(m2_lo) AS m2_lo,
        sum(m3 + 3 * d * m2 + weight * d * d * d) AS m3,
        sum(m4 + 4 * d * m3 + 6 * d * d * m2 + weight * d * d * d * d) AS m4,
        sum(abs_sum) AS abs_sum,
        min(min_error) AS min_error,
        max(max_error) AS max_error,
        sum(y_m2 + weight * y_d * y_d) AS y_m2,
        sum(y_m2_lo) AS y_m2_lo,
        sum(y_e + weight * y_d * d) AS y_e,
        sum(y_e_lo) AS y_e_lo,
        CAST(least(sum(nonfinite), 9223372036854775807) AS BIGINT) AS nonfinite,
        CAST(least(sum(out_of_range), 9223372036854775807) AS BIGINT) AS out_of_range,
        CAST(least(sum(predictions), 9223372036854775807) AS BIGINT) AS predictions,
        CAST(least(sum(matched), 9223372036854775807) AS BIGINT) AS matched,
        CAST(least(sum(expired), 9223372036854775807) AS BIGINT) AS expired,
        CAST(least(sum(orphan), 9223372036854775807) AS BIGINT) AS orphan,
        CAST(least(sum(duplicate), 9223372036854775807) AS BIGINT) AS duplicate,
        CAST(least(sum(conflicting), 9223372036854775807) AS BIGINT) AS conflicting,
        CAST(least(sum(lag_ms_sum), 9223372036854775807) AS BIGINT) AS lag_ms_sum,
        max(lag_ms_max) AS lag_ms_max
    FROM centred
    GROUP BY {keys}
)
SELECT {keys}, count, weight, weight_lo, weight2,
    k AS mean,
    s AS mean_lo,
    m2 - weight * s * s AS m2,
    m2_lo,
    m3 - 3 * s * m2 + 2 * weight * s * s * s AS m3,
    m4 - 4 * s * m3 + 6 * s * s * m2 - 3 * weight * s * s * s * s AS m4,
    abs_sum, min_error, max_error,
    y_k AS y_mean,
    y_s AS y_mean_lo,
    y_m2 - weight * y_s * y_s AS y_m2,
    y_m2_lo,
    y_e - weight * y_s * s AS y_e,
    y_e_lo,
    nonfinite, out_of_range,
    predictions, matched, expired, orphan, duplicate, conflicting, lag_ms_sum, lag_ms_max
FROM sums
