"""What is known of memory: by shape, kept beside the rows, and never believed when it is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results import ResultStore
from study.fits import MEMORY_FILE, Fits, planned_micro_batch

from .studies import design

ENGINE = {"dtype": "float32", "zero_stage": 0}


def spec(**sweep: object):  # type: ignore[no-untyped-def]
    return design(**{"batch_sizes": [8], "learning_rates": [0.1], "seeds": [0], **sweep}).trials({})[0].spec


def test_a_limit_holds_for_the_shape_and_its_hardware_and_only_falls() -> None:
    fits = Fits()
    for at_most in (4, 2, 3):
        fits.remember(spec(), hardware="abacus", micro_batch_at_most=at_most)
    fits.remember(spec(), hardware="rod", micro_batch_at_most=8)
    for same in ({"batch_sizes": [64]}, {"learning_rates": [0.7]}, {"seeds": [5]}, {"budget": {"steps": 3}}):
        assert fits.limits(spec(**same)) == {"abacus": 2, "rod": 8}
    for other in (
        {"workload": "other.py:Bowl"},
        {"workload_settings": {"explode_at": 3}},
        {"optimizer": "adamw"},
        {"engine": {**ENGINE, "dtype": "bfloat16"}},
        {"engine": {**ENGINE, "zero_stage": 2}},
        {"engine": {**ENGINE, "workers": 2}},
    ):
        assert fits.limits(spec(**other)) == {}


def test_what_is_known_is_read_again(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    fits = Fits(store)
    assert (fits.problem, fits.limits(spec())) == ("", {})
    fits.remember(spec(), hardware="abacus", micro_batch_at_most=4)
    fits.remember(spec(engine={**ENGINE, "workers": 2}), hardware="rod", micro_batch_at_most=1)
    again = Fits(store)
    assert again.problem == ""
    assert again.limits(spec()) == {"abacus": 4}
    assert again.limits(spec(engine={**ENGINE, "workers": 2})) == {"rod": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20],
        lambda text: "[" * 100_000,
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"micro_batch_at_most": 4', '"micro_batch_at_most": 0'),
        lambda text: text.replace('"micro_batch_at_most": 4', '"micro_batch_at_most": "4"'),
        lambda text: text.replace('"optimizer"', '"optimiser"'),
        lambda text: "null",
        lambda text: b"\x80\x04\x95".decode("latin-1"),
    ],
)
def test_a_broken_file_is_named_and_not_used(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    store = ResultStore(tmp_path)
    Fits(store).remember(spec(), hardware="abacus", micro_batch_at_most=4)
    path = tmp_path / MEMORY_FILE
    path.write_text(change(path.read_text()), encoding="latin-1")
    fits = Fits(store)
    assert fits.problem.startswith(f"{path}: not used")
    assert "\n" not in fits.problem
    assert fits.limits(spec()) == {}
    fits.remember(spec(), hardware="abacus", micro_batch_at_most=3)
    assert Fits(store).limits(spec()) == {"abacus": 3}


def test_a_storage_that_refuses_costs_the_limit_after_the_run_alone(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    fits = Fits(ResultStore(tmp_path / "results"))
    fits.remember(spec(), hardware="abacus", micro_batch_at_most=4)
    assert fits.limits(spec()) == {"abacus": 4}


def test_the_file_names_the_shape_for_people(tmp_path: Path) -> None:
    Fits(ResultStore(tmp_path)).remember(spec(), hardware="abacus", micro_batch_at_most=4)
    assert json.loads((tmp_path / MEMORY_FILE).read_text()) == {
        "format": 1,
        "limits": [
            {
                "workload": "bowl.py:Bowl",
                "workload_settings": {},
                "optimizer": "sgd",
                "dtype": "float32",
                "zero_stage": 0,
                "workers": 1,
                "hardware": "abacus",
                "micro_batch_at_most": 4,
            }
        ],
    }


@pytest.mark.parametrize(
    ("sweep", "size"),
    [
        ({"engine": ENGINE}, 8),
        ({"engine": {**ENGINE, "workers": 2}}, 4),
        ({"engine": {**ENGINE, "micro_batch_size": 2}}, 2),
        ({"engine": {**ENGINE, "micro_batch_size": 20}}, 8),
        ({"engine": {**ENGINE, "micro_batch_size": None}}, 8),
        ({"engine": ENGINE, "workload": "train.py"}, 1),
    ],
)
def test_the_examples_of_a_pass(sweep: dict[str, object], size: int) -> None:
    assert planned_micro_batch(spec(**sweep)) == size
