"""``s2p bench``: speed and memory on this machine. Compared things are measured in turns, and given as ratios."""

import contextlib
import io
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torchvision
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from PIL import Image

from s2p_lib import (
    audit,
    batchnorm,
    datasets,
    demo,
    engines,
    explorer,
    failures,
    made_scenes,
    many_heads,
    metrics,
    prediction_files,
    published_scenes,
    samples,
    scene_logits,
    training,
)
from s2p_lib import model as s2p
from s2p_lib.config import Settings
from s2p_lib.datasets import IPD_PUBLISHED
from s2p_lib.photos import open_photo
from s2p_lib.plots import COLOURS
from s2p_lib.run import peak_memory_bytes, run_notebooks
from s2p_lib.run_folder import ROOT, RunFolder

HEAD_PHOTOS, HEAD_EPOCHS = 20_000, 117  # about IPD's training part; the card's number of epochs
MANY_HEADS, MANY_EPOCHS = 128, 5
RESNET_PHOTOS, RESNET_ROUNDS = 8, 5  # a batch of the plain loop; in turns, as other work on the machine comes and goes
MATMUL_SIZE = 4096
GROWTH = (100, 1_000, 10_000)  # photos, end to end
LARGE_PHOTOS, LARGE_SIZE = 40, (2048, 1536)  # about a VISPR photo: 49.7 GB / 22,167 photos
RELEASED_PHOTOS, RELEASED_BATCH = 48, 24
EXPLORER_PHOTOS = 6_912  # the card's test photos
RESNET = "ResNet-50 at 448 pixels"
PLAIN_LOOP = f"{RESNET} in train mode, a plain PyTorch loop"
DECODING = f"decoding and resizing photos of {LARGE_SIZE[0]} x {LARGE_SIZE[1]} pixels to 448 pixels"
ONE_HEAD = f"fit the head, {HEAD_EPOCHS} epochs, {HEAD_PHOTOS:,} x 365 logits"


def run_bench(out: Path, times: int = 1) -> str:
    """Measure everything ``times`` times, write ``bench.json`` and ``bench.png`` into ``out``, and return the table.

    ``value`` of a figure is the median of the runs, ``low`` and ``high`` their range.
    """
    out.mkdir(parents=True, exist_ok=True)
    data_dir = demo.make_demo(ROOT / "outputs" / "demo_dataset")
    runs = pd.concat([pd.DataFrame(_measure(data_dir)).assign(run=run) for run in range(times)])
    nth = runs.groupby(["run", "what"]).cumcount()  # two figures of one name stay two
    by_figure = runs.groupby(["what", "unit", nth], sort=False)["value"]
    table = by_figure.agg(value="median", low="min", high="max").reset_index(["what", "unit"])
    machine = f"{os.cpu_count()} cores, torch {torch.__version__} with {torch.get_num_threads()} threads"
    content = {"machine": machine, "cores": os.cpu_count(), "runs": times, "figures": table.to_dict("records")}
    (out / "bench.json").write_text(json.dumps(content, indent=1))
    _plot(table).savefig(out / "bench.png", dpi=110)
    shown = table.assign(**{name: table[name].map(number_text) for name in ("value", "low", "high")})
    text = shown[["what", "value", "low", "high", "unit"]].to_string(index=False)
    return f"{machine}; {times} run(s), medians\n\n{text}\n\nWritten: {out / 'bench.json'}, {out / 'bench.png'}"


def fastest_engine(values: dict[str, float]) -> float:
    """Photos per second of the card's network by the fastest engine measured; ``values`` of figures by ``what``."""
    return max(values[f"{RESNET}, engine {name}"] for name in engines.ENGINES if f"{RESNET}, engine {name}" in values)


def number_text(value: float) -> str:
    """Three significant digits; whole from 1,000 on."""
    return f"{value:,.3g}" if value < 999.5 else f"{value:,.0f}"


