import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from s2p_lib import datasets, prediction_files
from s2p_lib.__main__ import main
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import PRIVATE_IS_0, PUBLIC_IS_0


def test_released_format_keeps_meaning_and_order():
    samples = pd.DataFrame({"image": ["b", "a"], "split": "test", "label": ["public", "private"]})
    table = prediction_files.predictions_table(samples, np.array([0.9, 0.2]))
    released = prediction_files.released_predictions(table)
    assert table["prediction"].tolist() == ["private", "public"]
    assert released["image"].tolist() == ["b", "a"]
    assert released["pred_class"].tolist() == [0, 1]
    assert released["probability"].tolist() == [0.9, 0.8]


@pytest.fixture
def three() -> pd.DataFrame:
    return pd.DataFrame({"image": ["1.5", "a", "007"], "split": "test", "label": ["public", "private", "public"]})


def test_written_predictions_are_read_back(three, tmp_path):
    predictions = prediction_files.predictions_table(three, np.array([0.9, 0.2, 0.5]))
    prediction_files.released_predictions(predictions).iloc[::-1].to_csv(tmp_path / "p.csv", index=False)
    read = prediction_files.read_released_predictions(tmp_path / "p.csv", three)
    assert read["image"].tolist() == ["1.5", "a", "007"]
    assert read["prediction"].tolist() == predictions["prediction"].tolist()
    assert read["probability"].tolist() == [0.9, 0.8, 0.5]


def test_names_with_folders_and_extensions_and_codes_as_floats_are_read(three, tmp_path):
    rows = "image,probability,pred_class\nbatch0/a.jpg,0.7,1.0\n/data/imgs/1.5,0.6,0.0\n007.PNG,1,0\n"
    (tmp_path / "p.csv").write_text(rows)
    read = prediction_files.read_released_predictions(tmp_path / "p.csv", three).set_index("image")
    assert read["prediction"].to_dict() == {"1.5": "private", "a": "public", "007": "private"}
    opposite = prediction_files.read_released_predictions(tmp_path / "p.csv", three, {0: "public", 1: "private"})
    assert opposite["prediction"].tolist() == ["public", "private", "public"]


HEAD = "image,probability,pred_class\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no CSV table"),
        ("image,pred_class\na,1\n", "lacks the column.*probability.*this one has.*pred_class"),
        (HEAD + "a,1,1,x\n007,1,1,x\n1.5,1,1,x\n", "rows of more fields than its first line"),
        (HEAD + "a,1,1\n007,1,1\n", r"1 image\(s\) missing of the 3 to be predicted, such as 1\.5"),
        (HEAD, "3 image.*missing of the 3 to be predicted, such as 007, 1.5, a"),
        (HEAD + "a,1,1\n007,1,1\n1.5,1,1\na.jpg,1,1\n", "1 image.*named more than once, such as a"),
        (HEAD + "a,1,1\n007,1,1\n1.5,1,1\nb,1,1\n", "1 image.*beyond those to be predicted, such as b"),
        (HEAD + "a,1,1\n007,1,1\n2.5,1,1\n", "missing of the 3.*such as 1.5; 1 image.*beyond.*such as 2.5"),
        (
            HEAD + "a,1,2\n007,1,\n1.5,1,1\n",
            "2 row.*pred_class that is none of the codes, such as a: '2', 007: ''.*0 = private",
        ),
        (
            HEAD + "a,1.2,1\n007,-0.1,1\n1.5,inf,1\n",
            r"3 row.*outside \[0, 1\], such as a: '1.2', 007: '-0.1', 1.5: 'inf'",
        ),
        (HEAD + "a,nan,1\n007,,1\n1.5,high,1\n", "3 row.*that is no number, such as a: 'nan', 007: '', 1.5: 'high'"),
        (HEAD + "a,2,1\n007,,1\n1.5,0,0.5\n", "1 row.*no number.*1 row.*outside.*1 row.*none of the codes"),
    ],
)
def test_a_prediction_file_that_cannot_be_used_is_named(three, tmp_path, text, said):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"p\.csv.*{said}"):
        prediction_files.read_released_predictions(tmp_path / "p.csv", three)


