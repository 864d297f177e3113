"""Tables that users bring: what Excel and other programs write is read right, or refused before any work is done."""

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, Table
from astropy.time import Time

import data_fetch
from data_fetch.folder import FetchError
from data_fetch.tables import read_table

TABLES = {
    "excel.csv": "\ufefffile,class\na.png,ring\nb.png,other\n",
    "german.csv": "file;class\na.png;ring\nb.png;other\n",
    "tabs.tsv": "file\tclass\na.png\tring\nb.png\tother\n",
    "commas.txt": "file,class\na.png,ring\nb.png,other\n",
    "spaces.txt": "file   class\na.png  ring\nb.png  other\n",
    "LOUD.CSV": "file,class\r\na.png,ring\r\nb.png,other\r\n",
    "blank_lines.csv": "\nfile,class\n\na.png,ring\nb.png,other\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_text_of_every_program_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(TABLES[name].encode())
    table = read_table(tmp_path / name)
    assert table.colnames == ["file", "class"]
    assert list(table["file"]) == ["a.png", "b.png"] and list(table["class"]) == ["ring", "other"]


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_the_index_that_pandas_writes_without_a_name_is_a_column(tmp_path, separator):
    pd.DataFrame({"file": ["a.png", "b.png"]}, index=[7, 8]).to_csv(tmp_path / "t.tsv", sep=separator)
    table = read_table(tmp_path / "t.tsv")
    assert table.colnames == ["col0", "file"]
    assert list(table["col0"]) == [7, 8] and list(table["file"]) == ["a.png", "b.png"]


@pytest.mark.parametrize("name, format", [("T.FITS", "fits"), ("T.VOT", "votable"), ("T.Parquet", "parquet")])
def test_upper_case_is_no_obstacle(tmp_path, name, format):
    Table({"file": ["a.png", "b.png"], "n": [1, 2]}).write(tmp_path / name, format=format)
    table = read_table(tmp_path / name)
    assert list(table["file"].astype(str)) == ["a.png", "b.png"] and list(table["n"]) == [1, 2]


@pytest.mark.parametrize(
    "name, content",
    [("a.xlsx", b"PK\x03\x04 a book"), ("a.csv", b"a,b\n1,2,3\n"), ("a.csv", b"\xff\xfe\x00")],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FetchError, match=r"\(CSV, ECSV, FITS, VOTable, Parquet|as CSV UTF-8") as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


NAMES = {"file": ["a.png", "b.png"], "ra": [1.0, 2], "dec": [1.0, 2]}
ODD = {
    ("Time", "t.ecsv"): lambda: Time([50000.0, 50001.0], format="mjd"),
    ("SkyCoord", "t.ecsv"): lambda: SkyCoord([1, 2], [3, 4], unit="deg"),
    ("dict", "t.ecsv"): lambda: Column([{"a": 1}, {"b": 2}], dtype=object),
    ("complex128", "t.fits"): lambda: [1 + 2j, 3j],
    ("Time", "t.parquet"): lambda: pd.to_datetime(["2020-01-01", None]),
    ("TimeDelta", "t.parquet"): lambda: pd.to_timedelta([1, 2], unit="s"),
    ("ndarray", "t.parquet"): lambda: [[1], [2]],
}


@pytest.mark.parametrize("kind, name", ODD)
def test_columns_that_no_catalogue_can_hold_are_named_before_anything_is_done(tmp_path, kind, name):
    columns = {**NAMES, "odd": ODD[kind, name]()}
    if name == "t.parquet":
        pd.DataFrame(columns).to_parquet(tmp_path / name)
    else:
        Table(columns).write(tmp_path / name)
    with pytest.raises(FetchError, match=f"column odd holds {kind}"):
        data_fetch.read_positions(tmp_path / name)
    with pytest.raises(FetchError, match=f"column odd holds {kind}"):
        data_fetch.own_images(tmp_path, tmp_path / name, out=tmp_path / "set")


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"class": np.ones((2, 3))}, r"column class holds arrays of shape \(3,\): give each row one class"),
        ({"label": np.full((2, 3), "a")}, r"column label holds arrays of shape \(3,\): give each row one class"),
        ({"q.mask": [1, 2], "q": MaskedColumn([1, 2], mask=[True, False])}, "column q and a column q.mask: rename"),
    ],
)
def test_columns_that_no_set_can_be_finished_with_are_named_before_anything_is_done(tmp_path, columns, words):
    Table({**NAMES, **columns}).write(tmp_path / "t.fits")
    with pytest.raises(FetchError, match=words):
        data_fetch.read_positions(tmp_path / "t.fits")
    with pytest.raises(FetchError, match=words):
        data_fetch.own_images(tmp_path, tmp_path / "t.fits", out=tmp_path / "set")


