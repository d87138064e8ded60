import pytest

from study.errors import ConfigError
from study.loading import find_study, load_study, presets, resolved_yaml
from study.resolve import resolve

from .studies import Study

GOOD = """\
name: demo
defaults:
  workload: quadratic
  optimizer: sgd
  outcome: steps_to_target
  batch_sizes: [4, 16]
  seeds: [0, 1]
  budget: {steps: 50}
sweeps:
  - name: sgd
    learning_rates: {center: 0.05, at_batch_size: 16}
"""

# What is written wrong, and what the one line must say: the line number, the key, the value and what is allowed.
WRONG = {
    "unknown key": (
        "steps: 50",
        "stepz: 50",
        ["yaml:8: defaults.budget.stepz: unknown key; did you mean steps?", "allowed: "],
    ),
    "unknown top key": (
        "name: demo",
        "nam: demo",
        ["yaml:1: nam: unknown key; did you mean name?", "allowed: defaults"],
    ),
    "unknown sweep key": ("- name: sgd", "- nane: sgd", ["yaml:10: sweeps[0].nane: unknown key; did you mean name?"]),
    "unknown window key": (
        "at_batch_size: 16",
        "at_batch: 16",
        ["yaml:11: sweeps[0].learning_rates.at_batch", "at_batch_size"],
    ),
    "wrong type": ("[4, 16]", "four", ["yaml:6: defaults.batch_sizes", "list", "'four'"]),
    "a truth value is no number": ("[4, 16]", "[true]", ["defaults.batch_sizes[0]", "integer", "True"]),
    "text is no number": ("center: 0.05", "center: a lot", ["sweeps[0].learning_rates.center", "number", "'a lot'"]),
    "negative rate": (
        "{center: 0.05, at_batch_size: 16}",
        "[0.1, -0.2]",
        ["sweeps[0].learning_rates[1]", "greater than 0", "-0.2"],
    ),
    "rate not a number": ("center: 0.05", "center: .nan", ["sweeps[0].learning_rates.center", "nan"]),
    "empty grid": ("[4, 16]", "[]", ["defaults.batch_sizes", "at least 1 item"]),
    "no rates": ("{center: 0.05, at_batch_size: 16}", "[]", ["sweeps[0].learning_rates", "at least 1 item"]),
    "batch size twice": ("[4, 16]", "[4, 4]", ["defaults.batch_sizes", "4 is given twice"]),
    "unknown outcome": (
        "steps_to_target",
        "speed",
        ["defaults.outcome", "'steps_to_target' or 'value_at_budget'", "'speed'"],
    ),
    "no budget": ("{steps: 50}", "{}", ["defaults.budget", "give examples, steps or both"]),
    "budget lacks a batch": ("{steps: 50}", "{steps: {4: 10}}", ["defaults.budget", "lacks 16"]),
    "name leaves the folder": ("name: demo", "name: ../demo", ["yaml:1: name", "letters, digits", "'../demo'"]),
    "hidden name": ("name: demo", "name: .demo", ["yaml:1: name", "not start with '.'"]),
    "missing key": ("  optimizer: sgd\n", "", ["sweeps[0].optimizer: is required"]),
    "key twice": ("  seeds:", "  budget: {steps: 1}\n  seeds:", ["yaml:9: defaults.budget: given twice"]),
    "not YAML": ("[4, 16]", "[4, 16", ["yaml:7:8: not readable as YAML"]),
    "not a mapping": (GOOD, "- 1\n", ["a study is a mapping", "list"]),
    "empty file": (GOOD, "", ["a study is a mapping"]),
    "code in YAML": ("demo", "!!python/object/apply:os.getcwd []", ["yaml:1:7: not readable as YAML"]),
    "alias in itself": ("seeds: [0, 1]", "workload_settings: &a {x: *a}", ["yaml:7: an alias must not contain itself"]),
    "a default name": ("defaults:\n", "defaults:\n  name: x\n", ["yaml:3: defaults.name"]),
    "no JSON": ("seeds: [0, 1]", "workload_settings: {x: .inf}", ["defaults.workload_settings", "JSON"]),
    "a list as a key": ("seeds: [0, 1]", "? [a, b]\n  : 3", ["yaml:7: a key must be text or a number", "sequence"]),
    "a limit of a table is no number": (
        "{steps: 50}",
        "{steps: {4: x, 16: 3}}",
        ["yaml:8: defaults.budget.steps[4]: should be a valid integer, but got 'x'"],
    ),
    "a limit is no number": (
        "{steps: 50}",
        "{steps: many}",
        ["yaml:8: defaults.budget.steps: should be a valid integer, but got 'many'"],
    ),
    "two sweeps of one name": (
        "  - name: sgd\n",
        "  - {name: sgd, learning_rates: [1.0]}\n  - name: sgd\n",
        ["yaml:9: sweeps: each sweep needs a name of its own, but two are called sgd"],
    ),
    "budget cut short": (
        "steps_to_target\n  batch_sizes: [4, 16]\n  seeds: [0, 1]\n  budget: {steps: 50}",
        "value_at_budget\n  batch_sizes: [4, 16]\n  budget: {steps: 50, stop_at_target: true}",
        ["sweeps[0]", "set budget.stop_at_target to false"],
    ),
}

