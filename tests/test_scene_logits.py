import numpy as np
import pytest
import torch

from s2p_lib import datasets, engines, photos
from s2p_lib import model as s2p
from s2p_lib import scene_logits as engine


@pytest.fixture
def demo_model():
    return s2p.load_s2p("demo")


class Counting(torch.nn.Module):
    """Passes photos on and counts them."""

    def __init__(self, net):
        super().__init__()
        self.net, self.photos = net, 0

    def forward(self, x):
        self.photos += len(x)
        return self.net(x)


@pytest.fixture
def counted(demo_model):
    model, transform = demo_model
    model.backbone = Counting(model.backbone)
    return model, transform


def row_of(tree, image: str) -> int:
    """Where a photo stands in the samples table, whose rows are sorted by name as text."""
    return datasets.read("ipd", tree.dir)[0]["image"].tolist().index(image)


def extract(tree, model_and_transform, cache, **options):
    table, *_ = datasets.read("ipd", tree.dir)
    return engine.extract_scene_logits(table, tree.dir, *model_and_transform, cache, **options)


def test_logits_are_those_of_the_backbone_photo_by_photo(tree, demo_model, tmp_path):
    logits, problems = extract(tree, demo_model, tmp_path / "cache", batch_size=5)
    model, transform = demo_model
    table, *_ = datasets.read("ipd", tree.dir)
    with torch.inference_mode():
        alone = [model.backbone(transform(photos.open_photo(tree.dir / p))[None])[0].numpy() for p in table["path"]]
    assert problems == {}
    assert logits.dtype == np.float32
    # 1e-4: batches of another size add up float32 sums in another order
    np.testing.assert_allclose(logits, alone, atol=1e-4)


def test_rows_follow_the_samples_in_any_order(tree, demo_model, tmp_path):
    table, *_ = datasets.read("ipd", tree.dir)
    first, _ = engine.extract_scene_logits(table, tree.dir, *demo_model, tmp_path / "cache")
    shuffled = table.sample(frac=1, random_state=0)
    second, _ = engine.extract_scene_logits(shuffled, tree.dir, *demo_model, tmp_path / "cache")
    assert np.array_equal(second, first[shuffled.index])


def test_loader_workers_do_not_change_the_logits(tree, demo_model, tmp_path):
    alone, _ = extract(tree, demo_model, tmp_path / "a", workers=0)
    helped, _ = extract(tree, demo_model, tmp_path / "b", workers=2)
    assert np.array_equal(alone, helped)


def test_a_second_run_computes_nothing(tree, counted, tmp_path):
    first, _ = extract(tree, counted, tmp_path / "cache")
    assert counted[0].backbone.photos == 12
    second, _ = extract(tree, counted, tmp_path / "cache")
    assert counted[0].backbone.photos == 12
    assert np.array_equal(first, second)


def test_only_a_changed_photo_is_computed_again(tree, counted, tmp_path):
    before, _ = extract(tree, counted, tmp_path / "cache")
    tree.photo(3).write_bytes(tree.photo(4).read_bytes() + b"\0")  # other bytes, same picture
    after, _ = extract(tree, counted, tmp_path / "cache")
    assert counted[0].backbone.photos == 13
    changed = row_of(tree, "p3")
    assert np.array_equal(np.delete(before, changed, axis=0), np.delete(after, changed, axis=0))
    assert not np.array_equal(before[changed], after[changed])


def test_a_photo_that_changes_after_it_was_hashed_is_told_and_not_kept(tree, demo_model, tmp_path, monkeypatch):
    expected, _ = extract(tree, demo_model, tmp_path / "whole")
    before, hash_files = tree.photo(3).read_bytes(), engine.hash_files

    def hash_and_change(*given):
        found = hash_files(*given)
        tree.photo(3).write_bytes(tree.photo(4).read_bytes())
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(engine, "hash_files", hash_and_change)
        _, problems = extract(tree, demo_model, tmp_path / "cache")
    assert problems == {"p3": "changed while it was read"}
    tree.photo(3).write_bytes(before)
    found, _ = extract(tree, demo_model, tmp_path / "cache")
    np.testing.assert_allclose(found, expected, atol=1e-4)  # batches of another size


def test_copies_of_a_photo_are_computed_once(tree, counted, tmp_path):
    tree.photo(5).write_bytes(tree.photo(4).read_bytes())
    logits, _ = extract(tree, counted, tmp_path / "cache")
    assert counted[0].backbone.photos == 11
    assert np.array_equal(logits[row_of(tree, "p4")], logits[row_of(tree, "p5")])


