"""The course in a real JupyterLab, driven in a browser as a reader would: open a notebook, Run All Cells, look at it.

It opens the notebooks of the preset `quick`, with the sizes of `ci`. ``pytest tests/test_jupyterlab.py --preset ci``
opens all, and another preset gives its own sizes.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook
from parameters import read_preset, resolve_parameters
from playwright.sync_api import expect

from .paths import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
PATIENCE = 600_000  # ms for all cells of a notebook: none of the course takes longer

# What a new installation asks its reader, and what would ask another host.
QUIET = {"buildCheck": False, "disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}

# Before its kernel is there, a notebook looks idle too, and would ask which kernel to run with.
CONNECTED = """() => {
    const session = globalThis.jupyterapp?.shell.currentWidget?.sessionContext;
    return session?.isReady && session.session?.kernel?.status === "idle";
}"""
# After an error no other cell runs.
FINISHED = """() => {
    const code = [...jupyterapp.shell.currentWidget.content.model.cells].filter(cell => cell.type === "code");
    const outputs = code.flatMap(cell => cell.outputs.toJSON());
    return code.at(-1).executionCount !== null || outputs.some(output => output.output_type === "error");
}"""

SHUT_DOWN = "() => jupyterapp.shell.currentWidget.sessionContext.shutdown()"


@contextmanager
def jupyterlab(root, home):
    """Run JupyterLab over a folder, on a free port of this computer; give its address and token, and stop it."""
    (home / "config" / "labconfig").mkdir(parents=True)
    (home / "config" / "labconfig" / "page_config.json").write_text(json.dumps(QUIET))
    own = {f"JUPYTER_{name.upper()}_DIR": str(home / name) for name in ("config", "data", "runtime")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(REPOSITORY)}
    token = secrets.token_hex()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command += [f"--IdentityProvider.token={token}", f"--notebook-dir={root}", "--expose-app-in-browser"]
    with subprocess.Popen(command, cwd=root, env=os.environ | own, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = []
            for line in server.stderr:  # it says its address when it is ready, or ends
                said.append(line)
                if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                    break
            assert address, "JupyterLab did not start:\n" + "".join(said)
            # what it says later must not fill the pipe
            threading.Thread(target=server.stderr.read, daemon=True).start()
            yield address.group(), token
        finally:
            server.terminate()  # it ends its kernels first
            server.wait(60)


@pytest.fixture
def preset(request):
    return request.config.getoption("preset") or "ci"


@pytest.fixture
def course(tmp_path, request, preset):
    """A copy of the notebooks of a preset, each with its parameters in it, as papermill would write them.

    With the preset `ci` it goes on from a run of the course, as readers do who have run `make course`: data are there,
    and the label curves are kept.
    """
    home = tmp_path / "course"
    shutil.copytree(REPOSITORY / "notebooks", home / "notebooks")
    if preset == "ci":
        run = request.getfixturevalue("course_run")
        shutil.copytree(run, home / "runs" / "ci")
        (home / "runs" / "ci" / "summary.json").unlink()
        (home / "data").symlink_to(run.parents[1] / "data")
    chosen, short = (read_preset(home / "notebooks" / "presets" / f"{name}.yml") for name in (preset, "quick"))
    if not request.config.getoption("preset"):
        chosen |= {name: False for name, given in short.items() if given is False}
    given = resolve_parameters(chosen, {path.stem: path for path in NOTEBOOKS}, preset)
    for path in (home / "notebooks").glob("*.ipynb"):
        if chosen.get(path.stem) is False:
            path.unlink()
        else:
            nbformat.write(parameterize_notebook(load_notebook_node(str(path)), given[path.stem]), path)
    return home


@pytest.mark.timeout(3600)
def test_run_all_cells_in_jupyterlab_runs_every_notebook_and_shows_its_figures(course, preset, chromium, tmp_path):
    notebooks, hosts = sorted((course / "notebooks").glob("*.ipynb")), set()
    with jupyterlab(course, tmp_path / "jupyter") as (address, token):
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname))
        for path in notebooks:
            page.goto(f"{address}/lab/tree/notebooks/{path.name}?reset&token={token}", wait_until="commit")
            run_all_cells(page, path)
            look_at(page, path)
            page.evaluate(SHUT_DOWN)
        page.close()

    assert hosts - {None} == {"127.0.0.1"}
    sections = json.loads((course / "runs" / preset / "summary.json").read_text())["sections"]
    assert list(sections) == [path.stem for path in notebooks]


def run_all_cells(page, path):
    """Run the notebook that is open by the menu, and save it."""
    page.wait_for_function(CONNECTED)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.wait_for_function(FINISHED)
    with page.expect_response(lambda answer: answer.request.method == "PUT" and path.name in answer.url) as saved:
        page.keyboard.press("Control+s")
    assert saved.value.ok


def look_at(page, path):
    """Every cell ran, in order and without an error; figures and maps are there to be seen, and sliders move."""
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    errors = [out for cell in code for out in cell.outputs if out.output_type == "error"]
    assert not errors, f"{path.stem}:\n" + "\n".join(errors[0].traceback)
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), path.stem
    for index, cell in enumerate(cells):
        given = [out.get("data", {}) for out in cell.get("outputs", [])]
        made, html = [kind for data in given for kind in data], "".join(data.get("text/html", "") for data in given)
        shown = page.locator(f'.jp-Notebook [data-windowed-list-index="{index}"]')
        if "plt.show()" in cell.source:
            assert "image/png" in made, f"{path.stem}: {cell.source}"
            for number in range(made.count("image/png")):  # a loop shows several
                picture = shown.locator(".jp-RenderedImage img").nth(number)
                picture.scroll_into_view_if_needed()
                assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        if "<iframe" in html:
            shown.scroll_into_view_if_needed()
            shown.frame_locator("iframe").locator(".bk-Canvas").first.wait_for()
        if 'type="range"' in html:
            slider, picture = shown.get_by_role("slider"), shown.locator("figure img:visible")
            slider.scroll_into_view_if_needed()
            picture.evaluate("image => image.decode()")  # JupyterLab has laid the cell out by then
            before = picture.get_attribute("title")
            slider.press("ArrowRight")
            expect(picture).not_to_have_attribute("title", before, timeout=60_000)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_asks_for_the_kernel_that_every_installation_has(path):
    assert nbformat.read(path, as_version=4).metadata.kernelspec.name == "python3"


def test_the_python3_kernel_is_this_python_whatever_the_user_has_registered(tmp_path, monkeypatch):
    other = tmp_path / "kernels" / "python3"
    other.mkdir(parents=True)
    (other / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "Old", "language": "python"}))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(REPOSITORY / "notebooks"))
    try:
        printed = []
        reply = client.execute_interactive(
            "import sys, astro_ssl_nb, data_fetch; print(sys.prefix)",
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
            timeout=120,
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        assert "".join(printed).strip() == sys.prefix
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
