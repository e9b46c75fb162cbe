"""A run's folder: the files that notebooks leave for each other and for the reader."""

import json
import os
from pathlib import Path

import pandas as pd

from s2p_lib.config import Settings
from s2p_lib.datasets import DATASETS, DEMO_MARKER, Dataset, is_made

ROOT = Path(__file__).resolve().parent.parent  # of the repository

DEMO_WARNING = (
    "Demo run: the photos are drawn by the kit and the backbone is a small stand-in. The figures show that the "
    "pipeline works. They are not results of the paper, and nearness to the card's figures means nothing."
)
MADE_WARNING = (
    "The kit made the photos or scene probabilities of this run, in the layout of a real dataset. The figures show "
    "that the pipeline works. They are not results of the paper, and nearness to the card's figures means nothing."
)


class RunFolder:
    """Tables, pages and ``manifest.json`` of one run. Every file appears under its name only when complete."""

    def __init__(self, folder: str | Path):
        self.dir = ROOT / folder

    def path(self, name: str) -> Path:
        return self.dir / name

    def read_table(self, name: str) -> pd.DataFrame:
        """One of the run's CSV files; image names are text even where they look like numbers."""
        return pd.read_csv(self.path(name), dtype={"image": str}, keep_default_na=False, na_values=[""])

    def write_table(self, name: str, table: pd.DataFrame) -> None:
        self.write_text(name, table.to_csv(index=False))

    def read_json(self, name: str) -> dict:
        return json.loads(self.path(name).read_text(encoding="utf-8"))

    def write_json(self, name: str, content: dict) -> None:
        self.write_text(name, json.dumps(content, indent=1))

    def write_text(self, name: str, text: str) -> None:
        part = self.path(f"{name}.part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, self.path(name))

    @property
    def manifest(self) -> dict:
        return self.read_json("manifest.json") if self.path("manifest.json").is_file() else {}

    def update_manifest(self, section: str, content: dict) -> None:
        manifest = self.manifest
        manifest[section] = manifest.get(section, {}) | content
        self.write_json("manifest.json", manifest)

    def parameter(self, name: str):
        """A parameter that a notebook of this run was given."""
        return self.manifest["parameters"][name]

    @property
    def trained_settings(self) -> Settings:
        """The settings that 02_train trained with."""
        return Settings(**self.manifest["training"]["settings"])

    @property
    def is_demo(self) -> bool:
        return self.parameter("dataset") == "demo"

    @property
    def is_made(self) -> bool:
        """Whether the run is on photos or scene probabilities that the kit made in a real dataset's layout."""
        return not self.is_demo and is_made(self.data_dir)

    @property
    def warning(self) -> str:
        """What every page of a run on made data says first; empty for a run on real data."""
        return DEMO_WARNING if self.is_demo else MADE_WARNING if self.is_made else ""

    @property
    def dataset(self) -> Dataset:
        return DATASETS[self.parameter("dataset")]

    @property
    def fold(self) -> int | str:
        """The split that is used: a number, ``final`` or ``original``; by default the paper's."""
        given = self.parameter("fold")
        return self.dataset.fold if given is None else given

    @property
    def from_photos(self) -> bool:
        """Whether scene logits are computed from photos; else they come from published scene probabilities."""
        return self.parameter("features") == "photos"

    @property
    def tier(self) -> str:
        """What kind of evidence this run gives, in words."""
        if self.is_demo:
            return "tier 0: drawn demo photos, no evidence about the paper's figures"
        if self.is_made:
            return "tier 0: photos or scene probabilities made by the kit, no evidence about the paper's figures"
        own = "" if self.dataset.published else ", on photos that the paper does not report on"
        if self.from_photos:
            return f"tier 3: everything from the photos{own}"
        return f"tier 2: trained and tested on published scene probabilities, no photo was looked at{own}"

    @property
    def show_photos(self) -> bool:
        """Whether readers see photos as they are; by default only those of the demo dataset."""
        given = self.manifest.get("parameters", {}).get("show_photos")
        return self.is_demo if given is None else given

    @property
    def pictures_in_notebooks(self) -> str:
        """``photos`` or ``scenes`` (see ``pictures.py``): unless asked for, no pixel of a photo enters a notebook."""
        return "photos" if self.show_photos and self.from_photos else "scenes"

    @property
    def pictures_in_pages(self) -> str:
        """``photos``, ``blurred`` or ``scenes``."""
        if not self.from_photos:
            return "scenes"
        return "photos" if self.show_photos else "blurred"

    @property
    def data_dir(self) -> Path:
        """Folder of the dataset; the demo dataset is shared by all runs below ``outputs/``."""
        given = self.parameter("data_dir")
        check_data_dir(self.parameter("dataset"), given)
        return ROOT / (given or "outputs/demo_dataset")

    @property
    def backbone(self) -> str:
        """The backbone's name, as given or by default."""
        return self.parameter("backbone") or default_backbone(self.parameter("dataset"), self.parameter("features"))

    def given_file(self, name: str) -> Path | None:
        """The file that a parameter such as ``weights`` names; None if it was not given."""
        given = self.parameter(name)
        return None if given is None else ROOT / given


def default_backbone(dataset: str, features: str = "photos") -> str:
    """The demo backbone for the demo dataset, else the card's ResNet-50; none for published scene probabilities."""
    if features == "published_scenes":
        return features
    return "demo" if dataset == "demo" else "resnet50"


def check_data_dir(dataset: str, data_dir: str | None) -> None:
    """Raise unless ``data_dir`` is given where the kit does not make the photos itself.

    Only drawn photos may pass for the demo dataset: photos of people would be shown, and their figures waved through.
    """
    if dataset == "demo" and data_dir and (ROOT / data_dir).is_dir() and not (ROOT / data_dir / DEMO_MARKER).is_file():
        raise ValueError(f"{data_dir} is not the drawn demo dataset; say what it is, for example -p dataset ipd")
    if data_dir is None and dataset != "demo":
        wanted = "the folder of your photos" if dataset == "folder" else "the parent folder of the curated_* folders"
        raise ValueError(f"dataset={dataset!r} needs data_dir: {wanted}, for example -p data_dir data")