def _measure(data_dir: Path) -> list[dict]:
    rows = [_drawing(), *_reading(data_dir), *_ipd_size(), _intervals(), *_extraction(data_dir), *_heads()]
    rows += [*_engines(data_dir), *_released(data_dir)]
    rows += [*_growth(data_dir), *_explorer(data_dir), *_demo_run()]
    return rows + _whole_training(rows)


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
    """The audit of the demo photos, and of photos as large as a camera's against decoding alone."""
    table, *_ = datasets.read("demo", data_dir)
    workers = os.cpu_count()
    demo_s = _seconds(lambda: audit.audit_photos(table, data_dir, workers))
    with tempfile.TemporaryDirectory() as folder:
        large = table[table["split"] == "val"].head(LARGE_PHOTOS)  # no damaged photo among them
        for path in large["path"]:
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            open_photo(data_dir / path).resize(LARGE_SIZE).save(Path(folder) / path, quality=90)

        def decode_all() -> None:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(lambda path: open_photo(Path(folder) / path).size, large["path"]))

        transform = s2p.photo_transform(448)

        def decode_and_resize() -> None:
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(lambda path: transform(open_photo(Path(folder) / path)).shape, large["path"]))

        resized_s = min(_seconds(decode_and_resize) for _ in range(3))
        pairs = [  # in turns, as other work on the machine comes and goes
            (_seconds(decode_all), _seconds(lambda: audit.audit_photos(large, folder, workers))) for _ in range(5)
        ]
    ratio = np.median([audited / decoded for decoded, audited in pairs])
    size = f"{LARGE_SIZE[0]} x {LARGE_SIZE[1]} pixels"
    return [
        _row("audit of the demo photos: decode, hash, compare", len(table) / demo_s, "photos/s"),
        _row(f"audit of photos of {size} against decoding alone, median of 5", ratio, "times the time"),
        _row(DECODING, len(large) / resized_s, "photos/s"),
    ]


def _ipd_size() -> list[dict]:
    """Labels and made scene files of IPD's size (34,562): listed, read, and through all six notebooks."""
    with tempfile.TemporaryDirectory() as folder:
        data_dir = made_scenes.make_scene_tree(Path(folder) / "data")
        run = RunFolder(Path(folder) / "run")
        found = {}

        def list_samples() -> None:
            found["samples"] = datasets.read("ipd", data_dir, features="published_scenes").samples

        def read() -> None:
            published_scenes.read_published_scenes(found["samples"], data_dir, data_dir / "cache", os.cpu_count())

        list_s, first_s, again_s = _seconds(list_samples), _seconds(read), _seconds(read)
        run_notebooks(run.dir, {"dataset": "ipd", "data_dir": str(data_dir), "features": "published_scenes"})
        manifest, n, fitted = run.manifest, len(found["samples"]), run.read_table("baselines.csv")
    peak = max(stage["peak_memory_bytes"] for stage in manifest["stages"].values())
    svm_s = fitted.loc[fitted["model"].str.startswith("scenes + SVM"), "fit_s"].sum()
    return [
        _row(f"samples table of {n:,} photos", list_s, "s"),
        _row(f"published scene files of {n:,} photos, read for the first time", first_s, "s"),
        _row("the same from the cache", again_s, "s"),
        _row(f"all notebooks on made scene files of {n:,} photos", manifest["run"]["total_s"], "s"),
        _row("of that, the grids of the three SVMs", svm_s, "s"),
        _row(f"all notebooks on made scene files of {n:,} photos: peak memory of a process", peak / 1e6, "MB"),
    ]


def _intervals() -> dict:
    seconds = _seconds(lambda: metrics.bootstrap_intervals(metrics.CARD_CONFUSION))
    n = metrics.CARD_CONFUSION.sum()
    return _row(f"intervals of the nine figures, {metrics.N_RESAMPLES:,} resamples of {n:,} photos", seconds, "s")


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
    table, *_ = datasets.read("ipd", data_dir)
    model, transform = s2p.load_s2p("demo")
    with tempfile.TemporaryDirectory() as cache:
        seconds = _seconds(
            lambda: scene_logits.extract_scene_logits(table.head(n), data_dir, model, transform, cache, workers=2)
        )
    return n / seconds, peak_memory_bytes()


