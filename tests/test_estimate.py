from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from s2p_lib import carbon, datasets, demo, estimate, samples
from s2p_lib import model as s2p
from s2p_lib import run as runs


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
    seconds = estimate.time_photos(photos_of(tree), s2p.photo_transform(32), backbone, "cpu", n=5)
    assert seconds > 0
    assert backbone.batches[0] == 1
    assert set(backbone.batches[1:]) == {5}


def test_photos_that_cannot_be_read_are_skipped(tree):
    tree.photo(0).unlink()
    tree.photo(1).write_bytes(b"no photo")
    backbone = Counting()
    estimate.time_photos(photos_of(tree), s2p.photo_transform(32), backbone, "cpu", n=11)
    assert backbone.batches[-1] == 10


def test_nothing_to_time_is_an_error_with_examples(tree):
    for i in range(12):
        tree.photo(i).write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"none of 12 photos can be read, such as p0\.jpg, p1\.jpg"):
        estimate.time_photos(photos_of(tree), s2p.photo_transform(32), Counting(), "cpu")


@pytest.fixture
def quick(monkeypatch):
    """Fixed times instead of timed ones: 1 ms a photo to decode, 2 to resize, 4 for the backbone; 1 and 3 ms a fit."""
    monkeypatch.setattr(estimate, "_time_photos", lambda *_: estimate._PhotoTimes(0.001, 0.002, 0.004, 8))
    monkeypatch.setattr(estimate, "_time_head", lambda _: 0.001)
    monkeypatch.setattr(estimate, "_time_svm", lambda: 0.003)


def table_of(tree, **given) -> pd.DataFrame:
    """Of the tree of 12 photos, with a ResNet-18, two workers and 20 seeds unless given otherwise."""
    given = {"dataset": "ipd", "data_dir": str(tree.dir), "backbone": "resnet18", "workers": 2, "n_seeds": 20} | given
    return estimate.estimate_run(runs.Parameters(**given)).set_index("stage")


def test_the_estimate_is_the_times_multiplied_by_the_passes(tree, quick):
    counts = datasets.read("ipd", tree.dir).samples["split"].value_counts()
    table = table_of(tree)
    assert table.loc["check photos", ["photos", "time_s"]].tolist() == pytest.approx([12, 12 * 0.001 / 2])
    assert table.loc["scene logits", ["photos", "time_s"]].tolist() == pytest.approx([12, 12 * (0.003 / 2 + 0.004)])
    head_s = 0.001 * counts["train"]
    assert table.loc["train and spread over seeds", "time_s"] == pytest.approx(head_s * (1 + 20 / 10))
    svm_s = 0.003 * counts["train"] / 2  # two workers
    # Three SVMs, 9 C x 2 weights x 5 folds and a refit each; two MLPs of four times a head's time.
    assert table.loc["baselines", "time_s"] == pytest.approx(3 * 91 * svm_s + 2 * 4 * head_s)
    few = table_of(tree, baselines="quick")
    assert few.loc["baselines", "time_s"] == pytest.approx(3 * svm_s + 2 * 4 * head_s)


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
    monkeypatch.setattr(estimate, "_time_photos", None)  # no photo may be asked for
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
    assert estimate._time_head(SimpleNamespace(batch_size=100, max_epochs=2)) > 0
    assert estimate._time_svm() > 0
    assert torch.get_num_threads() == threads


def test_an_estimate_counts_the_photos_that_are_asked_for(scene_tree, tmp_path):
    given = {"dataset": "ipd", "data_dir": str(scene_tree), "features": "published_scenes", "max_photos": 30}
    table = estimate.estimate_run(runs.resolve_for(tmp_path / "out", given)).set_index("stage")
    assert table.loc["check photos", "photos"] == 30
