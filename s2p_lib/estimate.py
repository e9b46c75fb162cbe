"""What a run will take: time, energy and disk of each stage, before it starts, from a few timed photos."""

import contextlib
import io
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torchvision
from torch import nn

from s2p_lib import audit, baselines, batchnorm, carbon, datasets, demo, demo_scenes, engines, training
from s2p_lib import model as s2p
from s2p_lib.carbon import CARD_EPOCHS, DECLARED_POWER_W
from s2p_lib.config import Settings
from s2p_lib.datasets import IPD_PUBLISHED
from s2p_lib.photos import open_photo
from s2p_lib.protocols import BN_MODES
from s2p_lib.published_scenes import read_scene_file, to_logits
from s2p_lib.run import NOTEBOOKS, Parameters, check_features
from s2p_lib.run_folder import ROOT, check_data_dir, default_backbone
from s2p_lib.samples import CLASSES, N_FOLDS, SPLIT_CODES, TEST_SHARE, draw_sample, examples, fold_column

N_TIMED = 8  # photos
N_TIMED_FILES = 32  # published scene files
MAX_TIMED_S = 3.0  # of the backbone; where one photo takes long, fewer are timed
FIT_ROWS = 2_000  # random scene logits that a head and an SVM are fitted on; the time is in proportion to their number

RESNET50_SIZE = 448  # pixels, as on the card
EPOCHS = 120  # of one training: the card's took 117, the demo's takes 130
SEED_SHARE = 1 / 10  # of one head's training, for each head of many together; `s2p bench` finds 14 times cheaper
MLP_FACTOR = 4  # an S2P-MLP takes about four times a head at the size of IPD
# Of each notebook: to start Python, import, draw figures. On two cores a demo run takes so much beside its stages.
START_UP_S = 7.0
PAGES_BYTES, TABLES_BYTES_PER_PHOTO = 5_000_000, 400  # notebooks and pages of a demo run; its tables

COLUMNS = ["stage", "photos", "time_s", "energy_kwh", "disk_bytes", "basis"]
PROTOCOLS = ("frozen", "released")  # of BN_MODES: the card's, the released code's
PROTOCOL_COLUMNS = ["photos", "s_per_photo", "kwh_per_1000_photos", "protocol", "passes", "hours", "energy_kwh"]
PROTOCOL_COLUMNS += ["co2eq_kg", "energy_source", "times_frozen"]


def estimate_run(parameters: Parameters) -> pd.DataFrame:
    """One row per stage of a run, then ``total``: stage, photos, time_s, energy_kwh, disk_bytes, basis.

    ``photos`` counts passes of a photo (Int64, missing where the time does not depend on them). What the photos,
    a backbone with random weights, a head and an SVM take is timed here, in a few seconds; ``basis`` says what was
    timed, and what is only declared. A cache of scene logits is not looked for: a run that finds one takes less. The
    energy is the time multiplied by ``carbon.DECLARED_POWER_W``. Nothing is written but into a temporary folder.
    Raises as ``datasets.read`` and ``time_photos`` do.
    """
    p = parameters
    check_data_dir(p.dataset, p.data_dir)
    check_features(p)
    with tempfile.TemporaryDirectory() as folder:
        data = _find_data(p, Path(folder))
        rows = _rows_of_photos(p, data) if p.features == "photos" else _rows_of_scene_files(data)
    head_s = min(EPOCHS, p.max_epochs) * _time_head(p.batch_size) * data.n["train"]
    svm_s = _time_svm() * data.n["train"]
    for row in rows:
        row["time_s"] += row.pop("heads", 0) * head_s
    n_fits = 1
    if p.baselines == "all":
        n_fits += len(baselines.SVM_C) * len(baselines.SVM_CLASS_WEIGHTS) * baselines.SVM_FOLDS
    fitted = f"timed on a small fit of {FIT_ROWS:,} rows, scaled"
    svms_s = len(baselines.PUBLISHED_NAMES) * n_fits * svm_s / _workers(p)
    n_train, n_all = data.n["train"], sum(data.n.values())
    rows += [
        _row("train and spread over seeds", n_train, head_s * (1 + p.n_seeds * SEED_SHARE), 0, fitted),
        _row("baselines", n_train, svms_s + len(baselines.MLP_WIDTHS) * MLP_FACTOR * head_s, 0, fitted),
        _row(
            "notebooks' own start-up",
            pd.NA,
            START_UP_S * len(NOTEBOOKS),
            PAGES_BYTES + TABLES_BYTES_PER_PHOTO * n_all,
            "declared",
        ),
    ]
    table = pd.DataFrame(rows)
    total = _row("total", n_all, table["time_s"].sum(), table["disk_bytes"].sum(), "all of these")
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    table["energy_kwh"] = table["time_s"] / 3600 * DECLARED_POWER_W / 1000
    return table.astype({"photos": "Int64", "disk_bytes": "int64"})[COLUMNS]


