"""Votes whose winners are equal, in the outcome of siamese workloads."""

import torch

from trainers.data.pictures import Pictures
from trainers.workloads.siamese_outcome import NeighbourVote


def accuracy(labels, *, neighbours, answer):
    """The vote on one held-out image at 0°, with a training image of each label at 10°, 20°, and so on."""
    angles = torch.deg2rad(torch.arange(10.0, 10.0 * (len(labels) + 1), 10.0))
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    pictures = Pictures(
        train=torch.zeros(len(labels), 1, 2, 2),
        train_labels=torch.tensor(labels),
        test=torch.zeros(1, 1, 2, 2),
        test_labels=torch.tensor([answer]),
        classes=4,
    )
    vote = NeighbourVote(pictures, labels_per_class=len(labels), neighbours=neighbours)
    return vote.accuracy(vectors, torch.tensor([[1.0, 0.0]]))


def test_of_equally_many_votes_those_of_the_nearest_win():
    assert accuracy([3, 1], neighbours=2, answer=3) == 1.0
    assert accuracy([2, 3, 1, 3, 1], neighbours=5, answer=3) == 1.0, "2 is nearer, but has one vote of five"
    assert accuracy([1, 3, 3, 1], neighbours=4, answer=1) == 1.0
    assert accuracy([3, 2, 1, 0], neighbours=4, answer=3) == 1.0


def test_more_votes_win_over_nearness_and_one_neighbour_decides_alone():
    assert accuracy([3, 1, 1], neighbours=3, answer=1) == 1.0
    assert accuracy([3, 1, 1], neighbours=1, answer=3) == 1.0
    assert accuracy([0, 3, 3, 3], neighbours=2, answer=0) == 1.0
