import html
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from conftest import save_photo
from decoding_hooks import SEARCH_PATH, Resize, save_deadly

from s2p_lib import model as s2p
from s2p_lib import predict
from s2p_lib.own_photos import MOST, OwnPhotos
from s2p_lib.predict import N_SCENES, WARNING, predict_photos
from s2p_lib.run_folder import DEMO_WARNING

MEAN = np.linspace(-4, 2, 365, dtype=np.float32)  # scene logits of the mean photo


@pytest.fixture(scope="module")
def demo_model():
    return s2p.load_s2p("demo")


@pytest.fixture
def own(demo_model):
    own = OwnPhotos(*demo_model, MEAN)
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
    scenes = ", ".join(f"{row[f'scene_{k}']} ({row[f'scene_{k}_p']:.2f})" for k in range(1, N_SCENES + 1))
    called = f"<b>{html.escape(name)}</b>: called {row['prediction']}, p_private {row['p_private']:.4f}."
    assert called in own.result.value
    assert f"Its likeliest scenes: {html.escape(scenes)}." in own.result.value
    assert "<script" not in own.result.value


def test_the_explanation_adds_up_against_the_mean_and_says_what_would_flip_it(own, demo_model, content, tmp_path):
    own._uploaded((uploaded("a.jpg", content),))
    mean, scenes, total = map(
        float, re.search(r"private: (\S+) for .*?, (\S+) from .*? sum (\S+)\. ", own.result.value).groups()
    )
    (p,) = predict_photos([tmp_path / "photos" / "p.jpg"], *demo_model)["p_private"]
    weight, bias = (part.detach().numpy().astype(float) for part in demo_model[0].scene_to_privacy_layer.parameters())
    assert total == pytest.approx(np.log(p / (1 - p)), abs=0.006)  # two decimals
    assert mean == pytest.approx((weight[0] - weight[1]) @ MEAN + bias[0] - bias[1], abs=0.006)
    assert mean + scenes == pytest.approx(total, abs=0.016)  # of three rounded figures
    assert "What would flip it." in own.result.value


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


def test_a_photo_that_crashes_the_decoder_does_not_stop_the_others(own, content, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SEARCH_PATH)
    monkeypatch.setattr(predict, "in_two_steps", lambda transform: (Resize(), s2p.in_two_steps(transform)[1]))
    save_deadly(tmp_path / "deadly.png")
    own._uploaded((uploaded("deadly", (tmp_path / "deadly.png").read_bytes()), uploaded("a.jpg", content)))
    assert "deadly</b>: not predicted, damaged: it crashes the decoder" in own.result.value
    assert "a.jpg</b>: called" in own.result.value


def test_where_photos_cannot_be_decoded_it_says_so(own, content, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    own._uploaded((uploaded("a.jpg", content),))
    assert "role='alert'>a process that decodes photos does not start" in own.result.value


def test_a_folder_is_predicted_and_a_missing_one_told(own, content, tmp_path):
    own.folder.value = f" {tmp_path / 'photos'} "
    own.predict_button.click()
    assert "p</b>: called" in own.result.value
    for folder in ("", str(tmp_path / "none"), "x" * 300, "~no_such_user/photos"):
        own.folder.value = folder
        own.predict_button.click()
        assert "called" not in own.result.value


def test_a_large_folder_is_cut_and_says_so(own):
    own._uploaded(tuple(uploaded(f"{i}.jpg", b"x") for i in range(MOST + 2)))
    assert own.result.value.count("not predicted") == MOST
    assert f"The first {MOST} of {MOST + 2} photos" in own.result.value


def test_the_cards_warning_is_there(own):
    assert any(WARNING in getattr(widget, "value", "") for widget in own.children)
    assert not any("Demo run" in getattr(widget, "value", "") for widget in own.children)


def test_on_a_demo_run_its_warning_comes_first(demo_model):
    own = OwnPhotos(*demo_model, MEAN, warning=DEMO_WARNING)
    own.unfold()
    texts = [getattr(widget, "value", "") for widget in own.children]
    first, second = (
        next(i for i, text in enumerate(texts) if html.escape(said) in text) for said in (DEMO_WARNING, WARNING)
    )
    assert first < second


def test_a_run_on_published_scenes_says_that_it_cannot_see_photos():
    own = OwnPhotos(*s2p.load_s2p("published_scenes"), MEAN)
    own.unfold()
    assert "no network to look at photos" in own.children[-1].value
