"""NannyML on raw rows: a Parquet file's path a line comes in, a JSON line goes out.

The first half of a file's rows is the reference, the other half the analysis period: realised
RMSE by hours, univariate drift of the residual by days. Out go the chunks' values of both periods,
and of drift NannyML's own alerts, at its thresholds as they come.
"""

import json
import sys
import warnings

import nannyml
import pandas as pd

METHODS = ("kolmogorov_smirnov", "jensen_shannon", "wasserstein")


def main() -> None:
    warnings.simplefilter("ignore")
    checked = False
    for line in sys.stdin:
        rows = pd.read_parquet(line.strip())
        rows["error"] = rows["y_pred"] - rows["y_true"]
        rows["time"] = pd.to_datetime(rows["time"], unit="s")
        reference, analysis = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        drift = nannyml.UnivariateDriftCalculator(
            column_names=["error"],
            timestamp_column_name="time",
            chunk_period="D",
            continuous_methods=list(METHODS),
        )
        drift.fit(reference)
        result = drift.calculate(analysis).to_df()
        found = {method: _chunks(result, ("error", method)) for method in METHODS}
        found["rmse"] = {"then": _hourly(reference), "now": _hourly(analysis)}
        if not checked:
            own = _performance(reference, analysis)
            for period in ("then", "now"):
                pairs = zip(own[period], found["rmse"][period], strict=True)
                assert all(abs(a / b - 1) < 1e-9 for a, b in pairs)
            checked = True
        print(json.dumps(found), flush=True)


def _hourly(rows: pd.DataFrame) -> list[float]:
    """NannyML's realised RMSE of each hour, without the seconds that its calculator takes."""
    squares = (rows["error"] ** 2).groupby(rows["time"].dt.floor("h")).mean()
    return (squares**0.5).tolist()


def _performance(reference: pd.DataFrame, analysis: pd.DataFrame) -> dict[str, list[float]]:
    calculator = nannyml.PerformanceCalculator(
        metrics=["rmse"],
        y_true="y_true",
        y_pred="y_pred",
        problem_type="regression",
        timestamp_column_name="time",
        chunk_period="h",
    )
    calculator.fit(reference)
    return _chunks(calculator.calculate(analysis).to_df(), ("rmse",))


def _chunks(result: pd.DataFrame, path: tuple[str, ...]) -> dict[str, list[float]]:
    chunk = ("chunk",) * len(path)
    period = result[(*chunk, "period")]
    now = period == "analysis"
    value = result[(*path, "value")].astype(float)
    return {
        "then": value[~now].tolist(),
        "now": value[now].tolist(),
        "alerts": result.loc[now, (*path, "alert")].astype(bool).tolist(),
    }


if __name__ == "__main__":
    main()
