"""What the modules that write the pages of the book say, without a book."""

import re

import nbformat

from .paths import REPOSITORY


def test_a_run_with_one_seed_has_no_interval(book_module):
    comparison = book_module("comparison")
    assert comparison.verdict({"mean": 0.125, "low": None, "high": None, "holds": "open"}) == "+0.125 (one seed) open"
    assert "0.900 (one seed)" in comparison.curve("sg", [["pretext", "linear", 5, 0.9, None, None]])


def test_a_difference_shows_the_sign_that_its_verdict_rests_on(book_module):
    signed = book_module("comparison").signed
    shown = {-0.000324: "-0.0003", 0.00004: "+0.00004", 0.0004: "+0.0004", 0.0123: "+0.012", 0.0: "+0.000"}
    assert {number: signed(number) for number in shown} == shown
    assert signed(-1e-17) == "+0.000"


def test_pictures_of_which_little_is_recorded_are_described_by_that(book_module):
    said = book_module("comparison").which_pictures
    assert said({}) == ""
    assert said({"pictures": 1200, "about": ""}) == "On 1,200 labelled pictures: balanced accuracy."
    some = said({"pictures": 90, "test": 30, "classes": {"A": 40, "B": 50}})
    assert some.endswith("of 2 classes (A 40, B 50; guessing scores 0.50): balanced accuracy on 30 of them.")


def test_a_notebook_that_prose_names_is_a_link(book_module):
    link, names = book_module("terms").link_chapters, ["03_few_shot", "06_shapes", "07_recipes"]
    linked = {
        "see notebook 03.": "see [notebook 03](03_few_shot.ipynb).",
        "Notebook\n07, a row": "[Notebook 07](07_recipes.ipynb), a row",
        "notebooks 03 to 07; 05": "notebooks [03](03_few_shot.ipynb) to [07](07_recipes.ipynb); 05",
        "Notebooks 03, 06 and 09": "Notebooks [03](03_few_shot.ipynb), [06](06_shapes.ipynb) and 09",
    }
    assert {text: link(text, names) for text in linked} == linked
    for text in (
        "notebook 09",
        "notebook 030",
        "`notebook 03`",
        "# Of notebook 03",
        "[notebook 03](x.md)",
        "a notebook",
    ):
        assert link(text, names) == text
    assert link("notebook 03", names, "notebooks/") == "[notebook 03](notebooks/03_few_shot.ipynb)"


def test_every_term_of_the_glossary_is_used_in_a_notebook(book_module):
    terms = book_module("terms")
    glossary = (REPOSITORY / "jupyter-book" / "glossary.md").read_text()
    entries = [re.findall(r"^\S.*$", entry, re.M) for entry in terms.GLOSSARY.search(glossary)[2].split("\n\n")]
    notebooks = [nbformat.read(path, as_version=4) for path in (REPOSITORY / "notebooks").glob("*.ipynb")]
    prose = "\n".join(cell.source for one in notebooks for cell in one.cells if cell.cell_type == "markdown")
    used = {term for term in sum(entries, []) if re.search(terms.written(term.partition(" (")[0]), prose)}
    assert [names for names in entries if not used.intersection(names)] == []
