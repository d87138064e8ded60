"""Simulated studies with known laws: how often intervals hold the truth, and how often verdicts are right.

``python -m tests.analysis.campaign`` runs all of it through the whole chain (trials, cells, optima, laws,
verdict) and writes ``coverage.csv`` and ``verdicts.csv``. What counts as good was fixed before the run: a parameter's
intervals hold the truth in 92 to 98 of 100 studies, all noises and grids together (600 studies), and so do those of all
parameters at each noise; at each noise alone (200 studies) a parameter's may fall below 92 by what chance does in one
case of 100. At most 5 of 100 verdicts at a noise name a wrong law.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binom

from analysis.cells import tabulate_cells
from analysis.compare import UNDETERMINED, decide
from analysis.fit_tables import fit_laws
from analysis.laws import LAWS
from analysis.optimum import locate_optima

from .typical_laws import TYPICAL

NOISES = (0.005, 0.02, 0.05)
"""Standard deviation of one run's ln loss between seeds; twice the best rate costs 0.1."""
GRIDS = {"64x": 4, "1024x": 0}
"""Name -> how many doublings are missing from 4 to 4096 examples per step, half of them on each side."""
ROUND = 540
"""Studies between two looks at the tables: ten of every law, noise and grid."""
COVERAGE_TARGET = (0.92, 0.98)
WRONG_TARGET = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study:
    """One simulated study: a law, the noise of a run, the name of a grid, a seed."""

    law: str
    noise: float
    grid: str
    seed: int


def simulate(study: Study, *, seeds: int = 3, reach: int = 3) -> pd.DataFrame:
    """Return trials on rates a factor of 2 apart, ``reach`` on each side of the best.

    ln loss rises as 0.1 d² + 0.01 d³, d octaves from the best rate: steeper towards divergence. Every study has its own
    position of the grid, its own level of the law and its own noise.
    """
    law, rng = LAWS[study.law], np.random.default_rng([study.seed, round(1e4 * study.noise)])
    missing = GRIDS[study.grid] // 2
    batches = 2.0 ** np.arange(2 + missing, 13 - missing)
    best = law.ln_rate(np.log(batches), np.array(TYPICAL[study.law])) / np.log(2.0)
    phase = rng.uniform()
    rows = []
    for batch_size, centre in zip(batches, best, strict=True):
        middle = round(centre - phase)
        for x in phase + np.arange(middle - reach, middle + reach + 1):
            d = x - centre
            for seed in range(seeds):
                ln_loss = 0.1 * d**2 + 0.01 * d**3 + study.noise * rng.standard_normal()
                rows.append((batch_size, 2.0**x, seed, np.exp(ln_loss)))
    frame = pd.DataFrame(rows, columns=["batch_size", "learning_rate", "seed", "value"])
    return frame.assign(sweep="simulated", status="exhausted", mode="min")


def judge(study: Study, *, resamples: int = 200) -> dict[str, object]:
    """Analyse one study; return its verdict and, for every parameter of the true law, whether it is covered."""
    optima = locate_optima(
        tabulate_cells(simulate(study), outcome="value_at_budget"), seed=study.seed, resamples=resamples
    )
    # A law that repeats another's curves takes no part in the verdict.
    laws = {name: law for name, law in LAWS.items() if law.same_curves_as is None or name == study.law}
    fits = fit_laws(optima, laws=laws, seed=study.seed)["simulated"]
    covered, closed = {}, {}
    for estimate, true in zip(fits[study.law].estimates, TYPICAL[study.law], strict=True):
        name = estimate.parameter.name
        covered[name] = (estimate.low is None or estimate.low <= true) and (
            estimate.high is None or true <= estimate.high
        )
        closed[name] = estimate.low is not None and estimate.high is not None
    verdict = decide(fits, optima.table).verdict
    return {**dataclasses.asdict(study), "verdict": verdict, "covered": covered, "closed": closed}


