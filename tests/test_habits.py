"""The habits of the project: clean code, clean notebooks, and commands that are the same wherever they are written."""

import ast
import graphlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from pybtex.database import parse_file

import astro_ssl_nb

from .paths import REPOSITORY

PACKAGES = ("astro_ssl_nb", "data_fetch")  # the second stands on the first
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)

# The tools stand beside this Python, whether its environment is active or not.
TOOLS = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(*command, cwd=REPOSITORY):
    """Run a command with the tools of this environment, and return it finished."""
    return subprocess.run(command, cwd=cwd, env=TOOLS, capture_output=True, text=True)


def git_files():
    """The files of the checkout that are or may be in git; skip the test where there is no checkout."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard")
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    return [name for name in listed.stdout.splitlines() if (REPOSITORY / name).is_file()]


def test_every_commit_hook_passes_and_changes_nothing(tmp_path):
    names = git_files()
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for command in (["git", "init", "--quiet"], ["git", "add", "--all"]):
        assert run(*command, cwd=tmp_path).returncode == 0
    hooks = run("pre-commit", "run", "--all-files", "--color=never", cwd=tmp_path)
    assert hooks.returncode == 0, hooks.stdout + hooks.stderr
    configured = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert hooks.stdout.count("Passed") == len(configured) > 0, hooks.stdout
    assert [name for name in names if (tmp_path / name).read_bytes() != (REPOSITORY / name).read_bytes()] == []


def test_the_hook_for_notebooks_takes_outputs_and_leaves_tags_and_ids(tmp_path):
    dirty = nbformat.read(NOTEBOOKS[0], as_version=4)
    for cell in dirty.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = 1, [nbformat.v4.new_output("stream", text="said")]
    nbformat.write(dirty, tmp_path / "dirty.ipynb")
    (hook,) = (
        hook
        for hook in yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
        if hook["id"] == "nbstripout"
    )
    assert run(*hook["entry"].split(), str(tmp_path / "dirty.ipynb")).returncode == 0
    assert nbformat.read(tmp_path / "dirty.ipynb", as_version=4) == nbformat.read(NOTEBOOKS[0], as_version=4)


def test_the_types_of_the_packages_are_consistent(tmp_path):
    checked = run(sys.executable, "-m", "mypy", f"--cache-dir={tmp_path}")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_what_the_public_may_call_has_an_example(package):
    module, bare = importlib.import_module(package), []
    for name in module.__all__:
        given = getattr(module, name)
        if not inspect.isroutine(given) and not (inspect.isclass(given) and not issubclass(given, Exception)):
            continue
        methods = [part for key, part in vars(given).items() if key[0] != "_"] if inspect.isclass(given) else []
        if not any("Examples\n----" in (inspect.getdoc(one) or "") for one in (given, *methods)):
            bare.append(name)
    # `open_archive` makes the one, `plan` the other, and their examples use them.
    assert bare == {"astro_ssl_nb": [], "data_fetch": ["Archive", "Plan"]}[package]


def floors():
    """The rooms of each package in the order of CONTRIBUTING.md, the lowest first."""
    text = (REPOSITORY / "CONTRIBUTING.md").read_text().split("From the ground up")[1].split("\n## ")[0]
    lists = [re.split(r":\s", one, maxsplit=1) for one in text.split("\n- ")[1:]]
    return {re.search(r"`(\w+)`", name)[1]: re.findall(r"`(\w+)`", rooms) for name, rooms in lists}


def imported(path):
    """The modules of the two packages that a file imports, at its top or inside a function, by their full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(path.relative_to(REPOSITORY).parent.parts)
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            rooms = [f"{module}.{alias.name}" for alias in node.names]
            found = rooms if (REPOSITORY / module.replace(".", "/")).is_dir() else [module]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in PACKAGES)


def test_a_room_imports_only_from_rooms_below_it():
    assert sorted(floors()) == sorted(PACKAGES)
    below = []
    for package in PACKAGES:
        rooms = {path.stem: path for path in (REPOSITORY / package).glob("*.py") if not path.stem.startswith("__")}
        folders = [path.parent.name for path in (REPOSITORY / package).glob("*/__init__.py")]
        assert sorted(floors()[package]) == sorted([*rooms, *folders]), "CONTRIBUTING.md names every room once"
        for name in floors()[package]:
            wrong = set(imported(rooms[name])) - set(below) if name in rooms else set()
            assert wrong == set(), f"{package}.{name} imports what is not below it, or no room"
            below.append(f"{package}.{name}")
        below.append(package)