def _engines(data_dir: Path) -> list[dict]:
    """The card's network and image size by each engine, beside a plain PyTorch loop and this machine's arithmetic.

    A GPU, where there is one, is measured in each precision; plain PyTorch and arithmetic are the processor's.
    """
    table = datasets.read("ipd", data_dir)[0]
    paths = table[table["split"] == "val"]["path"].head(RESNET_PHOTOS)  # no damaged photo among them
    transform = s2p.photo_transform(448)
    photos = torch.stack([transform(open_photo(data_dir / path)) for path in paths])
    model = s2p.S2P(_resnet50_with_statistics(photos)).eval()
    plain, head = deepcopy(model.backbone), model.scene_to_privacy_layer.requires_grad_(False)
    works, found, seconds = {"plain PyTorch": None}, {}, {}
    ways = {name: (name, "cpu", "float32") for name in engines.possible("auto", "cpu", "float32")}
    if torch.cuda.is_available():
        ways |= {f"torch on cuda, {p}": ("torch", "cuda", p) for p in engines.precisions_on("cuda")}
    for name, (engine, device, precision) in ways.items():
        started = time.perf_counter()
        works[name] = engines.prepare(engine, deepcopy(model.backbone), 448, device, precision)
        list(works[name]([photos[:1]]))
        seconds[f"{name}, start-up"] = [time.perf_counter() - started]
    a, b = torch.rand(2, MATMUL_SIZE, MATMUL_SIZE)
    with torch.inference_mode():
        plain(photos[:1])
        for _ in range(RESNET_ROUNDS):
            seconds.setdefault("matmul", []).append(_seconds(lambda: a @ b))
            for name, run in works.items():

                def once(name=name, run=run) -> None:
                    found[name] = plain(photos) if run is None else torch.cat(list(run([photos])))

                seconds.setdefault(name, []).append(_seconds(once))
    matmul = 2 * MATMUL_SIZE**3 / np.array(seconds["matmul"])  # operations a second, in each round
    n_flops = engines.flops_per_photo(plain, 448)
    rate = {name: RESNET_PHOTOS / np.array(seconds[name]) for name in works}
    rows = [
        _row(f"matrix product of {MATMUL_SIZE} x {MATMUL_SIZE}, float32", np.median(matmul) / 1e9, "GFLOP/s"),
        _row(f"{RESNET}, plain PyTorch", np.median(rate["plain PyTorch"]), "photos/s"),
    ]
    for name in ways:
        what = f"{RESNET}, engine {name}"
        differ = (head(found[name]).argmax(dim=1) != head(found["plain PyTorch"]).argmax(dim=1)).sum().item()
        difference = (found[name] - found["plain PyTorch"]).abs().max().item()
        rows += [
            _row(what, np.median(rate[name]), "photos/s"),
            _row(f"{what}: against plain PyTorch", np.median(rate[name] / rate["plain PyTorch"]), "times"),
            _row(f"{what}: of the processor's matrix product", np.median(rate[name] * n_flops / matmul), "times"),
            _row(f"{what}: start-up and a first photo", seconds[f"{name}, start-up"][0], "s"),
            _row(f"{what}: largest difference of a scene logit from plain PyTorch", difference, ""),
            _row(f"{what}: predictions that differ, of {RESNET_PHOTOS}", differ, "photos"),
        ]
    return rows


def _resnet50_with_statistics(photos: torch.Tensor) -> torch.nn.Module:
    """Random weights, as speed does not depend on them; BatchNorm statistics of real photos, so that folding shows."""
    torch.manual_seed(0)
    backbone = torchvision.models.resnet50(weights=None, num_classes=len(s2p.SCENES)).requires_grad_(False)
    with torch.no_grad():
        backbone.train()(photos)
    return backbone.eval()


def _growth(data_dir: Path) -> list[dict]:
    """From photos to predictions with the demo backbone, no cache: the time a photo must not grow with their number."""
    table = datasets.read("ipd", data_dir)[0]
    table = table[table["split"] == "val"].reset_index(drop=True)  # no damaged photo among them
    rows = []
    for n in GROWTH:
        with tempfile.TemporaryDirectory() as folder:
            photos = _copies(table, data_dir, Path(folder), n)
            # A fresh process each: the peak of a process never falls.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(_predict_and_measure, (photos, Path(folder)))
        what = f"{n:,} photos to predictions, demo backbone"
        rows += [_row(what, seconds, "s"), _row(f"{what}: peak memory", peak / 1e6, "MB")]
    return rows


def _copies(table: pd.DataFrame, data_dir: Path, folder: Path, n: int) -> pd.DataFrame:
    """``n`` photos, each with bytes of its own: what comes after the end of a JPEG is no part of the picture."""
    photos = table.iloc[np.arange(n) % len(table)].reset_index(drop=True)
    names = [f"{i}.jpg" for i in range(n)]
    for name, path in zip(names, photos["path"]):
        (folder / name).write_bytes((data_dir / path).read_bytes() + name.encode())
    split = np.where(np.arange(n) % 5 == 0, "test", np.where(np.arange(n) % 5 == 1, "val", "train"))
    return photos.assign(image=[f"photo {i}" for i in range(n)], path=names, split=split)


def _predict_and_measure(photos: pd.DataFrame, folder: Path) -> tuple[float, int]:
    """Seconds from files to test predictions, the head's training included, and peak memory in bytes."""
    model, transform = s2p.load_s2p("demo")

    def work() -> None:
        logits, _ = scene_logits.extract_scene_logits(
            photos, folder, model, transform, folder / "cache", workers=os.cpu_count()
        )
        train, val, test = (photos["split"] == split for split in samples.SPLITS)
        parts = [training.cached_part(logits[rows], photos.loc[rows, "label"]) for rows in (train, val)]
        training.fit(model.scene_to_privacy_layer, *parts, Settings())
        training.predict(model.scene_to_privacy_layer, logits[test])

    return _seconds(work), peak_memory_bytes()


