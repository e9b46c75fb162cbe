"""Trees in each published layout, with the quirks that users meet, through all six notebooks."""

import ast
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
from conftest import save_photo
from nbclient import NotebookClient
from PIL import Image
from scipy.special import expit

from s2p_lib import datasets, failure_plots, label_error_plots, plots, prediction_files, slices
from s2p_lib.made_scenes import scene_file
from s2p_lib.run import NOTEBOOKS, check_parameters, run_notebooks
from s2p_lib.run_folder import ROOT, RunFolder

QUICK = {"max_epochs": 3, "n_seeds": 2, "device": "cpu", "country": "FRA", "baselines": "quick"}
PLOTS_OF_PHOTOS = {
    name: plot
    for module in (plots, failure_plots, label_error_plots)
    for name, plot in vars(module).items()
    if name.startswith("plot_") and "data_dir" in inspect.signature(plot).parameters
}
DEMO_BACKBONE = {"backbone": "demo", "image_size": 64}  # real code on photos, without the seconds of a ResNet-50


def add_scene_files(data_dir: Path, dataset: str) -> None:
    """One published scene file for each row of the label file, in other batches than listed, and without photos."""
    labels = datasets.read(dataset, data_dir).labels
    rng = np.random.default_rng(0)
    for i, image in enumerate(labels["image"]):
        path = data_dir / datasets.SOURCES[dataset].scene_folder / "scenes" / f"batch{i % 3}" / f"{image}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(scene_file(expit(rng.normal(0, 4, 365))))
    shutil.rmtree(data_dir / f"curated_{dataset}" / "imgs")


