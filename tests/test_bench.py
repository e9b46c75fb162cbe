"""What ``s2p bench`` computes from its measurements; no test holds a time."""

import json

import pytest

from s2p_lib import bench, datasets, readme
from s2p_lib.photos import file_sha256, open_photo


def rows(rate: float) -> list[dict]:
    """A run of the bench in which everything goes ``rate`` times a second."""
    growth = [(f"{n:,} photos to predictions, demo backbone", n / rate, "s") for n in bench.GROWTH]
    engines = [(f"{bench.RESNET}, {what}", rate, "photos/s") for what in ("plain PyTorch", "engine torch")]
    return [bench._row(*row) for row in [*engines, *growth]]


def test_figures_are_medians_of_the_runs_with_their_range(tmp_path, monkeypatch):
    rates = iter([4.0, 1.0, 2.0])
    monkeypatch.setattr(bench, "_measure", lambda _: rows(next(rates)))
    monkeypatch.setattr(bench.demo, "make_demo", lambda folder: folder)
    text = bench.run_bench(tmp_path / "outputs" / "bench", times=3)
    content = json.loads((tmp_path / "outputs" / "bench" / "bench.json").read_text())
    found = {row["what"]: (row["value"], row["low"], row["high"]) for row in content["figures"]}
    assert found[f"{bench.RESNET}, engine torch"] == (2, 1, 4)
    assert found["100 photos to predictions, demo backbone"] == (50, 25, 100)
    assert content["runs"] == 3
    assert "3 run(s), medians" in text
    assert open_photo(tmp_path / "outputs" / "bench" / "bench.png").size[0] > 1000
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    assert "| ResNet-50 at 448 pixels, engine torch | 2 | 1 | 4 | photos/s |" in readme.bench_block()


def test_two_figures_of_one_name_are_not_taken_for_runs_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "_measure", lambda _: [*rows(1.0), *(bench._row("memory", mb, "MB") for mb in (10, 30))])
    monkeypatch.setattr(bench.demo, "make_demo", lambda folder: folder)
    bench.run_bench(tmp_path, times=2)
    figures = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert [(f["value"], f["low"], f["high"]) for f in figures if f["what"] == "memory"] == [(10,) * 3, (30,) * 3]


@pytest.mark.parametrize(("value", "text"), [(0.012345, "0.0123"), (999.4, "999"), (999.7, "1,000"), (1234.5, "1,234")])
def test_numbers_have_three_digits_and_are_whole_from_a_thousand_on(value, text):
    assert bench.number_text(value) == text


def test_all_engines_give_the_logits_of_plain_pytorch_on_a_real_resnet50_at_448_pixels(small_demo, monkeypatch):
    for name, value in {"RESNET_PHOTOS": 2, "RESNET_ROUNDS": 1, "MATMUL_SIZE": 64}.items():
        monkeypatch.setattr(bench, name, value)
    found = {row["what"]: row["value"] for row in bench._engines(small_demo)}
    differences = [value for what, value in found.items() if "largest difference" in what]
    changed = [value for what, value in found.items() if "predictions that differ" in what]
    assert len(differences) == len(changed) > 0
    assert max(differences) < 1e-3  # the kit's promise; engines add up float32 products in another order
    assert set(changed) == {0}


def test_photos_of_the_growth_are_different_files_of_the_same_pictures(small_demo, tmp_path):
    table = datasets.read("ipd", small_demo)[0]
    table = table[table["split"] == "val"].head(3).reset_index(drop=True)
    photos = bench._copies(table, small_demo, tmp_path, 7)
    assert len({file_sha256(tmp_path / path) for path in photos["path"]}) == 7
    for path, source in zip(photos["path"], table["path"].iloc[[0, 1, 2, 0, 1, 2, 0]]):
        assert open_photo(tmp_path / path).tobytes() == open_photo(small_demo / source).tobytes()
    assert set(photos["split"]) == {"train", "val", "test"}


def test_growing_numbers_of_photos_go_all_the_way_to_predictions(small_demo, monkeypatch):
    monkeypatch.setattr(bench, "GROWTH", (20, 40))
    found = {row["what"]: row["value"] for row in bench._growth(small_demo)}
    assert list(found) == [
        "20 photos to predictions, demo backbone",
        "20 photos to predictions, demo backbone: peak memory",
        "40 photos to predictions, demo backbone",
        "40 photos to predictions, demo backbone: peak memory",
    ]
    assert min(found.values()) > 0


def test_the_whole_training_is_extrapolated_from_the_rates():
    measured = {
        bench.PLAIN_LOOP: 2.0,
        f"{bench.RESNET}, engine torch": 4.0,
        bench.DECODING: 100.0,
        bench.ONE_HEAD: 10.0,
    }
    found = bench._whole_training([bench._row(what, value, "") for what, value in measured.items()])
    released_h, ours_h, ratio = (row["value"] for row in found)
    assert released_h == pytest.approx(117 * (34_562 - 6_912) / 2 / 3600)
    assert ours_h == pytest.approx((34_562 / 4 + 34_562 / 100 + 10) / 3600)
    assert ratio == pytest.approx(released_h / ours_h)
