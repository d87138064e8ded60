"""A folder of tables answers as the analysis that wrote it did; one that can't says in a line what is wrong."""

import numpy as np
import pandas as pd
import pytest

from analysis.answer_folder import read_answer_folder
from analysis.cells import CELL_COLUMNS
from analysis.errors import TableError
from analysis.fit_tables import fits_table
from analysis.laws import LAWS
from analysis.output import write_tables
from analysis.prediction import fit_sweeps
from analysis.study_analysis import analyse

from .sweeps import one_step_sweep, parabola_sweep

LAW = {"sqrt": LAWS["sqrt"]}
NO_CURVES = pd.DataFrame(columns=["trial_id", "step", "examples", "name", "value"])


def analysed(names):
    trials = pd.concat(
        [
            parabola_sweep(lambda b: 0.01 * b**0.5, sweep=name, noise=0.05, batch_sizes=(8, 16, 32, 64), seed=k)
            for k, name in enumerate(names)
        ]
    )
    return analyse(trials, NO_CURVES, outcomes=dict.fromkeys(names, "value_at_budget"), laws=LAW)


def assert_same_answer(folder, analysis):
    found = read_answer_folder(folder)
    fits = fit_sweeps(found.cells, laws=LAW)
    optima = pd.concat([fits[sweep].optima for sweep in analysis.outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(optima, analysis.optima, check_exact=True, check_dtype=False)
    fitted = fits_table({sweep: fits[sweep].fits for sweep in analysis.outcomes})
    for column in ("value", "low", "high"):  # the intervals come from the draws
        assert np.array_equal(fitted[column], analysis.fits[column])


def test_a_studys_folder_answers_with_the_same_draws(tmp_path):
    analysis = analysed(["one", "other, 2"])
    analysis.write_tables(tmp_path / "tables")
    assert_same_answer(tmp_path, analysis)


def test_a_folder_with_groups_answers_with_the_same_draws(tmp_path):
    names = ["N=1e+08, note=a, b", "N=2.5e+08, note=plain"]
    analysis = analysed(names)
    groups = pd.DataFrame({"sweep": names, "N": [100000000, 250000000], "note": ["a, b", "plain"]})
    write_tables({"cells": analysis.cells}, tmp_path, groups=groups)
    assert "sweep" not in (tmp_path / "cells.csv").read_text().splitlines()[0]
    found = read_answer_folder(tmp_path)
    assert found.sweeps() == names
    assert list(found.groups.columns) == ["N", "note", "sweep"]
    assert_same_answer(tmp_path, analysis)


def test_an_undivided_table_is_one_sweep(tmp_path):
    analysis = analysed(["all"])
    write_tables({"cells": analysis.cells}, tmp_path, groups=pd.DataFrame({"sweep": ["all"]}))
    assert read_answer_folder(tmp_path).sweeps() == ["all"]
    assert_same_answer(tmp_path, analysis)


def test_steps_alone_are_enough_and_old_tables_lack_their_noise(tmp_path):
    trials = one_step_sweep(lambda b: 0.01, batch_sizes=(8, 16, 32, 64))
    analysis = analyse(trials, NO_CURVES, outcomes={"s": "steps_to_target"}, laws=LAW)
    analysis.steps.drop(columns=["ln_sd", "degrees"]).to_csv(tmp_path / "steps.csv", index=False)
    found = read_answer_folder(tmp_path)
    assert found.cells.empty
    assert np.array_equal(found.steps["steps"], analysis.steps["steps"], equal_nan=True)
    assert found.steps["ln_sd"].isna().all()
    assert (found.steps["degrees"] == 0).all()


ROW = dict(zip(CELL_COLUMNS, ("s", 8, 0.1, "measured", 1.0, 0.0, "", 1, "value_at_budget", "log"), strict=True))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": "0"}, "batch_size must be positive and finite, but line 2 has 0"),
        ({"learning_rate": "inf"}, "learning_rate must be positive and finite, but line 2 has inf"),
        ({"learning_rate": "abc"}, "the column learning_rate holds numbers, but could not convert"),
        ({"score": ""}, "a cell that did not diverge needs a score, but line 2 has none"),
        ({"status": "odd"}, "status must be one of"),
        ({"scale": "odd"}, "scale must be one of"),
        ({"outcome_name": "odd"}, "outcome_name must be one of"),
    ],
)
def test_a_damaged_table_is_one_line(tmp_path, change, words):
    pd.DataFrame([ROW | change]).to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(TableError) as caught:
        read_answer_folder(tmp_path)
    assert words in str(caught.value)
    assert "cells.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00", b'a,"b\n1'])
def test_a_file_that_is_no_such_table_is_one_line(tmp_path, content):
    (tmp_path / "cells.csv").write_bytes(content)
    with pytest.raises(TableError, match=r"cells\.csv"):
        read_answer_folder(tmp_path)


def test_a_folder_without_tables_is_named(tmp_path):
    with pytest.raises(TableError, match=r"holds no cells\.csv or steps\.csv"):
        read_answer_folder(tmp_path)
    with pytest.raises(TableError, match="no such folder"):
        read_answer_folder(tmp_path / "nowhere")
    (tmp_path / "study.yaml").write_text("name: x")
    with pytest.raises(TableError, match="'batchlaw report"):
        read_answer_folder(tmp_path)
