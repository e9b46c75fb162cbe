"""Small dataset trees in the published layout, the recorded reference data and a browser (if they are there)."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from s2p_lib import demo, made_scenes
from s2p_lib.readme import CHROMIUM, headless_chromium
from s2p_lib.run_folder import ROOT

REFERENCE = ROOT.parent / "shared" / "reference"


@pytest.fixture(scope="session")
def reference() -> Path:
    """Recorded behaviour of the released code; kept beside the checkout, never in it."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the reference data is not at {REFERENCE}")
    return REFERENCE


@pytest.fixture(scope="module")  # not the session: Playwright's event loop would be in the way of later tests
def browser():
    """A headless chromium driven by Playwright (``playwright.sync_api.Browser``)."""
    if not CHROMIUM.is_file():
        pytest.skip(f"chromium is not installed at {CHROMIUM}; on Debian: apt-get install chromium")
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it is a test extra")
    with headless_chromium() as chromium:
        yield chromium


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


def save_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def privacyalert(tmp_path) -> Path:
    """A tiny PrivacyAlert tree: 24 rows of which 2 are invalid, every fourth private, .jpg and .png, two batches."""
    data_dir = tmp_path / "privacyalert"
    codes = [-1, -1] + [1 if i % 4 == 0 else 0 for i in range(22)]
    table = pd.DataFrame({"ID": range(24), "Image Name": [50_000_000_000 + i for i in range(24)]})
    table["batch"] = [i % 2 for i in range(24)]
    table["Label 2-class"] = codes
    table["Final"] = [2 if i % 5 > 2 else 0 for i in range(24)]
    table["Fold 0"] = [(2 if i % 5 > 2 else int(i % 5 == 2)) for i in range(24)]
    table["Original"] = [i // 2 % 3 for i in range(24)]
    (data_dir / "curated_privacyalert" / "annotations").mkdir(parents=True)
    table.to_csv(data_dir / "curated_privacyalert" / "annotations" / "labels_splits.csv", index=False)
    for row in table.itertuples():
        extension = ".png" if row.ID % 3 == 0 else ".jpg"
        name = f"{row._2}{extension}"
        save_photo(data_dir / "curated_privacyalert" / "imgs" / f"batch{row.batch}" / name, row.ID)
    return data_dir


@pytest.fixture(params=["picalert", "vispr"])
def source_tree(request, tmp_path) -> tuple[str, Path]:
    """PicAlert or VISPR alone: 40 photos, labels without a split, code 1 is private."""
    data_dir = tmp_path / request.param
    folder = data_dir / f"curated_{request.param}"
    (folder / "annotations").mkdir(parents=True)
    table = pd.DataFrame({"Image Name": [f"q{i}" for i in range(40)]})
    table["Label 2-class"] = [1 if i % 3 == 0 else 0 for i in range(40)]
    table.to_csv(folder / "annotations" / "labels.csv", index=False)
    for i in range(40):
        save_photo(folder / "imgs" / f"batch{i % 2:02d}" / f"q{i}.jpg", i)
    return request.param, data_dir


@pytest.fixture
def own_photos(tmp_path) -> Path:
    """A folder of own photos: 12 private and 18 public ones, some in sub-folders."""
    for i in range(30):
        label = "private" if i < 12 else "public"
        save_photo(tmp_path / "own" / label / ("holidays" if i % 5 == 0 else "") / f"IMG {i}.jpg", i)
    return tmp_path / "own"


@pytest.fixture(scope="session")
def scene_tree(tmp_path_factory) -> Path:
    """IPD's labels and made scene files of 300 photos, without any photo. Shared: do not change it."""
    return made_scenes.make_scene_tree(tmp_path_factory.mktemp("scenes") / "data", 300)
