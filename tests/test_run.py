import itertools
import json
import re
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from s2p_lib import datasets, samples, scene_logits
from s2p_lib import model as s2p
from s2p_lib import run as runs
from s2p_lib.__main__ import main
from s2p_lib.run_folder import ROOT, RunFolder

NAMES = tuple(runs.NOTEBOOKS)


def namespace_of(notebook: str, injected: str = "", **changed) -> dict:
    """What ``globals()`` of a notebook holds after its parameters cell and the cell that papermill injects."""
    defaults = {n: runs.Parameters.model_fields[n].default for n in runs.NOTEBOOKS[notebook].parameters}
    cells = ["", "a cell", *([f"# Parameters\n{injected}\n"] if injected else [])]
    return defaults | {"In": cells, **changed}


def test_an_unknown_parameter_is_an_error_with_a_suggestion(tmp_path):
    namespace = namespace_of("02_train", "sed = 3", run_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"'sed' is unknown to notebook 02_train\. Did you mean 'seed'\?"):
        runs.start("02_train", namespace)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("bn_mode", "molten", "'frozen'"),
        ("dataset", "imagenet", "'demo'"),
        ("lr", -1, "greater than 0"),
        ("lr", "fast", "number"),
        ("lr", "inf", "finite"),
        ("batch_size", 0, "greater than or equal to 1"),
        ("batch_size", 1.5, "integer"),
        ("device", "abacus", "'cpu'"),
        ("on_bad_photo", "ignore", "'report'"),
        ("workers", -1, "greater than or equal to 0"),
        ("fold", "last", "'final' or 'original'"),
        ("fold", -1, "greater than or equal to 0"),
        ("precision", "float16", "'bfloat16'"),
        ("n_seeds", 0, "greater than or equal to 1"),
        ("max_photos", 29, "greater than or equal to 30"),
        ("baselines", "none", "'all' or 'quick'"),
        ("grid_factor", 0, "greater than 0"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(name, value, said):
    with pytest.raises(ValueError, match=f"parameter {name}={value!r} is not allowed: .*{said}"):
        runs.check_parameters({name: value})


def test_what_the_config_says_counts_unless_the_notebook_was_given_something_else(tmp_path, capsys):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"params": {"seed": 5, "init_lr": 0.5, "optimizer": "SGD", "max_num_epochs": 7}}))
    finish("01_data_splits", tmp_path, "x")
    # lr was changed in the notebook's own cell; seed was injected by papermill, although with its default
    changed = {"config": str(config), "lr": 0.25, "run_dir": str(tmp_path)}
    run = runs.start("02_train", namespace_of("02_train", "seed = 789", **changed))
    assert (run.p.lr, run.p.seed, run.p.max_epochs) == (0.25, 789, 7)
    assert (run.settings.optimizer, run.settings.lr, run.settings.max_epochs) == ("SGD", 0.25, 7)
    assert "optimizer=SGD" in capsys.readouterr().out


def test_a_checkpoint_with_another_number_of_logits_than_the_training_is_refused(tmp_path):
    model, _ = s2p.load_s2p("demo", use_bce=True)
    s2p.write_checkpoint(tmp_path / "bce.pth", model, 0.5, 0)
    finish("01_data_splits", tmp_path, "x")
    given = {"init_checkpoint": str(tmp_path / "bce.pth"), "run_dir": str(tmp_path)}
    run = runs.start("02_train", namespace_of("02_train", **given))
    with pytest.raises(ValueError, match=r"bce\.pth has 1 privacy logit\(s\), this training 2: .*use_bce"):
        run.load_model()


def test_parameters_given_as_text_become_numbers():
    p = runs.check_parameters({"lr": "0.01", "seed": "3", "workers": "2", "max_hours": "0.5", "fold": "1"})
    assert (p.lr, p.seed, p.workers, p.max_hours, p.fold) == (0.01, 3, 2, 0.5, 1)


def test_a_notebook_whose_inputs_are_missing_says_which_notebook_makes_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"03_evaluate reads splits\.csv, which 01_data_splits writes"):
        runs.start("03_evaluate", namespace_of("03_evaluate", run_dir=str(tmp_path)))