def test_no_more_than_three_examples_are_given(tmp_path):
    samples = pd.DataFrame({"image": list("abcdef"), "split": "test", "label": "public"})
    (tmp_path / "p.csv").write_text(HEAD)
    with pytest.raises(ValueError, match=r"6 image.*such as a, b, c\. "):
        prediction_files.read_released_predictions(tmp_path / "p.csv", samples)


def labelled(reference, dataset: str, truth: str, codes) -> pd.DataFrame:
    """The photos of a released file of labels, as samples."""
    path = reference / "released_predictions" / dataset / f"{truth}.csv"
    images = pd.read_csv(path, dtype={"image": str})["image"]
    samples = pd.DataFrame({"image": images, "split": "test", "label": "unknown"})
    labels = prediction_files.read_released_predictions(path, samples, codes)
    return samples.assign(label=labels["prediction"])


# Percent, from the README of the reference data: private P R F1, public P R F1, macro P, BA, ACC.
PUBLISHED_FILES = {
    ("ipd", "rand-fold0", "gt-fold0", 0): [33.21, 49.00, 39.59, 66.54, 50.72, 57.56, 49.87, 49.86, 50.14],
    ("ipd", "cls0-fold0", "gt-fold0", 0): [33.33, 100, 50, 0, 0, 0, 16.67, 50, 33.33],
    ("privacyalert", "rand-original", "gt-original", 1): [
        24.23,
        47.33,
        32.05,
        74.27,
        50.67,
        60.24,
        49.25,
        49.00,
        49.83,
    ],
    ("privacyalert", "cls1-original", "gt-original", 1): [25, 100, 40, 0, 0, 0, 12.5, 50, 25],
}


@pytest.mark.parametrize(("dataset", "file", "truth", "private_code"), PUBLISHED_FILES)
def test_published_prediction_files_have_the_expected_figures(reference, dataset, file, truth, private_code):
    codes = PUBLIC_IS_0 if private_code else PRIVATE_IS_0
    samples = labelled(reference, dataset, truth, codes)
    path = reference / "released_predictions" / dataset / f"{file}.csv"
    evaluation, table = prediction_files.evaluate_file(path, samples, codes)
    figures = [round(100 * figure["value"], 2) for figure in evaluation["figures"].values()]
    expected = PUBLISHED_FILES[dataset, file, truth, private_code]
    assert figures == pytest.approx(expected, abs=0.0051)
    assert table["image"].tolist() == samples["image"].tolist()


@pytest.mark.parametrize(
    ("dataset", "truth", "private_code"), [("ipd", "gt-fold0", 0), ("privacyalert", "gt-original", 1)]
)
def test_a_file_in_the_other_datasets_coding_is_refused(reference, dataset, truth, private_code):
    right, wrong = (PRIVATE_IS_0, PUBLIC_IS_0)[:: 1 - 2 * private_code]
    samples = labelled(reference, dataset, truth, right)
    path = reference / "released_predictions" / dataset / f"{truth}.csv"
    evaluation, _ = prediction_files.evaluate_file(path, samples, right)
    assert evaluation["figures"]["accuracy"]["value"] == 1
    n = f"{len(samples):,}"
    with pytest.raises(ValueError, match=rf"{truth}\.csv: .* 0 of {n} .*swapped it would be {n}\. .*--codes"):
        prediction_files.evaluate_file(path, samples, wrong)


def judged(n_right: int, n_wrong: int) -> pd.DataFrame:
    """As many right and wrong predictions of each class."""
    one = pd.DataFrame({"label": ["private", "public"], "prediction": ["private", "public"]})
    other = one.assign(prediction=one["prediction"].to_numpy()[::-1])
    table = pd.concat([one] * n_right + [other] * n_wrong, ignore_index=True)
    return table.assign(image=[f"p{i}" for i in range(len(table))])


def test_a_bad_model_is_not_taken_for_another_coding():
    prediction_files.check_coding(judged(47, 53))  # 47 % right of 200 may be chance
    with pytest.raises(
        ValueError, match=r"60 of 200 predictions are right.*would be 140.*p60 .labelled private, read as pub"
    ):
        prediction_files.check_coding(judged(30, 70))


