import pandas as pd
import pytest

from analysis.columns import choose_columns, usual_name
from analysis.errors import TableError
from analysis.sources import RunTable

ROLES = {"roles": ("batch_size", "learning_rate", "loss"), "optional": ("seed", "status", "steps", "run")}


def table(*names, **fields):
    runs = pd.DataFrame({name: [f"{name} 1", f"{name} 2"] for name in names})
    return RunTable(runs=runs.assign(run=["1", "2"]), origin="x", **fields)


def choose(*names, given=None, groups=(), **fields):
    return choose_columns(table(*names, **fields), given=given or {}, groups=groups, **ROLES)


@pytest.mark.parametrize(
    "name",
    ["bs", "batch", "batch_size", "global_batch_size", "train_batch_size", "config.bs", "params/batchSize", "BS"],
)
def test_usual_names_of_batch_size(name):
    assert choose(name, "lr", "loss")["batch_size"] == name


@pytest.mark.parametrize(
    "name",
    ["lr", "learning_rate", "peak_lr", "eta", "config.lr", "params/lr", "config/optim/lr", "params_lr", "learningRate"],
)
def test_usual_names_of_learning_rate(name):
    assert choose("bs", name, "loss")["learning_rate"] == name


@pytest.mark.parametrize(
    "name",
    [
        "loss",
        "val_loss",
        "eval/loss",
        "validation_loss",
        "accuracy",
        "test/acc",
        "final_val_loss",
        "smooth loss",
        "ppl",
    ],
)
def test_usual_names_of_loss(name):
    assert choose("bs", "lr", name)["loss"] == name


@pytest.mark.parametrize(
    "name", ["eval_batch_size", "micro_batch_size", "lr_scheduler", "seed_value", "loss_scale", "end_lr_factor"]
)
def test_names_that_mean_something_else_are_not_taken(name):
    chosen = choose("bs", "lr", "loss", name).by_role
    assert name not in chosen.values()


def test_each_guess_is_one_sentence():
    chosen = choose("bs", "lr", "loss", "seed")
    assert len(chosen.notes) == 4
    assert all(note.endswith(".") and "\n" not in note for note in chosen.notes)
    assert not choose("b", "r", "l", given={"batch_size": "b", "learning_rate": "r", "loss": "l"}).notes


def test_a_batch_size_of_one_device_is_told():
    assert any("ONE device" in note for note in choose("per_device_train_batch_size", "lr", "loss").notes)
    assert choose("per_device_train_batch_size", "global_batch_size", "lr", "loss")["batch_size"] == "global_batch_size"


def test_two_candidates_are_an_error_that_names_them_and_the_option():
    with pytest.raises(TableError, match=r"'train/loss', 'eval/loss'; name one by --loss COLUMN"):
        choose("bs", "lr", "train/loss", "eval/loss")


def test_two_candidates_that_hold_the_same_are_one():
    runs = pd.DataFrame({"bs": ["8"], "config/lr": ["0.1"], "lr": ["0.1"], "loss": ["1"], "run": ["a"]})
    assert choose_columns(RunTable(runs=runs, origin="x"), given={}, **ROLES)["learning_rate"] == "config/lr"


def test_what_the_source_declares_is_the_loss():
    assert choose("bs", "lr", "value", "user_attrs_val_loss", directions={"value": "max"})["loss"] == "value"


def test_no_candidate_is_an_error_that_lists_the_columns():
    with pytest.raises(TableError, match=r"learning rate among 'bs', 'loss', 'x'; name it by --learning-rate COLUMN"):
        choose("bs", "loss", "x")


def test_a_named_column_that_is_not_there_brings_the_closest():
    with pytest.raises(
        TableError, match=r"--loss names a column of the table, but there is no 'vall_loss'.*'val_loss'"
    ):
        choose("bs", "lr", "val_loss", given={"loss": "vall_loss"})
    with pytest.raises(TableError, match=r"--group .* no 'modle'.*'model'"):
        choose("bs", "lr", "loss", "model", groups=["modle"])


@pytest.mark.parametrize(
    ("given", "groups"),
    [({"loss": "lr", "learning_rate": "lr"}, []), ({"loss": "loss"}, ["loss"]), ({}, ["model", "model"])],
)
def test_a_column_plays_one_part(given, groups):
    with pytest.raises(TableError, match="one part"):
        choose("bs", "lr", "loss", "model", given=given, groups=groups)


def test_a_group_is_no_candidate():
    assert choose("bs", "train_batch_size", "lr", "loss", groups=["train_batch_size"])["batch_size"] == "bs"


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("config/optim/peakLR", "peak_lr"),
        ("params_lr", "lr"),
        ("metrics.val/loss", "loss"),
        ("_step", "step"),
        ("LR", "lr"),
    ],
)
def test_usual_name(name, plain):
    assert usual_name(name) == plain