def finish(notebook: str, folder, text: str) -> None:
    """A run of one notebook that writes ``text`` into each of its files."""
    run = runs.start(notebook, namespace_of(notebook, run_dir=str(folder)))
    for name in runs.NOTEBOOKS[notebook].writes:
        run.write_text(name, text)
    run.finish()


def test_results_made_from_another_split_are_refused(tmp_path):
    finish("01_data_splits", tmp_path, "first split")
    finish("02_train", tmp_path, "trained on the first split")
    runs.start("03_evaluate", namespace_of("03_evaluate", run_dir=str(tmp_path)))
    finish("01_data_splits", tmp_path, "second split")
    with pytest.raises(ValueError, match=r"history\.csv was made by 02_train from another splits\.csv"):
        runs.start("03_evaluate", namespace_of("03_evaluate", run_dir=str(tmp_path)))


def test_a_result_that_was_changed_by_hand_is_refused(tmp_path):
    finish("01_data_splits", tmp_path, "as written")
    (tmp_path / "splits.csv").write_text("as edited")
    with pytest.raises(ValueError, match=r"splits\.csv is not as 01_data_splits wrote it"):
        runs.start("02_train", namespace_of("02_train", run_dir=str(tmp_path)))


def test_files_that_changed_after_a_notebook_read_them_are_named(tmp_path):
    finish("01_data_splits", tmp_path, "first")
    finish("02_train", tmp_path, "x")
    assert runs.changed_inputs(RunFolder(tmp_path), "02_train") == []
    finish("01_data_splits", tmp_path, "second")
    assert runs.changed_inputs(RunFolder(tmp_path), "02_train") == ["splits.csv"]


def test_a_notebook_that_forgets_an_output_does_not_finish(tmp_path):
    run = runs.start("01_data_splits", namespace_of("01_data_splits", run_dir=str(tmp_path)))
    run.write_text("splits.csv", "")
    with pytest.raises(FileNotFoundError, match=r"audit\.csv"):
        run.finish()


def test_parameters_of_earlier_notebooks_are_known_to_later_ones(tmp_path):
    finish("01_data_splits", tmp_path, "x")
    finish("02_train", tmp_path, "x")
    run = runs.start("03_evaluate", namespace_of("03_evaluate", run_dir=str(tmp_path)))
    assert run.parameter("dataset") == "demo"
    assert run.backbone == "demo"


def test_a_stage_leaves_its_time_energy_and_memory(tmp_path):
    run = runs.start("01_data_splits", namespace_of("01_data_splits", run_dir=str(tmp_path)))
    with run.stage("work"):
        sum(range(1000))
    stage = run.manifest["stages"]["work"]
    assert set(stage) == {"duration_s", "energy_kwh", "energy_source", "peak_memory_bytes"}
    assert stage["peak_memory_bytes"] > 10_000_000  # a Python process with pandas has more than 10 MB


def test_the_peak_memory_of_a_process_is_not_its_parents():
    held = np.ones(100_000_000)  # 800 MB
    code = "from s2p_lib.run import peak_memory_bytes; print(peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < held.nbytes < runs.peak_memory_bytes()


def test_photos_that_vanished_since_are_left_out_and_added_to_the_audit(tree, tmp_path):
    table, *_ = datasets.read("ipd", tree.dir)
    given = {"run_dir": str(tmp_path), "data_dir": str(tree.dir), "dataset": "ipd"}
    run = runs.start("01_data_splits", namespace_of("01_data_splits", **given))
    run.write_table("splits.csv", table)
    run.write_table("audit.csv", pd.DataFrame(columns=samples.PROBLEM_COLUMNS))
    run.write_table("labels_splits.csv", samples.released_splits(table, 0))
    run.write_table("folds.csv", datasets.published_folds("ipd", tree.dir))
    run.finish()
    tree.photo(5).unlink()
    for _ in range(2):
        run = runs.start("02_train", namespace_of("02_train", run_dir=str(tmp_path)))
        kept, logits = run.load_scene_logits(table, *s2p.load_s2p())
        assert len(kept) == len(logits) == 11
        row = ["p5", "curated_picalert/imgs/batch00/p5.jpg", "missing file", "left out"]
        assert run.read_table("audit.csv").values.tolist() == [row]
    stopping = runs.start("02_train", namespace_of("02_train", run_dir=str(tmp_path), on_bad_photo="stop"))
    with pytest.raises(ValueError, match=r"p5\.jpg"):
        stopping.load_scene_logits(table, *s2p.load_s2p())
    tree.photo(11).unlink()
    tree.photo(10).unlink()
    run = runs.start("02_train", namespace_of("02_train", run_dir=str(tmp_path)))
    with pytest.raises(ValueError, match="'test' has no public"):
        run.load_scene_logits(table, *s2p.load_s2p())


