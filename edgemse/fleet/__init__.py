"""What the fleet's statistics say: one file for each question, over cells merged by SQL."""

from edgemse.fleet.asking import ask
from edgemse.fleet.components import Anova, VarianceComponents, anova, variance_components

__all__ = ["Anova", "VarianceComponents", "anova", "ask", "variance_components"]
