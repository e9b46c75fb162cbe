"""Parameters, the run folder, and the notebooks run in order by papermill."""

import ast
import difflib
import os
import platform
import re
import resource
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from s2p_lib import carbon, datasets
from s2p_lib.audit import audit_photos, one_row_per_image, stop_on_bad_photo
from s2p_lib.config import Config, Settings, read_config
from s2p_lib.photos import file_sha256
from s2p_lib.run_folder import ROOT, RunFolder, check_data_dir, default_backbone
from s2p_lib.samples import check_samples, draw_sample, examples

OF_BACKBONE = ("backbone", "weights", "image_size", "bn_mode", "precision", "engine")  # parameters
MADE_BY = "s2p_lib"  # marks a manifest.json as ours


class Parameters(BaseModel):
    """Every parameter of the notebooks: its type, its default for the demo dataset, and its meaning."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    run_dir: str = Field("outputs/demo", description="the run's folder, relative to the repository's root")
    dataset: Literal[*datasets.DATASETS] = Field(
        "demo", description="demo (drawn by the kit), ipd, privacyalert, picalert, vispr, or folder (own photos)"
    )
    data_dir: str | None = Field(
        None, description="parent of the curated_* folders, or the folder of own photos; the demo makes its own"
    )
    features: Literal[*datasets.FEATURES] = Field(
        "photos", description="photos, or published_scenes (published scene probabilities; no photo is needed)"
    )
    fold: Annotated[int, Field(ge=0)] | Literal["final", "original"] | None = Field(
        None,
        description="split: 0, 1, .. (a fold), final (no val) or original; by default 0, for privacyalert original",
    )
    max_photos: int | None = Field(
        None, ge=30, description="use only so many photos, a stratified sample; all by default"
    )
    show_photos: bool | None = Field(
        None, description="show photos in notebooks and pages as they are; by default only those of the demo"
    )
    page_photos: int = Field(300, ge=1, description="photos in failures.html at most, failures first")
    page_megabytes: float = Field(15, gt=0, description="size of failures.html at most")
    on_bad_photo: Literal["report", "stop"] = Field("report", description="report (leave out) or stop")
    backbone: str | None = Field(None, description="demo, resnet50 or a torchvision name; by default as the dataset")
    weights: str | None = Field(None, description="weights file of the backbone; the demo backbone brings its own")
    image_size: int | None = Field(None, ge=32, description="pixels, square; by default 128 for demo, else 448")
    bn_mode: Literal["frozen", "released", "adapted"] = Field(
        "frozen", description="BatchNorm: frozen (as the card says), released (as its code does) or adapted (once)"
    )
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of the backbone; released: float32; tf32 is for cuda"
    )
    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="of the frozen backbone: torch, openvino (an extra, for the CPU) or auto (what is faster)"
    )
    seed: int = Field(789, ge=0, description="of the head's first weights and the order of the batches")
    batch_size: int = Field(100, ge=1, description="photos in a training batch of the head")
    lr: float = Field(0.001, gt=0, description="first learning rate")
    patience: int = Field(
        10, ge=0, description="lr is lowered after more epochs than this without a better validation loss"
    )
    min_lr: float = Field(1e-5, gt=0, description="training ends when lr falls below")
    max_epochs: int = Field(1000, ge=1, description="training ends after so many epochs")
    max_hours: float = Field(12, gt=0, description="training ends after so many hours")
    weight_loss: bool = Field(False, description="weigh each class by 1 - its share of the training photos")
    init_checkpoint: str | None = Field(None, description="start from this checkpoint, or from its head alone")
    init_trained_on: Literal[*datasets.DATASETS] | None = Field(
        None,
        description="dataset of a released init_checkpoint, which orders its logits; by default dataset",
    )
    config: str | None = Field(None, description="a released configuration file; parameters given here win over it")
    n_seeds: int = Field(100, ge=1, description="heads trained on the same scene logits, to see the spread over seeds")
    baselines: Literal["all", "quick"] = Field("all", description="all (SVM grids as published) or quick (no grids)")
    compare_bn_modes: bool | None = Field(
        None, description="train the other BatchNorm modes too; by default only on the demo dataset"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="auto, cpu, cuda or mps")
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field("auto", description="threads that decode photos")
    released_dir: str = Field("data", description="where s2p fetch has put the released checkpoint and demo photos")
    model_version: str | None = Field(
        None,
        pattern=r"^\d+\.\d+\.\d+$",
        description="MAJOR.CONFIG.RUN of the model card; by default as its settings differ from the card's",
    )
    country: str = Field("GBR", description="three-letter code of the country whose grid factor is used")
    grid_factor: float | None = Field(None, gt=0, description="kg CO2eq per kWh; by default that of country")


@dataclass(frozen=True)
class Preset:
    """A size of run: what it is for, and the parameters that it sets."""

    meaning: str
    parameters: Mapping


# In full, compare_bn_modes stays off: the released mode passes all photos once an epoch, where frozen passes them once
# (the card's training had 117 epochs). Ask for it: -p compare_bn_modes True.
PRESETS = {
    "demo": Preset("everything on the drawn demo photos; no result of the paper", {}),
    "short": Preset(
        "a quick look at a dataset: 600 of its photos, 10 seeds, baselines without grids",
        {"max_photos": 600, "n_seeds": 10, "baselines": "quick", "compare_bn_modes": False},
    ),
    "full": Preset(
        "all photos, 100 seeds, all baselines; BatchNorm modes only if asked for (released: one pass an epoch)",
        {"n_seeds": 100, "baselines": "all", "compare_bn_modes": False},
    ),
}


@dataclass(frozen=True)
class Notebook:
    """What one notebook takes, reads from the run folder and writes into it."""

    parameters: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]


NOTEBOOKS = {
    "01_data_splits": Notebook(
        (
            "run_dir",
            "dataset",
            "data_dir",
            "features",
            "fold",
            "max_photos",
            "show_photos",
            "config",
            "on_bad_photo",
            "workers",
        ),
        reads=(),
        writes=("splits.csv", "audit.csv", "labels_splits.csv", "folds.csv"),
    ),
    "02_train": Notebook(
        (
            "run_dir",
            "backbone",
            "weights",
            "image_size",
            "bn_mode",
            "precision",
            "engine",
            "seed",
            "batch_size",
            "lr",
            "patience",
            "min_lr",
            "max_epochs",
            "max_hours",
            "weight_loss",
            "init_checkpoint",
            "init_trained_on",
            "config",
            "n_seeds",
            "compare_bn_modes",
            "on_bad_photo",
            "device",
            "workers",
        ),
        reads=("splits.csv",),
        writes=("history.csv", "checkpoint.pth", "config.json", "bn_modes.csv", "spread.csv"),
    ),
    "03_evaluate": Notebook(
        ("run_dir", "baselines", "released_dir", "device", "workers"),
        reads=("splits.csv", "history.csv", "checkpoint.pth"),
        writes=(
            "predictions.csv",
            "predictions_released.csv",
            "metrics.json",
            "thresholds.csv",
            "sources.csv",
            "baselines.csv",
            "comparisons.csv",
            "released_demo.csv",
        ),
    ),
    "04_failures": Notebook(
        ("run_dir", "show_photos", "page_photos", "page_megabytes", "device", "workers"),
        reads=("splits.csv", "audit.csv", "checkpoint.pth", "predictions.csv"),
        writes=(
            "failures.csv",
            "failures.html",
            "slices.csv",
            "slice_errors.csv",
            "label_errors.csv",
            "contradicting_copies.csv",
            "without_suspects.csv",
        ),
    ),
    # 05 reads the stages in the manifest; metrics.json stands for "the stages have run".
    "05_carbon": Notebook(
        ("run_dir", "country", "grid_factor", "device", "workers"),
        reads=("splits.csv", "history.csv", "metrics.json"),
        writes=("emissions.csv", "carbon_range.csv", "protocol_costs.csv"),
    ),
    "06_report": Notebook(
        ("run_dir", "show_photos", "model_version"),
        reads=(
            "splits.csv",
            "checkpoint.pth",
            "audit.csv",
            "history.csv",
            "bn_modes.csv",
            "spread.csv",
            "folds.csv",
            "predictions.csv",
            "metrics.json",
            "thresholds.csv",
            "sources.csv",
            "baselines.csv",
            "comparisons.csv",
            "released_demo.csv",
            "failures.csv",
            "slices.csv",
            "emissions.csv",
            "carbon_range.csv",
            "protocol_costs.csv",
        ),
        writes=("claims.csv", "report.html", "MODEL_CARD.md", "ro-crate-metadata.json"),
    ),
}


class Run(RunFolder):
    """A run folder as one notebook works in it; ``run.p`` holds the notebook's parameters."""

    def __init__(self, notebook: str, parameters: Parameters, config: Config | None = None):
        super().__init__(parameters.run_dir)
        self.notebook, self.p, self._started = notebook, parameters, time.monotonic()
        self.config = config or Config({}, {}, ())
        self.dir.mkdir(parents=True, exist_ok=True)
        self._check_inputs()
        self._forget_earlier_work()

    @property
    def device(self) -> str:
        from s2p_lib.model import choose_device

        return choose_device(self.p.device)

    @property
    def workers(self) -> int:
        return max(1, os.cpu_count() if self.p.workers == "auto" else self.p.workers)

    def parameter(self, name: str):
        """A parameter of this notebook, or one that an earlier notebook of the run was given."""
        own = NOTEBOOKS[self.notebook].parameters
        return getattr(self.p, name) if name in own else super().parameter(name)

    @property
    def show_photos(self) -> bool:
        """As this notebook was asked, else as the first one was."""
        if self.p.show_photos is None and self.notebook != "01_data_splits":
            return super().show_photos
        return self.is_demo if self.p.show_photos is None else self.p.show_photos

    @property
    def settings(self) -> Settings:
        """The training settings: this notebook's parameters, and the rare options of ``config``."""
        own = {f.name: getattr(self.p, f.name) for f in fields(Settings) if hasattr(self.p, f.name)}
        options = {"val_batch_size": self.p.batch_size} | self.config.options
        if self.p.batch_size != self.config.parameters.get("batch_size", self.p.batch_size):
            options["val_batch_size"] = self.p.batch_size  # it was given, so it wins over both of the file
        return Settings(**own | options)

    def check_files(self, samples: pd.DataFrame) -> pd.DataFrame:
        """Every photo, or published scene file, read once; columns as of ``audit.audit_photos``."""
        from s2p_lib.published_scenes import audit_scene_files

        if self.from_photos:
            return audit_photos(samples, self.data_dir, self.workers)
        return audit_scene_files(samples, self.data_dir, self.path("scene_logits"), self.workers)

    def load_model(self):
        """The untrained model and its transform, from ``weights`` or ``init_checkpoint``; each call a new one."""
        from s2p_lib import model as s2p

        weights, checkpoint = self.given_file("weights"), self.given_file("init_checkpoint")
        self.record_inputs(*(file for file in (weights, checkpoint, self.given_file("config")) if file))
        if checkpoint is None:
            return s2p.load_s2p(self.backbone, weights, self.p.image_size, self.p.seed, self.settings.use_bce)
        trained_on = self.p.init_trained_on or self.parameter("dataset")
        if self.p.init_trained_on is None and "classes" not in s2p.read_checkpoint(checkpoint):
            print(
                f"{checkpoint.name} does not say which logit is private; read as trained on {trained_on}, as this run "
                "will be (else set init_trained_on)"
            )
        codes = datasets.DATASETS[trained_on].codes
        model, transform = s2p.load_checkpoint(checkpoint, self.backbone, self.p.image_size, weights, codes)
        n_logits, wanted = model.scene_to_privacy_layer.out_features, 1 if self.settings.use_bce else 2
        if n_logits != wanted:
            raise ValueError(
                f"init_checkpoint {checkpoint.name} has {n_logits} privacy logit(s), this training {wanted}: in the "
                "config use_bce must be true for one, false for two"
            )
        return model, transform

    def load_trained(self):
        """The trained model of this run and its transform."""
        from s2p_lib.model import load_checkpoint

        return load_checkpoint(self.path("checkpoint.pth"), self.backbone, self.parameter("image_size"))

    @property
    def starts_from_trained_backbone(self) -> bool:
        """Whether the backbone is that of a trained S2P, so that its BatchNorm statistics are not Places365's."""
        from s2p_lib.model import holds_backbone

        files = (self.given_file("weights"), self.given_file("init_checkpoint"))
        return any(holds_backbone(file) for file in files if file)

    def load_scene_logits(
        self, samples: pd.DataFrame, model, transform, precision: str | None = None
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Scene logits [N, 365] of the photos in ``samples``, from the cache or computed now, and their samples.

        With published scene probabilities ``model`` and ``transform`` are not used. A photo that could be read before
        and no longer can is left out, told and added to audit.csv, or ends the run if on_bad_photo is ``stop``.
        ValueError if a split loses a class by it. ``precision`` is the run's by default.
        """
        from s2p_lib.published_scenes import read_published_scenes
        from s2p_lib.scene_logits import drop_unreadable, extract_scene_logits

        cache = self.path("scene_logits")
        if self.from_photos:
            own = self.parameter("precision")
            precision = precision or own
            logits, unreadable = extract_scene_logits(
                samples,
                self.data_dir,
                model,
                transform,
                cache,
                self.device,
                workers=self.workers,
                precision=precision,
                engine=self.parameter("engine") if precision == own else "auto",  # not every engine has every precision
                tell=lambda done: self.update_manifest("scene_logits", {f"{self.notebook} {precision}": done}),
            )
        else:
            logits, unreadable = read_published_scenes(samples, self.data_dir, cache, self.workers)
        kept, logits, problems = drop_unreadable(samples, logits, unreadable)
        if len(problems):
            gone = samples[samples["image"].isin(problems["image"])]
            by_split = ", ".join(f"{n:,} {split}" for split, n in gone["split"].value_counts(sort=False).items())
            told = (
                f"{len(gone):,} of {len(samples):,} photos cannot be read any more ({by_split}), such as "
                f"{examples(gone['image'])}"
            )
            print(f"{told}. All counts and figures below are without them, those of earlier notebooks with them.")
            self._extend_audit(problems)
        stop_on_bad_photo(problems, self.parameter("on_bad_photo"))
        try:
            check_samples(kept, self.fold)
        except ValueError as error:
            if problems.empty:
                raise
            raise ValueError(f"{told}. Put them back, or run all notebooks again without them: {error}") from None
        return kept, logits

    def _extend_audit(self, problems: pd.DataFrame) -> None:
        """Add rows to the audit.csv of 01_data_splits, whose recorded hash follows."""
        self.write_table("audit.csv", one_row_per_image([self.read_table("audit.csv"), problems]))
        done = self.manifest["notebooks"]["01_data_splits"]
        done["writes"] |= self._hashes(("audit.csv",))
        self.update_manifest("notebooks", {"01_data_splits": done})

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures duration and energy of the block, and the process's peak memory so far, for manifest.json."""
        with carbon.measure_energy() as measured:
            yield
        self.update_manifest("stages", {name: measured | {"peak_memory_bytes": peak_memory_bytes()}})

    def record_inputs(self, *paths: Path) -> None:
        """Keep the sha256 of files that came from outside, by file name, in manifest.json."""
        self.update_manifest("inputs", {path.name: file_sha256(path) for path in paths})

    def finish(self) -> None:
        """Record what this notebook read and wrote, so that a later one can tell stale files from fresh ones."""
        io = NOTEBOOKS[self.notebook]
        missing = [name for name in io.writes if not self.path(name).is_file()]
        if missing:
            raise FileNotFoundError(f"{self.notebook} ended without writing {missing}")
        done = {"reads": self._hashes(io.reads), "writes": self._hashes(io.writes)}
        done["duration_s"] = time.monotonic() - self._started
        own = set(NOTEBOOKS[self.notebook].parameters) - {"run_dir"}
        if self.p.show_photos is None and self.notebook != "01_data_splits":
            own -= {"show_photos"}  # not asked for here, so what the first notebook was asked stays
        given = self.p.model_dump(include=own)
        self.update_manifest("parameters", given)
        finished = self.manifest["notebooks"] | {self.notebook: done}
        self.update_manifest("notebooks", {name: finished.pop(name) for name in NOTEBOOKS if name in finished})
        self.update_manifest("machine", describe_machine())
        print(f"{self.notebook} wrote {', '.join(io.writes)}")

    def _forget_earlier_work(self) -> None:
        """If this notebook stops half-way, what it wrote in an earlier run must not pass for its result."""
        manifest = self.manifest | {"made_by": MADE_BY}
        manifest["notebooks"] = {n: done for n, done in manifest.get("notebooks", {}).items() if n != self.notebook}
        self.write_json("manifest.json", manifest)

    def _hashes(self, names: tuple[str, ...]) -> dict[str, str]:
        return {name: file_sha256(self.path(name)) for name in names}

    def _check_inputs(self) -> None:
        """Raise unless every file that this notebook reads is there, and was made from the files that are there."""
        writer = {name: notebook for notebook, io in NOTEBOOKS.items() for name in io.writes}
        done = self.manifest.get("notebooks", {})
        for name in NOTEBOOKS[self.notebook].reads:
            by = writer[name]
            again = f"Run {by} with the same run_dir, or all notebooks: s2p run --out {self.p.run_dir}"
            if not self.path(name).is_file() or by not in done:
                raise FileNotFoundError(f"{self.notebook} reads {name}, which {by} writes into {self.dir}. {again}")
            if file_sha256(self.path(name)) != done[by]["writes"][name]:
                raise ValueError(f"{name} is not as {by} wrote it. {again}")
            if stale := changed_inputs(self, by):
                raise ValueError(f"{name} was made by {by} from another {', '.join(stale)} than is there now. {again}")


def changed_inputs(run: RunFolder, notebook: str) -> list[str]:
    """Files that have changed, or gone, since ``notebook`` read them to make its own."""
    read = run.manifest["notebooks"][notebook]["reads"]
    return [n for n, sha256 in read.items() if not run.path(n).is_file() or file_sha256(run.path(n)) != sha256]


def start(notebook: str, namespace: Mapping) -> Run:
    """Check the parameters that a notebook was given and open its run; called right after its parameters cell.

    ``namespace`` is the notebook's ``globals()``. A parameter that the notebook does not know, or a value that is
    not allowed, raises ValueError.
    """
    known = NOTEBOOKS[notebook].parameters
    injected = _injected_names(namespace.get("In", []))
    for name in injected:
        if name not in known:
            raise ValueError(_unknown(name, known, f"notebook {notebook}"))
    pd.set_option("display.max_colwidth", None)  # reasons and paths are shown whole
    given = {name: namespace[name] for name in known}
    defaults = {name: Parameters.model_fields[name].default for name in known}
    explicit = {name: value for name, value in given.items() if name in injected or value != defaults[name]}
    parameters, config = resolve(explicit, known)
    if config:
        taken = {n: v for n, v in config.parameters.items() if n in known and n not in explicit}
        taken |= config.options if notebook == "02_train" else {}
        words = ", ".join(f"{name}={value}" for name, value in taken.items())
        print(f"from {Path(explicit['config']).name}: {words or 'nothing'}. Not used: {', '.join(config.unused)}")
    return Run(notebook, parameters, config)


def resolve(explicit: Mapping, known: Iterable[str] = ()) -> tuple[Parameters, Config | None]:
    """Checked parameters: those given, then those of the file that ``config`` names, then the defaults.

    Of the file only parameters in ``known`` count; all, if it is empty.
    """
    checked = check_parameters(explicit)
    if checked.config is None:
        return checked, None
    config = read_config(ROOT / checked.config)
    from_file = {n: v for n, v in config.parameters.items() if n in (known or Parameters.model_fields)}
    if checked.features == "published_scenes":
        from_file = {n: v for n, v in from_file.items() if n not in OF_BACKBONE}
    return check_parameters(from_file | dict(explicit)), config


def check_parameters(given: Mapping) -> Parameters:
    """Parameters with every name and value checked; ValueError names what came and what is allowed."""
    try:
        return Parameters(**given)
    except ValidationError as error:
        raise ValueError("\n".join(_explain(e) for e in error.errors())) from None


def with_preset(preset: str | None, given: Mapping) -> dict:
    """The parameters of one of ``PRESETS`` (None: of none) and those given, which win over it.

    ValueError for the demo preset with a dataset that is not the demo's.
    """
    if preset is None:
        return dict(given)
    if preset == "demo" and given.get("dataset", "demo") != "demo":
        raise ValueError(
            f"preset demo is for the drawn demo photos, not for dataset={given['dataset']!r}; use short or full"
        )
    return dict(PRESETS[preset].parameters) | dict(given)


def resolve_for(run_dir: Path, given: Mapping) -> Parameters:
    """The checked parameters of a run into ``run_dir``; ValueError names what came and what is allowed."""
    if "run_dir" in given:
        raise ValueError("the run's folder is named by --out, not by -p run_dir")
    return resolve({"run_dir": os.path.relpath(Path(run_dir).resolve(), ROOT), **given})[0]


def run_notebooks(run_dir: Path, given: Mapping, names: tuple[str, ...] = tuple(NOTEBOOKS)) -> None:
    """Run the notebooks in order into ``run_dir``; stops at the first that fails and keeps it there.

    A parameter goes to every notebook that knows it. Results of an earlier run in the folder are removed first,
    the scene logits are kept. Raises NotebookFailed.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    checked, run_dir = resolve_for(run_dir, given), Path(run_dir).resolve()
    check_before_work(checked, names)
    run_dir.mkdir(parents=True, exist_ok=True)
    given = checked.model_dump(include={"run_dir", *given})
    _remove_results(run_dir, names)
    started = time.monotonic()
    for name in names:
        print(f"{name} ...", flush=True)
        known = NOTEBOOKS[name].parameters
        output = run_dir / f"{name}.ipynb"
        try:
            papermill.execute_notebook(
                ROOT / "notebooks" / f"{name}.ipynb",
                output,
                {parameter: value for parameter, value in given.items() if parameter in known},
                kernel_name="python3",
                progress_bar=False,
                stderr_file=sys.stderr,
                cwd=ROOT,
                extra_arguments=["--log-level=ERROR"],  # the kernel warns about its own loopback connection
            )
        except papermill.PapermillExecutionError as error:
            raise NotebookFailed(
                f"{name} failed in cell In [{error.exec_count}] with {error.ename}: {error.evalue}\n"
                f"The cell:\n{textwrap.indent(error.source.strip(), '    ')}\nThe notebook as it stopped: {output}"
            ) from None
        except DeadKernelError:
            raise NotebookFailed(
                f"{name}: the kernel died, most often because memory ran out. The notebook as it stopped: {output}"
            ) from None
    RunFolder(run_dir).update_manifest("run", {"total_s": time.monotonic() - started})


class NotebookFailed(RuntimeError):
    """A notebook of a run stopped with an error; the message names the cell and the cause."""


def describe_machine() -> dict:
    """Versions of what decides the figures, the hardware, and when."""
    import torch

    packages = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "pillow", "papermill", "codecarbon")
    return {
        "versions": {"s2p_lib": version("s2p-repro"), "python": platform.python_version()}
        | {name: version(name) for name in packages},
        "system": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "commit": _git_commit(),
        "finished_utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    """The commit of this checkout, marked if files differ from it; None outside git."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip() or None


def peak_memory_bytes() -> int:
    """Largest resident size so far of this process, or of its largest child if that was larger."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():  # there ru_maxrss begins with what the parent process had
        own = int(re.search(r"VmHWM:\s*(\d+) kB", status.read_text())[1])
    return unit * max(own, children)


def check_before_work(p: Parameters, names: tuple[str, ...] = tuple(NOTEBOOKS)) -> None:
    """Find what is missing or wrong now: before old results are removed, and not after an hour of reading photos."""
    from s2p_lib.engines import possible
    from s2p_lib.model import choose_device

    check_data_dir(p.dataset, p.data_dir)
    check_features(p)
    device = choose_device(p.device)
    if p.features == "photos":
        possible(p.engine, device, p.precision)
    carbon.grid_factor_kg_per_kwh(p.country)
    if "02_train" in names:
        _check_model_files(p)
    if p.data_dir is not None:
        draw_sample(datasets.read(p.dataset, ROOT / p.data_dir, p.fold, p.features).samples, p.max_photos)


def _check_model_files(p: Parameters) -> None:
    from s2p_lib.model import check_weights, holds_backbone, read_backbone_weights, read_checkpoint

    if p.init_checkpoint is not None and holds_backbone(ROOT / p.init_checkpoint):
        read_checkpoint(ROOT / p.init_checkpoint)
    else:
        backbone = p.backbone or default_backbone(p.dataset, p.features)
        check_weights(backbone, None if p.weights is None else ROOT / p.weights)
    if p.weights is not None:
        read_backbone_weights(ROOT / p.weights)


def check_features(p: Parameters) -> None:
    """Raise ValueError for parameters that published scene probabilities leave no room for: there is no backbone."""
    if p.features == "photos":
        if p.backbone == "published_scenes":
            raise ValueError("backbone='published_scenes' is no network; use -p features published_scenes")
        return
    if p.dataset in ("demo", "folder"):
        raise ValueError(
            f"features='published_scenes' needs dataset ipd, privacyalert, picalert or vispr, not {p.dataset!r}"
        )
    given = [name for name in OF_BACKBONE if getattr(p, name) != Parameters.model_fields[name].default]
    if given:
        raise ValueError(
            f"features='published_scenes' has no backbone: leave out {', '.join(given)}, or use features='photos'"
        )


def _remove_results(run_dir: Path, names: tuple[str, ...]) -> None:
    manifest = RunFolder(run_dir).manifest
    if not manifest:
        return  # not a run folder yet: nothing of ours to remove
    if manifest.get("made_by") != MADE_BY:
        raise ValueError(f"{run_dir} holds a manifest.json that this kit did not write; choose another folder.")
    for name in names:
        for file in (*NOTEBOOKS[name].writes, f"{name}.ipynb"):
            (run_dir / file).unlink(missing_ok=True)
    if names[0] == next(iter(NOTEBOOKS)):
        (run_dir / "manifest.json").unlink()


def _injected_names(cells: list[str]) -> list[str]:
    """Names set by the cell that papermill injects, which it heads with ``# Parameters``."""
    injected = [cell for cell in cells if cell.startswith("# Parameters\n")]
    if not injected:
        return []
    statements = ast.parse(injected[-1]).body
    return [target.id for s in statements if isinstance(s, ast.Assign) for target in s.targets]


def _unknown(name: str, known, where: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"parameter {name!r} is unknown to {where}.{hint} Allowed: {', '.join(known)}"


def _explain(error: Mapping) -> str:
    name = ".".join(str(part) for part in error["loc"][:1])
    if error["type"] == "extra_forbidden":
        return _unknown(name, list(Parameters.model_fields), "the kit")
    field = Parameters.model_fields[name]
    return f"parameter {name}={error['input']!r} is not allowed: {error['msg']} ({field.description})"