def test_an_engine_is_asked_for_the_runs_own_precision_alone(tree, tmp_path, monkeypatch):
    """The comparison of precisions must not fail for an engine that has only one of them."""
    asked = []
    monkeypatch.setattr(
        scene_logits,
        "extract_scene_logits",
        lambda samples, *_, precision, engine, **__: (asked.append((precision, engine)) or np.zeros((12, 365)), {}),
    )
    given = {"run_dir": str(tmp_path), "data_dir": str(tree.dir), "dataset": "ipd", "engine": "openvino"}
    finish("01_data_splits", tmp_path, "x")
    run = runs.start("02_train", namespace_of("02_train", **given))
    table = datasets.read("ipd", tree.dir).samples
    for precision in (None, "float32", "bfloat16"):
        run.load_scene_logits(table, None, None, precision)
    assert asked == [("float32", "openvino"), ("float32", "openvino"), ("bfloat16", "auto")]


def test_a_notebook_that_stopped_half_way_leaves_no_result_to_go_on_with(tmp_path):
    finish("01_data_splits", tmp_path, "x")
    finish("02_train", tmp_path, "x")
    runs.start("02_train", namespace_of("02_train", run_dir=str(tmp_path), image_size=448))  # and is killed
    assert RunFolder(tmp_path).manifest["parameters"]["image_size"] is None
    with pytest.raises(FileNotFoundError, match="which 02_train writes"):
        runs.start("03_evaluate", namespace_of("03_evaluate", run_dir=str(tmp_path)))


def test_image_names_that_look_like_numbers_or_nothing_stay_text(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_table("t.csv", pd.DataFrame({"image": ["007", "1e5", "NA", "nan"]}))
    assert folder.read_table("t.csv")["image"].tolist() == ["007", "1e5", "NA", "nan"]


def notebook_with(code: str) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("# divide\ny = 1 / 0", ["failed in cell In [3]", "ZeroDivisionError: division by zero", "    y = 1 / 0"]),
        ("import os\nos._exit(1)", ["the kernel died", "memory"]),
    ],
)
def test_a_run_stops_at_the_first_failing_notebook_and_keeps_it(tmp_path, monkeypatch, code, said):
    (tmp_path / "notebooks").mkdir()
    for name in NAMES:
        nbformat.write(notebook_with(code), tmp_path / "notebooks" / f"{name}.ipynb")
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "01_data_splits" in result.output
    assert all(words in result.output for words in said)
    assert (tmp_path / "out" / "01_data_splits.ipynb").is_file()
    assert not (tmp_path / "out" / "02_train.ipynb").exists()


