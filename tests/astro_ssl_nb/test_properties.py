import numpy as np
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
