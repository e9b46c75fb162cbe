"""Photos -> scene logits on a Ray cluster, into the kit's own cache: ``s2p extract``. See BEYOND_ONE_MACHINE.md.

Two pools of actors: decoders read, hash and resize photos, workers pass them through the backbone. The driver alone
writes, so what a cluster has computed is found by notebooks under the same key, and a restarted job goes on.
"""

import contextlib
import math
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import torch
from PIL import Image
from torchvision import transforms

from s2p_lib import engines
from s2p_lib.logit_cache import STALE_S, CacheNotWritten, SceneLogitCache, open_cache
from s2p_lib.model import S2P, SCENES, fingerprint, image_size_of, in_two_steps
from s2p_lib.progress import progress
from s2p_lib.ray_decoding import Decode
from s2p_lib.scene_logits import BATCH_SIZE

PHOTOS_PER_TASK = 64  # what a lost actor has to do again; 64 x 602 kB at 448 pixels fit into one block of Ray Data
PHOTOS_PER_SHARD, SECONDS_PER_SHARD = 4096, 60  # whichever comes first: a killed driver loses a minute's work
DEATHS_OF_A_TASK = 10  # a task that has killed so many actors ends the job; lost machines alone do not come near
ENGINE = "torch"  # on every device; notebooks find its logits, as they take an engine that lacks none
INDEX_COLUMNS = ["path", "state", "sha256", "indexed_s"]
GOES_ON = "What was computed is kept; the same command goes on."


class NotFinished(RuntimeError):
    """The extraction stopped in the middle; the message says why, and that the same command goes on."""


