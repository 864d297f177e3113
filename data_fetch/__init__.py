"""From an archive of the sky to a CutoutSet on disk, politely and without losing what was fetched.

>>> import data_fetch
>>> with data_fetch.open_archive("practice") as archive:  # doctest: +SKIP
...     stars_galaxies = data_fetch.fetch("sg", archive=archive, n=600, out="data/sg")
...     pretext = data_fetch.fetch("pretext", archive=archive, n=2000, out="data/pretext", exclude=["data/sg"])

The same from a shell: ``python -m data_fetch sg --archive practice --n 600 --out data/sg``, and
``python -m data_fetch verify data/sg`` checks what is there.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules={"practice"},
    submod_attrs={
        "frames": ["Frame", "FrameError"],
        "addresses": ["open_archive"],
        "archive": ["Archive", "ArchiveError"],
        "folder": ["FetchError"],
        "catalogues": ["DATA_SETS", "efigi_task"],
        "plans": ["Plan"],
        "build": ["fetch", "plan"],
        "checks": ["verify"],
        "positions": ["read_positions"],
        "user_images": ["own_images"],
        "dataset_card": ["write_dataset_card"],
        "exports": ["export"],
    },
)
