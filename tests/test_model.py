import contextlib
import io
import os
import pickle
import struct

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from s2p_lib import model as s2p
from s2p_lib import training
from s2p_lib.samples import PRIVATE_IS_0


@pytest.fixture(scope="module")
def resnet50_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return torchvision.models.resnet50(weights=None, num_classes=365).state_dict()


@pytest.fixture(scope="module")
def places365_file(resnet50_state, tmp_path_factory):
    """As published: keys ``module.*`` beside other entries, torch's old format."""
    path = tmp_path_factory.mktemp("weights") / "resnet50_places365.pth.tar"
    content = {"epoch": 90, "arch": "resnet50", "best_prec1": 54.7}
    content["state_dict"] = {f"module.{name}": tensor for name, tensor in resnet50_state.items()}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def test_resnet50_has_the_cards_parameter_counts(places365_file):
    model, _ = s2p.load_s2p("resnet50", places365_file)
    assert s2p.count_parameters(model) == {"total": 24_256_649, "optimised": 732}


def test_a_model_with_other_counts_is_refused(places365_file):
    model, _ = s2p.load_s2p("resnet50", places365_file)
    model.backbone.fc.bias.requires_grad_(True)
    with pytest.raises(AssertionError, match=r"optimised.*1097, 732"):
        s2p.assert_parameter_counts(model, "resnet50")


def test_places365_weights_arrive_in_the_backbone(places365_file, resnet50_state):
    model, _ = s2p.load_s2p("resnet50", places365_file)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(tensor, resnet50_state[name]), name


def test_weights_pickled_by_python_2_with_byte_strings_are_read(tmp_path):
    state = {"module.weight": torch.arange(6.0).reshape(2, 3)}
    buffer = io.BytesIO()
    torch.save({"arch": "resnet50", "state_dict": state}, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "python2.pth.tar"
    path.write_bytes(as_byte_strings(buffer.getvalue()))
    assert b"U\x08resnet50" in path.read_bytes()
    weights = s2p.read_backbone_weights(path)
    assert torch.equal(weights["weight"], state["module.weight"])


def as_byte_strings(content: bytes) -> bytes:
    """Each short unicode string of the pickles as Python 2's byte string (opcode SHORT_BINSTRING)."""
    for text in (b"arch", b"resnet50", b"state_dict", b"module.weight", b"storage", b"cpu"):
        content = content.replace(b"X" + struct.pack("<I", len(text)) + text, b"U" + bytes([len(text)]) + text)
    return content


def test_a_released_checkpoint_serves_as_weights(places365_file, resnet50_state, tmp_path):
    model, _ = s2p.load_s2p("resnet50", places365_file, seed=1)
    torch.save(
        {"net": model.state_dict(), "measure": np.float64(0.8), "epoch": 3, "type": "best"}, tmp_path / "best.pth"
    )
    again, _ = s2p.load_s2p("resnet50", tmp_path / "best.pth", seed=2)
    assert torch.equal(again.backbone.conv1.weight, resnet50_state["conv1.weight"])
    assert not torch.equal(again.scene_to_privacy_layer.weight, model.scene_to_privacy_layer.weight)


def test_without_weights_the_error_says_which_file_from_where_and_how():
    with pytest.raises(FileNotFoundError, match=r"resnet50_places365\.pth\.tar.*Zenodo.*-p weights"):
        s2p.load_s2p("resnet50")


def test_a_missing_weights_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth.*resnet50_places365"):
        s2p.load_s2p("resnet50", tmp_path / "nowhere.pth")


class Hostile:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_and_runs_nothing(tmp_path, zipped):
    victim, path = tmp_path / "made_by_hostile_file", tmp_path / "weights.pth"
    torch.save({"state_dict": Hostile(victim)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="Nothing in it was run"):
        s2p.read_backbone_weights(path)
    assert not victim.exists()
    with open(path, "rb") as file:  # the file is really hostile: a plain unpickler runs it
        if not zipped:
            for _ in range(4):
                pickle.load(file)
            assert victim.exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_no_weights_file_is_refused(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="was not read"):
        s2p.read_backbone_weights(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_weights_never_raise_anything_but_a_clear_error(tmp_path, zipped):
    path, rng = tmp_path / "weights.pth", np.random.default_rng(0)
    torch.save({"state_dict": {"a": torch.zeros(4)}}, path, _use_new_zipfile_serialization=zipped)
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    for _ in range(200):
        damaged = content.copy()
        damaged[rng.integers(len(damaged), size=3)] = rng.integers(256, size=3)
        path.write_bytes(damaged.tobytes())
        with contextlib.suppress(ValueError):  # any other error comes through
            s2p.read_torch_file(path)


def test_damaged_safetensors_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"weights\.safetensors is damaged"):
        s2p.read_backbone_weights(path)


def test_a_device_that_is_not_there_is_named_with_those_that_are():
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ValueError, match=rf"device='{missing}' is not on this machine; allowed here: auto"):
        s2p.choose_device(missing)
    assert s2p.choose_device("cpu") == "cpu"


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"state_dict": {"module.conv1.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"does not fit backbone 'resnet50'"):
        s2p.load_s2p("resnet50", tmp_path / "other.pth")


def test_an_unknown_backbone_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'resnet5'.*demo, resnet50, .*vgg16"):
        s2p.load_s2p("resnet5", "weights.pth")


def test_a_changed_demo_backbone_is_refused(monkeypatch):
    entry = s2p.BACKBONES["demo"]
    monkeypatch.setitem(s2p.BACKBONES, "demo", s2p.Backbone(entry.arch, entry.image_size, entry.weights, "0" * 64))
    with pytest.raises(ValueError, match="expected 0000"):
        s2p.load_s2p("demo")


def test_the_demo_backbone_is_small():
    assert (s2p.PACKAGE / s2p.BACKBONES["demo"].weights).stat().st_size <= 3_000_000


def test_the_transform_squashes_and_normalises():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (30, 50, 3), dtype=np.uint8))
    by_hand = np.asarray(photo.resize((64, 64), Image.Resampling.BILINEAR)) / 255
    by_hand = (by_hand - s2p.IMAGENET_MEAN) / s2p.IMAGENET_STD
    tensor = s2p.photo_transform(64)(photo)
    assert tensor.shape == (3, 64, 64)
    assert tensor.dtype == torch.float32
    # 1e-5: float32 against float64
    np.testing.assert_allclose(tensor.numpy(), by_hand.transpose(2, 0, 1), atol=1e-5)