def read_photo_list(file: str | Path) -> list[str]:
    """One path or address a line; empty lines are left out. ValueError that names a file that is no UTF-8 text."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")  # other separators may stand in a name
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{file} is no UTF-8 text (see its line {line}): save it as UTF-8") from None
    return [line for line in lines if line.strip()]


def extract_on_ray(
    paths: Iterable[str],
    model: S2P,
    transform: transforms.Compose,
    cache_dir: str | Path,
    out_dir: str | Path,
    workers: int = 1,
    decoders: int = 1,
    cpus: float = 1,
    gpus: float = 0,
    batch_size: int = BATCH_SIZE,
    precision: str = "float32",
) -> pd.DataFrame:
    """Put the scene logits of all photos into the cache; one row a photo: ``path``, ``sha256``, ``problem``.

    ``paths`` are local ones or addresses of any file system that fsspec knows; every machine must see them.
    ``cache_dir`` and ``out_dir`` need only be seen by the machine that calls this. A worker takes ``cpus`` processor
    cores and ``gpus`` GPUs (may be a part of one), a decoder one core. A photo whose file has not changed since an
    earlier call, and whose logits are in the cache, is not read again. ``sha256`` is null where there is a ``problem``;
    those rows are also in ``out_dir/problems.csv``, and such photos are tried again by the next call.

    Joins the cluster of the environment variable RAY_ADDRESS, else starts Ray on this machine. Before any work:
    ImportError without Ray, ValueError for what cannot be done. Later: NotFinished, or CacheNotWritten for a full disk.
    """
    if transform is None:
        raise ValueError("this backbone takes no photos, so there is nothing to extract; choose another --backbone")
    _check_sizes(workers=workers, decoders=decoders, cpus=cpus, gpus=gpus, batch_size=batch_size)
    device = "cuda" if gpus else "cpu"
    engines.possible(ENGINE, device, precision)
    ray = _ray()
    paths = pd.Series(list(dict.fromkeys(_full(path) for path in paths)), name="path", dtype=object)
    _check_file_systems(paths)
    if not ray.is_initialized():
        ray.init()
    cache = open_cache(cache_dir, fingerprint(model, transform, engines.numerics(ENGINE, precision, device)))
    _check_room(ray, decoders, workers, cpus, gpus)
    cache.check_writable()
    files = _FileIndex(Path(out_dir) / "files")
    known = files.read(cache)
    todo = paths.to_frame().merge(known[["path", "state"]], how="left", on="path").fillna({"state": ""})
    problems = {}
    shared = ray.put((model, transform))  # held here: a restarted actor asks for it again
    logits = _pipeline(ray.data, todo, shared, transform, workers, decoders, cpus, gpus, batch_size, precision)
    try:
        for shard in _in_shards(logits, todo):
            good = shard["problem"] == ""
            if good.any():
                cache.add(list(shard["sha256"][good]), shard["logits"][good])
                files.add({name: shard[name][good] for name in ("path", "state", "sha256")})
            problems |= dict(zip(shard["path"][~good], shard["problem"][~good]))
    except ray.exceptions.RayError as error:
        raise NotFinished(f"Ray stopped: {_in_a_line(error)}. {GOES_ON}") from error
    return _outcome(paths, files.read(cache), problems, Path(out_dir))


def _check_sizes(**sizes: float) -> None:
    """ValueError for a number of actors, cores, GPUs or photos that nothing can be done with."""
    for name, value in sizes.items():
        least = "0 or more" if name == "gpus" else "more than 0"
        if not math.isfinite(value) or value < 0 or (value == 0 and name != "gpus"):
            raise ValueError(f"{name}={value} is not allowed; allowed: {least}")
        if value > 1 and value != int(value):
            raise ValueError(f"{name}={value} is not allowed; above 1 Ray gives an actor whole ones only")


def _check_room(ray, decoders: int, workers: int, cpus: float, gpus: float) -> None:
    """ValueError if the actors need more than this machine has. A cluster may grow: there, a line that tells it.

    Without it Ray would wait for ever, and say nothing.
    """
    there = ray.cluster_resources()
    needs = {"CPU": ("processor cores", decoders + workers * cpus), "GPU": ("GPUs", workers * gpus)}
    lacks = [
        f"{needed:g} {name}, and there are {there.get(kind, 0):g}"
        for kind, (name, needed) in needs.items()
        if needed > there.get(kind, 0)
    ]
    if not lacks:
        return
    text = f"{decoders} decoder(s) and {workers} worker(s) need {'; and '.join(lacks)}"
    if "RAY_ADDRESS" not in os.environ:
        raise ValueError(f"{text}: give fewer --decoders or --workers, or less --cpus or --gpus")
    print(f"{text}: waiting until the cluster grows. If it cannot, stop this, and ask for fewer", flush=True)


def _in_a_line(error: Exception) -> str:
    """What happened first: Ray tells it amid pages of tracebacks, or as a sentence of its own."""
    text = str(error).strip() or type(error).__name__
    cause = re.search(r"^[\w.]*(Error|Exception|Interrupt)\b.*", text, re.MULTILINE)
    return (cause[0] if cause else text.splitlines()[0]).strip().rstrip(".")


def _ray():
    try:
        import ray.data
        import ray.exceptions
    except ImportError:
        raise ImportError("Ray is not installed; it is an extra: pip install --editable '.[ray]'") from None
    return ray


def _full(path: str) -> str:
    """Workers do not run in the caller's folder. A file that is there is no address, whatever its name."""
    return path if "://" in path and not os.path.exists(path) else str(Path(path).absolute())


def _check_file_systems(paths: pd.Series) -> None:
    """Fail here and now if a file system is unknown or its package is missing, not once a photo on the cluster."""
    if paths.empty:
        raise ValueError("there are no photos to extract; give at least one path or address")
    for protocol in {fsspec.utils.get_protocol(path) for path in paths if "://" in path}:
        try:
            fsspec.get_filesystem_class(protocol)
        except (ValueError, ImportError) as error:
            raise ValueError(f"addresses that begin with {protocol}:// cannot be read: {error}") from None


