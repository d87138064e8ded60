"""The outcome of siamese workloads, on SimSiam: the vote of neighbours, the spread and the baselines."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional

from trainers.errors import SettingsError
from trainers.workloads import load_workload
from trainers.workloads.siamese_outcome import calibrate

SMALL = {"width": 4, "projection_size": 16, "predictor_size": 8}


@pytest.fixture
def workload():
    return load_workload("simsiam", SMALL)


@pytest.mark.parametrize("neighbours", [1, 5])
def test_the_vote_is_that_of_scikit_learns_nearest_neighbours(neighbours):
    workload = load_workload("simsiam", {**SMALL, "neighbours": neighbours})
    generator = torch.Generator().manual_seed(0)
    train_points = torch.randn(len(workload.pictures.train), 6, generator=generator)
    test_points = torch.randn(len(workload.pictures.test), 6, generator=generator)
    scores = []
    for rows in workload.vote.labelled:
        assert torch.bincount(workload.pictures.train_labels[rows]).tolist() == [10] * 10
        knn = KNeighborsClassifier(neighbours).fit(
            functional.normalize(train_points[rows]), workload.pictures.train_labels[rows]
        )
        nearest = knn.kneighbors(functional.normalize(test_points), return_distance=False)
        labels = workload.pictures.train_labels[rows].numpy()[nearest]  # the nearest first
        # Of labels with as many votes, that of the nearest wins; scikit-learn takes the lowest.
        said = [max(own, key=lambda label, own=own: (own.count(label), -own.index(label))) for own in labels.tolist()]
        scores.append(np.mean(np.array(said) == workload.pictures.test_labels.numpy()))
    assert workload.vote.accuracy(train_points, test_points) == pytest.approx(np.mean(scores), abs=1e-6)


def test_of_many_training_images_only_those_with_a_label_are_embedded(workload, monkeypatch):
    everything = workload.vote
    assert len(everything.rows) == len(workload.pictures.train)
    monkeypatch.setattr("trainers.workloads.siamese_outcome._FEW_IMAGES", 100)
    few = load_workload("simsiam", {**SMALL, "labels_per_class": 1}).vote
    assert set(few.rows.tolist()) == {row for draw in few.labelled for row in draw.tolist()}
    assert len(few.rows) < len(workload.pictures.train)
    points = torch.randn(len(workload.pictures.train), 6, generator=torch.Generator().manual_seed(0))
    test = torch.randn(len(workload.pictures.test), 6, generator=torch.Generator().manual_seed(1))
    found = few.accuracy(points[few.rows], test)
    monkeypatch.undo()
    assert found == pytest.approx(
        load_workload("simsiam", {**SMALL, "labels_per_class": 1}).vote.accuracy(points, test), abs=1e-6
    )


def test_an_evaluation_takes_as_many_held_out_images_as_are_asked_for(workload):
    fewer = load_workload("simsiam", {**SMALL, "evaluation_images": 50}).pictures
    assert (len(fewer.test), len(fewer.test_labels)) == (50, 50)
    known = {
        (x.numpy().tobytes(), int(y))
        for x, y in zip(workload.pictures.test, workload.pictures.test_labels, strict=True)
    }
    assert {(x.numpy().tobytes(), int(y)) for x, y in zip(fewer.test, fewer.test_labels, strict=True)} <= known
    assert torch.equal(fewer.train, workload.pictures.train)


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


def test_more_neighbours_than_labels_are_refused():
    with pytest.raises(SettingsError, match="neighbours must be at most the 20 labelled images"):
        load_workload("simsiam", {**SMALL, "labels_per_class": 2, "neighbours": 21})
    workload = load_workload("simsiam", {**SMALL, "labels_per_class": 2, "neighbours": 20})
    workload.prepare()
    # What the settings can't know of a data set of the hub shows when it is read.
    workload = load_workload("simsiam", {**SMALL, "labels_per_class": 2})
    workload.settings = workload.settings.model_copy(update={"neighbours": 21})
    with pytest.raises(SettingsError, match=r"at most the 20 labelled images .* but got 21"):
        workload.prepare()


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
        for rows in workload.vote.labelled:
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
    untrained = [workload.vote.untrained(workload.build_model(seed=seed).encoder) for seed in range(5)]
    # The running statistics keep the variance with n - 1; the forward pass of a batch divides by n.
    assert untrained[3] == pytest.approx(accuracy(train.flatten(1), test.flatten(1)), abs=1e-3)
    assert len(set(untrained)) == 5
    assert found["untrained encoder"] == pytest.approx(np.mean(untrained))
    assert workload.baselines() == found
