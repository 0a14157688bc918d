"""Losses as measures: one name for equal losses, and every name leads back."""

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgemse import LossStats
from edgemse.stats import measures
from edgemse.stats.losses import LOSSES
from edgemse.stats.measures import follow_loss, loss_of_measure

NUMBERS = st.floats(5e-324, 1.7e308) | st.sampled_from([1.0, 2.0**-52, 0.1, 1e16, 1e22])


@given(st.sampled_from(sorted(LOSSES)), NUMBERS)
def test_every_loss_has_one_name_that_leads_back(loss, number):
    kind = LOSSES[loss]
    parameters = {}
    if kind.parameter:
        parameters[kind.parameter] = number if number < kind.below else math.ldexp(number, -1025)
        if not parameters[kind.parameter]:
            return
    stats = LossStats(loss, **parameters)
    assert loss_of_measure(stats.measure) == (loss, parameters)
    for written in (stats.measure, stats.measure.removeprefix("loss:")):
        assert follow_loss(written).measure == stats.measure
    if parameters:
        (number,) = parameters.values()
        longer = f"{loss}({kind.parameter}={number:.25e})"
        assert follow_loss(longer).measure == stats.measure
    assert len(stats.measure) <= 64


def test_the_names():
    assert LossStats("huber", delta=1).measure == "loss:huber(delta=1)"
    assert LossStats("pinball", quantile=0.9).measure == "loss:pinball(quantile=0.9)"
    assert LossStats("mape", floor=1e22).measure == "loss:mape(floor=1e+22)"
    assert LossStats("brier").measure == "loss:brier"
    # a parameter that was not given is in the name as well: defaults may change, names may not
    assert LossStats("log_loss").measure == "loss:log_loss(clip=2.220446049250313e-16)"
    assert follow_loss("log_loss").measure == LossStats("log_loss").measure


@pytest.mark.parametrize(
    "text",
    [
        "",
        "loss:",
        "huber(delta=1)",
        "loss:huber",
        "loss:huber()",
        "loss:huber(delta=1.0)",
        "loss:huber(delta=1e0)",
        "loss:huber(delta=+1)",
        "loss:huber(delta=0)",
        "loss:huber(delta=-1)",
        "loss:huber(delta=nan)",
        "loss:huber(delta=1e999)",
        "loss:huber(delta=1_0)",
        "loss:huber(delta=1,delta=1)",
        "loss:huber(floor=1)",
        "loss:huber(delta=1) ",
        "loss: huber(delta=1)",
        "loss:log_loss",
        "loss:brier()",
        "loss:brier(x=1)",
        "loss:mse",
        "loss:loss:brier",
        "feature:temperature",
        "loss:huber(delta=\u0661)",
    ],
)
def test_other_names_are_refused(text):
    with pytest.raises(ValueError, match=r"names no loss|is spelt"):
        loss_of_measure(text)


@pytest.mark.parametrize("text", ["", "huber", "mse", "pinball(quantile=1.5)", "brier(1)", "loss:"])
def test_losses_that_there_are_not_cannot_be_followed(text):
    with pytest.raises(ValueError, match="names no loss"):
        follow_loss(text)


def test_a_value_is_the_loss_or_says_why_there_is_none():
    brier = follow_loss("brier").value
    assert brier(1.0, 0.75) == 0.0625
    assert brier(0.5, 0.5) == 2.0**201
    assert brier(1e300, 0.0) == 2.0**201
    assert math.isnan(brier(math.nan, 0.5))
    assert math.isnan(brier(1.0, math.inf))


def test_the_examples_run():
    assert doctest.testmod(measures).failed == 0
