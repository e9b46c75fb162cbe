"""The notebooks as a reader gets them: run by papermill, then run again by nbval, and on a real ResNet-50."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import papermill
import pytest
import torch
import torchvision
from conftest import REFERENCE

from s2p_lib import claims, datasets
from s2p_lib.config import read_config
from s2p_lib.run import NOTEBOOKS, run_notebooks
from s2p_lib.run_folder import ROOT, RunFolder

NAMES = tuple(NOTEBOOKS)


@pytest.fixture(scope="module")
def executed(small_demo, tmp_path_factory) -> RunFolder:
    """A run of all six notebooks with small parameters."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "small")
    given = {
        "data_dir": str(small_demo),
        "max_epochs": 30,
        "n_seeds": 5,
        "workers": 0,
        "device": "cpu",
        "baselines": "quick",
    }
    run_notebooks(folder.dir, given)
    return folder


def test_the_run_folder_holds_every_file_of_the_contract(executed):
    expected = {name for io in NOTEBOOKS.values() for name in io.writes} | {f"{name}.ipynb" for name in NAMES}
    assert expected | {"manifest.json", "scene_logits"} == {path.name for path in executed.dir.iterdir()}


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("splits.csv", "image path source label split"),
        ("audit.csv", "image path problem action"),
        (
            "history.csv",
            "epoch lr train_loss val_loss train_balanced_accuracy val_balanced_accuracy seconds val_loss_over_photos "
            "val_accuracy val_macro_f1_score val_weighted_f1_score",
        ),
        (
            "spread.csv",
            "seed epochs kept_epoch val_measure test_private_precision test_private_recall test_private_f1 "
            "test_public_precision test_public_recall test_public_f1 test_precision test_balanced_accuracy "
            "test_accuracy",
        ),
        ("predictions.csv", "image split label prediction p_private"),
        ("predictions_released.csv", "image probability pred_class"),
        (
            "claims.csv",
            "id claim source published measured how tolerance tolerance_reason tier verdict why",
        ),
        (
            "comparisons.csv",
            "model n only_model_right only_s2p_right mcnemar_p balanced_accuracy_difference balanced_accuracy_low "
            "balanced_accuracy_high private_recall_difference private_recall_low private_recall_high "
            "accuracy_difference accuracy_low accuracy_high",
        ),
        ("emissions.csv", "stage duration_s energy_kwh co2eq_kg energy_source country factor_kg_per_kwh factor_source"),
        (
            "protocol_costs.csv",
            "photos s_per_photo kwh_per_1000_photos protocol passes hours energy_kwh co2eq_kg energy_source "
            "times_frozen",
        ),
    ],
)
def test_tables_have_the_columns_of_the_contract(executed, name, columns):
    assert executed.read_table(name).columns.tolist() == columns.split()


def test_no_photo_is_lost_between_labels_and_predictions(executed):
    predictions, splits, audit = (executed.read_table(n) for n in ("predictions.csv", "splits.csv", "audit.csv"))
    assert set(predictions["image"]) == set(splits["image"])
    assert len(splits) + (audit["action"] == "left out").sum() == 150
    released = executed.read_table("predictions_released.csv")
    assert released["image"].tolist() == predictions.loc[predictions["split"] == "test", "image"].tolist()


def test_the_manifest_tells_where_the_figures_come_from(executed):
    manifest = executed.manifest
    assert manifest["parameters"]["max_epochs"] == 30
    assert manifest["training"]["parameters"]["optimised"] == 732
    assert manifest["training"]["backbone_changes"] == {"batchnorm_buffers": 0, "other_tensors": 0}
    assert manifest["training"]["settings"]["max_epochs"] == 30
    assert set(manifest["inputs"]) == {"labels_splits.csv", "ipd_imgs_curated.json"}
    assert manifest["machine"]["versions"]["torch"] == torch.__version__.split("+")[0]
    assert set(manifest["notebooks"]) == set(NAMES)


