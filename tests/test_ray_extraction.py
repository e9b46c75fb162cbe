"""On a Ray cluster of two processor cores on this machine."""

import errno
import hashlib
import operator
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from click.testing import CliRunner
from decoding_hooks import SEARCH_PATH, CannotBeLoaded, Resize, save_deadly

from s2p_lib import audit, engines, logit_cache, ray_decoding, ray_extraction, scene_logits
from s2p_lib import model as s2p
from s2p_lib.__main__ import main
from s2p_lib.photos import CRASHES_DECODER, file_sha256
from s2p_lib.run_folder import ROOT


@pytest.fixture(scope="module")
def cluster():
    """Actors and their decoding processes inherit the search path, for the tests' own classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", SEARCH_PATH)
        patch.delenv("RAY_ADDRESS", raising=False)
        ray = pytest.importorskip("ray", reason="Ray is not installed; it is an extra: pip install --editable '.[ray]'")
        pytest.importorskip("ray.data", reason="Ray is installed without ray[data]")
        ray.init(num_cpus=2, include_dashboard=False, object_store_memory=200_000_000, log_to_driver=False)
        yield
        ray.shutdown()


class KillsItsActorOnce(torch.nn.Module):
    """A backbone at whose second batch the whole actor dies, once. It cannot be traced, so it stays what it is."""

    def __init__(self, net, mark: Path):
        super().__init__()
        self.net, self.mark, self.batches = net, mark, 0

    def forward(self, photos):
        if isinstance(photos, torch.fx.Proxy):
            raise torch.fx.proxy.TraceError("a process cannot die in a trace")
        self.batches += 1
        if self.batches == 2 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.net(photos)


@pytest.fixture
def model_and_transform():
    model, _ = s2p.load_s2p("demo")
    return model, s2p.photo_transform(32)


def paths_of(tree) -> list[str]:
    """All twelve, those that are gone too."""
    return [str(tree.photo(i)) for i in range(12)]


def local(tree, model_and_transform, folder):
    """Logits and problems in the order of ``paths_of``, from the local engine."""
    table = pd.DataFrame({"image": [f"p{i}" for i in range(12)], "path": paths_of(tree)})
    logits, problems = scene_logits.extract_scene_logits(table, "/", *model_and_transform, folder, engine="torch")
    return logits, [problems.get(image) for image in table["image"]]


def extract(paths, model_and_transform, folder, **options):
    """The outcome, and the logits in its order from the cache that was written; NaN for a photo with a problem."""
    found = ray_extraction.extract_on_ray(paths, *model_and_transform, folder / "cache", folder / "out", **options)
    return found, written_logits(found, model_and_transform, folder)


def written_logits(found: pd.DataFrame, model_and_transform, folder) -> np.ndarray:
    cache = logit_cache.SceneLogitCache(folder / "cache", key(model_and_transform))
    logits = np.full((len(found), 365), np.nan, dtype=np.float32)
    good = found["problem"].isna().to_numpy()
    logits[good] = cache.read(found.loc[good, "sha256"].tolist())
    return logits


def extract_by_command(paths, model_and_transform, folder, monkeypatch):
    """As ``extract``, for the demo backbone at 32 pixels and photos of which some have a problem; and what it wrote."""
    extract_on_ray, outcomes = ray_extraction.extract_on_ray, []

    def kept(*arguments, **options):
        outcomes.append(extract_on_ray(*arguments, **options))
        return outcomes[-1]

    monkeypatch.setattr(ray_extraction, "extract_on_ray", kept)
    (folder / "photos.txt").write_text("\n".join(paths))
    options = ["--backbone", "demo", "--image-size", "32", "--cache", folder / "cache", "--out", folder / "out"]
    result = CliRunner().invoke(main, list(map(str, ["extract", folder / "photos.txt", *options])))
    assert result.exit_code == 1, result.output  # as some photos have a problem
    return outcomes[0], written_logits(outcomes[0], model_and_transform, folder), result.output


def key(model_and_transform) -> str:
    return s2p.fingerprint(*model_and_transform, engines.numerics("torch", "float32"))


def rows_in_shards(folder) -> int:
    shards = (folder / "cache").glob("*/*.safetensors")
    return sum(len(safetensors.numpy.load_file(shard)["photo_sha256"]) for shard in shards)


def resize_with(resize, monkeypatch) -> None:
    monkeypatch.setattr(ray_extraction, "in_two_steps", lambda transform: (resize, s2p.in_two_steps(transform)[1]))


def none_if_nan(column: pd.Series) -> list:
    return column.astype(object).where(column.notna(), None).tolist()


def test_good_photos_get_the_logits_and_bad_ones_the_problems_of_one_machine(
    cluster, tree, model_and_transform, tmp_path, monkeypatch
):
    """By the command. Half of the photos by address (``file://``), as in a store of objects; one crashes a decoder."""
    resize_with(Resize(), monkeypatch)
    tree.photo(1).write_bytes(b"")
    tree.photo(2).write_bytes(b"no photo")
    tree.photo(3).write_bytes(tree.photo(3).read_bytes()[:300])
    tree.photo(7).unlink()
    tree.photo(8).unlink()
    tree.photo(8).mkdir()
    save_deadly(tree.photo(6))
    expected, problems = local(tree, model_and_transform, tmp_path / "local")
    expected[6], problems[6] = np.nan, CRASHES_DECODER
    paths = [path if i % 2 else Path(path).as_uri() for i, path in enumerate(paths_of(tree))]
    found, logits, text = extract_by_command(paths, model_and_transform, tmp_path, monkeypatch)
    assert f"6 of 12 photos have scene logits in {tmp_path / 'cache'}\n6 photos cannot be used: " in text
    assert found["path"].tolist() == paths
    assert none_if_nan(found["problem"]) == problems
    assert found["sha256"].isna().tolist() == found["problem"].notna().tolist()
    # NaN where it has NaN; 1e-5: batches of another size add up float32 sums in another order
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    written = pd.read_csv(tmp_path / "out" / "problems.csv")
    assert written.values.tolist() == found.dropna(subset="problem")[["path", "problem"]].values.tolist()
    again, _ = local(tree, model_and_transform, tmp_path / "cache")  # as a notebook that is given this cache
    again[6] = np.nan
    assert np.array_equal(again, logits, equal_nan=True)
    assert rows_in_shards(tmp_path) == 6 + 1  # the notebook computed nothing but the photo that does not crash it


def test_a_decoder_and_a_worker_that_are_killed_in_the_middle_lose_nothing(
    cluster, tree, model_and_transform, tmp_path, monkeypatch
):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    model, transform = model_and_transform
    save_deadly(tree.photo(6))
    expected, _ = local(tree, model_and_transform, tmp_path / "local")
    marks = [tmp_path / "decoder was killed", tmp_path / "worker was killed"]
    resize_with(Resize(marks[0]), monkeypatch)
    model.backbone = KillsItsActorOnce(model.backbone, marks[1])
    found, logits = extract(paths_of(tree), (model, transform), tmp_path, batch_size=4)
    assert [mark.exists() for mark in marks] == [True, True]
    assert found["problem"].isna().all()
    np.testing.assert_allclose(logits, expected, atol=1e-5)  # float32, another batch size


KILLED_DRIVER = """
import os, signal, sys
from s2p_lib import model as s2p, ray_extraction

class KilledAfterAShard(ray_extraction._FileIndex):
    def add(self, columns):
        super().add(columns)
        os.kill(os.getpid(), signal.SIGKILL)

ray_extraction._FileIndex = KilledAfterAShard
ray_extraction.PHOTOS_PER_TASK = ray_extraction.PHOTOS_PER_SHARD = 4
cache, out, *paths = sys.argv[1:]
ray_extraction.extract_on_ray(paths, s2p.load_s2p("demo")[0], s2p.photo_transform(32), cache, out, batch_size=4)
"""


def test_a_driver_that_is_killed_loses_nothing_and_the_next_computes_what_is_not_done(
    cluster, tree, model_and_transform, tmp_path
):
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-c", KILLED_DRIVER, tmp_path / "cache", tmp_path / "out", *paths_of(tree)]
    killed = subprocess.run(command, env=os.environ | {"RAY_ADDRESS": address}, cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    done = list(logit_cache.SceneLogitCache(tmp_path / "cache", key(model_and_transform)))
    assert rows_in_shards(tmp_path) == len(done) == 4
    place = {file_sha256(path): i for i, path in enumerate(paths_of(tree))}
    changed, gone, *_ = (place[sha256] for sha256 in done)
    tree.photo(changed).write_bytes(tree.photo(gone).read_bytes() + b"\0")
    tree.photo(gone).unlink()
    expected, problems = local(tree, model_and_transform, tmp_path / "local")
    found, logits = extract(paths_of(tree), model_and_transform, tmp_path, batch_size=4)
    assert rows_in_shards(tmp_path) == 4 + 8 + 1  # what is done is not computed again, but for the changed photo
    assert none_if_nan(found["problem"]) == problems
    assert problems[gone] == "missing file"  # though its logits are in the cache
    np.testing.assert_allclose(logits, expected, atol=1e-5)  # float32, another batch size


@pytest.fixture
def decode(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", SEARCH_PATH)
    actor = ray_decoding.Decode(Resize(), (32, 32))
    yield actor
    actor.decoder.stop()


def test_a_photo_that_crashes_the_decoder_is_named_and_the_others_are_decoded(decode, tree):
    save_deadly(tree.photo(6))
    found = decode({"path": paths_of(tree), "state": [""] * 12})
    crashed = found["path"] == str(tree.photo(6))
    assert found["problem"][crashed].tolist() == ["damaged: it crashes the decoder"]
    assert set(found["problem"][~crashed]) == {""}
    assert found["pixels"][~crashed].any(axis=(1, 2, 3)).all()


def test_a_pipe_and_a_huge_file_are_told_but_not_read(decode, tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(200_000_001)  # with no block on the disk
    paths = [str(tmp_path / "pipe.jpg"), "/dev/zero", str(tmp_path / "huge.jpg")]
    found = decode({"path": paths, "state": [""] * 3})
    told = [audit._check_photo(Path(path))[4] for path in paths]
    assert found["problem"].tolist() == told
    assert told == ["cannot be read: not a file"] * 2 + ["cannot be read: larger than 200 MB"]


def test_a_photo_with_two_colons_in_its_name_is_read(decode, tree):
    path = tree.photo(0).rename(tree.photo(0).with_name("a::b.jpg"))
    assert decode({"path": [str(path)], "state": [""]})["problem"].tolist() == [""]


@pytest.mark.parametrize("name", ["ETag", "Last-Modified", "LastModified", "last_modified", "mtime", "md5Hash"])
def test_a_file_has_another_state_when_what_its_store_tells_has_changed(name):
    about = {"name": "https://host/a.jpg", "type": "file", "size": 3, name: "then"}
    state = ray_decoding.state_of(about)
    assert state
    assert ray_decoding.state_of(about | {"url": "https://host/a.jpg?signed=anew"}) == state
    assert ray_decoding.state_of(about | {name: "now"}) != state
    assert ray_decoding.state_of(about | {"size": 4}) != state


class Addresses(fsspec.AbstractFileSystem):
    """As fsspec's https: its ``ukey`` knows the address alone; a photo has an ETag or none."""

    protocol = "addresses"
    photos: ClassVar[dict[str, tuple[bytes, dict[str, str]]]] = {}

    def info(self, path, **_):
        return {"name": path, "type": "file", "size": None} | self.photos[path][1]

    def cat_file(self, path, **_):
        return self.photos[path][0]

    def ukey(self, path):
        return path


@pytest.mark.parametrize("has_etag", [True, False])
def test_a_photo_that_changes_at_its_address_is_read_again(decode, tree, has_etag):
    fsspec.register_implementation("addresses", Addresses, clobber=True)
    address, first, second = "addresses://host/p.jpg", tree.photo(0).read_bytes(), tree.photo(1).read_bytes()
    Addresses.photos["host/p.jpg"] = first, {"ETag": "1"} if has_etag else {}
    before = decode({"path": [address], "state": [""]})
    same = decode({"path": [address], "state": before["state"]})
    assert same["path"].tolist() == ([] if has_etag else [address])  # where nothing tells a change, always
    Addresses.photos["host/p.jpg"] = second, {"ETag": "2"} if has_etag else {}
    after = decode({"path": [address], "state": before["state"]})
    assert before["sha256"].tolist() == [hashlib.sha256(first).hexdigest()]
    assert after["sha256"].tolist() == [hashlib.sha256(second).hexdigest()]


def test_photos_that_do_not_come_back_are_an_error_and_the_next_call_does_them(
    cluster, tree, model_and_transform, tmp_path, monkeypatch
):
    lost, bars = {str(tree.photo(0))}, []

    def pipeline(_data, todo, *_):
        paths = [path for path in todo.loc[todo["state"] == "", "path"] if path not in lost]
        columns = {"path": paths, "state": ["1"] * len(paths), "problem": [""] * len(paths)}
        columns["sha256"] = [file_sha256(path) for path in paths]
        columns = {name: np.array(column, dtype=object) for name, column in columns.items()}
        yield columns | {"logits": np.zeros((len(paths), 365), dtype=np.float32)}

    monkeypatch.setattr(ray_extraction, "_pipeline", pipeline)
    monkeypatch.setattr(ray_extraction, "progress", lambda **about: bars.append(Bar(about)) or bars[-1])
    with pytest.raises(ray_extraction.NotFinished, match=r"1 of 12 photos .*p0\.jpg.* the same command goes on"):
        extract(paths_of(tree), model_and_transform, tmp_path)
    lost.clear()
    found, _ = extract(paths_of(tree), model_and_transform, tmp_path)
    assert found["sha256"].notna().all()
    assert rows_in_shards(tmp_path) == 12
    assert [(bar.about["total"], bar.about["initial"], bar.done) for bar in bars] == [(12, 0, 11), (12, 11, 1)]


class Bar:
    """In place of the progress bar."""

    def __init__(self, about: dict):
        self.about, self.done = about, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def update(self, n: int) -> None:
        self.done += n


@pytest.mark.parametrize(
    ("resize", "told"),
    [
        (operator.attrgetter("no_such_method"), "AttributeError: .*no_such_method.*"),
        (CannotBeLoaded(), r"s2p_lib\.decoding\.DecoderStartError: .* does not start: ModuleNotFoundError: .*"),
    ],
)
def test_an_error_in_an_actor_ends_the_job_with_a_line(
    cluster, tree, model_and_transform, tmp_path, monkeypatch, resize, told
):
    resize_with(resize, monkeypatch)
    with pytest.raises(ray_extraction.NotFinished) as stopped:
        extract(paths_of(tree), model_and_transform, tmp_path)
    assert re.fullmatch(
        rf"Ray stopped: {told}\. What was computed is kept; the same command goes on\.",
        str(stopped.value),
    )


def test_unfinished_files_of_killed_jobs_are_removed_and_one_under_way_is_kept(tmp_path):
    old, new = tmp_path / "old.part", tmp_path / "new.part"
    for part in (old, new):
        part.write_bytes(b"half a table")
    os.utime(old, (0, 0))
    ray_extraction._FileIndex(tmp_path)
    assert [old.exists(), new.exists()] == [False, True]


def test_an_index_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="pyarrow, which Ray Data brings, is not installed")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    index = ray_extraction._FileIndex(tmp_path)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(logit_cache.CacheNotWritten, match="No space left on device") as stopped:
        index.add({"path": ["a.jpg"], "state": [""], "sha256": ["00"]})
    assert str(stopped.value).count("the same command goes on") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "told"),
    [
        *(({"cpus": value}, "cpus=.* allowed: more than 0") for value in (0, -1, float("nan"), float("inf"))),
        *(({"gpus": value}, "gpus=.* allowed: 0 or more") for value in (-1, float("nan"))),
        ({"gpus": 1.5}, "above 1 Ray gives an actor whole ones only"),
        ({"workers": 0}, "workers=0"),
        ({"decoders": -1}, "decoders=-1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"precision": "tf32"}, "precision='tf32' is not there on cpu; allowed there: float32, bfloat16"),
    ],
)
def test_a_size_that_nothing_can_be_done_with_is_refused_before_any_work(model_and_transform, tmp_path, size, told):
    with pytest.raises(ValueError, match=told):
        ray_extraction.extract_on_ray(["a.jpg"], *model_and_transform, tmp_path / "cache", tmp_path / "out", **size)
    assert list(tmp_path.iterdir()) == []


def test_actors_that_the_machine_has_no_room_for_are_refused_and_on_a_cluster_waited_for(
    cluster, model_and_transform, tmp_path, monkeypatch, capsys
):
    import ray

    def ask(**sizes):
        ray_extraction.extract_on_ray(["a.jpg"], *model_and_transform, tmp_path / "cache", tmp_path / "out", **sizes)

    with pytest.raises(ValueError, match="need 5 processor cores, and there are 2: give fewer --decoders or --workers"):
        ask(decoders=3, workers=2)
    with pytest.raises(ValueError, match=r"need 0\.5 GPUs, and there are 0"):
        ask(gpus=0.5)
    monkeypatch.setenv("RAY_ADDRESS", "host:6379")
    ray_extraction._check_room(ray, 3, 2, cpus=1, gpus=0)
    assert "need 5 processor cores, and there are 2: waiting until the cluster grows" in capsys.readouterr().out


def test_a_file_that_is_there_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = Path("s3:/bucket/a.jpg")
    odd.parent.mkdir(parents=True)
    odd.touch()
    assert ray_extraction._full("s3://bucket/a.jpg") == str(tmp_path / odd)
    assert ray_extraction._full("s3://bucket/b.jpg") == "s3://bucket/b.jpg"
    assert ray_extraction._full("https://host/" + "x" * 5000) == "https://host/" + "x" * 5000
    ray_extraction._check_file_systems(pd.Series([ray_extraction._full("a::b.jpg")]))


def test_an_unknown_file_system_is_an_error_before_any_work(model_and_transform, tmp_path):
    pytest.importorskip("ray.data", reason="Ray is not installed")
    with pytest.raises(ValueError, match="begin with nowhere:// cannot be read"):
        ray_extraction.extract_on_ray(["nowhere://bucket/a.jpg"], *model_and_transform, tmp_path, tmp_path)


def test_no_photos_are_an_error(model_and_transform, tmp_path):
    pytest.importorskip("ray.data", reason="Ray is not installed")
    with pytest.raises(ValueError, match="no photos to extract"):
        ray_extraction.extract_on_ray([], *model_and_transform, tmp_path, tmp_path)


def test_without_ray_the_error_says_what_to_install(model_and_transform, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(ImportError, match=r"pip install --editable '.\[ray\]'"):
        ray_extraction.extract_on_ray(["a.jpg"], *model_and_transform, tmp_path, tmp_path)


def test_decoders_start_without_torch():
    code = "import sys, s2p_lib.ray_decoding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
