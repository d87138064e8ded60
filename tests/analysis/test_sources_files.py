import json

import pandas as pd
import pytest

from analysis.errors import TableError
from analysis.sources import SOURCES, read_source
from results import ResultStore

from .synthetic_study import make_trials

ROWS = [["8", "0.1", "1.5"], ["16", "0.2", "1.25"]]


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return str(path)


@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_in_every_usual_form(tmp_path, delimiter, encoding, end):
    lines = [delimiter.join(row) for row in [["größe", "lr", "loss"], *ROWS]]
    table = read_source(write(tmp_path / "x.csv", end.join(lines) + end, encoding))
    assert table.names == ["größe", "lr", "loss"]
    assert table.runs[table.names].to_numpy().tolist() == ROWS
    assert "2 rows" in table.origin


def test_cells_stay_text_and_rows_have_the_editor_s_numbers(tmp_path):
    table = read_source(write(tmp_path / "x.csv", 'a,b\n\n007,"1,5"\n , \nNA,nan\n'))
    assert table.runs[["a", "b"]].to_numpy().tolist() == [["007", "1,5"], ["NA", "nan"]]
    assert [table.where(i) for i in range(2)] == ["row 3", "row 5"]


def test_a_nameless_column_is_numbered(tmp_path):
    assert read_source(write(tmp_path / "x.csv", ",lr\n0,1\n")).names == ["column 1", "lr"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("\n \n", "empty"),
        ("a,b\n", "has none"),
        ("a,b\n1,2\n3\n", "row 3 of x.csv has 1 where the header has 2"),
        ("a,b\n1,2,3\n", "row 2 of x.csv has 3"),
        ("a,a\n1,2\n", "'a' twice"),
        ('a,b\n1,"2\n', "row 2"),
        ("a,b\n1,\0\n", "NUL"),
    ],
)
def test_text_that_is_no_table(tmp_path, text, words):
    with pytest.raises(TableError, match=words) as error:
        read_source(write(tmp_path / "x.csv", text))
    assert "x.csv" in str(error.value)


def test_bytes_that_are_no_text(tmp_path):
    with pytest.raises(TableError, match="0xf6 at byte 2; save it as UTF-8"):
        read_source(write(tmp_path / "x.csv", "grö,lr\n1,2\n", "latin-1"))


def test_a_great_file_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.sources.text_file._ROWS_AT_ONCE", 3)
    table = read_source(write(tmp_path / "x.csv", "a,b\n" + "".join(f"{k},{k * k}\n" for k in range(10))))
    assert table.runs["b"].tolist() == [str(k * k) for k in range(10)]


@pytest.mark.parametrize("write_as", [json.dumps, repr])
def test_stringified_dictionaries_of_an_export_are_spread(tmp_path, write_as):
    path = tmp_path / "x.csv"
    config = [{"lr": 0.1, "optim": {"name": "adam"}, "bs": {"value": 8, "desc": None}}, {"lr": 0.2, "bs": 16}]
    summary = [{"val_loss": 1.5, "_step": 100}, {"val_loss": float("nan"), "_step": 100}]
    frame = pd.DataFrame({"name": ["a", "b"]})
    frame["config"], frame["summary"] = [write_as(c) for c in config], [write_as(s) for s in summary]
    frame.to_csv(path)
    runs = read_source(str(path)).runs
    assert runs["config.lr"].tolist() == ["0.1", "0.2"]
    assert runs["config.bs"].tolist() == ["8", "16"]
    assert runs["config.optim.name"].tolist() == ["adam", ""]
    assert runs["summary.val_loss"].tolist() == ["1.5", ""]
    assert "config" not in runs


def test_code_in_a_cell_is_never_run(tmp_path):
    target = tmp_path / "run"
    cell = f"{{'a': open({str(target)!r}, 'w')}}"
    path = tmp_path / "x.csv"
    pd.DataFrame({"config": [cell], "b": [1]}).to_csv(path, index=False)
    assert read_source(str(path)).runs["config"].tolist() == [cell]
    assert not target.exists()


def test_parquet(tmp_path):
    frame = pd.DataFrame({"bs": [8, 16], "lr": [0.1, 0.2], "loss": [1.5, None]})
    frame.to_parquet(tmp_path / "x.parquet")
    table = read_source(tmp_path / "x.parquet")
    assert table.runs["lr"].tolist() == [0.1, 0.2]
    assert table.where(1) == "row 2"
    frame.set_index("bs").to_parquet(tmp_path / "y.parquet")
    assert read_source(tmp_path / "y.parquet").names == ["bs", "lr", "loss"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"a,b\n1,2\n", bytes(range(256)) * 10])
def test_parquet_that_is_none(tmp_path, data):
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(TableError, match=r"x\.parquet"):
        read_source(tmp_path / "x.parquet")


def store(folder, **settings):
    trials, curves = make_trials(batch_sizes=(8, 16), rates=(0.001, 0.002), seeds=(0,), **settings)
    for row in trials.to_dict("records"):
        own = curves[curves["trial_id"] == row["trial_id"]]
        ResultStore(folder).append(row, own.drop(columns="trial_id").to_dict("records"))
    return trials, curves


def test_a_study_s_folder(tmp_path):
    trials, curves = store(tmp_path / "one")
    table = read_source(tmp_path / "one")
    assert table.runs["run"].tolist() == trials["trial_id"].tolist()
    assert table.outcomes == {"bert-mlm adamw": "steps_to_target"}
    assert len(table.curves) == len(curves)
    (tmp_path / "one" / "study.yaml").write_text("sweeps:\n- {name: bert-mlm adamw, outcome: value_at_budget}\n")
    assert read_source(tmp_path / "one").outcomes == {"bert-mlm adamw": "value_at_budget"}


def test_a_folder_of_studies(tmp_path):
    store(tmp_path / "one")
    store(tmp_path / "two", sweep="other")
    table = read_source(tmp_path)
    assert set(table.outcomes) == {"one/bert-mlm adamw", "two/other"}
    assert set(table.runs["sweep"]) == set(table.outcomes)


def test_a_study_without_trials(tmp_path):
    (tmp_path / "study.yaml").write_text("sweeps: []\n")
    with pytest.raises(TableError, match="no trial"):
        read_source(tmp_path)


@pytest.mark.parametrize("name", ["nothing.csv", "nothing", "a\0b"])
def test_places_that_are_not_there(tmp_path, name):
    with pytest.raises((TableError, OSError)):
        read_source(f"{tmp_path}/{name}")


def test_places_that_hold_no_runs(tmp_path):
    write(tmp_path / "x.docx", "hello")
    for place in (tmp_path, tmp_path / "x.docx"):
        with pytest.raises(TableError, match=r"a table is .*\.csv.*Ray Tune") as error:
            read_source(place)
        assert "\n" not in str(error.value)


def test_study_names_a_study_only_where_there_are_some(tmp_path):
    with pytest.raises(TableError, match="--study"):
        read_source(write(tmp_path / "x.csv", "a,b\n1,2\n"), study="s")


def test_sources_have_their_own_names():
    assert [name for name, source in SOURCES.items() if source.name != name] == []
