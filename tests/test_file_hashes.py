import hashlib
import os
import re

import numpy as np
import pytest
import safetensors.numpy

from s2p_lib import file_hashes
from s2p_lib.file_hashes import hash_files


@pytest.fixture
def files(tmp_path):
    """Three files that have been as they are for an hour."""
    paths = [tmp_path / "photos" / f"{i}.jpg" for i in range(3)]
    paths[0].parent.mkdir()
    for i, path in enumerate(paths):
        write(path, f"photo {i}")
    return paths


def write(path, text: str) -> None:
    path.write_text(text)
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - 3600 * 10**9))


@pytest.fixture
def read(monkeypatch):
    """The names of files that were read to be hashed."""
    names, original = [], file_hashes.file_sha256
    monkeypatch.setattr(file_hashes, "file_sha256", lambda path: names.append(path.name) or original(path))
    return names


def hashes(found) -> list[str]:
    return [file.sha256 for file in found]


def test_a_file_is_read_once(files, tmp_path, read):
    first = hash_files(files, 2, tmp_path / "cache")
    assert hashes(first) == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert len(read) == 3
    assert hash_files(files, 2, tmp_path / "cache") == first
    assert len(read) == 3


def test_a_changed_file_is_read_again_also_with_its_old_size_and_time(files, tmp_path, read):
    hash_files(files, 1, tmp_path / "cache")
    about = files[1].stat()
    files[1].write_text("PHOTO 1")
    os.utime(files[1], ns=(about.st_atime_ns, about.st_mtime_ns))
    read.clear()
    found = hash_files(files, 1, tmp_path / "cache")
    assert read == ["1.jpg"]
    assert found[1].sha256 == hashlib.sha256(b"PHOTO 1").hexdigest()


def test_a_file_that_has_just_changed_is_not_remembered(files, tmp_path, read):
    files[2].write_text("now")
    hash_files(files, 1, tmp_path / "cache")
    read.clear()
    hash_files(files, 1, tmp_path / "cache")
    assert read == ["2.jpg"]


def test_two_runs_add_to_what_the_other_remembers(files, tmp_path, read):
    mine, other = (file_hashes.HashMemory(tmp_path) for _ in range(2))
    mine.sha256(files[0])
    other.sha256(files[1])
    mine.keep()
    other.keep()
    read.clear()
    hash_files(files[:2], 1, tmp_path)
    assert read == []


def flip_a_bit_of_a_hash(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


def memory(**arrays) -> bytes:
    return safetensors.numpy.save({name: np.array(array) for name, array in arrays.items()})


KEYS, SHAS = np.zeros((3, 16), np.uint8), np.zeros((3, 32), np.uint8)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no safetensors",
        lambda content: content[:-1],
        flip_a_bit_of_a_hash,
        lambda content: memory(key=KEYS, sha256=SHAS),  # whole, but without a digest
        lambda content: memory(sha256=SHAS),
        lambda content: memory(key=KEYS, sha256=SHAS[:2]),
        lambda content: memory(key=KEYS.astype(np.float32), sha256=SHAS),
        lambda content: memory(key=np.uint8(1), sha256=np.uint8(1)),
    ],
)
def test_a_damaged_memory_is_told_and_made_anew_and_never_believed(files, tmp_path, read, capsys, damage):
    first = hash_files(files, 1, tmp_path)
    file = tmp_path / file_hashes.MEMORY
    file.write_bytes(damage(file.read_bytes()))
    read.clear()
    assert hash_files(files, 1, tmp_path) == first
    assert f"{file} is not used" in capsys.readouterr().out
    assert hash_files(files, 1, tmp_path) == first
    assert len(read) == 3
    assert "not used" not in capsys.readouterr().out


def test_what_an_unfinished_memory_is_called_is_known(files, tmp_path, monkeypatch):
    left = []
    monkeypatch.setattr(file_hashes.os, "replace", lambda part, file: left.append(part.name))
    hash_files(files, 1, tmp_path)
    assert re.fullmatch(file_hashes.MEMORY_PARTS, left[0])


def test_it_holds_no_path(files, tmp_path):
    hash_files(files, 1, tmp_path)
    content = (tmp_path / file_hashes.MEMORY).read_bytes()
    assert b"photos" not in content
    assert b".jpg" not in content


def test_a_file_that_is_gone_has_a_problem_even_if_it_is_remembered(files, tmp_path):
    hash_files(files, 1, tmp_path)
    files[1].unlink()
    found = hash_files(files, 1, tmp_path)
    assert (found[1].sha256, found[1].problem) == (None, "missing file")
    assert None not in (found[0].sha256, found[2].sha256)
