"""The cache by itself, and what a crash, a second run, a full or read-only disk do to an extraction."""

import errno
import hashlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from click.testing import CliRunner
from safetensors.torch import save as torch_save

from s2p_lib import datasets, file_hashes, logit_cache
from s2p_lib import model as s2p
from s2p_lib import scene_logits as extraction
from s2p_lib.__main__ import main
from s2p_lib.logit_cache import CacheNotWritten, SceneLogitCache, ShardGone
from s2p_lib.run_folder import ROOT

KEY = "0123456789abcdef" * 4
HASHES = [f"{i:064x}" for i in range(6)]
SHARD_PART, MEMORY_PART = f"{'a' * 64}.{'1' * 32}.part", f"file_hashes.{'1' * 32}.part"
LOGITS = np.arange(6 * 365, dtype=np.float32).reshape(6, 365)


@pytest.fixture
def filled(tmp_path) -> Path:
    """A folder with a cache of two shards: photos 0 to 3, and 4 and 5."""
    cache = SceneLogitCache(tmp_path / "scene_logits", KEY)
    cache.add(HASHES[:4], LOGITS[:4])
    cache.add(HASHES[4:], LOGITS[4:])
    return tmp_path / "scene_logits"


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"), key=lambda shard: shard.stat().st_size)


def spoil(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[-10] ^= 1
    shard.write_bytes(content)


def age(file: Path) -> None:
    os.utime(file, (0, 0))


def test_two_caches_open_at_once_lose_nothing(tmp_path):
    mine, other = (SceneLogitCache(tmp_path, KEY) for _ in range(2))
    mine.add(HASHES[:4], LOGITS[:4])
    other.add(HASHES[2:], LOGITS[2:])
    both = SceneLogitCache(tmp_path, KEY)
    assert np.array_equal(both.read(HASHES[::-1]), LOGITS[::-1])


def test_the_same_shard_written_twice_is_one_file(tmp_path):
    for cache in (SceneLogitCache(tmp_path, KEY), SceneLogitCache(tmp_path, KEY)):
        cache.add(HASHES, LOGITS)
    assert len(shards(tmp_path)) == 1


def test_a_shard_that_another_process_removes_is_said_and_forgotten(filled):
    cache = SceneLogitCache(filled, KEY)
    shards(filled)[-1].unlink()
    with pytest.raises(ShardGone, match="removed or damaged while it was in use"):
        cache.read(HASHES)
    assert [h in cache for h in HASHES] == [False] * 4 + [True] * 2


def test_nothing_is_written_where_nothing_is_added(tmp_path):
    SceneLogitCache(tmp_path / "scene_logits", KEY)
    assert list(tmp_path.iterdir()) == []


def test_old_unfinished_files_go_and_young_ones_stay(filled):
    cache = SceneLogitCache(filled, KEY)
    old, young = cache.folder / SHARD_PART, cache.folder / SHARD_PART.replace("a", "b")
    old.touch()
    young.touch()
    age(old)
    cache.check_writable()
    assert (old.exists(), young.exists()) == (False, True)


def test_the_list_counts_and_changes_nothing(filled):
    spoil(shards(filled)[0])
    (filled / KEY[:16] / SHARD_PART).touch()
    (filled / "adapted-0123-4567.safetensors").write_bytes(b"of another kind")
    before = {path: path.stat().st_mtime_ns for path in filled.rglob("*")}
    (row,) = logit_cache.list_caches([filled]).to_dict("records")
    size = sum(shard.stat().st_size for shard in shards(filled))
    assert row == {"folder": str(filled), "cache": KEY[:16], "shards": 2, "photos": 4, "bytes": size} | {
        "damaged": 1,
        "foreign": 0,
        "unfinished": 1,
    }
    assert {path: path.stat().st_mtime_ns for path in filled.rglob("*")} == before


def test_the_command_lists_and_cleans_and_says_what_it_removed(filled):
    spoiled, whole = shards(filled)
    spoil(spoiled)
    part, other = filled / KEY[:16] / SHARD_PART, filled / "adapted-0123-4567.safetensors"
    part.touch()
    age(part)
    other.write_bytes(b"of another kind")
    listed = CliRunner().invoke(main, ["cache", str(filled)])
    assert listed.exit_code == 0
    assert "1 cache(s), 4 photos" in listed.output
    assert spoiled.exists()
    cleaned = CliRunner().invoke(main, ["cache", "--clean", str(filled)])
    assert f"removed {spoiled} (damaged" in cleaned.output
    assert f"removed {part} (unfinished" in cleaned.output
    assert (spoiled.exists(), part.exists(), whole.exists(), other.exists()) == (False, False, True, True)
    emptied = CliRunner().invoke(main, ["cache", "--clean-all", str(filled)])
    assert f"removed {whole} (all" in emptied.output
    assert "no cache of scene logits" in emptied.output
    assert list(filled.iterdir()) == [other]


def test_only_its_own_unfinished_files_are_cleaned(filled):
    own = [filled / KEY[:16] / SHARD_PART, filled / MEMORY_PART]
    others = [filled / "places365.pth.tar.part", filled / KEY[:16] / "half.zip.part", filled / SHARD_PART]
    for part in own + others:
        part.touch()
        age(part)
    removed = logit_cache.clean_caches([filled])
    assert sorted(removed["file"]) == sorted(map(str, own))
    assert all(part.exists() for part in others)


def test_the_command_finds_the_caches_of_a_run_by_the_run_s_folder(filled):
    listed = CliRunner().invoke(main, ["cache", str(filled.parent)])
    assert "1 cache(s), 6 photos" in listed.output
    logit_cache.clean_caches([filled.parent], everything=True)
    assert shards(filled) == []


def test_a_folder_that_is_named_twice_is_listed_once(filled):
    assert len(logit_cache.list_caches([filled.parent, filled, str(filled)])) == 1


def put_shard(folder: Path, content: bytes) -> Path:
    """A file that is named as a good shard would be."""
    shard = folder / KEY[:16] / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    shard.write_bytes(content)
    return shard


def shard_of(key: str = KEY, **arrays) -> bytes:
    return safetensors.numpy.save(arrays, metadata={"key": key})


SHAS, NAN_LOGITS = np.ones((2, 32), np.uint8), np.full((2, 365), np.nan, np.float32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no safetensors",
        shard_of(scene_logits=LOGITS[:2]),
        shard_of(photo_sha256=SHAS),
        shard_of(photo_sha256=SHAS, scene_logits=LOGITS[:1]),
        shard_of(photo_sha256=SHAS[:1], scene_logits=LOGITS[:1, :1].copy()),
        shard_of(photo_sha256=SHAS, scene_logits=NAN_LOGITS),
        shard_of(photo_sha256=SHAS, scene_logits=LOGITS[:2].astype(np.float64)),
        shard_of(photo_sha256=SHAS, scene_logits=LOGITS[:2], more=SHAS),
        shard_of(photo_sha256=np.array(1, np.uint8), scene_logits=np.array(1, np.float32)),
        torch_save({"photo_sha256": torch.ones(2, 32), "scene_logits": torch.ones(2, 365, dtype=torch.bfloat16)}),
    ],
)
def test_a_well_named_file_that_is_no_shard_counts_as_damaged(filled, content):
    shard = put_shard(filled, content)
    (row,) = logit_cache.list_caches([filled]).to_dict("records")
    assert (row["photos"], row["damaged"]) == (6, 1)
    cache = SceneLogitCache(filled, KEY)
    assert (cache.damaged, set(cache)) == ([shard.name], set(HASHES))
    assert np.array_equal(cache.read(HASHES), LOGITS)
    put_shard(filled, content)
    assert logit_cache.clean_caches([filled])["why"].tolist() == ["damaged"]


