"""The practice archive: a simulated sky behind the protocols of SDSS, so that everything can be learned offline.

>>> from data_fetch.practice import PracticeArchive
>>> with PracticeArchive() as archive:  # doctest: +SKIP
...     print(archive.url)
"""

from .server import PracticeArchive
from .sky import RecordedSky, SimulatedSky

__all__ = ["PracticeArchive", "RecordedSky", "SimulatedSky"]
