import math
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results import TRIAL_COLUMNS, ResultStore, Status
from study.folder import stored_outcomes
from study.outcomes import COLUMNS, Outcomes

ROWS = st.fixed_dictionaries(
    {
        "trial_id": st.sampled_from("abcdef"),
        "status": st.sampled_from([str(status) for status in Status]),
        "message": st.text(max_size=5),
        "steps": st.integers(0, 2**62),
        **{
            name: st.floats()
            for name in (
                "value",
                "steps_to_target",
                "train_seconds",
                "evaluate_seconds",
                "setup_seconds",
                "probe_seconds",
            )
        },
        "workload": st.sampled_from("vw"),
        "optimizer": st.sampled_from("xy"),
        "batch_size": st.integers(1, 2**40),
    }
)


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return ``row`` as an outcome tells it; NaN in a form that equals itself."""
    known = {**row, "message": row["message"] if row["status"] == "failed" else ""}
    return {name: "nan" if value != value else value for name, value in known.items()}


@given(st.lists(ROWS, max_size=12))
def test_an_outcome_is_what_was_added_last(rows: list[dict[str, Any]]) -> None:
    outcomes = Outcomes()
    expected: dict[str, dict[str, Any]] = {}
    for row in rows:
        outcomes.add({**row, "spec": "{}"})
        expected[row["trial_id"]] = row
    assert list(outcomes) == list(expected)
    assert len(outcomes) == len(expected)
    assert {key: plain(dict(row)) for key, row in outcomes.items()} == {k: plain(row) for k, row in expected.items()}
    assert set(COLUMNS) == {name for row in outcomes.values() for name in row} or not rows
    assert ("a" in outcomes) == ("a" in expected)
    assert outcomes.get("g") is None
    with pytest.raises(KeyError):
        outcomes["g"]


def test_an_outcome_takes_some_two_hundred_bytes() -> None:
    row = {"status": "reached", "message": "", "steps": 1, "workload": "w", "optimizer": "o", "batch_size": 2}
    row |= dict.fromkeys(("value", "steps_to_target", "train_seconds"), 1.5)
    row |= dict.fromkeys(("evaluate_seconds", "setup_seconds", "probe_seconds"), math.nan)
    tracemalloc.start()
    outcomes = Outcomes()
    for number in range(20_000):
        outcomes.add({**row, "trial_id": f"{number:016x}"})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 20_000 < 230


def test_stored_outcomes_are_those_of_the_stored_rows(tmp_path: Any) -> None:
    store = ResultStore(tmp_path)
    plain_value = {"str": "x", "int64": 1, "float64": 1.5}
    for number, status in enumerate(Status):
        row = {name: plain_value[column.dtype] for name, column in TRIAL_COLUMNS.items()}
        row |= {"mode": "min", "purpose": "sweep", "trial_id": f"{number:016x}", "status": str(status)}
        store.append(row)
        if number == 1:
            store.compact()
    outcomes = stored_outcomes(store)
    assert {key: row["status"] for key, row in outcomes.items()} == {f"{n:016x}": s for n, s in enumerate(Status)}
    assert [row["message"] for row in outcomes.values()] == ["", "", "", "x"]
    assert all(isinstance(row["steps"], int) for row in outcomes.values())
