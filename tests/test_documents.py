import hashlib
import re
from dataclasses import asdict

import pandas as pd
import pytest
import yaml
from rocrate.rocrate import ROCrate

from s2p_lib import documents
from s2p_lib.config import Settings
from s2p_lib.metrics import evaluate
from s2p_lib.run import NOTEBOOKS
from s2p_lib.run_folder import DEMO_WARNING, ROOT, RunFolder

HOSTILE = "<b>x</b> | `y` [z](http://a) *w*\n# v"
LABELS = ["private"] * 4 + ["public"] * 8
PREDICTIONS = ["private"] * 3 + ["public"] + ["public"] * 6 + ["private"] * 2


@pytest.fixture
def run(tmp_path) -> RunFolder:
    """A finished run on real photos of IPD, with little in its files: what 06_report finds, and its own tables."""
    folder = RunFolder(tmp_path)
    for io in NOTEBOOKS.values():
        for name in io.writes:
            folder.write_text(name, f"{name}\n")
    splits = pd.DataFrame({"image": [f"p{i}" for i in range(36)], "label": LABELS * 3, "prediction": PREDICTIONS * 3})
    splits["split"] = ["train"] * 12 + ["val"] * 12 + ["test"] * 12
    folder.write_table("predictions.csv", splits)
    folder.write_json("metrics.json", evaluate(LABELS, PREDICTIONS))
    emissions = {"stage": ["train", "predict"], "duration_s": [90.0, 270.0], "energy_kwh": [0.25, 0.5]}
    emissions |= {"co2eq_kg": [0.05, 0.1], "energy_source": "time x declared 65 W", "country": "GBR"}
    folder.write_table("emissions.csv", pd.DataFrame(emissions).assign(factor_kg_per_kwh=0.2))
    folder.write_json("manifest.json", manifest(folder))
    for name in (documents.MODEL_CARD, documents.RUN_DESCRIPTION):
        folder.path(name).unlink(missing_ok=True)
    return folder


def manifest(folder: RunFolder) -> dict:
    given = {"dataset": "ipd", "features": "photos", "data_dir": "/home/somebody/data", "fold": None, "backbone": None}
    given |= {"image_size": None, "bn_mode": "frozen", "init_checkpoint": None, "precision": "float32", "seed": 789}
    training = {
        "epochs": 117,
        "stopped": "learning rate below 1e-05",
        "kept_epoch": 100,
        "settings": asdict(Settings()),
    }
    training |= {"parameters": {"total": 24_256_649, "optimised": 732}, "image_size": 448}
    machine = {"versions": {"s2p_lib": "0.1.0", "python": "3.11.7", "torch": "2.14.1"}, "system": "Linux"}
    machine |= {"cpu_cores": 2, "gpu": None, "commit": "c0ffee", "finished_utc": "2026-01-02T03:04:05+00:00"}
    finished = {
        name: {"reads": dict.fromkeys(io.reads, "0"), "writes": hashes(folder, io.writes), "duration_s": 1.5}
        for name, io in NOTEBOOKS.items()
        if name != documents.REPORT
    }
    return {
        "notebooks": finished,
        "parameters": given | {"model_version": None},
        "training": training | {"from_trained_backbone": False},
        "machine": machine,
        "inputs": {"labels.csv": "ab" * 32},
    }


def hashes(folder: RunFolder, names) -> dict[str, str]:
    return {name: hashlib.sha256(folder.path(name).read_bytes()).hexdigest() for name in names}


def card(run: RunFolder) -> str:
    documents.write_model_card(run)
    return run.path("MODEL_CARD.md").read_text()


def crate(run: RunFolder) -> ROCrate:
    documents.write_model_card(run)
    documents.write_run_description(run)
    return ROCrate(run.dir)


def change(run: RunFolder, section: str, **values) -> None:
    run.update_manifest(section, values)


