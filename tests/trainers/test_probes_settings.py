"""Where probes lie, how large their batches are, what they cost, and what is refused."""

import dataclasses

import pytest

from analysis import probe_rows
from trainers.errors import SettingsError
from trainers.loop import Finished, Measured, Probed, Progress, train
from trainers.probes import rows
from trainers.probes.cost import ProbeCost, planned_cost
from trainers.probes.rows import ProbeRow
from trainers.probes.settings import ProbeSettings
from trainers.probes.sizes import resolve_sizes
from trainers.settings import TrainSettings

from .helpers import BareEngine, run_settings
from .probe_cases import EVERYTHING, ProbedEngine, workload_named


@pytest.mark.parametrize(
    ("asked", "total", "points"),
    [
        ({}, 256, [4, 16, 64, 256]),
        ({"log_points": 2}, 100, [10, 100]),
        ({"log_points": 5}, 2, [1, 2]),
        ({"fractions": [0.5, 0.0, 1.0]}, 9, [0, 4, 9]),
        ({"steps": [7, 0, 7]}, 7, [0, 7]),
    ],
)
def test_points_of_a_budget(asked, total, points):
    assert ProbeSettings.model_validate(asked).points(total) == points


def resolved(probes=None, *, batch_size=64, micro=None, independent=True, free=64):
    settings = ProbeSettings.model_validate(probes or {})
    return resolve_sizes(
        settings, batch_size=batch_size, micro_batch_size=micro, free_pass=free, independent=independent
    )


def test_sizes_follow_from_the_run():
    sizes = resolved({"quantities": ["one_step"]})
    assert (sizes.small, sizes.large, sizes.curvature, sizes.reference) == (8, 64, 16, 128)
    assert sizes.ladder == (8, 16, 32, 64)
    assert resolved().ladder == ()


def assert_fitting(sizes):
    assert sizes.small < sizes.large
    assert sizes.large % sizes.small == 0
    assert sizes.reference >= sizes.curvature
    assert sizes.reference % sizes.reference_pass == 0
    assert sizes.curvature % sizes.curvature_pass == 0
    assert list(sizes.ladder) == sorted(set(sizes.ladder))
    assert sizes.ladder[-1] <= sizes.large


@pytest.mark.parametrize("batch_size", [2, 3, 7, 12, 30, 97, 512])
def test_every_run_of_independent_examples_has_sizes_that_fit(batch_size):
    assert_fitting(resolved({"quantities": EVERYTHING}, batch_size=batch_size, free=batch_size))


@pytest.mark.parametrize("batch_size", [8, 12, 30, 100, 512])
def test_a_run_of_coupled_examples_has_sizes_of_two_and_more(batch_size):
    sizes = resolved({"quantities": EVERYTHING}, batch_size=batch_size, independent=False)
    assert_fitting(sizes)
    assert sizes.small >= 2
    with pytest.raises(SettingsError, match="small_batch_size must be at least 2"):
        resolved(batch_size=97, independent=False)


def test_the_reference_gradient_couples_as_many_examples_as_the_run():
    sizes = resolved(batch_size=30, independent=False)
    assert (sizes.reference, sizes.reference_pass, sizes.curvature, sizes.curvature_pass) == (60, 30, 7, 7)


def test_micro_batches_that_couple_examples_divide_every_size():
    sizes = resolved({"quantities": ["one_step"]}, micro=8, independent=False)
    assert (sizes.small, sizes.curvature, sizes.coupled_pass, sizes.additive) == (16, 16, 8, True)
    assert all(size % 8 == 0 for size in sizes.ladder)
    assert sizes.drawn_pass(64) == 8


