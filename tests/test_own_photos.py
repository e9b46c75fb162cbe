from datetime import UTC, datetime

import pandas as pd
import pytest
from conftest import save_photo

from s2p_lib import model as s2p
from s2p_lib.own_photos import MOST, OwnPhotos, prediction_html
from s2p_lib.predict import WARNING, predict_photos


@pytest.fixture(scope="module")
def demo_model():
    return s2p.load_s2p("demo")


@pytest.fixture
def own(demo_model):
    own = OwnPhotos(*demo_model)
    own.unfold()
    return own


@pytest.fixture
def content(tmp_path):
    save_photo(tmp_path / "photos" / "p.jpg", 0)
    return (tmp_path / "photos" / "p.jpg").read_bytes()


def uploaded(name: str, content: bytes) -> dict:
    return {"name": name, "content": memoryview(content)}


@pytest.mark.parametrize("name", ["a.jpg", "../../a.jpg", "<script>x</script>", "я" * 300, "no extension"])
def test_an_uploaded_photo_is_predicted_as_from_its_file_whatever_its_name(own, demo_model, content, tmp_path, name):
    own._uploaded((uploaded(name, content),))
    (row,) = predict_photos([tmp_path / "photos" / "p.jpg"], *demo_model).to_dict("records")
    assert own.result.value == prediction_html(row | {"image": name})
    assert "<script" not in own.result.value


def test_uploaded_bytes_leave_the_widget_and_the_disk(own, content, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own.upload.value = (
        {"name": "a", "type": "", "size": 1, "content": memoryview(content), "last_modified": datetime.now(UTC)},
    )
    assert "called" in own.result.value
    assert own.upload.value == ()
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_what_is_no_photo_does_not_stop_the_others(own, content):
    own._uploaded((uploaded("text.txt", b"hello"), uploaded("a.jpg", content)))
    assert "text.txt</b>: not predicted, not an image" in own.result.value
    assert "a.jpg</b>: called" in own.result.value


def test_a_folder_is_predicted_and_a_missing_one_told(own, content, tmp_path):
    own.folder.value = f" {tmp_path / 'photos'} "
    own.predict_button.click()
    assert "p</b>: called" in own.result.value
    for folder in ("", str(tmp_path / "none"), "x" * 300):
        own.folder.value = folder
        own.predict_button.click()
        assert "called" not in own.result.value


def test_a_large_folder_is_cut_and_says_so(own, monkeypatch):
    asked = []
    row = {"image": "p", "problem": "missing file"}
    monkeypatch.setattr(own, "_predict", lambda paths: asked.extend(paths) or pd.DataFrame([row] * len(paths)))
    own._uploaded(tuple(uploaded(f"{i}.jpg", b"x") for i in range(MOST + 2)))
    assert len(asked) == MOST
    assert f"The first {MOST} of {MOST + 2} photos" in own.result.value


def test_the_cards_warning_is_there(own):
    assert any(WARNING in getattr(widget, "value", "") for widget in own.children)


def test_a_run_on_published_scenes_says_that_it_cannot_see_photos():
    own = OwnPhotos(*s2p.load_s2p("published_scenes"))
    own.unfold()
    assert "no network to look at photos" in own.children[-1].value
