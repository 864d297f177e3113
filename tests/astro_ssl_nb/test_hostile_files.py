"""Files that are cut short, mixed up or made to do harm are refused in a sentence; a full disk leaves no halves."""

import bz2
import gzip
import json
import os
import pickle
import shutil
import struct

import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.table import Table
from safetensors.torch import load_file, save_file

import astro_ssl_nb as ssl
import data_fetch
from astro_ssl_nb.backbones import read_card
from astro_ssl_nb.image_files import read_image


class Touch:
    """Unpickled, this leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def broken(backbone, tmp_path):
    """A copy of the backbone, to be broken."""
    return shutil.copy(backbone, tmp_path / "broken.safetensors")


def assert_refused(path, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        ssl.load_backbone(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message and len(message) < 400


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_truncated_backbone_is_refused(broken, part):
    content = broken.read_bytes()
    broken.write_bytes(content[: int(part * len(content))])
    assert_refused(broken, "not a whole backbone")


def test_backbone_of_other_shapes_is_refused(broken):
    with pytest.raises(ValueError, match="resnet10t"):
        ssl.load_backbone(broken, arch="resnet18")
    state, card = load_file(broken), {"card": _card_of(broken)}
    for name in ("layer1.0.conv1.weight", "bn1.running_mean"):
        save_file({**state, name: state[name][:3].clone()}, broken, metadata=card)
        assert_refused(broken, f"{name} is .3,.* in the file")
    save_file({name: value for name, value in state.items() if name != "bn1.weight"}, broken, metadata=card)
    assert_refused(broken, "bn1.weight is nothing in the file")
    save_file({**state, "extra": torch.zeros(1)}, broken, metadata=card)
    assert_refused(broken, "extra is .1,. in the file, nothing in the network")


def test_pickle_in_disguise_is_refused_and_not_run(broken, tmp_path):
    broken.write_bytes(pickle.dumps(Touch(tmp_path / "run")))
    assert_refused(broken, "not a whole backbone")
    torch.save(Touch(tmp_path / "run"), broken)
    assert_refused(broken, "not a whole backbone")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("length", [2**63 - 1, 2**40, 3])
def test_header_that_lies_about_its_length_is_refused(broken, length):
    broken.write_bytes(struct.pack("<Q", length) + broken.read_bytes()[8:])
    assert_refused(broken, "not a whole backbone")


@pytest.mark.parametrize("card", ["", "{", "[]", "3", '{"arch": "resnet10t"}', '{"arch": ["a"], "stretch": []}'])
def test_card_that_is_none_is_refused(broken, card):
    save_file(load_file(broken), broken, metadata={"card": card})
    assert_refused(broken, "not a whole backbone")


def test_card_of_an_unknown_network_is_refused(broken):
    card = json.loads(_card_of(broken))
    save_file(load_file(broken), broken, metadata={"card": json.dumps({**card, "arch": ["os.system"]})})
    with pytest.raises(ValueError, match="timm has no architecture"):
        ssl.load_backbone(broken)


def _card_of(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()["card"]


@pytest.fixture
def folder(blobs, tmp_path):
    return blobs[:20].save(tmp_path / "set")


def rewrite_header(path, **changes):
    """Give images.npy another header over the same bytes."""
    images = np.load(path, mmap_mode="r")
    header = {"descr": "<f4", "fortran_order": False, "shape": images.shape} | changes
    content = images.tobytes()
    del images
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(content)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": (40, 5, 16, 16)}, "cannot be read as a CutoutSet"),  # longer than the file
        ({"shape": (10, 5, 16, 16)}, "10 images but 20 catalogue rows"),
        ({"shape": (20, 4, 16, 20)}, "name 5 planes, the images have 4"),
        ({"shape": (20, 5, 256)}, "takes .N, bands, height, width."),
        ({"shape": (10, 5, 16, 16), "descr": "<f8"}, "hold float64 numbers"),
        ({"descr": ">f4"}, "hold >f4 numbers"),
        ({"descr": "|O"}, "cannot be read as a CutoutSet"),
        ({"shape": (-1, 5, 16, 16)}, "cannot be read as a CutoutSet"),
    ],
    ids=str,
)
def test_images_that_do_not_fit_are_refused(folder, changes, sentence):
    rewrite_header(folder / "images.npy", **changes)
    with pytest.raises(ValueError, match=sentence) as caught:
        ssl.CutoutSet.open(folder)
    assert str(folder) in str(caught.value)


def test_a_set_of_a_later_format_is_refused(folder):
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps(card | {"format": card["format"] + 1}))
    with pytest.raises(ValueError, match=r"format 2, this package reads 1: update astro-ssl-nb"):
        ssl.CutoutSet.open(folder)


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_truncated_images_are_refused(folder, part):
    size = (folder / "images.npy").stat().st_size
    os.truncate(folder / "images.npy", int(part * size))
    with pytest.raises(ValueError, match="cannot be read as a CutoutSet"):
        ssl.CutoutSet.open(folder)


def test_images_that_are_a_pickle_are_refused_and_not_run(folder, tmp_path):
    for content in (Touch(tmp_path / "run"), np.array([Touch(tmp_path / "run")] * 20)):
        with open(folder / "images.npy", "wb") as file:
            if isinstance(content, np.ndarray):
                np.save(file, content, allow_pickle=True)
            else:
                pickle.dump(content, file)
        with pytest.raises(ValueError, match="cannot be read as a CutoutSet"):
            ssl.CutoutSet.open(folder)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("card", ["[]", "{}", '{"bands": 5}', '{"bands": "ug"}', "\x00", ""])
def test_card_that_describes_nothing_is_refused(folder, card):
    (folder / "card.json").write_text(card)
    with pytest.raises(ValueError, match="cannot be read as a CutoutSet"):
        ssl.CutoutSet.open(folder)


@pytest.mark.parametrize("how", ["written to", "cut short", "replaced", "removed"])
def test_file_that_changes_under_an_open_set_is_told(blobs, folder, how):
    cutouts = ssl.CutoutSet.open(folder)
    part = cutouts[3:9]
    np.testing.assert_array_equal(part.read([1]), blobs.images[[4]])
    path = folder / "images.npy"
    if how == "written to":
        with open(path, "r+b") as file:
            file.seek(500)
            file.write(b"12345678")
        os.utime(path, ns=(1, 1))  # a file system with coarse times would hide a change within the same tick
    elif how == "cut short":
        os.truncate(path, 1000)
    elif how == "replaced":
        shutil.copy(path, folder / "new")
        os.replace(folder / "new", path)
    else:
        path.unlink()
    for one in (cutouts, part):
        with pytest.raises(RuntimeError, match="images.npy has changed since it was opened"):
            one.read([0])
        with pytest.raises(RuntimeError, match="images.npy has changed since it was opened"):
            _ = one.images


def test_full_disk_leaves_no_half_of_a_set(blobs, tmp_path, small_disk):
    with small_disk(100_000), pytest.raises(OSError, match="set cannot be written .*too large"):
        blobs.save(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []
    assert len(ssl.CutoutSet.open(blobs.save(tmp_path / "set"))) == len(blobs)


def test_full_disk_leaves_the_backbone_that_was_there(learn, broken, tmp_path, small_disk):
    before = broken.read_bytes()
    with small_disk(100_000), pytest.raises(OSError, match="the weights cannot be written to"):
        ssl.save_backbone(learn, broken)
    assert broken.read_bytes() == before and list(tmp_path.iterdir()) == [broken]
    assert read_card(broken)["arch"] == "resnet10t"


EVIL = ("../../../evil", "/evil", "..", "a/../../b")


@pytest.mark.parametrize("column", ["run", "rerun", "camcol", "field"])
@pytest.mark.parametrize("evil", EVIL)
def test_catalogue_cannot_name_a_place_outside_the_folder_of_frames(tmp_path, column, evil):
    archive = data_fetch.Archive("small", "http://127.0.0.1:9", "http://127.0.0.1:9")
    row = {"run": 94, "rerun": 301, "camcol": 1, "field": 11}
    kept = archive.frame_path(**row, band="r", folder=tmp_path)
    assert kept.relative_to(tmp_path).parts[1:] == ("301", "94", "1", "frame-r-000094-1-0011.fits.bz2")
    with pytest.raises(ValueError, match="invalid literal"):
        archive.frame_path(**row | {column: evil}, band="r", folder=tmp_path)


@pytest.mark.parametrize("name", ["https://evil/../../../..", "..", "/", "a\x00b", "C:\\evil"])
def test_archive_cannot_name_a_place_outside_the_folder_of_frames(tmp_path, name):
    archive = data_fetch.Archive(name, "http://127.0.0.1:9", "http://127.0.0.1:9")
    path = archive.frame_path(94, 1, 11, "r", tmp_path / "frames")
    assert path.resolve().is_relative_to(tmp_path / "frames") and len(path.relative_to(tmp_path / "frames").parts) == 5


@pytest.mark.parametrize("name", [*EVIL, "link/picture.png"])
def test_table_of_pictures_cannot_name_one_outside_its_folder(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "link").symlink_to(tmp_path)
    Table({"file": [name], "class": ["a"]}).write(tmp_path / "labels.csv")
    with pytest.raises(data_fetch.FetchError, match="outside of"):
        data_fetch.own_images(tmp_path / "pictures", tmp_path / "labels.csv", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def cards(*lines):
    """A FITS header of these lines."""
    return b"".join(f"{line:80}".encode() for line in (*lines, "END")).ljust(2880)


PLAIN = cards("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    0")
IMAGE = ("BITPIX  =                    8", "NAXIS   =                    2", "PCOUNT  =  0", "GCOUNT  =  1")
PACKED_IMAGE = ("XTENSION= 'BINTABLE'", *IMAGE, "NAXIS1  =  8", "NAXIS2  =  1", "ZIMAGE  =                    T")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize(
    "content, words",
    [
        (PLAIN.replace(b"    0", b"20000"), "NAXIS = 20000:"),  # astropy counts to 2,000,000,000 for hours
        (PLAIN.replace(b"NAXIS   =" + b" " * 20 + b"0", b"naxis= +" + b"9" * 40), "NAXIS = 9{30}...:"),
        (PLAIN + cards("XTENSION= 'IMAGE   '", "BITPIX  =  8", "NAXIS   =  20000"), "NAXIS = 20000:"),
        (PLAIN + cards(*PACKED_IMAGE, "TFIELDS =  1", "ZNAXIS  =  20000"), "ZNAXIS = 20000:"),
        (PLAIN + cards(*PACKED_IMAGE, "TFIELDS =  20000", "ZNAXIS  =  2"), "TFIELDS = 20000:"),
    ],
)
def test_fits_file_that_has_astropy_count_for_hours_is_refused(tmp_path, content, words, pack):
    (tmp_path / "a.fits").write_bytes(pack(content))
    with pytest.raises(ValueError, match=f"a header says {words} FITS allows 999 at most"):
        read_image(tmp_path / "a.fits", 8, 1.0)


def test_pixels_that_spell_a_header_are_none(tmp_path):
    pixels = np.frombuffer(b"- NAXIS = 9999, = 9999  " * 100, np.uint8).reshape(40, 60)
    fits.writeto(tmp_path / "a.fits", pixels)
    assert read_image(tmp_path / "a.fits", 8, 1.0).shape == (1, 8, 8)


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_fits_image_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    large = cards("SIMPLE  =                    T", *IMAGE, "NAXIS1  =  16000", "NAXIS2  =  16000")
    (tmp_path / "a.fits").write_bytes(large)  # it would be found to be cut short
    with pytest.raises(ValueError, match=r"shape \(16000, 16000\), above 178,956,970 pixels: cut out the object"):
        read_image(tmp_path / "a.fits", 8, 1.0)
    monkeypatch.setattr("astro_ssl_nb.image_files.MOST_UNPACKED", 5000)
    for pack in (gzip.compress, bz2.compress):
        (tmp_path / "a.fits").write_bytes(pack(large + bytes(5000)))
        with pytest.raises(ValueError, match="it unpacks to more than 5,000 bytes: cut out the object"):
            read_image(tmp_path / "a.fits", 8, 1.0)