def test_the_command_refuses_unknown_parameters_before_it_starts(tmp_path):
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out"), "-p", "sede", "1"])
    assert result.exit_code == 1
    assert "Did you mean 'seed'?" in result.output
    assert not list(tmp_path.glob("out/*.ipynb"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "needs data_dir"),
        ({"data_dir": "."}, "resnet50_places365.pth.tar"),
        ({"data_dir": ".", "weights": "nowhere.pth"}, "nowhere.pth not found"),
        ({"dataset": "demo", "run_dir": "elsewhere"}, "--out"),
        ({"dataset": "demo", "precision": "tf32", "device": "cpu"}, "precision='tf32' is not there on cpu"),
        ({"dataset": "demo", "engine": "openvino", "precision": "bfloat16", "device": "cpu"}, "use engine='torch'"),
        ({"dataset": "demo", "data_dir": "/nowhere"}, "parent folder of curated_ipd"),
        ({"dataset": "demo", "country": "XXX"}, "'XXX' is unknown"),
        ({"dataset": "demo", "weights": __file__}, "was not read"),
        ({"dataset": "demo", "init_checkpoint": __file__}, "was not read"),
        ({"dataset": "demo", "config": "nowhere.json"}, "nowhere.json not found"),
        ({"dataset": "demo", "config": __file__}, "is no JSON file"),
        ({"dataset": "demo", "features": "published_scenes"}, "needs dataset ipd, privacyalert, picalert or vispr"),
        ({"data_dir": ".", "features": "published_scenes", "weights": __file__}, "has no backbone: leave out weights"),
        ({"data_dir": ".", "features": "published_scenes", "bn_mode": "released"}, "leave out bn_mode"),
        ({"data_dir": ".", "backbone": "published_scenes"}, "is no network; use -p features published_scenes"),
        ({"data_dir": ".", "features": "published_scenes"}, "parent folder of curated_ipd"),
        ({"dataset": "privacyalert"}, "needs data_dir"),
        ({"dataset": "demo", "data_dir": "."}, "is not the drawn demo dataset"),
        ({"dataset": "folder"}, "the folder of your photos"),
    ],
)
def test_what_a_run_lacks_is_said_before_any_work_and_before_old_results_go(tmp_path, given, said):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({"made_by": runs.MADE_BY}))
    (tmp_path / "out" / "report.html").write_text("the report of last week")
    options = [part for name, value in ({"dataset": "ipd"} | given).items() for part in ("-p", name, value)]
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 1
    assert said in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "report.html"]


def test_a_new_run_removes_the_results_of_the_old_one_but_not_the_cache(tmp_path, monkeypatch):
    for name in ("manifest.json", "report.html", "notes.txt"):
        (tmp_path / name).write_text(json.dumps({"made_by": runs.MADE_BY}))
    (tmp_path / "scene_logits").mkdir()
    runs._remove_results(tmp_path, NAMES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "scene_logits"]


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / "report.html").write_text("somebody's")
    runs._remove_results(tmp_path, NAMES)
    assert (tmp_path / "report.html").is_file()
    (tmp_path / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(ValueError, match="did not write"):
        runs._remove_results(tmp_path, NAMES)
    assert (tmp_path / "report.html").is_file()


def test_a_preset_sets_parameters_and_those_given_win():
    assert runs.with_preset(None, {"seed": "1"}) == {"seed": "1"}
    short = runs.with_preset("short", {"dataset": "ipd", "n_seeds": "3"})
    assert (short["n_seeds"], short["max_photos"], short["baselines"]) == ("3", 600, "quick")
    assert runs.with_preset("demo", {"dataset": "demo"}) == {"dataset": "demo"}
    for name in runs.PRESETS:
        runs.check_parameters(runs.with_preset(name, {}))


def test_the_demo_preset_is_for_the_demo_dataset_alone(tmp_path):
    given = ["--preset", "demo", "-p", "dataset", "ipd", "-p", "data_dir", str(tmp_path)]
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out"), *given])
    assert result.exit_code == 1
    assert "not for dataset='ipd'; use short or full" in result.output
    assert not (tmp_path / "out").exists()


def files_below(folder) -> dict:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_a_dry_run_prints_the_estimate_and_leaves_everything_as_it_was(tree, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(json.dumps({"made_by": runs.MADE_BY}))
    (out / "report.html").write_text("the report of last week")
    before = files_below(tmp_path)
    given = ["-p", "dataset", "ipd", "-p", "data_dir", str(tree.dir), "-p", "backbone", "resnet18"]
    result = CliRunner().invoke(main, ["run", "--out", str(out), "--preset", "short", "--dry-run", *given])
    assert result.exit_code == 0, result.output
    assert "An estimate, from a few timed photos" in result.output
    assert re.search(r"scene logits +12 ", result.output)
    assert "compare BatchNorm modes" not in result.output
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sede": "1"}, "Did you mean 'seed'?"),
        ({"dataset": "ipd"}, "needs data_dir"),
        ({"dataset": "ipd", "data_dir": "/nowhere"}, "parent folder of curated_ipd"),
        ({"features": "published_scenes"}, "needs dataset ipd"),
        ({"run_dir": "elsewhere"}, "--out"),
    ],
)
def test_what_is_wrong_is_an_error_of_a_dry_run(tmp_path, given, said):
    options = [part for name, value in given.items() for part in ("-p", name, value)]
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out"), "--dry-run", *options])
    assert result.exit_code == 1
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


