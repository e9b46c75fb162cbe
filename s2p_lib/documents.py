"""Documents of a run for others than its maker: the model card, and the run description as RO-Crate."""

import json
import mimetypes
import re
from dataclasses import fields
from pathlib import Path

import jinja2
from markupsafe import Markup
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from s2p_lib.claims import deviations_of
from s2p_lib.config import Settings
from s2p_lib.photos import file_sha256
from s2p_lib.report import results_table
from s2p_lib.run_folder import RunFolder
from s2p_lib.samples import count_labels

MODEL_CARD, RUN_DESCRIPTION = "MODEL_CARD.md", "ro-crate-metadata.json"
VERSION_FORM = re.compile(r"\d+\.\d+\.\d+", re.ASCII)

# The card's architecture: a ResNet-50, or its published scene probabilities, below the S2P layer.
CARD_BACKBONES = ("resnet50", "published_scenes")
# Names in ``claims.deviations_of`` that make another configuration. The seed belongs to a run of the same one.
CONFIGURATION = {f.name for f in fields(Settings)} - {"seed"} | {
    *("bn_mode", "image_size", "precision", "init_checkpoint", "weights")
}
ONLY_SGD = ("momentum", "max_lr")  # settings that Adam and the plateau scheduler do not use

PAPER = {
    "title": "Learning Privacy from Visual Entities",
    "authors": ("Alessio Xompero", "Andrea Cavallaro"),
    "doi": "10.48550/arXiv.2503.12464",
    "year": 2025,
}

REPORT = "06_report"  # the notebook that writes both documents, so it is not yet in the manifest when they are made
REPORT_FILES = ("claims.csv", "report.html", MODEL_CARD)  # what it has written when it describes the run
FILES = {
    "splits.csv": "The photos that are used: image, path, source, label, split",
    "audit.csv": "Photos that are missing, unreadable, odd or there twice, and what was done with them",
    "labels_splits.csv": "Labels and split in the published form",
    "folds.csv": "Photos and private photos in each part of the split",
    "history.csv": "Losses, learning rate and measures of each epoch",
    "checkpoint.pth": "The trained model, in the released checkpoint form (net, measure, epoch, type)",
    "config.json": "The training settings, in the released configuration form",
    "bn_modes.csv": "What the BatchNorm modes give and change",
    "spread.csv": "Heads trained with other seeds on the same scene logits",
    "predictions.csv": "Label, prediction and probability of private of every photo",
    "predictions_released.csv": "Predictions of the test split in the released form",
    "metrics.json": "The card's metrics on the test split, with counts and 95 % intervals, as fractions",
    "thresholds.csv": "Metrics by the probability from which a photo is called private",
    "sources.csv": "Metrics by the source of the photos",
    "baselines.csv": "Other models on the same scene logits",
    "comparisons.csv": "S2P against the other models, photo by photo",
    "released_demo.csv": "Predictions of the released model for the nine photos of the released demo",
    "failures.csv": "Misclassified photos, and the scenes that led there",
    "failures.html": "The misclassified photos as a page, with what explains each decision",
    "slices.csv": "Predictions on groups of photos that the card makes statements about",
    "slice_errors.csv": "Error rates (fractions) by top scene, place, source, label, size and brightness",
    "label_errors.csv": "Photos whose label confident learning doubts: candidates, no proof",
    "contradicting_copies.csv": "Copies of one photo that are labelled differently",
    "without_suspects.csv": "Test figures (fractions) without the most doubtful labels, beside random photos",
    "emissions.csv": "Energy (kWh) and CO2eq (kg) of each stage of the run",
    "carbon_range.csv": "The card's carbon estimate with other inputs",
    "protocol_costs.csv": "What the two training protocols cost",
    "claims.csv": "The card's claims with a verdict each",
    "report.html": "The report: verdicts first, then what they rest on",
    MODEL_CARD: "The card of the model that this run trained",
}