# Found only with the trainers' help.
IMPOSSIBLE = {
    "unknown workload": (
        "workload: quadratic",
        "workload: quadratik",
        ["yaml:3: defaults.workload: ", "did you mean quadratic?"],
    ),
    "unknown setting": (
        "workload: quadratic",
        "workload: quadratic\n  workload_settings: {dimension: 3}",
        ["yaml:4: defaults.workload_settings", "did you mean dimensions?"],
    ),
    "unknown optimiser": ("optimizer: sgd", "optimizer: sgdd", ["yaml:4: defaults.optimizer", "'sgdd'", "sgd"]),
    "impossible split": (
        "seeds: [0, 1]",
        "engine: {micro_batch_size: 3}",
        ["batch_size must be a multiple of workers x micro_batch_size, but got 4 with 1 x 3", "nearest: 3 or 6"],
    ),
    "a batch that several workers can't share": (
        "seeds: [0, 1]",
        "engine: {workers: 3}",
        ["yaml:6: defaults.batch_sizes", "4", "3"],
    ),
    "warm-up longer than the budget": (
        "seeds: [0, 1]",
        "schedule: {name: constant, warmup: {steps: 60}}",
        ["yaml:7: defaults.schedule", "60"],
    ),
    "unknown metric": (
        "seeds: [0, 1]",
        "target: {metric: accuracy}",
        ["yaml:7: defaults.target", "(loss)", "accuracy"],
    ),
    "an exponent out of the world": (
        "at_batch_size: 16",
        "at_batch_size: 16, exponent: 5000",
        ["yaml:11: sweeps[0].learning_rates: every rate must be between", "at batch size 4 it is 0"],
    ),
    "an exponent out of all numbers": (
        "at_batch_size: 16",
        "at_batch_size: 16, exponent: -1.0e+308",
        ["yaml:11: sweeps[0].learning_rates: every rate must be between", "at batch size 4 it is inf"],
    ),
    "a factor that grows out of the world": (
        "at_batch_size: 16}",
        "at_batch_size: 16, factor: 1e20}\n    extend: {max_steps_per_side: 50}",
        ["yaml:11: sweeps[0].learning_rates: every rate must be between", "50 rates beyond the grid"],
    ),
    "a subnormal rate": (
        "{center: 0.05, at_batch_size: 16}",
        "[1e-310]",
        ["yaml:11: sweeps[0].learning_rates: every rate must be between", "it is 1e-310"],
    ),
    "unknown engine setting": (
        "seeds: [0, 1]",
        "engine: {zero: 1}",
        ["yaml:7: defaults.engine: engine.zero is not a setting; allowed: dtype, gradient_clipping, micro_batch_size"],
    ),
    "heads that do not divide": (
        "workload: quadratic",
        "workload: bert-mlm\n  workload_settings: {heads: 3}",
        ["yaml:4: defaults.workload_settings: hidden_size must be a multiple of 6", "nearest: 60 or 66"],
    ),
    "more neighbours than labels": (
        "workload: quadratic",
        "workload: simsiam\n  workload_settings: {neighbours: 101}",
        ["yaml:4: defaults.workload_settings: neighbours must be at most the 100 labelled images"],
    ),
    "one example for a coupled loss": (
        "workload: quadratic",
        "workload: simsiam\n  engine: {micro_batch_size: 1}\n  target: {value: 0.95}",
        ["yaml:4: defaults.engine: a forward pass needs at least 2 examples", "gives 1"],
    ),
    "no target to reach": ("seeds: [0, 1]", "target: null", ["yaml:5: defaults.outcome", "target.value"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_study_is_one_line_with_place_value_and_rule(case: str, study: Study) -> None:
    old, new, expected = WRONG[case]
    assert old in GOOD
    path = study.write_text(GOOD.replace(old, new, 1))

    with pytest.raises(ConfigError) as caught:
        load_study(path)

    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    for part in expected:
        assert part in message


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_an_impossible_cell_is_placed_where_the_user_wrote_it(case: str, study: Study) -> None:
    old, new, expected = IMPOSSIBLE[case]
    assert old in GOOD
    loaded = load_study(study.write_text(GOOD.replace(old, new, 1)))

    with pytest.raises(ConfigError) as caught:
        resolve(loaded)

    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_numbers_are_read_as_people_write_them(study: Study) -> None:
    path = study.write_text(GOOD.replace("{center: 0.05, at_batch_size: 16}", "[1e-3, 2E-3, 1.5e+1]"))
    assert load_study(path).config.sweeps[0].learning_rates == [0.001, 0.002, 15.0]


def test_a_sweep_replaces_a_default_as_a_whole(study: Study) -> None:
    path = study.write_text(GOOD + "    budget: {examples: 100}\n")
    assert load_study(path).config.sweeps[0].budget.at(4) == {"examples": 100, "steps": None}


def test_a_budget_may_differ_from_batch_to_batch(study: Study) -> None:
    path = study.write_text(GOOD.replace("{steps: 50}", "{steps: {4: 90, 16: 30}, examples: 400}"))
    budget = load_study(path).config.sweeps[0].budget
    assert budget.at(4) == {"examples": 400, "steps": 90}
    assert budget.at(16) == {"examples": 400, "steps": 30}


def test_a_resolved_study_reads_back_and_resolves_to_itself(study: Study) -> None:
    first = resolve(load_study(study.write_text(GOOD)))
    again = load_study(study.write_text(resolved_yaml(first.config)))
    assert again.config == first.config
    assert resolve(again).config == first.config
    assert first.config.sweeps[0].workload_settings["dimensions"] == 200
    assert first.config.sweeps[0].optimizer_settings == {"weight_decay": 0.0}
    assert first.arithmetic["sgd", 16].steps == 50


@pytest.mark.parametrize("name", presets())
def test_every_preset_resolves(name: str) -> None:
    assert resolve(load_study(find_study(name))).config.name == name


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="quadratik: no such file, and no preset; did you mean quadratic"):
        find_study("quadratik")


def test_a_file_that_is_no_text(study: Study) -> None:
    path = study.folder / "study.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(ConfigError, match="UTF-8 text file, but byte 6"):
        load_study(path)


def test_a_study_that_is_not_there(study: Study) -> None:
    with pytest.raises(ConfigError, match="can't be read: No such file or directory"):
        load_study(study.folder / "gone.yaml")