def _heads() -> list[dict]:
    """One head for the card's number of epochs, then many together; their costs per head and epoch are compared."""
    rng = np.random.default_rng(0)
    n_val = HEAD_PHOTOS // 3
    logits = rng.normal(size=(HEAD_PHOTOS + n_val, len(s2p.SCENES))).astype(np.float32)
    labels = pd.Series(rng.choice(samples.CLASSES, len(logits)))
    table = pd.DataFrame({"split": ["train"] * HEAD_PHOTOS + ["val"] * n_val})
    one, few, many = (
        many_heads.jobs_for_seeds(table, Settings(max_epochs=epochs, min_lr=1e-30), range(n))
        for n, epochs in ((1, HEAD_EPOCHS), (1, 4 * MANY_EPOCHS), (MANY_HEADS, MANY_EPOCHS))
    )
    train, val = (training.cached_part(logits[rows], labels[rows]) for rows in (one[0].train, one[0].val))
    alone = _seconds(lambda: training.fit(one[0].head, train, val, one[0].settings))
    ratios = []
    for _ in range(3):  # in turns, as other work on the machine comes and goes
        by_itself = _seconds(lambda: training.fit(few[0].head, train, val, few[0].settings)) / (4 * MANY_EPOCHS)
        together = _seconds(lambda: many_heads.fit_many(logits, labels, many)) / MANY_EPOCHS / MANY_HEADS
        ratios.append(by_itself / together)
    ratio = float(np.median(ratios))
    return [
        _row(ONE_HEAD, alone, "s"),
        _row(f"{MANY_HEADS} heads together: cheaper per head than one after another, median of 3", ratio, "times"),
    ]


class _PlainPhotos(torch.utils.data.Dataset):
    """As one would write it first: Pillow, the transform, one photo at a time."""

    def __init__(self, paths: list[Path]):
        self.paths, self.transform = paths, s2p.photo_transform(448)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[i]).convert("RGB"))


def _released(data_dir: Path) -> list[dict]:
    """Training photos through a ResNet-50 at 448 pixels with BatchNorm in train mode: a plain loop, and ours."""
    table = datasets.read("ipd", data_dir)[0]
    table = table[table["split"] == "val"].head(RELEASED_PHOTOS).reset_index(drop=True)  # no damaged photo among them
    torch.manual_seed(0)
    plain = torchvision.models.resnet50(weights=None, num_classes=len(s2p.SCENES)).requires_grad_(False)
    model = s2p.S2P(engines.on_device(deepcopy(plain), "cpu").eval())
    loader = torch.utils.data.DataLoader(_PlainPhotos([data_dir / p for p in table["path"]]), RELEASED_BATCH)
    batches = torch.arange(len(table)).split(RELEASED_BATCH)
    part = training.released_part(
        model, batchnorm.PhotoBatches(table, data_dir, s2p.photo_transform(448), os.cpu_count()), "cpu", training=True
    )
    found = {}
    for backbone in (plain.eval(), model.backbone):  # neither is timed on its first call; in eval mode nothing changes
        engines.scenes(backbone, torch.zeros(2, 3, 448, 448), "cpu")

    def plain_loop() -> None:
        plain.train()
        with torch.no_grad():
            found["plain"] = torch.cat([plain(batch) for batch in loader])

    def ours() -> None:
        found["ours"] = torch.cat(list(part.scene_logits(batches)))

    plain_s, ours_s = _seconds(plain_loop), _seconds(ours)
    difference = (found["plain"] - found["ours"]).abs().max() / found["plain"].abs().max()
    return [
        _row(PLAIN_LOOP, len(table) / plain_s, "photos/s"),
        _row("bn_mode=released, ResNet-50 at 448 pixels", len(table) / ours_s, "photos/s"),
        _row("the same against a plain PyTorch loop", plain_s / ours_s, "times"),
        _row("largest difference of scene logits between the two, of the largest logit", difference, ""),
    ]


