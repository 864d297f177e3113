from pathlib import Path

import pytest

from data_fetch.practice import PracticeArchive, SimulatedSky

REAL_FRAMES = Path(__file__).parents[3] / ".." / "shared" / "sdss"
FIELD = (9101, 3, 11)  # the field whose five frames the tests look at


@pytest.fixture(scope="session")
def small_sky():
    """Twenty-four fields: enough for statistics, made in a second."""
    return SimulatedSky(seed=0, n_runs=2, fields_per_camcol=2)


@pytest.fixture(scope="session")
def small_tables(small_sky):
    return small_sky.tables()


@pytest.fixture(scope="session")
def practice(small_sky):
    with PracticeArchive(small_sky, workers=2) as archive:
        yield archive


@pytest.fixture
def astroquery_sdss(practice):
    """astroquery's SDSS, unmodified but for the addresses it reads from its own settings."""
    from astroquery.sdss import SDSS, conf

    with conf.set_temp("skyserver_baseurl", practice.url), conf.set_temp("sas_baseurl", f"{practice.url}/sas"):
        yield SDSS


@pytest.fixture(scope="session")
def frames(practice):
    """The five frames of `FIELD` as {band: HDUList}, fetched once through astroquery."""
    from astropy.table import Table
    from astroquery.sdss import SDSS, conf

    run, camcol, field = FIELD
    match = Table({"run": [run], "rerun": [301], "camcol": [camcol], "field": [field]})
    with conf.set_temp("sas_baseurl", f"{practice.url}/sas"):
        images = SDSS.get_images(matches=match, band="ugriz", cache=False, show_progress=False)
    return dict(zip("ugriz", images, strict=True))


@pytest.fixture(scope="session")
def real_frames():
    """Paths of the real r-band frames; their neighbours in other bands lie beside them."""
    paths = sorted(REAL_FRAMES.glob("frame-r-*.fits.bz2"))
    if not paths:
        pytest.skip("no real SDSS frames beside this repository (../shared/sdss)")
    return paths
