import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from trainers.data.fetch import is_cached
from trainers.engine import DeepSpeedEngine
from trainers.loop import Measured, Probed, train
from trainers.settings import TrainSettings
from trainers.workloads import load_workload
from trainers.workloads.siamese_teacher import Teacher

from .helpers import BareEngine, run_settings

SMALL = {"width": 4, "hidden_size": 16, "projection_size": 8}


@pytest.fixture
def workload():
    return load_workload("byol", SMALL)


def last(workload, settings, engine=BareEngine):
    return [e.values for e in train(workload, settings, build_engine=engine) if isinstance(e, Measured)][-1]


def test_the_loss_is_half_the_papers_sum_of_squared_distances_of_unit_vectors(workload):
    model = workload.build_model(seed=0)
    with torch.no_grad():
        for number, buffer in enumerate(model.teacher.buffers()):  # a teacher unlike its student
            if buffer.is_floating_point():
                buffer.mul_(1.0 + 0.1 * number)
    views = next(workload.train_batches(batch_size=7, seed=0))
    q = [copy.deepcopy(model).forward(x).detach().numpy().astype(float) for x in views]
    z = [copy.deepcopy(model).teacher(x).detach().numpy().astype(float) for x in views]

    def unit(rows):
        return rows / np.sqrt((rows**2).sum(axis=1, keepdims=True))

    paper = sum(((unit(a) - unit(b)) ** 2).sum(axis=1).mean() for a, b in ((q[0], z[1]), (q[1], z[0])))
    assert workload.loss(model, views).item() == pytest.approx(paper / 2, rel=1e-5)


def test_the_teacher_is_the_weighted_sum_of_the_students_path():
    """θ'ₙ = τⁿ θ₀ + (1 − τ) Σₖ τⁿ⁻ᵏ θₖ."""
    decay, steps = 0.8, 6
    workload = load_workload("byol", {**SMALL, "teacher_decay": decay})
    engine = BareEngine(workload, run_settings(learning_rate=0.3))
    batches = workload.train_batches(batch_size=8, seed=0)
    path = [engine.model.student.projector[0].weight.detach().clone()]
    for step in range(1, steps + 1):
        engine.step(next(batches), rate_factor=1.0)
        workload.after_step(engine.model, step=step)
        path.append(engine.model.student.projector[0].weight.detach().clone())
    expected = decay**steps * path[0] + (1 - decay) * sum(decay ** (steps - k) * path[k] for k in range(1, steps + 1))
    teacher = engine.model.teacher.network.projector[0].weight
    torch.testing.assert_close(teacher, expected)
    assert not torch.allclose(teacher, path[-1])


def test_the_teacher_is_of_buffers_that_no_gradient_reaches(workload):
    model = workload.build_model(seed=0)
    assert not [name for name, _ in model.named_parameters() if name.startswith("teacher.")]
    students = {name for name, _ in model.student.named_parameters()}
    assert students <= {name for name, _ in model.teacher.network.named_buffers()}
    workload.loss(model, next(workload.train_batches(batch_size=4, seed=0))).backward()
    assert all(buffer.grad is None and not buffer.requires_grad for buffer in model.teacher.buffers())
    assert all(parameter.grad is not None for parameter in model.parameters())
    other = workload.build_model(seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.teacher.network.projector[0].weight, model.teacher.network.projector[0].weight)


def test_in_bfloat16_the_teacher_keeps_the_digits_that_a_step_adds():
    student = nn.Linear(3, 2)
    teacher = Teacher(student)
    both = nn.ModuleList([student, teacher]).bfloat16()
    begun = teacher.network.weight.clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    for _ in range(100):
        teacher.follow(student, decay=0.999)
    assert {b.dtype for b in both.buffers()} == {torch.float32}
    expected = student.weight.float() - (student.weight.float() - begun) * 0.999**100
    torch.testing.assert_close(teacher.network.weight, expected)
    assert teacher(torch.ones(1, 3, dtype=torch.bfloat16)).dtype == torch.float32


def test_deepspeed_trains_what_the_bare_loop_trains(workload):
    settings = run_settings(learning_rate=0.1, budget={"steps": 4}, evaluation={"points": 1})
    one, other = last(workload, settings), last(workload, settings, DeepSpeedEngine)
    assert one == pytest.approx(other, rel=1e-4)
    still = last(load_workload("byol", {**SMALL, "teacher_decay": 1.0}), settings, DeepSpeedEngine)
    assert still["train_loss"] != pytest.approx(one["train_loss"], rel=1e-4)


def test_without_the_predictor_all_images_collapse_to_a_point():
    settings = run_settings(
        batch_size=64, learning_rate=0.2, optimizer="momentum", budget={"steps": 40}, evaluation={"points": 1}
    )
    kept, collapsed = (last(load_workload("byol", {**SMALL, "predictor": p}), settings) for p in (True, False))
    assert kept["embedding_spread"] > 0.5
    assert collapsed["embedding_spread"] < 0.15
    assert collapsed["train_loss"] < kept["train_loss"]


def test_a_probe_measures_two_batches_and_leaves_the_teacher_alone(workload):
    plain = run_settings(batch_size=16, learning_rate=0.1, budget={"steps": 6}, evaluation={"points": 1})
    probes = {"steps": [3], "quantities": ["two_batch", "curvature", "one_step"], "draws": 2}
    events = list(train(workload, TrainSettings.from_dict({**plain.model_dump(mode="json"), "probes": probes})))
    (probed,) = [e for e in events if isinstance(e, Probed)]
    assert {"gradient_square", "curvature_gradient", "update_curvature"} <= {row.name for row in probed.rows}
    assert all(math.isfinite(row.total) for row in probed.rows)
    assert [e.values for e in events if isinstance(e, Measured)][-1] == last(workload, plain, DeepSpeedEngine)


def test_training_beats_what_the_same_encoder_knows_untrained():
    """3 points above untrained encoders: of 520 images an accuracy has a standard error of 1.4, and both share them."""
    settings = run_settings(
        batch_size=64,
        learning_rate=0.2,
        optimizer="momentum",
        schedule={"name": "cosine"},
        budget={"steps": 100},
        evaluation={"points": 1},
    )
    workload = load_workload("byol", {"width": 8})
    found = last(workload, settings)
    assert found["knn_accuracy"] > workload.baselines()["untrained encoder"] + 0.03
    assert found["embedding_spread"] > 0.5


@pytest.mark.skipif(not is_cached("fashion-mnist"), reason="needs fashion-mnist in the data cache")
def test_clothes_are_learned_in_a_short_run():
    workload = load_workload(
        "byol", {**SMALL, "dataset": "fashion-mnist", "evaluation_images": 300, "labels_per_class": 2}
    )
    settings = run_settings(
        batch_size=32, learning_rate=0.1, optimizer="momentum", budget={"steps": 20}, evaluation={"points": 2}
    )
    found = last(workload, settings)
    assert found["train_loss"] < 1.4, "unrelated directions have a squared distance of 2"
    assert found["knn_accuracy"] > 0.25, "chance is a tenth"
    assert found["embedding_spread"] > 0.3


@pytest.mark.skipif(not is_cached("emoji32"), reason="needs emoji32 in the data cache")
def test_colour_pictures_are_a_data_set_like_any():
    workload = load_workload("byol", {**SMALL, "dataset": "emoji32", "labels_per_class": 5})
    workload.prepare()
    views = next(workload.train_batches(batch_size=4, seed=0))
    assert views[0].shape == (4, 3, 32, 32)
    assert torch.isfinite(workload.loss(workload.build_model(seed=0), views))
