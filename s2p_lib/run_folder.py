"""A run's folder: the files that notebooks leave for each other and for the reader."""

import json
import os
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent  # of the repository


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
    def is_demo(self) -> bool:
        return self.parameter("dataset") == "demo"

    @property
    def data_dir(self) -> Path:
        """Folder of the dataset; the demo dataset is shared by all runs below ``outputs/``."""
        given = self.parameter("data_dir")
        check_data_dir(self.parameter("dataset"), given)
        return ROOT / (given or "outputs/demo_dataset")

    @property
    def backbone(self) -> str:
        """The backbone's name, as given or by default."""
        return self.parameter("backbone") or default_backbone(self.parameter("dataset"))

    def given_file(self, name: str) -> Path | None:
        """The file that a parameter such as ``weights`` names; None if it was not given."""
        given = self.parameter(name)
        return None if given is None else ROOT / given


def default_backbone(dataset: str) -> str:
    """The demo backbone for the demo dataset, else the card's ResNet-50."""
    return "demo" if dataset == "demo" else "resnet50"


def check_data_dir(dataset: str, data_dir: str | None) -> None:
    """Raise unless ``data_dir`` is given where the kit does not make the photos itself."""
    if data_dir is None and dataset != "demo":
        raise ValueError(
            f"dataset={dataset!r} needs data_dir: the parent folder of curated_ipd, curated_picalert and curated_vispr"
        )