def test_the_cards_own_settings_on_its_architecture_are_version_1_0_0(run):
    assert documents.model_name(run) == "S2P-ipd-1.0.0"


@pytest.mark.parametrize(
    ("section", "changed", "version"),
    [
        ("parameters", {"bn_mode": "released"}, "1.0.0"),
        ("parameters", {"bn_mode": "adapted"}, "1.1.0"),
        ("parameters", {"backbone": "resnet18"}, "0.0.0"),
        ("parameters", {"features": "published_scenes"}, "1.0.0"),
        ("training", {"settings": asdict(Settings(seed=1))}, "1.0.0"),
        ("training", {"settings": asdict(Settings(patience=3))}, "1.1.0"),
        ("parameters", {"model_version": "1.2.34"}, "1.2.34"),
    ],
)
def test_what_differs_from_the_card_moves_its_part_of_the_version(run, section, changed, version):
    change(run, section, **changed)
    assert documents.model_version(run) == version


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0-rc", "1.0.0\n", "\u0661.0.0", ""])
def test_a_version_of_another_form_is_refused(run, version):
    change(run, "parameters", model_version=version)
    with pytest.raises(ValueError, match=r"such as 1\.0\.1"):
        documents.write_model_card(run)
    assert not run.path("MODEL_CARD.md").exists()


def test_figures_of_the_card_are_those_of_the_run(run):
    text = card(run)
    assert "| private recall | 75.00 |" in text
    assert "| test | 12 | 4 | 8 |" in text
    assert "Of 4 private test photos it called 1 public; of 8 public ones it called 2 private." in text
    assert "25.0 % of the test photos" in text
    assert "0.1 h, 0.75 kWh" in text
    assert "0.15 kg CO2eq" in text
    assert hashes(run, ["checkpoint.pth"])["checkpoint.pth"] in text


def test_only_a_demo_card_opens_with_the_warning(run):
    assert DEMO_WARNING not in card(run)
    change(run, "parameters", dataset="demo", data_dir=None)
    before, after = card(run).split(DEMO_WARNING)
    assert before.endswith("\n# Model Card for S2P-demo-0.1.0\n\n> **")
    assert after


def test_a_card_without_photos_says_so(run):
    change(run, "parameters", features="published_scenes")
    assert "no photo was opened" in card(run)
    assert "--weights" in card(run)


def test_text_from_outside_stays_text_in_the_card(run):
    change(run, "machine", gpu=HOSTILE)
    change(run, "machine", versions={"torch": HOSTILE})
    text = card(run)
    assert r"\<b\>x\</b\> | \`y\` \[z\](http://a) \*w\* # v, 2 processor cores" in text
    assert r"| torch | \<b\>x\</b\> \| \`y\`" in text


def test_the_description_is_read_back_as_the_run(run):
    read = crate(run)
    described = {entity.id for entity in read.data_entities} - {"manifest.json"}
    written = {name for io in NOTEBOOKS.values() for name in io.writes} - {documents.RUN_DESCRIPTION}
    assert described == written
    for name in written:
        entity = read.get(name)
        assert entity["sha256"] == hashes(run, [name])[name]
        assert entity["contentSize"] == str(run.path(name).stat().st_size)
        assert entity["encodingFormat"]
        assert entity["description"]


def test_actions_link_what_was_read_to_what_was_written(run):
    read = crate(run)
    for name, io in NOTEBOOKS.items():
        action = read.get(f"#run-{name}")
        assert action.type == "CreateAction"
        results = {entity.id for entity in as_list(action["result"])}
        assert results == set(io.writes) - {documents.RUN_DESCRIPTION}
        objects = {entity.id for entity in as_list(action.get("object", []))}
        assert objects >= set(io.reads)
        assert {entity.id for entity in action["instrument"]} == {f"#{name}.ipynb", "#s2p_lib"}
    assert read.get("#02_train-duration")["value"] == "1.5"
    assert read.get("#run-energy")["value"] == "0.75"


