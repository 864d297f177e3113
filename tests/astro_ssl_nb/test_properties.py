import numpy as np
import pytest
from astropy.table import Table

import astro_ssl_nb as ssl


def test_a_colour_of_magnitudes_that_are_none_is_unknown():
    failed = {name: [99.0, 27.0, 18.0] for name in ("modelMag_g", "psfMag_r")} | {"modelMag_r": [99.0, 26.5, 17.5]}
    for difference in (ssl.COLOURS[1], ssl.EXTENT[0]):
        np.testing.assert_array_equal(difference.values(Table(failed)), [np.nan, np.nan, 0.5])


def test_two_failed_measurements_are_no_measurement():
    properties = ssl.EXTENT + ssl.COLOURS[1:2] + ssl.SIZES[1:2]
    failed = {name: [-9999.0, -1000.0, 18.0] for one in properties for name in one.columns}
    values = ssl.property_values(Table(failed), properties)
    assert np.isnan(values[:2]).all() and values[2].tolist() == [0, 0, 1]


def test_each_property_is_the_quantity_that_its_name_says():
    row = dict(zip((f"modelMag_{band}" for band in "ugriz"), (19.4, 17.9, 17.3, 17.1, 17.0), strict=True))
    row |= {"psfMag_r": 17.8, "petroR50_r": 10.0, "petroR90_r": 25.0, "expAB_r": 0.5, "fracDeV_r": 0.25}
    table = Table([row | {"redshift": 0.25, "photoz": 1.0}])
    wanted = {"u - g": 1.5, "g - r": 0.6, "r - i": 0.2, "i - z": 0.1, "log petroR50_r": 1, "concentration_r": 2.5}
    wanted |= {"expAB_r": 0.5, "fracDeV_r": 0.25, "psfMag_r - modelMag_r": 0.5}
    wanted |= {"log(1 + z)": 0.09691, "log(1 + photoz)": 0.30103}
    properties = ssl.COLOURS + ssl.SIZES + ssl.EXTENT + ssl.REDSHIFT + ssl.PHOTOZ
    assert {one.name: float(one.values(table)[0]) for one in properties} == pytest.approx(wanted, abs=1e-5)


def test_a_column_without_numbers_is_named_with_its_property():
    with pytest.raises(ValueError, match=r"property 'expAB_r': \('expAB_r',\) must hold numbers"):
        ssl.SIZES[2].values(Table({"expAB_r": ["round", "flat"]}))
