"""Pages and tables for readers: ``report.html``, the result table of the terminal."""

import base64
from pathlib import Path

import jinja2
import pandas as pd
from PIL import Image

from s2p_lib import carbon, evaluation_plots, plots
from s2p_lib.audit import counts_by_kind
from s2p_lib.baselines import PUBLISHED, beside_published, published_percent
from s2p_lib.claims import TIERS, deviations_of
from s2p_lib.judges import VERDICTS
from s2p_lib.metrics import (
    CARD_CONFUSION,
    beside_card,
    confusion_counts,
    threshold_table,
)
from s2p_lib.open_questions import questions_of
from s2p_lib.photos import file_sha256
from s2p_lib.pictures import as_jpeg, picture
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import count_labels

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
    verdicts = run.read_table("claims.csv")["verdict"].value_counts().reindex(VERDICTS, fill_value=0)
    lines = [
        f"Test split of the {run.parameter('dataset')} dataset, percent (low, high: 95 % interval)",
        results_table(run.read_json("metrics.json")).to_string(index=False, float_format="%.2f"),
        "",
        "Claims of the card: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.items()),
    ]
    return "\n".join([*lines, "", run.warning] if run.warning else lines)


def evaluation_text(name: str, evaluation: dict) -> str:
    """An evaluated prediction file as text for a terminal."""
    photos = ", ".join(f"{n:,} {label}" for label, n in evaluation["photos"].items())
    table = results_table(evaluation).to_string(index=False, float_format="%.2f")
    return f"{name}: {photos} photos; percent (low, high: 95 % interval; card: S2P on IPD)\n{table}"


def comparison_text(name: str, other: str, compared: dict) -> str:
    """What ``metrics.compare`` found, as text for a terminal."""
    figures = {figure.replace("_", " "): c for figure, c in compared.items() if isinstance(c, dict)}
    lines = [
        f"{name} against {other}, same {compared['n']:,} photos, percentage points (95 % interval, paired bootstrap):",
        *(
            f"  {figure}: {100 * c['difference']:+.2f} ({100 * c['low']:+.2f} to {100 * c['high']:+.2f})"
            for figure, c in figures.items()
        ),
        f"  right in {name} only: {compared['only_a_right']:,}; in {other} only: {compared['only_b_right']:,}; "
        f"McNemar's exact p: {compared['mcnemar_p']:.3g}",
    ]
    return "\n".join(lines)


def write_report(run: RunFolder) -> None:
    """``report.html``: verdicts first, then what they rest on, as one page that needs no other file."""
    predicted, history = run.read_table("predictions.csv"), run.read_table("history.csv")
    claims = run.read_table("claims.csv").fillna("").astype({"tier": str})
    page = render_page(
        run,
        "report.html",
        claims=claims.to_dict("records"),
        tiers=TIERS,
        verdicts=claims["verdict"].value_counts().reindex(VERDICTS, fill_value=0).to_dict(),
        deviations=deviations_of(run),
        **_results(run, predicted[predicted["split"] == "test"]),
        **_baselines(run),
        **_training(run, history),
        **_failures(run),
        **_data(run, predicted),
        **_carbon(run),
        questions=questions_of(run),
        manifest=run.manifest,
        hashes={
            name: file_sha256(run.path(name)) for done in run.manifest["notebooks"].values() for name in done["writes"]
        },
    )
    run.write_text("report.html", page)


def _results(run: RunFolder, test: pd.DataFrame) -> dict:
    metrics, spread = run.read_json("metrics.json"), run.read_table("spread.csv")
    results, names = results_table(metrics), [f"test_{name}" for name in metrics["figures"]]
    results["seeds_low"], results["seeds_high"] = (100 * spread[names].agg(how).to_numpy() for how in ("min", "max"))
    confusions = {
        "card (IPD test)": CARD_CONFUSION,
        f"this run ({run.parameter('dataset')} test)": confusion_counts(test["label"], test["prediction"]),
    }
    swept, chosen = threshold_table(test["label"], test["p_private"]), run.read_table("thresholds.csv")
    sources, calibration = run.read_table("sources.csv"), metrics["calibration"]
    reliability = evaluation_plots.plot_reliability(test["label"], test["p_private"], calibration["temperature"])
    return {
        "results": results.to_dict("records"),
        "n_seeds": len(spread),
        "interval": metrics["interval"],
        "ranking": metrics["ranking"],
        "calibration": calibration,
        "thresholds": chosen.to_dict("records"),
        "confusions": plots.png_uri(evaluation_plots.plot_confusions(confusions)),
        "curves": plots.png_uri(evaluation_plots.plot_roc_pr(test["label"], test["p_private"])),
        "threshold_curves": plots.png_uri(evaluation_plots.plot_thresholds(swept, chosen)),
        "reliability": plots.png_uri(reliability),
        "by_source": plots.png_uri(evaluation_plots.plot_by_source(sources)),
    }


def _baselines(run: RunFolder) -> dict:
    fitted, dataset = run.read_table("baselines.csv"), run.parameter("dataset")
    shown = beside_published(fitted, dataset).assign(chosen=fitted["chosen"].fillna(""))
    published = published_percent(fitted["model"], dataset) if dataset in PUBLISHED else None
    return {
        "baselines": shown.to_dict("records"),
        "comparisons": run.read_table("comparisons.csv").to_dict("records"),
        "energy_sources": sorted(set(fitted["energy_source"])),
        "baselines_picture": plots.png_uri(plots.plot_baselines(fitted, published)),
    }


def _training(run: RunFolder, history: pd.DataFrame) -> dict:
    modes, training = run.read_table("bn_modes.csv"), run.manifest["training"]
    convex = training["convex_reference"]["test_balanced_accuracy"]
    return {
        "training": training,
        "learning": plots.png_uri(plots.plot_learning_curves(history, training["kept_epoch"])),
        "has_val": history["val_loss"].notna().any(),
        "bn_mode": run.parameter("bn_mode"),
        "modes": modes.to_dict("records"),
        "mode_figures": [name for name in modes.columns if name.startswith("test_")],
        "spread": plots.png_uri(plots.plot_spread(run.read_table("spread.csv"), convex, run.is_demo)),
    }


def _failures(run: RunFolder) -> dict:
    failures = run.read_table("failures.csv")
    return {
        "outcomes": failures["outcome"].value_counts().to_dict(),
        "worst": _gallery(failures.head(8), run),
        "slices": plots.png_uri(plots.plot_slices(run.read_table("slices.csv"))),
    }


def _data(run: RunFolder, predicted: pd.DataFrame) -> dict:
    problems = run.read_table("audit.csv")
    return {
        "splits": count_labels(predicted).reset_index().to_dict("records"),
        "n_used": len(predicted),
        "n_left_out": int((problems["action"] == "left out").sum()),
        "problems": counts_by_kind(problems).to_dict("records"),
    }


def _carbon(run: RunFolder) -> dict:
    card_range, costs = run.read_table("carbon_range.csv"), run.read_table("protocol_costs.csv")
    return {
        "emissions": run.read_table("emissions.csv").to_dict("records"),
        "rounding": carbon.card_rounding().to_dict("records"),
        "card_range": plots.png_uri(plots.plot_card_range(card_range, carbon.card_by_factor())),
        "costs": costs.to_dict("records"),
    }


def render_page(run: RunFolder, name: str, **content) -> str:
    """The page ``name`` of a run as HTML, from its template, ``content`` and what every page says of its run."""
    return _TEMPLATES.get_template(f"{name}.jinja").render(
        tier=run.tier,
        pictures=run.pictures_in_pages,
        dataset=run.parameter("dataset"),
        warning=run.warning,
        **content,
    )


def _gallery(failures: pd.DataFrame, run: RunFolder) -> list[dict]:
    """The rows as records, each with its picture as a ``data:`` address (None where scenes stand for the photo)."""
    records = []
    for row in failures.to_dict("records"):
        image = picture(run.data_dir / row["path"], run.pictures_in_pages)
        scenes = list(zip(row["top_scenes"].split(", "), map(float, row["top_scene_p"].split(", "))))
        records.append(row | {"uri": image and jpeg_uri(image), "scenes": scenes})
    return records


def jpeg_uri(image: Image.Image, quality: int = 80) -> str:
    """The picture as a ``data:`` address, so that a page needs no other file."""
    return "data:image/jpeg;base64," + base64.b64encode(as_jpeg(image, quality)).decode()
