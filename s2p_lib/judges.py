"""How each kind of claim of the card is judged: by arithmetic alone, or by what a run measured.

A judge is a function from ``Facts`` to ``Judged``. It gives ``not tested`` where the run lacks what it would take.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, wraps

import numpy as np
import pandas as pd
import torch
import torchvision

from s2p_lib import batchnorm, carbon
from s2p_lib.baselines import MLP_WIDTHS, PUBLISHED, PUBLISHED_NAMES
from s2p_lib.config import Settings
from s2p_lib.datasets import IPD_PUBLISHED
from s2p_lib.engines import scenes
from s2p_lib.metrics import CARD_CONFUSION, CARD_PERCENT, bootstrap_intervals, metrics_of_counts
from s2p_lib.model import S2P, SCENES, count_parameters
from s2p_lib.predict import RELEASED_DEMO
from s2p_lib.samples import CLASSES
from s2p_lib.slices import CONTRADICTED, DIFFERENCE, HOLDS

CONSISTENT, NOT_TESTED = "consistent", "not tested"
VERDICTS = (HOLDS, CONSISTENT, CONTRADICTED, NOT_TESTED)

CARD_PHOTOS = {part: {label: IPD_PUBLISHED[part, label] for label in CLASSES} for part in ("all", "test")}
CARD_FOLDS, CARD_EPOCHS, CARD_CHECKPOINT_MB, CARD_PRIVATE_PERCENT = 3, 117, 97, 33
CARD_GPUS = {"environmental impact": "GTX 1090 Ti", "hardware": "GTX 1080 Ti"}  # section of the card -> name
CARD_GPU_MEMORY_GB = 12
# Memory in GB of every desktop card of the series, by the maker's specifications.
GTX_10_SERIES = {"GTX 1050": 2, "GTX 1050 Ti": 4, "GTX 1060": 6, "GTX 1070": 8, "GTX 1070 Ti": 8, "GTX 1080": 8}
GTX_10_SERIES |= {"GTX 1080 Ti": 11}

SVMS, MLPS = tuple(PUBLISHED_NAMES), tuple(MLP_WIDTHS)  # every version, by its name in baselines.csv

# Six epochs of the released trainer (Adam, lr 0.001, factor 0.5, patience 2; the backbone kept in eval mode) on a small
# made dataset with a random ResNet-50. Recorded by running it; the photos do not matter, only what the rate follows.
RECORDED = pd.DataFrame(
    {
        "val_loss": (4.16748762, 2.81190348, 1.46459031, 0.926202953, 2.48971295, 2.27232838),
        "val_balanced_accuracy": (0.5, 0.5, 0.5, 0.0714285714, 0.5, 0.5),
        "lr": (0.001,) * 6,
    }
)
RECORDED_SETTINGS = Settings(patience=2)

PRINTED = 0.005 + 1e-9  # two decimals are printed, so a figure stands for anything that rounds to it


@dataclass(frozen=True)
class Judged:
    """What was measured (text as it goes into claims.csv), the verdict, and the reason in a sentence."""

    measured: str
    verdict: str
    why: str


@dataclass(frozen=True)
class Facts:
    """What a run knows that bears on claims; each table is the file of that name in the run's folder.

    ``deviations`` (see ``claims.deviations_of``) says in what the run differs from the paper's experiment on its
    dataset. ``released_demo`` counts the verdicts of released_demo.csv.
    """

    dataset: str
    features: str
    bn_mode: str
    settings: Settings
    deviations: dict[str, str]
    epochs: int
    stopped: str
    metrics: dict
    released_demo: dict[str, int]
    spread: pd.DataFrame
    folds: pd.DataFrame
    baselines: pd.DataFrame
    comparisons: pd.DataFrame
    slices: pd.DataFrame

    @property
    def only_scenes_differ(self) -> bool:
        """Whether published scene probabilities, of unknown making, are all that sets the run apart."""
        return self.features == "published_scenes" and set(self.deviations) == {"backbone"}

    def is_experiment_on(self, dataset: str) -> bool:
        """Whether the run is the paper's experiment on this dataset, scene logits of unknown making included."""
        return self.dataset == dataset and (not self.deviations or self.only_scenes_differ)

    def test_private_and_public(self) -> tuple[int, int]:
        photos = self.metrics["photos"]
        return photos["private"], photos["public"]


