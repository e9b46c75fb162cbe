"""On a Ray cluster of two processor cores on this machine."""

import hashlib
import operator
import os
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
from ray_hooks import CannotBeLoaded, NeverEnds, Resize, save_deadly

from s2p_lib import audit, engines, logit_cache, ray_decoding, ray_extraction, scene_logits
from s2p_lib import model as s2p
from s2p_lib.photos import file_sha256
from s2p_lib.run_folder import ROOT


@pytest.fixture(scope="module")
def cluster():
    """Actors and their decoding processes inherit the search path, for the tests' own classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent}")
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
    cache = logit_cache.SceneLogitCache(folder / "cache", key(model_and_transform))
    logits = np.full((len(found), 365), np.nan, dtype=np.float32)
    good = found["problem"].isna().to_numpy()
    logits[good] = cache.read(found.loc[good, "sha256"].tolist())
    return found, logits


def key(model_and_transform) -> str:
    return s2p.fingerprint(*model_and_transform, engines.numerics("torch", "float32"))


def rows_in_shards(folder) -> int:
    shards = (folder / "cache").glob("*/*.safetensors")
    return sum(len(safetensors.numpy.load_file(shard)["photo_sha256"]) for shard in shards)


def none_if_nan(column: pd.Series) -> list:
    return column.astype(object).where(column.notna(), None).tolist()


def test_good_photos_get_the_logits_and_bad_ones_the_problems_of_one_machine(
    cluster, tree, model_and_transform, tmp_path
):
    """Half of the photos by address (``file://``), as in a store of objects."""
    tree.photo(1).write_bytes(b"")
    tree.photo(2).write_bytes(b"no photo")
    tree.photo(3).write_bytes(tree.photo(3).read_bytes()[:300])
    tree.photo(7).unlink()
    tree.photo(8).unlink()
    tree.photo(8).mkdir()
    expected, problems = local(tree, model_and_transform, tmp_path / "local")
    paths = [path if i % 2 else Path(path).as_uri() for i, path in enumerate(paths_of(tree))]
    found, logits = extract(paths, model_and_transform, tmp_path)
    assert found["path"].tolist() == paths
    assert none_if_nan(found["problem"]) == problems
    assert found["sha256"].isna().tolist() == found["problem"].notna().tolist()
    # NaN where it has NaN; 1e-5: batches of another size add up float32 sums in another order
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    written = pd.read_csv(tmp_path / "out" / "problems.csv")
    assert written.values.tolist() == found.dropna(subset="problem")[["path", "problem"]].values.tolist()
    again, _ = local(tree, model_and_transform, tmp_path / "cache")  # as a notebook that is given this cache
    assert np.array_equal(again, logits, equal_nan=True)
    assert rows_in_shards(tmp_path) == 7  # the notebook computed nothing


def test_a_decoder_and_a_worker_that_are_killed_in_the_middle_lose_nothing(
    cluster, tree, model_and_transform, tmp_path, monkeypatch
):
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    model, transform = model_and_transform
    save_deadly(tree.photo(6))
    expected, _ = local(tree, model_and_transform, tmp_path / "local")
    marks = [tmp_path / "decoder was killed", tmp_path / "worker was killed"]
    monkeypatch.setattr(ray_extraction, "_resizer", lambda _: Resize(marks[0]))
    model.backbone = KillsItsActorOnce(model.backbone, marks[1])
    found, logits = extract(paths_of(tree), (model, transform), tmp_path, batch_size=4)
    assert [mark.exists() for mark in marks] == [True, True]
    assert found["problem"].isna().all()
    np.testing.assert_allclose(logits, expected, atol=1e-5)  # float32, another batch size


def test_a_restarted_job_computes_what_is_not_done(cluster, tree, model_and_transform, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_extraction, "PHOTOS_PER_TASK", 4)
    monkeypatch.setattr(ray_extraction, "PHOTOS_PER_SHARD", 4)
    add, done = logit_cache.SceneLogitCache.add, []

    def add_once(cache, hashes, logits):
        if done:
            raise KeyboardInterrupt
        done.extend(hashes)
        add(cache, hashes, logits)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(logit_cache.SceneLogitCache, "add", add_once)
        with pytest.raises(KeyboardInterrupt):
            extract(paths_of(tree), model_and_transform, tmp_path, batch_size=4)
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
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent}")
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


def test_the_decoding_process_ends_with_its_actor(tree):
    decoder = ray_decoding.DecodingProcess(int)
    decoder.process.stdin.close()
    assert decoder.process.wait(60) == 0
    decoder.process.stdout.close()


def test_an_error_that_is_not_the_photos_fault_is_raised(tree):
    decoder = ray_decoding.DecodingProcess(operator.attrgetter("no_such_method"))
    try:
        with pytest.raises(AttributeError, match="no_such_method"):
            decoder.decode("p.jpg", tree.photo(0).read_bytes())
    finally:
        decoder.stop()


def test_a_photo_that_never_ends_is_named_and_its_process_replaced(decode, tree, monkeypatch):
    decode.decoder.stop()
    decode.decoder = ray_decoding.DecodingProcess(NeverEnds())
    monkeypatch.setattr(ray_decoding, "DECODING_LIMIT_S", 0.1)
    found = decode({"path": [str(tree.photo(0))], "state": [""]})
    assert found["problem"].tolist() == ["cannot be read: not decoded within 0.1 s"]
    assert decode.decoder.process.poll() is None  # started anew


def test_a_process_that_hangs_in_a_photo_ends_with_its_actor(tree):
    code = (
        "import sys; from pathlib import Path; from ray_hooks import NeverEnds; from s2p_lib import ray_decoding;"
        "ray_decoding.DecodingProcess(NeverEnds(True)).decode('p.jpg', Path(sys.argv[1]).read_bytes())"
    )
    places = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    # Its output ends only when the last process that holds it has: the one that hangs.
    ended = subprocess.run([sys.executable, "-c", code, tree.photo(0)], env=places, stderr=subprocess.PIPE, timeout=100)
    assert ended.returncode == -signal.SIGKILL


def test_a_decoding_process_that_cannot_load_its_work_is_not_the_photos_fault(monkeypatch):
    with pytest.raises(RuntimeError, match="does not start: ModuleNotFoundError: No module named 'no_such_module'"):
        ray_decoding.Decode(CannotBeLoaded(), (32, 32))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="does not start: it ended with code 1"):
        ray_decoding.Decode(Resize(), (32, 32))


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "..", "", "a\0b"])
@pytest.mark.parametrize("content", [b"no photo", b"", b"\xff\xd8\xff\xe0 no more"])
def test_a_name_that_no_file_can_have_changes_no_problem(decode, name, content):
    problem = decode.decoder.decode("p.jpg", content)
    assert isinstance(problem, str)
    assert not problem.startswith("damaged: it crashes")
    assert decode.decoder.decode(name, content) == problem.replace("p.jpg", name)


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
