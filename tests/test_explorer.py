import json
import re
from datetime import UTC, datetime

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from conftest import save_photo

from s2p_lib import explorer
from s2p_lib.metrics import outcomes

SCENES = np.array(["beach", "office", "<img src=x onerror=alert(1)>"])


@pytest.fixture(autouse=True)
def styles(monkeypatch) -> list[str]:
    """The style sheets that were sent to the notebook, the last one last."""
    sent = []
    monkeypatch.setattr(explorer, "update_display", lambda data, **_: sent.append(data["text/html"]))
    return sent


@pytest.fixture
def photos(tmp_path) -> pd.DataFrame:
    """60 photos, of which the files of the first 40 are there."""
    rng = np.random.default_rng(0)
    for i in range(40):
        save_photo(tmp_path / "data" / f"p{i}.jpg", i)
    label, p = rng.choice(["private", "public"], 60), rng.uniform(0.01, 0.99, 60)
    prediction = np.where(p >= 0.5, "private", "public")
    p_label = np.where(label == "private", p, 1 - p)
    return pd.DataFrame(
        {"image": [f"p{i}" for i in range(60)], "path": [f"p{i}.jpg" for i in range(60)]}
        | {"source": rng.choice(["vispr", "picalert"], 60), "split": rng.choice(["train", "test"], 60)}
        | {"label": label, "prediction": prediction, "p_private": p, "outcome": outcomes(label, prediction)}
        | {"confidence": np.maximum(p, 1 - p), "loss": -np.log(p_label), "margin": np.log(p_label / (1 - p_label))}
        | {"top_scene": rng.choice(SCENES, 60), "top_scenes": "beach, office, bar", "top_scene_p": "0.90, 0.80, 0.70"}
    )


def explain(image: str) -> pd.DataFrame:
    contribution = np.linspace(2, -1, 12)
    return pd.DataFrame({"scene": [f"scene {i}" for i in range(12)], "contribution": contribution})


@pytest.fixture
def make(photos, tmp_path):
    def make(table=photos, pictures="photos"):
        opened = explorer.Explorer(
            table, tmp_path / "data", pictures, explain, tmp_path / "marks.csv", tmp_path / "thumbnails"
        )
        opened.unfold()
        opened.filters["split"].value = explorer.ANY
        return opened

    return make


def captions(opened) -> list[str]:
    return [button.description for button in opened.grid.children]


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"outcome": "missed private"},
        {"source": "vispr", "split": "test", "label": "public"},
        {"prediction": "private", "top_scene": SCENES[2]},
        {"confidence": (0.6, 0.9)},
        {"label": "private", "prediction": "private", "outcome": "missed private"},
    ],
)
def test_filters_keep_exactly_the_photos_that_fit(photos, criteria):
    def fits(row):
        low, high = criteria.get("confidence", (0, 1))
        others = {name: value for name, value in criteria.items() if name != "confidence"}
        return low <= row["confidence"] <= high and all(row[name] == value for name, value in others.items())

    kept = explorer.filter_photos(photos, criteria)
    assert kept["image"].tolist() == [row["image"] for row in photos.to_dict("records") if fits(row)]


def test_both_ends_of_a_confidence_range_are_in_it(photos):
    low, high = photos["confidence"].min(), photos["confidence"].max()
    assert len(explorer.filter_photos(photos, {"confidence": (low, high)})) == len(photos)


@pytest.mark.parametrize("by", explorer.SORTS)
@pytest.mark.parametrize("ascending", [False, True])
def test_sorting_keeps_every_photo_and_orders_by_the_figure(photos, by, ascending):
    ordered = explorer.sort_photos(photos, by, ascending)
    assert sorted(ordered["image"]) == sorted(photos["image"])
    assert (ordered[by].is_monotonic_increasing, ordered[by].is_monotonic_decreasing) == (ascending, not ascending)