def test_parquet_of_pandas_keeps_what_is_unknown_and_every_digit(tmp_path):
    frame = pd.DataFrame({"file": ["a.png", None, "c.png"], "class": pd.Categorical(["x", "y", None])})
    frame["objid"] = pd.array([2**63 - 1, None, 3], "Int64")
    frame["mag"] = [1.5, np.nan, 2]
    frame.to_parquet(tmp_path / "t.parquet")
    frame.set_index("file").to_parquet(tmp_path / "named.parquet")
    for name in ("t.parquet", "named.parquet"):
        table = read_table(tmp_path / name)
        assert table["file"].tolist() == ["a.png", None, "c.png"] and table["class"].tolist() == ["x", "y", None]
        assert table["objid"].tolist() == [2**63 - 1, None, 3] and table["mag"].tolist() == [1.5, None, 2]


def test_parquet_of_astropy_keeps_units_and_masks(tmp_path):
    table = Table({"ra": MaskedColumn([1, 2], mask=[True, False], unit="hourangle")})
    table.write(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.colnames == ["ra"] and str(read["ra"].unit) == "hourangle" and read["ra"].tolist() == [None, 2]


def test_text_in_another_encoding_is_refused_with_advice(tmp_path):
    (tmp_path / "t.csv").write_bytes("file,class\na.png,étoile\n".encode("cp1252"))
    with pytest.raises(FetchError, match="cannot be read as text .*: save it as CSV UTF-8"):
        read_table(tmp_path / "t.csv")


COMMENTED = {
    "savetxt.txt": "# ra dec\n1.0 2.0\n3.0 4.0\n",
    "savetxt.csv": "# ra,dec\n1.0,2.0\n3.0,4.0\n",
    "topcat.txt": "#      ra   dec\n      1.0   2.0\n      3.0   4.0\n",
    "glued.dat": "#ra dec\n1.0 2.0\n3.0 4.0",
    "units.dat": "# ra dec\n# deg deg\n1.0 2.0\n3.0 4.0\n",
    "prose.txt": "# where, when; ra dec of mine\n#\n\nra dec\n1.0 2.0\n3.0 4.0\n",
    "prose.csv": "# made by hand, on Monday\nra,dec\n1.0,2.0\n3.0,4.0\n",
    "both.csv": "# mine\n# RA;DEC\n1.0;2.0\n3.0;4.0\n",
}


@pytest.mark.parametrize("name", COMMENTED)
def test_comments_are_no_rows_and_may_be_the_header(tmp_path, name):
    (tmp_path / name).write_text(COMMENTED[name])
    table = read_table(tmp_path / name)
    assert [column.lower() for column in table.colnames] == ["ra", "dec"]
    assert [tuple(row) for row in table] == [(1, 2), (3, 4)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", " "])
def test_column_that_is_called_number_sign_is_one(tmp_path, delimiter):
    (tmp_path / "t.txt").write_text("# ra dec\n1 10 2\n2 20 4\n".replace(" ", delimiter))
    table = read_table(tmp_path / "t.txt")
    assert table.colnames == ["#", "ra", "dec"] and table["ra"].tolist() == [10, 20]


def test_quoted_text_beneath_a_commented_header(tmp_path):
    (tmp_path / "t.txt").write_text('# file class\na.png "a ring"\nb.png other\n')
    table = read_table(tmp_path / "t.txt")
    assert table.colnames == ["file", "class"] and table["class"].tolist() == ["a ring", "other"]


def test_text_that_is_unknown_here_and_there_is_masked_text(tmp_path):
    Table({"name": Column(["NGC 1", None], dtype=object)}).write(tmp_path / "t.ecsv")
    name = read_table(tmp_path / "t.ecsv")["name"]
    assert name.dtype.kind == "U" and name[0] == "NGC 1" and list(name.mask) == [False, True]


@pytest.mark.parametrize("text", ["10:20:30.5", "10h20m30s"])
def test_hours_and_minutes_are_refused_with_advice(tmp_path, text):
    (tmp_path / "t.csv").write_text(f"file,ra,dec\na.png,{text},-1\n")
    for refused in (
        lambda: data_fetch.read_positions(tmp_path / "t.csv"),
        lambda: data_fetch.own_images(tmp_path, tmp_path / "t.csv", out=tmp_path / "set"),
    ):
        with pytest.raises(
            FetchError, match=f"column ra holds no angles, but text such as '{text}' in row 1: give degrees"
        ):
            refused()


def test_row_without_an_id_is_refused_in_a_table_with_ids(tmp_path):
    (tmp_path / "labels.csv").write_text("file,objid\na.png,7\nb.png,\n")
    with pytest.raises(FetchError, match="no objid in 1 rows, the first is row 2 of 2: fill it in, or leave out"):
        data_fetch.own_images(tmp_path, tmp_path / "labels.csv", out=tmp_path / "set")
