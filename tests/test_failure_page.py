import base64
import hashlib
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from s2p_lib import failure_page
from s2p_lib.datasets import DEMO_MARKER
from s2p_lib.metrics import outcomes
from s2p_lib.run_folder import RunFolder
from s2p_lib.slices import STATEMENTS

HOSTILE = '"><img src=x onerror="window.__pwned=1"></script><script>window.__pwned=1</script><!--<script>'
STRANGE = (HOSTILE, "файл 写真 " + "x" * 300, "\"'&", "../../etc/passwd", "{{ 7 * 7 }}")


def made_run(folder) -> RunFolder:
    """A run on real photos (so they are blurred), with one photo, a.jpg."""
    run = RunFolder(folder)
    run.update_manifest("parameters", {"dataset": "ipd", "features": "photos", "data_dir": str(folder)})
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(folder / "a.jpg")
    return run


def as_demo(run: RunFolder) -> None:
    """Let the run pass for one on the drawn demo dataset."""
    run.path(DEMO_MARKER).write_text("{}")
    run.update_manifest("parameters", {"dataset": "demo"})


def made_photos(*images: str, label: str = "private", margins: list[float] | None = None) -> pd.DataFrame:
    """A photo table of ``images``, all with the file a.jpg, from the margins of their label (negative is wrong)."""
    margin = np.array(margins or [-2.0] * len(images))
    signs = np.where(np.broadcast_to(label, len(images)) == "private", 1, -1)
    table = pd.DataFrame({"image": images, "path": "a.jpg", "source": "vispr", "label": label}).astype(object)
    table["prediction"] = np.where(signs * margin >= 0, "private", "public")
    table["p_private"] = 1 / (1 + np.exp(-signs * margin))
    table["confidence"] = np.maximum(table["p_private"], 1 - table["p_private"])
    return table.assign(
        outcome=outcomes(table["label"], table["prediction"]),
        loss=np.log1p(np.exp(-margin)),
        margin=margin,
        top_scene="beach",
        top_scenes="beach, coast, wave",
        top_scene_p="0.90, 0.80, 0.70",
        reasons=HOSTILE,
    )


def explain(image: str) -> pd.DataFrame:
    """Twelve scenes that move the decision by 12, -11, 10 ... quarters, one of them with a hostile name."""
    parts = np.arange(12, 0, -1) * np.resize([-0.25, 0.25], 12)
    return pd.DataFrame(
        {"scene": [HOSTILE, *(f"scene {i}" for i in range(1, 12))], "logit": parts, "mean": 0.0, "contribution": parts}
    )


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return made_run(tmp_path)


def write(run: RunFolder, photos: pd.DataFrame, **options) -> str:
    failure_page.write_failures_page(run, photos, explain, **options)
    return run.path("failures.html").read_text(encoding="utf-8")


def data_of(page: str) -> list[dict]:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_names_from_outside_stay_text(run):
    page = write(run, made_photos(*STRANGE))
    assert page.count("<img") == len(STRANGE) + 1  # and the empty one of the details
    assert page.count("<script") == 2
    assert "<!--" not in page
    assert {photo["image"] for photo in data_of(page)} == set(STRANGE)


def test_the_page_needs_no_other_file_and_allows_none(run):
    page = write(run, made_photos("a"))
    assert set(re.findall(r'src="([a-z]+):', page)) == {"data"}
    assert not re.search(r'(src|href)="https?:', page)
    assert "default-src 'none'" in page


def test_only_the_script_of_the_page_can_run(run):
    page = write(run, made_photos("a"))
    script = re.search(r"<script>(.*?)</script>", page, re.S)[1]
    sha256 = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert re.search("script-src ([^;]*);", page)[1] == f"'sha256-{sha256}'"
    assert not re.search(r"innerHTML|eval\(|document\.write", script)


def test_failures_come_first_the_most_confident_first_and_correct_photos_fill_up(run):
    photos = made_photos(*"abcde", margins=[2.0, -1.0, 3.0, -2.0, 4.0])
    assert [photo["image"] for photo in data_of(write(run, photos))] == ["d", "b", "e", "c", "a"]
    page = write(run, photos, max_photos=1)
    assert [photo["image"] for photo in data_of(page)] == ["d"]
    assert "1 of the 2 failures, the most confident" in page
    assert "none of the 3 correct" in page
    assert "It is limited to 1 photo." in page
    assert "max_photos" not in page  # a parameter of the notebooks with another meaning


def test_the_parts_of_the_explanation_add_up_to_the_margin(run):
    (photo,) = data_of(write(run, made_photos("a", label="public", margins=[-2.0])))
    of_mean, parts, margin_private = photo["margins"]
    assert margin_private == pytest.approx(2.0)  # public, missed by 2: private by 2
    assert sum(part for *_, part in photo["bars"]) + photo["rest"][1] == pytest.approx(parts)
    assert of_mean + parts == pytest.approx(margin_private)
    assert photo["rest"][0] == 12 - len(photo["bars"]) == 4


def test_what_would_flip_it_says_when_nothing_does(run):
    photos = made_photos("near", "far", margins=[-0.5, -50.0])
    far, near = data_of(write(run, photos))
    assert near["flip"]["words"].startswith("With this scene at the mean photo's level it would be called private")
    assert near["flip"]["scenes"][0].endswith("the margin becomes +2.50")
    assert far["flip"]["scenes"] == []
    assert "would still be called public" in far["flip"]["words"]


