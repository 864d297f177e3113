"""Tables and pictures that users bring: what Excel, cameras and other programs write is read right, or refused."""

import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table
from astropy.time import Time
from filelock import FileLock
from PIL import Image

import data_fetch
from astro_ssl_nb import CutoutSet
from astro_ssl_nb.image_files import read_image
from data_fetch import dataset_card, user_images
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


def test_vector_that_is_no_class_is_kept(pictures, tmp_path):
    Table({"file": ["0.png", "1.png"], "flux": np.ones((2, 3))}).write(tmp_path / "t.fits")
    cutouts = data_fetch.own_images(pictures[0], tmp_path / "t.fits", out=tmp_path / "set")
    assert cutouts.catalogue["flux"].shape == (2, 3)


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


@pytest.fixture
def pictures(tmp_path):
    """Four pictures, a file that is none, and a table that names them and one more."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (40, 40), (60 * number, 0, 0)).save(folder / f"{number}.png")
    (folder / "4.png").write_bytes(b"no picture")
    (tmp_path / "labels.csv").write_text("file,label\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(6)))
    return folder, tmp_path / "labels.csv"


@pytest.mark.parametrize(
    "options, words",
    [
        (("--crop", 0), "crop=0.0"),
        (("--crop", 1.5), "crop=1.5"),
        (("--crop", "nan"), "crop=nan"),
        (("--size", 0), "size=0"),
        (("--size", -3), "size=-3"),
        (("--pixel-scale", 0), "pixel_scale=0.0"),
        (("--pixel-scale", -0.4), "pixel_scale=-0.4"),
        (("--pixel-scale", "nan"), "pixel_scale=nan"),
        (("--pixel-scale", "inf"), "pixel_scale=inf"),
    ],
)
def test_sizes_that_make_no_picture_are_refused(pictures, command, tmp_path, options, words):
    done = command("images", *pictures, "--out", tmp_path / "set", *options)
    assert done.returncode == 2 and f"error: {words}" in done.err and len(done.err.splitlines()) == 1, done.err


def test_table_without_rows_is_refused(pictures, command, tmp_path):
    pictures[1].write_text("file,class\n")
    done = command("images", *pictures, "--out", tmp_path / "set")
    assert done.returncode == 2 and "has no rows" in done.err


def test_files_that_are_left_out_are_counted_and_named(pictures, command, tmp_path):
    done = command("images", *pictures, "--out", tmp_path / "set", "--pixel-scale", 0.5)
    assert "warning: 2 of 6 files are left out (4.png, 5.png): see" in done.out, done.err
    assert CutoutSet.open(tmp_path / "set").pixel_scale == 0.5
    for i in range(5, 20):
        (pictures[0] / f"{i}.png").write_bytes(b"no picture")
    pictures[1].write_text("file\n" + "".join(f"{i}.png\n" for i in range(20)))
    done = command("images", *pictures, "--out", tmp_path / "other")
    assert "16 of 20 files are left out (4.png, 5.png, 6.png, 7.png, 8.png and 11 more)" in done.out


def test_card_that_a_kill_prevented_is_written_by_the_next_call(pictures, command, tmp_path):
    assert command("images", *pictures, "--out", tmp_path / "set").returncode == 0
    (tmp_path / "set" / "README.md").unlink()
    assert command("images", *pictures, "--out", tmp_path / "set").returncode == 0
    assert (tmp_path / "set" / "README.md").exists()


def test_card_that_cannot_be_drawn_costs_no_set(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(dataset_card.DRAWINGS, "sky", lambda *_: [][0])
    for _ in range(2):
        assert len(data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)) == 4
        assert "warning: no card was written: list index out of range (IndexError)" in capsys.readouterr().out
    (tmp_path / "set" / "README.md").write_text("mine")
    monkeypatch.undo()
    assert len(data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)) == 4
    assert (tmp_path / "set" / "README.md").read_text() == "mine"


def test_what_a_killed_run_left_is_removed_by_the_next_and_a_live_one_is_left_alone(pictures, tmp_path):
    code = "import os, data_fetch.user_images as u; u.write_card = lambda *_: os._exit(9); u.own_images(*{}, out={!r})"
    killed = code.format([str(path) for path in pictures], str(tmp_path / "set"))
    assert subprocess.run([sys.executable, "-c", killed]).returncode == 9
    (left,) = tmp_path.glob(".*")
    assert (left / "part" / "images.npy").exists()
    with FileLock(left / "lock"), pytest.raises(FetchError, match="set is being made by another process"):
        data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)
    assert (left / "part" / "images.npy").exists()
    data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)
    assert not list(tmp_path.glob(".*"))
    left.mkdir()  # killed after the set was there
    data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)
    assert not left.exists()


@pytest.mark.parametrize("size, words", [(16, None), (24, "made of other pictures: choose another folder")])
def test_set_that_another_process_made_meanwhile_is_opened_or_named(pictures, tmp_path, monkeypatch, size, words):
    read_image = user_images.read_image

    def read_meanwhile(*args):
        monkeypatch.setattr(user_images, "read_image", read_image)
        data_fetch.own_images(*pictures, out=tmp_path / "set", size=size)
        return read_image(*args)

    monkeypatch.setattr(user_images, "read_image", read_meanwhile)
    if words:
        with pytest.raises(FetchError, match=words):
            data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)
    else:
        assert len(data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)) == 4
    assert CutoutSet.open(tmp_path / "set").shape == (4, 3, size, size) and not list(tmp_path.glob(".*"))


@pytest.mark.timeout(60)
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_and_folder_are_files_that_cannot_be_read(pictures, tmp_path):
    for number, make in ((4, os.mkfifo), (5, os.mkdir)):
        (pictures[0] / f"{number}.png").unlink(missing_ok=True)
        make(pictures[0] / f"{number}.png")
    for _ in range(2):
        assert len(data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)) == 4
    reasons = Table.read(tmp_path / "set" / "missing.ecsv")["reason"]
    assert [reason.endswith("it is no plain file") for reason in reasons] == [True, True], reasons


def test_link_to_itself_is_named(pictures, tmp_path):
    (pictures[0] / "5.png").symlink_to("5.png")
    pictures[1].write_text("file\n5.png\n")
    with pytest.raises(FetchError, match=r"5.png .*([Ss]ymlink loop|levels of symbolic links)"):
        data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)


def test_animation_and_deep_colours_are_left_out_beside_ink_that_is_read_right(pictures, tmp_path):
    folder, labels = pictures
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(folder / "ink.jpg")
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "deep.png").write_bytes(deep_png(2))
    labels.write_text("file\n3.png\nink.jpg\nmoving.gif\ndeep.png\n")
    cutouts = data_fetch.own_images(folder, labels, out=tmp_path / "set", size=16)
    assert cutouts.catalogue["file"].tolist() == ["3.png", "ink.jpg"]
    assert cutouts.images[1].mean(axis=(1, 2)) == pytest.approx([255, 0, 0], abs=4)
    animation, deep = Table.read(tmp_path / "set" / "missing.ecsv")["reason"]
    assert "it holds 2 pictures: save each as a file" in animation and "it has colours of 16 bits" in deep


def test_deep_grey_is_flux_and_never_mixed_with_colours(pictures, tmp_path):
    folder, labels = pictures
    Image.fromarray(np.full((16, 16), 60_000, np.uint16)).save(folder / "grey.png")
    labels.write_text("file\ngrey.png\n0.png\n")
    with pytest.raises(FetchError, match=r"1 of float32 in \S+grey.png, 3 of uint8 in \S+0.png.: make one set of each"):
        data_fetch.own_images(folder, labels, out=tmp_path / "set", size=16)
    labels.write_text("file\ngrey.png\n")
    assert (data_fetch.own_images(folder, labels, out=tmp_path / "set", size=16).images == 60_000).all()


def test_a_folder_of_the_user_beside_the_set_stays(pictures, command, tmp_path):
    (tmp_path / "mine.part").mkdir()
    (tmp_path / "mine.part" / "precious").write_text("mine")
    assert command("images", *pictures, "--out", tmp_path / "mine").returncode == 0
    assert (tmp_path / "mine.part" / "precious").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv", "mine", "mine.part", "pictures"]
    assert command("images", *pictures, "--out", tmp_path / "new" / "mine").returncode == 0  # in a folder to be made


def test_empty_folder_is_filled_with_sizes_of_numpy(pictures, tmp_path):
    (tmp_path / "set").mkdir()
    cutouts = data_fetch.own_images(*pictures, out=tmp_path / "set", size=np.int64(16), crop=np.float32(0.5))
    assert cutouts.shape == (4, 3, 16, 16)


def test_two_pictures_of_one_object_are_no_fault(pictures, tmp_path):
    pictures[1].write_text("file,objid\n0.png,7\n1.png,7\n")
    data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)
    assert data_fetch.verify(tmp_path / "set") == []


@pytest.mark.parametrize("format", ["fits", "hdf5", "datasets"])
def test_own_set_with_labels_can_be_handed_on(pictures, tmp_path, format):
    data_fetch.own_images(*pictures, out=tmp_path / "set", size=16)
    path = data_fetch.export(tmp_path / "set", tmp_path / "out", format)
    if format == "datasets":
        datasets = pytest.importorskip("datasets")
        read = datasets.load_from_disk(str(path))
        assert read.features["label"].names == ["a", "b"] and read["label"][:] == [0, 1, 0, 1]
    assert "| a | 2 |" in (tmp_path / "set" / "README.md").read_text()


def test_fits_is_known_by_its_content_and_never_turned_upside_down(tmp_path):
    image = np.arange(64, dtype="float32").reshape(8, 8)
    file = io.BytesIO()
    fits.PrimaryHDU(image).writeto(file)
    for name in ("a.fits", "a.fts", "a.jpg", "a"):
        (tmp_path / name).write_bytes(file.getvalue())
    fits.writeto(tmp_path / "a.fts.gz", image)
    fits.writeto(tmp_path / "a.bz2", image)
    for path in tmp_path.iterdir():
        cutouts = CutoutSet.from_image_files([path], Table({"objid": [1]}), size=8)
        np.testing.assert_allclose(cutouts.images[0, 0], image, rtol=1e-5, err_msg=path.name)


@pytest.mark.parametrize("name", ["deep.png", "deep.tif", "alpha.png"])
def test_deep_colours_are_refused_and_not_cut_off(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(deep_png(4 if name == "alpha.png" else 2) if name.endswith("png") else deep_tiff())
    with pytest.raises(ValueError, match="colours of 16 bits, of which 8 would be left: save each band as FITS"):
        CutoutSet.from_image_files([path], Table({"objid": [1]}), size=8)


def deep_png(colour_type):
    """A PNG of 8 x 8 pixels with 16 bits a channel: 2 is RGB, 4 grey with alpha."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes(range(8 * {2: 6, 4: 4}[colour_type]))
    header = struct.pack(">IIBBBBB", 8, 8, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND", b"")


def deep_tiff():
    """An uncompressed TIFF of 8 x 8 pixels in red, green and blue with 16 bits each."""
    import struct

    data = bytes(range(192)) * 2
    bits, strip = 8 + 2 + 12 * 9 + 4, 8 + 2 + 12 * 9 + 4 + 6
    tags = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, strip)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 8), (279, 4, 1, len(data))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + entries + bytes(4) + struct.pack("<3H", 16, 16, 16) + data


