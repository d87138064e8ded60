"""The judge of struck studies sees each kind of damage, however small, and nothing where there is none."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from results import ResultStore
from tests.results.rows import points, row

from .strikes import KINDS, TRIALS_A_SEED, plan, sweeps
from .verdict import Verdict, judge

IDS = [f"{number:016x}" for number in range(6)]
GOOD = Verdict(trials=6, lost=0, foreign=0, twice=0, torn=0, stray=0, tables_equal=True)


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    """A struck study, half of it in parts, and the undisturbed one, compacted and run at another time."""
    for name, order, seconds in (("struck", IDS[::-1], 2.0), ("undisturbed", IDS, 3.0)):
        store = ResultStore(tmp_path / name)
        for number, trial_id in enumerate(order):
            if number == 3:
                store.compact()
            trial = row(trial_id, spec="{}", train_seconds=seconds, started_at=f"{number}", value=math.nan)
            store.append(trial, points(3))
        store.write_text("study.yaml", "")
    ResultStore(tmp_path / "undisturbed").compact()
    return tmp_path / "struck", tmp_path / "undisturbed"


def part(folder: Path, number: int) -> Path:
    return folder / "parts" / f"{IDS[number]}.json"


def lose_a_part(folder: Path) -> None:
    part(folder, 0).unlink()


def tear_a_part(folder: Path) -> None:
    part(folder, 0).write_text(part(folder, 0).read_text()[:-9])


def store_a_foreign_trial(folder: Path) -> None:
    ResultStore(folder).append(row("f" * 16, spec="{}"))


def store_a_trial_twice(folder: Path) -> None:
    """Put a trial into the parts that is in the tables already, as a second driver would."""
    (path,) = (folder / "compacted").glob("*-trials.parquet")
    (path.parent / "000009-trials.parquet").write_bytes(_changed(path, "started_at", "later"))
    for table in ("curves", "probes"):
        shutil.copy(path.with_name(f"000000-{table}.parquet"), path.with_name(f"000009-{table}.parquet"))


def change_the_last_bit_of_a_curve(folder: Path) -> None:
    (path,) = (folder / "compacted").glob("*-curves.parquet")
    table = pd.read_parquet(path)
    table.loc[4, "value"] = np.nextafter(table.loc[4, "value"], np.inf)
    table.to_parquet(path, index=False)


def leave_a_file(folder: Path) -> None:
    (folder / "parts" / ".x.json.1.tmp").touch()


def leave_a_lock(folder: Path) -> None:
    (folder / ".lock").touch()


def _changed(path: Path, column: str, value: str) -> bytes:
    table = pd.read_parquet(path)
    table[column] = value
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def test_a_study_that_differs_in_its_times_alone_is_good(studies: tuple[Path, Path]) -> None:
    assert judge(*studies) == GOOD
    assert GOOD.good


def test_a_crash_between_tables_and_parts_is_no_second_storing(studies: tuple[Path, Path]) -> None:
    struck, _ = studies
    left = {path: path.read_bytes() for path in (struck / "parts").iterdir()}
    ResultStore(struck).compact()
    for path, content in left.items():
        path.write_bytes(content)
    assert judge(*studies) == GOOD


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lose_a_part, {"trials": 5, "lost": 1, "tables_equal": False}),
        (tear_a_part, {"trials": 5, "lost": 1, "torn": 1, "tables_equal": False}),
        (store_a_foreign_trial, {"trials": 7, "foreign": 1, "tables_equal": False}),
        (store_a_trial_twice, {"twice": 3}),
        (change_the_last_bit_of_a_curve, {"tables_equal": False}),
        (leave_a_file, {"stray": 1}),
        (leave_a_lock, {"stray": 1}),
    ],
)
def test_each_kind_of_damage_is_seen(
    studies: tuple[Path, Path], damage: Callable[[Path], None], found: dict[str, int]
) -> None:
    damage(studies[0])
    verdict = judge(*studies)
    assert not verdict.good
    assert {name: value for name, value in vars(verdict).items() if value != getattr(GOOD, name)} == found


def test_a_campaign_of_a_hundred_has_the_faults_that_it_says() -> None:
    kinds = plan(100, random.Random(0))
    assert {kind: kinds.count(kind) for kind in KINDS} == KINDS
    assert sum(KINDS.values()) == 100
    assert plan(100, random.Random(0)) == kinds != plan(100, random.Random(1))
    assert len(plan(10, random.Random(0))) == 10
    assert set(plan(10, random.Random(0))) == set(KINDS)


def test_a_seed_adds_the_trials_that_it_says() -> None:
    cells = [len(s.get("batch_sizes", "48")) * len(s.get("learning_rates", "12")) for s in sweeps(1)]
    assert sum(cells) == TRIALS_A_SEED
    assert json.dumps(sweeps(3)).count("[0, 1, 2]") == len(sweeps(3))
