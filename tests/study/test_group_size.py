"""How many workers train a trial: said once for a study, and part of what is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from study.design import Design
from study.errors import ConfigError
from study.loading import load_study
from study.resolve import ResolvedStudy, resolve
from tests.trainers.script_cases import write_script

from .studies import Study

QUADRATIC: dict[str, Any] = {
    "workload": "quadratic",
    "optimizer": "sgd",
    "outcome": "value_at_budget",
    "batch_sizes": [4, 8],
    "learning_rates": [0.1],
    "budget": {"steps": 20},
}


def resolved(study: Study, engines: list[dict[str, Any]], **resources: Any) -> ResolvedStudy:
    sweeps = [
        {"name": f"s{number}", **QUADRATIC, "seeds": [number], "engine": engine}
        for number, engine in enumerate(engines)
    ]
    text = yaml.safe_dump({"name": "demo", "resources": resources, "sweeps": sweeps}, sort_keys=False)
    return resolve(load_study(study.write_text(text)))


@pytest.mark.parametrize(
    ("engines", "resources"),
    [
        ([{}, {"zero_stage": 2}], {"workers": 2}),
        ([{"workers": 2}, {}], {"workers": 2}),
        ([{"workers": 2}, {"workers": 2}], {}),
    ],
)
def test_the_number_is_written_out_wherever_it_was_said(
    study: Study, engines: list[dict[str, Any]], resources: dict[str, Any]
) -> None:
    found = resolved(study, engines, **resources)
    assert found.config.resources.workers == 2
    assert [sweep.engine["workers"] for sweep in found.config.sweeps] == [2, 2]
    assert {(batch.world_size, batch.micro_batch_size) for batch in found.arithmetic.values()} == {(2, 2), (2, 4)}
    assert all(trial.spec.engine["workers"] == 2 for trial in Design(found.config).trials({}))


def test_a_study_of_one_worker_stays_what_it_was(study: Study) -> None:
    bare, said = resolved(study, [{}]), resolved(study, [{}], workers=1)
    assert [trial.trial_id for trial in Design(bare.config).trials({})] == [
        trial.trial_id for trial in Design(said.config).trials({})
    ]
    assert bare.config == said.config
    assert bare.config.resources.workers == 1


@pytest.mark.parametrize(
    ("engines", "resources", "message"),
    [
        ([{"workers": 4}], {"workers": 2}, "sweeps[0].engine: workers must be resources.workers (2)"),
        ([{"workers": 2}, {}], {}, "sweeps[1].engine: workers must be that of the first sweep (2)"),
        ([{}, {"workers": 2}], {}, "sweeps[1].engine: workers must be that of the first sweep (1)"),
        ([{"workers": 1}], {"workers": 2}, "workers must be resources.workers (2)"),
        ([{"workers": 0}], {}, "sweeps[0].engine: engine.workers: "),
        ([{"workers": "two"}], {}, "sweeps[0].engine: engine.workers: "),
        ([{"workers": True}], {}, "sweeps[0].engine: engine.workers: "),
    ],
)
def test_two_numbers_are_refused(
    study: Study, engines: list[dict[str, Any]], resources: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(study, engines, **resources)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_script_trains_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    sweep = {"name": "script", **QUADRATIC, "workload": write_script(tmp_path).name, "target": {"value": 0.1}}
    path.write_text(yaml.safe_dump({"name": "demo", "resources": {"workers": 2}, "sweeps": [sweep]}))
    with pytest.raises(ConfigError, match=r"script\.py trains by itself, so that workers must be 1, but got 2"):
        resolve(load_study(path))


def test_workers_that_would_share_a_gpu_are_refused_wherever_their_number_was_said(study: Study) -> None:
    assert resolved(study, [{}], gpus_per_worker=0.5).config.resources.gpus_per_worker == 0.5
    assert resolved(study, [{"workers": 2}], gpus_per_worker=1.0).config.resources.workers == 2
    with pytest.raises(ConfigError, match=r"study\.yaml:\d+: .*can't share a GPU.* 2 workers, but got 0\.5; a part"):
        resolved(study, [{"workers": 2}], gpus_per_worker=0.5)
