import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from s2p_lib import audit, carbon, datasets, demo, estimate, samples
from s2p_lib import model as s2p
from s2p_lib import run as runs
from s2p_lib.config import Settings


class Counting(nn.Module):
    """A backbone that counts the photos and batches that it is given."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, photos):
        self.batches.append(len(photos))
        return torch.zeros(len(photos), 365)


def photos_of(tree) -> list:
    return [tree.photo(i) for i in range(12)]


def test_photos_are_timed_with_a_first_batch_before_that_is_not_counted(tree):
    backbone = Counting()
    times = estimate.time_photos(photos_of(tree), s2p.photo_transform(32), backbone, "cpu", n=5)
    assert min(times.decode_s, times.transform_s, times.backbone_s, times.frozen_s, times.start_s) > 0
    assert (times.engine, times.n) == ("torch", 5)
    assert backbone.batches[:2] == [1, 1]  # by the engine, and plain
    assert set(backbone.batches[2:]) == {5}


def test_photos_that_cannot_be_read_are_skipped(tree):
    tree.photo(0).unlink()
    tree.photo(1).write_bytes(b"no photo")
    backbone = Counting()
    estimate.time_photos(photos_of(tree), s2p.photo_transform(32), backbone, "cpu", n=11)
    assert backbone.batches[-1] == 10


def test_a_photo_that_crashes_the_decoder_is_not_timed(tree, monkeypatch):
    """Decoding processes are forked from this one, so they have what is patched here."""
    deadly, decode, here = tree.photo(2).read_bytes(), audit.open_with_notes, os.getpid()

    def decode_or_die(file):
        if file.getvalue() == deadly:
            assert os.getpid() != here
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(file)

    monkeypatch.setattr(audit, "open_with_notes", decode_or_die)
    assert audit.readable(photos_of(tree), 4) == [tree.photo(i) for i in (0, 1, 3, 4)]
    backbone = Counting()
    estimate.time_photos(photos_of(tree), s2p.photo_transform(32), backbone, "cpu", n=12)
    assert backbone.batches[-1] == 11


def test_nothing_to_time_is_an_error_with_examples(tree):
    for i in range(12):
        tree.photo(i).write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"none of 12 photos can be read, such as p0\.jpg, p1\.jpg"):
        estimate.time_photos(photos_of(tree), s2p.photo_transform(32), Counting(), "cpu")


@pytest.fixture
def quick(monkeypatch):
    """Fixed times instead of timed ones.

    1 ms a photo to decode, 2 to resize, 4 for the backbone in training, 3 frozen after 7 to start; 1 ms for all epochs
    of a head, 3 for an SVM.
    """
    times = estimate.PhotoTimes(0.001, 0.002, 0.004, 0.003, 0.007, "torch", 8)
    monkeypatch.setattr(estimate, "time_photos", lambda *_, **__: times)
    monkeypatch.setattr(estimate, "_time_head", lambda _: 0.001 / estimate.EPOCHS)
    monkeypatch.setattr(estimate, "_time_svm", lambda: 0.003)


def table_of(tree, **given) -> pd.DataFrame:
    """Of the tree of 12 photos, with a ResNet-18, two workers and 20 seeds unless given otherwise."""
    given = {"dataset": "ipd", "data_dir": str(tree.dir), "backbone": "resnet18", "workers": 2, "n_seeds": 20} | given
    return estimate.estimate_run(runs.Parameters(**given)).set_index("stage")


def test_the_estimate_is_the_times_multiplied_by_the_passes(tree, quick):
    counts = datasets.read("ipd", tree.dir).samples["split"].value_counts()
    table = table_of(tree)
    assert table.loc["check photos", ["photos", "time_s"]].tolist() == pytest.approx([12, 12 * 0.001 / 2])
    assert table.loc["scene logits", ["photos", "time_s"]].tolist() == pytest.approx(
        [12, 0.007 + 12 * (0.003 / 2 + 0.003)]
    )
    head_s = 0.001 * counts["train"]
    assert table.loc["train and spread over seeds", "time_s"] == pytest.approx(head_s * (1 + 20 / 10))
    svm_s = 0.003 * counts["train"] / 2  # two workers
    # Three SVMs, 9 C x 2 weights x 5 folds and a refit each; two MLPs of four times a head's time.
    assert table.loc["baselines", "time_s"] == pytest.approx(3 * 91 * svm_s + 2 * 4 * head_s)
    few = table_of(tree, baselines="quick")
    assert few.loc["baselines", "time_s"] == pytest.approx(3 * svm_s + 2 * 4 * head_s)
    short = table_of(tree, max_epochs=30)
    assert short.loc["train and spread over seeds", "time_s"] == pytest.approx(head_s * 30 / 120 * (1 + 20 / 10))


def test_the_total_is_the_sum_and_the_energy_is_time_x_declared_power(tree, quick):
    table = table_of(tree)
    stages = table.drop("total")
    for column in ("time_s", "energy_kwh", "disk_bytes"):
        assert table.loc["total", column] == pytest.approx(stages[column].sum())
    assert table["energy_kwh"].tolist() == pytest.approx((table["time_s"] / 3.6e6 * carbon.DECLARED_POWER_W).tolist())
    assert table.reset_index().columns.tolist() == estimate.COLUMNS


def test_the_released_mode_costs_a_pass_an_epoch_and_adapted_one_more_over_train(tree, quick):
    counts = datasets.read("ipd", tree.dir).samples["split"].value_counts()
    fitted_on = counts["train"] + counts["val"]
    assert table_of(tree, bn_mode="released").loc["scene logits", "photos"] == 120 * fitted_on + 12
    assert table_of(tree, bn_mode="released", max_epochs=7).loc["scene logits", "photos"] == 7 * fitted_on + 12
    assert table_of(tree, bn_mode="adapted").loc["scene logits", "photos"] == counts["train"] + 12
    compared = table_of(tree, compare_bn_modes=True)
    passes = (counts["train"] + 12) + (120 * fitted_on + 12) + 12  # adapted, released, frozen in the other precision
    assert compared.loc["compare BatchNorm modes", "photos"] == passes
    assert "compare BatchNorm modes" not in table_of(tree).index


def test_released_loads_photos_that_fit_into_memory_once_and_others_in_each_epoch(tree, quick, monkeypatch):
    n = datasets.read("ipd", tree.dir).samples["split"].value_counts()
    backbone_s = 0.004 * 5 * (n["train"] + n["val"]) + 0.007 + 0.003 * 12  # 5 epochs, and all 12 once more, frozen
    given = {"bn_mode": "released", "max_epochs": 5, "image_size": 64}
    loaded = n["train"] + n["val"] + 12
    seconds = table_of(tree, **given).loc["scene logits", "time_s"]
    assert seconds == pytest.approx(backbone_s + loaded * 0.003 / 2)  # two workers
    monkeypatch.setattr(estimate.batchnorm, "MEMORY_FOR_PHOTOS", 2 * 3 * 64 * 64 * 4)  # two photos of each split
    loaded += 4 * (n["train"] - 2 + max(0, n["val"] - 2))
    seconds = table_of(tree, **given).loc["scene logits", "time_s"]
    assert seconds == pytest.approx(backbone_s + loaded * 0.003 / 2)
    # max_hours ends the training, not the pass over all photos after it.
    cut = table_of(tree, **given, max_hours=1e-9).loc["scene logits", "time_s"]
    assert cut == pytest.approx(0.007 + 12 * (0.003 / 2 + 0.003), rel=1e-3)


def run_of(batch_size: int = 100, from_photos: bool = True) -> SimpleNamespace:
    """What ``cost_of_protocols`` asks of a run: 30 photos of train, 10 of val, 5 of test; two workers."""
    split = ["train"] * 30 + ["val"] * 10 + ["test"] * 5
    return SimpleNamespace(
        from_photos=from_photos,
        read_table={"splits.csv": pd.DataFrame({"path": map(str, range(45)), "split": split})}.get,
        data_dir=Path("photos"),
        load_trained=lambda: (SimpleNamespace(backbone=Counting()), s2p.photo_transform(64)),
        backbone="counting",
        device="cpu",
        workers=2,
        parameter={"precision": "float32", "engine": "torch"}.get,
        trained_settings=Settings(batch_size=batch_size),
    )


@pytest.fixture
def no_counter(monkeypatch):
    monkeypatch.setattr(carbon, "energy_counters", lambda: [])


def test_protocols_cost_what_the_estimate_of_a_run_says_of_their_modes(quick, no_counter):
    table = estimate.cost_of_protocols(run_of(), factor_kg_per_kwh=0.2)
    assert table.columns.tolist() == estimate.PROTOCOL_COLUMNS
    assert table["photos"].unique().tolist() == [
        "this run: counting, 64 pixels, frozen by torch",
        "IPD: resnet50, 448 pixels, frozen by torch",
    ]
    own = table.iloc[:2].set_index("protocol")
    load_s, backbone_s, frozen_s, head_s = 0.003 / 2, 0.004, 0.003, 30 * 0.001 * 117 / 120
    assert own["passes"].to_dict() == {"frozen": 45, "released": 117 * 40 + 45}
    # 45 small photos stay in memory: loaded for the first epoch, and for the pass at the end.
    start_s = 0.007
    seconds = {"frozen": start_s + 45 * (load_s + frozen_s)}
    seconds["released"] = start_s + 85 * load_s + 117 * 40 * backbone_s + 45 * frozen_s
    for protocol, expected in seconds.items():
        assert own.loc[protocol, "hours"] == pytest.approx((expected + head_s) / 3600)
    s_per_photo = seconds["frozen"] / 45
    assert own["s_per_photo"].tolist() == pytest.approx([s_per_photo] * 2)
    assert (own["energy_kwh"] / own["hours"]).tolist() == pytest.approx([carbon.DECLARED_POWER_W / 1000] * 2)
    assert own["kwh_per_1000_photos"].tolist() == pytest.approx([s_per_photo / 3600 * carbon.DECLARED_POWER_W] * 2)


def test_photos_of_ipd_at_448_pixels_are_loaded_in_each_epoch_but_for_those_that_fit(quick, no_counter):
    ipd = estimate.cost_of_protocols(run_of(), factor_kg_per_kwh=0.2).iloc[2:].set_index("protocol")
    n_train, n_val, n_test, fit_in = 18_433, 9_217, 6_912, 415  # a photo takes 2,408,448 of 1e9 bytes
    n_all = n_train + n_val + n_test
    assert ipd["passes"].to_dict() == {"frozen": n_all, "released": 117 * (n_train + n_val) + n_all}
    loaded = 117 * (n_train + n_val) - 116 * 2 * fit_in + n_all
    head_s = n_train * 0.001 * 117 / 120
    expected = loaded * 0.003 / 2 + 117 * (n_train + n_val) * 0.004 + 0.007 + n_all * 0.003 + head_s
    assert ipd.loc["released", "hours"] == pytest.approx(expected / 3600)


def test_protocols_are_timed_with_the_batch_size_that_was_trained_with(quick, no_counter, monkeypatch):
    asked = []
    monkeypatch.setattr(estimate, "_time_head", lambda batch_size: asked.append(batch_size) or 0.001)
    estimate.cost_of_protocols(run_of(batch_size=7), factor_kg_per_kwh=0.2)
    assert asked == [7]


@pytest.mark.parametrize(("counters", "source"), [([], "time x declared 65 W (no counter)"), (["NVML"], "NVML")])
def test_protocols_name_the_source_of_their_power(quick, monkeypatch, counters, source):
    monkeypatch.setattr(carbon, "energy_counters", lambda: counters)
    monkeypatch.setattr(carbon, "_started_tracker", object)
    monkeypatch.setattr(carbon, "_stopped", lambda tracker: 0.125)
    table = estimate.cost_of_protocols(run_of(), factor_kg_per_kwh=0.2)
    assert table["energy_source"].str.contains(source, regex=False).all()


def test_protocols_of_a_run_without_photos_have_columns_and_no_row():
    table = estimate.cost_of_protocols(run_of(from_photos=False), factor_kg_per_kwh=0.2)
    assert table.empty
    assert table.columns.tolist() == estimate.PROTOCOL_COLUMNS


def test_a_backbone_without_batchnorm_has_no_modes_to_compare(tree, quick):
    table = table_of(tree, backbone="alexnet", compare_bn_modes=True)
    assert table.loc["compare BatchNorm modes", "photos"] == 12  # the other precision


def test_a_checkpoint_takes_four_bytes_a_parameter_and_the_cache_365_floats_a_photo(tree, quick):
    table = table_of(tree)
    resnet18 = 11_176_512 + 512 * 365 + 365  # torchvision's without its last layer, then 365 scenes
    assert table.loc["scene logits", "disk_bytes"] == 12 * (365 * 4 + 32) + 4 * resnet18


def test_max_photos_is_what_is_counted(tmp_path, quick, small_demo):
    given = runs.Parameters(data_dir=str(small_demo), max_photos=40)
    table = estimate.estimate_run(given).set_index("stage")
    assert table.loc["check photos", "photos"] == 40


def test_a_demo_dataset_that_is_not_there_is_estimated_from_a_few_drawn_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "ROOT", tmp_path)
    monkeypatch.setattr(estimate, "_time_head", lambda _: 0.001)
    monkeypatch.setattr(estimate, "_time_svm", lambda: 0.001)
    table = estimate.estimate_run(runs.Parameters(compare_bn_modes=False)).set_index("stage")
    drawing = table.loc["draw the demo photos"]
    assert (drawing["photos"], drawing["basis"]) == (len(demo.plan_photos()), "timed on 8 photos")
    assert drawing["time_s"] > 0
    assert drawing["disk_bytes"] > 900 * 5_000  # a JPEG of such a size takes more than 5 kB
    assert list(tmp_path.iterdir()) == []


def test_published_scenes_are_timed_on_their_files(scene_tree, monkeypatch):
    monkeypatch.setattr(estimate, "time_photos", None)  # no photo may be asked for
    given = {"dataset": "ipd", "data_dir": str(scene_tree), "features": "published_scenes"}
    table = estimate.estimate_run(runs.Parameters(**given)).set_index("stage")
    assert table.loc["check photos", "photos"] == 300
    assert table.loc["check photos", "basis"] == "timed on 32 files"
    assert table.loc["check photos", "time_s"] > 0
    assert "scene logits" not in table.index


def test_a_dataset_without_a_split_is_counted_by_the_shares_that_the_kit_will_make(own_photos, quick):
    given = {"dataset": "folder", "data_dir": str(own_photos), "backbone": "resnet18"}
    table = estimate.estimate_run(runs.Parameters(**given)).set_index("stage")
    listing = datasets.read("folder", own_photos)
    split = samples.grouped_splits(listing.samples["label"], pd.Series(range(30)), 0)
    assert table.loc["baselines", "photos"] == (split == "train").sum()


def test_the_text_has_a_line_for_each_stage_and_readable_units(tree, quick):
    table = table_of(tree).reset_index()
    table.loc[:3, "time_s"] = [4.2, 60, 3000, 36_000]
    table.loc[:3, "energy_kwh"] = [1e-5, 0.05, 0.5, 2]
    table.loc[:3, "disk_bytes"] = [0, 1_300_000, 6_000_000_000, 1]
    text = estimate.describe(table)
    lines = text.splitlines()
    assert "estimate, from a few timed photos" in lines[0].lower()
    assert len(lines) == 2 + len(table)
    for stage in table["stage"]:
        assert any(line.startswith(stage) for line in lines)
    for shown in ("4.2 s", "60 s", "50 min", "10.0 h", "0.01 Wh", "50 Wh", "0.5 kWh", "1 MB", "6.0 GB"):
        assert shown in text


def test_the_times_of_the_head_and_the_svm_are_positive_and_threads_are_put_back():
    threads = torch.get_num_threads()
    assert estimate._time_head(100) > 0
    assert estimate._time_svm() > 0
    assert torch.get_num_threads() == threads


def test_an_estimate_counts_the_photos_that_are_asked_for(scene_tree, tmp_path):
    given = {"dataset": "ipd", "data_dir": str(scene_tree), "features": "published_scenes", "max_photos": 30}
    table = estimate.estimate_run(runs.resolve_for(tmp_path / "out", given)).set_index("stage")
    assert table.loc["check photos", "photos"] == 30
