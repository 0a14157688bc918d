-- Merges the moments of many cells into one row for each group; runs unchanged on DuckDB,
-- PostgreSQL and Spark SQL.
--
-- Input: a relation `chosen` with the group's columns g1 ... g6 (text; '' where fewer are asked
-- for) and the moments' columns of the table `cells`. Output: for each group the moments about its
-- own mean, as edgemse.stats.moments names them; the mean is (mean + mean_lo), not yet normalised.
--
-- Two passes, so that nothing cancels: the first finds the group's mean from an origin inside the
-- group, k (any cell's mean does); the second adds up moments about that mean,
--     d  = mean_i - mean            m2 = sum(m2_i + w_i d^2)
--     m3 = sum(m3_i + 3 d m2_i + w_i d^3)
--     m4 = sum(m4_i + 4 d m3_i + 6 d^2 m2_i + w_i d^4)
-- (Chan, Golub and LeVeque 1979; Pebay 2008). A cell without samples has weight 0 and adds nothing.
WITH origins AS (
    SELECT g1, g2, g3, g4, g5, g6,
        coalesce(min(CASE WHEN count > 0 THEN mean END), 0) AS k,
        coalesce(min(CASE WHEN count > 0 THEN y_mean END), 0) AS y_k
    FROM chosen
    GROUP BY g1, g2, g3, g4, g5, g6
),
means AS (
    SELECT c.g1, c.g2, c.g3, c.g4, c.g5, c.g6, o.k, o.y_k,
        coalesce(sum(c.weight * ((c.mean - o.k) + c.mean_lo))
            / nullif(sum(c.weight), 0), 0) AS shift,
        coalesce(sum(c.weight * ((c.y_mean - o.y_k) + c.y_mean_lo))
            / nullif(sum(c.weight), 0), 0) AS y_shift
    FROM chosen AS c
    JOIN origins AS o
        ON c.g1 = o.g1 AND c.g2 = o.g2 AND c.g3 = o.g3
        AND c.g4 = o.g4 AND c.g5 = o.g5 AND c.g6 = o.g6
    GROUP BY c.g1, c.g2, c.g3, c.g4, c.g5, c.g6, o.k, o.y_k
),
centred AS (
    SELECT c.*, m.k, m.y_k, m.shift, m.y_shift,
        CASE WHEN c.count > 0 THEN ((c.mean - m.k) - m.shift) + c.mean_lo ELSE 0 END AS d,
        CASE WHEN c.count > 0 THEN ((c.y_mean - m.y_k) - m.y_shift) + c.y_mean_lo ELSE 0 END AS y_d
    FROM chosen AS c
    JOIN means AS m
        ON c.g1 = m.g1 AND c.g2 = m.g2 AND c.g3 = m.g3
        AND c.g4 = m.g4 AND c.g5 = m.g5 AND c.g6 = m.g6
)
SELECT g1, g2, g3, g4, g5, g6,
    CAST(sum(count) AS BIGINT) AS count,
    sum(weight) AS weight,
    sum(weight_lo) AS weight_lo,
    sum(weight2) AS weight2,
    k AS mean,
    shift AS mean_lo,
    sum(m2 + weight * d * d) AS m2,
    sum(m2_lo) AS m2_lo,
    sum(m3 + 3 * d * m2 + weight * d * d * d) AS m3,
    sum(m4 + 4 * d * m3 + 6 * d * d * m2 + weight * d * d * d * d) AS m4,
    sum(abs_sum) AS abs_sum,
    min(min_error) AS min_error,
    max(max_error) AS max_error,
    y_k AS y_mean,
    y_shift AS y_mean_lo,
    sum(y_m2 + weight * y_d * y_d) AS y_m2,
    sum(y_m2_lo) AS y_m2_lo,
    sum(y_e + weight * y_d * d) AS y_e,
    sum(y_e_lo) AS y_e_lo,
    CAST(sum(nonfinite) AS BIGINT) AS nonfinite,
    CAST(sum(out_of_range) AS BIGINT) AS out_of_range
FROM centred
GROUP BY g1, g2, g3, g4, g5, g6, k, y_k, shift, y_shift
ORDER BY g1, g2, g3, g4, g5, g6
