"""The book, built from small executed notebooks that have the names of the course's."""

import html as html_text
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml

from .built_book import build, lay_run
from .paths import REPOSITORY

CHAPTERS = [
    chapter["file"]
    for part in yaml.safe_load((REPOSITORY / "jupyter-book" / "_toc.yml").read_text())["parts"]
    for chapter in part["chapters"]
]
NOTEBOOKS = [Path(file).name for file in CHAPTERS if file.startswith("notebooks/")]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="


def difference(task, n_labels, better, worse, mean, low, high, holds):
    """A paired difference as the notebooks record it."""
    found = {"n_labels": n_labels, "better": better, "worse": worse, "mean": mean, "low": low, "high": high}
    return {**found, "holds": holds, "task": task}


# As the notebooks record them.
SECTIONS = {
    "pretrain": {"headline": [["error in r", "0.123 mag | good"]]},
    "01_fetch_sdss_cutouts": {"archive": "practice", "objects": {"sg": 77, "pretext": 9123}, "overlap": 0},
    "03_few_shot_classification": {
        "protocol": "5 seeds",
        "accuracy": {
            "sg": [["pretext", "linear", 5, 0.8871, 0.84, 0.93], ["pretext", "finetune", 5, 0.9132, 0.9, 0.93]],
            "sgq": [["pretext", "linear", 5, 0.5942, 0.47, 0.72], ["pretext", "finetune", 5, 0.6, 0.5, 0.7]],
        },
        "verdicts": [
            difference("sg", 5, "pretext linear", "imagenet linear", 0.1883, 0.1566, 0.2199, "yes"),
            difference("sg", 10, "pretext linear", "imagenet linear", 0.0773, -0.0298, 0.1844, "open"),
            difference("sgq", 10, "pretext finetune", "scratch finetune", -0.0712, -0.1, -0.0298, "the reverse"),
            difference("sgq", 10, "both linear", "catalogue linear", 0.0512, 0.0011, 0.1, "yes"),
        ],
        "label_efficiency": {
            "sg": {
                "n_labels": [5, 10, 25, 60, 100],
                "efficiency": [1.0, 6.0, 4.41, 1.2, 1.1],
                "low": [None, 3.84, 3.31, None, None],
                "high": [1.24, None, None, 1.52, None],
                "lower_bound": [False, True, False, False, False],
                "upper_bound": [True, False, False, False, False],
            }
        },
        "against_columns": {
            "sgq": {
                "n_labels": [60],
                "efficiency": [0.32],
                "low": [0.25],
                "high": [0.41],
                "lower_bound": [False],
                "upper_bound": [False],
            }
        },
    },
    "06_morphology_and_mergers": {
        "objects": {"mg": 812, "ef15": 512},
        "balanced_accuracy": {"columns": ["arm"], "mg": [["both", "linear", 25, 0.7654, 0.7, 0.8]]},
        "verdicts": [difference("mg", 25, "pretext linear", "catalogue linear", -0.0432, -0.06, -0.02, "the reverse")],
        "maps": {
            "pretext": {
                **{"nmi": 0.0323, "nmi_low": 0.01, "nmi_high": 0.05},
                **{"nmi_lengths": 0.0212, "ari": 0.0456, "precision_at_10": 0.7891},
            },
            "imagenet": {"nmi": 0.0234, "nmi_lengths": 0.0313, "ari": 0.0345, "precision_at_10": 0.6789},
            "photometry": {"nmi": 0.0534, "nmi_lengths": 0.0113, "ari": 0.0345, "precision_at_10": 0.8789},
        },
    },
    "07_what_to_pretrain_on": {
        "differences": [
            {
                **difference("sg", 10, "colours linear", "magnitudes linear", 0.01, -0.02, 0.04, "open"),
                "recipe": "colours",
            }
        ],
        "paper": [
            difference("mg", 10, "magnitudes linear", "imagenet linear", -0.066, -0.103, -0.029, "the reverse"),
            difference("sg", 10, "magnitudes linear", "five magnitudes linear", 0.012, -0.000324, 0.025, "open"),
        ],
        "five_bands": [difference("sgq", 10, "pretext finetune", "scratch finetune", 0.137, 0.079, 0.196, "yes")],
    },
    "own_pictures": {
        "pictures": 2644,
        "test": 926,
        "classes": {"round": 1300, "edge-on": 1344},
        "pool_classes": {"round": 1294, "edge-on": 19},
        "test_classes": {"round": 916, "edge-on": 10},
        "seeds": 7,
        "about": "of a survey",
        "balanced_accuracy": [["pretext", "linear", 10, 0.5981, 0.5632, 0.633]],
        "headline": [["10 labels per class", "+0.114"]],
        "verdicts": [difference("", 10, "pretext linear", "imagenet linear", 0.1142, 0.0031, 0.2253, "yes")],
    },
}


