"""What comes from data is shown on the terminal letter by letter: no markup of rich, nothing that steers a terminal."""

from __future__ import annotations

import ast
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from results import ResultStore
from study import terminal
from study.cli import app

from ..analysis.synthetic_study import make_trials
from ..study.studies import Study

ROOT = Path(__file__).parents[2]

MARKUP = "[red]r[/red] [/] [link=file:///etc/passwd]l[/link] :smiley:"
STEERING = {
    "clear": "\x1b[2J",
    "title": "\x1b]0;owned\x07",
    "eight-bit": "\x9b31m",
    "back": "over\rwritten\x08",
    "turned": "\u202egnp.exe",
    "line": "\nbatchlaw: all is well",
    "separator": "\u2028",
    "half": "\ud800",
}


def batchlaw(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_steers_nothing(shown: str) -> None:
    odd = {letter for letter in shown if not letter.isprintable()} - set(
        "\n\N{NARROW NO-BREAK SPACE}\N{NO-BREAK SPACE}"
    )
    assert not odd


def calls(tree: ast.AST, *names: str) -> list[ast.Call]:
    def name(node: ast.expr) -> str:
        return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")

    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and name(node.func) in names]


def test_everything_is_printed_through_one_file() -> None:
    wrong = []
    for path in sorted((ROOT / "study").glob("*.py")):
        if path.name == "terminal.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wrong += [f"{path.name}:{call.lineno}" for call in calls(tree, "echo", "secho", "print", "rprint", "Table")]
        for call in calls(tree, "add_row"):
            (cells,) = call.args
            if not (isinstance(cells, ast.Starred) and calls(cells.value, "text_row")):
                wrong.append(f"{path.name}:{call.lineno}")
    assert wrong == []


@pytest.mark.parametrize("steering", STEERING.values(), ids=STEERING)
def test_no_letter_steers_the_terminal(steering: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.line(f"a{steering}b")
    terminal.line(f"a{steering}b", err=True)
    terminal.say(f"a{steering}b")
    table = terminal.plain_table("head", title=f"a{steering}b")
    table.add_row(*terminal.text_row(f"a{steering}b"))
    terminal.print_table(table)
    shown = capsys.readouterr()
    assert_steers_nothing(shown.out)
    assert_steers_nothing(shown.err)
    assert (len(shown.out.splitlines()), len(shown.err.splitlines())) == (5, 1)
    assert "\N{REPLACEMENT CHARACTER}" in shown.out


def test_markup_is_shown_as_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.line(MARKUP)
    terminal.say(MARKUP)
    table = terminal.plain_table("head", title=MARKUP)
    table.add_row(*terminal.text_row(MARKUP))
    terminal.print_table(table)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [MARKUP, MARKUP, MARKUP, "head", MARKUP]


def test_on_a_real_terminal_nothing_is_highlighted() -> None:
    screen = io.StringIO()
    terminal.say("16 of 17: [b]x[/b]", console=Console(file=screen, force_terminal=True, width=80))
    assert screen.getvalue() == "16 of 17: [b]x[/b]\n"


def test_letters_of_other_scripts_and_spaces_between_digits_stay() -> None:
    text = "η* ≈ 12\u202f800 √B – 日本語 émoji 🙂 \u00a0"
    assert terminal.printable(text) == text


@pytest.mark.parametrize("steering", [*STEERING.values(), MARKUP])
def test_json_parses_to_an_equal_value(steering: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = {steering: [steering, 1.5, None, "η"]}
    terminal.print_json(value)
    shown = capsys.readouterr().out
    assert_steers_nothing(shown)
    assert json.loads(shown) == value
    assert "η" in shown


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Runs of two hostile groups."""
    path = tmp_path / "runs.csv"
    trials, _ = make_trials(batch_sizes=(8, 32, 128), seeds=(0,))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["batch_size", "lr", "loss", "model"])
        for name in (MARKUP, "".join(STEERING[key] for key in ("clear", "title", "eight-bit", "turned"))):
            for row in trials.itertuples():
                writer.writerow([row.batch_size, row.learning_rate, row.value, name])
    return path


def test_names_of_groups_are_text_in_every_command(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    columns = ("--batch-size", "batch_size", "--learning-rate", "lr", "--loss", "loss", "--group", "model")
    fitted = batchlaw("fit", table, *columns, "--resamples", 40, "--processes", 1, "--out", out)
    shown = [fitted, batchlaw("predict", out, "--batch-size", 64)]
    shown.append(batchlaw("predict", out, "--batch-size", 64, "--sweep", f"none{STEERING['clear']}"))
    for result in shown[:2]:
        assert result.exit_code == 0, result.output
        assert "[red]r[/red] [/]" in result.output
    assert shown[2].exit_code == 2
    for result in shown:
        assert_steers_nothing(result.stdout)
        assert_steers_nothing(result.stderr)
    answered = batchlaw("predict", out, "--batch-size", 64, "--json")
    assert_steers_nothing(answered.stdout)
    sweeps = [prediction["sweep"] for prediction in json.loads(answered.stdout)["predictions"]]
    assert any(STEERING["clear"] in sweep for sweep in sweeps)


def test_messages_and_file_names_of_a_folder_are_text(study: Study) -> None:
    """A folder that somebody else has filled: a failed trial's message, a foreign file, and a study that can't be."""
    from study.design import Design
    from study.loading import load_study
    from study.resolve import resolve

    hostile = MARKUP + STEERING["clear"] + STEERING["line"]
    path = study.write(batch_sizes=[2], learning_rates=[0.25], seeds=[0])
    resolved = resolve(load_study(path))
    (trial,) = Design(resolved.config).trials({})
    plain, _ = make_trials(batch_sizes=(8,), rates=(0.01,), seeds=(0,))
    row: dict[str, Any] = {str(key): value for key, value in plain.iloc[0].to_dict().items()}
    row |= {"trial_id": trial.trial_id, "sweep": trial.sweep, "status": "failed", "message": hostile, "batch_size": 2}
    out = study.folder / "out"
    store = ResultStore(out)
    store.append(row | {"learning_rate": trial.spec.learning_rate})
    (out / "parts" / f"{hostile.replace('/', '')}.json").write_text("{}")

    run = batchlaw("run", path, "--out", out, "--no-report")
    assert run.exit_code == 0, run.output
    assert "1 of 1 trials; the first: [red]r[/red] [/]" in run.stdout
    status = batchlaw("status", out)
    assert status.exit_code == 0, status.output
    assert "not read: " in status.stdout
    for result in (run, status):
        assert "not a part" in result.output
        assert_steers_nothing(result.stdout)
        assert_steers_nothing(result.stderr)
        assert "\nbatchlaw: all is well" not in result.output

    (out / "study.yaml").write_text(f"name: {json.dumps(hostile)}\nsweeps: []\n")
    refused = batchlaw("status", out)
    assert refused.exit_code == 2
    assert_steers_nothing(refused.stderr)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study(folder=tmp_path)
