"""What the card claims, one record each, with the verdict of a run; in ``judges.py`` is how each is reached."""

from dataclasses import asdict, dataclass

import pandas as pd

from s2p_lib import judges
from s2p_lib.config import Settings
from s2p_lib.judges import CARD_PHOTOS, MLPS, SVMS, Facts, Judge, words_of_counts
from s2p_lib.metrics import CARD_PERCENT
from s2p_lib.model import BACKBONES, HEAD_PARAMETERS, RESNET50_S2P_PARAMETERS
from s2p_lib.predict import DEMO_TOLERANCE
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import count_labels
from s2p_lib.slices import DIFFERENCE, STATEMENTS, Statement

TIERS = {
    "0": "decided by arithmetic, or on a network without data",
    "1": "needs the released checkpoint and nine photos",
    "2": "needs the labels and published scene probabilities",
    "3": "needs the photos",
}

# The paper's experiment on each dataset, as parameters of the notebooks; the training settings are the default ones.
EXPERIMENTS = {
    "ipd": {
        "dataset": "ipd",
        "labelled photos": words_of_counts(CARD_PHOTOS["all"]),
        "test photos": words_of_counts(CARD_PHOTOS["test"]),
        "fold": 0,
    },
    "privacyalert": {
        "dataset": "privacyalert",
        "photos": "6,793",
        "test photos": words_of_counts({"private": 450, "public": 1_350}),
        "fold": "original",
    },
}
EVERY_EXPERIMENT = {"backbone": "resnet50", "image_size": 448, "init_checkpoint": None, "precision": "float32"}
CARD_BN_MODES = ("frozen", "released")  # what the card says, and what the code behind its figures does


@dataclass(frozen=True)
class Claim:
    """A claim: in our words, where it stands, what is published, and how it is judged.

    ``tolerance`` says how far a measurement may lie off, ``tolerance_reason`` why so far; ``tier`` is the least
    evidence that can decide it (see ``TIERS``).
    """

    id: str
    claim: str
    source: str
    published: str
    how: str
    tolerance: str
    tolerance_reason: str
    tier: str
    judge: Judge


COLUMNS = [
    *("id", "claim", "source", "published", "measured", "how", "tolerance", "tolerance_reason"),
    *("tier", "verdict", "why"),
]


def judge_claims(facts: Facts) -> pd.DataFrame:
    """One row per claim, with a verdict each; columns as in claims.csv."""
    rows = [asdict(claim) | vars(claim.judge(facts)) for claim in CLAIMS]
    return pd.DataFrame(rows)[COLUMNS]


def facts_of(run: RunFolder) -> Facts:
    """What ``judge_claims`` needs, from a run folder that holds everything up to 05_carbon."""
    training = run.manifest["training"]
    tables = ("spread", "folds", "baselines", "comparisons", "slices")
    return Facts(
        dataset="made by the kit" if run.is_made else run.parameter("dataset"),
        features=run.parameter("features"),
        bn_mode=run.parameter("bn_mode"),
        settings=run.trained_settings,
        deviations=deviations_of(run),
        epochs=training["epochs"],
        stopped=training["stopped"],
        metrics=run.read_json("metrics.json"),
        released_demo=run.read_table("released_demo.csv")["verdict"].value_counts().to_dict(),
        **{name: run.read_table(f"{name}.csv") for name in tables},
    )


def deviations_of(run: RunFolder) -> dict[str, str]:
    """In what a run differs from the paper's experiment: name -> ``ours, not theirs``; empty if it may be compared.

    That on PrivacyAlert for a run on PrivacyAlert, else the card's, on IPD.
    """
    counts = count_labels(run.read_table("predictions.csv"))
    found = {
        "dataset": run.parameter("dataset"),
        "labelled photos": words_of_counts(counts.loc["all"].to_dict()),
        "photos": f"{counts.loc['all'].sum():,}",
        "test photos": words_of_counts(counts.loc["test"].to_dict()),
        "backbone": run.backbone,
        "fold": run.fold,
    }
    if run.from_photos:
        standard = BACKBONES.get(run.backbone, BACKBONES["resnet50"]).image_size
        found["image_size"] = run.parameter("image_size") or standard
    if run.is_made:
        found["dataset"] = "photos or scene probabilities made by the kit"
    training = run.manifest["training"]
    found |= {name: run.parameter(name) for name in ("init_checkpoint", "precision")} | training["settings"]
    experiment = EXPERIMENTS.get(run.parameter("dataset"), EXPERIMENTS["ipd"])
    expected = experiment | EVERY_EXPERIMENT | asdict(Settings())
    different = {
        name: f"{found[name]}, not {value}" for name, value in expected.items() if found.get(name, value) != value
    }
    if not training["stopped"].startswith("learning rate"):
        different["training"] = f"{training['stopped']}, not ended by the learning rate as the card's must have been"
    if training["from_trained_backbone"]:
        different["weights"] = "the backbone of a trained S2P, whose BatchNorm statistics have changed, not Places365's"
    if run.parameter("bn_mode") not in CARD_BN_MODES:
        different["bn_mode"] = f"{run.parameter('bn_mode')}, not {' or '.join(CARD_BN_MODES)}"
    return different


