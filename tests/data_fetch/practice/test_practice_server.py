"""The server, spoken to as SkyServer and the Science Archive Server are."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import requests
from astropy.table import Table
from astroquery.exceptions import RemoteServiceError

from data_fetch.practice import PracticeArchive, RecordedSky, SimulatedSky

SQL = "/dr17/en/tools/search/x_results.aspx"
FRAMES = "/sas/dr17/eboss/photoObj/frames/301"
UNGUARDED_SCRIPT = """
from data_fetch.practice import PracticeArchive, SimulatedSky
with PracticeArchive(SimulatedSky(n_runs=1, fields_per_camcol=1), workers=2) as archive:
    print(len(archive.frame(9101, 1, 11, "u")))
"""


def test_astroquery_reads_objects_with_spectra(astroquery_sdss, small_tables):
    table = astroquery_sdss.query_sql(
        "SELECT TOP 50 p.objID, p.modelMag_r, s.class AS class, s.z FROM SpecObj AS s "
        "JOIN PhotoObj AS p ON p.objID = s.bestObjID WHERE s.class = 'QSO' AND s.zWarning = 0 ORDER BY p.objID",
        cache=False,
    )
    assert table.colnames == ["objID", "modelMag_r", "class", "z"]
    assert table["objID"].dtype == np.uint64 and len(table) == 50
    photo = small_tables["PhotoObj"]
    row = photo[photo["objID"] == int(table["objID"][7])]
    assert row["modelMag_r"][0] == table["modelMag_r"][7]


def test_fields_are_found_by_a_bitwise_hash(astroquery_sdss, small_tables):
    fields = small_tables["Field"]
    hashes = (fields["run"] * 29717 + fields["camcol"] * 12345 + fields["field"] * 7919) & 65535
    table = astroquery_sdss.query_sql(
        "SELECT run, camcol, field FROM dbo.Field WHERE ((run*29717 + camcol*12345 + field*7919) & 65535) < 30000",
        cache=False,
    )
    assert len(table) == np.sum(hashes < 30000) > 0


def test_an_empty_answer_is_a_header(astroquery_sdss, practice):
    sql = "SELECT run, field FROM Field WHERE run = 1"
    assert requests.get(practice.url + SQL, params={"cmd": sql, "format": "csv"}).text == "#Table1\nrun,field\n"
    assert astroquery_sdss.query_sql(sql, cache=False) is None


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "this is not SQL ((",
        "SELECT nosuchcolumn FROM PhotoObj",
        "SELECT * FROM NoSuchTable",
        "DROP TABLE PhotoObj",
        "SELECT 1; DROP TABLE PhotoObj",
        "SELECT run FROM Field WHERE run = '' OR 1=1; DELETE FROM Field",
        "SELECT load_extension('evil')",
        "SELECT '",
    ],
)
def test_bad_sql_gets_an_error_body_and_harms_nothing(astroquery_sdss, small_tables, sql):
    with pytest.raises(RemoteServiceError, match="error_message"):
        astroquery_sdss.query_sql(sql, cache=False)
    count = astroquery_sdss.query_sql("SELECT COUNT(*) AS n FROM Field", cache=False)
    assert count["n"][0] == len(small_tables["Field"])


def test_queries_may_be_posted(practice):
    answer = requests.post(practice.url + SQL, data={"cmd": "SELECT TOP 1 camcol FROM Field", "format": "csv"})
    assert answer.text == "#Table1\ncamcol\n1\n"


@pytest.mark.parametrize(
    "path",
    [
        "/9101/3/frame-r-009101-3-9999.fits.bz2",  # no such field
        "/9999/3/frame-r-009999-3-0011.fits.bz2",  # no such run
        "/9101/3/frame-r-009101-4-0011.fits.bz2",  # folder and name disagree
        "/9101/3/frame-y-009101-3-0011.fits.bz2",  # no such band
        "/9101/3/../../../../etc/passwd",
    ],
)
def test_an_unknown_frame_is_404(practice, path):
    assert requests.get(practice.url + FRAMES + path).status_code == 404


def test_the_log_tells_what_was_asked(practice):
    start = len(practice.requests)
    body = requests.get(practice.url + SQL, params={"cmd": "SELECT TOP 1 run FROM Field"}).content
    requests.get(practice.url + FRAMES + "/9101/3/frame-r-009101-3-9999.fits.bz2")
    sql, frame = practice.requests[start:]
    assert (sql.method, sql.kind, sql.status, sql.bytes) == ("GET", "sql", 200, len(body))
    assert (frame.kind, frame.status) == ("frame", 404) and frame.path.endswith("frame-r-009101-3-9999.fits.bz2")


def test_a_folder_of_recorded_frames_is_served_as_it_is(tmp_path):
    (tmp_path / "frame-g-000094-1-0012.fits.bz2").write_bytes(b"as it is")
    photo = {"objID": [5], "fieldID": [4], "run": [94], "rerun": [301], "camcol": [1], "field": [12], "ra": [1.5]}
    with PracticeArchive(RecordedSky(tmp_path, Table(photo)), workers=1) as archive:
        answer = requests.get(f"{archive.url}{FRAMES}/94/1/frame-g-000094-1-0012.fits.bz2")
        assert answer.content == b"as it is" and answer.headers["Content-Length"] == "8"
        assert requests.get(f"{archive.url}{FRAMES}/94/1/frame-r-000094-1-0012.fits.bz2").status_code == 404
        rows = requests.get(archive.url + SQL, params={"cmd": "SELECT p.ra, f.quality FROM PhotoObj AS p, Field AS f"})
        assert rows.text == "#Table1\nra,quality\n1.5,3\n"
        url = archive.url
    with pytest.raises(requests.ConnectionError):
        requests.get(url)


def test_workers_start_from_a_script_without_a_main_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED_SCRIPT)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=_environment())
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1_000_000  # printed once: the script ran once


def test_workers_do_not_outlive_a_server_that_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED_SCRIPT.replace('"u")))', '"u")), flush=True)\n    input()'))
    command = [sys.executable, script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()) as process:
        process.stdout.readline()
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=20)[1]


def test_the_command_serves_until_interrupted():
    command = [sys.executable, "-m", "data_fetch.practice", "--seed", "3"]
    options = {"stdout": subprocess.PIPE, "text": True, "env": _environment()}
    # Whoever runs the tests in the background of a shell has Ctrl-C ignored, and a child inherits that.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    with subprocess.Popen(command, preexec_fn=heed, **options) as process:
        url = process.stdout.readline().split()[3]
        try:
            answer = requests.get(url + SQL, params={"cmd": "SELECT COUNT(*) AS n FROM Field"}, timeout=30)
        finally:
            process.send_signal(signal.SIGINT)
        assert answer.text == "#Table1\nn\n270\n"
        assert process.stdout.read().strip() == "stopped"
    assert process.returncode == 0


def test_the_seed_is_the_universe():
    sky = [SimulatedSky(seed, n_runs=1, fields_per_camcol=1).tables()["PhotoObj"] for seed in (1, 1, 2)]
    assert all(np.array_equal(sky[0][name], sky[1][name]) for name in sky[0].colnames)
    assert len(sky[0]) != len(sky[2]) or not np.array_equal(sky[0]["ra"], sky[2]["ra"])


def test_the_tables_of_a_sky_are_made_once_however_often_it_is_opened(monkeypatch):
    made, tables = [], SimulatedSky.tables
    monkeypatch.setattr(SimulatedSky, "tables", lambda sky: made.append(sky.seed) or tables(sky))
    for seed in (4, 4, 5):
        with PracticeArchive(SimulatedSky(seed, n_runs=1, fields_per_camcol=1), workers=1) as archive:
            answer = requests.get(archive.url + SQL, params={"cmd": "SELECT COUNT(*) AS n FROM Field"})
        assert answer.text == "#Table1\nn\n6\n"
    assert made == [4, 5]


def _environment():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
