"""The failures notebook as a reader uses it: JupyterLab, started here, in a real browser."""

import json
import os
import re
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest
from conftest import save_photo

from s2p_lib.predict import WARNING
from s2p_lib.run import NOTEBOOKS, run_notebooks
from s2p_lib.run_folder import ROOT, RunFolder

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it is a test extra")
expect = sync_api.expect

SCREENSHOTS = ROOT / "outputs" / "screenshots"
DONE = "All cells have run."  # printed by a cell that the test adds
LONGEST_S = 180  # far more than any step needs: a slow machine is no failure


@pytest.fixture(scope="module")
def run(browser, small_demo, tmp_path_factory) -> RunFolder:
    """A small run of the first three notebooks; ``browser`` comes first, as without it there is nothing to do."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "small")
    given = {"data_dir": str(small_demo), "max_epochs": 30, "n_seeds": 2, "device": "cpu", "workers": 0}
    run_notebooks(run.dir, given | {"baselines": "quick", "compare_bn_modes": False}, tuple(NOTEBOOKS)[:3])
    return run


@pytest.fixture(scope="module")
def lab(run, tmp_path_factory):
    """Address of a copy of the failures notebook in JupyterLab, set to the small run."""
    root = tmp_path_factory.mktemp("lab")
    notebook = json.loads((ROOT / "notebooks" / "04_failures.ipynb").read_text(encoding="utf-8"))
    (cell,) = [c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", [])]
    cell["source"] = [f"run_dir = {str(run.dir)!r}\n" if s.startswith("run_dir") else s for s in cell["source"]]
    notebook["cells"].append(
        {"cell_type": "code", "id": "last", "metadata": {}, "outputs": [], "source": [f"print({DONE!r})"]}
    )
    (root / "04_failures.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    own = {
        f"JUPYTER{name}_DIR": str(tmp_path_factory.mktemp(name))
        for name in ("_CONFIG", "_RUNTIME", "LAB_SETTINGS", "LAB_WORKSPACES")
    }
    news = Path(own["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')  # else it asks in a window of its own
    own |= {"IPYTHONDIR": str(tmp_path_factory.mktemp("ipython")), "PYTHONPATH": str(ROOT)}
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.root_dir={root}"]
    command += ["--ServerApp.port=0", f"--IdentityProvider.token={token}"]  # any free port
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with subprocess.Popen(command, env=os.environ | own, cwd=root, stderr=subprocess.PIPE, text=True) as server:
        try:
            port = _port_of(server)
            threading.Thread(target=server.stderr.read, daemon=True).start()  # a full pipe would stop the server
            yield f"http://127.0.0.1:{port}/lab/tree/04_failures.ipynb?token={token}"
        finally:
            server.terminate()


def _port_of(server: subprocess.Popen) -> str:
    """The port that the server tells once it listens."""
    too_late = threading.Timer(LONGEST_S, server.kill)  # which ends its output, and so the loop
    too_late.start()
    lines = []
    try:
        for line in server.stderr:
            lines.append(line)
            if told := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                return told[1]
    finally:
        too_late.cancel()
    raise RuntimeError(f"JupyterLab did not start:\n{''.join(lines)[-2000:]}")


@pytest.fixture(scope="module")
def page(browser, lab):
    """The notebook with every cell run and the explorer open; ``page.asked`` are the addresses it asked for."""
    page = browser.new_page(viewport={"width": 1500, "height": 1600})
    page.set_default_timeout(1000 * LONGEST_S)
    expect.set_options(timeout=1000 * LONGEST_S)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(lab)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    done = page.locator(".jp-OutputArea-output, [data-mime-type*=error]")
    done.filter(has_text=re.compile(f"{DONE}|Traceback")).first.wait_for()
    assert page.locator("[data-mime-type*=error]").all_inner_texts() == []
    page.get_by_role("button", name=re.compile("^Explore")).click()
    page.locator(".s2p-photo").first.wait_for()
    yield page
    page.close()


def choose(page, name: str, value: str) -> None:
    """Set a filter to the option that begins with ``value``."""
    select = page.get_by_label(name, exact=True)
    select.select_option(label=next(o for o in select.locator("option").all_text_contents() if o.startswith(value)))


def show_missed_private_photos(page) -> None:
    for name, value in {"split": "any", "label": "private", "prediction": "public"}.items():
        choose(page, name, value)


def counted(page, text: str) -> None:
    expect(page.locator(".jupyter-widgets").get_by_text(text)).to_be_visible()


def test_filters_and_pages_change_what_is_shown(page, run):
    table = run.read_table("predictions.csv")
    n = len(table)
    choose(page, "split", "any")
    counted(page, f"{n} of {n} photos, page 1 of {-(-n // 24)}")
    assert page.get_by_label("split", exact=True).evaluate("e => e.selectedOptions[0].text") == "any"
    assert page.locator(".s2p-photo").count() == 24
    page.get_by_role("button", name="Next page").click()
    counted(page, "page 2 of")
    show_missed_private_photos(page)
    missed = ((table["label"] == "private") & (table["prediction"] == "public")).sum()
    counted(page, f"{missed} of {n} photos, page 1 of")
    captions = page.locator(".s2p-photo").all_inner_texts()
    assert all(caption.startswith("private, called public") for caption in captions)
    assert len(captions) == min(missed, 24)


def test_the_buttons_show_their_photos(page):
    expect(page.locator(".s2p-photo").last).to_have_css("background-image", re.compile('^url."data:image/jpeg'))
    pictures = {p.evaluate("e => getComputedStyle(e).backgroundImage") for p in page.locator(".s2p-photo").all()}
    assert len(pictures) == page.locator(".s2p-photo").count()


def test_a_photo_is_explained_marked_exported_and_imported_again(page, run):
    show_missed_private_photos(page)
    page.locator(".s2p-photo").nth(1).click()
    expect(page.locator(".s2p-explained").first).to_contain_text("Log-odds of private")
    page.get_by_label("mark as", exact=True).select_option("ambiguous")
    page.get_by_label("note", exact=True).fill('<b>who</b>, "quoted"')
    page.get_by_role("button", name="Mark this photo").click()
    expect(page.locator(".s2p-photo").nth(1)).to_contain_text("\u2605 ambiguous")
    page.get_by_role("button", name="Export marks").click()
    expect(page.get_by_text("small/marks.csv written, with hashes")).to_be_visible()
    (row,) = run.read_table("marks.csv").to_dict("records")
    assert (row["mark"], row["note"]) == ("ambiguous", '<b>who</b>, "quoted"')
    assert (row["label"], row["prediction"]) == ("private", "public")
    assert row["image"] not in set(run.read_table("predictions.csv")["image"])
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.get_by_label("outcome", exact=True).scroll_into_view_if_needed()
    page.screenshot(path=SCREENSHOTS / "explorer.png")

    page.get_by_label("with image names").check()
    page.get_by_role("button", name="Export marks").click()
    expect(page.get_by_text("written, with image names")).to_be_visible()
    with_names = run.read_table("marks.csv")
    named = run.read_table("predictions.csv").set_index("image").loc[with_names["image"][0]]
    assert named["p_private"] == pytest.approx(with_names["p_private"][0], abs=1e-12)

    page.get_by_role("button", name="Remove its mark").click()
    expect(page.locator(".s2p-photo").nth(1)).not_to_contain_text("\u2605")
    upload(page, "Import marks", "marks.csv", pd.DataFrame([row]).to_csv(index=False).encode())
    expect(page.get_by_text("Marks imported: 1.")).to_be_visible()
    expect(page.locator(".s2p-photo").nth(1)).to_contain_text("\u2605 ambiguous")
    upload(page, "Import marks", "other.csv", b"image,mark,note\nsomebody,ambiguous,\n")
    expect(page.get_by_text("none of the 1 photos in the file is one of the")).to_be_visible()


def test_own_photos_are_predicted_with_the_cards_warning(page, tmp_path):
    save_photo(tmp_path / "mine.jpg", 0)
    page.get_by_role("button", name="Try own photos").click()
    expect(page.get_by_text(WARNING)).to_be_visible()
    upload(page, "Upload photos", "<i>mine</i>.jpg", (tmp_path / "mine.jpg").read_bytes())
    expect(page.get_by_text(re.compile("<i>mine</i>.jpg: called (private|public), p_private"))).to_be_visible()
    page.screenshot(path=SCREENSHOTS / "own_photos.png")


def upload(page, button: str, name: str, content: bytes) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button).click()
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": content})


def test_nothing_was_asked_of_another_machine(page):
    other = [url[:80] for url in page.asked if not re.match(r"(https?|ws)://127\.0\.0\.1|data:|blob:", url)]
    assert page.asked
    assert other == []