def test_a_demo_report_says_that_its_figures_are_not_the_papers(executed):
    page = executed.path("report.html").read_text()
    assert "not results of the paper" in page
    assert set(re.findall(r'<tr id="([^"]+)">', page)) == {claim.id for claim in claims.CLAIMS}
    assert set(re.findall(r'src="([a-z]+):', page)) == {"data"}
    assert not re.search(r"(src|href|url)\s*[=(]\s*[\"']?https?:", page)
    assert "default-src 'none'" in page
    assert "<script" not in page
    for name in ("03_evaluate", "04_failures", "06_report"):
        assert "not a result of the paper" in executed.path(f"{name}.ipynb").read_text()


def test_the_modes_differ_in_what_they_change_in_the_backbone(executed):
    modes = executed.read_table("bn_modes.csv").set_index(["bn_mode", "precision"])
    assert modes.index.tolist() == [
        ("frozen", "float32"), ("adapted", "float32"), ("released", "float32"), ("frozen", "bfloat16")
    ]  # fmt: skip
    assert (modes["other_tensors_changed"] == 0).all()
    assert modes["batchnorm_buffers_changed"].tolist() == [0, 168, 168, 0]  # 56 layers of three buffers each
    own = executed.read_json("metrics.json")["figures"]["balanced_accuracy"]["value"]
    assert modes.loc[("frozen", "float32"), "test_balanced_accuracy"] == pytest.approx(own, abs=1e-12)


def test_the_first_of_many_heads_is_the_runs_own(executed):
    spread = executed.read_table("spread.csv")
    assert spread["seed"].tolist() == [789, 790, 791, 792, 793]
    training = executed.manifest["training"]
    assert spread["kept_epoch"][0] == training["kept_epoch"]
    assert spread["val_measure"][0] == pytest.approx(training["kept_measure"], abs=1e-12)
    own = executed.read_json("metrics.json")["figures"]["balanced_accuracy"]["value"]
    assert spread["test_balanced_accuracy"][0] == pytest.approx(own, abs=1e-12)


def test_the_number_of_workers_does_not_change_a_byte(executed, small_demo, tmp_path):
    other = RunFolder(tmp_path / "run")
    given = {"data_dir": str(small_demo), "max_epochs": 30, "n_seeds": 5, "workers": 3, "device": "cpu"}
    run_notebooks(other.dir, given | {"compare_bn_modes": False}, names=NAMES[:3])
    for name in ("splits.csv", "predictions.csv", "predictions_released.csv", "spread.csv", "checkpoint.pth"):
        assert other.path(name).read_bytes() == executed.path(name).read_bytes(), name


def test_released_mode_and_rare_options_run_through_all_notebooks(small_demo, tmp_path):
    """BCE, SGD, another measure and the final split come from a released configuration; parameters given win."""
    params = {"max_num_epochs": 500, "batch_size_train": 50, "optimizer": "SGD", "init_lr": 0.01, "use_bce": True}
    params |= {"measure": "macro_f1_score", "training_mode": "final", "weight_loss": True}
    config = tmp_path / "s2p.json"
    config.write_text(json.dumps({"net_name": "S2P", "params": params, "net_params": {"backbone_arch": "resnet50"}}))
    run = RunFolder(tmp_path / "run")
    given = {"data_dir": str(small_demo), "config": str(config), "max_epochs": 3, "bn_mode": "released", "n_seeds": 2}
    given |= {"baselines": "quick"}
    run_notebooks(run.dir, given | {"compare_bn_modes": False})
    manifest = run.manifest
    assert manifest["parameters"]["fold"] == "final"
    assert manifest["training"]["epochs"] == 3
    assert manifest["training"]["backbone_changes"] == {"batchnorm_buffers": 168, "other_tensors": 0}
    assert manifest["training"]["parameters"]["optimised"] == 366
    assert manifest["inputs"]["s2p.json"]
    assert "val" not in set(run.read_table("splits.csv")["split"])
    assert set(run.read_table("predictions.csv")["image"]) == set(run.read_table("splits.csv")["image"])
    written = read_config(run.path("config.json"))
    assert written.options["use_bce"] is True
    assert (written.parameters["fold"], written.parameters["max_epochs"]) == ("final", 3)
    assert not list(run.dir.glob("training_state*"))