def test_the_head_is_xavier_uniform_with_zero_bias_and_its_seed_decides():
    heads = [s2p.S2P(torch.nn.Identity(), seed).scene_to_privacy_layer for seed in (1, 1, 2)]
    bound = (6 / (365 + 2)) ** 0.5
    assert heads[0].weight.abs().max() <= bound
    assert heads[0].weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not heads[0].bias.any()
    assert torch.equal(heads[0].weight, heads[1].weight)
    assert not torch.equal(heads[0].weight, heads[2].weight)


def test_a_checkpoint_round_trip_gives_the_same_predictions(tmp_path):
    model, _ = s2p.load_s2p("demo", seed=5)
    s2p.write_checkpoint(tmp_path / "checkpoint.pth", model, 0.75, 12)
    again, _ = s2p.load_checkpoint(tmp_path / "checkpoint.pth", "demo")
    photos = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model(photos), again(photos))
    content = s2p.read_torch_file(tmp_path / "checkpoint.pth")
    assert {name: content[name] for name in ("measure", "epoch", "type")} == {
        "measure": 0.75,
        "epoch": 12,
        "type": "best",
    }
    assert {name.split(".")[0] for name in content["net"]} == {"backbone", "scene_to_privacy_layer"}


def test_a_file_without_a_head_is_no_checkpoint(tmp_path):
    torch.save({"state_dict": {"module.fc.bias": torch.zeros(365)}}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="is no S2P checkpoint"):
        s2p.load_checkpoint(tmp_path / "weights.pth", "demo")


def test_the_fingerprint_sees_weights_batchnorm_and_image_size():
    model, transform = s2p.load_s2p("demo")
    prints = {s2p.fingerprint(model, transform), s2p.fingerprint(model, s2p.photo_transform(96))}
    model.backbone.conv1[1].running_mean += 1e-3
    prints.add(s2p.fingerprint(model, transform))
    model.backbone.conv1[0].weight.data[0, 0, 0, 0] += 1e-3
    prints.add(s2p.fingerprint(model, transform))
    assert len(prints) == 4


def test_the_fingerprint_ignores_the_head():
    assert s2p.fingerprint(*s2p.load_s2p("demo", seed=1)) == s2p.fingerprint(*s2p.load_s2p("demo", seed=2))


def test_scene_names_are_those_of_places365(reference):
    assert list(s2p.SCENES) == (reference / "places365_categories.txt").read_text().split()
    assert len(set(s2p.SCENES)) == 365


class Released(nn.Module):
    """The two names of the released module."""

    def __init__(self, n_logits: int):
        super().__init__()
        self.backbone = torchvision.models.get_model(s2p.BACKBONES["demo"].arch, num_classes=365)
        self.scene_to_privacy_layer = nn.Linear(365, n_logits)


