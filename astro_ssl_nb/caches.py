"""What a label curve has computed, kept on disk so that nothing is computed twice."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

from astro_ssl_nb.files import file_digest, whole_file

# A result of other code, or of other versions of these, is another result.
VERSIONS = ("torch", "timm", "scikit-learn", "fastai")


class Cache:
    """Features and finished runs in a folder, each under a digest of everything that it depends on.

    Parameters
    ----------
    folder : path-like or None
        None keeps nothing.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = Cache(folder).keep(("arm", 5, 0), {"accuracy": 0.9})
    ...     again = Cache(folder).get(("arm", 5, 0))
    >>> again
    {'accuracy': 0.9}
    """

    def __init__(self, folder):
        self.folder = None if folder is None else Path(folder)
        self.runs, self.code = {}, _code()
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "runs.jsonl"
        for line in self.log.read_text().splitlines() if self.log.exists() else []:
            try:
                key, result = json.loads(line)
            except ValueError:  # a line that was being written when the machine stopped
                continue
            self.runs[key] = result

    def get(self, identity):
        """The dict of a finished run, or None."""
        return self.runs.get(digest(self.code, identity))

    def keep(self, identity, result):
        """Log a finished run at once, and return its dict; what is in the log already stands."""
        if self.folder is None:
            return result
        key = digest(self.code, identity)
        if key not in self.runs:
            self.runs[key] = result
            with open(self.log, "a") as log:
                # The line before may have been cut short: a new one starts on its own.
                log.write("\n" * (log.tell() > 0) + json.dumps([key, result]))
        return self.runs[key]

    def array(self, identity, compute):
        """The array that `compute()` gives, from its file where it is there."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{digest(self.code, identity)[:24]}.npy"
        if path.exists():
            return np.load(path, allow_pickle=False)
        found = compute()
        with whole_file(path) as file:
            np.save(file, found)
        return found


def digest(*parts):
    """SHA-256 of anything that prints the same when it is the same."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _code():
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return [file_digest(path) for path in sources], [version(name) for name in VERSIONS]
