"""The table of what workloads learn: which cell is run, and what a margin is."""

import math

import pytest

from benchmarks.learned import Learned, find_sweep, main, middle_cell
from study.errors import ConfigError
from trainers.settings import TrainSettings
from trainers.workloads import WORKLOADS


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_workload_has_a_preset_with_a_cell_to_run(workload):
    _, sweep = find_sweep(workload)
    spec = middle_cell(sweep)
    assert spec["workload"] == workload
    assert spec["budget"]["stop_at_target"] is False
    assert spec["batch_size"] == sorted(sweep.batch_sizes)[len(sweep.batch_sizes) // 2]
    assert TrainSettings.from_dict(spec).total_steps >= 1


def test_the_cell_is_the_middle_of_the_quick_studys_grid():
    preset, sweep = find_sweep("bert-mlm")
    assert (preset, sweep.name) == ("quick", "bert-mlm-adamw")
    spec = middle_cell(sweep)
    # center · (64/90)^½ = 3.37e-3, and the nearest rate of the lattice center · 2^k is the center itself
    assert (spec["batch_size"], spec["learning_rate"]) == (64, 4.0e-3)


def test_a_workload_without_a_preset_is_named():
    with pytest.raises(ConfigError, match=r"no preset trains the workload mine; add study/presets/mine\.yaml"):
        find_sweep("mine")


def learned(*, trained, baselines, more_is_better=True):
    return Learned(
        workload="mine",
        cell="mine/sgd, B = 8, η = 0.1",
        metric="score",
        more_is_better=more_is_better,
        trained=trained,
        others={"spread": 0.12345},
        baselines=baselines,
        ended="done",
        seconds=12.4,
    )


def test_the_margin_is_over_the_hardest_baseline_in_the_direction_of_better():
    assert learned(trained=0.9, baselines={"a": 0.5, "b": 0.7}).margin == pytest.approx(0.2)
    assert learned(trained=0.6, baselines={"a": 0.5, "b": 0.7}).margin == pytest.approx(-0.1)
    assert learned(trained=2.0, baselines={"a": 3.4, "b": 2.9}, more_is_better=False).margin == pytest.approx(0.9)
    assert math.isnan(learned(trained=2.0, baselines={}).margin)
    assert math.isnan(learned(trained=math.nan, baselines={"a": 1.0}).margin)


def test_a_line_says_all_of_it():
    line = learned(trained=0.9, baselines={"a": 0.5, "b": 0.7}).row()
    assert line == (
        "| `mine` | mine/sgd, B = 8, η = 0.1 | score ↑ | **0.9** | a 0.5, b 0.7 | +0.2 | spread 0.123 | done | 12 |"
    )
    assert "| – | – |" in learned(trained=0.9, baselines={}).row()


def test_a_workload_that_is_not_there_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["learned", "bert-mln"])
    with pytest.raises(SystemExit):
        main()
    assert "bert-mln is unknown; there are: quadratic" in capsys.readouterr().err