def cost_of_protocols(run, factor_kg_per_kwh: float) -> pd.DataFrame:
    """What the card's protocol (frozen) and the released code's (released) cost, each with the card's 117 epochs.

    One row per protocol for a run's photos by its backbone, and for as many as IPD has by a ResNet-50 at 448 pixels:
    photos (which), s_per_photo and kwh_per_1000_photos (of one pass), protocol, then the columns of
    ``carbon.protocol_costs`` and energy_source (of the power). ``run`` is the run.Run of a notebook. The hours are
    those of ``estimate_run``'s model, from a few of the run's photos, with the device and workers of the notebook and
    the batch size that was trained with; the power is that of timing the photos (see ``carbon.measure_energy``). No
    row where the run looks at no photo. ValueError if no photo can be read.
    """
    if not run.from_photos:
        return pd.DataFrame(columns=PROTOCOL_COLUMNS)
    samples = run.read_table("splits.csv")
    paths = [run.data_dir / path for path in samples["path"].head(2 * N_TIMED)]
    model, transform = run.load_trained()
    resnet50 = torchvision.models.resnet50(weights=None, num_classes=len(s2p.SCENES)).requires_grad_(False)
    n_rest = sum(IPD_PUBLISHED["all", label] - IPD_PUBLISHED["test", label] for label in CLASSES)
    ipd = {"train": n_rest - n_rest // N_FOLDS, "val": n_rest // N_FOLDS}
    ipd["test"] = IPD_PUBLISHED["test", "private"] + IPD_PUBLISHED["test", "public"]
    head_s = CARD_EPOCHS * _time_head(run.trained_settings.batch_size)
    tables = []
    for whose, name, network, how, n in (
        ("this run", run.backbone, model.backbone, transform, _count(samples)),
        ("IPD", "resnet50", resnet50, s2p.photo_transform(RESNET50_SIZE), ipd),
    ):
        size, precision = s2p.image_size_of(how), run.parameter("precision")
        with carbon.measure_energy() as used:
            engine = engines.choose(run.parameter("engine"), run.device, precision, network, size, sum(n.values()))
            times = time_photos(paths, how, network, run.device, precision=precision, engine=engine)
        power_w = used["energy_kwh"] * 3.6e6 / used["duration_s"]
        costs = {mode: _time_of_mode(mode, n, size, times, run.workers, CARD_EPOCHS) for mode in PROTOCOLS}
        hours = {mode: (seconds + head_s * n["train"]) / 3600 for mode, (seconds, _) in costs.items()}
        passes = {mode: passes for mode, (_, passes) in costs.items()}
        s_per_photo = costs["frozen"][0] / passes["frozen"]
        table = carbon.protocol_costs(passes, hours, power_w, factor_kg_per_kwh).assign(
            photos=f"{whose}: {name}, {size} pixels, frozen by {engine}",
            s_per_photo=s_per_photo,
            kwh_per_1000_photos=carbon.energy_per_1000_photos(s_per_photo * power_w / 3.6e6, 1),
            energy_source=used["energy_source"],
        )
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[PROTOCOL_COLUMNS]


def describe_or_why_not(parameters: Parameters) -> str:
    """``describe`` of ``estimate_run``, or why there is none: an estimate is a courtesy and must not stop a run."""
    try:
        return describe(estimate_run(parameters))
    except Exception as error:
        return f"no estimate of what this run will take: {' '.join(str(error).split())[:200] or type(error).__name__}"


def describe(table: pd.DataFrame) -> str:
    """``estimate_run``'s table as text for a terminal, one line a stage."""
    rows = [
        (
            row.stage,
            "" if pd.isna(row.photos) else f"{row.photos:,}",
            _time_text(row.time_s),
            f"{1000 * row.energy_kwh:.2g} Wh" if row.energy_kwh < 0.1 else f"{row.energy_kwh:.2g} kWh",
            _disk_text(row.disk_bytes),
            row.basis,
        )
        for row in table.itertuples(index=False)
    ]
    shown = pd.DataFrame(rows, columns=["stage", "photos", "time", "energy", "disk", "basis"])
    words = f"An estimate, from a few timed photos; the energy is the time x declared {DECLARED_POWER_W:g} W."
    left = {name: f"{{:<{shown[name].str.len().max()}}}".format for name in ("stage", "basis")}
    return f"{words}\n{shown.to_string(index=False, justify='left', formatters=left)}"


def _time_text(seconds: float) -> str:
    if seconds == 0:
        return "-"
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def _disk_text(n_bytes: float) -> str:
    if n_bytes < 5e5:
        return "-"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes < 1e9 else f"{n_bytes / 1e9:.1f} GB"


def _row(stage: str, photos, time_s: float, disk_bytes: float, basis: str) -> dict:
    return {"stage": stage, "photos": photos, "time_s": time_s, "disk_bytes": disk_bytes, "basis": basis}


# The photos of the run


class _Data(NamedTuple):
    """Numbers of photos by split, files to time, and for the demo dataset what drawing costs (None if it is there)."""

    n: dict[str, int]
    paths: list[Path]
    draw_s: float | None
    draw_bytes: float


def _find_data(p: Parameters, folder: Path) -> _Data:
    data_dir = ROOT / (p.data_dir or "outputs/demo_dataset")
    if p.dataset == "demo" and not (data_dir / datasets.DEMO_MARKER).is_file():
        return _draw_a_few(p, folder)
    found = draw_sample(datasets.read(p.dataset, data_dir, p.fold, p.features).samples, p.max_photos)
    order = np.random.default_rng(0).permutation(len(found))[: 4 * N_TIMED_FILES]
    return _Data(_count(found), [data_dir / path for path in found["path"].iloc[order]], None, 0)


def _draw_a_few(p: Parameters, folder: Path) -> _Data:
    """A few photos of the plan of the demo dataset in a temporary folder."""
    plan = demo.plan_photos()
    fold = datasets.DATASETS["demo"].fold if p.fold is None else p.fold
    found = draw_sample(plan.assign(split=plan[fold_column(fold)].map(SPLIT_CODES)), p.max_photos)
    paths, started = [], time.perf_counter()
    for number, row in enumerate(plan.head(N_TIMED).itertuples()):
        rng = np.random.default_rng([demo.DEMO_SEED, number])
        paths.append(folder / f"{number}.jpg")
        demo_scenes.draw_scene(row.scene, rng, (row.width, row.height), row.people).save(paths[-1], quality=88)
    seconds = (time.perf_counter() - started) / N_TIMED
    size = sum(path.stat().st_size for path in paths) / N_TIMED
    return _Data(_count(found), paths, len(plan) * seconds / _workers(p), len(plan) * size)


def _count(samples: pd.DataFrame) -> dict[str, int]:
    """Photos by split; where the kit will make one, its shares."""
    if samples["split"].isna().all():
        rest = round(len(samples) * (1 - TEST_SHARE))
        return {"train": rest - rest // N_FOLDS, "val": rest // N_FOLDS, "test": len(samples) - rest}
    return {split: int((samples["split"] == split).sum()) for split in SPLIT_CODES.values()}


def _workers(p: Parameters) -> int:
    return max(1, os.cpu_count() if p.workers == "auto" else p.workers)


def _rows_of_scene_files(data: _Data) -> list[dict]:
    paths = data.paths[:N_TIMED_FILES]
    read, started = 0, time.perf_counter()
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            to_logits(read_scene_file(path))
            read += 1
    if read == 0:
        raise ValueError(
            f"none of {len(paths)} published scene files can be read, such as {examples(path.name for path in paths)}"
        )
    n = sum(data.n.values())
    seconds = n * (time.perf_counter() - started) / read
    return [_row("check photos", n, seconds, n * _CACHE_BYTES + 4 * s2p.HEAD_PARAMETERS, f"timed on {read} files")]


_CACHE_BYTES = 4 * len(s2p.SCENES) + 32  # of one photo: its scene logits, and the sha256 of its file


def _rows_of_photos(p: Parameters, data: _Data) -> list[dict]:
    name = p.backbone or default_backbone(p.dataset)
    entry = s2p.BACKBONES.get(name, s2p.Backbone(name))
    network = torchvision.models.get_model(entry.arch, weights=None, num_classes=len(s2p.SCENES))
    network.requires_grad_(False)
    size = p.image_size or entry.image_size
    transform, device = s2p.photo_transform(size), s2p.choose_device(p.device)
    n = sum(data.n.values())

    def timed(precision: str, wanted: str) -> PhotoTimes:
        engine = engines.choose(wanted, device, precision, network, size, n)
        return time_photos(data.paths, transform, network, device, precision=precision, engine=engine)

    def cost(mode: str, times: PhotoTimes) -> tuple[float, int]:
        epochs = min(EPOCHS, p.max_epochs)
        return _time_of_mode(mode, data.n, size, times, _workers(p), epochs, 3600 * p.max_hours)

    times = timed(p.precision, p.engine)
    basis = f"timed on {times.n} photos, engine {times.engine}"
    rows = []
    if p.dataset == "demo" and p.data_dir is None:
        said = "already drawn" if data.draw_s is None else f"timed on {N_TIMED} photos"
        rows.append(_row("draw the demo photos", demo.plan_photos().shape[0], data.draw_s or 0, data.draw_bytes, said))
    rows.append(_row("check photos", n, n * times.decode_s / _workers(p), 0, basis))
    seconds, passes = cost(p.bn_mode, times)
    disk = n * _CACHE_BYTES + 4 * s2p.count_parameters(network)["total"]
    rows.append(_row("scene logits", passes, seconds, disk, basis))
    compared = p.compare_bn_modes if p.compare_bn_modes is not None else p.dataset == "demo"
    if compared:
        modes = [mode for mode in BN_MODES if mode != p.bn_mode] if _has_batchnorm(network) else []
        others = [cost(mode, times) for mode in modes]
        others += [cost("frozen", timed(q, "auto")) for q in engines.precisions_on(device) if q != p.precision]
        seconds, passes = (sum(parts) for parts in zip(*others))
        row = _row("compare BatchNorm modes", passes, seconds, len(others) * n * _CACHE_BYTES, basis)
        rows.append(row | {"heads": len(others)})
    return rows


def _has_batchnorm(network: nn.Module) -> bool:
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())


def _time_of_mode(
    mode: str,
    n: dict[str, int],
    image_size: int,
    times: "PhotoTimes",
    workers: int,
    epochs: int,
    max_training_s: float = math.inf,
) -> tuple[float, int]:
    """Seconds and passes of photos through the backbone in one of ``BN_MODES``, without the head's own time.

    ``released`` passes train and val in each epoch, then all photos once more by the statistics of the kept epoch.
    """
    n_all, fitted_on = sum(n.values()), n["train"] + n["val"]
    in_training = {"frozen": 0, "adapted": n["train"], "released": epochs * fitted_on}[mode]
    load_s = (times.decode_s + times.transform_s) / workers
    again = 0  # photos that stay in memory are not loaded again in the next epoch
    if mode == "released":
        fit_in = batchnorm.MEMORY_FOR_PHOTOS // (3 * 4 * image_size**2)  # of each split
        again = (epochs - 1) * sum(min(n[split], fit_in) for split in ("train", "val"))
    seconds = (in_training - again) * load_s + in_training * times.backbone_s
    seconds = min(seconds, max_training_s) if mode == "released" else seconds
    return seconds + times.start_s + n_all * (load_s + times.frozen_s), in_training + n_all


# Timing


class PhotoTimes(NamedTuple):
    """Seconds a photo, in one thread but for the backbone, and how many were timed.

    ``backbone_s`` is one pass as in training (bn_mode released, adapted), ``frozen_s`` one by ``engine`` in eval mode,
    and ``start_s`` what that takes once, its first photo included.
    """

    decode_s: float
    transform_s: float
    backbone_s: float
    frozen_s: float
    start_s: float
    engine: str
    n: int


def time_photos(
    paths: Sequence[Path],
    transform: Callable,
    backbone: nn.Module,
    device: str,
    n: int = N_TIMED,
    precision: str = "float32",
    engine: str = "torch",
) -> PhotoTimes:
    """What a photo takes from its file to its scene logits, of the first ``n`` of ``paths`` that can be read.

    Decoding and resizing in one thread, then the backbone in one batch, plain and by an engine of ``engines.ENGINES``.
    A first photo, resized and passed through the backbone alone, is not counted, as the first calls in a process take
    long. ValueError if no photo can be read.
    """
    good = audit.readable(paths, n)
    if not good:
        such_as = examples(path.name for path in paths)
        raise ValueError(f"none of {len(paths)} photos can be read, such as {such_as}: nothing can be timed")
    tensors, decode_s, transform_s = [], 0.0, 0.0
    with _torch_threads(1):
        transform(open_photo(good[0]))
        for path in good:
            started = time.perf_counter()
            photo = open_photo(path)
            decode_s += time.perf_counter() - started
            started = time.perf_counter()
            tensors.append(transform(photo))
            transform_s += time.perf_counter() - started
    photos = torch.stack(tensors)
    started = time.perf_counter()
    frozen = engines.prepare(engine, backbone, photos.shape[-1], device, precision)
    list(frozen([photos[:1]]))
    start_s = time.perf_counter() - started
    backbone = engines.on_device(backbone, device).eval()
    one_s = _seconds(lambda: engines.scenes_in_parts(backbone, photos[:1], device, precision))
    timed = photos[: max(1, int(MAX_TIMED_S / one_s))]
    threads = (torch.get_num_threads(), 1)
    passes = (lambda: engines.scenes_in_parts(backbone, timed, device, precision), lambda: list(frozen([timed])))
    backbone_s, frozen_s = (_least_seconds(one_pass, threads) / len(timed) for one_pass in passes)
    return PhotoTimes(decode_s / len(good), transform_s / len(good), backbone_s, frozen_s, start_s, engine, len(good))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _least_seconds(work: Callable[[], object], threads: Sequence[int] = (1,)) -> float:
    """The least of a few times, as other work on the machine comes and goes, with each of these numbers of threads.

    One is among them: beside another program that uses all cores, small layers can take a hundred times as long with
    more, as the threads wait for each other at each of them.
    """
    found = []
    for n in 3 * tuple(threads):
        if len(found) >= len(threads) and sum(found) > MAX_TIMED_S / 2:
            break
        with _torch_threads(n):
            found.append(_seconds(work))
    return min(found)


@contextlib.contextmanager
def _torch_threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_head(batch_size: int) -> float:
    """Seconds of an epoch of the head, for each photo of train (val, which is only looked at, is not counted)."""
    part, head = training.cached_part(*_random_logits()), s2p.S2P(nn.Identity()).scene_to_privacy_layer
    settings = Settings(max_epochs=4, batch_size=batch_size)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return _least_seconds(lambda: training.fit(head, part, None, settings)) / settings.max_epochs / FIT_ROWS


def _time_svm() -> float:
    """Seconds of one fit of the baselines' SVM, for each photo of train."""
    logits, labels = _random_logits()
    return _least_seconds(lambda: baselines.SquaredHingeSVM().fit(logits, labels)) / FIT_ROWS


def _random_logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(FIT_ROWS, len(s2p.SCENES))).astype(np.float32), rng.choice(CLASSES, FIT_ROWS)
