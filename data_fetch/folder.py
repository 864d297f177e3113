"""The folder that a fetch fills: what is done is written down, so that a killed run goes on where it stopped.

While the work goes on, everything is in `.data_fetch/`: the request, the answers of the archive, the images so far and
a journal with one line per field. The images of a field are on disk before its line is, and a later line of a field
takes the place of an earlier one. `card.json` comes last, and only with it is the folder a CutoutSet. `.data_fetch/`
stays while there are objects whose frame may be had another time. As long as there is a journal, what it lists may not
be in the set yet.
"""

import hashlib
import json
import os
import platform
import shutil
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from astro_ssl_nb.cutouts import CutoutSet
from astro_ssl_nb.files import file_digest, flush, read_json, whole_file
from astro_ssl_nb.set_files import FILES, write_card, write_catalogue
from data_fetch.checks import wrong_files

CHECKED = 1e9  # bytes of a file of a complete set whose checksum each fetch compares, which takes seconds beyond
WORK = ".data_fetch"  # a name that no user gives: the folder is removed in the end


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
        self._work = self.out / WORK
        self.answers = self._work / "answers"
        self._images = self._work / "images.f4"
        self._journal = self._work / "journal.jsonl"
        self._check_request()

    @property
    def complete(self):
        """Whether there is nothing left to do here."""
        return all((self.out / name).exists() for name in FILES) and not self._journal.exists()

    @contextmanager
    def locked(self):
        """Keep other processes out of this folder for as long as the block lasts.

        Raises
        ------
        FetchError
            If another process is at work here, or the folder, or a file that is needed, cannot be read or written.
        """
        holder = self._work / "holder"
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            # The system lets go of this lock when its process ends, however it ends.
            with FileLock(self._work / "lock", timeout=0):
                holder.write_text(f"process {os.getpid()} on {platform.node()}")
                self._check_request()
                yield
        except Timeout:
            by = holder.read_text() if holder.exists() else "another process"
            raise FetchError(f"{self.out} is being filled by {by}: wait until it is done, or stop it") from None
        except OSError as error:
            if error.errno is None:  # raised by a library for its own reasons, not by the system
                raise
            raise FetchError(
                f"cannot read or write {error.filename or self.out} ({error.strerror}): make room, give yourself the "
                "right to, or choose another folder, then run the same command again; what was fetched is kept"
            ) from error

    def _check_request(self):
        for card in (self.out / "card.json", self._work / "request.json"):
            if card.exists():
                return self._compare(self._read_card(card))
        found = self.out.iterdir() if self.out.is_dir() else ()
        # A README.md is never overwritten, and nothing that is written has a hidden name but the work.
        strangers = sorted(path.name for path in found if path.name != "README.md" and path.name[0] != ".")
        if strangers:
            raise FetchError(f"{self.out} holds {strangers[0]} and no data set: choose a new or an empty folder")

    def _read_card(self, path):
        try:
            card = read_json(path)
            if not (isinstance(card, dict) and isinstance(card.get("request") or {}, dict)):
                raise ValueError(f"{path} is damaged, and not about a data set")
        except ValueError as error:
            raise FetchError(f"{error}: remove {self.out}, or choose another folder") from error
        return card

    def _compare(self, card):
        if not card.get("request"):
            raise FetchError(f"{self.out} holds a data set that was not fetched into it: choose another folder")
        for key, ours in self.request.items():
            theirs = card["request"].get(key)
            if theirs != ours:
                raise FetchError(
                    f"{self.out} holds another request ({key} is {theirs!r} there, {ours!r} here): choose another "
                    "folder, or remove this one"
                )

    def begin(self, shape, catalogue):
        """Open for writing cutouts of this shape, and return what is done: {number of the field: its line}.

        The journal knows fields and objects by their numbers alone. Where another version of a package chose other
        objects for the same request, the cutouts so far are dropped.
        """
        self._bytes = 4 * int(np.prod(shape))
        self._shape = shape
        path, objects = self._work / "request.json", _digest(catalogue)
        if path.exists() and self._read_card(path).get("objects") != objects:
            (self.out / "card.json").unlink(missing_ok=True)  # with it and without a journal, the set is complete
            self._journal.unlink(missing_ok=True)
            self._images.unlink(missing_ok=True)
        write_atomically(path, json.dumps({"request": self.request, "objects": objects}).encode())
        with open(self._images, "a+b") as images, open(self._journal, "ab") as journal:
            # What a killed run wrote beyond the last whole line of the journal, or is damaged since, is done again.
            lines = self._read_journal(images)
            journal.truncate(max((line["end"] for line in lines.values()), default=0))
            images.truncate(self._bytes * max((line["first"] + line["kept"] for line in lines.values()), default=0))
        return {number: line for number, line in lines.items() if not line["again"]}

    def _read_journal(self, images=None):
        """The last line of each field, and where it and its images are; given these, up to the first that are bad."""
        lines, first, end = {}, 0, 0
        texts = self._journal.read_bytes().splitlines(keepends=True) if self._journal.exists() else ()
        for number, text in enumerate(texts, 1):
            if not text.endswith(b"\n"):  # what a killed run left of its last line
                break
            try:
                line = json.loads(text)
                # An older version wrote no checksum.
                line = {name: line[name] for name in ("field", "kept", "missing", "again")} | {"crc": line.get("crc")}
            except (ValueError, KeyError, TypeError) as error:
                raise self._damaged(f"line {number} of {self._journal} is damaged ({text[:40]!r})") from error
            line |= {"first": first, "end": end + len(text)}
            if images is not None and self._images_of(line, images) is None:
                break
            end = line["end"]
            lines[line["field"]] = line
            first += line["kept"]
        return lines

    def _images_of(self, line, images):
        """The bytes of the images that a line of the journal counts; None if they are not what was written."""
        images.seek(line["first"] * self._bytes)
        content = images.read(line["kept"] * self._bytes)
        whole = len(content) == line["kept"] * self._bytes and line["crc"] in (None, zlib.crc32(content))
        return content if whole else None

    def _damaged(self, what):
        # Without its work, a set with a card counts as complete, and what is missing is never tried again.
        damaged = self.out if (self.out / "card.json").exists() else self._work
        return FetchError(
            f"{what}: remove {damaged} and run the same command again; frames are kept elsewhere, and are not fetched "
            "again"
        )

    def add_field(self, number, images, missing, again):
        """Append the cutouts of one field, then its line of the journal.

        Parameters
        ----------
        number : int
            Which field.
        images : array of shape (K, B, H, W)
        missing : dict of int to str
            Rows of the catalogue that have no image, and why.
        again : bool
            Whether another run may find what is missing.
        """
        pixels = np.ascontiguousarray(images, dtype="<f4").data
        line = {"field": number, "kept": len(images), "missing": missing, "again": again, "crc": zlib.crc32(pixels)}
        for path, content in (
            (self._images, pixels),
            (self._journal, json.dumps(line).encode() + b"\n"),
        ):
            with open(path, "ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

    def finish(self, catalogue, missing, card):
        """Write what makes the folder a CutoutSet, and clear the work away.

        Raises
        ------
        FetchError
            If there are more or fewer images than rows in the catalogue, or images are not what was written.
        """
        count = self._write_images(self._work / "images.npy")
        if count != len(catalogue):
            raise self._damaged(f"{self._work} holds {count} images of {len(catalogue)} objects")
        write_catalogue(catalogue, self._work / "catalogue.parquet")
        missing.write(self._work / "missing.ecsv", overwrite=True)
        names = ["images.npy", "catalogue.parquet", "missing.ecsv"][: 3 if len(missing) else 2]
        for name in names[1:]:
            flush(self._work / name)  # all must be on disk before the work is cleared away
        card = {**card, "checksums": {name: file_digest(self._work / name) for name in names}, "request": self.request}
        # From here on little space is needed, and a run that is killed here is finished by the next.
        (self.out / "card.json").unlink(missing_ok=True)
        (self.out / "missing.ecsv").unlink(missing_ok=True)
        for name in names:
            os.replace(self._work / name, self.out / name)
        write_card(card, self.out)
        self.clear()
        return CutoutSet.open(self.out)

    def _write_images(self, path):
        """Write the images in the order of the fields, and return how many they are."""
        lines = [line for _, line in sorted(self._read_journal().items())]
        count = sum(line["kept"] for line in lines)
        header = {"descr": "<f4", "fortran_order": False, "shape": (count, *self._shape)}
        with open(self._images, "rb") as source, open(path, "wb") as images:
            np.lib.format.write_array_header_1_0(images, header)
            for line in lines:
                content = self._images_of(line, source)
                if content is None:
                    raise FetchError(
                        f"{self._images} was damaged since field {line['field']} was written to it: check the disk, "
                        "then run the same command again; frames are kept elsewhere, and are not fetched again"
                    )
                images.write(content)
            images.flush()
            os.fsync(images.fileno())
        return count

    def open(self):
        """The CutoutSet of a complete folder.

        Raises
        ------
        FetchError
            If its files are not those that were written: checksums are compared where that takes no time.
        """
        for problem in wrong_files(self.out, CHECKED):
            raise FetchError(problem)
        try:
            return CutoutSet.open(self.out)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def clear(self):
        """Remove the work, unless another run may find what is missing."""
        if not any(line["again"] for line in self._read_journal().values()):
            self._journal.unlink(missing_ok=True)  # before the images that it counts
            shutil.rmtree(self._work, ignore_errors=True)

    def clear_leftovers(self):
        """Remove what a run left that was killed when its set was complete, unless another process does so now."""
        if self._work.exists():
            with suppress(FetchError), self.locked():  # where nothing can be written, it may stay
                if self.complete:
                    self.clear()


def _digest(catalogue):
    """A checksum of which objects these are, and in which order."""
    columns = [np.asarray(catalogue[name]).astype("<u8") for name in ("objid", "run", "camcol", "field")]
    return hashlib.sha256(np.column_stack(columns).tobytes()).hexdigest()


def write_atomically(path, content):
    """Write bytes to a file that is there whole or not at all, whatever happens meanwhile.

    Raises
    ------
    FetchError
        If the disk is full or cannot be written to.
    """
    try:
        with whole_file(path) as file:
            file.write(content)
    except OSError as error:
        raise FetchError(
            f"cannot write to {path} ({error.strerror}): make room or choose another folder, then run the same command "
            "again; what was fetched is kept"
        ) from error
