import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from s2p_lib import batchnorm, datasets
from s2p_lib import model as s2p
from s2p_lib.batchnorm import PhotoBatches
from s2p_lib.engines import on_device, scenes


@pytest.fixture
def backbone() -> nn.Module:
    """A small network with BatchNorm after a convolution, after a sum, and dropout."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=365)
    net.maxpool = nn.Sequential(net.maxpool, nn.BatchNorm2d(64), nn.Dropout(0.9))
    return on_device(net.requires_grad_(False), "cpu").eval()


def photos(n: int, seed: int = 0, size: int = 64) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 0.5 + 0.3


def as_torch_trains(backbone: nn.Module, batches) -> batchnorm.State:
    """Statistics after torch's own train mode in float64."""
    double = type(backbone)(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=365)
    double.maxpool = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(64), nn.Dropout(0.9))
    double.load_state_dict(backbone.state_dict())
    double = double.double().eval()
    for layer in batchnorm.batchnorm_layers(double).values():
        layer.train()
    with torch.no_grad():
        logits = [double(batch.double()) for batch in batches]
    return batchnorm.read_statistics(double), torch.cat(logits)


def test_batch_statistics_are_those_of_torchs_train_mode(backbone):
    batches = [photos(5), photos(3, seed=1)]
    expected, logits = as_torch_trains(backbone, batches)
    with batchnorm.BatchStatistics(backbone):
        found = torch.cat([scenes(backbone, batch, "cpu") for batch in batches])
    # float32 against float64, over 21 layers
    np.testing.assert_allclose(found, logits, atol=1e-4)
    for name, value in batchnorm.read_statistics(backbone).items():
        np.testing.assert_allclose(value, expected[name], rtol=2e-6, atol=2e-6, err_msg=name)


