"""What the card claims, one record each, and how this run judges it."""

import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
import torchvision

from s2p_lib import batchnorm, carbon
from s2p_lib.config import Settings
from s2p_lib.datasets import IPD_PUBLISHED
from s2p_lib.metrics import CARD_PERCENT, metrics_of_counts
from s2p_lib.model import BACKBONES, HEAD_PARAMETERS, RESNET50_S2P_PARAMETERS, S2P, SCENES, count_parameters
from s2p_lib.predict import DEMO_TOLERANCE
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import CLASSES, count_labels
from s2p_lib.scene_logits import scenes
from s2p_lib.training import INTERRUPTED

HOLDS, CONSISTENT, CONTRADICTED, NOT_TESTED = "holds", "consistent", "contradicted", "not tested"
COLUMNS = ["id", "claim", "published", "measured", "tolerance", "verdict", "why"]

CARD_CONFUSION = np.array([[1669, 635], [532, 4076]])  # rows labels, columns predictions: private, public

CARD_PHOTOS = {part: {label: IPD_PUBLISHED[part, label] for label in CLASSES} for part in ("all", "test")}

# The card's experiment, as parameters of the notebooks; the training settings of the card are the default ones.
CARD_PARAMETERS = {"init_checkpoint": None, "precision": "float32"}
CARD_BN_MODES = ("frozen", "released")  # what the card says, and what the code behind its figures does

# Two decimals are printed, so a figure stands for anything that rounds to it.
PRINTED = "0.005 (two printed decimals)"


@dataclass(frozen=True)
class Judged:
    """What was measured (text as it goes into claims.csv), the verdict, and the reason in a sentence."""

    measured: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Claim:
    """A claim of the card. ``judge`` takes the run's facts (see ``judge_claims``) and gives a ``Judged``."""

    id: str
    claim: str
    published: str
    tolerance: str
    judge: Callable[[dict], Judged]


def judge_claims(facts: dict) -> pd.DataFrame:
    """One row per claim, with a verdict each; columns as in claims.csv.

    ``facts``: metrics (content of metrics.json), epochs, stopped (how training ended), bn_mode, released_demo (verdicts
    of released_demo.csv, counted), deviations (see ``deviations_of``; figures of IPD are judged only without any).
    """
    rows = []
    for claim in CLAIMS:
        judged = claim.judge(facts)
        rows.append(
            (claim.id, claim.claim, claim.published, judged.measured, claim.tolerance, judged.verdict, judged.why)
        )
    return pd.DataFrame(rows, columns=COLUMNS)


def facts_of(run: RunFolder) -> dict:
    """What ``judge_claims`` needs, from a run folder that holds everything up to 05_carbon."""
    training = run.manifest["training"]
    return {
        "metrics": run.read_json("metrics.json"),
        "deviations": deviations_of(run),
        "bn_mode": run.parameter("bn_mode"),
        "stopped": training["stopped"],
        "epochs": training["epochs"],
        "released_demo": run.read_table("released_demo.csv")["verdict"].value_counts().to_dict(),
    }


def deviations_of(run: RunFolder) -> dict[str, str]:
    """In what a run differs from the card's experiment: name -> ``ours, not theirs``; empty if it may be compared."""
    counts = count_labels(run.read_table("predictions.csv"))
    found = {
        "dataset": run.parameter("dataset"),
        "labelled photos": _counts(counts.loc["all"].to_dict()),
        "test photos": _counts(counts.loc["test"].to_dict()),
        "backbone": run.backbone,
        "fold": run.fold,
    }
    if run.from_photos:
        standard = BACKBONES.get(run.backbone, BACKBONES["resnet50"]).image_size
        found["image_size"] = run.parameter("image_size") or standard
    card = {
        "dataset": "ipd",
        "labelled photos": _counts(CARD_PHOTOS["all"]),
        "test photos": _counts(CARD_PHOTOS["test"]),
        "backbone": "resnet50",
        "fold": 0,
        "image_size": 448,
    }
    found |= {name: run.parameter(name) for name in CARD_PARAMETERS} | run.manifest["training"]["settings"]
    expected = card | CARD_PARAMETERS | asdict(Settings())
    different = {
        name: f"{found[name]}, not {value}" for name, value in expected.items() if found.get(name, value) != value
    }
    training = run.manifest["training"]
    if training["stopped"].startswith(INTERRUPTED):
        different["training"] = f"{training['stopped']}, not to its end"
    if training["from_trained_backbone"]:
        different["weights"] = "the backbone of a trained S2P, whose BatchNorm statistics have changed, not Places365's"
    if run.parameter("bn_mode") not in CARD_BN_MODES:
        different["bn_mode"] = f"{run.parameter('bn_mode')}, not {' or '.join(CARD_BN_MODES)}"
    return different


