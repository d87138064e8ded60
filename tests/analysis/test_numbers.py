import numpy as np
import pandas as pd
import pytest

from analysis.errors import TableError
from analysis.numbers import to_losses, to_numbers, to_positive


def where(position):
    return f"row {position + 2}"


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1e-3", 1e-3),
        (" 0.001 ", 1e-3),
        ("+2.5E+2", 250.0),
        (".5", 0.5),
        ("1,000,000", 1e6),
        ("1,024.5", 1024.5),
        ("1_024", 1024.0),
        ("12 000", 12000.0),
        (7, 7.0),
        (np.float32(0.5), 0.5),
    ],
)
def test_what_can_be_read_one_way_is_read(cell, number):
    assert to_numbers(pd.Series([cell], dtype=object), where=where, what="x").tolist() == [number]


@pytest.mark.parametrize(
    "cell", ["1,024", "0,001", "1.000,5", "1__0", "1 2", "٣", "abc", "0x10", "1e", "--1", "[1]", ""]
)
def test_what_can_be_read_two_ways_or_none_is_refused_by_row(cell):
    with pytest.raises(TableError, match=r"^lr must be a number, but row 3 has "):
        to_numbers(pd.Series(["1", cell]), where=where, what="lr")


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "1e999", "9" * 400])
def test_a_setting_is_finite(cell):
    with pytest.raises(TableError, match="row 2"):
        to_positive(pd.Series([cell]), where=where, what="lr")


def test_the_message_counts_the_other_rows_and_cuts_long_cells():
    with pytest.raises(TableError) as error:
        to_positive(pd.Series(["1", "x" * 500, "y"]), where=where, what="lr")
    assert "row 3" in str(error.value)
    assert "(and in 1 other)" in str(error.value)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize("cell", ["0", "-1e-3"])
def test_settings_are_above_zero(cell):
    with pytest.raises(TableError, match=r"above zero, but row 2 has"):
        to_positive(pd.Series([cell]), where=where, what="lr")


def test_a_loss_that_is_no_finite_number_is_missing():
    cells = ["1.5", "nan", "NaN", "inf", "-inf", "", " ", "diverged", "None", "1e999"]
    values = to_losses(pd.Series(cells), where=where, what="loss")
    assert values[0] == 1.5
    assert np.isnan(values[1:]).all()


def test_a_loss_that_is_another_word_is_refused():
    with pytest.raises(TableError, match=r"row 3 has 'soon'"):
        to_losses(pd.Series(["1.0", "soon"]), where=where, what="loss")


def test_columns_of_numbers_with_gaps():
    cells = pd.Series([1, None, 3], dtype="Int64")
    assert np.isnan(to_losses(cells, where=where, what="loss")).tolist() == [False, True, False]


def test_lists_are_no_numbers():
    with pytest.raises(TableError, match="row 2"):
        to_numbers(pd.Series([[1, 2], [3]], dtype=object), where=where, what="x")


def test_truth_is_no_number():
    with pytest.raises(TableError, match="row 2"):
        to_numbers(pd.Series([True, False]), where=where, what="x")
