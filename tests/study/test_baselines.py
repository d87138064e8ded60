"""What trivial methods reach, kept and said beside the answer."""

from pathlib import Path

import pytest
import yaml

from results import ResultStore
from study.baselines import baseline_sentences, keep_baselines, measure_baselines, read_baselines, write_baselines
from study.loading import load_study
from study.resolve import resolve

from .studies import SWEEP, Study

FOUND = {"simsiam": {"raw pixels": 0.91088, "untrained encoder": 0.87373}}


def test_baselines_are_said_beside_the_answer() -> None:
    assert baseline_sentences(FOUND) == ["simsiam: without this training, raw pixels 0.9109, untrained encoder 0.8737."]


def test_baselines_are_kept_beside_the_rows(tmp_path: Path) -> None:
    assert read_baselines(ResultStore(tmp_path)) == {}
    write_baselines(ResultStore(tmp_path), FOUND)
    assert read_baselines(ResultStore(tmp_path)) == FOUND


def test_no_baselines_leave_no_file_but_replace_those_of_before(tmp_path: Path) -> None:
    keep_baselines(ResultStore(tmp_path), {})
    assert list(tmp_path.iterdir()) == []
    keep_baselines(ResultStore(tmp_path), FOUND)
    keep_baselines(ResultStore(tmp_path), {})
    assert read_baselines(ResultStore(tmp_path)) == {}


BASED = """
from bowl import Bowl, BowlSettings


class Based(Bowl):
    name = "based"

    def prepare(self):
        self.prepared = True

    def baselines(self):
        assert self.prepared
        return {"half the seed": (self.settings.announce_seed or 0) / 2}
"""


def test_each_workload_is_measured_once_and_named_after_its_sweep_where_settings_differ(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study.write()
    (study.folder / "based.py").write_text(BASED)
    monkeypatch.syspath_prepend(str(study.folder))
    based = {**SWEEP, "workload": "based.py:Based", "batch_sizes": [2]}
    sweeps = [
        SWEEP,  # has none
        {**based, "name": "a", "workload_settings": {"announce_seed": 4}},
        {**based, "name": "same", "workload_settings": {"announce_seed": 4}, "batch_sizes": [8]},
        {**based, "name": "b", "workload_settings": {"announce_seed": 6}},
    ]
    path.write_text(yaml.safe_dump({"name": "several", "sweeps": sweeps}))
    assert measure_baselines(resolve(load_study(path))) == {
        "based.py:Based (a)": {"half the seed": 2.0},
        "based.py:Based (b)": {"half the seed": 3.0},
    }
    path.write_text(yaml.safe_dump({"name": "one", "sweeps": sweeps[:3]}))
    assert measure_baselines(resolve(load_study(path))) == {"based.py:Based": {"half the seed": 2.0}}
