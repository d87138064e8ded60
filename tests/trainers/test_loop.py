import math

import pytest
import torch
from torch import nn

from trainers.errors import SettingsError
from trainers.loop import Finished, Measured, Progress, train
from trainers.settings import Evaluation, TrainSettings
from trainers.workloads import load_workload

from .helpers import BareEngine, run_settings


class ScriptedEngine(BareEngine):
    """Counts its steps and replays given losses."""

    losses: list[float] = []

    def __init__(self, workload, settings):
        super().__init__(workload, settings)
        self.taken, self.factors = 0, []

    def step(self, batch, *, rate_factor):
        self.factors.append(rate_factor)
        self.taken += 1
        return torch.tensor(self.losses[self.taken - 1])


def quadratic():
    return load_workload("quadratic", {"dimensions": 5, "target_loss": 0.5})


def test_events_come_in_order_and_end_with_finished():
    events = list(train(quadratic(), run_settings(), build_engine=BareEngine))
    measured = [event for event in events if isinstance(event, Measured)]
    assert [event.step for event in measured] == [0, 2, 4, 6, 8, 10]
    assert [event.examples for event in measured] == [0, 16, 32, 48, 64, 80]
    assert "train_loss" not in measured[0].values
    assert all(set(event.values) == {"loss", "train_loss"} for event in measured[1:])
    assert isinstance(events[-1], Finished)
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert events[-1].value == measured[-1].values["loss"]
    seconds = [event.train_seconds for event in events]
    assert seconds == sorted(seconds)


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    def losses(seed):
        return [
            e.values
            for e in train(quadratic(), run_settings(seed=seed), build_engine=BareEngine)
            if isinstance(e, Measured)
        ]

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)


def test_the_first_crossing_is_interpolated_and_stops_the_run_when_asked():
    workload = quadratic()
    go_on = run_settings(budget={"steps": 200}, learning_rate=0.2, evaluation={"growth": 1.3})
    stop = run_settings(budget={"steps": 200, "stop_at_target": True}, learning_rate=0.2, evaluation={"growth": 1.3})
    *seen, long = train(workload, go_on, build_engine=BareEngine)
    *_, short = train(workload, stop, build_engine=BareEngine)
    assert long.status == short.status == "reached"
    assert long.steps == 200 > short.steps
    assert long.steps_to_target == short.steps_to_target
    points = [e for e in seen if isinstance(e, Measured)]
    after = next(i for i, e in enumerate(points) if e.values["loss"] <= 0.5)
    (s0, v0), (s1, v1) = ((points[k].step, points[k].values["loss"]) for k in (after - 1, after))
    expected = s0 * (s1 / s0) ** ((v0 - 0.5) / (v0 - v1))
    assert s0 < long.steps_to_target <= s1
    assert long.steps_to_target == pytest.approx(expected)