def _explorer(data_dir: Path) -> list[dict]:
    """The explorer of notebook 04 with as many photos as the card tests on, without what the browser takes."""
    rng = np.random.default_rng(0)
    shown = datasets.read("ipd", data_dir)[0].sample(EXPLORER_PHOTOS, replace=True, random_state=0)
    shown = shown.assign(image=[f"photo {i}" for i in range(len(shown))], split="test")
    logits = rng.normal(size=(len(shown), len(s2p.SCENES))).astype(np.float32)
    head = s2p.S2P(torch.nn.Identity()).scene_to_privacy_layer.requires_grad_(False)
    p_private = head(torch.from_numpy(logits)).softmax(dim=1)[:, 0].numpy().astype(float)
    predicted = prediction_files.predictions_table(shown, p_private).assign(path=shown["path"].to_numpy())
    predicted, mean = predicted.assign(source=shown["source"].to_numpy()), logits.mean(axis=0)
    photos = failures.photo_table(predicted, head, logits, mean)
    explain = failures.explainer(photos["image"], head, logits, mean)
    changes = [("outcome", metrics.MISSED_PRIVATE), ("label", "private"), ("outcome", explorer.ANY)]
    # Outside a notebook, what a widget shows is printed.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        opened = explorer.Explorer(photos, data_dir, "photos", explain, Path(folder) / "marks.csv", folder)
        first_s = _seconds(opened.unfold)
        changes_s = [_seconds(lambda change=change: setattr(opened.filters[change[0]], "value", change[1]))
                     for change in changes]  # fmt: skip
    what = f"explorer of {len(photos):,} photos, without the browser"
    return [
        _row(f"{what}: first view, thumbnails made", first_s, "s"),
        _row(f"{what}: slowest of {len(changes)} filter changes", 1000 * max(changes_s), "ms"),
    ]


def _whole_training(rows: list[dict]) -> list[dict]:
    """What the card's training would take here, extrapolated from ``rows``: the released way, and by our engine.

    The released way passes train and val through the backbone in each epoch; what it takes a photo is that of the
    plain loop, which decodes the demo's small photos. Ours decodes every photo, as large as a camera's, and passes it
    once, one after the other as both want all cores, and trains on what it kept.
    """
    found = {row["what"]: row["value"] for row in rows}
    n = {part: sum(IPD_PUBLISHED[part, label] for label in samples.CLASSES) for part in ("all", "test")}
    released_s = HEAD_EPOCHS * (n["all"] - n["test"]) / found[PLAIN_LOOP]
    ours_s = n["all"] / found[DECODING] + n["all"] / fastest_engine(found) + found[ONE_HEAD]
    return [
        _row(f"extrapolated: {HEAD_EPOCHS} epochs on IPD the released way", released_s / 3600, "h"),
        _row("extrapolated: from IPD's photos to a trained model by the faster engine", ours_s / 3600, "h"),
        _row("extrapolated: the released way against it", released_s / ours_s, "times"),
    ]


def _demo_run() -> list[dict]:
    """Time and peak memory of the last demo run, if there is one."""
    manifest = RunFolder("outputs/demo").manifest
    if "total_s" not in manifest.get("run", {}):
        return []
    peak = max(stage["peak_memory_bytes"] for stage in manifest["stages"].values())
    return [
        _row("all notebooks on the demo dataset", manifest["run"]["total_s"], "s"),
        _row("all notebooks on the demo dataset: peak memory of a process", peak / 1e6, "MB"),
    ]


def _plot(table: pd.DataFrame) -> Figure:
    """Rates of ResNet-50 by each way, and how the time a photo goes with their number."""
    value = table.set_index("what")["value"]
    rates = value[[what for what in value.index if what.startswith(f"{RESNET},") and ":" not in what]]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
    names = rates.index.str.removeprefix(f"{RESNET}, ").str.removeprefix("engine ")
    bars = left.barh(names, rates, color=COLOURS["public"])
    left.bar_label(bars, fmt="%.2f", padding=3)
    left.set(xlabel="photos per second", title=f"{RESNET}, frozen", xlim=(0, 1.18 * rates.max()))
    left.invert_yaxis()
    left.grid(axis="y", visible=False)  # it would run through the values
    seconds = [value[f"{n:,} photos to predictions, demo backbone"] for n in GROWTH]
    right.loglog(GROWTH, seconds, "o-", color=COLOURS["private"])
    for n, s in zip(GROWTH, seconds):
        right.annotate(f"{number_text(s)} s", (n, s), (-6, 6), textcoords="offset points", ha="right")
    right.set(xlabel="photos", ylabel="seconds", title="photos to predictions, demo backbone")
    right.set(xlim=(GROWTH[0] / 3, 2 * GROWTH[-1]), ylim=(seconds[0] / 2, 2 * seconds[-1]))
    right.set_xticks(GROWTH, [f"{n:,}" for n in GROWTH])
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter("{x:g}")
    right.minorticks_off()
    right.grid(visible=False)  # it would run through the values
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
    return figure