def nbval(notebook: Path) -> subprocess.CompletedProcess:
    """Run an executed notebook once more and compare the cells tagged ``nbval-check-output``."""
    options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "--rootdir", notebook.parent]
    command = [sys.executable, "-m", "pytest", *options, notebook]
    return subprocess.run(command, capture_output=True, text=True, cwd=notebook.parent)


@pytest.mark.parametrize("name", NAMES)
def test_running_a_notebook_again_gives_the_marked_results_again(executed, name):
    done = nbval(executed.path(f"{name}.ipynb"))
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in done.stdout


def test_nbval_sees_a_changed_result(executed, tmp_path):
    """The comparison itself can fail."""
    text = executed.path("05_carbon.ipynb").read_text()
    assert "0.6144" in text
    changed = tmp_path / "05_carbon.ipynb"
    changed.write_text(text.replace("0.6144", "0.6145"))
    done = nbval(changed)
    assert done.returncode == 1
    assert "0.6145" in done.stdout


def test_a_notebook_runs_alone_from_another_folder(executed, tmp_path):
    before = executed.path("metrics.json").read_bytes()
    executed.path("metrics.json").unlink()
    relative = os.path.relpath(executed.dir, ROOT)
    papermill.execute_notebook(
        ROOT / "notebooks" / "03_evaluate.ipynb",
        tmp_path / "alone.ipynb",
        {"run_dir": relative},
        cwd=tmp_path,
        progress_bar=False,
    )
    assert executed.path("metrics.json").read_bytes() == before


def test_training_goes_on_from_a_checkpoint(executed, small_demo, tmp_path):
    """One epoch from the trained head starts at a lower loss than one from a fresh head."""
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(executed.path("checkpoint.pth").read_bytes())
    given = {"data_dir": str(small_demo), "max_epochs": 1, "init_checkpoint": str(checkpoint)}
    run = RunFolder(tmp_path / "run")
    run_notebooks(run.dir, given, names=NAMES[:2])
    first_epochs = [folder.read_table("history.csv")["train_loss"][0] for folder in (run, executed)]
    assert first_epochs[0] < first_epochs[1]
    assert "checkpoint.pth" in run.manifest["inputs"]


def test_papermill_with_an_unknown_parameter_stops_the_notebook(executed, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="Did you mean 'country'"):
        papermill.execute_notebook(
            ROOT / "notebooks" / "05_carbon.ipynb",
            tmp_path / "out.ipynb",
            {"run_dir": str(executed.dir), "contry": "FRA"},
            progress_bar=False,
        )


@pytest.fixture
def ipd_tree(tree, tmp_path) -> Path:
    """The reference dataset where it is there, else a tiny tree in the same layout."""
    if not REFERENCE.is_dir():
        return tree.dir
    subprocess.run([sys.executable, REFERENCE / "make_reference_ipd.py", tmp_path / "reference"], check=True)
    return tmp_path / "reference"


def test_all_notebooks_run_with_a_real_resnet50_at_448_pixels(ipd_tree, tmp_path):
    """Random Places365-shaped weights in the published file format; every other parameter as on the card."""
    torch.manual_seed(0)
    state = torchvision.models.resnet50(weights=None, num_classes=365).state_dict()
    weights = tmp_path / "resnet50_places365.pth.tar"
    torch.save(
        {"arch": "resnet50", "state_dict": {f"module.{n}": t for n, t in state.items()}},
        weights,
        _use_new_zipfile_serialization=False,
    )
    run = RunFolder(tmp_path / "run")
    given = {"dataset": "ipd", "data_dir": str(ipd_tree), "weights": str(weights), "n_seeds": 3, "baselines": "quick"}
    run_notebooks(run.dir, given)
    assert run.manifest["training"]["parameters"] == {"optimised": 732, "total": 24_256_649}
    listed, *_ = datasets.read("ipd", ipd_tree)
    assert set(run.read_table("predictions.csv")["image"]) == set(listed["image"])
    # The card's settings, but not its photos: its figures are not judged. So few may train to max_epochs.
    assert set(claims.deviations_of(run)) - {"training"} == {"labelled photos", "test photos"}
    verdicts = run.read_table("claims.csv").set_index("id")["verdict"]
    assert verdicts["test-accuracy"] == "not tested"
    assert "Demo run" not in run.path("report.html").read_text()
