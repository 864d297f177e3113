"""What tests of both packages need."""

from contextlib import contextmanager

import pytest


@pytest.fixture
def small_disk():
    """A context in which no file grows beyond so many bytes: a full disk but for the number of its error."""
    resource = pytest.importorskip("resource", reason="file sizes can be limited on Unix alone")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limited(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return limited
