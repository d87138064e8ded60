"""What a game's settings refuse, where its weights begin, and what its untrained generator is worth."""

import numpy as np
import pytest
import torch
from torch import nn

from trainers.errors import SettingsError
from trainers.workloads import load_workload
from trainers.workloads.gan_objectives import OBJECTIVES

from .helpers import run_settings

SMALL = {"latent_size": 4, "generator_width": 4, "discriminator_width": 4}


def gan(**changes):
    return load_workload("gan", {**SMALL, **changes})


@pytest.mark.parametrize("objective", [o for o in OBJECTIVES if o != "wgan-gp"])
def test_a_penalty_weight_without_a_penalty_is_refused(objective):
    with pytest.raises(SettingsError, match=rf"penalty_weight must be left out .* but is 1 with {objective}"):
        gan(penalty_weight=1.0, objective=objective)
    assert gan(penalty_weight=1.0, objective="wgan-gp").settings.penalty_weight == 1.0


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_a_rate_beside_its_factor_is_refused(player):
    with pytest.raises(SettingsError, match=rf"{player}_rate_factor must be left out where {player}_rate .* 2 and 0.1"):
        gan(**{f"{player}_rate": 0.1, f"{player}_rate_factor": 2.0})


@pytest.mark.parametrize("changes", [{}, {"objective": "hinge"}, {"generator_rate": 0.1}, {"initial_std": 0.02}])
def test_settings_written_out_in_full_are_read_again(changes):
    written = gan(**changes).settings.model_dump(mode="json")
    assert gan(**written).settings == gan(**changes).settings
    assert ("initial_std" in written) == ("initial_std" in changes), "trials from before must keep their ids"


def test_zero_stage_3_is_refused_before_anything_is_built():
    run_settings(engine={"zero_stage": 2}).check_for(gan())
    run_settings(engine={"zero_stage": 3}).check_for(load_workload("byol", {}))
    with pytest.raises(SettingsError, match=r"engine.zero_stage must be at most 2 for gan, .* got 3; stage 2 shards"):
        run_settings(engine={"zero_stage": 3}).check_for(gan())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_all_weights_are_drawn_with_the_published_deviation(objective):
    std = 0.02
    wide = {"generator_width": 32, "discriminator_width": 32, "objective": objective}
    model, plain = (gan(**wide, **more).build_model(seed=0) for more in ({"initial_std": std}, {}))
    for (name, parameter), usual in zip(model.named_parameters(), plain.parameters(), strict=True):
        if parameter.ndim > 1:  # a mean and a deviation are within four of their own standard errors
            values = parameter.detach().numpy().ravel()
            assert values.mean() == pytest.approx(0.0, abs=4 * std / np.sqrt(values.size))
            assert values.std() == pytest.approx(std, rel=4 / np.sqrt(2 * values.size))
            assert usual.std().item() != pytest.approx(std, rel=0.1)
        else:
            assert torch.equal(parameter, torch.full_like(parameter, 0.0 if name.endswith("bias") else 1.0))
    torch.testing.assert_close(model.state_dict(), gan(**wide, initial_std=std).build_model(seed=0).state_dict())


def test_spectral_normalisation_begins_at_the_drawn_weights():
    net = gan(objective="hinge", initial_std=0.02).build_model(seed=0).discriminator.eval()
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):  # torch takes fifteen iterations at the start
            largest = np.linalg.svd(layer.weight.detach().flatten(1).numpy())[1][0]
            assert largest == pytest.approx(1.0, rel=0.1)


def test_the_untrained_generator_is_judged_with_batchnorm_that_has_seen_its_own_pictures():
    workload = gan(evaluation_images=100)
    found = workload.baselines()["untrained generator"]
    judged, raw = [], []
    for seed in range(3):
        model = workload.build_model(seed=seed)
        raw.append(workload.evaluate(model.eval())["frechet_distance"])
        # The statistics of many pictures, layer by layer, written out; evaluation's own noise is another.
        generator = model.generator.double()
        with torch.no_grad():
            states = generator.start(torch.randn(20_000, 4, dtype=torch.float64))
            for layer in generator.layers:
                if isinstance(layer, nn.BatchNorm2d):
                    layer.running_mean.copy_(states.mean(dim=(0, 2, 3)))
                    layer.running_var.copy_(states.var(dim=(0, 2, 3)))
                states = layer(states)
            judged.append(workload.evaluate(model.float())["frechet_distance"])
    assert found == pytest.approx(np.mean(judged), rel=0.03)
    assert abs(np.mean(raw) - np.mean(judged)) > 0.1 * np.mean(judged), "the start's statistics make no difference"