Judge = Callable[[Facts], Judged]


# ---- decided by arithmetic, or on a network without data (tier 0)


def parameters(which: str, expected: int, why: str) -> Judge:
    """Counted on a ResNet-50 S2P as the card describes it; ``which`` is a key of ``model.count_parameters``."""

    def judge(_: Facts) -> Judged:
        with torch.device("meta"):  # shapes without memory
            model = S2P(torchvision.models.resnet50(weights=None, num_classes=len(SCENES)))
        model.backbone.requires_grad_(False)
        n = count_parameters(model)[which]
        return Judged(f"{n:,}", HOLDS if n == expected else CONTRADICTED, why)

    return judge


def checkpoint_size(expected_parameters: int) -> Judge:
    def judge(_: Facts) -> Judged:
        megabytes = 4 * expected_parameters / 1e6
        verdict = HOLDS if abs(megabytes - CARD_CHECKPOINT_MB) <= 0.5 else CONTRADICTED
        return Judged(f"{megabytes:.1f} MB", verdict, f"{expected_parameters:,} parameters x 4 bytes; names add little")

    return judge


def confusion(_: Facts) -> Judged:
    found = confusions_behind(CARD_PERCENT, *CARD_PHOTOS["test"].values())
    if len(found) != 1:
        return Judged(f"{len(found)} matrices", CONTRADICTED, "no single confusion matrix gives the printed figures")
    (a, b), (c, d) = found[0]
    why = (
        f"only this matrix gives all nine: private {a:,} right, {b:,} missed; public {d:,} right, {c:,} called private"
    )
    return Judged("1 matrix", HOLDS, why)


def confusions_behind(percent: dict[str, float], n_private: int, n_public: int) -> list[np.ndarray]:
    """Every confusion matrix of these test sizes whose nine figures all print as ``percent`` (two decimals).

    Each recall fixes one row on its own, so trying every count per row and then every pair that is left is
    exhaustive.
    """

    def prints_as(value, name):
        return np.abs(100 * value - percent[name]) <= PRINTED

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


def accuracy_formula(_: Facts) -> Judged:
    hits = np.trace(CARD_CONFUSION)
    wrong = CARD_CONFUSION.sum() - hits
    by_formula = round(100 * hits / (hits + 2 * wrong), 2)  # each wrong photo is one FP and one FN
    ordinary = 100 * hits / CARD_CONFUSION.sum()
    why = (
        f"on the card's confusion matrix the written formula gives {hits:,} / ({hits:,} + {wrong:,} + {wrong:,}); "
        f"ordinary accuracy, {hits:,} / {CARD_CONFUSION.sum():,}, is {ordinary:.2f}"
    )
    return Judged(f"{by_formula:.2f}", HOLDS if by_formula == CARD_PERCENT["accuracy"] else CONTRADICTED, why)


def private_share(_: Facts) -> Judged:
    n = CARD_PHOTOS["all"]
    share = 100 * n["private"] / sum(n.values())
    off = abs(share - CARD_PRIVATE_PERCENT)
    verdict = HOLDS if off <= 0.5 else CONSISTENT if off <= 1 else CONTRADICTED
    test = CARD_PHOTOS["test"]
    in_test = 100 * test["private"] / sum(test.values())
    why = f"{n['private']:,} of {sum(n.values()):,} labelled photos; in the test part alone {in_test:.2f} %"
    return Judged(f"{share:.2f} %", verdict, why)


