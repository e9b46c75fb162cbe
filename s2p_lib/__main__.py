"""The ``s2p`` command."""

from pathlib import Path

import click

from s2p_lib import run as runs
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import PRIVATE_IS_0, PUBLIC_IS_0

CODINGS = {"private_is_0": PRIVATE_IS_0, "public_is_0": PUBLIC_IS_0}
PATHS = ("data_dir", "weights", "init_checkpoint", "config", "released_dir")  # parameters


def parameters_option(command):
    """``-p NAME VALUE``, any number of times; the command gets a dict, with paths relative to where it was typed."""

    def as_dict(_context, _option, pairs: tuple[tuple[str, str], ...]) -> dict[str, str | None]:
        return {name: _from_here(name, value) for name, value in pairs}

    about = {"nargs": 2, "multiple": True, "metavar": "NAME VALUE", "help": "A parameter of the notebooks."}
    return click.option("-p", "parameters", callback=as_dict, **about)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Reproduce S2P, a model that tells private photos from public ones by their scene."""


@main.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outputs/demo"), show_default=True
)
@click.option(
    "--preset",
    type=click.Choice(list(runs.PRESETS)),
    help="; ".join(f"{name}: {preset.meaning}" for name, preset in runs.PRESETS.items()) + ". -p wins over it.",
)
@parameters_option
@click.option("--dry-run", is_flag=True, help="Print what the run will take (time, energy, disk) and do nothing else.")
@click.option("--summary/--no-summary", default=True, help="Print the result table at the end.")
def run(out: Path, preset: str | None, parameters: dict, dry_run: bool, summary: bool) -> None:
    """Run the six notebooks in order into the folder OUT."""
    from s2p_lib import estimate

    try:
        given = runs.with_preset(preset, parameters)
        checked = runs.resolve_for(out, given)
        if dry_run:
            click.echo(estimate.describe(estimate.estimate_run(checked)))
            return
        runs.check_before_work(checked)
        click.echo(f"{estimate.describe_or_why_not(checked)}\n")
        runs.run_notebooks(out, given)
    except (ValueError, FileNotFoundError, runs.NotebookFailed) as error:
        raise click.ClickException(str(error)) from None
    if summary:
        _show(out)


@main.command()
@click.argument("run_dir", type=click.Path(exists=True, file_okay=False, path_type=Path))
def show(run_dir: Path) -> None:
    """Print the result table of a finished run and the place of its report."""
    _show(run_dir)


@main.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outputs/audit"), show_default=True
)
@parameters_option
def audit(out: Path, parameters: dict) -> None:
    """Check every photo of a dataset once: OUT/audit.csv, with examples in OUT/01_data_splits.ipynb."""
    from s2p_lib.audit import counts_by_kind

    folder, stopped = RunFolder(out.resolve()), None
    try:
        runs.run_notebooks(out, parameters, ("01_data_splits",))
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from None
    except runs.NotebookFailed as error:  # it may have told of every photo before, such as when a split has no photo
        stopped = error
    if folder.path("audit.csv").is_file():
        problems = folder.read_table("audit.csv")
        click.echo(counts_by_kind(problems).to_string(index=False) if len(problems) else "nothing to tell of any photo")
        click.echo(f"\nWritten: {folder.path('audit.csv')}")
    if stopped:
        raise click.ClickException(str(stopped))
    n_used, n_out = len(folder.read_table("splits.csv")), int((problems["action"] == "left out").sum())
    click.echo(f"{n_used} of {n_used + n_out} photos can be used; {len(problems)} have something to be told")


@main.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PHOTOS...")
@click.option(
    "--run",
    "run_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Use the model of this run; by default of outputs/demo.",
)
@click.option(
    "--checkpoint",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Use this checkpoint instead, such as a released one.",
)
@click.option("--trained-on", help="Dataset of a released checkpoint: ipd or privacyalert.")
@click.option(
    "--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Backbone, if it has none."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the table to this CSV file too.")
def predict(photos, run_dir, checkpoint, trained_on, weights, out) -> None:
    """Predict PHOTOS (files or folders): private or public, and the five likeliest scenes with their part in it."""
    from s2p_lib import model as s2p
    from s2p_lib import predict as predicting
    from s2p_lib.datasets import DATASETS
    from s2p_lib.decoding import DecoderStartError

    try:
        if trained_on not in (None, *DATASETS):
            raise ValueError(f"--trained-on {trained_on!r} is unknown; allowed: {', '.join(DATASETS)}")
        if out is not None and not out.resolve().parent.is_dir():
            raise FileNotFoundError(f"--out {out}: there is no folder {out.resolve().parent}")
        paths = predicting.find_photos(photos)
        run_folder = RunFolder((run_dir or Path("outputs/demo")).resolve())
        if checkpoint is not None:
            codes = trained_on and DATASETS[trained_on].codes
            model, transform = s2p.load_checkpoint(checkpoint, "resnet50", None, weights, codes)
        else:
            model, transform = predicting.model_of_run(run_folder, weights)
        table = predicting.predict_photos(paths, model, transform, s2p.choose_device())
    except (ValueError, OSError, DecoderStartError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(predicting.describe(table))
    if checkpoint is None and run_folder.warning:
        click.echo(run_folder.warning)
    if out is not None:
        table.to_csv(out, index=False)
        click.echo(f"Written: {out}")
    raise SystemExit(1 if table["problem"].notna().all() else 0)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--run",
    "run_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labels of this run's test photos; by default of outputs/demo.",
)
@click.option("--dataset", type=click.Choice(["ipd", "privacyalert"]), help="Labels of this dataset instead.")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    help="Where the label file of --dataset is.",
    show_default=True,
)
@click.option(
    "--against", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Compare with this file, pairwise."
)
@click.option("--codes", type=click.Choice(list(CODINGS)), help="What pred_class means; by default as the dataset.")
def evaluate(file, run_dir, dataset, data_dir, against, codes) -> None:
    """Evaluate FILE, test predictions in the released format (image,probability,pred_class), joined by image name."""
    from s2p_lib.datasets import DATASETS, is_made, read_labels
    from s2p_lib.metrics import compare
    from s2p_lib.prediction_files import evaluate_file
    from s2p_lib.report import comparison_text, evaluation_text

    try:
        if run_dir and dataset:
            raise ValueError("--run and --dataset both say where the labels are; give one of them")
        folder = RunFolder((run_dir or Path("outputs/demo")).resolve())
        if dataset is None and not folder.path("predictions.csv").is_file():
            raise FileNotFoundError(f"{folder.dir} has no predictions.csv; name a run with --run, or a --dataset")
        labels = read_labels(dataset, data_dir) if dataset else folder.read_table("predictions.csv")
        labels = labels[labels["split"] == "test"]
        known = CODINGS[codes] if codes else DATASETS[dataset].codes if dataset else folder.dataset.codes
        evaluation, table = evaluate_file(file, labels, known)
        click.echo(evaluation_text(file.name, evaluation))
        if against:
            _, other = evaluate_file(against, labels, known)
            other = table[["image"]].merge(other, on="image", validate="one_to_one")
            compared = compare(table["label"], table["prediction"], other["prediction"])
            click.echo("\n" + comparison_text(file.name, against.name, compared))
    except (ValueError, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from None
    if is_made(data_dir) if dataset else folder.warning:
        click.echo("\nThe labels are those of photos that the kit made: no figure here is a result of the paper.")


@main.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outputs/bench"), show_default=True
)
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="Measure so often: medians.")
def bench(out: Path, times: int) -> None:
    """Measure speed and memory on this machine."""
    from s2p_lib.bench import run_bench

    click.echo(run_bench(out, times))


@main.command()
@click.argument(
    "folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDERS..."
)
@click.option("--clean", is_flag=True, help="Remove damaged files, and unfinished ones of runs that were killed.")
@click.option("--clean-all", is_flag=True, help="Remove all scene logits: the next run computes every photo again.")
def cache(folders, clean, clean_all) -> None:
    """List the caches of scene logits in FOLDERS (by default of all runs in outputs), and what is damaged in them.

    A shard of another cache is listed as foreign: it is not used, and --clean leaves it where it is.
    """
    from s2p_lib import logit_cache

    folders = folders or sorted(Path("outputs").glob("*/scene_logits"))
    try:
        if clean or clean_all:
            click.echo(logit_cache.cleaned_text(logit_cache.clean_caches(folders, everything=clean_all)) + "\n")
        click.echo(logit_cache.caches_text(logit_cache.list_caches(folders)))
    except OSError as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("what", nargs=-1, required=True, metavar="WHAT...")
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), default=Path("data"), show_default=True)
@click.option(
    "--from",
    "from_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with files that you already have; it is looked into first and never changed.",
)
@click.option(
    "--mirror", "mirrors", multiple=True, metavar="URL", help="Try URL/<file> first; may be given repeatedly."
)
@click.option("--dataset", help="Of photos: picalert, privacyalert or vispr; its list comes with the labels.")
@click.option(
    "--list",
    "url_list",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of photos: a list of your own, with one http or https address a line.",
)
@click.option(
    "--per-second",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Photos asked for in a second, at most.",
)
@click.option("--again", is_flag=True, help="Ask again for photos that were gone in an earlier call.")
def fetch(what, into, from_dir, mirrors, dataset, url_list, per_second, again) -> None:
    """Fetch published files into a data folder.

    \b
    WHAT is one or more of
      labels        labels, splits and the lists of photos (31 MB)
      scenes        published scene probabilities (213 MB)
      checkpoints   the released S2P models (181 MB)
      places365     the Places365 weights of the backbone (97 MB)
      demo-photos   the nine photos of the released demo
      photos        the photos of --dataset or --list, one after another

    A call that was stopped goes on where it was. Each file is held to its published checksum; one without is held to
    what it was at its first download (checksums.json).

    Photos may show people and have licences of their own: do not share them.
    """
    from s2p_lib import fetch as fetching
    from s2p_lib import fetch_photos as photo_lists
    from s2p_lib.decoding import DecoderStartError

    try:
        fetching.check_wanted(what, dataset, url_list)
        table = fetching.fetch_files([name for name in what if name != "photos"], into, from_dir, mirrors)
        if len(table):
            click.echo(fetching.files_text(table))
        if "demo-photos" in what:
            click.echo(f"\n{photo_lists.PHOTO_NOTICE}")
        missing = int(table["problem"].notna().sum())
        if "photos" in what:
            photos = photo_lists.fetch_photos(into, dataset, url_list, per_second, again)
            click.echo(photo_lists.photos_text(photos))
            missing += int((photos["status"] == "failed").sum())
    except (ValueError, OSError, DecoderStartError) as error:
        raise click.ClickException(str(error)) from None
    raise SystemExit(1 if missing else 0)


@main.command()
@click.argument("photo_list", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("outputs/extract/scene_logits"),
    show_default=True,
    help="outputs/RUN/scene_logits gives what is computed to the run RUN.",
)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("outputs/extract"), show_default=True
)
@click.option("--backbone", default="resnet50", show_default=True)
@click.option("--weights", type=click.Path(dir_okay=False, path_type=Path), help="Weights file of the backbone.")
@click.option("--image-size", type=click.IntRange(min=1), help="Pixels, square; by default the backbone's.")
@click.option("--precision", default="float32", show_default=True, help="Of the backbone's arithmetic, as in a run.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Of the backbone's pass; by default as in a run.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Actors with the backbone.")
@click.option(
    "--cpus",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Processor cores of a worker.",
)
@click.option(
    "--gpus",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="GPUs of a worker; may be a part of one.",
)
@click.option("--decoders", type=click.IntRange(min=1), default=1, show_default=True, help="Actors of one core each.")
def extract(photo_list, cache, out, backbone, weights, image_size, **how) -> None:
    """Scene logits of the photos in PHOTO_LIST, one path or address a line, on a Ray cluster, into a cache.

    A call that was stopped goes on where it was. See BEYOND_ONE_MACHINE.md.
    """
    from s2p_lib.model import load_s2p
    from s2p_lib.ray_extraction import NotFinished, extract_on_ray, read_photo_list
    from s2p_lib.scene_logits import BATCH_SIZE

    try:
        paths = read_photo_list(photo_list)
        model, transform = load_s2p(backbone, weights, image_size)
        how["batch_size"] = how["batch_size"] or BATCH_SIZE
        table = extract_on_ray(paths, model, transform, cache, out, **how)
    except (ValueError, OSError, ImportError, NotFinished) as error:
        raise click.ClickException(str(error)) from None
    failed = int(table["problem"].notna().sum())
    click.echo(f"{len(table) - failed:,} of {len(table):,} photos have scene logits in {cache}")
    if failed:
        click.echo(f"{failed:,} photos cannot be used: {out / 'problems.csv'}")
    raise SystemExit(1 if failed else 0)


def _from_here(name: str, value: str) -> str | None:
    """Parameters arrive as text; a path means relative to where the command was typed."""
    if value.lower() == "none":
        return None
    return str(Path(value).resolve()) if name in PATHS else value


def _show(run_dir: Path) -> None:
    from s2p_lib.report import result_text

    folder = RunFolder(run_dir.resolve())
    try:
        text = result_text(folder)
    except FileNotFoundError as error:
        raise click.ClickException(str(error)) from None
    if changed := runs.changed_inputs(folder, "06_report"):
        click.echo(f"report.html is older than {', '.join(changed)}: run notebook 06_report again")
    for name, value in folder.manifest["parameters"].items():
        if value != runs.Parameters.model_fields[name].default:
            click.echo(f"parameter {name} = {value}")
    click.echo(f"\n{text}\n\nReport: {folder.path('report.html')}")


if __name__ == "__main__":
    main()