def test_a_shard_that_is_replaced_by_a_wrong_one_while_in_use_is_not_read(filled):
    cache = SceneLogitCache(filled, KEY)
    spoil(shards(filled)[0])
    with pytest.raises(ShardGone):
        cache.read(HASHES)


def test_a_folder_that_is_named_like_a_shard_is_left_alone(filled):
    folder = filled / KEY[:16] / f"{'e' * 64}.safetensors"
    folder.mkdir()
    assert np.array_equal(SceneLogitCache(filled, KEY).read(HASHES), LOGITS)
    assert logit_cache.list_caches([filled])["shards"].tolist() == [2]
    logit_cache.clean_caches([filled], everything=True)
    assert folder.is_dir()


@pytest.mark.parametrize("key", ["f" * 64, KEY[:-1] + "0", ""])
def test_a_shard_of_another_cache_is_told_and_left_alone_and_never_used(filled, capsys, key):
    foreign = put_shard(filled, shard_of(key, photo_sha256=SHAS, scene_logits=LOGITS[:2]))
    cache = logit_cache.open_cache(filled, KEY)
    assert set(cache) == set(HASHES)
    assert (cache.foreign, cache.damaged) == ([foreign.name], [])
    assert "left out and not changed: they hold the scene logits of another backbone" in capsys.readouterr().out
    logit_cache.clean_caches([filled])
    assert foreign.exists()