def run_all(run_dir: Path, names: tuple[str, ...] = tuple(NOTEBOOKS), **given) -> RunFolder:
    """All six notebooks, or those of ``names``, their cells one after another in one kernel.

    A kernel for each takes five times as long, nearly all of it for imports; test_notebooks.py runs them that way.
    """
    given = check_parameters(QUICK | given | {"run_dir": str(run_dir)}).model_dump()
    parts = {}
    for name in names:
        source = papermill.iorw.load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
        known = {parameter: given[parameter] for parameter in NOTEBOOKS[name].parameters}
        parts[name] = papermill.parameterize.parameterize_notebook(source, known)
    whole = nbformat.v4.new_notebook(cells=[cell for part in parts.values() for cell in part.cells])
    NotebookClient(whole, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    run_dir.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():  # whose cells now hold their outputs
        nbformat.write(part, run_dir / f"{name}.ipynb")
    return RunFolder(run_dir)


def counted(run: RunFolder) -> tuple[int, int]:
    """Photos predicted, and left out."""
    audit = run.read_table("audit.csv")
    return len(run.read_table("predictions.csv")), int((audit["action"] == "left out").sum())


def pictures_in(notebook: Path) -> int:
    """Pictures in the cells that show photos."""
    return sum(n for source, n in plotted(notebook).items() if any(name in source for name in PLOTS_OF_PHOTOS))


def plotted(notebook: Path) -> dict[str, int]:
    """The cells of an executed notebook that plot, each with its number of pictures."""
    cells = {"".join(cell["source"]): cell.get("outputs", []) for cell in json.loads(notebook.read_text())["cells"]}
    return {
        source: sum("image/png" in out.get("data", {}) for out in outputs)
        for source, outputs in cells.items()
        if re.search(r"\bplot_\w+\(", source)
    }


def assert_every_plot_has_its_picture(run: RunFolder) -> None:
    """In 04_failures; what only the demo has is not plotted in these runs."""
    n_of = plotted(run.path("04_failures.ipynb"))
    assert len(n_of) == 12
    for source, n in n_of.items():
        assert n == (not source.startswith("if run.is_demo:")), source


def test_privacyalert_runs_from_photos(privacyalert, tmp_path):
    (privacyalert / "curated_privacyalert/imgs/batch0/50000000004.jpg").write_bytes(b"")
    run = run_all(tmp_path / "run", dataset="privacyalert", data_dir=str(privacyalert), **DEMO_BACKBONE)
    assert counted(run) == (21, 3)  # 24 rows: two invalid, one empty
    assert run.fold == "original"
    released = pd.read_csv(run.path("predictions_released.csv"), dtype=str).set_index("image")["pred_class"]
    predicted = run.read_table("predictions.csv").set_index("image").loc[released.index, "prediction"]
    assert (released.map({"1": "private", "0": "public"}) == predicted).all()
    table = run.read_table("predictions.csv")
    test = table[table["split"] == "test"]
    again = prediction_files.read_released_predictions(
        run.path("predictions_released.csv"), test, datasets.DATASETS["privacyalert"].codes
    )
    assert again["prediction"].tolist() == test["prediction"].tolist()
    assert "Photos are blurred" in run.path("failures.html").read_text()
    assert_every_plot_has_its_picture(run)

    (privacyalert / "curated_privacyalert/imgs/batch1/50000000005.jpg").unlink()
    run_all(run.dir, ("04_failures",), dataset="privacyalert", data_dir=str(privacyalert), **DEMO_BACKBONE)
    assert (test["image"] == "50000000005").sum() == 1
    text = run.path("04_failures.ipynb").read_text()
    assert "1 of 21 photos cannot be read any more (1 test), such as 50000000005. All counts and figures below" in text
    assert f"of {len(test) - 1} test photos fail, without 1 that cannot be read any more" in text
    assert "1 more test photo of the run cannot be read any" in run.path("failures.html").read_text()


@pytest.mark.parametrize("from_scenes", [False, True])
def test_picalert_and_vispr_run_alone_with_a_split_of_the_kits_own(source_tree, from_scenes, tmp_path):
    name, data_dir = source_tree
    given = {"features": "published_scenes"} if from_scenes else DEMO_BACKBONE
    if from_scenes:
        add_scene_files(data_dir, name)
    run = run_all(tmp_path / "run", dataset=name, data_dir=str(data_dir), **given)
    assert counted(run) == (40, 0)
    written = pd.read_csv(run.path("labels_splits.csv"))
    assert written["Label 2-class"].sum() == 14  # code 1 is private
    assert set(written["Fold 0"]) == {0, 1, 2}


def test_a_folder_of_own_photos_runs_and_keeps_copies_together(own_photos, tmp_path):
    first = own_photos / "private" / "IMG 1.jpg"
    for i in range(3):
        shutil.copy(first, own_photos / "private" / f"copy {i}.jpg")
    (own_photos / "public" / "notes.txt").write_text("buy milk")
    name = "写真 <b>'\"& " + "x" * 150
    save_photo(own_photos / "public" / f"{name}.png", 123)
    run = run_all(tmp_path / "run", dataset="folder", data_dir=str(own_photos), show_photos=True, **DEMO_BACKBONE)
    assert counted(run) == (34, 0)  # notes.txt is no photo, so it is not counted
    splits = run.read_table("splits.csv").set_index("image")["split"]
    assert splits[["IMG 1", "copy 0", "copy 1", "copy 2"]].nunique() == 1
    assert name in splits.index
    for page in ("report.html", "failures.html", "MODEL_CARD.md"):
        assert "<b>'" not in run.path(page).read_text()
    assert pictures_in(run.path("01_data_splits.ipynb")) == 2  # asked for
    assert_every_plot_has_its_picture(run)


def test_a_run_without_a_failure_and_with_too_few_photos_for_folds_says_so(tree, tmp_path):
    """Private photos are black, public ones white."""
    for i in range(12):
        Image.new("RGB", (40, 30 + i), "black" if i < 4 else "white").save(tree.photo(i))
    given = DEMO_BACKBONE | {"max_epochs": 30, "lr": 0.05}
    run = run_all(tmp_path / "run", dataset="ipd", data_dir=str(tree.dir), **given)
    for name in ("failures.csv", "label_errors.csv", "contradicting_copies.csv"):
        assert len(run.read_table(name)) == 0, name
    assert run.read_table("slice_errors.csv")["failed"].sum() == 0
    assert run.read_table("without_suspects.csv")["removed"].tolist() == [0]
    notebook = run.path("04_failures.ipynb").read_text()
    assert "0 of 3 test photos fail" in notebook
    assert_every_plot_has_its_picture(run)
    assert "labels cannot be checked: 5 folds need at least 5 different photos of each class" in notebook


def test_ipd_runs_from_published_scenes_without_a_photo(scene_tree, tmp_path):
    data_dir = tmp_path / "data"
    shutil.copytree(scene_tree, data_dir)
    files = sorted((data_dir / "PicAlert/scenes/batch00").glob("*.csv"))
    files[0].unlink()
    files[1].write_text("scene;conf\n")
    (data_dir / "PicAlert/scenes/batch07").mkdir()
    files[2].rename(data_dir / "PicAlert/scenes/batch07" / files[2].name)
    text = files[3].read_text()
    files[3].write_text(re.sub(r"airfield;[\d.]+", "airfield;1.000000", text))
    run = RunFolder(tmp_path / "run")
    run_notebooks(run.dir, QUICK | {"dataset": "ipd", "data_dir": str(data_dir), "features": "published_scenes"})
    assert counted(run) == (298, 2)
    audit = run.read_table("audit.csv").set_index("image")
    assert audit.loc[files[0].stem, "problem"] == "missing file"
    assert audit.loc[files[1].stem, "problem"].startswith("unusable scene file")
    assert audit.loc[files[2].stem, ["problem", "action"]].tolist() == [
        f"in another batch folder than listed (batch00/{files[2].stem})",
        "used",
    ]
    assert "clipped, as printed 0.000000 or 1.000000" in run.path("02_train.ipynb").read_text()
    report = run.path("report.html").read_text()
    assert "scene probabilities made by the kit" in report
    assert "At which image size (224 or 448)" in report
    assert "data:image/jpeg" not in report
    assert run.manifest["training"]["parameters"] == {"optimised": 732, "total": 732}
    assert set(run.read_table("claims.csv").set_index("id").loc[["test-accuracy", "released-demo"], "verdict"]) == {
        "not tested"
    }


def test_privacyalert_runs_from_published_scenes(privacyalert, tmp_path):
    add_scene_files(privacyalert, "privacyalert")
    run = run_all(
        tmp_path / "run", dataset="privacyalert", data_dir=str(privacyalert), features="published_scenes", fold="final"
    )
    assert counted(run) == (22, 2)
    assert set(run.read_table("splits.csv")["split"]) == {"train", "test"}


def calls_in_notebooks() -> Iterator[ast.Call]:
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(notebook.read_text())["cells"]:
            if cell["cell_type"] == "code":
                tree = ast.walk(ast.parse("".join(cell["source"])))
                yield from (node for node in tree if isinstance(node, ast.Call))


def test_every_picture_of_photos_in_a_notebook_asks_whether_it_may_be_shown():
    showing = [(ast.unparse(call.func).split(".")[-1], call) for call in calls_in_notebooks()]
    showing = [(name, call) for name, call in showing if name in (*PLOTS_OF_PHOTOS, "Explorer")]
    assert {name for name, _ in showing} == {*PLOTS_OF_PHOTOS, "Explorer"}
    for _, call in showing:
        assert [ast.unparse(arg) for arg in call.args[1:3]] == ["run.data_dir", "run.pictures_in_notebooks"]


def test_what_may_not_be_shown_in_a_notebook_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("s2p_lib.pictures.thumbnail", lambda *_: pytest.fail("opened"))
    row = {"image": "a", "path": "a.jpg", "label": "private", "prediction": "public", "confidence": 0.9, "kind": "x"}
    row |= {"loss": 2.3, "top_scenes": "beach, coast, wave", "top_scene_p": "0.9, 0.8, 0.7"}
    pair = {"rank": 1, "p_of_label": 0.1, "other_path": "b.jpg", "other_label": "public", "similarity": 0.9}
    pair |= {"path_a": "a.jpg", "label_a": "private", "path_b": "b.jpg", "label_b": "public", "bits": 0}
    table = pd.DataFrame([row | pair])
    statements = {statement.id: table for statement in slices.STATEMENTS}
    for name, plot in PLOTS_OF_PHOTOS.items():
        plt.close(plot(statements if name == "plot_statements" else table, tmp_path, "scenes"))