CAPTION = "Star, galaxy or quasar: accuracy against labels. Map of GALAXY, QSO, STAR."


def executed_notebook(title, prose):
    """Return a notebook with prose, a formula, and outputs of every kind that the course makes."""
    new = nbformat.v4
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "a widget"}
    figures = [{"alt": "One dot.", "caption": CAPTION}, {"alt": "One more.", "caption": "A second dot."}]
    outputs = [
        *(new.new_output("display_data", {"image/png": DOT}, metadata={"image/png": said}) for said in figures),
        new.new_output("display_data", {"text/html": "<table><tr><td>1</td></tr></table>"}),
        new.new_output("display_data", {"text/html": "\n<style>\n progress { color: red }\n</style>\n"}),
        new.new_output("display_data", {"text/html": "", "text/plain": "an emptied bar"}),
        new.new_output("display_data", widget),
        new.new_output("stream", name="stderr", text="progress 100%"),
    ]
    code = new.new_code_cell("1 + 1", execution_count=1, outputs=outputs)
    cells = [new.new_markdown_cell(f"# {title}\n\n{prose}\n\n$$m = 22.5 - 2.5 \\log_{{10}} f$$"), code]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    metadata = {"language_info": {"name": "python"}, "papermill": {"input_path": "/home/someone/notebook.ipynb"}}
    return new.new_notebook(cells=cells, metadata=metadata)


PROSE = """A magnitude $m$ ([Lupton et al. 2004](https://arxiv.org/abs/astro-ph/0312483)),
[further](../jupyter-book/survey_scale.md).

**Run time**: the book states it."""


