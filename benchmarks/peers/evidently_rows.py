"""Evidently on raw rows: a Parquet file's path a line comes in, a JSON line goes out.

The first half of a file's rows is the reference; each day of the other half is a current dataset,
as Evidently's guide on batch monitoring has it. Out go the reference's RMSE, each day's, and each
day's drift score of the residual by the method that Evidently chooses for so many rows.
"""

import json
import sys
import warnings

import pandas as pd
from evidently import DataDefinition, Dataset, Regression, Report
from evidently.metrics import RMSE, ValueDrift

DAYS = 14


def main() -> None:
    warnings.simplefilter("ignore")
    checked = False
    for line in sys.stdin:
        rows = pd.read_parquet(line.strip())
        rows["error"] = rows["y_pred"] - rows["y_true"]
        size = len(rows) // DAYS
        reference, *days = rows[: len(rows) // 2], *_days(rows[len(rows) // 2 :], size)
        found = {"rmse": [_rmse(day) for day in days], "reference": _rmse(reference), "drift": []}
        if not checked:
            assert abs(_evidently_rmse(days[0]) / found["rmse"][0] - 1) < 1e-12
            checked = True
        columns = DataDefinition(numerical_columns=["error"])
        then = Dataset.from_pandas(reference[["error"]], data_definition=columns)
        for day in days:
            now = Dataset.from_pandas(day[["error"]], data_definition=columns)
            drifted = Report([ValueDrift(column="error")]).run(now, then)
            found["drift"].append(float(drifted.dict()["metrics"][0]["value"]))
        print(json.dumps(found), flush=True)


def _days(rows: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    return [rows[place : place + size] for place in range(0, len(rows), size)]


def _rmse(rows: pd.DataFrame) -> float:
    """Evidently's RMSE, without the plots that come with it and take seconds a day."""
    return float((rows["error"] ** 2).mean() ** 0.5)


def _evidently_rmse(rows: pd.DataFrame) -> float:
    definition = DataDefinition(regression=[Regression(target="y_true", prediction="y_pred")])
    dataset = Dataset.from_pandas(rows, data_definition=definition)
    return float(Report([RMSE()]).run(dataset, None).dict()["metrics"][0]["value"])


if __name__ == "__main__":
    main()
