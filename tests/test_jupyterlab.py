"""The failures notebook as a reader uses it: JupyterLab, started here, in a real browser."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import save_photo

from s2p_lib.run import NOTEBOOKS, run_notebooks
from s2p_lib.run_folder import ROOT, RunFolder

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)")

SCREENSHOTS = ROOT / "outputs" / "screenshots"
START_S, CELLS_S = 60, 120  # far more than needed: a slow machine is no failure


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def trained(small_demo, tmp_path_factory) -> RunFolder:
    """A small run of the first three notebooks."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "small")
    given = {"data_dir": str(small_demo), "max_epochs": 30, "n_seeds": 2, "device": "cpu", "workers": 0}
    run_notebooks(run.dir, given | {"baselines": "quick", "compare_bn_modes": False}, tuple(NOTEBOOKS)[:3])
    return run


@pytest.fixture(scope="module")
def lab(trained, tmp_path_factory):
    """Address of a JupyterLab with a copy of the failures notebook, set to the small run; it asks no other machine."""
    root = tmp_path_factory.mktemp("lab")
    notebook = json.loads((ROOT / "notebooks" / "04_failures.ipynb").read_text(encoding="utf-8"))
    (cell,) = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    cell["source"] = [f"run_dir = {str(trained.dir)!r}\n" if s.startswith("run_dir") else s for s in cell["source"]]
    (root / "04_failures.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    offline = ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={root}"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}", *offline]
    own = {name: str(tmp_path_factory.mktemp(name)) for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR")}
    own |= {name: str(tmp_path_factory.mktemp(name)) for name in ("JUPYTERLAB_WORKSPACES_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {"IPYTHONDIR": str(tmp_path_factory.mktemp("ipython")), "PYTHONPATH": str(ROOT)}
    with open(root / "server.log", "w") as log:
        server = subprocess.Popen(command, env=os.environ | own, cwd=root, stdout=log, stderr=log)
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", server, root / "server.log")
        yield f"http://127.0.0.1:{port}/lab/tree/04_failures.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(START_S)


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def page(browser, lab):
    """The notebook with every cell run."""
    page = browser.new_page(viewport={"width": 1500, "height": 1300})
    page.set_default_timeout(1000 * START_S)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    page.get_by_text("failures are of a kind that the card describes").last.wait_for(timeout=1000 * CELLS_S)
    yield page
    page.close()


@pytest.fixture(scope="module")
def explorer(page):
    """The page with the explorer open."""
    page.get_by_role("button", name=re.compile("^Explore")).click()
    page.wait_for_timeout(3000); page.screenshot(path="/tmp/w/lab1.png")
    page.locator(".s2p-photo").first.wait_for(timeout=5000)
    return page


def choose(page, name: str, value: str) -> None:
    """Set a filter to the option that begins with ``value`` and wait until the kernel has filtered."""
    select = page.get_by_label(name, exact=True)
    options = select.locator("option").all_text_contents()
    select.select_option(label=next(text for text in options if text.startswith(value)))


def photo_captions(page) -> list[str]:
    return page.locator(".s2p-photo").all_inner_texts()


def test_filters_pages_and_pictures_work(explorer):
    choose(explorer, "split", "any")
    explorer.get_by_text("148 of 148 photos, page 1 of 7").wait_for()
    assert len(photo_captions(explorer)) == 24
    explorer.get_by_role("button", name="Next page").click()
    explorer.get_by_text("page 2 of 7").wait_for()
    choose(explorer, "outcome", "correct")
    explorer.get_by_text("page 1 of").wait_for()
    choose(explorer, "label", "private")
    sync_api.expect(explorer.locator(".s2p-photo").first).to_contain_text("private, called private")
    assert all(text.startswith("private, called private") for text in photo_captions(explorer))
    shown = "element => getComputedStyle(element).backgroundImage.startsWith('url(\"data:image/jpeg')"
    assert all(photo.evaluate(shown) for photo in explorer.locator(".s2p-photo").all())
