import pandas as pd
import pytest

from s2p_lib.marks import COLUMNS, Marks, hashed_name, read_salt

ODD = ["<b>bold</b>", 'quo"te, comma', "фото", "x" * 300, "00123"]


@pytest.fixture
def photos() -> pd.DataFrame:
    return pd.DataFrame({"image": ODD, "label": "private", "prediction": "public", "p_private": 0.25})


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
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert unknown == []
    assert {image: again.get(image) for image in ODD} == {image: marks.get(image) for image in ODD}


def test_without_names_no_name_is_in_the_file_and_another_run_cannot_read_it(photos, marks):
    text = marks.to_csv(photos, "salt")
    assert not any(name in text for name in ODD)
    for salt in (None, "other salt"):
        with pytest.raises(ValueError, match="none of the 4 photos in the file is one of the 5 of this run"):
            Marks.from_csv(text, photos["image"], salt)


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