def test_slices_of_the_card_count_the_photos_that_are_here(run):
    photos = made_photos(*"abc", margins=[-3.0, -2.0, -1.0])
    beach = next(s for s in STATEMENTS if s.id == "beach-gym")
    of_beach = pd.DataFrame({"image": ["a", "c"], "slice": "beach & <gym>"})
    nothing = pd.DataFrame({"image": [], "slice": []})
    page = write(run, photos, statements={"beach-gym": of_beach, "labels": nothing}, max_photos=2)
    assert f'<optgroup label="{beach.claim}">' in page
    assert page.count("<optgroup") == 1
    assert "beach &amp; &lt;gym&gt; (1 of 2 photos are on this page)" in page
    assert [photo["slices"] for photo in data_of(page)] == [["beach-gym: beach & <gym>"], []]


def test_the_page_keeps_to_its_size_by_smaller_pictures_and_then_by_fewer(run, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (448, 448, 3), dtype=np.uint8)  # noise hardly packs
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    run.update_manifest("parameters", {"show_photos": True})
    photos = made_photos(*(f"p{i}" for i in range(20)), margins=[-2.0] * 5 + [2.0] * 15)
    whole = len(write(run, photos).encode())
    page = write(run, photos, max_bytes=whole // 2)
    assert len(page.encode()) <= whole // 2
    assert len(data_of(page)) == 20
    assert "320 pixels a side" in page
    page = write(run, photos, max_bytes=150_000)
    assert len(page.encode()) <= 150_000
    kept = [photo["outcome"] for photo in data_of(page)]
    assert 5 < len(kept) < 20
    assert kept[:5] == ["missed private"] * 5
    assert "More would make it larger than 0.15 MB" in page
    with pytest.raises(ValueError, match=r"0\.001 MB is too small: the page without any photo has"):
        write(run, photos, max_bytes=1000)


def test_what_cannot_be_shown_is_named(run):
    photos = made_photos("a", "b")
    with pytest.raises(ValueError, match=r"lacks the column\(s\) \['loss'\]"):
        write(run, photos.drop(columns="loss"))
    with pytest.raises(ValueError, match=r"1 image\(s\) more than once: a"):
        write(run, made_photos("a", "a"))
    with pytest.raises(ValueError, match="1 or more"):
        write(run, photos, max_photos=0)
    with pytest.raises(ValueError, match=r"has 1 photo\(s\) that the photo table lacks: z"):
        write(run, photos, statements={"labels": pd.DataFrame({"image": ["a", "z"], "slice": "s"})})


def test_no_failures_one_photo_no_photo_and_lost_photos_still_give_a_page(run):
    assert "no failure, as there is none" in write(run, made_photos("a", margins=[1.0]))
    assert "There is no photo." in write(run, made_photos())
    lost = made_photos("a", "b").assign(path=["gone.jpg", "x" * 300])  # too long a name for a file system
    page = write(run, lost)
    assert page.count("<figure>") == 2
    assert "2 of the photos shown are gone since the run" in page
    assert "of the photos shown" not in write(run, made_photos("a"))


def test_photos_of_the_run_that_cannot_be_read_any_more_are_told(run):
    assert "3 more test photos of the run cannot be read any" in write(run, made_photos("a"), n_unreadable=3)
    assert "of the run cannot be read" not in write(run, made_photos("a"))


def test_a_source_or_a_number_that_is_missing_stops_nothing(run):
    photos = made_photos("a", "b").assign(source=[np.nan, "vispr"], loss=[np.inf, 1.0])
    a, _ = data_of(write(run, photos))
    assert (a["source"], a["loss"]) == ("unknown", None)


def test_only_the_demo_page_carries_the_warning(run):
    assert "not results of the paper" not in write(run, made_photos("a"))
    as_demo(run)
    assert "not results of the paper" in write(run, made_photos("a"))


def pixels_of(page: str) -> np.ndarray:
    (uri,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("L"), dtype=float)


def stripes(path) -> None:
    pixels = np.zeros((448, 448, 3), np.uint8)
    pixels[:, ::8] = 255
    Image.fromarray(np.repeat(pixels[:, :224], 2, axis=1)).save(path)


def test_photos_of_real_people_are_blurred_unless_asked_for(run, tmp_path):
    stripes(tmp_path / "a.jpg")
    page = write(run, made_photos("a"))
    blurred = pixels_of(page)
    assert "Photos are blurred" in page
    run.update_manifest("parameters", {"show_photos": True})
    page = write(run, made_photos("a"))
    assert "Photos are blurred" not in page
    assert np.abs(np.diff(pixels_of(page), axis=1)).max() > 100
    assert np.abs(np.diff(blurred, axis=1)).max() < 10  # no edge is left


def test_demo_photos_are_shown_unless_asked_not_to(run, tmp_path):
    stripes(tmp_path / "a.jpg")
    as_demo(run)
    assert np.abs(np.diff(pixels_of(write(run, made_photos("a"))), axis=1)).max() > 100
    run.update_manifest("parameters", {"show_photos": False})
    assert np.abs(np.diff(pixels_of(write(run, made_photos("a"))), axis=1)).max() < 10


def test_without_photos_their_scenes_stand_in_their_place(run):
    run.update_manifest("parameters", {"features": "published_scenes"})
    page = write(run, made_photos("a").assign(path="gone.jpg", reasons="beach"))
    assert "data:image" not in page
    assert "beach <span>0.90</span>" in page
    assert "of the photos shown" not in page