def test_shards_of_another_cache_are_listed_and_go_with_all(filled):
    foreign = put_shard(filled, shard_of("f" * 64, photo_sha256=SHAS, scene_logits=LOGITS[:2]))
    (row,) = logit_cache.list_caches([filled]).to_dict("records")
    assert (row["photos"], row["foreign"]) == (6, 1)
    assert str(foreign) in logit_cache.clean_caches([filled], everything=True)["file"].tolist()


def test_logits_that_are_not_finite_are_not_kept(tmp_path):
    cache = SceneLogitCache(tmp_path, KEY)
    with pytest.raises(ValueError, match=r"not finite for 2 of 2 photos.*Take another checkpoint"):
        cache.add(HASHES[:2], NAN_LOGITS)
    assert list(tmp_path.iterdir()) == []


def extract(tree, cache, **options):
    table = datasets.read("ipd", tree.dir).samples
    return extraction.extract_scene_logits(table, tree.dir, *s2p.load_s2p("demo"), cache, engine="torch", **options)


def count_computed(tree, cache) -> int:
    told = []
    extract(tree, cache, tell=told.append)
    return told[0]["computed"]


def test_hits_and_size_are_told_and_shown(tree, tmp_path, capsys):
    extract(tree, tmp_path / "cache")
    told = []
    extract(tree, tmp_path / "cache", tell=told.append)
    (done,) = told
    size = sum(shard.stat().st_size for shard in shards(tmp_path / "cache"))
    assert (done["photos"], done["from_cache"], done["computed"], done["cache_bytes"]) == (12, 12, 0, size)
    assert (done["engine"], done["precision"], done["device"]) == ("torch", "float32", "cpu")
    assert "12 of 12 photos from the cache, 0 computed by torch, float32, cpu" in capsys.readouterr().out


def test_auto_stays_with_the_engine_that_has_the_photos(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction.engines, "possible", lambda *_: ("torch", "openvino"))
    extract(tree, tmp_path / "cache")
    monkeypatch.setattr(extraction.engines, "flops_per_photo", lambda *_: pytest.fail("asked for no reason"))
    assert count_computed(tree, tmp_path / "cache") == 0


def test_photos_of_a_shard_that_goes_away_meanwhile_are_computed_again(tree, tmp_path, monkeypatch, capsys):
    expected, _ = extract(tree, tmp_path / "cache")
    read = SceneLogitCache.read

    def clean_first(cache, hashes):
        if shards(tmp_path / "cache") and not clean_first.done:
            clean_first.done = True
            shards(tmp_path / "cache")[0].unlink()
        return read(cache, hashes)

    clean_first.done = False
    monkeypatch.setattr(SceneLogitCache, "read", clean_first)
    found, _ = extract(tree, tmp_path / "cache")
    assert np.array_equal(found, expected)
    assert "its photos are computed again" in capsys.readouterr().out


def test_a_data_folder_that_goes_away_ends_the_run_and_keeps_what_is_done(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "PHOTOS_PER_SHARD", 4)
    away, add = tree.dir.with_name("away"), SceneLogitCache.add

    def add_and_lose_the_photos(cache, *shard):
        add(cache, *shard)
        if tree.dir.exists():
            tree.dir.rename(away)

    monkeypatch.setattr(SceneLogitCache, "add", add_and_lose_the_photos)
    table = datasets.read("ipd", tree.dir).samples
    model, transform = s2p.load_s2p("demo")
    job = (table, tree.dir, model, transform, tmp_path / "cache", "cpu", 2)
    with pytest.raises(FileNotFoundError, match=r"has gone away.*what was computed so far is kept"):
        extraction.extract_scene_logits(*job)
    kept = logit_cache.list_caches([tmp_path / "cache"])["photos"].sum()
    away.rename(tree.dir)
    assert kept >= 4
    assert count_computed(tree, tmp_path / "cache") == 12 - kept


def make_unreadable(photo: Path) -> None:
    """A folder in its place: it is there, but cannot be read, for root neither."""
    photo.unlink()
    photo.mkdir()


def restore(photo: Path, content: bytes) -> None:
    if photo.is_dir():
        photo.rmdir()
    photo.write_bytes(content)