def run(studies: Iterable[Study], *, processes: int = 2) -> Iterator[pd.DataFrame]:
    """Judge all studies; yield a row for each of those that are done, again after every ``ROUND`` of them."""
    listed = list(studies)
    begun, rows = time.monotonic(), []
    with ProcessPoolExecutor(processes) as pool:
        for row in pool.map(judge, listed, chunksize=4):
            rows.append(row)
            if len(rows) % ROUND == 0 or len(rows) == len(listed):
                left = (time.monotonic() - begun) / len(rows) * (len(listed) - len(rows))
                print(f"{len(rows)} of {len(listed)} studies, about {left / 60:.0f} min left", flush=True)
                yield pd.DataFrame(rows)


def coverage(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the share of studies in which each parameter's interval holds the truth, by law, noise and grid."""
    rows = []
    for (law, noise, grid), part in judged.groupby(["law", "noise", "grid"], sort=False):
        for name in part["covered"].iloc[0]:
            rows.append(
                {
                    "law": law,
                    "parameter": name,
                    "noise": noise,
                    "grid": grid,
                    "studies": len(part),
                    "covered": float(np.mean([c[name] for c in part["covered"]])),
                    "closed": float(np.mean([c[name] for c in part["closed"]])),
                }
            )
    return pd.DataFrame(rows)


def pooled(covered: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """Return studies and the share that holds the truth, rows of ``coverage`` with equal keys together."""
    held = (covered["covered"] * covered["studies"]).groupby([covered[key] for key in keys], sort=False).sum()
    studies = covered.groupby(list(keys), sort=False)["studies"].sum()
    return pd.DataFrame({"studies": studies, "covered": held / studies}).reset_index()


def misses(covered: pd.DataFrame) -> pd.DataFrame:
    """Return what falls outside of the targets named above; empty is good."""
    low, high = COVERAGE_TARGET
    parts = [pooled(covered, *keys) for keys in (("law", "parameter"), ("noise",))]
    strict = [part[~part["covered"].round(4).between(low, high)] for part in parts]
    each = pooled(covered, "law", "parameter", "noise")
    least = binom.ppf(0.01, each["studies"], low) / each["studies"]
    return pd.concat([*strict, each[each["covered"].round(4) < least]], ignore_index=True)


def verdicts(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the shares of right, undetermined and wrong verdicts, by law, noise and grid.

    A law whose curves are another's is right under the other's name: the data are the same.
    """
    rows = []
    for (law, noise, grid), part in judged.groupby(["law", "noise", "grid"], sort=False):
        right = {law, LAWS[str(law)].same_curves_as}
        named = part["verdict"][part["verdict"] != UNDETERMINED]
        wrong = named[~named.isin(right)]
        rows.append(
            {
                "law": law,
                "noise": noise,
                "grid": grid,
                "studies": len(part),
                "right": float(part["verdict"].isin(right).mean()),
                "undetermined": float((part["verdict"] == UNDETERMINED).mean()),
                "wrong": len(wrong) / len(part),
                "most_often_wrong": wrong.mode().iloc[0] if len(wrong) else "",
            }
        )
    return pd.DataFrame(rows)


def all_studies(
    count: int, *, laws: Sequence[str] = tuple(TYPICAL), grids: Sequence[str] = tuple(GRIDS)
) -> list[Study]:
    """Return ``count`` studies of every law, noise and grid."""
    return [
        Study(law=law, noise=noise, grid=grid, seed=seed)
        for seed, law, noise, grid in itertools.product(range(count), laws, NOISES, grids)
    ]


def main() -> None:
    """Run the campaign and write its two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=100, help="of every law, noise and grid [100]")
    parser.add_argument("--grid", action="append", choices=tuple(GRIDS), help="one or more [all]")
    parser.add_argument("--out", type=Path, default=Path("results/reference/recovery"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for judged in run(all_studies(options.studies, grids=options.grid or tuple(GRIDS))):
        for name, table in (("coverage", coverage(judged)), ("verdicts", verdicts(judged))):
            table.round(4).to_csv(options.out / f"{name}.csv", index=False)
    print(
        coverage(judged).round(3).to_string(index=False), verdicts(judged).round(3).to_string(index=False), sep="\n\n"
    )


if __name__ == "__main__":
    main()
