import csv
import io

import pandas as pd
import pytest

from s2p_lib.marks import COLUMNS, Marks, hashed_name, read_salt

ODD = ["<b>bold</b>", 'quo"te, comma', "фото", "x" * 300, "00123"]


@pytest.fixture
def photos() -> pd.DataFrame:
    p_private = [0.25, 0.125, 0.0625, 0.5, 0.1]
    return pd.DataFrame({"image": ODD, "label": "private", "prediction": "public", "p_private": p_private})


@pytest.fixture
def marks() -> Marks:
    marks = Marks()
    for image, mark in zip(ODD, ["wrong label", "ambiguous", "interesting", "note"]):
        marks.add(image, mark, f'a "note", {mark}')
    return marks


@pytest.mark.parametrize("salt", [None, "salt"])
def test_marks_come_back_as_they_were_exported(photos, marks, salt):
    text = marks.to_csv(photos, salt)
    again, unknown = Marks.from_csv(text, photos["image"], salt)
    assert text.splitlines()[0] == ",".join(COLUMNS if salt is None else COLUMNS[:-1])
    assert unknown == []
    assert {image: again.get(image) for image in ODD} == {image: marks.get(image) for image in ODD}


def test_without_names_no_name_is_in_the_file_and_another_run_cannot_read_it(photos, marks):
    text = marks.to_csv(photos, "salt")
    assert not any(name in text for name in ODD)
    told = pd.read_csv(io.StringIO(text))
    assert set(told) & set(photos) == {"image", "label", "prediction"}  # which are alike for all of these photos
    assert told["image"].is_monotonic_increasing  # not in the order of the photos
    for salt in (None, "other salt"):
        with pytest.raises(ValueError, match="none of the 4 photos in the file is one of the 5 of this run"):
            Marks.from_csv(text, photos["image"], salt)


@pytest.mark.parametrize("salt", [None, "salt"])
def test_marks_of_photos_that_are_gone_stay_in_the_file(photos, marks, salt):
    few, unknown = Marks.from_csv(marks.to_csv(photos, salt), photos["image"].iloc[1:], salt)
    assert (len(unknown), len(few)) == (1, 3)
    again, _ = Marks.from_csv(few.to_csv(photos.iloc[1:], salt), photos["image"], salt)
    assert {image: again.get(image) for image in ODD} == {image: marks.get(image) for image in ODD}


def test_the_name_of_a_photo_that_is_gone_is_hashed_too(photos, marks):
    few, _ = Marks.from_csv(marks.to_csv(photos), photos["image"].iloc[1:])
    assert "bold" not in few.to_csv(photos.iloc[1:], "salt")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "'", "'=1", "''x", "'quoted'"])
def test_no_cell_is_a_formula_and_texts_come_back(text):
    photos = pd.DataFrame({"image": [text], "label": "private", "prediction": "public", "p_private": 0.25})
    marks = Marks()
    marks.add(text, "note", text)
    exported = marks.to_csv(photos)
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in csv.reader(io.StringIO(exported)) for cell in row)
    assert Marks.from_csv(exported, photos["image"])[0].get(text) == ("note", text)


def test_a_hash_depends_on_salt_and_name():
    assert len({hashed_name(name, salt) for name in ("a", "b") for salt in ("c", "d")}) == 4


def test_the_salt_of_a_run_is_drawn_once(tmp_path):
    salt = read_salt(tmp_path / "a")
    assert salt == read_salt(tmp_path / "a")
    assert salt != read_salt(tmp_path / "b")
    assert len(salt) == 32


def test_photos_of_another_run_are_told_and_the_rest_is_read(photos):
    text = "image,mark,note\n00123,ambiguous,\nelsewhere,ambiguous,\n"
    marks, unknown = Marks.from_csv(text, photos["image"])
    assert marks.get("00123") == ("ambiguous", "")
    assert unknown == ["elsewhere"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no CSV file of marks"),
        ("image,label\n00123,private\n", "it lacks mark, note"),
        ("image,mark,note\n00123,bad,\n", "mark 'bad' is unknown; allowed: wrong label"),
        ("image,mark,note\n00123,note,\n", "needs a note"),
        ("image,mark,note\n00123,ambiguous,\n00123,interesting,\n", "1 photos are marked twice in the file"),
        ("image,mark,note\na,ambiguous,\nb,ambiguous,\n", "none of the 2 photos .* such as a, b"),
    ],
)
def test_a_bad_file_is_refused_in_words(photos, text, told):
    with pytest.raises(ValueError, match=told):
        Marks.from_csv(text, photos["image"])


def test_a_photo_has_one_mark_the_last_and_none_once_it_is_removed():
    marks = Marks()
    marks.add("a", "ambiguous")
    marks.add("a", "interesting", "why\nnot")
    assert (marks.get("a"), len(marks)) == (("interesting", "why not"), 1)
    marks.remove("a")
    marks.remove("a")
    assert (marks.get("a"), len(marks)) == (("", ""), 0)


def test_no_marks_are_a_file_with_a_head_alone(photos):
    text = Marks().to_csv(photos)
    assert len(text.splitlines()) == 1
    assert len(Marks.from_csv(text, photos["image"])[0]) == 0
