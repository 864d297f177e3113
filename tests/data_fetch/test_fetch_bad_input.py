"""Every mistake on the command line gives exit code 2 and one sentence that names the value and the way out."""

import re
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import closing

import numpy as np
import psutil
import pytest
from astropy import units as u
from astropy.table import QTable, Table

import data_fetch
from astro_ssl_nb import CutoutSet
from data_fetch.folder import WORK
from data_fetch.transport import RETRY

from .conftest import Mirror


def assert_complains(done, *words):
    assert done.returncode == 2, done.out + done.err
    assert "Traceback" not in done.err
    assert done.err.startswith("error: ") and len(done.err.strip().splitlines()) == 1
    for word in words:
        assert word in done.err, done.err


def test_unknown_archive(command, tmp_path):
    done = command("sg", "--archive", "foo", "--out", tmp_path / "set")
    assert_complains(done, "unknown archive 'foo': use practice, sdss or a URL")


@pytest.mark.parametrize(
    "url", ["http://host:99999", "http://host:abc", "http://my host", "http://[::1", "https://", "https:///data"]
)
def test_mistyped_address(command, tmp_path, url):
    for typed in (url, url.replace("://", "://me:secret@")):
        done = command("sg", "--archive", typed, "--out", tmp_path / "set")
        assert_complains(done, f"{url!r} is no address of an archive: give one such as https://host")


def test_mistyped_protocol_shows_no_password(command, tmp_path):
    done = command("sg", "--archive", "htps://me:secret@host", "--out", tmp_path / "set")
    assert_complains(done, "unknown archive 'htps://host'")


def test_unreachable_archive(command, tmp_path, monkeypatch):
    monkeypatch.setattr("data_fetch.transport.RETRY", RETRY.new(total=1))  # the first retry is at once
    with socket.socket() as unused:  # bound but not listening: a port where certainly nobody answers
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        assert_complains(
            command("sg", "--archive", url, "--n", 10, "--out", tmp_path / "set"), url, "cannot be reached"
        )


@pytest.mark.parametrize(
    "options, words",
    [
        (["--n", "0"], ["n=0", "use 1 or more"]),
        (["--bands", "rx"], ["'rx'", "ugriz"]),
        (["--bands", "rr"], ["'rr'", "each once"]),
        (["--size", "4"], ["size=4", "8 to 512"]),
        (["--mag-limits", "14", "inf"], ["(14.0, inf)", "two finite magnitudes"]),
        (["--mag-limits", "20", "18"], ["(20.0, 18.0)", "bright limit first"]),
        (["--exclude", "nowhere"], ["nowhere", "not a CutoutSet"]),
        (["--n", "100000000"], ["objects with 14 <= r <= 21.5", "100000000 were asked for", "--n"]),
        (["--seed", "-1"], ["seed=-1", "use 0 or more"]),
        (["--n", "10", "--mag-limits", "1", "2"], ["has 0 objects", "--mag-limits"]),
    ],
)
def test_request_that_cannot_be_met(options, words, practice, command, tmp_path):
    assert_complains(command("pretext", "--archive", practice.url, *options, "--out", tmp_path / "set"), *words)


def test_exclusion_is_named_where_it_leaves_too_little(practice, command, tmp_path):
    options = ["--archive", practice.url, "--out", tmp_path / "set", "--plan", "--exclude", tmp_path / "all"]
    everywhere = Table({"objid": [1], "ra": [0.0], "dec": [0.0]})
    CutoutSet.from_arrays(np.zeros((1, 1, 8, 8)), everywhere, bands="r", pixel_scale=1e5).save(tmp_path / "all")
    done = command("pretext", "--n", 10, "--mag-limits", 14, 15, *options)
    assert_complains(done, "has 0 objects", "were found but left out because of --exclude")
    with data_fetch.open_archive(practice.url) as archive:
        data_fetch.plan("pretext", archive=archive, n=5).catalogue["ra", "dec"].write(tmp_path / "mine.csv")
    done = command("positions", tmp_path / "mine.csv", *options)
    assert_complains(done, "has objects at 0 of 5 positions", "5 were found but left out because of --exclude")