def test_unknown_filters_sorts_and_tables_are_refused(photos, make):
    with pytest.raises(ValueError, match="filtered by 'colour'; allowed: outcome"):
        explorer.filter_photos(photos, {"colour": "red"})
    with pytest.raises(ValueError, match="sorted by 'image'; allowed: loss"):
        explorer.sort_photos(photos, "image")
    with pytest.raises(ValueError, match="lacks the columns loss, margin"):
        make(photos.drop(columns=["loss", "margin"]))
    with pytest.raises(ValueError, match="1 images are twice in the photo table, such as p0"):
        make(pd.concat([photos, photos.head(1)]))


def test_pages_show_every_photo_once_the_worst_first(make, photos):
    opened = make()
    shown = [button.tooltip for button in opened.grid.children]
    while not opened.next.disabled:
        opened.next.click()
        shown += [button.tooltip for button in opened.grid.children]
    assert shown == photos.sort_values("loss", ascending=False)["image"].tolist()
    assert "page 3 of 3" in opened.count.value


def test_a_filter_that_is_off_says_any(make):
    opened = make()
    opened.filters["label"].value = "private"
    opened.filters["label"].index = 0  # as a reader chooses it
    assert {widget.label for widget in opened.filters.values()} == {"any"}
    assert "60 of 60 photos" in opened.count.value


def test_a_page_has_a_picture_for_each_of_its_buttons_and_no_other(make, styles):
    opened = make()
    opened.filters["label"].value = "private"
    classes = {name for button in opened.grid.children for name in button._dom_classes if name != "s2p-photo"}
    assert set(re.findall(r"\.(s2p-\S+) \{", styles[-1])) == classes
    assert styles[-1].count("data:image/jpeg;base64,") == len(classes)


def test_no_picture_is_in_the_state_of_a_widget(make):
    opened = make()
    opened.buttons[0].click()
    assert "base64" not in json.dumps(ipywidgets.Widget.get_manager_state())


def test_a_click_explains_the_photo_and_the_parts_add_up(make, photos):
    opened = make()
    opened.buttons[3].click()
    row = photos.sort_values("loss", ascending=False).iloc[3]
    text = opened.full.children[0].children[1].value
    written = re.search(r"private: (\S+) for .*?, (\S+) from .*? sum (\S+)\. ", text.replace("\N{MINUS SIGN}", "-"))
    mean, scenes, total = map(float, written.groups())
    assert row["image"] in text
    assert total == pytest.approx(np.log(row["p_private"] / (1 - row["p_private"])), abs=0.006)  # two decimals
    assert mean + scenes == pytest.approx(total, abs=0.016)  # of three rounded figures
    assert scenes == pytest.approx(explain("")["contribution"].sum(), abs=0.006)


def test_without_pictures_scenes_stand_for_the_photos_and_no_file_is_made(make, styles, tmp_path):
    opened = make(pictures="scenes")
    opened.buttons[0].click()
    assert captions(opened)[0].endswith("beach 0.90\noffice 0.80\nbar 0.70")
    assert styles == []
    assert not (tmp_path / "thumbnails").exists()


def test_until_it_is_unfolded_nothing_is_made(photos, tmp_path, styles):
    folded = explorer.Explorer(
        photos, tmp_path / "data", "photos", explain, tmp_path / "m.csv", tmp_path / "thumbnails"
    )
    assert len(folded.children[0].children) == 2
    assert styles == []
    assert not (tmp_path / "thumbnails").exists()


def test_a_vanished_photo_is_told_and_still_explained(make):
    opened = make()
    gone = next(b for b in opened.grid.children if int(b.tooltip[1:]) >= 40)
    assert "file is gone" in gone.description
    gone.click()
    assert "gone since the run" in opened.full.children[0].children[1].value


def test_an_opened_photo_says_what_would_flip_it(make, photos):
    """Scene 0 alone puts 2 towards private: its decision turns without it; that of the public photo does not."""
    turned = {}
    for margin, prediction in ((1.5, "private"), (-50.0, "public")):
        opened = make(photos.head(1).assign(margin=margin, label="private", prediction=prediction, split="test"))
        opened.buttons[0].click()
        turned[prediction] = opened.full.children[0].children[1].value
    assert "With this scene at the mean photo's level it would be called public. (scene 0)" in (
        explorer.html.unescape(turned["private"])
    )
    assert "still be called public" in turned["public"]