def test_a_large_batch_loses_no_digits():
    """torch's own kernel for this order of memory is wrong in the fourth digit here."""
    layer = on_device(nn.Sequential(nn.BatchNorm2d(16, momentum=1.0)), "cpu").eval()
    big = torch.rand(24, 16, 112, 112, generator=torch.Generator().manual_seed(0)) + 3
    x = big.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), batchnorm.BatchStatistics(layer):
        normalised = layer(x)
    np.testing.assert_allclose(layer[0].running_var, big.double().var((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(layer[0].running_mean, big.double().mean((0, 2, 3)), rtol=1e-6)
    # A mean of 300,000 numbers near 0: float32 leaves 1e-6
    np.testing.assert_allclose(normalised.double().mean((0, 2, 3)), np.zeros(16), atol=1e-6)
    assert torch.equal(x, big)  # its input is somebody else's too


def test_half_precision_keeps_the_statistics_whole():
    torch.manual_seed(0)
    net = on_device(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, momentum=1.0)), "cpu").eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        convolved = net[0](photos(8).contiguous(memory_format=torch.channels_last)).double()
    with batchnorm.BatchStatistics(net):
        found = scenes(net, photos(8), "cpu", "bfloat16").double()
    # 1e-5: the two convolutions may round a few numbers otherwise; sums in bfloat16 would be wrong by 1e-3
    np.testing.assert_allclose(net[1].running_var, convolved.var((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(net[1].running_mean, convolved.mean((0, 2, 3)), atol=1e-5)
    # Each number is rounded to eight bits, their mean over 30,000 is not.
    np.testing.assert_allclose(found.mean((0, 2, 3)), np.zeros(8), atol=1e-3)


def test_an_interruption_on_the_way_in_leaves_the_network_in_eval_mode(backbone):
    class Interrupting(nn.BatchNorm2d):
        def train(self, mode=True):
            if mode:
                raise KeyboardInterrupt
            return super().train(mode)

    backbone.layer4[1].bn2.__class__ = Interrupting
    statistics = batchnorm.read_statistics(backbone)
    with pytest.raises(KeyboardInterrupt), batchnorm.BatchStatistics(backbone):
        pass
    scenes(backbone, photos(2), "cpu")
    assert batchnorm.count_changes(statistics, batchnorm.read_statistics(backbone))["batchnorm_buffers"] == 0


def test_afterwards_the_network_is_in_eval_mode_as_before(backbone):
    with batchnorm.BatchStatistics(backbone):
        pass
    statistics = batchnorm.read_statistics(backbone)
    first, second = (scenes(backbone, photos(2), "cpu") for _ in range(2))
    assert torch.equal(first, second)
    assert batchnorm.count_changes(statistics, batchnorm.read_statistics(backbone)) == {
        "batchnorm_buffers": 0,
        "other_tensors": 0,
    }


def test_only_batchnorm_that_alone_reads_a_convolution_overwrites_it(backbone):
    found = batchnorm._sole_readers_of_convolutions(backbone)
    assert "layer1.0.bn1" in found
    assert "maxpool.1" not in found
    densenet = torchvision.models.densenet121(num_classes=365).eval()
    assert "features.norm0" in batchnorm._sole_readers_of_convolutions(densenet)
    assert "features.transition1.norm" not in batchnorm._sole_readers_of_convolutions(densenet)


class ReadTwice(nn.Module):
    """The convolution's output goes into BatchNorm and past it."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.convolution(x)
        return self.norm(x) + x


def test_a_convolution_that_is_read_twice_is_not_overwritten():
    torch.manual_seed(0)
    net = on_device(ReadTwice().requires_grad_(False), "cpu")
    net.train()
    expected = net(photos(4))
    net.eval()
    with batchnorm.BatchStatistics(net):
        found = scenes(net, photos(4), "cpu")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("arch", ["densenet121", "mobilenet_v2", "efficientnet_b0"])
def test_other_networks_give_the_same_as_torchs_train_mode(arch):
    """Networks that read a layer's input twice, with dropout, and with grouped convolutions."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(arch, num_classes=365).requires_grad_(False).eval()
    for layer in batchnorm.batchnorm_layers(net).values():
        layer.train()
    with torch.no_grad():
        expected = net(photos(4))
    with batchnorm.BatchStatistics(net):
        found = scenes(on_device(net, "cpu"), photos(4), "cpu")
    np.testing.assert_allclose(found, expected, atol=2e-4 * float(expected.abs().max()))  # float32, over 50 layers


def test_a_single_photo_that_leaves_one_number_per_channel_is_explained():
    net = nn.Sequential(nn.Conv2d(3, 4, 8), nn.BatchNorm2d(4)).eval()
    with batchnorm.BatchStatistics(net), pytest.raises(ValueError, match="batch_size"):
        scenes(net, photos(1, size=8), "cpu")


def test_a_network_without_batchnorm_is_named_with_the_mode_to_use():
    with pytest.raises(ValueError, match=r"Sequential has no BatchNorm layers.*bn_mode=frozen"):
        batchnorm.batchnorm_layers(nn.Sequential(nn.Linear(2, 2)))


def test_adapted_statistics_are_those_of_torchs_update_bn(backbone):
    batches = [photos(6), photos(4, seed=1), photos(2, seed=2)]
    with batchnorm.BatchStatistics(backbone):
        scenes(backbone, photos(3, seed=3) * 5, "cpu")  # what was there before must not count
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # update_bn puts dropout into train mode too
    expected = torchvision.models.resnet18(num_classes=365)
    expected.maxpool = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(64), nn.Dropout(0.0))
    expected.load_state_dict(backbone.state_dict())
    torch.optim.swa_utils.update_bn(batches, expected)
    batchnorm.adapt(backbone, batches)
    for name, value in batchnorm.read_statistics(expected).items():
        np.testing.assert_allclose(batchnorm.read_statistics(backbone)[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert backbone.bn1.momentum == 0.1


def test_the_drift_is_counted_in_old_standard_deviations():
    before = {"a.running_mean": torch.tensor([1.0, 2.0, 5.0]), "a.running_var": torch.tensor([4.0, 9.0, 0.0])}
    after = {"a.running_mean": torch.tensor([2.0, -4.0, 5.0]), "a.running_var": torch.tensor([16.0, 9.0, 0.0])}
    (row,) = batchnorm.drift(before, after).to_dict("records")
    assert row["layer"] == "a"
    assert row["mean_shift"] == pytest.approx((0.5 + 2.0) / 2)  # the third channel has no old variance
    assert row["std_ratio"] == pytest.approx(np.sqrt(2.0 * 1.0))


@pytest.fixture
def few(tree) -> PhotoBatches:
    table, *_ = datasets.read("ipd", tree.dir)
    return PhotoBatches(table, tree.dir, s2p.photo_transform(32), workers=2)


def test_photos_come_in_the_order_that_is_asked_for(few, tree):
    batches = [torch.tensor([3, 0, 11]), torch.tensor([5])]
    found = torch.cat(list(few(batches)))
    for row, photo in zip([3, 0, 11, 5], found):
        path = tree.dir / few.samples["path"][row]
        assert torch.equal(photo, few.transform(Image.open(path).convert("RGB")))
    again = torch.cat(list(few(batches)))  # from memory
    assert torch.equal(found, again)
    five = PhotoBatches(few.samples, tree.dir, few.transform, workers=5)
    assert torch.equal(found, torch.cat(list(five(batches))))


def test_photos_that_do_not_fit_into_memory_are_decoded_again(few, monkeypatch):
    monkeypatch.setattr(batchnorm, "MEMORY_FOR_PHOTOS", 2 * 3 * 32 * 32 * 4)
    order = [torch.arange(12)]
    first, second = (next(few(order)) for _ in range(2))
    assert torch.equal(first, second)
    assert len(few._kept) == 2


def test_a_photo_that_vanished_is_named(few, tree):
    tree.photo(5).unlink()
    with pytest.raises(ValueError, match=r"batch00/p5\.jpg could be read before .*missing file.*01_data_splits"):
        list(few([torch.arange(12)]))


def test_a_photo_that_changes_after_it_was_hashed_is_named(few, tree):
    """Else what is kept under the key of the old photo would be made from the new one."""
    key = few.key
    tree.photo(5).write_bytes(tree.photo(6).read_bytes())
    with pytest.raises(ValueError, match=r"batch00/p5\.jpg has changed since this began.*01_data_splits"):
        list(few([torch.arange(12)]))
    assert few.key == key
    assert PhotoBatches(few.samples, tree.dir, few.transform, workers=1).key != key


def test_another_set_of_photos_has_another_key(few, tree):
    key = few.key
    assert PhotoBatches(few.samples, tree.dir, few.transform, 1).key == key
    assert PhotoBatches(few.samples.iloc[::-1], tree.dir, few.transform, 1).key != key
    content = bytearray(tree.photo(5).read_bytes())
    content[-10] ^= 1  # of the same size
    tree.photo(5).write_bytes(content)
    assert PhotoBatches(few.samples, tree.dir, few.transform, 1).key != key


def test_adapted_statistics_are_kept_and_damaged_ones_are_not_used(few, tmp_path, monkeypatch):
    def adapted() -> batchnorm.State:
        model, _ = s2p.load_s2p("demo")
        batchnorm.adapt_to_photos(model, few, tmp_path, batch_size=5, seed=1)
        return batchnorm.read_statistics(model.backbone)

    first = adapted()
    with monkeypatch.context() as patched:
        patched.setattr(batchnorm, "adapt", None)  # estimating again would fail
        again = adapted()
    assert batchnorm.count_changes(first, again)["batchnorm_buffers"] == 0
    (file,) = tmp_path.glob("adapted-*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert batchnorm.count_changes(first, adapted())["batchnorm_buffers"] == 0


def test_changes_are_counted_by_kind():
    before = {"w": torch.zeros(2), "bn.running_mean": torch.zeros(2), "bn.running_var": torch.ones(2)}
    after = {"w": torch.ones(2), "bn.running_mean": torch.ones(2), "bn.running_var": torch.ones(2)}
    assert batchnorm.count_changes(before, after) == {"batchnorm_buffers": 1, "other_tensors": 1}


def test_statistics_survive_a_round_trip(backbone):
    statistics = batchnorm.read_statistics(backbone)
    with batchnorm.BatchStatistics(backbone):
        scenes(backbone, photos(2), "cpu")
    batchnorm.set_statistics(backbone, statistics)
    assert pd.Series(batchnorm.count_changes(statistics, batchnorm.read_statistics(backbone))).sum() == 0
