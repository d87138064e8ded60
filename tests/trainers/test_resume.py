"""A run that goes on from a checkpoint is bit for bit the run that was never cut off."""

import dataclasses
import json

import pytest
import torch

from trainers import keeper
from trainers.engine import DeepSpeedEngine
from trainers.errors import SettingsError
from trainers.loop import Finished, Kept, Measured, Probed
from trainers.memory import DoesNotFit
from trainers.optimizers import OPTIMIZERS
from trainers.workloads import WORKLOADS, load_workload

from .helpers import run_settings
from .probe_cases import EVERYTHING, TINY_BERT, SmallCNN
from .probe_workers import pieces_of
from .resume_cases import Course, eager, own_memory, quick_ones
from .test_workload_contract import RATES, SMALL, prepared

STEPS = {"budget": {"steps": 20}, "evaluation": {"points": 3}}  # evaluated at 7, 13 and 20


def bert(**settings):
    return load_workload("bert-mlm", {**TINY_BERT, **settings})


def quadratic(target):
    return load_workload("quadratic", {"dimensions": 5, "target_loss": target})


def assert_goes_on_alike(make, settings, *, until, kept, **options):
    """Cut a run off at ``until``, go on in another object of everything, compare with the run that went through."""
    through = Course(make(), settings, **options)
    expected = through.curve, through.left
    files = own_memory()
    cut = Course(make(), settings, keeper=eager(files), until=until, **options)
    assert cut.kept[-1] == until
    rest = Course(make(), settings, keeper=eager(files), seed=1, **options)
    assert rest.kept == kept
    assert (rest.resumed.step, rest.resumed.resumes, rest.resumed.problems) == (until, 1, ())
    assert rest.events[-1].resumes == 1
    assert (rest.curve, rest.left) == expected
    return rest