RO_CRATE, PROCESS_RUN_CRATE = "1.1", "https://w3id.org/ro/wfrun/process/0.5"
# Terms that the context of RO-Crate 1.1 lacks, from the vocabulary of the Workflow Run Crate profiles.
TERMS = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("sha256", "resourceUsage")}
MIT = "https://spdx.org/licenses/MIT"
SOFTWARE, PYPI = "#s2p_lib", "https://pypi.org/project"

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=False,  # Markdown, not HTML: see _plain
    finalize=lambda value: _plain(value),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def model_version(run: RunFolder) -> str:
    """MAJOR.CONFIG.RUN: the parameter ``model_version``, or what follows from the run.

    MAJOR is 1 for the card's architecture (the S2P layer on a ResNet-50) and 0 for another backbone, such as the demo's
    stand-in. CONFIG is 0 if every training setting but the seed is the card's, with BatchNorm frozen or released, else
    1. RUN is 0; who trains again with the same settings counts on with the parameter. ValueError for another form.
    """
    given = run.parameter("model_version")
    if given is None:
        major = int(run.backbone in CARD_BACKBONES)
        return f"{major}.{int(bool(CONFIGURATION & set(deviations_of(run))))}.0"
    if not VERSION_FORM.fullmatch(str(given)):
        raise ValueError(
            f"model_version={given!r} is not of the form MAJOR.CONFIG.RUN, three whole numbers with dots between, such "
            "as 1.0.1 for the second run with the card's settings; leave it out to have it derived"
        )
    return given


def model_name(run: RunFolder) -> str:
    """``S2P-<dataset>-MAJOR.CONFIG.RUN``, as the card names its model."""
    return f"S2P-{run.parameter('dataset')}-{model_version(run)}"


def write_model_card(run: RunFolder) -> None:
    """``MODEL_CARD.md``: the card of the model of a run that has everything up to 05_carbon, filled from its files.

    ValueError for a ``model_version`` that is not MAJOR.CONFIG.RUN.
    """
    manifest, metrics = run.manifest, run.read_json("metrics.json")
    emissions = run.read_table("emissions.csv")
    training, machine = manifest["training"], manifest["machine"]
    page = _TEMPLATES.get_template("model_card.md.jinja").render(
        name=model_name(run),
        dataset=run.parameter("dataset"),
        is_demo=run.is_demo,
        warning=run.warning,
        tier=run.tier,
        from_photos=run.from_photos,
        backbone=run.backbone,
        bn_mode=run.parameter("bn_mode"),
        fold=run.fold,
        training=training,
        splits=_split_table(run),
        settings=_table(["setting", "value"], _settings(training["settings"])),
        deviations=_table(["what", "this run, not the paper's experiment"], list(deviations_of(run).items())),
        n_deviations=len(deviations_of(run)),
        confusion=metrics["confusion"],
        photos=metrics["photos"],
        results=_results(metrics),
        interval=metrics["interval"],
        accuracy_error=f"{100 * (1 - metrics['figures']['accuracy']['value']):.1f}",
        energy_kwh=f"{emissions['energy_kwh'].sum():.3g}",
        co2eq_kg=f"{emissions['co2eq_kg'].sum():.3g}",
        hours=f"{emissions['duration_s'].sum() / 3600:.3g}",
        energy_sources=" / ".join(emissions["energy_source"].unique()),
        country=emissions["country"].iloc[0],
        factor=f"{emissions['factor_kg_per_kwh'].iloc[0]:g}",
        machine=machine,
        versions=_table(["software", "version"], list(machine["versions"].items())),
        checkpoint_sha256=file_sha256(run.path("checkpoint.pth")),
        checkpoint_mb=f"{run.path('checkpoint.pth').stat().st_size / 1e6:,.1f}",
        paper=PAPER,
    )
    run.write_text(MODEL_CARD, page)


def write_run_description(run: RunFolder) -> None:
    """``ro-crate-metadata.json``: the run as RO-Crate 1.1 with the profile Process Run Crate 0.5.

    06_report calls this last, when its other files (``REPORT_FILES``) are there; the description itself is not in it.
    One action per notebook (what it read, wrote, and how long it took), and one for the whole run with its parameters,
    inputs, energy. Start and end of a notebook are not recorded, so they are not given. Paths of the machine are
    shortened to their last part. ValueError if a file is not as its notebook wrote it, FileNotFoundError if it is gone.
    """
    crate = ROCrate(version=RO_CRATE)
    crate.metadata.extra_terms.update(TERMS)
    steps = _steps(run)
    _describe_root(crate, run)
    _add_software(crate, run)
    for notebook, step in steps.items():
        for name in step["writes"]:
            _add_file(crate, run, name, notebook, step["writes"][name])
    _add_unhashed(crate, run)
    actions = [_add_run(crate, run, steps), *(_add_step(crate, run, name, step) for name, step in steps.items())]
    crate.root_dataset["mentions"] = actions
    run.write_text(RUN_DESCRIPTION, json.dumps(crate.metadata.generate(), indent=1, ensure_ascii=False) + "\n")


