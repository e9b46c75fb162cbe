"""Small dataset trees in the published layout, and where the recorded reference data lies (if it is there)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from s2p_lib import demo
from s2p_lib.run_folder import ROOT

REFERENCE = ROOT.parent / "shared" / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    """Recorded behaviour of the released code; kept beside the checkout, never in it."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference data is not at {REFERENCE}")
    return REFERENCE


@pytest.fixture(scope="session")
def small_demo(tmp_path_factory) -> Path:
    """The first 150 photos of the demo dataset. Shared: do not change it."""
    return demo.make_demo(tmp_path_factory.mktemp("demo") / "dataset", n_photos=150)


class Tree:
    """A tiny IPD tree that a test can spoil: 12 photos named p0 .. p11, p0 to p3 private and from VISPR."""

    def __init__(self, folder: Path):
        self.dir = folder
        self.annotations = folder / "curated_ipd" / "annotations"
        self.annotations.mkdir(parents=True)
        self.labels = pd.DataFrame({"ID": range(12), "Image Name": [f"p{i}" for i in range(12)]})
        self.labels["Label 2-class"] = [0] * 4 + [1] * 8
        self.labels["Final"] = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2, 2]
        self.labels["Fold 0"] = [0, 0, 1, 2, 0, 0, 0, 0, 1, 1, 2, 2]
        self.entries = [
            {"image": f"p{i}", "dataset": "vispr" if i < 4 else "picalert", "fullpath": f"batch00/p{i}.jpg"}
            for i in range(12)
        ]
        rng = np.random.default_rng(0)
        for i in range(12):
            self.photo(i).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(self.photo(i))
        self.write()

    def photo(self, i: int) -> Path:
        source = "vispr" if i < 4 else "picalert"
        return self.dir / f"curated_{source}" / "imgs" / "batch00" / f"p{i}.jpg"

    def write(self) -> None:
        self.labels.to_csv(self.annotations / "labels_splits.csv", index=False)
        sources = {name: {"data_dir": f"/somebody/else/curated_{name}"} for name in ("vispr", "picalert")}
        index = {"datasets": sources, "annotations": self.entries}
        (self.annotations / "ipd_imgs_curated.json").write_text(json.dumps(index))


@pytest.fixture
def tree(tmp_path) -> Tree:
    return Tree(tmp_path / "ipd")
