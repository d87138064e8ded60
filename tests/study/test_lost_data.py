"""A data archive that is gone when a worker wants to read it: the study says so by name, and no trial has failed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from results.schema import canonical_json
from study.crew import CannotTrain
from study.design import Design
from study.errors import ConfigError
from study.loading import load_study
from study.resolve import resolve
from study.training import Training

from .studies import Study
from .test_dispatch import Office


def test_the_study_ends_by_the_name_of_the_data_and_its_trials_stay_missing(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study.write(
        workload="bert-mlm", workload_settings={"tokens": "wordpiece"}, outcome="value_at_budget", batch_sizes=[2]
    )
    design = Design(resolve(load_study(path)).config)
    office = Office(tmp_path / "out", design, places=2)
    # It was there when the study began; now the cache is empty, and nothing can be fetched.
    monkeypatch.setenv("BATCHLAW_CACHE", str(tmp_path / "emptied"))
    monkeypatch.setenv("PATH", "")
    for crew in ("one", "two"):
        job = office.take(crew)
        assert job is not None
        spec = next(t.spec for t in design.trials({}) if t.trial_id == job["trial_id"])
        assert json.loads(canonical_json(spec.to_dict()))["workload"] == "bert-mlm"
        with pytest.raises(CannotTrain, match="bert-vocab") as refused:
            list(Training().events({**job, "spec": canonical_json(spec.to_dict()), "workload": "bert-mlm"}))
        assert "\n" not in str(refused.value)
        assert office.dispatch.failure is None
        office.desk.refuse(crew, job, str(refused.value))
        office.listen()
    assert isinstance(office.dispatch.failure, ConfigError)
    assert str(office.dispatch.failure) == str(refused.value)
    assert len(office.store.trials()) == 0