def test_other_weights_have_a_cache_of_their_own(tree, demo_model, tmp_path):
    before, _ = extract(tree, demo_model, tmp_path / "cache")
    demo_model[0].backbone.fc.bias.data += 1
    after, _ = extract(tree, demo_model, tmp_path / "cache")
    np.testing.assert_allclose(after, before + 1, atol=1e-5)


def test_a_damaged_shard_is_found_and_computed_again(tree, counted, tmp_path, capsys):
    before, _ = extract(tree, counted, tmp_path / "cache")
    shard = next((tmp_path / "cache").glob("*/*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-10] ^= 1
    shard.write_bytes(content)
    after, _ = extract(tree, counted, tmp_path / "cache")
    assert counted[0].backbone.photos == 24
    assert np.array_equal(before, after)
    assert "1 damaged cache file" in capsys.readouterr().out


def test_a_half_written_shard_is_not_read(tree, counted, tmp_path):
    extract(tree, counted, tmp_path / "cache")
    shard = next((tmp_path / "cache").glob("*/*.safetensors"))
    shard.rename(shard.with_suffix(".123.part"))
    extract(tree, counted, tmp_path / "cache")
    assert counted[0].backbone.photos == 24


def test_work_done_before_an_interruption_is_kept(tree, counted, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "PHOTOS_PER_SHARD", 4)
    backbone = counted[0].backbone
    backbone.register_forward_pre_hook(lambda *_: stop_after(8, backbone.photos))
    with pytest.raises(KeyboardInterrupt):
        extract(tree, counted, tmp_path / "cache", batch_size=4)
    backbone._forward_pre_hooks.clear()
    extract(tree, counted, tmp_path / "cache", batch_size=4)
    assert backbone.photos == 12


def stop_after(n: int, done: int) -> None:
    if done >= n:
        raise KeyboardInterrupt


def test_unreadable_photos_are_named_and_left_out(tree, demo_model, tmp_path):
    table, *_ = datasets.read("ipd", tree.dir)
    tree.photo(2).write_bytes(b"no photo")
    tree.photo(7).unlink()
    logits, problems = engine.extract_scene_logits(table, tree.dir, *demo_model, tmp_path / "cache")
    assert set(problems) == {"p2", "p7"}
    assert np.isnan(logits).all(axis=1).tolist() == table["image"].isin(["p2", "p7"]).tolist()
    kept, kept_logits, rows = engine.drop_unreadable(table, logits, problems)
    assert len(kept) == len(kept_logits) == 10
    assert np.isfinite(kept_logits).all()
    assert rows["image"].tolist() == ["p2", "p7"]


def test_without_unreadable_photos_nothing_is_reported(tree):
    table, *_ = datasets.read("ipd", tree.dir)
    kept, _, rows = engine.drop_unreadable(table, np.zeros((12, 365), np.float32), {})
    assert kept.equals(table)
    assert len(rows) == 0


def test_the_backbone_does_not_change(tree, demo_model, tmp_path):
    demo_model[0].train()
    before = s2p.fingerprint(*demo_model)
    extract(tree, demo_model, tmp_path / "cache")
    assert s2p.fingerprint(*demo_model) == before


def test_half_precision_is_near_and_has_a_cache_of_its_own(tree, counted, tmp_path):
    full, _ = extract(tree, counted, tmp_path / "cache")
    passed = counted[0].backbone.photos
    half, _ = extract(tree, counted, tmp_path / "cache", precision="bfloat16")
    assert counted[0].backbone.photos == 2 * passed
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    # bfloat16 has eight bits: an error of 1 % after some fifty layers
    assert np.abs(full - half).max() < 0.1 * np.abs(full).max()


class Small(torch.nn.Module):
    """A device whose memory holds three photos."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.net(x)


def test_a_batch_that_does_not_fit_is_halved_as_it_changes_nothing(tree, demo_model, tmp_path):
    expected, _ = extract(tree, demo_model, tmp_path / "a")
    model, transform = demo_model
    model.backbone = Small(model.backbone)
    found, _ = extract(tree, (model, transform), tmp_path / "b")
    np.testing.assert_allclose(found, expected, atol=1e-4)  # float32, another batch size


def test_out_of_memory_names_the_batch_size_to_try(demo_model):
    photos = torch.zeros(10, 3, 64, 64)
    with pytest.raises(engines.OutOfMemory, match=r"on cpu with 10 photo\(s\) of \(64, 64\).*batch_size=5"):
        engines.scenes(Small(demo_model[0].backbone).eval(), photos, "cpu")


def test_another_error_of_the_network_is_not_taken_for_a_lack_of_memory(demo_model):
    with pytest.raises(RuntimeError, match="channels"):
        engines.scenes(demo_model[0].backbone, torch.zeros(1, 4, 64, 64), "cpu")
