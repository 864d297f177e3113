"""Pictures that users bring: what cameras and other programs write is read right, or left out and named."""

import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from filelock import FileLock
from PIL import Image

import data_fetch
from astro_ssl_nb import CutoutSet
from astro_ssl_nb.image_files import read_image
from data_fetch import dataset_card, user_images
from data_fetch.folder import FetchError
from data_fetch.tables import read_table


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


def test_vector_that_is_no_class_is_kept(pictures, tmp_path):
    Table({"file": ["0.png", "1.png"], "flux": np.ones((2, 3))}).write(tmp_path / "t.fits")
    cutouts = data_fetch.own_images(pictures[0], tmp_path / "t.fits", out=tmp_path / "set")
    assert cutouts.catalogue["flux"].shape == (2, 3)


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


def test_postscript_is_never_handed_to_another_program(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="cannot be read as an image .*cannot identify image file"):
        CutoutSet.from_image_files([tmp_path / "a.jpg"], Table({"objid": [1]}), size=8)