EXACT = "exact", "it is a count, a name or a word"
PRINTED = "0.005", "two decimals are printed, so a figure stands for anything that rounds to it"
INTERVAL = (
    "0.005 holds; within the 95 % interval or the range over seeds is consistent",
    "photos are a sample and training is random. The 5 % that is usual in artifact evaluation would be too coarse: the "
    "balanced accuracies of S2P (80.45) and ResNet-50 + SVM (83.08) are only 3.3 % apart",
)
VERSIONS = "one version is enough, to contradict it takes all"
ANOTHER = (
    f"0.005 holds; within the 95 % interval is consistent; {VERSIONS}",
    "photos are a sample, the fit is not random; the published text does not say which version it means",
)
PAIRED = (
    f"95 % interval of the paired difference above 0 holds; with both signs it is consistent; {VERSIONS}",
    "both models see the same test photos, so the difference is known better than either figure",
)

AE = "released ARTIFACT-EVALUATION.md"


def _arithmetic() -> tuple[Claim, ...]:
    total, optimised = f"{RESNET50_S2P_PARAMETERS:,}", f"{HEAD_PARAMETERS:,}"
    last = 365 * (2_048 + 1)  # of the ResNet-50: 2048 features -> 365 scenes
    by_type = (
        f"{RESNET50_S2P_PARAMETERS - last - HEAD_PARAMETERS:,} (ResNet-50 without its last layer) + {last:,} "
        f"(2048 -> 365) + {HEAD_PARAMETERS}: all parameters of the model, whatever the card calls them"
    )
    sizes, results = "card, Speeds, Sizes, Times", "card, Results"
    environment, settings = "card, Environmental Impact", "card, Training Hyperparameters"
    only_head = "with the CNN fixed, as the card says, no other is trained"
    count = "counted on a ResNet-50 S2P, its backbone fixed"
    n_parameters = RESNET50_S2P_PARAMETERS
    return (
        Claim("parameters-optimised", "Parameters optimised for privacy", sizes, optimised, count, *EXACT, "0",
              judges.parameters("optimised", HEAD_PARAMETERS, "365 x 2 weights + 2 biases")),
        Claim("parameters-total", "Parameters of the whole model", sizes, total, count, *EXACT, "0",
              judges.parameters("total", n_parameters, by_type)),
        Claim("parameters-trainable", "All parameters are trainable", sizes, total, count, *EXACT, "0",
              judges.parameters("optimised", n_parameters, only_head)),
        Claim("checkpoint-size", "Size of the checkpoint", sizes, f"~{judges.CARD_CHECKPOINT_MB} MB",
              "parameters x 4 bytes", "0.5 MB", "printed as a whole number", "0",
              judges.checkpoint_size(RESNET50_S2P_PARAMETERS)),
        Claim("confusion", "One confusion matrix is behind the results table", results, "nine figures",
              "every matrix of 2,304 + 4,608 photos is tried", *PRINTED, "0", judges.confusion),
        Claim("accuracy-formula", "Accuracy = sum TP / sum (TP + FP + FN)", "card, Metrics", "83.12",
              "the written formula on the card's confusion matrix", *PRINTED, "0", judges.accuracy_formula),
        Claim("best-on-ipd", "This model suffices for the best performance on IPD (read as: none does better)",
              "card, Summary",
              "80.45 balanced accuracy", f"beside the figure printed for ResNet-50 + SVM ({AE})",
              "beyond the 95 % interval of S2P's figure", INTERVAL[1], "0", judges.best_on_ipd),
        Claim("private-share", "Share of private photos in the dataset", "card, Training Data",
              f"~{judges.CARD_PRIVATE_PERCENT} %",
              "from the published counts of IPD", "rounds to it holds, within 1 point is consistent", "printed with ~",
              "0", judges.private_share),
        Claim("split-kfold", "A stratified K-fold with K = 3 made train, validation and test", "card, Training Data",
              "K = 3", "sizes of the folds of 34,562 photos", *EXACT, "0", judges.split_by_kfold),
        Claim("stopping", "Training ended by a low learning rate or after 12 h, after 117 epochs", settings, "117",
              "the plateau rule's earliest end, and the card's hours", "possible is consistent",
              "arithmetic can refute it, not show it", "0", judges.stopping),
        Claim("monitored-measure", "Balanced accuracy is the measure that stops training", settings,
              "balanced accuracy", "learning rates recorded from the released trainer, replayed", *EXACT, "0",
              judges.monitored_measure),
        Claim("unused-settings", "Momentum and maximum learning rate are settings of the training", settings,
              "0.9, 0.1", "names of the settings of Adam and the plateau scheduler", *EXACT, "0",
              judges.unused_settings),
        Claim("frozen-backbone", "The CNN is kept fixed", "card, Model Architecture", "fixed",
              "a training batch through a ResNet-50 as in the released code", "bit for bit",
              "fixed means no change at all", "0", judges.frozen),
        Claim("carbon-value", "Carbon emitted", environment, "0.62", "recomputed with the card's own inputs",
              "'~8' hours: 7.5 to 8.5", "the card rounds the hours", "0", judges.carbon_value),
        Claim("carbon-unit", "The carbon figure is in grams, as the card's template asks", environment, "none",
              "recomputed with the card's own inputs", *EXACT, "0", judges.carbon_unit),
        Claim("gpu-name", "The GPU", f"{environment}; Hardware", " / ".join(judges.CARD_GPUS.values()),
              "names beside the cards of the series", *EXACT, "0", judges.gpu_name),
        Claim("gpu-memory", "Memory of the GPU", "card, Hardware", f"{judges.CARD_GPU_MEMORY_GB} GB",
              "beside its maker's specifications", *EXACT, "0", judges.gpu_memory),
    )  # fmt: skip