def confusions_behind(percent: dict[str, float], n_private: int, n_public: int) -> list[np.ndarray]:
    """Every confusion matrix of these test sizes whose nine figures all print as ``percent`` (two decimals).

    Each recall fixes one row on its own, so trying every count per row and then every pair that is left is
    exhaustive.
    """

    def prints_as(value, name):
        return np.abs(100 * value - percent[name]) <= 0.005 + 1e-9

    private = np.arange(n_private + 1)
    public = np.arange(n_public + 1)
    private = private[prints_as(private / n_private, "private_recall")]
    public = public[prints_as(public / n_public, "public_recall")]
    matrices = [np.array([[a, n_private - a], [n_public - b, b]]) for a in private for b in public]
    return [
        matrix
        for matrix in matrices
        if all(prints_as(value, name) for name, value in metrics_of_counts(matrix).items())
    ]


def _parameters(which: str, expected: int, why: str) -> Callable[[dict], Judged]:
    def judge(facts: dict) -> Judged:
        with torch.device("meta"):  # shapes without memory
            model = S2P(torchvision.models.resnet50(weights=None, num_classes=len(SCENES)))
        model.backbone.requires_grad_(False)
        n = count_parameters(model)[which]
        return Judged(f"{n:,}", HOLDS if n == expected else CONTRADICTED, why)

    return judge


def _confusion(facts: dict) -> Judged:
    found = confusions_behind(CARD_PERCENT, *CARD_PHOTOS["test"].values())
    if len(found) != 1:
        return Judged(f"{len(found)} matrices", CONTRADICTED, "no single confusion matrix gives the printed figures")
    (a, b), (c, d) = found[0]
    why = (
        f"only this matrix gives all nine: private {a:,} right, {b:,} missed; public {d:,} right, {c:,} called private"
    )
    return Judged("1 matrix", HOLDS, why)


def _accuracy_formula(facts: dict) -> Judged:
    hits = np.trace(CARD_CONFUSION)
    wrong = CARD_CONFUSION.sum() - hits
    by_formula = round(100 * hits / (hits + 2 * wrong), 2)  # each wrong photo is one FP and one FN
    ordinary = 100 * hits / CARD_CONFUSION.sum()
    why = f"on the card's confusion matrix the written formula gives {hits:,} / {hits + 2 * wrong:,}; ordinary accuracy"
    verdict = HOLDS if by_formula == CARD_PERCENT["accuracy"] else CONTRADICTED
    return Judged(f"{by_formula:.2f}", verdict, f"{why} is {ordinary:.2f}")


def _carbon_value(facts: dict) -> Judged:
    card = (carbon.CARD_HOURS, carbon.CARD_GPU_WATTS, carbon.CARD_FACTOR_KG_PER_KWH)
    printed, (low, high) = carbon.calculator_co2eq_kg(*card), carbon.hours_behind_card()
    reachable = low < carbon.CARD_HOURS + 0.5 and high >= carbon.CARD_HOURS - 0.5
    verdict = HOLDS if printed == carbon.CARD_CO2EQ else CONSISTENT if reachable else CONTRADICTED
    why = (
        f"8 h x 250 W x 0.3072 kg/kWh = {carbon.co2eq_kg(*card):.4f} kg, which the cited calculator prints as "
        f"{printed:.2f}; it prints 0.62 from {low:.2f} to {high:.2f} h"
    )
    return Judged(f"{printed:.2f} kg", verdict, why)


def _carbon_unit(facts: dict) -> Judged:
    kg = carbon.co2eq_kg(carbon.CARD_HOURS, carbon.CARD_GPU_WATTS, carbon.CARD_FACTOR_KG_PER_KWH)
    nearer = "kg" if abs(kg - carbon.CARD_CO2EQ) < abs(1000 * kg - carbon.CARD_CO2EQ) else "g"
    why = f"the card prints no unit and its template says grams; its own inputs give {1000 * kg:.1f} g"
    return Judged(nearer, HOLDS if nearer == "g" else CONTRADICTED, why)


def _gpu(facts: dict) -> Judged:
    why = "the card names it once GTX 1090 Ti and once GTX 1080 Ti with 12 GB; no 1090 Ti exists, the 1080 Ti has 11 GB"
    return Judged("two names", CONTRADICTED, why)


def _unused_settings(facts: dict) -> Judged:
    users = (torch.optim.Adam, torch.optim.lr_scheduler.ReduceLROnPlateau)
    known = {name for user in users for name in inspect.signature(user).parameters}
    used = [name for name in ("momentum", "max_lr") if name in known]
    why = "listed on the card, but neither Adam nor the plateau scheduler has a setting of that name"
    return Judged(", ".join(used) or "unused", CONTRADICTED if not used else HOLDS, why)