def empty_notebooks(folder) -> None:
    (folder / "notebooks").mkdir()
    for name in NAMES:
        nbformat.write(notebook_with("y = 2"), folder / "notebooks" / f"{name}.ipynb")


def test_an_estimate_that_fails_is_told_in_one_line_and_stops_nothing(tmp_path, monkeypatch):
    empty_notebooks(tmp_path)
    monkeypatch.setattr(runs, "ROOT", tmp_path)

    def fail(_):
        raise RuntimeError("no\nphotos")

    monkeypatch.setattr("s2p_lib.estimate.estimate_run", fail)
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out"), "--no-summary"])
    assert result.exit_code == 0, result.output
    assert "no estimate of what this run will take: no photos\n" in result.output
    assert (tmp_path / "out" / "06_report.ipynb").is_file()


def test_the_estimate_comes_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook_with("1 / 0"), tmp_path / "notebooks" / "01_data_splits.ipynb")
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    monkeypatch.setattr("s2p_lib.estimate.describe_or_why_not", lambda p: f"as estimated for {p.n_seeds} seeds")
    result = CliRunner().invoke(main, ["run", "--out", str(tmp_path / "out"), "--preset", "short"])
    assert result.output.index("as estimated for 10 seeds") < result.output.index("01_data_splits ...")


def test_show_of_an_unfinished_run_says_so(tmp_path):
    result = CliRunner().invoke(main, ["show", str(tmp_path)])
    assert result.exit_code == 1
    assert "no finished run" in str(result.output)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_takes_its_parameters_with_the_kits_defaults_and_meanings(name):
    cell = next(c for c in read(name).cells if "parameters" in c.metadata.get("tags", []))
    lines = [line.split("  # ") for line in cell.source.splitlines()]
    values = SimpleNamespace()
    exec(cell.source, values.__dict__)
    assert [assignment.split(" = ")[0] for assignment, _ in lines] == list(runs.NOTEBOOKS[name].parameters)
    for assignment, meaning in lines:
        parameter = assignment.split(" = ")[0]
        field = runs.Parameters.model_fields[parameter]
        assert getattr(values, parameter) == field.default
        assert meaning == field.description


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_in_git_is_clean(name):
    notebook = read(name)
    assert notebook.metadata.kernelspec.name == "python3"
    text = "\n".join(cell.source for cell in notebook.cells)
    assert str(ROOT) not in text
    assert "/home/" not in text
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_a_head_prose_before_code_and_the_card_at_the_end(name):
    cells = read(name).cells
    for word in ("Question", "Answer", "Inputs", "Outputs", "Run time"):
        assert f"**{word}:**" in cells[0].source
    assert cells[1].cell_type == "markdown"
    assert cells[-2].source.startswith("## The card beside this run")
    kinds = [cell.cell_type for cell in cells]
    assert ("code", "code") not in list(itertools.pairwise(kinds))
    assert all("def " not in cell.source for cell in cells if cell.cell_type == "code")


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def test_the_audit_command_needs_no_weights_and_counts_by_kind(tree, tmp_path):
    tree.photo(5).write_bytes(b"")
    tree.photo(6).write_bytes(tree.photo(10).read_bytes())
    out = tmp_path / "out"
    given = ["-p", "dataset", "ipd", "-p", "data_dir", str(tree.dir)]
    result = CliRunner().invoke(main, ["audit", "--out", str(out), *given])
    assert result.exit_code == 0, result.output
    assert "11 of 12 photos can be used; 3 have something to be told" in result.output
    assert re.search(r"same file as another photo +2 +used", result.output)
    assert re.search(r"empty file +1 +left out", result.output)
    assert sorted(p.name for p in out.glob("*.csv")) == ["audit.csv", "folds.csv", "labels_splits.csv", "splits.csv"]