def split_by_kfold(_: Facts) -> Judged:
    """Whether any stratified fold of K = 3 can be the test part that the card counts."""
    n_all, n_test = (sum(CARD_PHOTOS[part].values()) for part in ("all", "test"))
    sizes = (n_all // CARD_FOLDS, -(-n_all // CARD_FOLDS))
    expected = n_test * CARD_PHOTOS["all"]["private"] / n_all
    why = (
        f"a fold of K = {CARD_FOLDS} has {sizes[0]:,} or {sizes[1]:,} of {n_all:,} photos, the test part {n_test:,}; "
        f"stratified, it would hold about {expected:,.0f} private photos, not {CARD_PHOTOS['test']['private']:,}. An "
        f"earlier, separate split made it; the K = {CARD_FOLDS} folds divide the rest"
    )
    return Judged(f"{100 * n_test / n_all:.1f} % of all", HOLDS if n_test in sizes else CONTRADICTED, why)


def stopping(_: Facts) -> Judged:
    """Whether the plateau rule can end a training at the card's number of epochs."""
    card = Settings()
    reductions, lr = 0, card.lr
    while lr >= card.min_lr:
        lr, reductions = lr * card.factor, reductions + 1
    first = 1 + reductions * (card.patience + 1)
    possible = first <= CARD_EPOCHS < card.max_epochs and card.max_hours > carbon.CARD_HOURS
    why = (
        f"{reductions} halvings bring {card.lr:g} below {card.min_lr:g}, each after {card.patience + 1} epochs without "
        f"a better loss at the earliest, so training can end from epoch {first} on; about {carbon.CARD_HOURS:g} h are "
        f"below the limit of {card.max_hours:g} h. That it ended at {CARD_EPOCHS} cannot be told from this"
    )
    return Judged(f"from epoch {first} on", CONSISTENT if possible else CONTRADICTED, why)


def carbon_value(_: Facts) -> Judged:
    card = (carbon.CARD_HOURS, carbon.CARD_GPU_WATTS, carbon.CARD_FACTOR_KG_PER_KWH)
    printed, (low, high) = carbon.calculator_co2eq_kg(*card), carbon.hours_behind_card()
    reachable = low < carbon.CARD_HOURS + 0.5 and high >= carbon.CARD_HOURS - 0.5
    verdict = HOLDS if printed == carbon.CARD_CO2EQ else CONSISTENT if reachable else CONTRADICTED
    why = (
        f"{card[0]:g} h x {card[1]:g} W x {card[2]:g} kg/kWh = {carbon.co2eq_kg(*card):.4f} kg, which the cited "
        f"calculator prints as {printed:.2f}; it prints {carbon.CARD_CO2EQ:.2f} from {low:.2f} to {high:.2f} h"
    )
    return Judged(f"{printed:.2f} kg", verdict, why)


def carbon_unit(_: Facts) -> Judged:
    kg = carbon.co2eq_kg(carbon.CARD_HOURS, carbon.CARD_GPU_WATTS, carbon.CARD_FACTOR_KG_PER_KWH)
    nearer = "kg" if abs(kg - carbon.CARD_CO2EQ) < abs(1000 * kg - carbon.CARD_CO2EQ) else "g"
    why = f"the card prints no unit and its template says grams; its own inputs give {1000 * kg:.1f} g"
    return Judged(nearer, HOLDS if nearer == "g" else CONTRADICTED, why)


def gpu_name(_: Facts) -> Judged:
    unknown = [name for name in CARD_GPUS.values() if name not in GTX_10_SERIES]
    one = len(set(CARD_GPUS.values())) == 1 and not unknown
    named = ", ".join(f"{name} under {section}" for section, name in CARD_GPUS.items())
    why = f"the card names {named}; " + (f"no {', '.join(unknown)} was ever made" if unknown else "all of them exist")
    return Judged(f"{len(set(CARD_GPUS.values()))} name(s)", HOLDS if one else CONTRADICTED, why)


def gpu_memory(_: Facts) -> Judged:
    name = CARD_GPUS["hardware"]
    made = GTX_10_SERIES[name]
    why = f"the {name} was sold with {made} GB, by its maker's specifications"
    return Judged(f"{made} GB", HOLDS if made == CARD_GPU_MEMORY_GB else CONTRADICTED, why)


def unused_settings(_: Facts) -> Judged:
    users = (torch.optim.Adam, torch.optim.lr_scheduler.ReduceLROnPlateau)
    known = {name for user in users for name in inspect.signature(user).parameters}
    used = [name for name in ("momentum", "max_lr") if name in known]
    why = "listed on the card, but neither Adam nor the plateau scheduler has a setting of that name"
    return Judged(", ".join(used) or "unused", CONTRADICTED if not used else HOLDS, why)


def monitored_measure(_: Facts) -> Judged:
    """Which measure explains the recorded learning rates: a plateau scheduler that follows it gives the same."""
    followed = {
        "validation loss": learning_rates(RECORDED["val_loss"], "min", RECORDED_SETTINGS),
        "balanced accuracy": learning_rates(RECORDED["val_balanced_accuracy"], "max", RECORDED_SETTINGS),
    }
    explains = [name for name, rates in followed.items() if np.allclose(rates, RECORDED["lr"], rtol=1e-9, atol=0)]
    if len(explains) != 1:
        return Judged(" or ".join(explains), NOT_TESTED, "the recorded epochs do not tell the two measures apart")
    others = ", ".join(
        f"{name}: {rates[-1]:g} in the last epoch" for name, rates in followed.items() if name != explains[0]
    )
    why = (
        f"{len(RECORDED)} epochs recorded from the released trainer (training_pipelines.py:254-318) keep the rate "
        f"{RECORDED['lr'].iloc[-1]:g}, as a plateau scheduler does that follows the {explains[0]}; with another it "
        f"would have been halved ({others}). Training ends when the rate is below its minimum, and balanced accuracy "
        "only picks the kept epoch"
    )
    return Judged(explains[0], HOLDS if explains[0] == "balanced accuracy" else CONTRADICTED, why)


def learning_rates(values: pd.Series, mode: str, settings: Settings) -> np.ndarray:
    """The learning rate of each epoch under a plateau scheduler that follows these values."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=settings.lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, settings.factor, settings.patience)
    optimizer.step()  # without a gradient it does nothing; the scheduler warns if it never came
    rates = []
    for value in values:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(value)
    return np.array(rates)


def frozen(_: Facts) -> Judged:
    changed, n_tensors = changes_by_released_training()
    why = (
        "counted on a ResNet-50 after one training batch run as in the released code, which leaves BatchNorm in train "
        f"mode; {changed['other_tensors']} of the other tensors change. bn_mode=frozen does what the card says"
    )
    n = changed["batchnorm_buffers"]
    return Judged(f"{n} of {n_tensors} tensors change", CONTRADICTED if n else HOLDS, why)


@cache
def changes_by_released_training() -> tuple[dict[str, int], int]:
    """What one training batch of random photos changes in a ResNet-50 run as in the released code; of how many."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = torchvision.models.resnet50(weights=None, num_classes=len(SCENES)).requires_grad_(False).eval()
        photos = torch.rand(4, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with batchnorm.BatchStatistics(backbone):
        scenes(backbone, photos, "cpu")
    return batchnorm.count_changes(before, backbone.state_dict()), len(before)


def best_on_ipd(_: Facts) -> Judged:
    """Whether another model of the paper, printed for the same test photos, has the higher balanced accuracy."""
    svm, card = published_percent("ipd", SVMS[0], "balanced_accuracy"), CARD_PERCENT["balanced_accuracy"]
    low, high = (100 * bound for bound in bootstrap_intervals(CARD_CONFUSION)["balanced_accuracy"])
    verdict = CONTRADICTED if svm > high else CONSISTENT if svm > card else HOLDS
    why = (
        f"published for ResNet-50 + SVM on the same test photos: balanced accuracy {svm:.2f}, for S2P {card:.2f}, "
        f"whose 95 % interval from the card's confusion matrix is {low:.2f} to {high:.2f}"
    )
    return Judged(f"{svm - card:+.2f} points for the SVM", verdict, why)


# ---- measured by the run


def of_experiment(dataset: str) -> Callable[[Judge], Judge]:
    """The judge decides only on a run that is the paper's experiment on ``dataset``; else it is ``not tested``.

    Published scene probabilities, whose making is not told, can support a claim but not refute it.
    """

    def restrict(judge: Judge) -> Judge:
        @wraps(judge)
        def restricted(facts: Facts) -> Judged:
            if not facts.is_experiment_on(dataset):
                return not_the_experiment(facts, dataset)
            return supported(facts, judge(facts))

        return restricted

    return restrict


def photos_of_test(facts: Facts) -> Judged:
    ours, n_card = words_of_counts(facts.metrics["photos"]), sum(CARD_PHOTOS["test"].values())
    if facts.dataset == "ipd" and len(facts.folds) and facts.folds["test"].iloc[0] != n_card:
        n = f"{facts.folds['test'].iloc[0]:,}"
        return Judged(n, CONTRADICTED, f"the label file has {n} test photos, the card {n_card:,}")
    if facts.dataset != "ipd" or ours != words_of_counts(CARD_PHOTOS["test"]):
        why = f"needs the whole of IPD (tier 2 or 3); this run's test split ({facts.dataset}) has {ours}"
        return Judged("", NOT_TESTED, why)
    return Judged(ours, HOLDS, "photos with that label in the run's test split")


def folds(facts: Facts) -> Judged:
    """Whether the published fold columns are a stratified K-fold of everything but the test part."""
    if facts.dataset != "ipd" or facts.folds.empty:
        return Judged("", NOT_TESTED, "needs the label file of IPD (tier 2): s2p fetch labels")
    table = facts.folds
    sizes, shares = table["val"], table["private_percent_val"]
    n = int(table["train"].iloc[0] + sizes.iloc[0])
    is_kfold = len(table) == CARD_FOLDS and sizes.sum() == n and not table["val_seen_before"].any()
    one_photo = 100 / sizes.min()
    is_stratified = shares.max() - shares.min() <= one_photo and table["same_test"].all()
    why = (
        f"{len(table)} fold columns; val parts of {', '.join(f'{s:,}' for s in sizes)} photos, "
        f"{'none' if not table['val_seen_before'].any() else 'some'} in two of them; private in val: "
        f"{shares.min():.2f} to {shares.max():.2f} %; "
        f"{'all have the same test photos' if table['same_test'].all() else 'their test photos differ'}"
    )
    return Judged(f"{len(table)} folds of {n:,} photos", HOLDS if is_kfold and is_stratified else CONTRADICTED, why)


@of_experiment("ipd")
def epochs(facts: Facts) -> Judged:
    n, by_itself = facts.epochs, facts.stopped.startswith("learning rate")
    seeds = facts.spread["epochs"]
    verdict = HOLDS if n == CARD_EPOCHS else CONSISTENT if by_itself else CONTRADICTED
    why = f"training ended by: {facts.stopped}; over {len(seeds)} seeds it took {seeds.min()} to {seeds.max()} epochs"
    return Judged(str(n), verdict, why)


def printed_figure(name: str) -> Judge:
    """One of the card's nine figures, on the whole of IPD's test photos."""

    @of_experiment("ipd")
    def judge(facts: Facts) -> Judged:
        figure, published = facts.metrics["figures"][name], CARD_PERCENT[name]
        value, low, high = (100 * v for v in (figure["value"], *figure["interval_95"]))
        seeds = 100 * facts.spread[f"test_{name}"]
        inside = low <= published <= high or seeds.min() <= published <= seeds.max()
        why = (
            f"bn_mode={facts.bn_mode}; 95 % bootstrap interval of our test figure: {low:.2f} to {high:.2f}; over "
            f"{len(seeds)} seeds: {seeds.min():.2f} to {seeds.max():.2f}"
        )
        verdict = against(published, value, inside)
        if verdict == HOLDS and facts.only_scenes_differ:
            verdict = CONSISTENT  # two figures of differently made logits may agree by chance
        if verdict == CONTRADICTED and not facts.only_scenes_differ and facts.bn_mode == "frozen":
            why += ". The published figure belongs to re-estimated BatchNorm statistics: compare bn_mode=released"
        return Judged(f"{value:.2f}", verdict, why)

    return judge


def baseline_figure(dataset: str, models: tuple[str, ...], name: str) -> Judge:
    """A published figure of another model of the paper, which this run has in these versions."""

    @of_experiment(dataset)
    @of_versions(models)
    def judge(facts: Facts, model: str) -> Judged:
        row = row_of(facts.baselines, model)
        published, value = published_percent(dataset, models[0], name), 100 * row[name]
        n_private, n_public = facts.test_private_and_public()
        hits = round(row["private_recall"] * n_private), round(row["public_recall"] * n_public)
        counts = np.array([[hits[0], n_private - hits[0]], [n_public - hits[1], hits[1]]])
        low, high = (100 * bound for bound in bootstrap_intervals(counts)[name])
        verdict = against(published, value, low <= published <= high)
        why = f"{row['chosen']}; 95 % bootstrap interval of our test figure: {low:.2f} to {high:.2f}"
        return Judged(f"{value:.2f}", verdict, why)

    return judge


def better_than_s2p(dataset: str, models: tuple[str, ...], name: str, published: float | None = None) -> Judge:
    """Whether a model does better than S2P on the same test photos; ``published`` is by how many points."""

    @of_experiment(dataset)
    @of_versions(models)
    def judge(facts: Facts, model: str) -> Judged:
        row = row_of(facts.comparisons, model)
        value, low, high = (100 * row[f"{name}_{part}"] for part in ("difference", "low", "high"))
        verdict = HOLDS if low > 0 else CONSISTENT if high > 0 else CONTRADICTED
        why = (
            f"95 % interval of the difference on the same {row['n']:,} photos: {low:+.2f} to {high:+.2f} points "
            f"(paired bootstrap); only {model} right: {row['only_model_right']:,}, only S2P: "
            f"{row['only_s2p_right']:,}, McNemar's exact p {row['mcnemar_p']:.2g}"
        )
        if verdict == CONSISTENT:
            why += "; it holds both signs, so these photos do not decide"
        if published is not None:
            why += f"; published: {published:+.2f}"
        return Judged(f"{value:+.2f} points", verdict, why)

    return judge


def of_versions(models: tuple[str, ...]) -> Callable[[Callable[[Facts, str], Judged]], Judge]:
    """The best verdict of these versions of a model: the published text names none, so all would have to differ."""

    def restrict(judge: Callable[[Facts, str], Judged]) -> Judge:
        @wraps(judge)
        def best(facts: Facts) -> Judged:
            judged = {}
            for model in models:
                other = not_as_published(facts, model)
                judged[model] = Judged("", NOT_TESTED, other) if other else judge(facts, model)
            found = {of.verdict for of in judged.values()}
            verdict = next(v for v in (HOLDS, CONSISTENT, NOT_TESTED, CONTRADICTED) if v in found)
            reasons = {}  # reason -> the versions that it is the same for
            for model, of in judged.items():
                if of.verdict == verdict:
                    reasons.setdefault(of.why, []).append(model)
            why = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
            measured = "; ".join(f"{model}: {of.measured}" for model, of in judged.items() if of.measured)
            return Judged(measured, verdict, why)

        return best

    return restrict


def above(dataset: str, name: str, bound: float) -> Judge:
    """A published lower bound of a figure of S2P, in percent."""

    @of_experiment(dataset)
    def judge(facts: Facts) -> Judged:
        figure = facts.metrics["figures"][name]
        value, low, high = (100 * v for v in (figure["value"], *figure["interval_95"]))
        verdict = HOLDS if value > bound else CONSISTENT if high > bound else CONTRADICTED
        why = f"95 % bootstrap interval of our test figure: {low:.2f} to {high:.2f}"
        return Judged(f"{value:.2f}", verdict, why)

    return judge


def released_demo(facts: Facts) -> Judged:
    n, n_wrong = (facts.released_demo.get(name, 0) for name in ("holds", "contradicted"))
    measured = f"{n} of {n + n_wrong}" if n + n_wrong else ""
    if n_wrong:
        return Judged(measured, CONTRADICTED, f"{n_wrong} of the released demo's predictions come out otherwise")
    if n < len(RELEASED_DEMO):
        lacks = f"{len(RELEASED_DEMO) - n} of nine not run: needs the released checkpoint and the photos (tier 1)"
        return Judged(measured, NOT_TESTED, f"{lacks}: s2p fetch checkpoints demo-photos")
    return Judged(measured, HOLDS, "the released checkpoint on the nine photos of its demo, joined by image name")


def failure_statement(statement: str) -> Judge:
    """A statement of the card on where S2P fails, by the slices of the run (see ``slices.py``)."""

    def judge(facts: Facts) -> Judged:
        rows = facts.slices[facts.slices["statement"] == statement]
        known = rows[rows["value"].notna()]
        measured = "; ".join(
            f"{row.slice}: {100 * row.value:+.0f} points" if row.measure == DIFFERENCE
            else f"{row.slice}: {100 * row.value:.0f} % of {row.photos} called private"
            for row in known.itertuples(index=False)
        )  # fmt: skip
        finding, why = rows["finding"].iloc[0], rows["why"].iloc[-1]  # a difference, which decides, is the last row
        if not facts.is_experiment_on("ipd"):
            away = not_the_experiment(facts, "ipd").why
            shown = "; what is measured here is no evidence about it" if measured else ""
            return Judged(measured, NOT_TESTED, f"{away}{shown}. On this run: {finding}: {why}")
        verdict = finding if finding in (HOLDS, CONTRADICTED) else NOT_TESTED
        return supported(facts, Judged(measured, verdict, why if verdict == finding else f"{finding}: {why}"))

    return judge


def supported(facts: Facts, judged: Judged) -> Judged:
    """Published scene probabilities, whose making is not told, can support a claim but not refute it."""
    if not facts.only_scenes_differ:
        return judged
    if judged.verdict == CONTRADICTED:
        why = f"{judged.why}; published scene probabilities, whose making is not told, can support it, not refute it"
        return Judged(judged.measured, NOT_TESTED, why)
    return Judged(judged.measured, judged.verdict, f"{judged.why}; from published scene probabilities")


def not_as_published(facts: Facts, model: str) -> str | None:
    """Why a baseline of this run is not the paper's, if it is not: its backbone keeps its statistics, its C a grid."""
    if facts.bn_mode != "frozen":
        return f"the paper's has the backbone's original BatchNorm statistics; this run has bn_mode={facts.bn_mode}"
    row = row_of(facts.baselines, model)
    if row is None:
        return f"this run has no {model}"
    if "no grid" in row["chosen"] or "not converged" in row["chosen"]:
        return f"the paper's SVM comes from a grid of converged fits (baselines=all); this run's: {row['chosen']}"
    return None


def against(published: float, value: float, inside: bool) -> str:
    """The verdict on a printed figure, in percent; ``inside``: it lies in an interval of ours."""
    return HOLDS if abs(value - published) <= PRINTED else CONSISTENT if inside else CONTRADICTED


def published_percent(dataset: str, model: str, name: str) -> float:
    """The published figure of a model, by its name in baselines.csv."""
    return PUBLISHED[dataset][PUBLISHED_NAMES.get(model, model)][name]


def row_of(table: pd.DataFrame, model: str) -> pd.Series | None:
    rows = table[table["model"] == model]
    return None if rows.empty else rows.iloc[0]


def not_the_experiment(facts: Facts, dataset: str) -> Judged:
    """``not tested``, with what would be needed."""
    name = {"ipd": "the card's experiment on IPD", "privacyalert": "the paper's experiment on PrivacyAlert"}[dataset]
    if facts.dataset != dataset:
        return Judged("", NOT_TESTED, f"needs {name}; this run's dataset is {facts.dataset}")
    return Judged("", NOT_TESTED, f"needs {name}; this run differs in: {', '.join(facts.deviations) or 'its models'}")


def words_of_counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {label}" for label, n in counts.items())
