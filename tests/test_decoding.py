import operator
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from decoding_hooks import SEARCH_PATH, CannotBeLoaded, NeverEnds, Resize, save_deadly

from s2p_lib import audit, decoding, downloads, predict
from s2p_lib import model as s2p
from s2p_lib.__main__ import main
from s2p_lib.decoding import DecoderStartError, DecodingProcess
from s2p_lib.photos import open_photo
from s2p_lib.run_folder import ROOT

CRASHES = "damaged: it crashes the decoder"


@pytest.fixture(autouse=True)
def search_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SEARCH_PATH)


@pytest.fixture
def decoder():
    with DecodingProcess(Resize()) as decoder:
        yield decoder


def test_a_photo_becomes_the_pixels_that_the_released_transform_sees(tree):
    transform = s2p.photo_transform(40)
    resize, to_tensor = s2p.in_two_steps(transform)
    with DecodingProcess(resize) as decoder:
        pixels = decoder.decode_file(tree.photo(0))
    assert (pixels.shape, pixels.dtype) == ((40, 40, 3), np.uint8)
    assert to_tensor(pixels).equal(transform(open_photo(tree.photo(0))))


def test_a_photo_that_crashes_the_process_is_named_and_the_next_is_decoded(decoder, tree):
    save_deadly(tree.photo(1))
    assert decoder.decode_file(tree.photo(1)) == CRASHES
    assert decoder.decode_file(tree.photo(0)).any()


def test_the_process_ends_with_its_input():
    decoder = DecodingProcess(int)
    decoder.process.stdin.close()
    assert decoder.process.wait(60) == 0
    decoder.process.stdout.close()


def test_an_error_that_is_not_the_photos_fault_is_raised(tree):
    with (
        DecodingProcess(operator.attrgetter("no_such_method")) as decoder,
        pytest.raises(AttributeError, match="no_such_method"),
    ):
        decoder.decode_file(tree.photo(0))


def test_a_photo_that_never_ends_is_named_and_its_process_replaced(tree, monkeypatch):
    with DecodingProcess(NeverEnds()) as decoder:
        monkeypatch.setattr(decoding, "DECODING_LIMIT_S", 0.1)
        assert decoder.decode_file(tree.photo(0)) == "cannot be read: not decoded within 0.1 s"
        assert decoder.process.poll() is None  # started anew


def test_a_process_that_hangs_in_a_photo_ends_with_its_parent(tree):
    code = (
        "import sys; from pathlib import Path; from decoding_hooks import NeverEnds; from s2p_lib import decoding;"
        "decoding.DecodingProcess(NeverEnds(True)).decode_file(Path(sys.argv[1]))"
    )
    # Its output ends only when the last process that holds it has: the one that hangs.
    ended = subprocess.run([sys.executable, "-c", code, tree.photo(0)], stderr=subprocess.PIPE, timeout=100)
    assert ended.returncode == -signal.SIGKILL


def test_a_process_that_cannot_load_its_work_is_not_the_photos_fault():
    with pytest.raises(DecoderStartError, match="does not start: ModuleNotFoundError: No module named"):
        DecodingProcess(CannotBeLoaded())


@pytest.mark.parametrize(
    ("script", "limit_s", "told"),
    [
        ("exit 1", 300, "it ended with code 1; its own output says why"),
        ("echo hello; exec cat", 300, "it says what it should not, "),
        ("echo INFO: hello; exec cat", 300, "it says what it should not, "),
        ("exec cat > /dev/null", 300, "it closed its output and goes on"),
        ("exec sleep 1000", 0.5, "not ready within 0.5 s"),
        (None, 300, "[Errno 13] Permission denied"),
    ],
)
def test_a_process_that_does_not_start_says_why(tmp_path, monkeypatch, script, limit_s, told):
    (tmp_path / "python").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "python").chmod(0o700 if script else 0o600)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(decoding, "START_LIMIT_S", limit_s)
    monkeypatch.setattr(decoding, "ENDING_LIMIT_S", 1)  # but in one case it ends at once
    with pytest.raises(DecoderStartError, match=re.escape(f"does not start: {told}")):
        DecodingProcess(Resize())


def test_no_module_is_taken_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "PIL.py").write_text("raise RuntimeError('of the folder with the photos')")
    monkeypatch.chdir(tmp_path)
    DecodingProcess(Resize()).stop()


def test_the_command_says_why_when_no_process_starts(tree, monkeypatch):
    monkeypatch.setattr(predict, "model_of_run", lambda run, weights: s2p.load_s2p("demo"))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    done = CliRunner().invoke(main, ["predict", str(tree.photo(0))])
    assert done.exit_code == 1
    assert "Error: a process that decodes photos does not start" in done.output


@pytest.mark.parametrize("content", [b"no photo", b"", b"\xff\xd8\xff\xe0 no more", b"%PDF-1.4"])
def test_the_problem_of_a_bad_photo_is_that_of_the_audit(decoder, content, tmp_path):
    (tmp_path / "p.jpg").write_bytes(content)
    assert decoder.decode(content) == audit._check_photo(tmp_path / "p.jpg")[audit.FACTS.index("problem")]


def test_what_no_decoder_has_raised_so_far_is_the_photos_problem(tree, monkeypatch):
    monkeypatch.setattr(decoding, "open_photo", operator.attrgetter("of_a_new_kind"))
    assert decoding._pixels_or_problem(Resize(), tree.photo(0).read_bytes()).startswith("damaged: ")


def test_what_must_not_be_read_is_told(decoder, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(200_000_001)  # with no block on the disk
    told = [decoder.decode_file(Path(path)) for path in (tmp_path / "pipe.jpg", "/dev/zero", tmp_path / "huge.jpg")]
    assert told == ["cannot be read: not a file"] * 2 + ["cannot be read: larger than 200 MB"]
    assert decoder.decode_file(tmp_path / "gone.jpg") == "missing file"


def test_decoding_processes_start_without_torch():
    code = "import sys, s2p_lib.decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_photo_that_crashes_the_decoder_does_not_stop_the_prediction_of_others(tree, monkeypatch):
    model, _ = s2p.load_s2p("demo")
    transform = s2p.photo_transform(32)
    paths = [tree.photo(i) for i in (0, 1, 2)]
    alone = predict.predict_photos([paths[0], paths[2]], model, transform)
    save_deadly(paths[1])
    monkeypatch.setattr(predict, "in_two_steps", lambda transform: (Resize(), s2p.in_two_steps(transform)[1]))
    table = predict.predict_photos(paths, model, transform)
    assert table["problem"].fillna("").tolist() == ["", CRASHES, ""]
    given = table["p_private"].dropna().astype(float)
    np.testing.assert_allclose(given, alone["p_private"].astype(float), atol=1e-5)  # float32, another batch


def test_a_photo_that_came_and_crashes_the_decoder_is_told_and_not_kept(decoder, tmp_path):
    save_deadly(tmp_path / "came.jpg")
    with pytest.raises(downloads.NotFetched, match=f"cannot be used as a photo: {CRASHES}"):
        downloads.must_be_photo(tmp_path / "came.jpg", decoder)
    assert not (tmp_path / "came.jpg").exists()