def make_run(root, prose=PROSE):
    """Lay the run of notebooks with this prose into a folder, and return the folder of the run."""
    notebooks = {name: executed_notebook(f"Notebook {name[:2]}", prose) for name in NOTEBOOKS}
    return lay_run(root, notebooks, preset="quick", sections=SECTIONS)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The folder of a book that was built."""
    root = tmp_path_factory.mktemp("book")
    run = make_run(root)
    built = build(root)
    assert built.returncode == 0, built.stdout + built.stderr
    index = run / "book" / "_build" / "html" / "index.html"
    assert built.stdout.strip().endswith(f"The book: {index}")
    return index.parent


def test_every_notebook_of_the_course_is_in_the_table_of_contents():
    assert sorted(NOTEBOOKS) == NOTEBOOKS == sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.ipynb"))


def test_the_pages_show_the_notebooks_and_what_the_run_measured(html):
    assert [file for file in CHAPTERS if not (html / f"{file}.html").exists()] == ["performance"]  # no bench.json
    notebook = (html / f"notebooks/{NOTEBOOKS[0]}.html").read_text()
    assert "progress {" not in notebook  # what a progress bar leaves behind, and then an empty box
    assert notebook.count("output text_html") == 1
    described = re.findall(r'<img alt="([^"]+)".+?<figcaption>\s*<p>.*?caption-text">(.+?)</span>', notebook, re.DOTALL)
    assert described == [("One dot.", CAPTION), ("One more.", "A second dot.")]
    assert notebook.count("cell_input") == 1 and "progress 100%" not in notebook and "Lupton" in notebook
    assert "1 min 23 s and 1.2 GB of memory" in notebook and "the book states it" not in notebook
    assert 'href="../survey_scale.html"' in notebook
    measured = (html / "measured.html").read_text()
    for text in ("0.123 mag | good", "1 min 23 s", "1234", "3.99.1", "Notebook 01", "every notebook", "Own pictures"):
        assert text in measured
    assert "Martinazzo" in (html / "bibliography.html").read_text()
    assert not any("/home/someone" in path.read_text() for path in html.rglob("*.ipynb"))


def test_only_the_book_of_a_run_is_replaced(tmp_path):
    other = make_run(tmp_path).with_name("other")
    (other / "book").mkdir(parents=True)
    (other / "book" / "mine.tex").write_text("mine")
    for run, said in (("other", "There is no run 'other'"), (str(other), "The run is a name of letters")):
        done = build(tmp_path, run)
        assert done.returncode == 1 and said in done.stderr
        assert [path.name for path in (other / "book").iterdir()] == ["mine.tex"]


def test_a_chapter_that_the_preset_left_out_is_not_in_the_book(tmp_path):
    run = make_run(tmp_path)
    summary = json.loads((run / "summary.json").read_text())
    gone = "09_where_it_fails"
    summary["left_out"] = [gone]
    del summary["notebooks"][gone]
    (run / "summary.json").write_text(json.dumps(summary))
    machine = {"threads": 2, "gpu": None, **summary["machine"]}
    (tmp_path / "runs" / "bench.json").write_text(json.dumps({"machine": machine, "sections": {}, "versions": {}}))
    built = build(tmp_path)
    assert built.returncode == 0, built.stdout + built.stderr
    html = run / "book" / "_build" / "html"
    assert "Measured with 2 threads" in words(html / "performance.html")
    assert "left these notebooks out: 09 Where it fails." in words(html / "measured.html")
    for page in ("course_map.html", "glossary.html", "measured.html", "parameters.html"):
        text = (html / page).read_text()
        assert gone + ".html" not in text, page
        assert page == "measured.html" or "Where it fails</em> (not in this run)" in text, page
    pages = {path.stem for path in (run / "book" / "_build" / "html" / "notebooks").glob("*.html")}
    assert pages == set(NOTEBOOKS) - {gone}


def words(page):
    """Return the text of a page, without its markup and with straight quotes."""
    text = html_text.unescape(re.sub(r"<[^>]+>", " ", page.read_text()))
    return " ".join(text.translate(str.maketrans("“”‘’", "\"\"''")).split())


def test_the_map_says_what_each_notebook_needs_takes_and_gives(html, book_module):
    page = (html / "course_map.html").read_text()
    tree = page[page.index("course-tree") : page.index("course-cards")]
    shown = re.findall(r"<p><a [^>]*notebooks/(\d\d)_[^>]*>(?:<[^>]+>)*\1 ", tree)
    assert sorted(shown) == [name[:2] for name in NOTEBOOKS]
    assert [n for n in shown if n <= "06"] == ["01", "02", "03", "06", "04", "05"]  # 06 hangs from 03
    cards = words(html / "course_map.html").partition("Files and folders are")[2]
    for name in NOTEBOOKS:
        chapter = book_module("chapters").read_chapter(REPOSITORY / "notebooks" / f"{name}.ipynb")
        assert chapter.learn and chapter.takes and chapter.gives
        assert f"Needs : {', '.join(chapter.needs) or 'no other'} Takes" in cards
        assert re.sub("`(runs/<run>/)?", "", chapter.gives.split()[-1]) in cards
    assert book_module("chapters").numbers("notebooks 01 to 03 and 07") == ["01", "02", "03", "07"]
    assert cards.count("Ran for : 1 min 23 s") == len(NOTEBOOKS)


def test_the_parameters_of_every_notebook_are_documented_with_what_the_presets_set(html):
    page = words(html / "parameters.html")
    for name in NOTEBOOKS:
        for parameter in papermill.inspect_notebook(str(REPOSITORY / "notebooks" / f"{name}.ipynb")).values():
            if parameter["name"] != "run":
                known = f"{parameter['name']} {parameter['help']} {parameter['default']}"
                assert " ".join(known.split()) in page, name
    objects = {}
    for preset in ("quick", "laptop", "paper"):
        values = yaml.safe_load((REPOSITORY / "notebooks" / "presets" / f"{preset}.yml").read_text())
        left_out = [name for name in NOTEBOOKS if values.get(name) is False]
        assert page.count(f"The preset {preset} leaves this notebook out") == len(left_out)
        objects[preset] = values["01_fetch_sdss_cutouts"]["n_pretext"]
    # `quick` has the default, whose column is empty
    assert f"n_pretext unlabelled objects 4500 {objects['laptop']} {objects['paper']} n_sg" in page


def test_the_paper_stands_beside_the_numbers_of_the_run(html):
    page = words(html / "reproduce.html")
    for text in (
        "Archive practice",
        "77 SG, 9,123 pretext, 812 MG, 512 EF-15",
        "pretext linear 0.887 [0.840, 0.930]",
        "SG linear, linear +0.188 [+0.157, +0.220] yes +0.077 [-0.030, +0.184] open",
        "SGQ finetune, finetune -0.071 [-0.100, -0.030] the reverse",
        "SGQ linear, linear +0.051 [+0.001, +0.100] yes",
        "MG linear, linear -0.043 [-0.060, -0.020] the reverse",
        "pretext is better than imagenet linear, linear 1 1 0",
        "magnitudes alone, the paper's recipe, are better than imagenet linear, linear 0 0 1",
        "SG 5 at most 1.0 [or less, 1.2] SG 10 at least 6.0 [3.8, or more]",
        "SG 25 4.4 [3.3, or more] SG 60 1.2 [or less, 1.5] SG 100 1.1 (no interval)",
        "SG colours +0.010 [-0.020, +0.040] open",
        "MG 10 imagenet -0.066 [-0.103, -0.029] the reverse",
        "SG 10 five magnitudes +0.012 [-0.0003, +0.025] open",
        "SGQ 10 pretext finetune scratch finetune +0.137 [+0.079, +0.196] yes",
        "both linear 0.765 [0.700, 0.800]",
        "MG pretext 0.032 (0.010 to 0.050) 0.021 0.046 0.789",
        # Its mean is, and its lowest is not.
        "NMI: pretext is ahead of imagenet nowhere. The columns alone, without a picture, are ahead of it on MG.",
        "NMI, lengths kept: pretext is ahead of imagenet nowhere. ARI",
        "ARI: pretext is ahead of imagenet on MG. Precision",
        "SGQ 60 0.32 [0.25, 0.41]",
        "On 2,644 labelled pictures (of a survey) of 2 classes (round 1,300, edge-on 1,344; guessing scores 0.50): "
        "balanced accuracy on 926 of them, over 7 draws of labels from the others. The rarest class, edge-on, has 19 "
        "pictures that labels are drawn from, and 10 that are scored: one of these is 0.050 of the score. Draws of 10 "
        "share most of those 19, so that intervals there are too narrow.",
        "10 pretext linear imagenet linear +0.114 [+0.003, +0.225] yes",
        "pretext linear 0.598 [0.563, 0.633]",
    ):
        assert text in page, text
    for notebook in ("02", "04"):
        assert f"This run lacks notebook {notebook}" in page
    assert "lacks notebook 06" not in page and "lacks notebook 03" not in page
    assert (html / "reproduce.html").read_text().count("<figure") == 4  # one a figure of the paper that the trial has


def test_the_first_page_shows_a_figure_and_what_few_labels_are_worth(html):
    assert "10 labels per class: at least 6.0 [3.8, or more]" in words(html / "intro.html")
    assert (html / "intro.html").read_text().count("<figure") == 1


def test_results_of_a_simulated_sky_are_called_that(book_module, html):
    assert "The sky of this run was simulated : it took the archive practice ." in words(html / "measured.html")
    summary = {"preset": "quick", "machine": {"cores": 2, "processor": "", "memory_gb": 8, "system": ""}}
    summary |= {"versions": {}, "notebooks": {"01": {"seconds": 1, "peak_memory_mb": 1}}}
    chapter = type("Chapter", (), {"name": "01", "number": "01", "link": "[]()"})
    for archive, simulated in (("practice", True), ("sdss", False)):
        sections = {"01_fetch_sdss_cutouts": {"archive": archive}}
        page = book_module("pages").measured_page({**summary, "sections": sections}, "trial", [chapter], ["quick"])
        assert ("was simulated" in page.partition("## Results")[0]) == simulated and "Own pictures" not in page


def test_the_glossary_and_the_chapters_link_both_ways(html, book_module):
    notebook = (html / f"notebooks/{NOTEBOOKS[0]}.html").read_text()
    assert 'href="../glossary.html#term-magnitude"' in notebook
    source = (html / f"_sources/notebooks/{NOTEBOOKS[0]}.ipynb").read_text()
    assert "{term}" not in source
    glossary = (REPOSITORY / "jupyter-book" / "glossary.md").read_text()
    terms = book_module("terms").glossary_terms(glossary)
    assert len(terms) >= 30 and "linear probe" in terms
    for entry in book_module("terms").GLOSSARY.search(glossary)[2].split("\n\n"):
        assert re.search(r"\]\(notebooks/\w+\.ipynb\)", entry), entry


def test_a_link_to_a_paper_is_a_citation_in_the_book_alone(html):
    notebook = (html / f"notebooks/{NOTEBOOKS[0]}.html").read_text()
    link = r'href="\.\./bibliography\.html#([\w-]+)"[^>]*>(?:<span>)?Lupton <em>et al.</em>, 2004'
    place = re.search(link, notebook)[1]
    bibliography = (html / "bibliography.html").read_text()
    assert "Preparing red-green-blue images" in bibliography.split(f'id="{place}"')[1][:1000]
    source = (html / f"_sources/notebooks/{NOTEBOOKS[0]}.ipynb").read_text()
    assert "[Lupton et al. 2004](https://arxiv.org/abs/astro-ph/0312483)" in source and "{cite" not in source


class Loads(HTMLParser):
    """Collect every address that a browser loads by itself when it shows a page."""

    ATTRIBUTES = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        address = attributes.get(self.ATTRIBUTES.get(tag))
        if address and attributes.get("rel") not in ("canonical", "next", "prev", "author", "license"):
            self.found.append(address)


def test_no_page_or_stylesheet_names_another_host_for_what_it_loads(html):
    pages = list(html.rglob("*.html"))
    assert len(pages) > len(CHAPTERS)
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.found or 'http-equiv="Refresh"' in page.read_text(), page
        assert not [address for address in loads.found if re.match(r"(\w+:)?//", address)], page
        assert not re.findall(r"(?:require\.js|unpkg\.com|jsdelivr|cdnjs|googleapis)", page.read_text()), page
    for sheet in html.rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:\w+:)?//", sheet.read_text()), sheet


def test_a_broken_link_fails_the_build_and_is_named(tmp_path):
    make_run(tmp_path, "[gone](nowhere.md), {cite}`nobody1999`")
    built = build(tmp_path)
    assert built.returncode == 1
    assert "nowhere" in built.stderr and "nobody1999" in built.stderr
    assert "The book was not built" in built.stderr


def test_an_unfinished_or_unknown_run_is_refused_with_the_command_that_makes_it(tmp_path):
    run = make_run(tmp_path)
    summary = json.loads((run / "summary.json").read_text())
    del summary["notebooks"][NOTEBOOKS[1]]
    (run / "summary.json").write_text(json.dumps(summary))
    unfinished = build(tmp_path)
    assert unfinished.returncode == 1
    assert NOTEBOOKS[1] in unfinished.stderr and "make course RUN=trial" in unfinished.stderr
    shutil.rmtree(run)
    unknown = build(tmp_path)
    assert unknown.returncode == 1 and "There is no run 'trial'" in unknown.stderr