@pytest.mark.parametrize(
    ("probes", "options", "message"),
    [
        ({"small_batch_size": 5}, {}, r"large_batch_size must be a multiple of small.*got 64 with 5; nearest: 65"),
        ({"small_batch_size": 64}, {}, r"and larger, but got 64 with 64; nearest: 128"),
        ({}, {"batch_size": 1}, r"got 1 with 1; nearest: 2"),
        ({"curvature_batch_size": 64, "reference_batch_size": 32}, {}, r"at least curvature_batch_size, but got 32"),
        (
            {"small_batch_size": 4},
            {"micro": 8, "independent": False},
            r"small_batch_size must be.*got 4 with 8; nearest: 8",
        ),
        ({"small_batch_size": 1}, {"independent": False}, r"at least 2, and a multiple.*got 1 with 1; nearest: 2"),
        ({"curvature_batch_size": 96}, {"independent": False}, r"multiple of the 64 examples that a pass couples"),
        ({"ladder": [1, 2], "quantities": ["one_step"]}, {"independent": False}, r"probes.ladder must be"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_a_way_out(probes, options, message):
    with pytest.raises(SettingsError, match=message) as error:
        resolved(probes, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probes": {"steps": [11]}}, "probes.steps must lie within the budget, but got 11 with 10 steps"),
        ({"probes": {"steps": [1], "log_points": 2}}, "steps, fractions and log_points exclude each other"),
        ({"probes": {"ladder": [8, 4]}}, "ladder must rise, but is [8, 4]; try [4, 8]"),
        ({"probes": {"quantities": ["hessian"]}}, "trial.probes.quantities.0"),
        ({"probes": {"drawz": 1}}, "trial.probes.drawz is not a setting; did you mean draws?"),
        ({"probes": {"line_rate_factors": [0.0]}}, "trial.probes.line_rate_factors.0"),
        ({"probes": {}, "engine": {"dtype": "bfloat16"}}, "probes need engine.dtype float32, because bfloat16 rounds"),
        (
            {"probes": {}, "engine": {"zero_stage": 1}, "optimizer": "lamb"},
            "engine.zero_stage must be 0 for lamb, whose update needs whole tensors",
        ),
    ],
)
def test_wrong_probes_are_refused_before_training(changes, message):
    with pytest.raises(SettingsError) as error:
        run_settings(**changes)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_with_probes_survive_the_way_through_json():
    settings = run_settings(probes={"fractions": [0.5], "ladder": [1, 2]})
    assert TrainSettings.from_dict(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("name", "micro", "probes"),
    [
        ("quadratic", None, {"quantities": EVERYTHING, "per_example_draws": 2, "warm_steps": 2}),
        ("quadratic", None, {"quantities": ["per_example"]}),
        ("quadratic", 2, {"quantities": ["one_step"], "ladder": [1, 3, 5]}),
        ("quadratic", None, {"quantities": ["line_search"]}),
        ("small-cnn", None, {}),
        ("simsiam", None, {"quantities": EVERYTHING, "draws": 2}),
        ("simsiam", 4, {"quantities": ["curvature", "one_step"], "draws": 2, "warm_steps": 1}),
    ],
)
def test_the_planned_cost_is_what_is_counted(name, micro, probes):
    workload = workload_named(name)
    probes = {"steps": [0], "draws": 3, "line_rate_factors": [1.0, 2.0]} | probes
    settings = run_settings(
        batch_size=16, budget={"steps": 1}, evaluation={"points": 1}, engine={"micro_batch_size": micro}, probes=probes
    )
    event = next(e for e in train(workload, settings) if isinstance(e, Probed))
    counted = ProbeCost(
        gradient_examples=event.gradient_examples,
        product_examples=event.product_examples,
        loss_examples=event.loss_examples,
    )
    sizes = resolve_sizes(
        settings.probes,
        batch_size=16,
        micro_batch_size=micro,
        free_pass=micro or 16,
        independent=workload.examples_are_independent,
    )
    assert planned_cost(settings.probes, sizes) == counted
    assert event.equivalent_steps == counted.equivalent_steps(16)


def test_equivalent_steps_weigh_products_and_losses():
    cost = ProbeCost(gradient_examples=64, product_examples=64, loss_examples=96)
    assert cost.equivalent_steps(32) == pytest.approx(2 + 2 * 2.25 + 1)


def test_a_probe_beyond_its_bound_is_refused_with_the_draws_that_fit():
    workload = workload_named("quadratic")
    settings = {"steps": [0], "draws": 8, "max_equivalent_steps": 16.0}
    with pytest.raises(SettingsError, match=r"costs 20.4 steps of 64 examples with 16 allowed; set draws to 5"):
        next(train(workload, run_settings(batch_size=64, probes=settings), build_engine=ProbedEngine))
    fitting = run_settings(batch_size=64, probes=settings | {"draws": 5}, budget={"steps": 1})
    (event,) = [e for e in train(workload, fitting, build_engine=ProbedEngine) if isinstance(e, Probed)]
    assert event.equivalent_steps <= 16
    with pytest.raises(SettingsError, match="measure less, or on smaller batches"):
        next(
            train(
                workload,
                run_settings(batch_size=64, probes=settings | {"max_equivalent_steps": 1.0}),
                build_engine=ProbedEngine,
            )
        )


def test_probes_come_before_the_step_they_are_named_by_and_after_that_points_evaluation():
    settings = run_settings(budget={"steps": 12}, evaluation={"points": 2}, probes={"steps": [0, 5, 6, 12], "draws": 1})
    events = list(train(workload_named("quadratic"), settings, build_engine=ProbedEngine))
    order = [(type(event), event.step) for event in events[:-1] if not isinstance(event, Progress)]
    assert order == [
        (Measured, 0), (Probed, 0), (Probed, 5), (Measured, 6), (Probed, 6), (Measured, 12), (Probed, 12),
    ]  # fmt: skip
    assert isinstance(events[-1], Finished)


def test_a_run_that_stops_at_its_target_is_probed_up_to_there():
    target = {"metric": "loss", "mode": "min", "value": 1.0}
    settings = run_settings(
        learning_rate=0.3,
        budget={"steps": 100, "stop_at_target": True},
        evaluation={"points": 50},
        target=target,
        probes={"steps": [1, 99], "draws": 1},
    )
    events = list(train(workload_named("quadratic"), settings, build_engine=ProbedEngine))
    assert events[-1].status == "reached"
    assert [event.step for event in events if isinstance(event, Probed)] == [1]


def test_a_run_without_probes_asks_its_engine_for_nothing_whole():
    assert not hasattr(BareEngine, "whole_model")
    assert not hasattr(BareEngine, "whole_optimizer")
    *_, last = train(workload_named("quadratic"), run_settings(), build_engine=BareEngine)
    assert last.probe_seconds == 0.0


def test_a_model_that_cannot_be_copied_is_a_clear_error():
    class Uncopied(type(workload_named("quadratic"))):
        def build_model(self, *, seed):
            model = super().build_model(seed=seed)
            model.open_file = (x for x in ())
            return model

    workload = Uncopied(workload_named("quadratic").settings)
    with pytest.raises(SettingsError, match=r"a probe measures on a copy of the model, but _Point can't be copied"):
        list(train(workload, run_settings(probes={"steps": [0]}), build_engine=ProbedEngine))


def test_rows_have_the_columns_and_the_scope_that_the_analysis_reads():
    assert tuple(field.name for field in dataclasses.fields(ProbeRow)) == probe_rows.PROBE_COLUMNS
    assert rows.ALL == probe_rows.ALL
