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
DERIVED = (
    "Fitted optima and the fitted law, each with 95 % intervals, beside rates derived from gradients alone: the mean "
    "over the probes of all runs. Points are measured directly in runs at that batch size and stand a little aside of "
    "it; lines are closed forms with 95 % bands. No derived rate has a free parameter. A curve that another one hides "
    "waits in the legend, where a click shows or hides one; the verdict on each stands in brackets."
)
DERIVED_ALONE = (
    "Best rates derived from gradients alone, with 95 % intervals: the mean over the probes of all runs. Points are "
    "measured directly in runs at that batch size and stand a little aside of it; lines are closed forms. A cross is "
    "the rate of a probe run. A curve that another one hides waits in the legend."
)
NOISE_STEPS = (
    "A line joins the probes of one run, coloured by its batch size, with 95 % intervals; open points are not "
    "resolved. Level lines with bands are the noise scale of the fitted law and B_crit = E_min/S_min with their "
    "intervals. For SGD theory has all of them be one number; the surge of a sign has the scale π κ²/2."
)
NOISE_FACTOR = (
    "The probes' values are multiplied by {}, the optimiser's noise factor: its average of gradients acts as a larger "
    "batch."
)