def test_no_reference_within_the_description_is_open(run):
    crate(run)
    graph = run.read_json("ro-crate-metadata.json")["@graph"]
    identifiers = [entity["@id"] for entity in graph]
    assert len(set(identifiers)) == len(identifiers)
    conforms = "https://w3id.org/ro/crate/1.1"
    assert set(references(graph)) <= {*identifiers, conforms}
    root = next(entity for entity in graph if entity["@id"] == "./")
    assert {"name", "description", "datePublished", "license", "hasPart"} <= set(root)
    assert "author" not in root


def test_parameters_are_told_and_paths_of_the_machine_are_not(run):
    read = crate(run)
    assert read.get("#parameter-seed")["value"] == "789"
    assert read.get("#parameter-data_dir")["value"] == "data"
    assert "/home/" not in run.path("ro-crate-metadata.json").read_text()


def test_a_demo_description_carries_the_warning(run):
    assert DEMO_WARNING not in crate(run).description
    change(run, "parameters", dataset="demo", data_dir=None)
    assert crate(run).description.startswith(DEMO_WARNING)


def test_a_file_that_is_not_as_written_is_not_described(run):
    documents.write_model_card(run)
    run.write_text("failures.csv", "changed by hand")
    with pytest.raises(ValueError, match=r"failures.csv is not as 04_failures wrote it; run 04_failures"):
        documents.write_run_description(run)
    run.path("failures.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"failures.csv is not in"):
        documents.write_run_description(run)


def test_every_file_of_the_notebooks_has_a_description():
    written = {name for io in NOTEBOOKS.values() for name in io.writes}
    assert written - {documents.RUN_DESCRIPTION} <= set(documents.FILES)
    assert set(NOTEBOOKS[documents.REPORT].writes) == {*documents.REPORT_FILES, documents.RUN_DESCRIPTION}


def codecheck() -> dict:
    return yaml.safe_load((ROOT / "codecheck.yml").read_text(encoding="utf-8"))


def test_codecheck_has_what_version_2_0_asks_of_an_author():
    text = (ROOT / "codecheck.yml").read_text(encoding="utf-8")
    assert "\n---\n" in text
    assert not re.search("FIXME|TODO|XXXX", text)
    content = codecheck()
    assert content["version"] == "https://codecheck.org.uk/spec/config/2.0/"
    assert content["paper"]["title"] == documents.PAPER["title"]
    assert [author["name"] for author in content["paper"]["authors"]] == list(documents.PAPER["authors"])
    assert content["paper"]["reference"] == f"https://doi.org/{documents.PAPER['doi']}"
    assert all(item["comment"] for item in content["manifest"])


def test_what_the_codechecker_adds_is_left_to_the_codechecker():
    assert not {"codechecker", "report", "summary", "certificate", "check_time"} & set(codecheck())


def test_orcids_have_a_right_check_digit():
    """ISO 7064 MOD 11-2."""
    given = [author["ORCID"] for author in codecheck()["paper"]["authors"] if "ORCID" in author]
    assert given
    for orcid in given:
        total = 0
        for digit in orcid.replace("-", "")[:-1]:
            total = (total + int(digit)) * 2
        assert orcid[-1] == "0123456789X"[(12 - total % 11) % 11]


def test_the_manifest_lists_files_that_make_reproduce_writes():
    files = [item["file"] for item in codecheck()["manifest"]]
    written = {f"outputs/demo/{name}" for io in NOTEBOOKS.values() for name in io.writes}
    assert len(set(files)) == len(files)
    assert set(files) <= written
    assert {"outputs/demo/metrics.json", "outputs/demo/claims.csv", "outputs/demo/report.html"} <= set(files)


def as_list(value) -> list:
    return value if isinstance(value, list) else [value]


def references(node) -> list[str]:
    """Every ``{"@id": ..}`` within entities of a graph."""
    if isinstance(node, dict):
        own = [node["@id"]] if set(node) == {"@id"} else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []
