"""On a Ray cluster of two processor cores on this machine."""

import operator
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from ray_hooks import Resize, save_deadly

from s2p_lib import engines, logit_cache, ray_decoding, ray_extraction, scene_logits
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
