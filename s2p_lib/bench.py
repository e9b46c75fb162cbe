"""``s2p bench``: speed and memory on this machine, measured in one run."""

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torchvision

from s2p_lib import demo, photos, samples, scene_logits, training
from s2p_lib import model as s2p
from s2p_lib.run import peak_memory_bytes
from s2p_lib.run_folder import ROOT, RunFolder

HEAD_PHOTOS, HEAD_EPOCHS = 20_000, 117  # about IPD's training part; the card's number of epochs
RESNET_PHOTOS = 16


def run_bench(out: Path) -> str:
    """Measure, write ``bench.json`` into ``out``, and return the table as text."""
    out.mkdir(parents=True, exist_ok=True)
    data_dir = ROOT / "outputs" / "demo_dataset"
    rows = [_drawing(), *_reading(data_dir), *_extraction(data_dir), _resnet50(data_dir), _head(), *_demo_run()]
    machine = f"{os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads"
    (out / "bench.json").write_text(json.dumps({"machine": machine, "figures": rows}, indent=1))
    table = pd.DataFrame(rows, columns=["what", "value", "unit"])
    table["value"] = table["value"].map(lambda value: f"{value:,.3g}" if value < 1000 else f"{value:,.0f}")
    return f"{machine}\n\n{table.to_string(index=False)}\n\nWritten: {out / 'bench.json'}"


def _row(what: str, value: float, unit: str) -> dict:
    return {"what": what, "value": float(value), "unit": unit}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _drawing() -> dict:
    with tempfile.TemporaryDirectory() as folder:
        seconds = _seconds(lambda: demo.make_demo(Path(folder) / "demo", workers=os.cpu_count()))
    return _row("draw the demo dataset (900 photos)", seconds, "s")


def _reading(data_dir: Path) -> list[dict]:
    demo.make_demo(data_dir)
    table, _ = samples.read_ipd(data_dir)
    seconds = _seconds(lambda: photos.audit_photos(table, data_dir))
    return [_row("decode and hash photos", len(table) / seconds, "photos/s")]


def _extraction(data_dir: Path) -> list[dict]:
    """Peak memory of one process for a quarter of the photos and for all: it must not grow with their number."""
    rows = []
    for n in (225, 900):
        # A fresh process each: the peak of a process never falls.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rate, peak = pool.apply(_extract_and_measure, (data_dir, n))
        rows += [_row(f"peak memory, scene logits of {n} photos (demo backbone)", peak / 1e6, "MB")]
    return [_row("scene logits, demo backbone at 128 pixels", rate, "photos/s"), *rows]


def _extract_and_measure(data_dir: Path, n: int) -> tuple[float, int]:
    """Photos per second without a cache, and peak memory in bytes, of this process."""
    table, _ = samples.read_ipd(data_dir)
    model, transform = s2p.load_s2p("demo")
    with tempfile.TemporaryDirectory() as cache:
        seconds = _seconds(
            lambda: scene_logits.extract_scene_logits(table.head(n), data_dir, model, transform, cache, workers=2)
        )
    return n / seconds, peak_memory_bytes()


def _resnet50(data_dir: Path) -> dict:
    """The card's network and image size, with random weights: the speed is the same."""
    table = samples.read_ipd(data_dir)[0].head(RESNET_PHOTOS)
    torch.manual_seed(0)
    model = s2p.S2P(torchvision.models.resnet50(weights=None, num_classes=len(s2p.SCENES))).eval()
    transform = s2p.photo_transform(448)
    with tempfile.TemporaryDirectory() as cache:
        seconds = _seconds(
            lambda: scene_logits.extract_scene_logits(table, data_dir, model, transform, cache, batch_size=8)
        )
    return _row("scene logits, ResNet-50 at 448 pixels", len(table) / seconds, "photos/s")


def _head() -> dict:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(HEAD_PHOTOS, len(s2p.SCENES))).astype(np.float32)
    labels = pd.Series(rng.choice(samples.CLASSES, HEAD_PHOTOS))
    head = s2p.S2P(torch.nn.Identity()).scene_to_privacy_layer
    settings = training.Settings(max_epochs=HEAD_EPOCHS, min_lr=1e-30)
    val = logits[: HEAD_PHOTOS // 3], labels[: HEAD_PHOTOS // 3]
    seconds = _seconds(lambda: training.fit_head(head, (logits, labels), val, settings))
    return _row(f"fit the head, {HEAD_EPOCHS} epochs, {HEAD_PHOTOS:,} x 365 logits", seconds, "s")


def _demo_run() -> list[dict]:
    """Time and peak memory of the last demo run, if there is one."""
    manifest = RunFolder("outputs/demo").manifest
    if "total_s" not in manifest.get("run", {}):
        return []
    peak = max(stage["peak_memory_bytes"] for stage in manifest["stages"].values())
    return [
        _row("all notebooks on the demo dataset", manifest["run"]["total_s"], "s"),
        _row("peak memory of a process in that run", peak / 1e6, "MB"),
    ]