@pytest.mark.parametrize("lose", [lambda photo: photo.unlink(), make_unreadable])
def test_photos_that_go_away_in_the_middle_end_the_run_also_if_their_folder_stays(tree, tmp_path, monkeypatch, lose):
    """As after an unmount: the folder that the disk was mounted on is there, and empty."""
    monkeypatch.setattr(extraction, "PHOTOS_PER_SHARD", 4)
    photos, add = [tree.photo(i) for i in range(12)], SceneLogitCache.add
    contents = {photo: photo.read_bytes() for photo in photos}

    def add_and_lose_the_photos(cache, *shard):
        add(cache, *shard)
        for photo in filter(Path.is_file, photos):
            lose(photo)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(SceneLogitCache, "add", add_and_lose_the_photos)
        with pytest.raises(FileNotFoundError, match=r"files in it.*what was computed so far is kept"):
            extract(tree, tmp_path / "cache", batch_size=1)
    kept = logit_cache.list_caches([tmp_path / "cache"])["photos"].sum()
    for photo, content in contents.items():
        restore(photo, content)
    assert 4 <= kept < 12
    assert count_computed(tree, tmp_path / "cache") == 12 - kept


def test_photos_that_go_away_while_they_are_hashed_end_the_run(tree, tmp_path, monkeypatch):
    extract(tree, tmp_path / "cache")  # no photo has to be opened again
    hash_files = extraction.hash_files

    def hash_and_lose(paths, *rest):
        found = hash_files(paths, *rest)
        for photo in paths:
            photo.unlink()
        return found[:6] + hash_files(paths[6:], *rest)

    monkeypatch.setattr(extraction, "hash_files", hash_and_lose)
    with pytest.raises(FileNotFoundError, match="6 of 12 photos not read"):
        extract(tree, tmp_path / "cache")


def test_photos_whose_hash_was_remembered_count_as_there_too(tree, tmp_path, monkeypatch):
    photos = [tree.photo(i) for i in range(12)]
    for photo in photos:
        age(photo)
    hash_files = extraction.hash_files
    hash_files(photos, 1, tmp_path / "cache")

    def remember_and_lose(paths, *rest):
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(file_hashes, "file_sha256", lambda path: pytest.fail("the hash was not remembered"))
            found = hash_files(paths, *rest)
        for photo in photos:
            photo.unlink()
        return found

    monkeypatch.setattr(extraction, "hash_files", remember_and_lose)
    with pytest.raises(FileNotFoundError, match=r"12 of 12 photos not read, such as .*missing file"):
        extract(tree, tmp_path / "cache")


def test_what_is_damaged_is_told_also_of_the_engine_that_is_not_taken(tree, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extraction.engines, "possible", lambda *_: ("torch", "openvino"))
    extract(tree, tmp_path / "cache")
    model, transform = s2p.load_s2p("demo")
    other = SceneLogitCache(tmp_path / "cache", s2p.fingerprint(model, transform, "float32 openvino"))
    other.add(HASHES, LOGITS)
    spoil(next(other.folder.glob("*.safetensors")))
    told = []
    extract(tree, tmp_path / "cache", tell=told.append)
    assert (told[0]["engine"], told[0]["computed"]) == ("torch", 0)
    assert f"1 damaged cache file(s) in {other.folder}" in capsys.readouterr().out


def test_of_copies_as_many_are_told_as_were_computed(tree, tmp_path):
    tree.photo(5).write_bytes(tree.photo(4).read_bytes())
    tree.photo(7).write_bytes(b"no photo")
    assert count_computed(tree, tmp_path / "cache") == 10


# In a process of its own: extraction of a tree in shards of two photos, which says so at each shard and then waits
# until it is told to go on.
CHILD = """
import sys
from s2p_lib import datasets, logit_cache, model, scene_logits
data_dir, cache_dir = sys.argv[1:]
scene_logits.PHOTOS_PER_SHARD = 2
add = logit_cache.SceneLogitCache.add
def add_and_wait(cache, *shard):
    add(cache, *shard)
    print("shard", flush=True)
    sys.stdin.readline()
logit_cache.SceneLogitCache.add = add_and_wait
table = datasets.read("ipd", data_dir).samples
scene_logits.extract_scene_logits(table, data_dir, *model.load_s2p("demo"), cache_dir, batch_size=2, engine="torch")
"""


