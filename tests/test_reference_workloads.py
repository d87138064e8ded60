"""The committed table of what workloads learn: all are in it, its arithmetic is right, the README tells the weak."""

import re
from pathlib import Path

import pytest

from benchmarks.learned_cases import CASES
from trainers.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "results" / "reference" / "workloads.md").read_text(encoding="utf-8").splitlines()
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def rows(first_column):
    """The rows of the table whose second column is called so, by workload."""
    head = next(number for number, line in enumerate(LINES) if line.startswith(f"| workload | {first_column} |"))
    names = [name.strip() for name in LINES[head].strip("|").split("|")]
    found = {}
    for line in LINES[head + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[cells[0].strip("`")] = dict(zip(names, cells, strict=True))
    return found


LEARNED, FAILED = rows("cell"), rows("changed")


def number(text):
    return float(re.search(r"[-+]?[\d.]+(?:e[-+]?\d+)?", text.strip("*")).group())


def test_every_workload_is_in_both_tables():
    assert list(LEARNED) == list(FAILED) == list(WORKLOADS)


@pytest.mark.parametrize("name", WORKLOADS)
def test_margins_are_the_difference_to_the_baseline_that_was_named_beforehand(name):
    row, case = LEARNED[name], CASES[name]
    assert row["trivial baseline"].startswith(f"{case.baseline} ")
    assert number(row["asked"]) == pytest.approx(case.margin, rel=0.01)
    gain = number(row["trained"]) - number(row["trivial baseline"].removeprefix(case.baseline))
    gain = -gain if row["outcome"].endswith("↓") else gain
    # Both are rounded to three digits.
    assert number(row["margin"]) == pytest.approx(gain, abs=0.012 * abs(number(row["trained"])))
    assert row["learns"] == ("yes" if number(row["margin"]) >= case.margin else "**no**")


@pytest.mark.parametrize("name", WORKLOADS)
def test_failures_are_known_by_the_sign_that_was_named_beforehand(name):
    assert FAILED[name]["sign"] == CASES[name].failure.sign
    assert FAILED[name]["changed"] == CASES[name].failure.name


def test_the_readme_names_those_that_a_simpler_method_beats():
    beaten = [name for name, row in LEARNED.items() if number(row["hardest: margin"].rpartition(":")[2]) < 0]
    told = re.search(r"a simpler method does better than ([^(.]*)", README)
    assert sorted(re.findall(r"`([a-z-]+)`", told.group(1))) == sorted(beaten)