def test_the_other_coding_is_named_in_words():
    with pytest.raises(ValueError, match=r"read with 0 = public, 1 = private.*read it with 0 = private, 1 = public"):
        prediction_files.check_coding(judged(0, 20), PUBLIC_IS_0)


def test_few_photos_or_one_class_say_nothing_of_the_coding():
    prediction_files.check_coding(judged(0, 9))  # as the nine photos of the released demo, all wrong
    table = judged(0, 50)
    prediction_files.check_coding(table[table["label"] == "private"])


@pytest.fixture
def run_with_test_photos(tmp_path) -> RunFolder:
    """A run on PrivacyAlert whose test split is 40 photos, every fourth private; p_private is right for all but two."""
    run = RunFolder(tmp_path / "run")
    run.dir.mkdir()
    run.update_manifest("parameters", {"dataset": "privacyalert", "data_dir": str(tmp_path / "data")})
    labels = ["private" if i % 4 == 0 else "public" for i in range(41)]
    table = pd.DataFrame({"image": [f"i{i}" for i in range(41)], "split": ["train"] + ["test"] * 40, "label": labels})
    p_private = np.where(table["label"] == "private", 0.9, 0.2)
    p_private[[4, 5]] = 0.3, 0.6
    run.write_table("predictions.csv", prediction_files.predictions_table(table, p_private))
    return run


def evaluate(*given) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["evaluate", *map(str, given)])
    return done.exit_code, done.output


def test_the_command_evaluates_a_file_and_compares_it_with_another(run_with_test_photos, tmp_path):
    run, files = run_with_test_photos, (tmp_path / "a.csv", tmp_path / "b.csv")
    test = run.read_table("predictions.csv").query("split == 'test'")
    for file, table in zip(files, (test, test.assign(prediction="public", p_private=0.1))):
        shuffled = prediction_files.released_predictions(table, PUBLIC_IS_0).sample(frac=1, random_state=0)
        shuffled.to_csv(file, index=False)
    code, said = evaluate(files[0], "--run", run.dir, "--against", files[1])
    assert code == 0
    assert "10 private, 30 public photos" in said
    assert re.search(r"private recall +72.44 +90.00", said)
    assert "private recall: +90.00" in said
    assert "right in a.csv only: 9; in b.csv only: 1" in said
    assert "the kit made" not in said


def test_the_command_needs_no_run_where_the_labels_are(privacyalert, tmp_path):
    labels = datasets.read_labels("privacyalert", privacyalert)
    test = labels[labels["split"] == "test"]
    p_private = np.where(test["label"] == "private", 0.8, 0.1)
    table = prediction_files.predictions_table(test, p_private)
    prediction_files.released_predictions(table, PUBLIC_IS_0).to_csv(tmp_path / "a.csv", index=False)
    code, said = evaluate(tmp_path / "a.csv", "--dataset", "privacyalert", "--data-dir", privacyalert)
    assert (code, "100.00" in said, "the kit made" in said) == (0, True, False)
    (privacyalert / datasets.MADE_MARKER).write_text("{}")
    _, said = evaluate(tmp_path / "a.csv", "--dataset", "privacyalert", "--data-dir", privacyalert)
    assert "photos that the kit made: no figure here is a result of the paper" in said


def test_the_command_names_what_is_wrong_with_a_file(run_with_test_photos, tmp_path):
    run = run_with_test_photos
    test = run.read_table("predictions.csv").query("split == 'test'")
    prediction_files.released_predictions(test, PRIVATE_IS_0).to_csv(tmp_path / "a.csv", index=False)
    code, said = evaluate(tmp_path / "a.csv", "--run", run.dir)
    assert code == 1
    assert "--codes" in said
    assert evaluate(tmp_path / "a.csv", "--run", run.dir, "--codes", "private_is_0")[0] == 0
    assert "give one of them" in evaluate(tmp_path / "a.csv", "--run", run.dir, "--dataset", "ipd")[1]
    assert "has no predictions.csv" in evaluate(tmp_path / "a.csv", "--run", tmp_path)[1]
