"""``batchlaw fit`` as a test runs it, and tables for it."""

import contextlib
import dataclasses
import functools
import io
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from analysis.laws import LAWS
from analysis.study_analysis import analyse
from study.cli import app
from study.fit_command import RESULT_TABLES

FOUR_LAWS = {name: LAWS[name] for name in ("constant", "sqrt", "linear", "power")}


def quick_analyse(*tables, laws=FOUR_LAWS, **options):
    """Run the true analysis with fewer laws and draws: ten times as fast."""
    return analyse(*tables, laws=laws, **{**options, "resamples": 40})


def put_in_place_of_the_analysis(patch, analysis=quick_analyse):
    """Patch it in this process, and keep all sweeps here."""
    patch.setattr("analysis.many_sweeps.analyse", analysis)
    patch.setattr("study.fit_command.core_count", lambda: 1)


@functools.cache
def _command():
    # Building it takes longer than most tests' work.
    return typer.main.get_command(app)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What a shell would see; exceptions other than an exit are raised."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


def fit(*arguments: object) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = _command().main(["fit", *(str(argument) for argument in arguments)], "batchlaw") or 0
        except SystemExit as stop:
            code = stop.code
    return Result(exit_code=0 if code is None else int(code), stdout=out.getvalue(), stderr=err.getvalue())


def stub_report(analysis, path, **settings):
    Path(path).write_text("report", encoding="utf-8")
    return Path(path)


def sweep(*, exponent=0.5, unit=1.0, noise=0.01, seeds=2, seed=0, batch_sizes=(8, 16, 32, 64, 128)):
    """A table bs, lr, seed, val_loss: the log loss is a parabola in ln rate round the power law of ``exponent``."""
    rng = np.random.default_rng(seed)
    rows = []
    for batch in batch_sizes:
        best = 0.004 * (batch / 32) ** exponent
        for offset in (-2, -1, 0, 1, 2):
            rate = float(f"{0.004 * 2.0 ** (round(np.log2(best / 0.004)) + offset):.6g}")
            for k in range(seeds):
                loss = np.exp(0.05 * np.log(rate / best) ** 2 + noise * rng.standard_normal())
                rows.append({"bs": batch * unit, "lr": rate, "seed": k, "val_loss": loss})
    return pd.DataFrame(rows)


def read(folder: str | Path) -> dict[str, pd.DataFrame]:
    return {name: pd.read_csv(Path(folder) / f"{name}.csv") for name in RESULT_TABLES}
