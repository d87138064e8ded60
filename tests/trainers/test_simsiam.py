import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional

from trainers.errors import SettingsError
from trainers.loop import Measured, train
from trainers.workloads import load_workload
from trainers.workloads.simsiam import calibrate

from .helpers import BareEngine, run_settings

SMALL = {"width": 4, "projection_size": 16, "predictor_size": 8}


@pytest.fixture
def workload():
    return load_workload("simsiam", SMALL)


def test_the_loss_is_the_papers_symmetrised_negative_cosine(workload):
    model = workload.build_model(seed=0).eval()
    first, second = next(workload.train_batches(batch_size=7, seed=0))
    z1, z2 = (model.project(x).detach().numpy() for x in (first, second))
    p1, p2 = (model.predictor(model.project(x)).detach().numpy() for x in (first, second))

    def distance(p, z):
        rows = [-(a @ b) / np.sqrt((a @ a) * (b @ b)) for a, b in zip(p.astype(float), z.astype(float), strict=True)]
        return sum(rows) / len(rows)

    expected = distance(p1, z2) / 2 + distance(p2, z1) / 2
    assert workload.loss(model, (first, second)).item() == pytest.approx(expected, rel=1e-5)


def test_the_gradient_stops_at_the_projection():
    batch = next(load_workload("simsiam", SMALL).train_batches(batch_size=7, seed=0))

    def gradient(stop):
        workload = load_workload("simsiam", {**SMALL, "stop_gradient": stop})
        model = workload.build_model(seed=0)
        workload.loss(model, batch).backward()
        return model.projector[0].weight.grad, model.predictor[0].weight.grad

    stopped, free = gradient(True), gradient(False)
    assert not torch.allclose(stopped[0], free[0])
    assert torch.allclose(stopped[1], free[1], atol=1e-7), "the predictor's gradient does not pass through the target"


@pytest.mark.parametrize("neighbours", [1, 5])
def test_the_vote_equals_scikit_learns_nearest_neighbours(neighbours):
    workload = load_workload("simsiam", {**SMALL, "neighbours": neighbours})
    generator = torch.Generator().manual_seed(0)
    train_points = torch.randn(len(workload.pictures.train), 6, generator=generator)
    test_points = torch.randn(len(workload.pictures.test), 6, generator=generator)
    scores = []
    for rows in workload._labelled:
        assert torch.bincount(workload.pictures.train_labels[rows]).tolist() == [10] * 10
        knn = KNeighborsClassifier(neighbours).fit(
            functional.normalize(train_points[rows]), workload.pictures.train_labels[rows]
        )
        scores.append(knn.score(functional.normalize(test_points), workload.pictures.test_labels))
    assert workload._knn_accuracy(train_points, test_points) == pytest.approx(np.mean(scores), abs=1e-6)


def test_the_spread_is_one_on_the_sphere_and_zero_at_a_point(workload):
    class Constant(torch.nn.Module):
        def __init__(self, answer):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.answer = answer

        def forward(self, images):
            return self.answer(images)

    def spread(answer):
        model = Constant(answer)
        model.encoder = Constant(lambda images: images.flatten(1))
        model.projector = Constant(answer)
        return workload.evaluate(model)["embedding_spread"]

    generator = torch.Generator().manual_seed(0)
    assert spread(lambda x: torch.randn(len(x), 256, generator=generator)) == pytest.approx(1.0, abs=0.01)
    assert spread(lambda x: torch.ones(len(x), 256)) == pytest.approx(0.0, abs=1e-6)


def test_without_the_stop_gradient_the_loss_is_lower_and_the_representation_worse():
    settings = run_settings(
        batch_size=64, learning_rate=0.2, optimizer="momentum", budget={"steps": 150}, evaluation={"points": 1}
    )

    def last(stop):
        workload = load_workload("simsiam", {**SMALL, "stop_gradient": stop})
        return [e for e in train(workload, settings, build_engine=BareEngine) if isinstance(e, Measured)][-1].values

    stopped, free = last(True), last(False)
    assert free["train_loss"] < stopped["train_loss"]
    assert free["knn_accuracy"] < stopped["knn_accuracy"] - 0.05
    assert free["embedding_spread"] < stopped["embedding_spread"]