def _frozen(facts: dict) -> Judged:
    """One training batch of random photos through a ResNet-50, as the released code runs it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = torchvision.models.resnet50(weights=None, num_classes=len(SCENES)).requires_grad_(False).eval()
        photos = torch.rand(4, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with batchnorm.BatchStatistics(backbone):
        scenes(backbone, photos, "cpu")
    changed = batchnorm.count_changes(before, backbone.state_dict())
    why = (
        "counted on a ResNet-50 after one training batch run as in the released code, which leaves BatchNorm in train "
        f"mode; {changed['other_tensors']} of the other tensors change. bn_mode=frozen does what the card says"
    )
    n = changed["batchnorm_buffers"]
    return Judged(f"{n} of {len(before)} tensors change", CONTRADICTED if n else HOLDS, why)


def _test_counts(facts: dict) -> Judged:
    ours = _counts(facts["metrics"]["photos"])
    if ours != _counts(CARD_PHOTOS["test"]):
        return Judged("", NOT_TESTED, f"needs the whole of IPD (tier 2 or 3); this run's test split has {ours}")
    return Judged(ours, HOLDS, "photos with that label in the run's test split")


def _epochs(facts: dict) -> Judged:
    if facts["deviations"]:
        return _not_the_cards_experiment(facts)
    n, by_itself = facts["epochs"], facts["stopped"].startswith("learning rate")
    verdict = HOLDS if n == 117 else CONSISTENT if by_itself else CONTRADICTED
    return Judged(str(n), verdict, f"training ended by: {facts['stopped']}; the number depends on the shuffling")


def _metric(name: str) -> Callable[[dict], Judged]:
    def judge(facts: dict) -> Judged:
        if facts["deviations"]:
            return _not_the_cards_experiment(facts)
        figure = facts["metrics"]["figures"][name]
        value, published = 100 * figure["value"], CARD_PERCENT[name]
        low, high = (100 * bound for bound in figure["interval_95"])
        why = f"bn_mode={facts['bn_mode']}; 95 % bootstrap interval of our test figure: {low:.2f} to {high:.2f}"
        inside = low <= published <= high
        verdict = HOLDS if abs(value - published) <= 0.005 else CONSISTENT if inside else CONTRADICTED
        return Judged(f"{value:.2f}", verdict, why)

    return judge


def _released_demo(facts: dict) -> Judged:
    n, n_wrong, n_not_run = (facts["released_demo"].get(name, 0) for name in ("holds", "contradicted", "not run"))
    measured = f"{n} of {n + n_wrong}" if n + n_wrong else ""
    if n_wrong:
        return Judged(measured, CONTRADICTED, f"{n_wrong} of the released demo's predictions come out otherwise")
    if n_not_run:
        lacks = f"{n_not_run} of nine not run: needs the released checkpoint and the photos (tier 1)"
        return Judged(measured, NOT_TESTED, f"{lacks}: s2p fetch checkpoints demo-photos")
    return Judged(measured, HOLDS, "the released checkpoint on the nine photos of its demo, joined by image name")


def _not_the_cards_experiment(facts: dict) -> Judged:
    return Judged("", NOT_TESTED, f"needs the card's experiment (tier 3); differs in: {', '.join(facts['deviations'])}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {label}" for label, n in counts.items())


_OPTIMISED = "365 x 2 weights + 2 biases; counted on the model, and asserted whenever one is built"
_TOTAL = (
    "23,508,032 (ResNet-50 without its last layer) + 747,885 (2048 -> 365) + 732, counted on the model. The number is "
    'right, but it counts all parameters; the card\'s word "trainable" fits only 732 of them'
)

CLAIMS = (
    Claim(
        "parameters-optimised",
        "Parameters optimised for privacy",
        "732",
        "exact",
        _parameters("optimised", HEAD_PARAMETERS, _OPTIMISED),
    ),
    Claim(
        "parameters-total",
        "Trainable parameters",
        "24,256,649",
        "exact",
        _parameters("total", RESNET50_S2P_PARAMETERS, _TOTAL),
    ),
    Claim("confusion", "The results table belongs to one confusion matrix", "nine figures", PRINTED, _confusion),
    Claim("accuracy-formula", "Accuracy = sum TP / sum (TP + FP + FN)", "83.12", PRINTED, _accuracy_formula),
    Claim("carbon-value", "Carbon emitted", "0.62", "'~8' hours: 7.5 to 8.5", _carbon_value),
    Claim("carbon-unit", "Unit of the carbon figure (template of the card)", "g", "exact", _carbon_unit),
    Claim("gpu", "Hardware", "GTX 1090 Ti / GTX 1080 Ti, 12 GB", "exact", _gpu),
    Claim("unused-settings", "Momentum and maximum learning rate are settings", "0.9, 0.1", "exact", _unused_settings),
    Claim("test-counts", "Test photos", _counts(CARD_PHOTOS["test"]), "exact", _test_counts),
    Claim("frozen-backbone", "The CNN is kept fixed", "fixed", "bit for bit", _frozen),
    Claim(
        "released-demo",
        "The released model gives the nine released demo predictions",
        "9 of 9",
        f"{DEMO_TOLERANCE:g} (float32 sums on another processor)",
        _released_demo,
    ),
    Claim("epochs", "Epochs before training stopped", "117", "none: depends on the shuffling", _epochs),
    *(
        Claim(
            f"test-{name}",
            f"Test {name.replace('_', ' ').replace('f1', 'F1')}, %",
            f"{value:.2f}",
            PRINTED,
            _metric(name),
        )
        for name, value in CARD_PERCENT.items()
    ),
)


@dataclass(frozen=True)
class OpenQuestion:
    """A detail that card and code leave open or tell differently, the assumption taken, and its place in our code."""

    question: str
    assumption: str
    place: str


OPEN_QUESTIONS = (
    OpenQuestion(
        "Is the backbone frozen? The card says so; the released code leaves BatchNorm in train mode, so its running "
        "statistics are re-estimated in every epoch (the 732 parameters are the only others that change). After one "
        "epoch on IPD, about 185 batches, those of Places365 weigh 0.9^185, less than one in a hundred million.",
        "Both: bn_mode=frozen (the default) does what the card says, bn_mode=released what the code does. The "
        "published 80.45 balanced accuracy belongs to the released code, so to re-estimated statistics: compare it "
        "with a run in released mode, and expect another figure from a frozen one. bn_mode=adapted tells how much of "
        "the difference the statistics of the photos alone explain. The scene logits of a released checkpoint are "
        "those of the changed statistics, not of Places365.",
        "protocols.py, batchnorm.py",
    ),
    OpenQuestion(
        "Which measure stops training? The card names balanced accuracy.",
        "As released: the plateau scheduler follows the validation loss and training ends when the learning rate falls "
        "below 1e-5; balanced accuracy only picks the kept epoch, the later one of equals.",
        "training.py: fit, Course",
    ),
    OpenQuestion(
        "Where does the split come from? The card says stratified K-fold with K = 3, but the test part is 20.0 % of "
        "all photos and exactly one third private, which no fold of K = 3 gives; an earlier, separate split made it.",
        "The published fold columns are used as they are. The demo dataset has a stratified test part of 20 %, then "
        "K = 3 folds.",
        "datasets.py: read; samples.py: stratified_splits",
    ),
    OpenQuestion(
        "Which random numbers drew the head's first weights and the order of the batches? Seed 789 is given, but not "
        "what else had used the generator before.",
        "The head and each of the two batch orders have a generator of their own with seed 789.",
        "model.py: S2P, training.py: fit",
    ),
    OpenQuestion(
        "How is the final split trained, which has no validation? The released trainer of that mode calls an epoch "
        "function that it does not define.",
        "As its other lines say: the plateau scheduler follows the balanced accuracy on train, the last epoch is kept.",
        "training.py: fit, Course",
    ),
    OpenQuestion(
        "What does the class-weighted loss do together with BCE? The released code cannot run the two: its validation "
        "uses a name that it does not define.",
        "As with two logits: a photo weighs 1 - n_c / N of its class c, and the loss is divided by the weights' sum.",
        "training.py: fit",
    ),
    OpenQuestion(
        "How are photos with an EXIF orientation shown to the network?",
        "As released: the orientation is ignored.",
        "photos.py: open_photo",
    ),
    OpenQuestion(
        "How is a photo resized to 448 x 448?",
        "As released: squashed to the square with Pillow's bilinear filter, no crop.",
        "model.py: photo_transform",
    ),
)

PUBLISHED_SCENES_QUESTIONS = (
    OpenQuestion(
        "At which image size (224 or 448), and with which BatchNorm statistics, were the published scene probabilities "
        "made? Neither is told.",
        "They are taken as they are. Training and test see logits of the same making, so the answer can move the "
        "figures but not set the two apart. They are frozen by nature: bn_mode has no meaning.",
        "published_scenes.py",
    ),
    OpenQuestion(
        "How exact are the published scene probabilities? They are sigmoids printed with six decimals.",
        "The logit ln(p / (1 - p)) is off by at most 5e-7 / (p (1 - p)); 0.000000 and 1.000000 are taken as 5e-7 and "
        "1 - 5e-7, and counted in 02_train.",
        "published_scenes.py: to_logits, count_clipped",
    ),
)


def questions_of(run: RunFolder) -> tuple[OpenQuestion, ...]:
    """The open questions that bear on a run."""
    return OPEN_QUESTIONS if run.from_photos else (*PUBLISHED_SCENES_QUESTIONS, *OPEN_QUESTIONS)