def test_the_open_photo_is_decoded_once(make, monkeypatch):
    opened, decoded = make(), []
    monkeypatch.setattr(explorer, "photo_jpeg", lambda *given: decoded.append(given) or b"jpeg")
    opened.buttons[0].click()
    opened.next.click()
    opened.filters["label"].value = "private"
    opened.mark.value = "ambiguous"
    opened.mark_button.click()
    assert len(decoded) == 1


@pytest.mark.parametrize("n", [0, 1])
def test_none_or_one_photo_still_renders(make, photos, n):
    opened = make(photos.head(n))
    assert len(opened.grid.children) == n
    assert "page 1 of 1" in opened.count.value
    assert opened.previous.disabled
    assert opened.next.disabled


def test_a_filter_that_no_photo_fits_empties_the_page_and_goes_back(make, photos):
    opened = make(photos[photos["outcome"] == "correct"])
    opened.filters["label"].value, opened.filters["prediction"].value = "private", "public"
    assert opened.grid.children == ()
    opened.filters["prediction"].value = explorer.ANY
    assert len(opened.grid.children) > 0


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", "\"'><script>alert(1)</script>", "фото", "x" * 300])
def test_names_stay_text(make, photos, name):
    photos = photos.head(1).assign(image=name, path=f"{name}.jpg", source=name, split="test")
    opened = make(photos)
    opened.buttons[0].click()
    picture, text = opened.full.children[0].children
    for value in (picture.value, text.value):
        assert "<img" not in value
        assert "<script" not in value
    assert explorer.html.escape(name) in text.value


def test_bars_are_escaped_and_point_to_their_class():
    text = explorer.bars_html(["<i>a</i>", "b", "c"], [0.5, -1.0, 0.0])
    assert "<i>" not in text
    assert re.findall(r"margin-left:(\d+)px;width:(\d+)px", text) == [("120", "60"), ("0", "120"), ("120", "0")]
    assert re.findall(r"<td>(\S+)</td>", text) == ["+0.50", "\N{MINUS SIGN}1.00", "+0.00"]


def test_marks_are_shown_filtered_exported_and_read_again(make, photos, tmp_path):
    opened = make()
    for place in (0, 5):
        opened.buttons[place].click()
        opened.mark.value, opened.note.value = "ambiguous", "a <b>note</b>"
        opened.mark_button.click()
    marked = {opened.buttons[place].tooltip for place in (0, 5)}
    assert [i for i, text in enumerate(captions(opened)) if text.startswith("\u2605 ambiguous")] == [0, 5]
    opened.filters["mark"].value = "ambiguous"
    assert {button.tooltip for button in opened.grid.children} == marked
    opened.export_button.click()
    assert not marked & set(pd.read_csv(tmp_path / "marks.csv")["image"])
    for names in (False, True):
        opened.with_names.value = names
        opened.export_button.click()
        again = make()
        again.filters["mark"].value = "ambiguous"
        assert {button.tooltip for button in again.grid.children} == marked
    again.buttons[0].click()
    again.unmark_button.click()
    assert sum(text.startswith("\u2605") for text in captions(again)) == 1


def test_a_marks_file_of_another_dataset_is_told_and_not_written_over(make, tmp_path):
    (tmp_path / "marks.csv").write_text("image,mark,note\nelsewhere,ambiguous,\n")
    opened = make()
    assert "none of the 1 photos in the file" in opened.status.value
    opened.export_button.click()
    assert "move it away" in opened.status.value
    assert "elsewhere" in (tmp_path / "marks.csv").read_text()


def test_an_imported_file_is_read_and_leaves_the_widget(make):
    opened = make()
    content = b"\xef\xbb\xbfimage,mark,note\np3,interesting,\nelsewhere,note,hm\n"
    opened.upload.value = (
        {"name": "a.csv", "type": "", "size": 1, "content": memoryview(content), "last_modified": datetime.now(UTC)},
    )
    assert opened.upload.value == ()
    assert opened.marks.get("p3") == ("interesting", "")
    assert "Not photos of this run: 1, such as elsewhere" in opened.status.value
