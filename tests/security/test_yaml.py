"""YAML gives plain values or one line, whatever stands in it: from a study, a folder of results, a tracker's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.errors import TableError
from analysis.plain_yaml import MOST_VALUES, count_values, read_plain_yaml
from analysis.sources import read_source
from study.errors import ConfigError
from study.source import read_yaml

READERS = [read_yaml, read_plain_yaml]


def bomb(levels: int, width: int = 10, leaf: str = "x") -> str:
    """Return a few lines that stand for more than width**levels values."""
    lines = [f"l0: &l0 [{', '.join([leaf] * width)}]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * width)}]" for n in range(1, levels)]
    return "name: bomb\n" + "\n".join(lines) + "\n"


@pytest.fixture(params=READERS, ids=lambda reader: reader.__name__)
def refused(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    def read(text: str) -> str:
        path = tmp_path / "study.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises((ConfigError, TableError)) as caught:
            request.param(path)
        message = str(caught.value)
        assert message.startswith(f"{path}")
        assert "\n" not in message
        return message

    return read


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [{witness}]",
        "!!python/object/new:os.mkdir [{witness}]",
        "!!python/object/apply:subprocess.check_call [[mkdir, {witness}]]",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "!!python/tuple [1]",
        "!mine 1",
    ],
)
def test_a_tag_that_names_code_is_refused_and_nothing_runs(
    value: str, refused: Callable[[str], str], tmp_path: Path
) -> None:
    witness = tmp_path / "executed"
    refused(f"name: {value.format(witness=witness)}\n")
    assert not witness.exists()


def test_the_tags_are_armed(tmp_path: Path) -> None:
    yaml.unsafe_load(f"name: !!python/object/apply:os.mkdir [{tmp_path / 'executed'}]")
    assert (tmp_path / "executed").is_dir()


def test_a_few_lines_that_stand_for_a_million_values_are_refused(refused: Callable[[str], str]) -> None:
    # 10 leaves, their list, ten of these and their list, ...: 1 + 10 (1 + 10 (1 + ...)), of each level, and the keys.
    assert "1,234,57" in refused(bomb(6))


def test_few_values_that_stand_for_much_text_are_refused(refused: Callable[[str], str]) -> None:
    refused(bomb(3, leaf="x").replace("[x,", f"[{'x' * 200_000},"))


def test_aliases_merged_into_mappings_count_too(refused: Callable[[str], str]) -> None:
    lines = ["l0: &l0 {a: 1, b: 2}"]
    lines += [f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}" for n in range(1, 6)]
    refused("name: bomb\n" + "\n".join(lines) + "\n")


def test_an_honest_alias_is_read(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: honest\na: &a [1, 2]\nb: *a\nc: {<<: {d: 3}}\n")
    expected = {"name": "honest", "a": [1, 2], "b": [1, 2], "c": {"d": 3}}
    assert read_plain_yaml(path) == read_yaml(path).values == expected


@pytest.mark.parametrize(
    "text",
    [
        "name: &a [*a]\n",  # contains itself
        "name: " + "[" * 5_000 + "]" * 5_000 + "\n",
        "name: !!int word\n",
        "name: " + "9" * 5_000 + "\n",  # more digits than Python turns into a number
        "name: !!binary é\n",
        "name: [\n",
        "- {a: 1\n",
        "name: 1\n---\nname: 2\n",
        "name: \x07\n",
    ],
    ids=range(9),
)
def test_what_can_not_be_read_is_one_line(text: str, refused: Callable[[str], str]) -> None:
    refused(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("a", 1), ("a: 1", 3), ("[a, b]", 3), ("x: &x [a, b]\ny: *x", 9), ("{x: &x [a, b], y: [*x, *x]}", 13)],
)
def test_values_are_counted_as_if_written_out(text: str, count: int) -> None:
    node = yaml.SafeLoader(text).get_single_node()
    assert count_values(node) == count == written_out(yaml.safe_load(text))
    assert MOST_VALUES > 10_000


def written_out(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(written_out(part) for pair in value.items() for part in pair)
    return 1 + sum(map(written_out, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize("kind", ["results", "mlflow"])
def test_a_bomb_beside_runs_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    if kind == "results":
        from results import ResultStore

        from ..analysis.synthetic_study import make_trials

        trials, _ = make_trials(batch_sizes=(8,), rates=(0.01,), seeds=(0,))
        ResultStore(tmp_path).append({str(k): v for k, v in trials.iloc[0].to_dict().items()})
        file = tmp_path / "study.yaml"
    else:
        (tmp_path / "0" / ("a" * 32)).mkdir(parents=True)
        file = tmp_path / "0" / "meta.yaml"
        (tmp_path / "0" / ("a" * 32) / "meta.yaml").write_text(bomb(6))
    file.write_text("experiment_id: 0\n" + bomb(6))
    with pytest.raises(TableError, match=r"at most 100,000 values") as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value)
