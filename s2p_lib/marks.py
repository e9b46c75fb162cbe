"""What a reader noted about the photos of a run, kept as a CSV file."""

import hashlib
import hmac
import io
import re
import secrets
from pathlib import Path

import pandas as pd

from s2p_lib.samples import examples

MARKS = ("wrong label", "ambiguous", "interesting", "note")
COLUMNS = ["image", "mark", "note", "label", "prediction", "p_private"]
HASH = "[0-9a-f]{16}"  # what hashed_name gives
# What a spreadsheet takes for a formula at the beginning of a cell; an apostrophe before it makes it a text.
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "'")


class Marks:
    """One mark of ``MARKS`` and a note per image, by name; ``note`` is the mark of a photo with a note alone.

    Marks of photos that a run does not know (any more) are kept as they were read, so that no export loses them.
    """

    def __init__(self):
        self._of, self._of_unknown = {}, {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, image: str, mark: str, note: str = "") -> None:
        """Mark a photo, in place of what it was marked with before. ValueError for an unknown mark or no note."""
        note = " ".join(note.split())  # one line, so that every program reads the CSV alike
        if mark not in MARKS:
            raise ValueError(f"mark {mark!r} is unknown; allowed: {', '.join(MARKS)}")
        if mark == "note" and not note:
            raise ValueError("the mark 'note' needs a note: write one, or choose another mark")
        self._of[image] = (mark, note)

    def remove(self, image: str) -> None:
        """Take a photo's mark away; nothing happens if it has none."""
        self._of.pop(image, None)

    def get(self, image: str) -> tuple[str, str]:
        """Mark and note of a photo, both empty if it has none."""
        return self._of.get(image, ("", ""))

    def update(self, other: "Marks") -> None:
        """Take over the marks of ``other``, which win."""
        self._of.update(other._of)
        self._of_unknown.update(other._of_unknown)

    def to_csv(self, photos: pd.DataFrame, salt: str | None = None) -> str:
        """The marked photos as CSV with ``COLUMNS``, sorted by image; the last three are those of ``photos``.

        With ``salt`` a hash stands for each image name and p_private, which predictions.csv has too, is left out: only
        who has the salt and the names can tell the photos. A text that a spreadsheet would take for a formula gets an
        apostrophe, which ``from_csv`` takes away.
        """
        marks = self._of_unknown | self._of
        rows = pd.DataFrame([(image, *mark) for image, mark in marks.items()], columns=COLUMNS[:3], dtype=str)
        table = rows.merge(photos[["image", *COLUMNS[3:]]], on="image", how="left", validate="one_to_one")
        if salt is not None:
            table["image"] = [_without_name(image, salt) for image in table["image"]]
            table = table.drop(columns="p_private")
        table = table.sort_values("image")
        for column in ("image", "note"):
            table[column] = [f"'{text}" if text.startswith(FORMULAS) else text for text in table[column]]
        return table.to_csv(index=False)

    @classmethod
    def from_csv(cls, text: str, images: pd.Series, salt: str | None = None) -> tuple["Marks", list[str]]:
        """Marks of a CSV with the columns image, mark and note, and the images in it that ``images`` does not have.

        Images are found by their names, or by the hashes that ``salt`` gives. The marks of others are kept as they are,
        and not counted. ValueError for a file without these columns, with an unknown mark or with an image twice, and
        for one of which no image is known.
        """
        table = _read(text)
        known = {image: image for image in images}
        by_hash = {} if salt is None else {hashed_name(image, salt): image for image in images}
        found = [known.get(image) or by_hash.get(image) for image in table["image"]]
        unknown = [image for image, name in zip(table["image"], found) if name is None]
        if len(table) and len(unknown) == len(table):
            raise ValueError(
                f"none of the {len(table):,} photos in the file is one of the {len(known):,} of this run, such as "
                f"{examples(unknown)}. Import marks of the same dataset; a file without image names can only be "
                "read by the run that wrote it"
            )
        named = pd.Series([name for name in found if name is not None], dtype=str)
        if len(twice := named[named.duplicated()].unique()):
            raise ValueError(f"{len(twice):,} photos are marked twice in the file, such as {examples(twice)}")
        marks = cls()
        for name, mark, note in zip(found, table["mark"], table["note"]):
            if name is not None:
                marks.add(name, mark, note)
        marks._of_unknown = {
            image: (mark, note)
            for image, name, mark, note in zip(table["image"], found, table["mark"], table["note"])
            if name is None
        }
        return marks, unknown


def hashed_name(image: str, salt: str) -> str:
    """16 hex digits that stand for an image name, by HMAC-SHA256 with ``salt`` as its key."""
    return hmac.new(salt.encode(), image.encode(), hashlib.sha256).hexdigest()[:16]


def _without_name(image: str, salt: str) -> str:
    return image if re.fullmatch(HASH, image) else hashed_name(image, salt)  # a hash may be of a photo that is gone


def read_salt(file: Path) -> str:
    """The salt that a run's hashes are made with, drawn at random the first time; keep the file to yourself."""
    if not file.is_file():
        file.write_text(secrets.token_hex(16))
    return file.read_text().strip()


def _read(text: str) -> pd.DataFrame:
    try:
        table = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    except ValueError as error:  # of pandas: not a table
        raise ValueError(f"this is no CSV file of marks: {str(error).strip()}") from None
    if missing := [name for name in ("image", "mark", "note") if name not in table]:
        raise ValueError(f"a file of marks needs the columns image, mark, note; it lacks {', '.join(missing)}")
    for column in ("image", "note"):
        is_guarded = [text[:1] == "'" and text[1:].startswith(FORMULAS) for text in table[column]]
        table[column] = [text[guard:] for text, guard in zip(table[column], is_guarded)]
    return table
