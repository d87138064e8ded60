"""Losses that couple groups of examples and nothing else: what a forward pass and a probe may hold of them."""

import pytest

from trainers.batching import plan_batch
from trainers.errors import SettingsError
from trainers.loop import Probed, train
from trainers.probes.probe import Probe
from trainers.probes.settings import ProbeSettings
from trainers.probes.sizes import resolve_sizes
from trainers.probes.two_batch import two_batch
from trainers.workloads import load_workload

from .helpers import run_settings
from .probe_cases import EVERYTHING, TINY_SIMSIAM, ProbedEngine, held, plain_gradient, square, values

SMALL = {"simsiam": TINY_SIMSIAM, "byol": {"width": 2, "hidden_size": 4, "projection_size": 4}}
GROUP = 8
FIXED = {"small_batch_size": 16, "large_batch_size": 32, "curvature_batch_size": 16, "reference_batch_size": 64}


def grouped(name="simsiam", size=GROUP):
    return load_workload(name, {**SMALL[name], "batch_norm_images": size})


def sizes(probes=None, *, batch_size=64, group=32, free=None, micro=None):
    return resolve_sizes(
        ProbeSettings.model_validate(probes or {}),
        batch_size=batch_size,
        micro_batch_size=micro,
        free_pass=free or batch_size,
        independent=False,
        coupled_examples=group,
    )


@pytest.mark.parametrize("name", ["simsiam", "byol"])
def test_a_siamese_workload_says_how_many_images_batchnorm_couples(name):
    assert grouped(name).coupled_examples == GROUP
    assert load_workload(name, SMALL[name]).coupled_examples is None
    assert load_workload("quadratic", {}).coupled_examples is None


@pytest.mark.parametrize("batch_size", [64, 96, 160, 512])
def test_every_batch_of_a_probe_is_of_whole_groups(batch_size):
    found = sizes({"quantities": EVERYTHING}, batch_size=batch_size)
    for size in (found.small, found.curvature, found.reference, *found.ladder):
        assert size % 32 == 0
    assert found.large % found.small == 0
    assert found.large > found.small
    assert found.additive
    assert not found.independent
    # A pass holds as much as one in training, since the groups alone decide the loss.
    assert found.drawn_pass(batch_size) == batch_size
    assert found.curvature_pass == found.curvature


def test_the_micro_batch_of_a_run_bounds_a_probes_pass_and_is_no_part_of_the_loss():
    found = sizes(batch_size=256, free=64, micro=64)
    assert (found.unit, found.small, found.drawn_pass(256), found.curvature_pass) == (32, 64, 64, 64)


@pytest.mark.parametrize(
    ("probes", "batch_size", "message"),
    [
        ({"small_batch_size": 16}, 64, r"small_batch_size .* a multiple of the groups.* got 16 with 32; nearest: 32"),
        ({"curvature_batch_size": 48}, 64, r"curvature_batch_size .* got 48 with 32; nearest: 32"),
        ({"ladder": [16, 64], "quantities": ["one_step"]}, 64, r"probes.ladder .* got 16 with 32; nearest: 32"),
        ({"micro_batch_size": 16}, 64, r"probes.micro_batch_size .* got 16 with 32; nearest: 32"),
        ({}, 32, r"large_batch_size must be .* larger, but got 32 with 32; nearest: 64"),
    ],
)
def test_a_probe_that_would_cut_a_group_is_refused(probes, batch_size, message):
    with pytest.raises(SettingsError, match=message):
        sizes(probes, batch_size=batch_size)


@pytest.mark.parametrize(
    ("batch_size", "micro", "message"),
    [
        (72, None, r"whole groups of the 32 .* batch_size 72 gives 72; nearest batch_size: 64 or 96"),
        (16, None, r"whole groups of the 32 .* batch_size 16 gives 16; nearest batch_size: 32"),
        (64, 16, r"batch_size 64 gives 16; set micro_batch_size to a multiple of 32, or leave it out"),
        (96, 48, r"batch_size 96 gives 48; set micro_batch_size to a multiple of 32"),
    ],
)
def test_a_forward_pass_that_would_cut_a_group_is_refused_beforehand(batch_size, micro, message):
    plan = plan_batch(batch_size, world_size=1, micro_batch_size=micro)
    with pytest.raises(SettingsError, match=message):
        plan.check_coupling(examples_are_independent=False, coupled_examples=32)
    settings = run_settings(
        batch_size=batch_size, engine={"micro_batch_size": micro}, probes={"steps": [0], "large_batch_size": 128}
    )
    with pytest.raises(SettingsError, match=message):
        Probe(grouped(size=32), settings)
    plan_batch(192, world_size=2, micro_batch_size=32).check_coupling(
        examples_are_independent=False, coupled_examples=32
    )


@pytest.mark.parametrize(("batch_size", "micro"), [(12, None), (4, None), (16, 4)])
def test_a_run_that_would_cut_a_group_takes_no_step(batch_size, micro):
    settings = run_settings(batch_size=batch_size, engine={"micro_batch_size": micro}, budget={"steps": 1})
    with pytest.raises(SettingsError, match=r"group|batch_norm_images must divide"):
        list(train(grouped(), settings))


@pytest.mark.parametrize("name", ["simsiam", "byol"])
def test_a_probe_of_groups_is_that_of_micro_batches_of_their_size(name):
    """Two ways to the same loss: groups inside a pass, and one pass a group."""
    probes = {**FIXED, "steps": [0], "draws": 2, "quantities": ["two_batch", "curvature", "one_step", "line_search"]}
    one, other = (
        next(e.rows for e in train(workload, settings, build_engine=ProbedEngine) if isinstance(e, Probed))
        for workload, settings in (
            (grouped(name), run_settings(batch_size=32, optimizer="momentum", probes=probes)),
            (
                load_workload(name, SMALL[name]),
                run_settings(batch_size=32, optimizer="momentum", probes=probes, engine={"micro_batch_size": GROUP}),
            ),
        )
    )

    def key(row):
        return row.name, row.scope, row.batch_size, row.rate, row.draw

    assert [key(row) for row in one] == [key(row) for row in other]
    for mine, theirs in zip(one, other, strict=True):
        assert mine.total == pytest.approx(theirs.total, rel=2e-3, abs=1e-5), key(mine)


def test_gradients_of_small_batches_are_means_over_groups():
    workload, plain = grouped(), load_workload("simsiam", TINY_SIMSIAM)
    batch = next(plain.train_batches(batch_size=32, seed=3))
    loss, rows = held(workload)
    two_batch(loss, batch, sizes(FIXED, batch_size=32, group=workload.coupled_examples), rows, draw=0)
    parts = [plain_gradient(plain, batch, first=first, last=first + GROUP) for first in range(0, 32, GROUP)]
    small = [[(a + b) / 2 for a, b in zip(*parts[first : first + 2], strict=True)] for first in (0, 2)]
    large = [sum(tensors) / 4 for tensors in zip(*parts, strict=True)]
    assert values(rows.rows, "gradient_square", 16) == pytest.approx([sum(map(square, small)) / 2], rel=1e-4)
    assert values(rows.rows, "gradient_square", 32) == pytest.approx([square(large)], rel=1e-4)
