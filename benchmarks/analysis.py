"""Time and memory of the whole analysis against the number of trials, and of one law fit against lmfit's.

Sweeps have 1,000 trials each: 10 batch sizes x 20 rates x 5 seeds with a known best rate, in one table whose column
``model`` names the sweep.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import lmfit
import numpy as np
import pandas as pd

from analysis.cells import tabulate_cells
from analysis.columns import choose_columns
from analysis.law import Array, Law
from analysis.laws import LAWS
from analysis.least_squares import bounded_residual
from analysis.likelihood import Box, fit_draws, fit_fixed, search_box
from analysis.many_sweeps import analyse_each
from analysis.observations import Observations, observe
from analysis.optimum import locate_optima
from analysis.sources import read_source
from analysis.sweeps import loss_sweeps
from study.cores import core_count

SWEEPS = (1, 10, 100)
ROLES = ("batch_size", "learning_rate", "loss", "seed")
RESAMPLES = 1000
LMFIT_DRAWS = 10  # of each law: its time per fit does not depend on how many there are


def main(sweeps: Sequence[int] = SWEEPS) -> None:
    """Print the cost of tables with so many sweeps, then milliseconds a fit, here and with lmfit, and their ratio."""
    print(
        f"analysis of a CSV table, {core_count()} cores: optima, all laws by both routes, {RESAMPLES} resamples a sweep"
    )
    print(f"{'trials':>8}  {'load s':>8}  {'analysis s':>10}  {'peak MiB':>8}")
    for count in sweeps:
        # A process each: the highest memory of a process never falls again.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            trials, load_seconds, analysis_seconds, peak_mib = pool.submit(_measure, count).result()
        print(f"{trials:>8}  {load_seconds:>8.2f}  {analysis_seconds:>10.1f}  {peak_mib:>8.0f}", flush=True)
    here, there, better = _compare_with_lmfit()
    print("one law fitted to one draw of the optima, mean over the laws")
    print(f"  here, all draws together:           {1e3 * here:.3f} ms")
    print(f"  lmfit, one by one:                  {1e3 * there:.3f} ms")
    print(f"  lmfit / here:                       {there / here:.0f}")
    print(f"  lmfit's ln likelihood is higher:    {better:.1%} of the draws, by more than 0.01")


def make_table(sweeps: int, *, seed: int = 0) -> pd.DataFrame:
    """Return a loss per run: a parabola in ln rate around a saturating law, noise, and runs that diverged (NaN)."""
    axes = (np.arange(sweeps), 2 ** np.arange(3, 13), 1e-4 * 2 ** (np.arange(20) / 2), np.arange(5))
    model, batch_size, rate, replicate = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    distance = np.log(rate * (1 + 64 * (1 + model % 7) / batch_size) / 0.02)
    loss = 2.0 + 0.05 * distance**2 + 0.01 * np.random.default_rng(seed).standard_normal(len(rate))
    loss[distance > np.log(8)] = np.nan
    columns = {"batch_size": batch_size, "learning_rate": rate, "seed": replicate, "loss": loss}
    return pd.DataFrame({"model": [f"model {i}" for i in model], **columns})


def _measure(sweeps: int) -> tuple[int, float, float, float]:
    """Return trials, seconds to load, seconds to analyse, and highest memory in MiB of this process and a child's."""
    with tempfile.TemporaryDirectory() as folder:
        make_table(sweeps).to_csv(path := Path(folder) / "runs.csv", index=False)
        start = time.perf_counter()
        runs = read_source(path)
        columns = choose_columns(runs, given={}, roles=ROLES, groups=["model"])
        table = loss_sweeps(runs, columns, mode="min")
        loaded = time.perf_counter()
    analyse_each(table.trials, pd.DataFrame(), outcomes=table.outcomes, resamples=RESAMPLES, processes=core_count())
    peak_mib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    return len(table.trials), loaded - start, time.perf_counter() - loaded, peak_mib


def _compare_with_lmfit() -> tuple[float, float, float]:
    """Return seconds a fit here, seconds a fit with lmfit, and the share of draws where lmfit's is the better one."""
    trials = make_table(1).rename(columns={"loss": "value", "model": "sweep"})
    trials["status"] = np.where(trials["value"].isna(), "diverged", "exhausted")
    cells = tabulate_cells(trials.assign(mode="min"), outcome="value_at_budget")
    optima = locate_optima(cells, seed=0, resamples=RESAMPLES)
    (draws,) = optima.draws.values()
    names = ("batch_size", "learning_rate", "low", "high", "status")
    seen = observe(**{name: optima.table[name].to_numpy() for name in names})
    ln_rate, side = draws.ln_rate[:, seen.used], draws.side[:, seen.used]
    here, there, better = [], [], []
    for law in LAWS.values():
        box = search_box(law, seen)
        point = fit_fixed(law, seen, 0.0, box)
        start = time.perf_counter()
        found = fit_draws(law, seen, ln_rate, side, start=point, scatter=0.0, box=box)
        here.append((time.perf_counter() - start) / len(ln_rate))
        for i in range(LMFIT_DRAWS):
            data = (law, seen, ln_rate[i], side[i])
            start = time.perf_counter()
            fit = lmfit.minimize(_residual, _parameters(point, box), args=data)
            there.append(time.perf_counter() - start)
            better.append(np.sum(_residual(_parameters(found[i], box), *data) ** 2) > fit.chisqr + 0.02)
    return float(np.mean(here)), float(np.mean(there)), float(np.mean(better))


def _parameters(point: Array, box: Box) -> lmfit.Parameters:
    walls = zip(point, *box, strict=True)
    return lmfit.create_params(**{f"c{k}": {"value": c, "min": a, "max": b} for k, (c, a, b) in enumerate(walls)})


def _residual(given: lmfit.Parameters, law: Law, seen: Observations, ln_rate: Array, side: Array) -> Array:
    values = law.from_coordinates(np.array(list(given.valuesdict().values())))
    return bounded_residual((law.ln_rate(seen.ln_batch, values) - ln_rate) / seen.sd, side)


if __name__ == "__main__":
    main()