def test_views_differ_from_each_other_and_from_the_image(workload):
    first, second = next(workload.train_batches(batch_size=16, seed=0))
    assert first.shape == second.shape == (16, 1, 8, 8)
    assert not torch.equal(first, second)
    assert float(first.min()) >= 0.0
    assert float(first.max()) <= 1.0


def test_an_encoder_by_name_has_fresh_weights(tmp_path):
    from transformers import ResNetConfig

    ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic").save_pretrained(tmp_path)
    for encoder in ("resnet", str(tmp_path)):
        workload = load_workload("simsiam", {**SMALL, "encoder": encoder, "width": 8})
        loss = workload.loss(workload.build_model(seed=0), next(workload.train_batches(batch_size=4, seed=0)))
        assert torch.isfinite(loss)


def test_more_neighbours_than_labels_are_refused():
    with pytest.raises(SettingsError, match="neighbours must be at most the 20 labelled images"):
        load_workload("simsiam", {**SMALL, "labels_per_class": 2, "neighbours": 21})
    workload = load_workload("simsiam", {**SMALL, "labels_per_class": 2, "neighbours": 20})
    workload.prepare()
    # What the settings can't know of a data set of the hub shows when it is read.
    workload.settings = workload.settings.model_copy(update={"neighbours": 21})
    with pytest.raises(SettingsError, match=r"at most the 20 labelled images .* but got 21"):
        workload.prepare()


def test_one_example_a_forward_pass_is_refused_before_anything_is_trained(workload):
    for changes in ({"batch_size": 1}, {"batch_size": 4, "engine": {"micro_batch_size": 1}}):
        with pytest.raises(SettingsError, match="at least 2 examples where the loss couples them"):
            list(train(workload, run_settings(**changes)))


def test_calibration_gives_batchnorm_the_statistics_of_what_it_saw():
    torch.manual_seed(0)
    norms = [nn.BatchNorm1d(3, momentum=0.1), nn.BatchNorm1d(3, momentum=0.1)]
    module = nn.Sequential(norms[0], nn.Linear(3, 3), nn.ReLU(), norms[1])
    images = 5.0 + 3.0 * torch.randn(40, 3)
    with torch.no_grad():
        module(torch.randn(40, 3))  # statistics that must be forgotten
        calibrate(module, [images])
        seen = module[:3](images)  # what the second layer meets, the first one normalising by its batch
    for norm, inputs in zip(norms, (images, seen), strict=True):
        torch.testing.assert_close(norm.running_mean, inputs.mean(dim=0))
        torch.testing.assert_close(norm.running_var, inputs.var(dim=0))
        assert norm.momentum == 0.1
    # Blocks count alike: the means of equal blocks average to the mean of all.
    with torch.no_grad():
        calibrate(module, images.tensor_split(4))
    torch.testing.assert_close(norms[0].running_mean, images.mean(dim=0))


def test_the_baselines_are_pixels_and_the_mean_of_five_untrained_encoders(workload):
    pictures = workload.pictures
    found = workload.baselines()

    def accuracy(train, test):
        scores = []
        for rows in workload._labelled:
            knn = KNeighborsClassifier(1).fit(functional.normalize(train[rows]), pictures.train_labels[rows])
            scores.append(knn.score(functional.normalize(test), pictures.test_labels))
        return np.mean(scores)

    assert found["raw pixels"] == pytest.approx(accuracy(pictures.train.flatten(1), pictures.test.flatten(1)), abs=1e-6)
    encoder = workload.build_model(seed=3).encoder.train()
    with torch.no_grad():
        # Normalised by the statistics of the training images themselves, layer by layer, written out.
        train, test = pictures.train, pictures.test
        for layer in encoder.layers:
            if isinstance(layer, nn.BatchNorm2d):
                mean, var = train.mean(dim=(0, 2, 3), keepdim=True), train.var(dim=(0, 2, 3), keepdim=True)
                train, test = ((x - mean) / (var + layer.eps).sqrt() for x in (train, test))
            else:
                train, test = layer(train), layer(test)
    untrained = [workload._untrained_accuracy(seed) for seed in range(5)]
    # The running statistics keep the variance with n - 1; the forward pass of a batch divides by n.
    assert untrained[3] == pytest.approx(accuracy(train.flatten(1), test.flatten(1)), abs=1e-3)
    assert len(set(untrained)) == 5
    assert found["untrained encoder"] == pytest.approx(np.mean(untrained))
    assert workload.baselines() == found
