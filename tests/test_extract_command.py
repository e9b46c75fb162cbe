"""``s2p extract``, up to where Ray begins; the good case is in test_ray_extraction.py, which has a cluster."""

import sys

import pytest
from click.testing import CliRunner

from s2p_lib import ray_extraction
from s2p_lib.__main__ import main
from s2p_lib.logit_cache import CacheNotWritten

DEMO = ["--backbone", "demo", "--image-size", "32"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls the command with a list of this content; gives its exit status and what it wrote."""
    monkeypatch.chdir(tmp_path)

    def call(content: bytes, *options: str):
        (tmp_path / "photos.txt").write_bytes(content)
        result = CliRunner().invoke(main, ["extract", "photos.txt", *DEMO, *options])
        assert isinstance(result.exception, SystemExit)  # no traceback
        return result.exit_code, result.output

    return call


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        (b"\n", [], "there are no photos to extract; give at least one path or address"),
        (b"a.jpg\n\xe9.jpg\n", [], "photos.txt is no UTF-8 text (see its line 2): save it as UTF-8"),
        (b"a.jpg", ["--precision", "tf32"], "precision='tf32' is not there on cpu; allowed there: float32, bfloat16"),
        (b"a.jpg", ["--cpus", "nan"], "cpus=nan is not allowed; allowed: more than 0"),
        (b"a.jpg", ["--backbone", "published_scenes"], "this backbone takes no photos"),
    ],
)
def test_an_error_before_any_work_says_nothing_of_what_was_computed(run, content, options, told):
    pytest.importorskip("ray.data", reason="Ray is not installed")
    status, text = run(content, *options)
    assert status == 1
    assert text.startswith(f"Error: {told}")
    assert "goes on" not in text


def test_an_unknown_file_system_is_told(run):
    pytest.importorskip("ray.data", reason="Ray is not installed")
    status, text = run(b"nowhere://bucket/a.jpg")
    assert status == 1
    assert text.startswith("Error: addresses that begin with nowhere:// cannot be read: ")
    assert "goes on" not in text


@pytest.mark.parametrize(("option", "value"), [("--cpus", "0"), ("--cpus", "-1"), ("--gpus", "-0.5")])
def test_a_size_out_of_range_is_told(run, option, value):
    status, text = run(b"a.jpg", option, value)
    assert status == 2
    assert f"'{option}': {value.split('.')[0] if value != '-0.5' else value}" in text


def test_without_ray_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    assert run(b"a.jpg") == (1, "Error: Ray is not installed; it is an extra: pip install --editable '.[ray]'\n")


@pytest.mark.parametrize("kind", [CacheNotWritten, ray_extraction.NotFinished])
def test_an_error_in_the_middle_is_told_as_it_is(run, monkeypatch, kind):
    def stops(*_, **__):
        raise kind(f"it stopped. {ray_extraction.GOES_ON}")

    monkeypatch.setattr(ray_extraction, "extract_on_ray", stops)
    assert run(b"a.jpg") == (1, f"Error: it stopped. {ray_extraction.GOES_ON}\n")


def test_a_list_in_windows_ways_and_with_odd_names_gives_the_names(tmp_path):
    (tmp_path / "photos.txt").write_bytes("\ufeffa b.jpg\r\n\r\nc\u2028d::e.jpg\r\n".encode())
    assert ray_extraction.read_photo_list(tmp_path / "photos.txt") == ["a b.jpg", "c\u2028d::e.jpg"]
