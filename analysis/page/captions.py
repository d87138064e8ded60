"""The sentences under the figures, after the outcome that the figure shows."""

from __future__ import annotations

OPTIMA = (
    "Points are optima with 95 % intervals; a triangle with an arrow is a bound, where the best rate lies at the "
    "edge of the grid or beyond. Lines are the fitted laws with 95 % bands, drawn an octave beyond the batch "
    "sizes tried. Laws with an AICc weight below 1 % wait in the legend, where a click shows or hides one."
)
GROUPS = (
    "A line joins the best rates of one sweep, an open triangle is a bound at the edge of the tested rates. Point at a "
    "line to read its name and interval."
)
HEATMAP = (
    "Each cell is the mean over its seeds; brighter is better. Grey cells hold no number and carry a mark; a cell "
    "with any diverged seed counts as diverged. The line joins the optima, with 95 % intervals; a triangle is one "
    "at the edge of the grid."
)
VALLEYS = (
    "One panel a batch size, learning rate (peak) across, both axes shared. The diamond is the optimum of the "
    "local fit with its 95 % interval. Trials without an outcome stand at the worst value, with a mark."
)
TRADEOFF = "Counted at the rate that needs the fewest steps, beside the examples that they consume."
CURVES = (
    "Mean over seeds in the measured cell nearest to the best rate of each batch size. The dashed line is the "
    "target, if there is one."
)