@pytest.mark.parametrize("use_bce", [False, True])
def test_a_written_checkpoint_fits_a_module_with_the_released_names(tmp_path, use_bce):
    model, _ = s2p.load_s2p("demo", use_bce=use_bce)
    s2p.write_checkpoint(tmp_path / "best.pth", model, 0.8, 3)
    content = torch.load(tmp_path / "best.pth", weights_only=True)
    released = Released(1 if use_bce else 2)
    released.load_state_dict(content["net"], strict=True)
    photos = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        logits = released.eval().scene_to_privacy_layer(released.backbone(photos))
        assert torch.equal(logits, model(photos))
    again, _ = s2p.load_checkpoint(tmp_path / "best.pth", "demo")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_released_checkpoint_gives_the_same_predictions_after_a_round_trip(tmp_path):
    """Written by somebody else: numpy numbers, a last file whose measure is a word, changed BatchNorm statistics."""
    torch.manual_seed(0)
    module = Released(2).eval()
    module.backbone.conv1[1].running_mean += 1
    torch.save(
        {"net": module.state_dict(), "measure": "balanced_accuracy", "epoch": 116, "type": "last"}, tmp_path / "a.pth"
    )
    torch.save(
        {"net": module.state_dict(), "measure": np.float64(0.8), "epoch": 116, "type": "best"}, tmp_path / "b.pth"
    )
    photos = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        expected = module.scene_to_privacy_layer(module.backbone(photos))
        for name in ("a.pth", "b.pth"):
            model, _ = s2p.load_checkpoint(tmp_path / name, "demo", codes=PRIVATE_IS_0)
            s2p.write_checkpoint(tmp_path / "c.pth", model, 0.8, 116)
            again, _ = s2p.load_checkpoint(tmp_path / "c.pth", "demo")
            assert torch.equal(again(photos), expected)


def test_a_head_alone_starts_on_the_backbone_that_is_given(tmp_path):
    head = s2p.S2P(nn.Identity(), seed=3).scene_to_privacy_layer
    net = {f"scene_to_privacy_layer.{name}": tensor for name, tensor in head.state_dict().items()}
    torch.save({"net": net}, tmp_path / "head.pth")
    model, transform = s2p.load_checkpoint(tmp_path / "head.pth", "demo", codes=PRIVATE_IS_0)
    assert torch.equal(model.scene_to_privacy_layer.weight, head.weight)
    assert s2p.fingerprint(model, transform) == s2p.fingerprint(*s2p.load_s2p("demo"))
    assert not s2p.holds_backbone(tmp_path / "head.pth")
    with pytest.raises(FileNotFoundError, match="weights"):
        s2p.load_checkpoint(tmp_path / "head.pth", "resnet50", codes=PRIVATE_IS_0)
    with pytest.raises(ValueError, match=r"does not say which privacy logit is private.*--trained-on"):
        s2p.load_checkpoint(tmp_path / "head.pth", "demo")


def test_a_trained_backbone_is_told_from_places365_weights(places365_file, tmp_path):
    s2p.write_checkpoint(tmp_path / "best.pth", s2p.load_s2p("demo")[0], 0.5, 0)
    assert s2p.holds_backbone(tmp_path / "best.pth")
    assert not s2p.holds_backbone(places365_file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_head_that_would_predict_nothing_is_refused(tmp_path, value):
    model, _ = s2p.load_s2p("demo")
    model.scene_to_privacy_layer.weight.data[0, 5] = value
    s2p.write_checkpoint(tmp_path / "best.pth", model, 0.5, 0)
    with pytest.raises(ValueError, match="not all finite"):
        s2p.load_checkpoint(tmp_path / "best.pth", "demo")


@pytest.mark.parametrize("content", [{"net": dict.fromkeys(s2p.HEAD_NAMES, "text")}, {"net": [1]}, {"net": {}}])
def test_a_checkpoint_of_other_things_than_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="is no S2P checkpoint"):
        s2p.read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [{"state_dict": [1, 2]}, {"state_dict": {1: torch.zeros(1)}}, {2: torch.zeros(1)}])
def test_weights_without_names_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        s2p.read_backbone_weights(tmp_path / "x.pth")


@pytest.mark.parametrize("shape", [(2, 364), (3, 365), (365,)])
def test_a_head_of_another_shape_is_no_s2p_checkpoint(tmp_path, shape):
    net = {"scene_to_privacy_layer.weight": torch.zeros(shape), "scene_to_privacy_layer.bias": torch.zeros(shape[0])}
    torch.save({"net": net}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="is no S2P checkpoint"):
        s2p.read_checkpoint(tmp_path / "x.pth")


@pytest.mark.parametrize("use_bce", [False, True])
def test_the_log_odds_of_private_are_those_of_the_predictions(use_bce):
    head = s2p.S2P(nn.Identity(), use_bce=use_bce).scene_to_privacy_layer
    nn.init.normal_(head.bias)
    logits = np.random.default_rng(0).normal(size=(5, 365)).astype(np.float32)
    weight, bias = s2p.log_odds_of_private(head)
    score = logits.astype(np.float64) @ weight.numpy() + float(bias)
    # 1e-6: the head computes in float32
    assert training.predict(head, logits) == pytest.approx(1 / (1 + np.exp(-score)), abs=1e-6)