class Child:
    def __init__(self, tree, cache: Path):
        command = [sys.executable, "-c", CHILD, str(tree.dir), str(cache)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes)

    def wait_for_a_shard(self) -> None:
        assert self.process.stdout.readline() == "shard\n"  # it is empty if the child has died

    def go_on(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.fixture
def child(tree, tmp_path):
    started = Child(tree, tmp_path / "cache")
    with started.process:
        yield started
        started.process.kill()


def test_a_killed_run_loses_at_most_one_shard_and_goes_on(tree, child, tmp_path):
    child.wait_for_a_shard()
    child.go_on()
    child.wait_for_a_shard()
    child.process.kill()  # kill -9
    assert child.process.wait() == -signal.SIGKILL
    assert logit_cache.list_caches([tmp_path / "cache"])["photos"].sum() == 4
    assert count_computed(tree, tmp_path / "cache") == 8
    found, _ = extract(tree, tmp_path / "cache")
    np.testing.assert_allclose(found, extract(tree, tmp_path / "whole")[0], atol=1e-4)  # batches of other sizes


def test_two_runs_at_once_agree_and_the_cache_stays_whole(tree, child, tmp_path):
    child.wait_for_a_shard()
    assert count_computed(tree, tmp_path / "cache") == 10  # while the other is in the middle
    for _ in range(5):
        child.go_on()
        child.wait_for_a_shard()
    child.go_on()
    assert child.process.wait() == 0
    (row,) = logit_cache.list_caches([tmp_path / "cache"]).to_dict("records")
    assert (row["photos"], row["damaged"], row["unfinished"]) == (12, 0, 0)
    assert count_computed(tree, tmp_path / "cache") == 0


def fail_after(n: int, code: int, work):
    """``work``, which fails with this error from the n-th shard on."""
    done = []

    def working(file, *rest):
        if re.fullmatch(logit_cache.SHARD_PARTS, Path(file).name):
            done.append(file)
            if len(done) > n:
                raise OSError(code, os.strerror(code))
        return work(file, *rest)

    return working


@pytest.mark.parametrize(("place", "name"), [(Path, "write_bytes"), (os, "replace")])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EROFS, r"read-only disk: use a run folder \(--out\) elsewhere"),
        (errno.EACCES, "this user may not write there"),
        (errno.EIO, "repair that"),
    ],
)
def test_a_disk_that_takes_no_more_is_said_and_what_is_done_is_kept(
    tree, tmp_path, monkeypatch, place, name, code, said
):
    monkeypatch.setattr(extraction, "PHOTOS_PER_SHARD", 4)
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(place, name, fail_after(1, code, getattr(place, name)))
        with pytest.raises(CacheNotWritten, match=f"{said}.*every shard written so far is kept"):
            extract(tree, tmp_path / "cache", batch_size=4)
    (row,) = logit_cache.list_caches([tmp_path / "cache"]).to_dict("records")
    assert (row["photos"], row["damaged"], row["unfinished"]) == (4, 0, 0)
    assert count_computed(tree, tmp_path / "cache") == 8


@pytest.fixture
def disk(tmp_path):
    """A disk of 32 kB."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def test_a_full_disk_is_said_and_what_is_done_is_kept(tree, disk, monkeypatch):
    monkeypatch.setattr(extraction, "PHOTOS_PER_SHARD", 4)
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * 16384)  # a shard of 4 photos takes 8 kB, two are too much beside the remembered hashes
    with pytest.raises(CacheNotWritten, match=r"the disk is full: free some space.*every shard written so far is kept"):
        extract(tree, disk / "cache", batch_size=4)
    (row,) = logit_cache.list_caches([disk / "cache"]).to_dict("records")
    assert (row["damaged"], row["unfinished"]) == (0, 0)
    assert row["photos"] in (4, 8)
    ballast.unlink()
    assert count_computed(tree, disk / "cache") == 12 - row["photos"]


def test_a_read_only_cache_serves_what_it_has_and_says_what_to_do_for_more(tree, disk, counting_prepare):
    expected, _ = extract(tree, disk / "cache")
    make_read_only(disk)
    again, _ = extract(tree, disk / "cache")
    assert np.array_equal(again, expected)
    tree.photo(3).write_bytes(tree.photo(3).read_bytes() + b"\0")
    counting_prepare.clear()
    with pytest.raises(CacheNotWritten, match=r"read-only disk: use a run folder \(--out\) elsewhere"):
        extract(tree, disk / "cache")
    assert counting_prepare == []  # before any work, not after the first shard


@pytest.fixture
def counting_prepare(monkeypatch) -> list:
    """One entry for each engine that was made ready."""
    made, prepare = [], extraction.engines.prepare
    monkeypatch.setattr(extraction.engines, "prepare", lambda name, *rest: made.append(name) or prepare(name, *rest))
    return made


def test_a_damaged_shard_on_a_read_only_disk_is_not_used(tree, disk):
    extract(tree, disk / "cache")
    spoil(shards(disk / "cache")[0])
    make_read_only(disk)
    with pytest.raises(CacheNotWritten, match="read-only disk"):
        extract(tree, disk / "cache")