def test_set_whose_places_nobody_knows_cannot_be_excluded(practice, command, tmp_path):
    places = {
        "nowhere": {},
        "text": {"ra": ["10:20:30"], "dec": ["1"]},
        "magnitudes": {"ra": [17.0] * u.mag, "dec": [1.0]},
        "beyond": {"ra": [1.0], "dec": [91.0]},
    }
    for name, columns in places.items():
        cutouts = CutoutSet.from_arrays(np.zeros((1, 1, 8, 8)), QTable({"objid": [1], **columns}), bands="r")
        cutouts.save(tmp_path / name)
    options = ["--archive", practice.url, "--n", 10, "--exclude"]
    done = command("pretext", *options, tmp_path / "nowhere", "--out", tmp_path / "one")
    assert_complains(done, f"cannot exclude {tmp_path / 'nowhere'}", "no column ra and no column dec")
    for name, words in (("text", "ra holds no angles"), ("magnitudes", "ra holds no angles"), ("beyond", "91")):
        done = command("pretext", *options, tmp_path / name, "--out", tmp_path / "other")
        assert_complains(done, f"cannot exclude {tmp_path / name}: ", words)


@pytest.mark.parametrize("line", [b"rubbish\n", b'{"field": 0}\n', b"[]\n", b"\xff\xfe\n"])
def test_damaged_journal_is_named_with_the_way_out(practice, command, tmp_path, line):
    arguments = ["pretext", "--archive", practice.url, "--n", 10, "--bands", "r", "--out", tmp_path / "set"]
    assert command(*arguments, "--plan").returncode == 0
    (tmp_path / "set" / WORK / "journal.jsonl").write_bytes(line)
    journal = tmp_path / "set" / WORK / "journal.jsonl"
    assert_complains(command(*arguments), f"line 1 of {journal} is damaged", f"remove {journal.parent} and run")


def test_damaged_journal_of_a_set_with_a_card_costs_the_set(practice, command, tmp_path):
    arguments = ["pretext", "--archive", practice.url, "--n", 10, "--bands", "r", "--out", tmp_path / "set"]
    assert command(*arguments).returncode == 0
    (tmp_path / "set" / WORK).mkdir()
    (tmp_path / "set" / WORK / "journal.jsonl").write_bytes(b"rubbish\n")
    assert_complains(command(*arguments), "is damaged", f"remove {tmp_path / 'set'} and run")


def test_password_of_a_mirror_is_sent_to_it_and_written_nowhere(mirror, command, tmp_path):
    mirror.faults["frame-r"] = (500, "text/html", b"out of order")
    url = mirror.url.replace("://", "://me:p%40ss@")
    arguments = ("pretext", "--archive", url, "--n", 10, "--bands", "r", "--out", tmp_path / "set")
    broken = command(*arguments)
    mirror.faults.clear()
    done = command(*arguments)
    assert (broken.returncode, done.returncode) == (2, 0), done.err
    token = "Basic " + b64encode(b"me:p@ss").decode()
    assert mirror.authorizations == {token}
    texts = [broken.out, broken.err, done.out, done.err, *map(str, tmp_path.rglob("*"))]
    texts += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("p%40ss" in text or "p@ss" in text or "me:p" in text for text in texts)
    with data_fetch.open_archive(url) as archive:
        assert archive.name == mirror.url and "p@ss" not in repr(archive)


def test_password_of_a_mirror_is_sent_to_no_other_vizier(mirror, origin):
    for other, token in ((False, "Basic " + b64encode(b"me:p").decode()), (True, None)):
        with closing(Mirror(origin)) as catalogues:
            where = catalogues if other else mirror
            archive = data_fetch.Archive(
                "small", mirror.url, f"{mirror.url}/sas", vizier_url=where.url, auth=("me", "p"), backoff=0
            )
            assert archive.vizier("J/A+A/532/A74")
            assert where.authorizations == {token}