def test_the_practice_archive_stands_by_itself_and_its_rooms_in_no_circle():
    rooms = {path.stem: path for path in (REPOSITORY / "data_fetch" / "practice").glob("*.py")}
    found = {f"data_fetch.practice.{name}": set(imported(path)) for name, path in rooms.items()}
    assert set.union(*found.values()) <= set(found)
    graphlib.TopologicalSorter(found).prepare()  # which refuses a circle


@each_notebook
def test_a_notebook_stays_within_its_size(path):
    cells = nbformat.read(path, as_version=4).cells
    assert 15 <= len(cells) <= 40
    assert all(len(cell.source.splitlines()) <= 40 for cell in cells if cell.cell_type == "code")


@each_notebook
def test_a_notebook_explains_every_parameter(path):
    parameters = papermill.inspect_notebook(str(path))
    unexplained = {name for name, parameter in parameters.items() if not parameter["help"]}
    assert "run" in parameters and not unexplained


@each_notebook
def test_a_notebook_names_no_place_of_one_machine(path):
    for cell in nbformat.read(path, as_version=4).cells:
        places = re.findall(r"(?:^|[\s\"'`(=])((?:/[\w.-]+/|~/|[A-Z]:\\)[\w.-]\S*)", cell.source)
        assert places == [], f"cell {cell.id} names {places}: start from Path('..')"


def commands(path):
    """The commands of a workflow, one a line, with what its matrix fills in."""
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        filled = [one["command"] for one in job.get("strategy", {}).get("matrix", {}).get("include", [])]
        for step in job["steps"]:
            given = step.get("run", "")
            yield from filled if "matrix.command" in given else given.splitlines()


def documented():
    """The lines of code in what readers and contributors are told to do, without remarks."""
    text = "".join((REPOSITORY / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    blocks = re.findall(r"```\w*\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return {" ".join(line.split()) for line in lines + inline}


@each_workflow
def test_a_workflow_runs_what_readers_are_told_to_run(path):
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    written = [command.strip() for command in commands(path) if not command.strip().startswith("source ")]
    assert written
    for command in written:
        assert command in documented(), command
        if command.startswith("make "):
            assert command.split()[1] in targets


@each_workflow
def test_a_workflow_may_do_little_and_ends(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"} and workflow["concurrency"]["group"]
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 120
        assert job.get("permissions", {}) == ({"pages": "write", "id-token": "write"} if name == "publish" else {})
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert used and all(re.fullmatch(r"actions/[\w-]+@v\d+", action) for action in used)


def test_the_book_that_is_published_is_the_one_that_the_readme_names():
    steps = yaml.safe_load((REPOSITORY / ".github/workflows/book.yml").read_text())["jobs"]["build"]["steps"]
    (path,) = (step["with"]["path"] for step in steps if "upload-pages-artifact" in step.get("uses", ""))
    assert f"{path}/index.html" in (REPOSITORY / "README.md").read_text()


def test_binder_and_colab_install_what_everybody_installs():
    # Binder takes the environment of the README, unless one of these is there and goes before it.
    assert not [name for name in ("binder", ".binder", "Dockerfile", "Project.toml") if (REPOSITORY / name).exists()]
    assert "conda env create --file environment.yml && conda activate astro-ssl-nb" in documented()
    installs = re.findall(r'"install", "--editable", "([^"]+)"', (REPOSITORY / "setup_env.py").read_text())
    told = [line for line in documented() if "pip install --editable" in line]
    assert told == [f'!python -m pip install --editable "{installs[0]}"']


def test_the_citation_can_be_read_by_those_who_cite():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    # https://github.com/citation-file-format/citation-file-format, schema 1.2.0
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    others = {"abstract", "date-released", "doi", "keywords", "license", "references", "repository-code", "type"}
    assert set(citation) - {"cff-version", "message", "title", "authors", "version"} <= others
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    for work in (citation, *citation["references"]):
        assert work["title"] and all({"name"} == set(a) or "family-names" in a for a in work["authors"])
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == citation["version"] == astro_ssl_nb.__version__
    assert project["license"] == citation["license"]
    assert (REPOSITORY / "LICENSE").read_text().startswith("BSD 3-Clause License")


def test_the_citation_names_the_paper_as_the_book_does():
    (paper,) = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["references"]
    fields = parse_file(REPOSITORY / "jupyter-book" / "references.bib").entries["martinazzo2020"].fields
    assert paper["type"] == "conference-paper"
    assert paper["title"].casefold() == fields["title"].replace("{", "").replace("}", "").casefold()
    assert paper["year"] == int(fields["year"])
    assert [one["value"] for one in paper["identifiers"]] == [f"arXiv:{fields['eprint']}"]
