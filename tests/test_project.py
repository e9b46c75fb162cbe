"""One list of pinned versions feeds pip, conda and continuous integration; the repository holds what it should."""

import re
import subprocess
import tomllib
from importlib.metadata import version

import pytest
import yaml
from packaging.requirements import Requirement

from s2p_lib.run_folder import ROOT


def locked() -> dict[str, Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return {r.name.lower().replace("_", "-"): r for r in (Requirement(line) for line in lines if line)}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_version_is_pinned():
    assert all(re.fullmatch(r"==[^*]+", str(r.specifier)) for r in locked().values())


def test_torch_and_torchvision_are_those_that_the_kit_was_made_for():
    assert str(locked()["torch"].specifier) == "==2.14.1"
    assert str(locked()["torchvision"].specifier) == "==0.29.1"


def test_every_dependency_is_in_the_lock_file():
    named = [*project()["dependencies"], *project()["optional-dependencies"]["test"]]
    assert {Requirement(n).name for n in named} <= set(locked())
    assert not any(Requirement(n).specifier for n in named), "versions belong into requirements.lock alone"


def test_the_installed_versions_are_the_locked_ones():
    wrong = {
        name: version(name)
        for name, requirement in locked().items()
        if (requirement.marker is None or requirement.marker.evaluate()) and version(name) not in requirement.specifier
    }
    assert wrong == {}


def test_conda_takes_python_3_11_and_the_same_list():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    assert "python=3.11" in plain
    assert "pip" in plain
    assert pip == ["-r requirements.lock", "-e ."]
    assert project()["requires-python"] == "==3.11.*"


def test_make_installs_the_same_list_and_ci_calls_make():
    assert "--requirement requirements.lock" in (ROOT / "Makefile").read_text()
    assert (ROOT / ".ci" / "run").read_text().endswith("\nmake test\nmake test-ray\n")


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return done.stdout.splitlines()


def test_the_top_level_is_what_the_readme_says():
    top = {path.split("/")[0] for path in tracked()}
    assert top == {
        *("notebooks", "s2p_lib", "outputs", "environment.yml", "tests", "README.md"),
        *("pyproject.toml", "requirements.lock", "Makefile", "LICENSE", "CITATION.cff", ".ci", ".gitignore"),
        *("ARTIFACT-APPENDIX.md", "BEYOND_ONE_MACHINE.md", "codecheck.yml"),
    }


def test_outputs_are_not_in_git():
    assert [path for path in tracked() if path.startswith("outputs/")] == ["outputs/.gitkeep"]


@pytest.mark.parametrize("path", ["outputs/ipd/failures.html", "outputs/ipd/04.ipynb", "data/curated_ipd/x"])
def test_photos_and_what_is_made_of_them_stay_outside_git(path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT)
    assert done.returncode == 0
