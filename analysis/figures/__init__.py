"""Figures in pairs: ``*_table`` returns the numbers (tested), ``*_figure`` draws them and does nothing else.

All tables and figures are about one sweep: pass the rows of one.
"""

from .curves import curves_figure, curves_table
from .derived import derived_rates_figure, derived_rates_table
from .derived_noise import noise_steps_figure, noise_steps_table
from .groups import groups_figure, groups_table
from .heatmap import heatmap_figure, heatmap_table
from .optima import laws_table, optima_figure, optima_table, optimum_words
from .outcome import Outcome, describe_outcome
from .style import DARK, LIGHT, PAGE, Theme, css_variables
from .text import interval, number, plot_text, share
from .tradeoff import tradeoff_figure, tradeoff_table
from .valleys import valleys_figure, valleys_table

__all__ = [
    "DARK",
    "LIGHT",
    "PAGE",
    "Outcome",
    "Theme",
    "css_variables",
    "curves_figure",
    "curves_table",
    "derived_rates_figure",
    "derived_rates_table",
    "describe_outcome",
    "groups_figure",
    "groups_table",
    "heatmap_figure",
    "heatmap_table",
    "interval",
    "laws_table",
    "noise_steps_figure",
    "noise_steps_table",
    "number",
    "optima_figure",
    "optima_table",
    "optimum_words",
    "plot_text",
    "share",
    "tradeoff_figure",
    "tradeoff_table",
    "valleys_figure",
    "valleys_table",
]