def test_the_connections_of_an_archive_end_with_its_block(mirror):
    def open_connections():
        ours = (one for one in psutil.Process().net_connections("tcp") if one.status == "ESTABLISHED" and one.raddr)
        return [one for one in ours if mirror.url.endswith(f":{one.raddr.port}")]

    with data_fetch.open_archive(mirror.url) as archive:
        data_fetch.plan("pretext", archive=archive, n=10)
        assert open_connections()
    assert not open_connections()


def test_what_one_archive_said_of_a_catalogue_is_not_taken_for_another(mirror, origin, tmp_path):
    with closing(Mirror(origin)) as second:
        for where in (mirror, second):
            with data_fetch.open_archive(where.url) as archive:
                assert archive.vizier("J/A+A/532/A74", folder=tmp_path)
            assert where.authorizations, "it was not asked"
    assert len(list(tmp_path.iterdir())) == 2


def test_password_in_any_alphabet_reaches_the_mirror(mirror):
    with data_fetch.open_archive(mirror.url.replace("://", "://m%C3%A9:%E2%82%AC%CE%B1@")) as archive:
        data_fetch.plan("pretext", archive=archive, n=10)
    assert mirror.authorizations == {"Basic " + b64encode("mé:€α".encode()).decode()}


def test_frames_of_addresses_that_look_alike_are_kept_apart(tmp_path):
    def path(name):
        return data_fetch.Archive(name, "http://a", "http://a").frame_path(1, 1, 1, "r", tmp_path)

    assert path("http://a.b/c") != path("http://a-b/c") and path("http://a.b/c") == path("http://a.b/c")
    assert path("sdss").relative_to(tmp_path).parts[0] == "sdss-dr17"


@pytest.mark.parametrize(
    "body, words",
    [
        (b'<INFO name="QUERY_STATUS" value="ERROR">out of order</INFO>', "message instead of .* ERROR: 'out of order'"),
        (
            b'<INFO name="QUERY_STATUS" value="OK"/><TABLE><FIELD name="T" datatype="int"/><DATA><TABLEDATA><TR><TD>1'
            b'</TD></TR></TABLEDATA></DATA></TABLE><INFO name="QUERY_STATUS" value="OVERFLOW">truncated result</INFO>',
            "message instead of whole tables: OVERFLOW: 'truncated result'",
        ),
        (b"", "a VOTable without a table"),
    ],
)
def test_answer_of_vizier_without_tables_is_not_kept(mirror, tmp_path, body, words):
    namespace = b'version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"'
    votable = b"<VOTABLE %s><RESOURCE>%s</RESOURCE></VOTABLE>" % (namespace, body)
    mirror.faults["votable"] = (200, "text/xml", votable)
    archive = data_fetch.Archive("small", mirror.url, f"{mirror.url}/sas", vizier_url=mirror.url, backoff=0)
    with pytest.raises(data_fetch.ArchiveError, match=words):
        archive.vizier("J/A+A/532/A74", folder=tmp_path)
    mirror.faults.clear()
    assert archive.vizier("J/A+A/532/A74", folder=tmp_path)


def test_unknown_data_set_and_unequal_classes(practice, command, tmp_path):
    assert_complains(
        command("foo", "--archive", practice.url, "--out", tmp_path / "set"), "'foo'", "pretext, galaxies, sg, sgq"
    )
    done = command("sgq", "--archive", practice.url, "--n", "100", "--out", tmp_path / "set")
    assert_complains(done, "n=100", "3 classes", "99 or 102")


def test_class_that_runs_out_is_counted(practice, command, tmp_path):
    done = command("sgq", "--archive", practice.url, "--n", 3_000_000, "--out", tmp_path / "set")
    assert_complains(done, "of each class (STAR, GALAXY, QSO) in the same fields", "1000000 were asked for")


