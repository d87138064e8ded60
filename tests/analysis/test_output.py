import os

import pandas as pd
import pytest

from analysis.errors import TableError
from analysis.output import write_tables

OPTIMA = pd.DataFrame({"sweep": ["b", "a", "b"], "batch_size": [8, 8, 16], "status": ["x", "y", "z"]})


def test_group_columns_stand_in_place_of_the_sweep(tmp_path):
    groups = pd.DataFrame({"sweep": ["a", "b"], "N": [1e8, 2e8], "ö": ["adam", "sgd"]})
    (path,) = write_tables({"optima": OPTIMA}, tmp_path / "new" / "folder", groups=groups)
    assert path.name == "optima.csv"
    assert path.read_bytes().decode("utf-8") == (
        "N,ö,batch_size,status\n200000000.0,sgd,8,x\n100000000.0,adam,8,y\n200000000.0,sgd,16,z\n"
    )
    assert os.listdir(path.parent) == ["optima.csv"]


def test_an_undivided_table_has_no_group_column(tmp_path):
    groups = pd.DataFrame({"sweep": ["all"]})
    (path,) = write_tables({"optima": OPTIMA.assign(sweep="all")}, tmp_path, groups=groups)
    assert list(pd.read_csv(path)) == ["batch_size", "status"]


def test_sweeps_with_names_of_their_own_keep_them(tmp_path):
    (path,) = write_tables({"optima": OPTIMA}, tmp_path, groups=pd.DataFrame({"sweep": ["a", "b"]}))
    assert pd.read_csv(path)["sweep"].tolist() == ["b", "a", "b"]


@pytest.mark.parametrize("name", ["status", "batch_size"])
def test_a_group_with_the_name_of_a_result_is_refused_and_nothing_is_written(tmp_path, name):
    groups = pd.DataFrame({"sweep": ["a", "b"], name: ["1", "2"]})
    with pytest.raises(TableError, match=f"'{name}' too; rename"):
        write_tables({"other": OPTIMA[["sweep"]], "optima": OPTIMA}, tmp_path / "x", groups=groups)
    assert not (tmp_path / "x").exists()


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    groups = pd.DataFrame({"sweep": ["a", "b"]})
    write_tables({"optima": OPTIMA}, tmp_path, groups=groups)
    before = (tmp_path / "optima.csv").read_bytes()

    def torn(file, **settings):
        file.write("half")
        raise OSError("no space")

    broken = OPTIMA.copy()
    monkeypatch.setattr(pd.DataFrame, "to_csv", lambda self, file, **settings: torn(file))
    with pytest.raises(OSError, match="no space"):
        write_tables({"optima": broken}, tmp_path, groups=groups)
    assert (tmp_path / "optima.csv").read_bytes() == before
    assert os.listdir(tmp_path) == ["optima.csv"]