@pytest.mark.parametrize("name", ["pages.tif", "moving.gif", "moving.png", "moving.webp"])
def test_file_of_several_pictures_is_refused_and_not_cut_off(tmp_path, name):
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="it holds 2 pictures: save each as a file"):
        CutoutSet.from_image_files([tmp_path / name], Table({"objid": [1]}), size=8)


def test_photograph_with_a_preview_behind_it_is_one_picture(tmp_path):
    photograph, preview = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (8, 8), "blue")
    photograph.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    cutouts = CutoutSet.from_image_files([tmp_path / "a.jpg"], Table({"objid": [1]}), size=8)
    assert cutouts.images[0, :, 4, 4].tolist() == pytest.approx([255, 0, 0], abs=3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_picture_is_turned_as_its_camera_says(tmp_path, name):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:8] = 255  # a bright top
    turned = Image.Exif()
    turned[0x0112] = 6  # the right side of the file is the top of the scene
    Image.fromarray(pixels).save(tmp_path / name, exif=turned)
    image = read_image(tmp_path / name, 32, 1.0)[0]
    assert image[:, -8:].min() > 200 and image[:, :16].max() < 60


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_black_whatever_colour_hides_there(tmp_path, mode):
    pixels = np.full((16, 16, 4), 255, np.uint8)
    pixels[:8, :, 3] = 0
    picture = Image.fromarray(pixels)
    if mode == "P":
        picture = picture.convert("RGB").quantize(2)
        picture.info["transparency"] = picture.getpixel((0, 0))
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", 16, 1.0)
    assert image.shape == (3, 16, 16) and not image[:, :8].any()
    assert mode == "P" or image[:, 8:].min() == 255


@pytest.mark.parametrize("suffix", ["csv", "parquet", "fits"])
def test_spaces_are_no_label_and_none_makes_another_class(tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    frame = pd.DataFrame({"FILE": list("abcd"), "label": ["E", " ", "E ", ""]})
    if suffix == "fits":
        Table.from_pandas(frame).write(path)
    else:
        getattr(frame, f"to_{suffix}")(path, index=False)
    table = read_table(path)
    assert table.colnames == ["file", "label"]
    assert table["label"].mask.tolist() == [False, True, False, True] and set(table["label"].compressed()) == {"E"}


def test_row_without_an_id_is_refused_in_a_table_with_ids(tmp_path):
    (tmp_path / "labels.csv").write_text("file,objid\na.png,7\nb.png,\n")
    with pytest.raises(FetchError, match="no objid in 1 rows, the first is row 2 of 2: fill it in, or leave out"):
        data_fetch.own_images(tmp_path, tmp_path / "labels.csv", out=tmp_path / "set")


def test_postscript_is_never_handed_to_another_program(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="cannot be read as an image .*cannot identify image file"):
        CutoutSet.from_image_files([tmp_path / "a.jpg"], Table({"objid": [1]}), size=8)
