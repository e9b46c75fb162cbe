import hashlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from s2p_lib import audit, datasets, demo, demo_scenes, metrics, photos, prediction_files, scene_logits, training
from s2p_lib import model as s2p
from s2p_lib.model import SCENES


def pixels_sha256(folder) -> dict[str, str]:
    """Hash of the decoded pixels of each photo that can be opened."""
    hashes = {}
    for path in sorted(folder.glob("curated_*/imgs/*/*.jpg")):
        try:
            hashes[path.name] = hashlib.sha256(photos.open_photo(path).tobytes()).hexdigest()
        except photos.UNREADABLE:
            hashes[path.name] = "unreadable"
    return hashes


def test_the_same_seed_gives_the_same_pixels_with_any_number_of_workers(tmp_path):
    a, b, c = (
        pixels_sha256(demo.make_demo(tmp_path / name, n_photos=40, seed=seed, workers=workers))
        for name, seed, workers in (("a", 5, 1), ("b", 5, 2), ("c", 6, 2))
    )
    assert a == b
    assert set(a.values()).isdisjoint(set(c.values()) - {"unreadable"})


def test_the_plan_has_the_proportions_of_ipd():
    table = demo.plan_photos()
    private = table["label"] == "private"
    assert len(table) == 900
    assert private.sum() == 300
    assert (table.loc[~private, "source"] == "picalert").all()
    assert (table.loc[private, "source"] == "vispr").mean() == pytest.approx(demo.VISPR_SHARE_OF_PRIVATE, abs=0.08)
    assert table["image"].is_unique
    assert (table["Final"] == 2).mean() == pytest.approx(0.2)
    assert private[table["Final"] == 2].mean() == pytest.approx(1 / 3, abs=0.01)


def test_scenes_have_places365_names_and_there_are_at_least_16():
    drawn = {scene for _, scene, *_ in demo.PLAN}
    assert len(drawn) >= 16
    assert drawn <= set(demo_scenes.SCENES) <= set(SCENES)


def test_the_tree_is_read_like_ipd_and_its_flaws_are_found(small_demo):
    listed, problems, *_ = datasets.read("ipd", small_demo)
    checked = audit.audit_photos(listed, small_demo)
    good, unreadable = audit.leave_out_unreadable(listed, checked)
    assert len(good) == 148
    assert sorted(problems["problem"].str.split(" ").str[0]) == ["in", "missing"]
    assert unreadable["problem"].str.contains("truncated").tolist() == [True]
    assert audit.find_copies(good, checked).empty
    assert audit.near_copies(good, checked).empty


def test_photos_are_jpegs_of_mixed_sizes_and_orientations(small_demo):
    sizes = set()
    for path in small_demo.glob("curated_*/imgs/*/*.jpg"):
        with Image.open(path) as image:
            assert image.format == "JPEG"
            sizes.add(image.size)
    assert len(sizes) >= 5
    assert {np.sign(w - h) for w, h in sizes} == {-1, 0, 1}


def test_a_finished_demo_dataset_is_not_drawn_again(small_demo):
    before = {path: path.stat().st_mtime_ns for path in small_demo.glob("**/*.jpg")}
    demo.make_demo(small_demo, n_photos=150)
    assert {path: path.stat().st_mtime_ns for path in small_demo.glob("**/*.jpg")} == before


def test_a_folder_of_somebody_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match="not a demo dataset"):
        demo.make_demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_an_interrupted_drawing_is_started_again(tmp_path):
    part = tmp_path / "demo.part" / "curated_vispr"
    part.mkdir(parents=True)
    made = demo.make_demo(tmp_path / "demo", n_photos=20)
    assert len(datasets.read("ipd", made)[0]) == 19
    assert not part.parent.exists()


@pytest.mark.parametrize("people", ["none", "one", "group"])
@pytest.mark.parametrize("size", [(64, 48), (48, 64), (120, 40)])
def test_every_scene_can_be_drawn_in_every_shape(size, people):
    for scene in demo_scenes.SCENES:
        image = demo_scenes.draw_scene(scene, np.random.default_rng(0), size, people)
        assert (image.size, image.mode) == (size, "RGB")
        assert len(image.getcolors(size[0] * size[1])) > 20


def test_an_unknown_scene_or_people_names_the_allowed_ones():
    with pytest.raises(ValueError, match="beach"):
        demo_scenes.draw_scene("moon", np.random.default_rng(0), (64, 48), "none")
    with pytest.raises(ValueError, match="group"):
        demo_scenes.draw_scene("beach", np.random.default_rng(0), (64, 48), "crowd")


def test_failures_are_counted_by_the_case_that_was_drawn(small_demo):
    truth = demo.read_truth(small_demo)
    predictions = truth[["image"]].assign(label="public", prediction="public").sample(frac=1, random_state=1)
    religious = truth.loc[truth["case"] == "religious place", "image"]
    predictions.loc[predictions["image"].isin(religious), "prediction"] = "private"
    table = demo.failures_by_case(small_demo, predictions).set_index("case")
    assert table.loc["religious place", "failed"] == len(religious) > 0
    assert table["failed"].sum() == len(religious)
    assert table["photos"].sum() == len(truth)
    assert table["share"].tolist() == [1.0] + [0.0] * (len(table) - 1)


def test_s2p_does_on_the_demo_dataset_what_the_card_says_it_does(tmp_path):
    """Neither perfect nor useless, and it fails mostly in the cases that the card names."""
    data_dir = demo.make_demo(tmp_path / "demo")
    table, *_ = datasets.read("ipd", data_dir)
    model, transform = s2p.load_s2p("demo")
    logits, unreadable = scene_logits.extract_scene_logits(table, data_dir, model, transform, tmp_path / "cache")
    table, logits, _ = scene_logits.drop_unreadable(table, logits, unreadable)
    parts = training.split_parts(table, logits)
    trained = training.fit(model.scene_to_privacy_layer, parts["train"], parts["val"])
    predictions = prediction_files.predictions_table(table, training.predict(trained.head, logits))
    test = predictions[predictions["split"] == "test"]
    assert 0.75 <= metrics.card_metrics(test["label"], test["prediction"])["balanced_accuracy"] <= 0.93
    described, wrong = demo.count_card_failures(data_dir, test)
    assert described > wrong / 2
    cases = demo.failures_by_case(data_dir, test)
    assert cases.loc[cases["case"].isin(demo.CARD_FAILURES), "photos"].sum() < cases["photos"].sum() / 2


def test_a_failure_in_the_opposite_direction_is_not_one_that_the_card_describes(small_demo):
    truth = demo.read_truth(small_demo)
    office = truth.loc[truth["case"] == "office-like", ["image"]]
    missed = office.assign(label="private", prediction="public")
    assert demo.count_card_failures(small_demo, missed) == (len(office), len(office))
    false_private = office.assign(label="public", prediction="private")
    assert demo.count_card_failures(small_demo, false_private) == (0, len(office))


def test_suspects_that_were_labelled_wrongly_on_purpose_are_counted(tmp_path):
    photos = demo.plan_photos()
    (tmp_path / "curated_ipd" / "annotations").mkdir(parents=True)
    photos.to_csv(tmp_path / "curated_ipd" / "annotations" / "demo_truth.csv", index=False)
    wrong, home = (photos[photos["case"] == case] for case in ("wrong label", "home"))
    assert len(wrong) == 12
    suspects = pd.concat([wrong.head(1), home.head(5)])
    assert demo.count_wrong_labels(tmp_path, suspects, photos) == (1, 12)
    assert demo.count_wrong_labels(tmp_path, suspects, home) == (1, 0)