def test_the_audit_command_stops_at_a_bad_photo_if_asked_to(tree, tmp_path):
    tree.photo(5).write_bytes(b"")
    given = ["-p", "dataset", "ipd", "-p", "data_dir", str(tree.dir), "-p", "on_bad_photo", "stop"]
    result = CliRunner().invoke(main, ["audit", "--out", str(tmp_path / "out"), *given])
    assert result.exit_code == 1
    assert "p5.jpg: empty file" in result.output


def test_a_config_for_photos_serves_published_scenes_too(tmp_path):
    content = {"params": {"seed": 5, "max_num_epochs": 7}, "net_params": {"img_size": 448, "backbone_arch": "resnet18"}}
    (tmp_path / "c.json").write_text(json.dumps(content))
    given = {"config": str(tmp_path / "c.json"), "dataset": "ipd"}
    assert runs.resolve(given)[0].image_size == 448
    checked, _ = runs.resolve(given | {"features": "published_scenes"})
    assert (checked.image_size, checked.backbone, checked.seed) == (None, None, 5)
    runs.check_features(checked)


@pytest.mark.parametrize(
    ("asked_first", "asked_later", "shown"),
    [(None, None, False), (True, None, True), (None, True, True), (True, False, False), (False, None, False)],
)
def test_what_the_first_notebook_was_asked_about_photos_holds_for_later_ones(tmp_path, asked_first, asked_later, shown):
    """And a later notebook can be asked otherwise, for itself and those after it."""
    given = {"run_dir": str(tmp_path), "dataset": "ipd", "show_photos": asked_first}
    run = runs.start("01_data_splits", namespace_of("01_data_splits", **given))
    for name in runs.NOTEBOOKS["01_data_splits"].writes:
        run.write_text(name, "x")
    run.finish()
    (tmp_path / "claims.csv").write_text("x")
    for name in runs.NOTEBOOKS["06_report"].reads:
        run.write_text(name, "x")
    manifest = run.manifest
    manifest["notebooks"] |= {n: {"reads": {}, "writes": run._hashes(io.writes)} for n, io in made(run).items()}
    run.write_json("manifest.json", manifest)
    later = runs.start("06_report", namespace_of("06_report", run_dir=str(tmp_path), show_photos=asked_later))
    assert later.show_photos is shown


def made(run) -> dict:
    """Every notebook but the last, with its files there."""
    notebooks = {n: io for n, io in runs.NOTEBOOKS.items() if n != "06_report"}
    for io in notebooks.values():
        for name in io.writes:
            if not run.path(name).is_file():
                run.write_text(name, "x")
    return notebooks


def test_the_audit_command_tells_what_it_found_even_if_no_split_can_be_used(tree, own_photos, tmp_path):
    for i in range(4):
        tree.photo(i).unlink()
    given = ["-p", "dataset", "ipd", "-p", "data_dir", str(tree.dir)]
    result = CliRunner().invoke(main, ["audit", "--out", str(tmp_path / "out"), *given])
    assert result.exit_code == 1
    assert re.search(r"missing file +4 +left out", result.output)
    assert "has no private photo" in result.output
    for file in list((own_photos / "private").rglob("*.jpg"))[2:]:
        file.write_bytes(b"")
    given = ["-p", "dataset", "folder", "-p", "data_dir", str(own_photos)]
    result = CliRunner().invoke(main, ["audit", "--out", str(tmp_path / "own"), *given])
    assert result.exit_code == 1
    assert re.search(r"empty file +10 +left out", result.output)
    assert "at least 5 different photos of each class; there are 2 private, 18 public" in result.output
