import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from s2p_lib import report
from s2p_lib.datasets import DEMO_MARKER
from s2p_lib.pictures import picture
from s2p_lib.run_folder import RunFolder

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture
def run(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.update_manifest("parameters", {"dataset": "ipd", "features": "photos", "data_dir": str(tmp_path)})
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(tmp_path / "a.jpg")
    return folder


def failures_named(*images: str) -> pd.DataFrame:
    table = pd.DataFrame({"image": images, "path": "a.jpg", "label": "private", "prediction": "public"})
    return table.assign(
        outcome="missed private",
        confidence=0.9,
        top_scenes="beach, coast, wave",
        top_scene_p="0.90, 0.80, 0.70",
        reasons=HOSTILE,
    )


def page(run: RunFolder) -> str:
    return run.path("failures.html").read_text()


def test_names_from_outside_stay_text(run):
    report.write_failures_page(run, failures_named(HOSTILE, "файл 写真 " + "x" * 300, "\"'&"), n_photos=10)
    assert "<img src=x" not in page(run)
    assert "&lt;img src=x" in page(run)
    assert "файл 写真" in page(run)


def test_the_page_needs_no_other_file_and_allows_none(run):
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    assert set(re.findall(r'src="([a-z]+):', page(run))) == {"data"}
    assert not re.search(r"(src|href)=\"https?:", page(run))
    assert "default-src 'none'" in page(run)
    assert "<script" not in page(run)


def test_the_page_says_how_many_are_shown(run):
    report.write_failures_page(run, failures_named(*"abcde"), n_photos=10, max_photos=3)
    assert "the first 3 are shown" in page(run)
    assert page(run).count("<figure>") == 3


def test_no_failures_and_lost_photos_still_give_a_page(run):
    report.write_failures_page(run, failures_named(), n_photos=10)
    assert page(run).count("None.") == 2
    report.write_failures_page(run, failures_named("a").assign(path="gone.jpg"), n_photos=10)
    assert page(run).count("<figure>") == 1


def test_only_the_demo_page_carries_the_warning(run):
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    assert "not results of the paper" not in page(run)
    (run.dir / DEMO_MARKER).write_text("{}")
    run.update_manifest("parameters", {"dataset": "demo"})
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    assert "not results of the paper" in page(run)


def pixels_of(run: RunFolder) -> np.ndarray:
    (uri,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page(run))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))).convert("L"), dtype=float)


def stripes(path) -> None:
    pixels = np.zeros((240, 240, 3), np.uint8)
    pixels[:, ::8] = 255
    Image.fromarray(np.repeat(pixels[:, :120], 2, axis=1)).save(path)


def test_photos_of_real_people_are_blurred_unless_asked_for(run, tmp_path):
    stripes(tmp_path / "a.jpg")
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    blurred = pixels_of(run)
    assert "Photos are blurred" in page(run)
    run.update_manifest("parameters", {"show_photos": True})
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    shown = pixels_of(run)
    assert "Photos are blurred" not in page(run)
    assert np.abs(np.diff(shown, axis=1)).max() > 100
    assert np.abs(np.diff(blurred, axis=1)).max() < 10  # no edge is left


def test_demo_photos_are_shown_unless_asked_not_to(run, tmp_path):
    stripes(tmp_path / "a.jpg")
    (tmp_path / DEMO_MARKER).write_text("{}")
    run.update_manifest("parameters", {"dataset": "demo"})
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    assert np.abs(np.diff(pixels_of(run), axis=1)).max() > 100
    run.update_manifest("parameters", {"show_photos": False})
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    assert np.abs(np.diff(pixels_of(run), axis=1)).max() < 10


def test_without_photos_their_scenes_stand_in_their_place(run):
    run.update_manifest("parameters", {"features": "published_scenes"})
    report.write_failures_page(run, failures_named("a"), n_photos=10)
    assert "<img" not in page(run)
    assert "beach <span>0.90</span>" in page(run)


def test_what_is_not_to_be_shown_is_not_opened(tmp_path):
    assert picture(tmp_path / "gone.jpg", "scenes") is None
    with pytest.raises(ValueError, match="allowed: photos, blurred, scenes"):
        picture(tmp_path / "gone.jpg", "everything")