def _measured() -> tuple[Claim, ...]:
    counts = words_of_counts(CARD_PHOTOS["test"])
    test = "this run's predictions on the test split"
    figures = [
        Claim(f"test-{name}", f"Test {name.replace('_', ' ').replace('f1', 'F1')}, %", "card, Results", f"{value:.2f}",
              f"{test}; tier 2 can support it, not refute it", *INTERVAL, "3", judges.printed_figure(name))
        for name, value in CARD_PERCENT.items()
    ]  # fmt: skip
    return (
        Claim("released-demo", "The released model gives the nine released demo predictions", AE, "9 of 9",
              "the released checkpoint on the nine photos", f"{DEMO_TOLERANCE:g}",
              "float32 sums on another processor", "1", judges.released_demo),
        Claim("test-counts", "Test photos", "card, Testing Data", counts, "counted in this run's test split", *EXACT,
              "2", judges.photos_of_test),
        Claim("split-folds", "The folds are a stratified K-fold with K = 3", "card, Training Data", "K = 3",
              "the published fold columns", "one photo", "whole photos cannot be divided", "2", judges.folds),
        Claim("epochs", "Epochs before training stopped", "card, Speeds, Sizes, Times", f"{judges.CARD_EPOCHS}",
              "this run's training", "any number, if the learning rate ended it", "it depends on the shuffling", "2",
              judges.epochs),
        *figures,
    )  # fmt: skip


def _other_models() -> tuple[Claim, ...]:
    on_same = "the versions of it and S2P, all of this run, on the same test photos"
    names = {"private_recall": "private recall", "balanced_accuracy": "balanced accuracy"}
    places = {"ipd": "IPD", "privacyalert": "PrivacyAlert"}
    claims = []
    for dataset, place in places.items():
        for name, words in names.items():
            published = judges.published_percent(dataset, SVMS[0], name)
            claims.append(
                Claim(f"svm-{dataset}-{name}", f"ResNet-50 + SVM on {place}: {words}, %", AE, f"{published:.2f}",
                      "the three SVMs of this run on the same scene logits", *ANOTHER, "2",
                      judges.baseline_figure(dataset, SVMS, name))
            )  # fmt: skip
    for name, words in names.items():
        gap = judges.published_percent("ipd", SVMS[0], name) - CARD_PERCENT[name]
        claims.append(
            Claim(f"svm-over-s2p-{name}", f"ResNet-50 + SVM has a better {words} than S2P on IPD",
                  f"card, Results; {AE}",
                  f"{gap:+.2f} points", on_same, *PAIRED, "2", judges.better_than_s2p("ipd", SVMS, name, gap))
        )  # fmt: skip
    for dataset, place in places.items():
        for name, words in names.items():
            claims.append(
                Claim(f"mlp-over-s2p-{dataset}-{name}", f"S2P-MLP has a better {words} than S2P on {place}", AE,
                      "better", on_same, *PAIRED, "2", judges.better_than_s2p(dataset, MLPS, name))
            )  # fmt: skip
    for name, words, bound in (("balanced_accuracy", "balanced accuracy", 75), ("accuracy", "accuracy", 80)):
        claims.append(
            Claim(f"s2p-privacyalert-{name}", f"S2P on PrivacyAlert: {words}, %", AE, f"> {bound}",
                  "this run's predictions on the test split", "above it holds; interval reaching above is consistent",
                  INTERVAL[1], "2", judges.above("privacyalert", name, bound))
        )  # fmt: skip
    return tuple(claims)


def _failures() -> tuple[Claim, ...]:
    return tuple(
        Claim(f"failure-{s.id}", s.claim, "card, Bias, Risks, and Limitations", "in words",
              s.measure if s.slices else "not by one label per photo", *_bounds(s), "2",
              judges.failure_statement(s.id))
        for s in STATEMENTS
    )  # fmt: skip


def _bounds(statement: Statement) -> tuple[str, str]:
    """Tolerance and its reason, for the claim of a statement."""
    if not statement.slices:
        return "none", "no slice can show it"
    low, high = (f"{100 * bound:g}" for bound in statement.bounds)
    what, unit = ("the difference", "points") if statement.measure == DIFFERENCE else ("each slice", "%")
    within = f"the whole 95 % interval of {what} from {low} to {high} {unit}"
    return within, "the card gives no number; the bounds are this kit's, see slices.py"


CLAIMS = (*_arithmetic(), *_measured(), *_other_models(), *_failures())