def test_folder_that_cannot_be_written(practice, command, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = command("pretext", "--archive", practice.url, "--n", 10, "--out", tmp_path / "file" / "set")
    assert_complains(done, f"cannot read or write {tmp_path / 'file' / 'set'}", "choose another folder")


def test_kept_frame_that_cannot_be_read_is_named(practice, command, tmp_path):
    arguments = ["pretext", "--archive", practice.url, "--n", 10, "--bands", "r", "--out", tmp_path / "set"]
    assert command(*arguments).returncode == 0
    shutil.rmtree(tmp_path / "set")
    (frame,) = (tmp_path / "frames").rglob("*.bz2")
    frame.unlink()
    frame.mkdir()  # nobody can read a folder as a file, not even root
    done = command(*arguments)
    last = done.err.splitlines()[-1]  # the bar of progress is above it
    assert done.returncode == 2 and last.startswith(f"error: cannot read or write {frame}"), done.err


def test_folder_that_holds_something_else(practice, command, tmp_path):
    (tmp_path / "card.json").write_text('{"bands": ["r"]}')
    done = command("pretext", "--archive", practice.url, "--n", 10, "--out", tmp_path)
    assert_complains(done, str(tmp_path), "was not fetched", "choose another folder")
    (tmp_path / "card.json").write_text("")
    done = command("pretext", "--archive", practice.url, "--n", 10, "--out", tmp_path)
    assert_complains(done, "card.json is no whole JSON file", "choose another folder")


def test_files_of_a_user_are_left_alone(practice, command, tmp_path):
    names = ("work/thesis.tex", "catalogue.parquet", "images.npy", "missing.ecsv", "card/sky.png", "README.md")
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
    arguments = ("pretext", "--archive", practice.url, "--n", 10, "--bands", "r", "--out", tmp_path / "mine")
    assert_complains(command(*arguments), f"{tmp_path / 'mine'} holds card and no data set", "an empty folder")
    assert {str(path.relative_to(tmp_path / "mine")) for path in (tmp_path / "mine").rglob("*") if path.is_file()} == {
        *names
    }
    assert all((tmp_path / "mine" / name).read_text() == "mine" for name in names)


def test_folder_with_a_readme_and_hidden_files_is_empty(practice, command, tmp_path):
    for name in ("README.md", ".DS_Store"):
        (tmp_path / name).write_text("mine")
    done = command("pretext", "--archive", practice.url, "--n", 10, "--bands", "r", "--out", tmp_path)
    assert done.returncode == 0, done.err
    assert (tmp_path / "README.md").read_text() == "mine" and len(CutoutSet.open(tmp_path)) == 10


def test_mistake_is_said_before_the_practice_sky_is_made(command, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the archive was opened")

    monkeypatch.setattr(data_fetch, "open_archive", fail)
    assert_complains(command("sgg", "--out", tmp_path / "set"), "unknown data set 'sgg'")
    assert_complains(command("sgq", "--n", 61, "--out", tmp_path / "set"), "use 60 or 63")


def test_interrupt_promises_to_go_on_only_where_it_does(command, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_fetch, "export", interrupt)
    done = command("export", tmp_path, tmp_path / "out")
    assert (done.returncode, done.err) == (130, "stopped\n")


def test_one_limit_of_magnitudes_is_refused(practice):
    with pytest.raises(data_fetch.FetchError, match="18.0,.: give two magnitudes"):
        data_fetch.plan("pretext", archive=practice.url, mag_limits=(18,))


@pytest.mark.parametrize(
    "argument, words",
    [
        ({"n": 1e4}, "n=10000.0: give a whole number"),
        ({"seed": None}, "seed=None: give a whole number"),
        ({"size": (64, 64)}, "size=(64, 64): give a whole number"),
        ({"bands": None}, "bands=None: use some of ugriz, each once"),
        ({"bands": ["g", 5]}, "unknown bands 'g5': use some of ugriz"),
        ({"bands": ["gr"]}, "unknown bands 'gr': use some of ugriz"),
        ({"mag_limits": 18}, "mag_limits=18: give two magnitudes"),
    ],
)
def test_argument_of_another_type_is_refused_in_a_sentence(practice, argument, words):
    with pytest.raises(data_fetch.FetchError, match=re.escape(words)):
        data_fetch.plan("pretext", archive=practice.url, **argument)


@pytest.mark.parametrize(
    "answer, words",
    [
        ((200, "text/html", b"<html><title>Maintenance</title>"), ["a message instead of a table", "Maintenance"]),
        ((200, "text/plain", b""), ["gave an empty answer"]),
        ((200, "text/plain", b"#Table1\nname,colour\nfoo,bar\n"), ["without the columns objID", "name,colour"]),
        ((200, "text/plain", b'{"error_message": "Incorrect syntax"}'), ["Incorrect syntax"]),
        ((500, "text/html", b"<html>Oops</html>"), ["HTTP 500", "Oops"]),
        ((500, "text/json", b'{"Trace": "%s", "ErrorMessage": "No way"}' % (b"x" * 600)), ["HTTP 500 ('No way')"]),
        ((500, "text/html", b"<html>" + b"x" * 200 + b"Oops</html>"), ["HTTP 500", "Oops"]),
        ((200, "text/plain", b"#Table1\na,b\n1,2,3\n"), ["not a table"]),
    ],
)
def test_answer_that_is_no_catalogue_is_never_taken_for_one(answer, words, mirror, command, tmp_path):
    mirror.faults["x_results"] = answer
    arguments = ("pretext", "--archive", mirror.url, "--n", 10, "--bands", "r", "--out", tmp_path / "set")
    assert_complains(command(*arguments), mirror.url, *words)
    mirror.faults.clear()
    assert command(*arguments, "--plan").returncode == 0


def test_null_and_sentinels_are_masked_and_large_ids_survive(mirror):
    ids = (2**63 + 12345, 1237659527904098304)
    body = f"#Table1\nobjID,petroRad_r,z,petroR50_r\n{ids[0]},-9999,null,-9999\n{ids[1]},2.5,0.1,3\n"
    mirror.faults["x_results"] = (200, "text/plain", body.encode())
    with data_fetch.open_archive(mirror.url) as archive:
        table = archive.query("SELECT objID, petroRad_r, z, petroR50_r FROM anything")
    assert tuple(table["objID"]) == ids
    assert list(table["petroRad_r"].mask) == [True, False] and list(table["z"].mask) == [True, False]
    assert list(table["petroR50_r"].mask) == [True, False] and table["petroR50_r"][1] == 3


def test_queries_keep_to_the_rate(mirror):
    mirror.faults["x_results"] = (200, "text/plain", b"#Table1\na\n1\n")
    archive = data_fetch.Archive("slow", mirror.url, mirror.url, queries_per_minute=600)
    start = time.monotonic()
    for _ in range(6):
        archive.query("SELECT a FROM b")
    assert time.monotonic() - start >= 0.5


def test_help_does_not_wait_for_astropy(command):
    done = command("--help")
    assert done.returncode == 0 and "--archive" in done.out
    code = "import sys, data_fetch, data_fetch.__main__; print({'astropy', 'astroquery', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize("release", [9, 12, 13, 16, 17, 18, 19])
def test_frame_address_is_that_of_astroquery(release):
    with data_fetch.open_archive("sdss", release=release) as archive:
        url = archive.frame_url(3918, 3, 213, "r")
    part = "boss" if release <= 12 else "eboss" if release <= 17 else "prior-surveys/sdss4-dr17-eboss"
    assert url == (
        f"https://data.sdss.org/sas/dr{release}/{part}/photoObj/frames/301/3918/3/frame-r-003918-3-0213.fits.bz2"
    )