class _FileIndex:
    """Which file had which bytes: a Parquet table a shard, so that a restarted job need not read photos again."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob("*.part"):
            with contextlib.suppress(FileNotFoundError):  # another job's, which was just done
                if time.time() - part.stat().st_mtime > STALE_S:
                    part.unlink()

    def add(self, columns: dict[str, np.ndarray]) -> None:
        """A new file with columns path, state (see ``ray_decoding.state_of``) and sha256. CacheNotWritten if full."""
        name = self.folder / f"{uuid.uuid4().hex}.parquet"
        part = name.with_suffix(".part")
        try:
            pd.DataFrame(columns).assign(indexed_s=time.time()).to_parquet(part)
            os.replace(part, name)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            why = error.strerror or error
            raise CacheNotWritten(
                f"{self.folder} cannot be written: {why}. Repair that, or use --out elsewhere. {GOES_ON}"
            ) from None

    def read(self, cache: SceneLogitCache) -> pd.DataFrame:
        """The latest row of each path, where ``cache`` has its logits."""
        tables = [pd.read_parquet(file) for file in self.folder.glob("*.parquet")]
        table = pd.concat(tables) if tables else pd.DataFrame(columns=INDEX_COLUMNS)
        table = table.sort_values("indexed_s").drop_duplicates("path", keep="last")
        return table[table["sha256"].map(lambda sha256: sha256 in cache).astype(bool)]


def _pipeline(data, todo, shared, transform, workers, decoders, cpus, gpus, batch_size, precision) -> Iterator[dict]:
    """Columns path, state, sha256, problem and logits [n, 365] of the photos that are not done, in any order."""
    data.DataContext.get_current().enable_progress_bars = False  # there is one of ours
    # Ray restarts a lost actor for ever by default, and gives its task to another one.
    lost = {"max_restarts": -1, "max_task_retries": DEATHS_OF_A_TASK}
    device = "cuda" if gpus else "cpu"
    return (
        data.from_pandas([todo[start : start + PHOTOS_PER_TASK] for start in range(0, len(todo), PHOTOS_PER_TASK)])
        .map_batches(
            Decode,
            batch_size=None,
            batch_format="numpy",
            fn_constructor_args=(in_two_steps(transform)[0], transform.transforms[0].size),
            compute=data.ActorPoolStrategy(size=decoders),
            num_cpus=1,
            **lost,
        )
        .map_batches(
            _PassThroughBackbone,
            batch_size=batch_size,
            batch_format="numpy",
            fn_constructor_args=(shared, device, precision),
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=cpus,
            num_gpus=gpus,
            **lost,
        )
        .iter_batches(batch_size=None, batch_format="numpy")
    )


def _in_shards(batches: Iterator[dict], todo: pd.DataFrame) -> Iterator[dict[str, np.ndarray]]:
    waiting, rows, started = [], 0, time.monotonic()
    known = set(todo.loc[todo["state"] != "", "path"])  # only those of them that have changed come back
    with progress(total=len(todo), initial=len(known), desc="scene logits (Ray)", unit="photo") as bar:
        for batch in batches:
            waiting.append(batch)
            rows += len(batch["path"])
            bar.update(sum(path not in known for path in batch["path"]))
            if rows >= PHOTOS_PER_SHARD or (rows and time.monotonic() - started > SECONDS_PER_SHARD):
                yield _joined(waiting)
                waiting, rows, started = [], 0, time.monotonic()
    if rows:
        yield _joined(waiting)


def _joined(batches: list[dict]) -> dict[str, np.ndarray]:
    batches = [batch for batch in batches if len(batch["path"])]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _outcome(paths: pd.Series, known: pd.DataFrame, problems: dict[str, str], out_dir: Path) -> pd.DataFrame:
    table = paths.to_frame().merge(known[["path", "sha256"]], how="left", on="path", validate="one_to_one")
    table["problem"] = table["path"].map(problems).astype(object)
    table.loc[table["problem"].notna(), "sha256"] = None
    lost = table[table["sha256"].isna() & table["problem"].isna()]
    if len(lost):
        raise NotFinished(
            f"{len(lost):,} of {len(table):,} photos did not come back from the cluster, the first is "
            f"{lost['path'].iloc[0]}. {GOES_ON}"
        )
    table.loc[table["problem"].notna(), ["path", "problem"]].to_csv(out_dir / "problems.csv", index=False)
    return table


class _PassThroughBackbone:
    """Actor: pixels -> logits [n, 365] float32, NaN where there is a problem; the same arithmetic as on one machine."""

    def __init__(self, shared, device: str, precision: str):
        model, transform = _ray().get(shared)
        self.run = engines.prepare(ENGINE, model.backbone, image_size_of(transform), device, precision)
        _, self.to_tensor = in_two_steps(transform)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        pixels = batch.pop("pixels")
        good = np.flatnonzero(batch["problem"] == "")
        logits = np.full((len(pixels), len(SCENES)), np.nan, dtype=np.float32)
        if len(good):
            photos = torch.stack([self.to_tensor(Image.fromarray(pixels[i])) for i in good])
            logits[good] = next(self.run([photos])).numpy()  # of the one batch
        return batch | {"logits": logits}