@pytest.mark.parametrize(
    ("until", "kept"),
    [
        (7, [8, 13, 16]),
        (8, [13, 16]),
        pytest.param(13, [16], marks=pytest.mark.slow),
        pytest.param(16, [], marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_from_every_moment_that_is_kept(until, kept):
    """Evaluations are at 7, 13 and 20, losses are read at 8 and 16: the sums of losses are cut at both."""
    assert_goes_on_alike(bert, run_settings(**STEPS), until=until, kept=kept)


@pytest.mark.parametrize("name", quick_ones(WORKLOADS, "byol", "gan"))
def test_every_workload_keeps_its_state_where_it_is_saved(name):
    prepared(name, SMALL[name])
    settings = run_settings(batch_size=16, learning_rate=RATES.get(name, 0.05), optimizer="momentum", **STEPS)
    assert_goes_on_alike(lambda: load_workload(name, SMALL[name]), settings, until=8, kept=[13, 16])


EACH_TYPE = [f"{name} {dtype}" for name in OPTIMIZERS for dtype in ("float32", "bfloat16")]


@pytest.mark.parametrize("named", quick_ones(EACH_TYPE, "adamw float32", "muon bfloat16"))
def test_every_optimiser_goes_on(named):
    optimizer, dtype = named.split()
    own = {"momentum": 0.9} if optimizer == "sign-sgd" else {}
    settings = run_settings(
        optimizer=optimizer,
        optimizer_settings=own,
        learning_rate=0.01,
        schedule={"name": "cosine", "warmup": {"steps": 10}},
        engine={"dtype": dtype, "micro_batch_size": 4},
        budget={"steps": 12},
        evaluation={"points": 1},
    )
    assert_goes_on_alike(bert, settings, until=8, kept=[])


@pytest.mark.parametrize("stage", quick_ones([1, 2, 3], 3))
def test_every_zero_stage_goes_on_with_one_worker(stage):
    settings = run_settings(
        optimizer="adamw",
        learning_rate=0.01,
        engine={"zero_stage": stage},
        budget={"steps": 12},
        evaluation={"points": 1},
    )
    assert_goes_on_alike(bert, settings, until=8, kept=[])


def test_stage_3_has_small_tensors_whole_after_a_checkpoint_as_before_it():
    settings = run_settings(optimizer="adamw", engine={"zero_stage": 3}, **STEPS)
    cut = Course(bert(), settings, keeper=eager(own_memory()), until=8)
    engine = DeepSpeedEngine(bert(), settings)
    engine.write_state(cut.engine.read_state())
    assert pieces_of(engine) == pieces_of(cut.engine)
    assert "ZeroParamStatus.AVAILABLE" in pieces_of(engine)
    for (name, ours), theirs in zip(engine.model.named_parameters(), cut.engine.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_optimisers_state_is_in_one_order_however_a_file_was_read():
    """Workers gather it tensor by tensor, where probes look at a sharded run: each must ask for the same one."""
    settings = run_settings(optimizer="adamw", engine={"zero_stage": 2}, **STEPS)
    state = Course(bert(), settings, keeper=eager(own_memory()), until=8).engine.read_state()
    orders = []
    for names in (sorted(state.own), sorted(state.own, reverse=True)):
        engine = DeepSpeedEngine(bert(), settings)
        engine.write_state(dataclasses.replace(state, own={name: state.own[name] for name in names}))
        orders.append([list(one) for one in engine.optimizer.state.values()])
    assert orders[0] == orders[1]
    assert "exp_avg" in orders[0][0]


class Chancy(SmallCNN):
    """A loss that draws from torch's, numpy's and Python's global state."""

    name = "chancy"

    def loss(self, model, batch):
        import random

        import numpy as np

        drawn = float(torch.rand(())) + float(np.random.randn()) + random.gauss(0.0, 1.0)
        return super().loss(model, batch) * drawn


def test_chance_goes_on_where_it_was():
    assert_goes_on_alike(Chancy, run_settings(**STEPS), until=8, kept=[13, 16])


def test_dropout_goes_on_where_it_was():
    assert_goes_on_alike(lambda: bert(dropout=0.3), run_settings(**STEPS), until=8, kept=[13, 16])


def test_probes_before_and_after_a_checkpoint_are_told_once_each():
    probes = {
        "steps": [0, 8, 11, 20],
        "quantities": EVERYTHING,
        "draws": 1,
        "ladder": [4, 8],
        "line_rate_factors": [1.0],
    }
    settings = run_settings(optimizer="adamw", learning_rate=0.01, probes=probes, **STEPS)
    rest = assert_goes_on_alike(SmallCNN, settings, until=8, kept=[13, 16])
    assert [event.step for event in rest.events if isinstance(event, Probed)] == [0, 8, 11, 20]


def test_a_crossing_before_the_checkpoint_is_remembered():
    settings = run_settings(learning_rate=0.2, budget={"steps": 40}, evaluation={"growth": 1.3})
    rest = assert_goes_on_alike(lambda: quadratic(0.9), settings, until=32, kept=[])
    assert rest.events[-1].status == "reached"
    assert rest.events[-1].steps_to_target < 32


def test_a_run_that_stops_at_its_target_stops_there_after_a_checkpoint_too():
    budget = {"steps": 200, "stop_at_target": True}
    settings = run_settings(learning_rate=0.05, budget=budget, evaluation={"growth": 1.3})
    through = Course(quadratic(0.5), settings).events[-1]
    assert through.status == "reached"
    assert through.steps > 8
    files = own_memory()
    Course(quadratic(0.5), settings, keeper=eager(files), until=8)
    again = Course(quadratic(0.5), settings, keeper=eager(files)).events[-1]
    assert (again.steps, again.steps_to_target, again.value) == (through.steps, through.steps_to_target, through.value)


def test_a_run_may_be_cut_off_again_and_again():
    settings = run_settings(**STEPS)
    expected = Course(bert(), settings).curve
    files = own_memory()
    for until in (7, 8, 13, 16):
        Course(bert(), settings, keeper=eager(files), until=until)
    last = Course(bert(), settings, keeper=eager(files))
    assert last.events[-1].resumes == 4
    assert last.curve == expected


def test_checkpoints_change_no_bit_of_the_run_that_makes_them():
    settings = run_settings(optimizer="adamw", engine={"zero_stage": 3}, **STEPS)
    without = Course(bert(), settings)
    expected = without.curve, without.left
    with_them = Course(bert(), settings, keeper=eager(own_memory()))
    assert with_them.kept == [7, 8, 13, 16]
    assert (with_them.resumed.step, with_them.resumed.resumes, with_them.resumed.problems) == (0, 0, ())
    assert (with_them.curve, with_them.left) == expected


def test_a_run_without_a_keeper_tells_nothing_of_checkpoints():
    events = Course(bert(), run_settings(**STEPS)).events
    assert {type(event) for event in events} <= {Measured, Finished}


def test_times_add_up_over_the_parts_of_a_run():
    files = own_memory()
    settings = run_settings(**STEPS)
    cut = Course(bert(), settings, keeper=eager(files), until=13).events
    rest = Course(bert(), settings, keeper=eager(files)).events
    before = next(e for e in cut if isinstance(e, Kept) and e.step == 13)
    measured = [e for e in rest if isinstance(e, Measured)]
    assert rest[0].train_seconds == before.train_seconds == measured[2].train_seconds
    assert rest[-1].train_seconds > before.train_seconds
    seconds = [e.train_seconds for e in measured]
    assert seconds == sorted(seconds)
    assert [e.train_seconds for e in measured[:3]] == [e.train_seconds for e in cut if isinstance(e, Measured)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0.06}, "its trial is "),
        ({"seed": 1}, "its trial is "),
        ({"engine": {"zero_stage": 1}}, "its trial is "),
    ],
)
def test_a_checkpoint_of_another_run_is_not_used(change, said):
    files = own_memory()
    Course(bert(), run_settings(**STEPS), keeper=eager(files), until=8)
    other = Course(bert(), run_settings(**{**STEPS, **change}), keeper=eager(files))
    assert other.resumed.step == 0
    assert len(other.resumed.problems) == 2
    assert all(said in problem for problem in other.resumed.problems)


def test_a_checkpoint_of_other_code_or_another_workload_is_not_used():
    files, settings = own_memory(), run_settings(**STEPS)
    Course(bert(), settings, keeper=eager(files, code="91af"), until=7)
    other = Course(bert(), settings, keeper=eager(files, code="77e0"), until=7)
    assert "is not used: its code is 91af, and this run's 77e0" in other.resumed.problems[0]
    wider = Course(bert(hidden_size=16), settings, keeper=eager(files, code="91af"), until=7)
    assert all("its workload is bert-mlm" in problem or "its code is" in problem for problem in wider.resumed.problems)
    assert wider.resumed.step == 0


class Growing(SmallCNN):
    """Says nothing of a size that its weights have."""

    name = "growing"
    width = 2

    def build_model(self, *, seed):
        torch.manual_seed(seed)
        nn = torch.nn
        return nn.Sequential(nn.Conv2d(1, self.width, 3), nn.Flatten(), nn.Linear(9 * self.width, 2))


def test_a_checkpoint_whose_tensors_do_not_fit_is_not_used(monkeypatch):
    files, settings = own_memory(), run_settings(**STEPS)
    Course(Growing(), settings, keeper=eager(files), until=7)
    monkeypatch.setattr(Growing, "width", 3)
    other = Course(Growing(), settings, keeper=eager(files), until=7)
    assert other.resumed.step == 0
    assert (
        "weight model.0.weight must be [3, 1, 3, 3] of float32 as in this run, but the checkpoint's is [2, 1, 3, 3]"
        in other.resumed.problems[0]
    )


def forged(files, change):
    """Change what a checkpoint says of the run, with a digest to match."""
    (path,) = (path for path in files.find("/run") if path.endswith("manifest.json"))
    told = json.loads(json.loads(files.cat_file(path))["checkpoint"])
    change(told)
    files.pipe_file(path, keeper._signed(told))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told["run"].update(step=10**12), "it stands at step 1000000000000 of 20"),
        (lambda told: told["run"].update(step=0), "it stands at step 0 of 20"),
        (lambda told: told["run"].pop("losses"), "losses"),
        (lambda told: told["run"].update(told=[{"step": 1}]), "required keyword-only argument"),
        (lambda told: told.pop("origin"), "origin"),
        (lambda told: told["files"].clear(), "it is of -1 workers, and this run has 1"),
    ],
)
def test_a_checkpoint_that_says_nonsense_is_not_used(change, said):
    files, settings = own_memory(), run_settings(**STEPS)
    Course(bert(), settings, keeper=eager(files), until=7)
    forged(files, change)
    through = Course(bert(), settings)
    again = Course(bert(), settings, keeper=eager(files))
    assert again.resumed.step == 0
    assert said in again.resumed.problems[0]
    assert again.curve == through.curve


def test_the_smaller_micro_batch_of_a_run_is_kept():
    settings = run_settings(batch_size=12, **STEPS)
    files = own_memory()
    cut = Course(bert(), settings, keeper=eager(files), until=8, micro_batch_at_most=6)
    assert cut.engine.plan.micro_batch_size == 6
    rest = Course(bert(), settings, keeper=eager(files)).events[-1]
    assert (rest.micro_batch_size, rest.accumulation_steps, rest.halvings) == (6, 2, 0)
    smaller = Course(bert(), settings, keeper=eager(files), micro_batch_at_most=5).events[-1]
    assert (smaller.micro_batch_size, smaller.accumulation_steps) == (4, 3)


def test_a_coupled_micro_batch_is_not_made_smaller_silently():
    workload = load_workload("simsiam", SMALL["simsiam"])
    with pytest.raises(
        SettingsError, match="couples the examples of a micro-batch, so that one of 8 can't be"
    ) as error:
        Course(workload, run_settings(**STEPS), micro_batch_at_most=4)
    assert not isinstance(error.value, DoesNotFit)
