import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from s2p_lib import datasets, published_scenes
from s2p_lib.made_scenes import scene_file
from s2p_lib.model import SCENES
from s2p_lib.published_scenes import CLIP, count_clipped, read_published_scenes, read_scene_file, to_logits


@pytest.fixture
def probabilities() -> np.ndarray:
    return expit(np.random.default_rng(0).normal(0, 4, 365))


def written(tmp_path, text: str):
    (tmp_path / "a.csv").write_text(text)
    return tmp_path / "a.csv"


def test_a_scene_file_gives_its_probabilities_in_the_order_of_the_logits(tmp_path, probabilities):
    found = read_scene_file(written(tmp_path, scene_file(probabilities)))
    np.testing.assert_allclose(found, probabilities, atol=5.01e-7)  # half a unit of the sixth decimal


def test_rows_are_joined_by_scene_name_not_by_their_order(tmp_path, probabilities):
    lines = scene_file(probabilities).splitlines()
    shuffled = [lines[0], *np.random.default_rng(1).permutation(lines[1:])]
    found = read_scene_file(written(tmp_path, "\n".join(shuffled)))
    np.testing.assert_allclose(found, probabilities, atol=5.01e-7)


def test_windows_line_ends_are_read(tmp_path, probabilities):
    found = read_scene_file(written(tmp_path, scene_file(probabilities).replace("\n", "\r\n")))
    np.testing.assert_allclose(found, probabilities, atol=5.01e-7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "the first line is '', not 'scene;conf'"),
        (lambda text: text.replace("scene;conf", "scene,conf"), "the first line is 'scene,conf'"),
        (lambda text: text.replace("airfield;", "airfield,"), r"line 2 is 'airfield,0\.\d+'"),
        (lambda text: "\n".join(text.splitlines()[:-1]), r"364 scenes, not the 365.*lacks \['zen_garden'\]"),
        (lambda text: text.replace("zen_garden;", "garden_of_eden;"), r"has \['garden_of_eden'\]"),
        (lambda text: text + "airfield;0.5\n", "366 scenes"),
        (lambda text: "scene;conf\nairfield;1.5\n" + "\n".join(text.splitlines()[2:]), r"holds 1\.5, a probability"),
        (lambda text: "scene;conf\nairfield;nan\n" + "\n".join(text.splitlines()[2:]), "holds nan"),
        (lambda text: "scene;conf\nairfield;-0.1\n" + "\n".join(text.splitlines()[2:]), r"holds -0\.1"),
        (lambda text: "scene;conf\nairfield;much\n" + "\n".join(text.splitlines()[2:]), "much"),
        (lambda text: text + " " * 1_000_001, "larger than 1000000 bytes"),
    ],
)
def test_a_file_that_is_not_as_published_is_named_with_what_is_wrong(tmp_path, probabilities, change, said):
    with pytest.raises(ValueError, match=said):
        read_scene_file(written(tmp_path, change(scene_file(probabilities))))


def test_logits_are_those_of_the_sigmoid_within_the_printed_decimals(probabilities):
    printed = np.round(probabilities, 6)
    inner = (printed > 1e-5) & (printed < 1 - 1e-5)
    found = to_logits(printed)[inner]
    bound = 5e-7 / (printed * (1 - printed))[inner]
    assert (np.abs(found - logit(probabilities)[inner]) <= 1.1 * bound + 1e-6).all()  # 1e-6: float32


def test_certain_probabilities_are_clipped_and_counted():
    found = to_logits(np.array([[0.0, 0.5, 1.0], [0.2, 0.3, 0.999999]]))
    assert np.isfinite(found).all()
    assert found[0].tolist() == pytest.approx([logit(CLIP), 0.0, logit(1 - CLIP)], rel=1e-6)
    assert count_clipped(found) == (2, 1)


def test_the_logits_of_a_tree_come_in_the_order_of_its_samples(scene_tree, tmp_path):
    table, *_ = datasets.read("ipd", scene_tree, features="published_scenes")
    table = table.sample(frac=1, random_state=0).reset_index(drop=True)
    logits, problems = read_published_scenes(table, scene_tree, tmp_path, workers=2)
    assert (logits.shape, logits.dtype, problems) == ((300, 365), np.float32, {})
    for row in (0, 57, 299):
        expected = to_logits(read_scene_file(scene_tree / table["path"][row]))
        np.testing.assert_array_equal(logits[row], expected)


def test_files_are_parsed_once(scene_tree, tmp_path, monkeypatch):
    table, *_ = datasets.read("ipd", scene_tree, features="published_scenes")
    first, _ = read_published_scenes(table, scene_tree, tmp_path)
    monkeypatch.setattr("s2p_lib.published_scenes.parse_scenes", lambda content: pytest.fail("parsed again"))
    again, _ = read_published_scenes(table, scene_tree, tmp_path)
    np.testing.assert_array_equal(first, again)


def test_an_unusable_file_is_told_and_does_not_stop_the_others(tmp_path, probabilities):
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text(scene_file(np.roll(probabilities, ord(name))))
    (tmp_path / "b.csv").write_text("scene;conf\n")
    table = pd.DataFrame({"image": list("abcd"), "path": [f"{name}.csv" for name in "abcd"]})
    logits, problems = read_published_scenes(table, tmp_path, tmp_path / "cache")
    assert set(problems) == {"b", "d"}
    assert "0 scenes, not the 365" in problems["b"]
    assert problems["d"] == "missing file"
    assert np.isnan(logits[[1, 3]]).all()
    assert np.isfinite(logits[[0, 2]]).all()


def test_a_file_that_changes_after_it_was_hashed_is_told_and_not_kept(scene_tree, tmp_path, monkeypatch):
    table, *_ = datasets.read("ipd", scene_tree, features="published_scenes")
    changing, hash_files = scene_tree / table["path"][5], published_scenes.hash_files
    before = changing.read_bytes()

    def hash_and_change(*given):
        found = hash_files(*given)
        changing.write_bytes((scene_tree / table["path"][6]).read_bytes())
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(published_scenes, "hash_files", hash_and_change)
        _, problems = read_published_scenes(table, scene_tree, tmp_path)
    assert problems == {table["image"][5]: "changed while it was read"}
    changing.write_bytes(before)
    logits, _ = read_published_scenes(table, scene_tree, tmp_path)
    np.testing.assert_array_equal(logits[5], to_logits(read_scene_file(changing)))


def test_the_made_files_name_the_places365_scenes(probabilities):
    names = [line.split(";")[0] for line in scene_file(probabilities).splitlines()[1:]]
    assert tuple(names) == SCENES
