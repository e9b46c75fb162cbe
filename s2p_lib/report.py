"""Pages and tables for readers: ``report.html``, ``failures.html``, the result table of the terminal."""

import base64
import io
from pathlib import Path

import jinja2
import pandas as pd
from PIL import Image

from s2p_lib import plots
from s2p_lib.audit import counts_by_kind
from s2p_lib.claims import CARD_CONFUSION, deviations_of, questions_of
from s2p_lib.metrics import FALSE_PRIVATE, MISSED_PRIVATE, beside_card, confusion_counts
from s2p_lib.photos import file_sha256
from s2p_lib.pictures import picture
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import count_labels

DEMO_WARNING = (
    "Demo run: the photos are drawn by the kit and the backbone is a small stand-in. The figures show that the "
    "pipeline works. They are not results of the paper, and nearness to the card's figures means nothing."
)

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,  # names of images, scenes and labels come from outside
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)


def results_table(metrics: dict) -> pd.DataFrame:
    """One row per card figure, in percent: figure, card, ours, low, high (95 % interval of ours)."""
    figures = metrics["figures"]
    table = beside_card({name: figure["value"] for name, figure in figures.items()})
    table["low"] = [100 * figures[name]["interval_95"][0] for name in table.index]
    table["high"] = [100 * figures[name]["interval_95"][1] for name in table.index]
    table.insert(0, "figure", table.index.str.replace("_", " ").str.replace("f1", "F1"))
    return table[["figure", "card", "ours", "low", "high"]].round(2).reset_index(drop=True)


def result_text(run: RunFolder) -> str:
    """The result table of a finished run, and the count of verdicts, as text for a terminal."""
    if not run.path("claims.csv").is_file():
        raise FileNotFoundError(f"{run.dir} holds no finished run; make one: s2p run --out {run.dir}")
    verdicts = run.read_table("claims.csv")["verdict"].value_counts()
    lines = [
        f"Test split of the {run.parameter('dataset')} dataset, percent (low, high: 95 % interval)",
        results_table(run.read_json("metrics.json")).to_string(index=False, float_format="%.2f"),
        "",
        "Claims of the card: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items()),
    ]
    return "\n".join([*lines, "", DEMO_WARNING] if run.is_demo else lines)


def write_failures_page(run: RunFolder, failures: pd.DataFrame, n_photos: int, max_photos: int = 300) -> None:
    """``failures.html``: the most confident misclassified photos as one page that needs no other file."""
    shown = failures.head(max_photos)
    sections = [
        {"title": title, "photos": _gallery(shown[shown["outcome"] == outcome], run)}
        for title, outcome in (
            ("Missed private: private photos called public", MISSED_PRIVATE),
            ("False private: public photos called private", FALSE_PRIVATE),
        )
    ]
    facts = {"n_failures": len(failures), "n_photos": n_photos, "n_shown": len(shown), "split": "test"}
    _write_page(run, "failures.html", sections=sections, **facts)


def write_report(run: RunFolder) -> None:
    """``report.html``: verdicts first, then what they rest on, as one page that needs no other file."""
    predicted = run.read_table("predictions.csv")
    predictions = predicted[predicted["split"] == "test"]
    failures = run.read_table("failures.csv")
    history = run.read_table("history.csv")
    problems = run.read_table("audit.csv")
    claims = run.read_table("claims.csv").fillna("")
    metrics = run.read_json("metrics.json")
    emissions = run.read_table("emissions.csv")
    modes, spread, training = run.read_table("bn_modes.csv"), run.read_table("spread.csv"), run.manifest["training"]
    convex = training["convex_reference"]["test_balanced_accuracy"]
    confusions = {"card (IPD test)": CARD_CONFUSION}
    confusions[f"this run ({run.parameter('dataset')} test)"] = confusion_counts(
        predictions["label"], predictions["prediction"]
    )
    _write_page(
        run,
        "report.html",
        claims=claims.to_dict("records"),
        verdicts=claims["verdict"].value_counts().to_dict(),
        results=results_table(metrics).to_dict("records"),
        interval=metrics["interval"],
        confusions=plots.png_uri(plots.plot_confusions(confusions)),
        curves=plots.png_uri(plots.plot_roc_pr(predictions["label"], predictions["p_private"])),
        learning=plots.png_uri(plots.plot_learning_curves(history, training["kept_epoch"])),
        training=training,
        has_val=history["val_loss"].notna().any(),
        bn_mode=run.parameter("bn_mode"),
        modes=modes.to_dict("records"),
        mode_figures=[name for name in modes.columns if name.startswith("test_")],
        spread=plots.png_uri(plots.plot_spread(spread, convex, run.is_demo)),
        outcomes=failures["outcome"].value_counts().to_dict(),
        worst=_gallery(failures.head(8), run),
        splits=count_labels(predicted).reset_index().to_dict("records"),
        n_used=len(predicted),
        n_left_out=int((problems["action"] == "left out").sum()),
        problems=counts_by_kind(problems).to_dict("records"),
        emissions=emissions.to_dict("records"),
        questions=questions_of(run),
        manifest=run.manifest,
        deviations=deviations_of(run),
        hashes={
            name: file_sha256(run.path(name)) for done in run.manifest["notebooks"].values() for name in done["writes"]
        },
    )


def _write_page(run: RunFolder, name: str, **content) -> None:
    page = _TEMPLATES.get_template(f"{name}.jinja").render(
        tier=run.tier,
        pictures=run.pictures_in_pages,
        dataset=run.parameter("dataset"),
        is_demo=run.is_demo,
        demo_warning=DEMO_WARNING,
        **content,
    )
    run.write_text(name, page)


def _gallery(failures: pd.DataFrame, run: RunFolder) -> list[dict]:
    """The rows as records, each with its picture as a ``data:`` address (None where scenes stand for the photo)."""
    records = []
    for row in failures.to_dict("records"):
        image = picture(run.data_dir / row["path"], run.pictures_in_pages)
        scenes = list(zip(row["top_scenes"].split(", "), map(float, row["top_scene_p"].split(", "))))
        records.append(row | {"uri": image and _jpeg_uri(image), "scenes": scenes})
    return records


def _jpeg_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