def markdown_table(header: list[str], rows: list[tuple]) -> str:
    """A table of GitHub's Markdown; a ``|`` in a cell stays text."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _table(header: list[str], rows: list[tuple]) -> Markup:
    return Markup(markdown_table(header, [tuple(map(_plain, row)) for row in rows]))


def _plain(value) -> str:
    """A value as one line that Markdown shows as it is; Markup, which is written here, stays Markdown."""
    if isinstance(value, Markup):
        return value
    return re.sub(r"([\\`*\[\]<>])", r"\\\1", " ".join(str(value).split()))


def _split_table(run: RunFolder) -> Markup:
    counts = count_labels(run.read_table("predictions.csv"))
    counts.insert(0, "photos", counts.sum(axis=1))
    rows = [(split, *(f"{n:,}" for n in row)) for split, *row in counts.itertuples()]
    return _table(["split", *counts.columns], rows)


def _settings(settings: dict) -> list[tuple]:
    unused = ONLY_SGD if settings["optimizer"] == "Adam" else ()
    return [(name, f"{value} (not used by Adam)" if name in unused else value) for name, value in settings.items()]


def _results(metrics: dict) -> Markup:
    rows = [
        (row.figure, f"{row.ours:.2f}", f"{row.low:.2f} to {row.high:.2f}")
        for row in results_table(metrics).itertuples(index=False)
    ]
    return _table(["percent, test split", "this model", "95 % interval"], rows)


def _steps(run: RunFolder) -> dict[str, dict]:
    """Per notebook: reads (names), writes (name -> sha256 as recorded), duration_s (None for the one that runs)."""
    recorded = {name: done for name, done in run.manifest["notebooks"].items() if name != REPORT}
    steps = {
        name: {"reads": list(done["reads"]), "writes": done["writes"], "duration_s": done["duration_s"]}
        for name, done in recorded.items()
    }
    # The report, like this description, takes every file of the notebooks before it, if only for its hash.
    everything = [name for done in recorded.values() for name in done["writes"]]
    written = {name: _sha256(run, name) for name in REPORT_FILES}
    return steps | {REPORT: {"reads": everything, "writes": written, "duration_s": None}}


def _sha256(run: RunFolder, name: str) -> str:
    if not run.path(name).is_file():
        raise FileNotFoundError(f"{name} is not in {run.dir}; the run description needs it, so run its notebook first")
    return file_sha256(run.path(name))


def _describe_root(crate: ROCrate, run: RunFolder) -> None:
    what = f"A run of the S2P reproduction kit on the {run.parameter('dataset')} dataset. Evidence: {run.tier}."
    crate.name = f"Run of the S2P reproduction kit: {model_name(run)}"
    crate.description = f"{run.warning} {what}".strip()
    version = PROCESS_RUN_CRATE.split("/")[-1]
    crate.root_dataset["conformsTo"] = _add(
        crate, PROCESS_RUN_CRATE, "CreativeWork", name="Process Run Crate", version=version
    )
    mit = _add(crate, MIT, "CreativeWork", name="MIT", description="Licence of the kit, and of what it draws")
    crate.root_dataset["license"] = mit if run.is_demo else _add_other_licences(crate)
    crate.root_dataset["citation"] = _add_paper(crate)


def _add_other_licences(crate: ROCrate) -> ContextEntity:
    text = (
        "The kit is MIT. Photos, labels, published scene probabilities and pretrained weights have licences of their "
        "own, which may bind what is made from them."
    )
    return _add(crate, "#licences", "CreativeWork", name="Several licences", description=text)


def _add_paper(crate: ROCrate) -> ContextEntity:
    """The paper, cited; its authors are not authors of the run."""
    authors = [_add(crate, f"#{name.replace(' ', '-')}", "Person", name=name) for name in PAPER["authors"]]
    paper = {"name": PAPER["title"], "datePublished": str(PAPER["year"])}
    entity = _add(crate, f"https://doi.org/{PAPER['doi']}", "ScholarlyArticle", **paper)
    entity["author"] = authors
    return entity


def _add_software(crate: ROCrate, run: RunFolder) -> None:
    machine = run.manifest["machine"]
    versions = dict(machine["versions"])
    ours = {"name": "s2p_lib, the S2P reproduction kit", "softwareVersion": versions.pop("s2p_lib")}
    ours |= {"identifier": f"git commit {machine['commit'] or 'unknown'}", "license": {"@id": MIT}}
    python = versions.pop("python")
    software = _add(crate, SOFTWARE, "SoftwareApplication", **ours)
    software["softwareRequirements"] = [
        _add(crate, f"https://www.python.org/#{python}", "SoftwareApplication", name="Python", softwareVersion=python),
        *(
            _add(crate, f"{PYPI}/{name}/{version}/", "SoftwareApplication", name=name, softwareVersion=version)
            for name, version in versions.items()
        ),
    ]


def _add_file(crate: ROCrate, run: RunFolder, name: str, notebook: str, recorded: str) -> None:
    sha256 = _sha256(run, name)
    if sha256 != recorded:
        raise ValueError(f"{name} is not as {notebook} wrote it; run {notebook} and those after it again")
    properties = {
        "name": name,
        "description": FILES[name],
        "encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream",
        "contentSize": str(run.path(name).stat().st_size),
        "sha256": sha256,
    }
    crate.add_file(run.path(name), name, properties=properties)


def _add_unhashed(crate: ROCrate, run: RunFolder) -> None:
    """What goes on changing after this description: the manifest and the cache."""
    about = (
        "Versions, hardware, parameters, hashes, times and energy of the run; changes with every notebook, so no hash"
    )
    properties = {"name": "manifest.json", "description": about, "encodingFormat": "application/json"}
    crate.add_file(run.path("manifest.json"), "manifest.json", properties=properties)
    if run.path("scene_logits").is_dir():
        properties = {"name": "scene_logits", "description": "Cache of scene logits; later runs may add to it"}
        crate.add_dataset(run.path("scene_logits"), "scene_logits", properties=properties)


def _add_run(crate: ROCrate, run: RunFolder, steps: dict[str, dict]) -> ContextEntity:
    manifest = run.manifest
    machine, emissions = manifest["machine"], run.read_table("emissions.csv")
    hardware = f"{machine['system']}, {machine['cpu_cores']} processor cores, GPU: {machine['gpu'] or 'none'}"
    action = _add(crate, "#run", "CreateAction", name="The run: all notebooks in order", description=f"On {hardware}.")
    action["instrument"] = {"@id": SOFTWARE}
    action["object"] = _inputs(crate, manifest.get("inputs", {})) + _parameters(crate, manifest["parameters"])
    action["result"] = [{"@id": name} for step in steps.values() for name in step["writes"]]
    action["resourceUsage"] = [
        _measured(crate, "run", "energy", emissions["energy_kwh"].sum(), "kWh"),
        _measured(crate, "run", "CO2eq", emissions["co2eq_kg"].sum(), "kg"),
    ]
    return action


def _add_step(crate: ROCrate, run: RunFolder, notebook: str, step: dict) -> ContextEntity:
    source = {"name": f"notebooks/{notebook}.ipynb", "programmingLanguage": "Python", "isPartOf": {"@id": SOFTWARE}}
    commit = run.manifest["machine"]["commit"] or "unknown"
    tool = _add(crate, f"#{notebook}.ipynb", "SoftwareSourceCode", version=commit, **source)
    action = _add(
        crate,
        f"#run-{notebook}",
        "CreateAction",
        name=f"Run of {notebook}",
        description=f"The notebook {notebook} in this folder, with the parameters of the run that it knows",
    )
    action["instrument"] = [tool, {"@id": SOFTWARE}]
    for role, names in (("object", step["reads"]), ("result", list(step["writes"]))):
        if names:
            action[role] = _one_or_all([{"@id": name} for name in names])
    if step["duration_s"] is not None:
        action["resourceUsage"] = _measured(crate, notebook, "duration", step["duration_s"], "s")
    return action


def _inputs(crate: ROCrate, inputs: dict[str, str]) -> list[ContextEntity]:
    """Files from outside, which are not in the folder: by name and hash."""
    return [
        _add(crate, f"#input-{i}", "CreativeWork", name=name, sha256=sha256)
        for i, (name, sha256) in enumerate(inputs.items())
    ]


def _parameters(crate: ROCrate, parameters: dict) -> list[ContextEntity]:
    return [
        _add(crate, f"#parameter-{name}", "PropertyValue", name=name, value=_without_machine(value))
        for name, value in parameters.items()
    ]


def _without_machine(value) -> str:
    """A parameter as text; of an absolute path only the last part, which tells of the run and not of the machine."""
    if value is None:
        return "none"
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else str(value)


def _measured(crate: ROCrate, of: str, name: str, value: float, unit: str) -> ContextEntity:
    return _add(crate, f"#{of}-{name}", "PropertyValue", name=name, value=f"{value:.6g}", unitText=unit)


def _add(crate: ROCrate, id_: str, type_: str, /, **properties) -> ContextEntity:
    return crate.add(ContextEntity(crate, id_, properties={"@type": type_} | properties))


def _one_or_all(values: list):
    """RO-Crate wants a single value as itself, not as a list of one."""
    return values[0] if len(values) == 1 else values