def test_a_budget_that_ends_first_is_exhausted_with_its_value():
    *_, last = train(quadratic(), run_settings(learning_rate=1e-4), build_engine=BareEngine)
    assert last.status == "exhausted"
    assert last.steps_to_target is None
    assert math.isfinite(last.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_bad_losses_end_the_run_as_diverged_within_the_check_interval(bad):
    class Engine(ScriptedEngine):
        losses = [1.0] * 10 + [bad] * 100

    settings = run_settings(budget={"steps": 100}, evaluation={"points": 1})
    *_, last = train(quadratic(), settings, build_engine=Engine)
    assert last.status == "diverged"
    assert last.steps == 16
    assert math.isnan(last.value)


def test_the_schedule_reaches_the_engine_unscaled():
    seen = []

    class Engine(ScriptedEngine):
        losses = [1.0] * 10

        def step(self, batch, *, rate_factor):
            seen.append(rate_factor)
            return super().step(batch, rate_factor=rate_factor)

    list(train(quadratic(), run_settings(schedule={"name": "constant", "warmup": {"steps": 4}}), build_engine=Engine))
    assert seen == [0.25, 0.5, 0.75, 1.0, 1, 1, 1, 1, 1, 1]


def test_progress_is_reported_between_distant_evaluations(monkeypatch):
    monkeypatch.setattr("trainers.loop._PROGRESS_SECONDS", 0.0)
    events = list(
        train(quadratic(), run_settings(budget={"steps": 40}, evaluation={"points": 1}), build_engine=BareEngine)
    )
    assert [e.step for e in events if isinstance(e, Progress)] == [8, 16, 24, 32]


def test_a_target_on_an_unreported_metric_is_refused_with_the_choices():
    settings = run_settings(target={"metric": "accuracy", "mode": "max", "value": 0.5})
    with pytest.raises(SettingsError, match=r"one that quadratic reports \(loss\), but got 'accuracy'"):
        list(train(quadratic(), settings, build_engine=BareEngine))


def test_a_study_can_set_another_target():
    own, other = (
        train(quadratic(), run_settings(budget={"steps": 400}, target=target), build_engine=BareEngine)
        for target in (None, {"metric": "loss", "mode": "min", "value": 1.0})
    )
    steps = [list(events)[-1].steps_to_target for events in (own, other)]
    assert steps[0] > steps[1] > 0


@pytest.mark.parametrize("stop_at_target", [True, False])
def test_a_target_that_is_met_before_training_is_a_failed_run(stop_at_target):
    target = {"metric": "loss", "mode": "min", "value": 100.0}
    settings = run_settings(target=target, budget={"steps": 10, "stop_at_target": stop_at_target})
    *_, last = train(quadratic(), settings, build_engine=BareEngine)
    assert (last.status, last.steps, last.steps_to_target) == ("failed", 0, None)
    assert last.message == f"the target 100 is met before training ({last.value:.4g}); set a harder one"


def test_evaluation_runs_in_evaluation_mode_and_training_resumes_after():
    modes = []

    class Watching(type(quadratic())):
        def evaluate(self, model: nn.Module) -> dict[str, float]:
            modes.append((model.training, torch.is_grad_enabled()))
            return super().evaluate(model)

        def loss(self, model, batch):
            modes.append((model.training, torch.is_grad_enabled()))
            return super().loss(model, batch)

    list(train(Watching(quadratic().settings), run_settings(evaluation={"points": 1}), build_engine=BareEngine))
    assert modes == [(False, False)] + [(True, True)] * 10 + [(False, False)]


@pytest.mark.parametrize("total", [1, 2, 7, 100, 12_345])
@pytest.mark.parametrize(
    "section", [{"growth": 1.1}, {"growth": 2.0, "first_step": 20}, {"points": 1}, {"points": 9}, {}]
)
def test_evaluation_ladders_rise_from_zero_to_the_end(total, section):
    ladder = Evaluation(**section).ladder(total)
    assert ladder[0] == 0
    assert ladder[-1] == total
    assert ladder == sorted(set(ladder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "trial.batch_size: Input should be greater than 0, but got 0"),
        ({"learning_rate": -1.0}, "trial.learning_rate: Input should be greater than 0, but got -1.0"),
        ({"learning_rate": "0.1"}, "trial.learning_rate: Input should be a valid number, but got '0.1'"),
        ({"budget": {}}, "trial.budget: a budget needs examples, steps or both"),
        (
            {"budget": {"stepz": 3}},
            "trial.budget.stepz is not a setting; did you mean steps? allowed: examples, steps, stop_at_target",
        ),
        (
            {"engine": {"zero": 1}},
            "trial.engine.zero is not a setting; "
            "allowed: dtype, gradient_clipping, micro_batch_size, workers, zero_stage",
        ),
        (
            {"schedule": {"name": "constant", "warmup": {"step": 3}}},
            "trial.schedule.warmup.step is not a setting; did you mean steps? allowed: examples, steps",
        ),
        ({"evaluation": {"growth": 1.1, "points": 2}}, "growth and points exclude each other"),
        ({"engine": {"zero_stage": 4}}, "trial.engine.zero_stage"),
        ({"engine": {"micro_batch_size": 3}}, "batch_size must be a multiple of workers x micro_batch_size"),
        ({"optimizer": "adam"}, "optimizer must be one of sgd, momentum"),
        ({"optimizer": "muon", "engine": {"zero_stage": 1}}, "zero_stage must be 0 for muon"),
        ({"schedule": {"name": "constant", "warmup": {"steps": 11}}}, "must fit into the budget"),
    ],
)
def test_wrong_settings_are_refused_before_training(changes, message):
    with pytest.raises(SettingsError) as error:
        run_settings(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_budget_of_both_kinds_ends_with_the_first():
    def steps(batch_size):
        return run_settings(batch_size=batch_size, budget={"steps": 50, "examples": 1000}).total_steps

    assert [steps(b) for b in (4, 20, 40, 4000)] == [50, 50, 25, 1]


def test_settings_survive_the_way_through_json():
    settings = run_settings(optimizer="adamw", optimizer_settings={"betas": [0.9, 0.95]})
    assert TrainSettings.from_dict(settings.model_dump(mode="json")) == settings


def test_an_outcome_that_looks_well_on_lost_weights_is_divergence():
    """A vote of neighbours gives some accuracy for embeddings that are NaN; their spread tells."""
    settings = run_settings(workload="simsiam", learning_rate=1e30, budget={"steps": 1}, evaluation={"points": 1})
    workload = load_workload("simsiam", {"width": 4, "projection_size": 8, "predictor_size": 4})
    *_, measured, last = train(workload, settings, build_engine=BareEngine)
    assert math.isfinite(measured.values["knn_accuracy"])
    assert (last.status, last.message) == ("diverged", "embedding_spread is nan after 1 steps")
    assert math.isnan(last.value)
