"""What the book says of the course's notebooks, read from the notebooks themselves."""

import re
from dataclasses import dataclass

import nbformat

FIELD = r"\*\*{}\*\*:?\s+(.*?)(?=\s\*\*|\n\n|\Z)"  # from one bold word to the next, or to the end of the paragraph
FIRST_ITEM = re.compile(r"^- (.+?)(?=\n- |\n\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass
class Chapter:
    """A notebook as its first cell describes it; ``needs`` and ``welcomes`` hold numbers of notebooks."""

    name: str
    title: str
    learn: str
    needs: list
    welcomes: list
    takes: str
    gives: str

    @property
    def number(self):
        return self.name[:2]

    @property
    def link(self):
        return f"[](notebooks/{self.name}.ipynb)"


def read_chapter(path):
    """Return the chapter that a notebook is.

    The first cell has **Inputs**, **Outputs**, and ``**Prerequisites**: notebooks 01 to 03; 06 if it is there.``:
    numbers before a semicolon are needed, those behind it welcome.
    """
    opening = nbformat.read(path, as_version=4).cells[0].source
    said = {}
    for word in ("Prerequisites", "Inputs", "Outputs"):
        found = re.search(FIELD.format(word), opening, re.DOTALL)
        said[word] = " ".join(found[1].split()) if found else ""
    needed, _, welcome = said["Prerequisites"].partition(";")
    item = FIRST_ITEM.search(opening)
    return Chapter(
        name=path.stem,
        title=re.match(r"# (.+)", opening)[1],
        learn=" ".join(item[1].split()).rstrip(";.") if item else "",
        needs=numbers(needed),
        welcomes=numbers(welcome),
        takes=said["Inputs"].rstrip("."),
        gives=said["Outputs"].rstrip("."),
    )


def numbers(text):
    """Return the notebooks that a text names: ``"01 to 03 and 05"`` gives 01, 02, 03, 05."""
    found = re.findall(r"\b(\d\d)(?: to (\d\d))?\b", text)
    return [f"{number:02}" for first, last in found for number in range(int(first), int(last or first) + 1)]


def tree(chapters):
    """Return (depth, chapter) in the order of a tree, where each chapter hangs under the last one that it needs."""
    known = {chapter.number for chapter in chapters}
    parent = {c.number: max((n for n in c.needs if n in known and n < c.number), default=None) for c in chapters}

    def below(number, depth):
        for chapter in chapters:
            if parent[chapter.number] == number:
                yield depth, chapter
                yield from below(chapter.number, depth + 1)

    return list(below(None, 0))


def unlink(text, absent):
    """Replace links to chapters that are not in the book, a mapping from names to titles, by their titles."""
    for name, title in absent.items():
        text = re.sub(rf"\[[^\]]*\]\((?:\./)?(?:notebooks/)?{name}\.ipynb[^)]*\)", f"*{title}* (not in this run)", text)
    return text
