import numpy as np
from astropy.table import Table

import astro_ssl_nb as ssl


def test_two_failed_measurements_are_no_measurement():
    properties = ssl.EXTENT + ssl.COLOURS[1:2] + ssl.SIZES[1:2]
    failed = {name: [-9999.0, -1000.0, 18.0] for one in properties for name in one.columns}
    values = ssl.property_values(Table(failed), properties)
    assert np.isnan(values[:2]).all() and values[2].tolist() == [0, 0, 1]
