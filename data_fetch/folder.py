"""The folder that a fetch fills: what is done is written down, so that a killed run goes on where it stopped.

While the work goes on, everything is in `work/`: the request, the answers of the archive, the images so far and a
journal with one line a field. The images of a field are on disk before its line is. `card.json` comes last, and only
with it is the folder a CutoutSet.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from astro_ssl_nb.cutouts import CutoutSet, write_card, write_catalogue


class FetchError(ValueError):
    """A request that cannot be met; the message says why, and what can be asked instead."""


class WorkFolder:
    """One folder and the request that fills it.

    Parameters
    ----------
    out : path-like
    request : dict
        Whatever decides what the result will be, as JSON.

    Raises
    ------
    FetchError
        If the folder holds, or is being filled with, something else.
    """

    def __init__(self, out, request):
        self.out = Path(out)
        self.request = json.loads(json.dumps(request))
        self._work = self.out / "work"
        self.answers = self._work / "answers"
        self._images = self._work / "images.npy"
        self._journal = self._work / "journal.jsonl"
        self.complete = (self.out / "card.json").exists()
        card = self.out / "card.json" if self.complete else self._work / "request.json"
        if card.exists():
            self._compare(json.loads(card.read_text()))

    def _compare(self, card):
        if "request" not in card:
            raise FetchError(f"{self.out} holds a data set that was not fetched: choose another folder")
        for key, ours in self.request.items():
            theirs = card["request"].get(key)
            if theirs != ours:
                raise FetchError(
                    f"{self.out} holds another request ({key} is {theirs!r} there, {ours!r} here): choose another "
                    "folder, or remove this one"
                )

    def begin(self, shape):
        """Open for writing cutouts of this shape, and return the fields that are done.

        Returns
        -------
        list of dict
            The lines of the journal.
        """
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            write_atomically(self._work / "request.json", json.dumps({"request": self.request}).encode())
        except OSError as error:
            raise FetchError(f"cannot write to {self.out} ({error.strerror}): choose another folder") from error
        self._shape = shape
        done = list(self._read_journal())
        rows = sum(line["kept"] for line in done)
        # Images without work/images.npy: all was fetched, and the end of `finish` is left to do.
        if self._images.exists() or not (self.out / "images.npy").exists():
            with open(self._images, "ab") as images, open(self._journal, "ab") as journal:
                # What a killed run wrote beyond the last whole line of the journal is done again.
                journal.truncate(sum(line["bytes"] for line in done))
                images.truncate(self._write_header(0) + rows * 4 * int(np.prod(shape)))
        return done

    def _read_journal(self):
        if self._journal.exists():
            for line in self._journal.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield {**json.loads(line), "bytes": len(line)}

    def _write_header(self, rows):
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, *self._shape)}
        with open(self._images, "r+b") as images:
            np.lib.format.write_array_header_1_0(images, header)
            return images.tell()

    def add_field(self, images, line):
        """Append the cutouts of one field, an array of shape (K, B, H, W), then its line of the journal."""
        for path, content in (
            (self._images, np.ascontiguousarray(images, dtype="<f4").data),
            (self._journal, json.dumps({**line, "kept": len(images)}).encode() + b"\n"),
        ):
            with open(path, "ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

    def finish(self, catalogue, missing, card):
        """Write what makes the folder a CutoutSet, and clear the work away."""
        if self._images.exists():
            self._write_header(len(catalogue))
            os.replace(self._images, self.out / "images.npy")
        write_catalogue(catalogue, self.out / "catalogue.parquet")
        if len(missing):
            missing.write(self.out / "missing.ecsv", overwrite=True)
        checksums = {}
        for name in ("images.npy", "catalogue.parquet"):
            with open(self.out / name, "rb") as file:
                checksums[name] = hashlib.file_digest(file, "sha256").hexdigest()
        write_card({**card, "checksums": checksums, "request": self.request}, self.out)
        shutil.rmtree(self._work)
        return CutoutSet.open(self.out)


def write_atomically(path, content):
    """Write bytes to a file that is there whole or not at all, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
