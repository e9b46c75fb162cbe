"""A trained S2P on single photos, and on the nine photos whose released predictions are known."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from s2p_lib import engines
from s2p_lib.decoding import DecoderStartError, DecodingProcess
from s2p_lib.metrics import CARD_PERCENT
from s2p_lib.model import (
    NO_BACKBONE,
    S2P,
    SCENES,
    image_size_of,
    in_two_steps,
    load_checkpoint,
    log_odds_of_private,
)
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import CLASSES, EXTENSIONS, PUBLIC_IS_0, bare_name, printable
from s2p_lib.scene_logits import BATCH_SIZE
from s2p_lib.training import predict

WARNING = (
    "Do not rely on these predictions. The model card recommends not to use the model as it is: it looks at the scene "
    f"alone, is wrong for {100 - CARD_PERCENT['accuracy']:.0f} % of the photos of its own test split, and can mislead."
)
N_SCENES = 5

# Printed by the released demo, with S2P trained on PrivacyAlert: probability of the predicted class, and that class.
RELEASED_DEMO = {
    "35886895852": (0.5692839, "private"),
    "43830339314": (0.5559994, "private"),
    "47705667841": (0.7970571, "private"),
    "49196229738": (0.746452, "private"),
    "49834471323": (0.82996505, "private"),
    "50039888078": (0.98218954, "public"),
    "50252178257": (0.740997, "public"),
    "50583669162": (0.982347, "public"),
    "50789435118": (0.9788375, "public"),
}
DEMO_TOLERANCE = 1e-4  # float32 sums in another order, over 50 layers, on another processor
DEMO_CHECKPOINT = "trained_models/privacyalert/2-class/s2p/best_acc_s2p-original.pth"  # as s2p fetch unpacks it
DEMO_PHOTOS = "demo_photos"
DEMO_COLUMNS = ["image", "published", "published_p", "prediction", "p", "difference", "verdict"]


def find_photos(given: Iterable[Path]) -> list[Path]:
    """Files as they were given, and all photos below the folders among them; FileNotFoundError if there is none."""
    found = []
    for path in given:
        below = sorted(p for p in path.rglob("*") if p.suffix.lower() in EXTENSIONS) if path.is_dir() else [path]
        found += below
    if not found:
        raise FileNotFoundError(f"no photo found; expected files, or folders with {', '.join(EXTENSIONS)} in them")
    return found


def model_of_run(run: RunFolder, weights: Path | None = None) -> tuple[S2P, object]:
    """The trained model of a finished run and its transform.

    A run on published scene probabilities has a head alone; ``weights`` gives it a ResNet-50 to look at photos with.
    Raises FileNotFoundError for a folder without a trained model, ValueError for a head without ``weights``.
    """
    checkpoint = run.path("checkpoint.pth")
    if not checkpoint.is_file() or "parameters" not in run.manifest:
        raise FileNotFoundError(f"{run.dir} holds no trained model of a run; make one: s2p run --out {run.dir}")
    if run.backbone == NO_BACKBONE and weights is None:
        raise ValueError(
            f"the model of {run.dir} was trained on published scene probabilities and cannot see photos. Give it a "
            "ResNet-50: --weights resnet50_places365.pth.tar. The image size behind those probabilities is not known, "
            "so its predictions are a guess"
        )
    backbone = "resnet50" if run.backbone == NO_BACKBONE else run.backbone
    return load_checkpoint(checkpoint, backbone, run.parameter("image_size"), weights)


def predict_photos(paths: Sequence[Path], model: S2P, transform, device: str = "cpu") -> pd.DataFrame:
    """One row per photo: image, path, p_private, prediction, problem, then scene_1, scene_1_p, scene_1_log_odds, ...

    The five scenes are those with the highest logits, with the sigmoid of the logit and the part that they have in the
    log-odds of private (logit times weight difference, positive towards private). A photo that cannot be read has a
    problem and no prediction; it does not stop the others. DecoderStartError as ``scene_logits_of``.
    """
    weight, _ = log_odds_of_private(model.scene_to_privacy_layer)
    rows = []
    for path, logits, problem in scene_logits_of(paths, model, transform, device):
        row = {
            "image": printable(bare_name(path.name)),
            "path": printable(str(path)),
            "p_private": None,
            "prediction": None,
        }
        row["problem"] = problem
        if problem is None:
            row["p_private"] = float(predict(model.scene_to_privacy_layer, logits[None])[0])
            row["prediction"] = CLASSES[0] if row["p_private"] >= 0.5 else CLASSES[1]
            for rank, scene in enumerate(np.argsort(-logits, kind="stable")[:N_SCENES], start=1):
                row[f"scene_{rank}"] = SCENES[scene]
                row[f"scene_{rank}_p"] = float(1 / (1 + np.exp(-np.float64(logits[scene]))))
                row[f"scene_{rank}_log_odds"] = float(weight[scene]) * float(logits[scene])
        rows.append(row)
    return pd.DataFrame(rows)


def scene_logits_of(
    paths: Sequence[Path], model: S2P, transform, device: str = "cpu"
) -> Iterator[tuple[Path, np.ndarray | None, str | None]]:
    """(path, scene logits [365] float32, None) for each photo, or (path, None, problem). Nothing is kept on disk.

    Nobody has checked these photos before: they are decoded in a process of their own, which one of them may kill.
    DecoderStartError if it cannot start. The engine is the one that is done with so many photos first.
    """
    size = image_size_of(transform)
    engine = engines.choose("auto", device, "float32", model.backbone, size, len(paths))
    run = engines.prepare(engine, model.backbone, size, device, "float32")
    resize, to_tensor = in_two_steps(transform)
    with DecodingProcess(resize) as decoder:
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            found = [decoder.decode_file(path) for path in batch]
            photos = [to_tensor(pixels) for pixels in found if not isinstance(pixels, str)]
            logits = iter(next(run([torch.stack(photos)])).numpy() if photos else ())
            for path, of_path in zip(batch, found):
                yield (path, None, of_path) if isinstance(of_path, str) else (path, next(logits), None)


def describe(table: pd.DataFrame) -> str:
    """``predict_photos``'s table as text for a terminal, with the card's warning."""
    lines = []
    for row in table.to_dict("records"):
        if pd.notna(row["problem"]):  # beside a text, pandas makes NaN of None
            lines.append(f"{row['image']}: not predicted, {row['problem']}")
            continue
        lines.append(f"{row['image']}: {row['prediction']}, p_private {row['p_private']:.4f}")
        lines += [
            f"    {row[f'scene_{k}']} {row[f'scene_{k}_p']:.2f}, log-odds of private {row[f'scene_{k}_log_odds']:+.2f}"
            for k in range(1, N_SCENES + 1)
        ]
    return "\n".join([*lines, "", WARNING])


def check_released_demo(data_dir: str | Path, device: str = "cpu") -> tuple[pd.DataFrame, str]:
    """The nine released demo predictions beside ours, and a sentence on how the check went.

    Columns ``DEMO_COLUMNS``; ``p`` is the probability of the predicted class. A row's verdict is ``holds``,
    ``contradicted`` or ``not run``. Needs ``DEMO_CHECKPOINT`` and ``DEMO_PHOTOS`` below ``data_dir``.
    """
    rows = pd.DataFrame([(i, name, p) for i, (p, name) in RELEASED_DEMO.items()], columns=DEMO_COLUMNS[:3])
    not_run = rows.assign(prediction=None, p=np.nan, difference=np.nan, verdict="not run")[DEMO_COLUMNS]
    checkpoint, folder = Path(data_dir) / DEMO_CHECKPOINT, Path(data_dir) / DEMO_PHOTOS
    there = {bare_name(path.name): path for path in sorted(folder.glob("*")) if path.suffix.lower() in EXTENSIONS}
    paths = [there[image] for image in rows["image"] if image in there]
    if not checkpoint.is_file() or not paths:
        lacks = "the released checkpoint" if not checkpoint.is_file() else "the photos"
        return not_run, f"not run: {lacks} not found below {data_dir}. Get them with: s2p fetch checkpoints demo-photos"
    try:
        model, transform = load_checkpoint(checkpoint, "resnet50", codes=PUBLIC_IS_0)
        ours = predict_photos(paths, model, transform, device).set_index("image")
    except (ValueError, DecoderStartError) as error:  # an optional check must not end a run
        return not_run, f"not run: {error}"
    ours["p"] = np.maximum(ours["p_private"].astype(float), 1 - ours["p_private"].astype(float))
    table = rows.join(ours[["prediction", "p"]], on="image")
    table["difference"] = (table["p"] - table["published_p"]).abs()
    fits = (table["prediction"] == table["published"]) & (table["difference"] <= DEMO_TOLERANCE)
    table["verdict"] = np.where(table["p"].isna(), "not run", np.where(fits, "holds", "contradicted"))
    n, n_run = int(fits.sum()), int(table["p"].notna().sum())
    return table[DEMO_COLUMNS], f"{n} of {n_run} predictions agree to {DEMO_TOLERANCE:g}; {len(table) - n_run} not run"
