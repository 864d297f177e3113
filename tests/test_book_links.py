"""Links that the builder of the book makes of prose: to the glossary, and from papers to the bibliography."""

import re

import nbformat
import pytest
from pybtex.database import parse_file

from .paths import REPOSITORY


@pytest.mark.parametrize("path", sorted((REPOSITORY / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_links_to_the_papers_it_uses_by_their_names(path, book_module):
    bibliography = REPOSITORY / "jupyter-book" / "references.bib"
    papers, entries = book_module("citations").cited_papers(bibliography), parse_file(str(bibliography)).entries
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    links = [(link["text"], link["address"]) for link in book_module("citations").LINK.finditer(prose)]
    cited = [(" ".join(text.split()), papers[where]) for text, where in links if re.search(r"\b\d{4}\b", text)]
    assert cited and "{cite}" not in prose  # JupyterLab shows a role as code
    for text, key in cited:
        entry = entries[key]
        authors = [[*one.rich_prelast_names, *one.rich_last_names] for one in entry.persons["author"]]
        surnames = [" ".join(map(str, author)) for author in authors]
        few = len(surnames) < 3 and "others" not in surnames
        names = " & ".join(surnames) if few else f"{surnames[0]} et al."
        assert text in (f"{names} {entry.fields['year']}", f"{names} ({entry.fields['year']})")


@pytest.mark.parametrize(
    "source, linked",
    [
        ("Cutouts, cutouts.", "{term}`Cutouts <cutout>`, cutouts."),
        ("a cutout is a cutout", "a {term}`cutout` is a cutout"),
        ("**Linear\nprobe** and probe", "**{term}`Linear probe <linear probe>`** and probe"),
        ("in nanomaggies", "in {term}`nanomaggies <nanomaggy>`"),
        ("the ARI of an arid place", "the {term}`ARI` of an arid place"),
        ("ari, scutout, cutout_set", "ari, scutout, cutout_set"),
        ("# A cutout\n\n## cutout", None),
        ("`cutout` and ``a `cutout` ``", None),
        ("```python\ncutout\n```\n", None),
        (":::{note} cutout\ncutout\n:::\n", None),
        ("$cutout$ and $$\ncutout\n$$", None),
        ("[a cutout](cutout.md), ![cutout](cutout.png), [cutout][cutout]", None),
        ("{cite}`cutout` and {term}`cutout`", None),
        ('<a href="x">cutout</a> https://example.org/cutout <img alt="cutout">', None),
        ("text\n\n    cutout\n", None),
        ("```\ncutout\n```\nno cutout there", "```\ncutout\n```\nno {term}`cutout` there"),
    ],
)
def test_the_first_use_of_a_term_in_prose_becomes_a_link_and_nothing_else(source, linked, book_module):
    cells = [nbformat.v4.new_markdown_cell(source), nbformat.v4.new_code_cell("cutout = 1")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    book_module("terms").link_terms(notebook, ["cutout", "linear probe", "nanomaggy", "ARI", "probes of a kind"])
    assert notebook.cells[0].source == (source if linked is None else linked)
    assert notebook.cells[1].source == "cutout = 1"


def test_a_term_is_linked_once_a_notebook(book_module):
    cells = [nbformat.v4.new_markdown_cell("a cutout") for _ in range(2)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    book_module("terms").link_terms(notebook, ["cutout"])
    assert [cell.source for cell in notebook.cells] == ["a {term}`cutout`", "a cutout"]
