import bisect
import functools
import importlib.util
import subprocess
import sys
import weakref

import pytest
import torch
import torchvision

from s2p_lib import engines
from s2p_lib import model as s2p
from s2p_lib.run_folder import ROOT


@pytest.fixture(scope="module")
def network():
    """A ResNet with the statistics and weights of BatchNorm away from their first values, as after training."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=365)
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.uniform_(0.4, 1.2)
                layer.bias.uniform_(-0.3, 0.3)
        for _ in range(30):
            net(torch.randn(8, 3, 64, 64))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, 3, 64, 64, generator=generator) for n in (5, 1, 7)]


def plain(network, batches) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.cat(batches))


needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install .[openvino]"
)


@pytest.mark.parametrize("name", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_every_engine_gives_the_logits_of_the_plain_network_in_order(network, batches, name):
    run = engines.prepare(name, network, 64, "cpu", "float32")
    found = list(run(iter(batches)))
    assert [len(logits) for logits in found] == [5, 1, 7]
    # 1e-3 is what the kit promises; float32 sums in another order and folded weights give about 1e-5
    torch.testing.assert_close(torch.cat(found), plain(network, batches), atol=1e-4, rtol=1e-4)


@needs_openvino
def test_in_openvino_a_photo_s_logits_do_not_depend_on_its_neighbours(network, batches):
    run = engines.prepare("openvino", network, 64, "cpu", "float32")
    together = next(iter(run(iter([batches[2]]))))
    turned = next(iter(run(iter([batches[2].flip(0)]))))
    assert torch.equal(together, turned.flip(0))


def test_the_way_of_a_gpu_gives_the_same_in_order(network, batches, monkeypatch):
    monkeypatch.setattr(engines, "IN_FLIGHT", 2)
    found = torch.cat(list(engines._in_flight(network, iter(batches), "cpu", "float32")))
    torch.testing.assert_close(found, plain(network, batches), atol=1e-4, rtol=1e-4)


def test_on_a_gpu_batches_are_taken_before_the_first_is_ready(network, batches):
    taken = []
    results = engines._in_flight(network, (taken.append(1) or b for b in [*batches, *batches]), "cpu", "float32")
    next(results)
    assert len(taken) == engines.IN_FLIGHT


class Small(torch.nn.Module):
    """A device whose memory holds three photos."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.net(x)


def test_a_batch_that_does_not_fit_among_others_keeps_its_place(network, batches):
    found = torch.cat(list(engines._in_flight(Small(network), iter(batches), "cpu", "float32")))
    torch.testing.assert_close(found, plain(network, batches), atol=1e-4, rtol=1e-4)


class Watched(torch.nn.Module):
    """A device whose memory holds three photos, and nothing of a larger pass beside them."""

    def __init__(self, net):
        super().__init__()
        self.net, self.larger = net, lambda: None

    def forward(self, x):
        assert self.larger() is None, "a tensor of the pass that did not fit is still in memory"
        if len(x) > 3:
            half_way = x + 1
            self.larger = weakref.ref(half_way)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.net(x)


def test_a_pass_that_does_not_fit_is_out_of_memory_before_it_is_tried_in_parts(network, batches):
    found = torch.cat(list(engines._in_flight(Watched(network), iter(batches), "cpu", "float32")))
    torch.testing.assert_close(found, plain(network, batches), atol=1e-4, rtol=1e-4)
    found = engines.scenes_in_parts(Watched(network), batches[2], "cpu", "float32")
    torch.testing.assert_close(found, plain(network, batches[2:]), atol=1e-4, rtol=1e-4)


def test_an_out_of_memory_error_holds_nothing_of_the_pass_that_failed(network, batches):
    watched = Watched(network)
    with pytest.raises(engines.OutOfMemory) as raised:
        engines.scenes(watched, batches[2], "cpu")
    assert raised.value.__context__ is None
    assert watched.larger() is None


def test_folding_leaves_the_backbone_as_it_was_and_no_batchnorm_behind(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = engines.fold_batchnorm(network)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in folded.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_network_that_cannot_be_traced_is_used_as_it_is(network, batches):
    awkward = Small(network)  # it asks for the length of its input
    assert engines.fold_batchnorm(awkward) is awkward
    found = torch.cat(list(engines.prepare("torch", awkward, 64, "cpu", "float32")(iter(batches[1:2]))))
    torch.testing.assert_close(found, plain(network, batches[1:2]), atol=1e-4, rtol=1e-4)


def test_resnet50_at_448_takes_the_operations_that_are_published_for_it():
    with torch.device("meta"):
        resnet = torchvision.models.resnet50(num_classes=365)
    # 4.09e9 multiply-adds at 224 pixels with 1000 classes, times 4 in area, times 2
    assert engines.flops_per_photo(resnet, 448) == pytest.approx(2 * 4 * 4.09e9, rel=0.01)


@pytest.fixture
def resnet50(monkeypatch):
    """On paper; its operations are counted once for each image size."""
    monkeypatch.setattr(engines, "flops_per_photo", functools.cache(engines.flops_per_photo))
    with torch.device("meta"):
        return torchvision.models.resnet50(num_classes=365)


def least_worth(backbone, image_size: int) -> int:
    """The smallest number of photos for which OpenVINO pays."""

    def pays(n: int) -> bool:
        return engines.with_least_left({"torch": n, "openvino": n}, backbone, image_size) == "openvino"

    return bisect.bisect_left(range(10**6), True, key=pays)


def test_openvino_pays_from_some_photos_on_and_later_for_smaller_ones(resnet50):
    n = least_worth(resnet50, 448)
    assert 1 < n < 12_000  # within what a data set has
    assert least_worth(resnet50, 224) == pytest.approx(4 * n, rel=0.02)
    assert least_worth(s2p.load_s2p("demo")[0].backbone, 128) > n


def test_openvino_pays_later_with_more_threads_as_its_start_up_stays_the_same(resnet50, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    n = least_worth(resnet50, 448)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 32)
    assert least_worth(resnet50, 448) == pytest.approx(16 * n, rel=0.02)


def test_between_engines_that_lack_the_same_openvino_is_taken_where_it_pays(resnet50):
    n = least_worth(resnet50, 448)
    assert engines.with_least_left({"torch": n - 1, "openvino": n - 1}, resnet50, 448) == "torch"
    assert engines.with_least_left({"torch": n + 1, "openvino": n + 1}, resnet50, 448) == "openvino"


def test_a_small_trial_with_one_engine_does_not_tie_a_large_run_to_it(resnet50):
    trial, photos = 100, 100 * least_worth(resnet50, 448)
    assert engines.with_least_left({"torch": photos - trial, "openvino": photos}, resnet50, 448) == "openvino"
    assert engines.with_least_left({"torch": trial, "openvino": photos}, resnet50, 448) == "torch"  # nearly done


def test_an_engine_that_lacks_nothing_is_taken_and_its_work_not_reckoned(resnet50, monkeypatch):
    monkeypatch.setattr(engines, "flops_per_photo", lambda *_: pytest.fail("reckoned for no reason"))
    assert engines.with_least_left({"torch": 0, "openvino": 10**6}, resnet50, 448) == "torch"
    assert engines.with_least_left({"torch": 1, "openvino": 0}, resnet50, 448) == "openvino"
    assert engines.with_least_left({"torch": 5}, resnet50, 448) == "torch"


def test_without_a_cache_the_same_is_chosen_as_for_an_empty_one(resnet50, monkeypatch):
    monkeypatch.setattr(engines, "possible", lambda *_: engines.ENGINES)
    n = least_worth(resnet50, 448)
    chosen = [engines.choose("auto", "cpu", "float32", resnet50, 448, photos) for photos in (0, n - 1, n + 1)]
    assert chosen == ["torch", "torch", "openvino"]


def test_devices_share_logits_in_float32_only():
    assert engines.numerics("torch", "float32", "cuda") == engines.numerics("torch", "float32")
    assert engines.numerics("torch", "bfloat16", "cuda") != engines.numerics("torch", "bfloat16", "cpu")
    assert engines.numerics("torch", "float32") != engines.numerics("openvino", "float32")


def test_what_cannot_run_is_refused_with_what_can(monkeypatch):
    with pytest.raises(ValueError, match="'onnx' is unknown; allowed: auto, torch, openvino"):
        engines.possible("onnx", "cpu", "float32")
    with pytest.raises(ValueError, match="use precision='float32'; or use engine='torch'"):
        engines.possible("openvino", "cpu", "bfloat16")
    with pytest.raises(ValueError, match="not on cuda: use device='cpu'"):
        engines.possible("openvino", "cuda", "float32")
    with pytest.raises(ValueError, match="'tf32' is not there on cpu; allowed there: float32, bfloat16"):
        engines.possible("auto", "cpu", "tf32")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install \.\[openvino\]"):
        engines.possible("openvino", "cpu", "float32")
    assert engines.possible("auto", "cpu", "float32") == ("torch",)


def test_auto_may_take_openvino_only_in_float32_on_a_processor(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert engines.possible("auto", "cpu", "float32") == ("torch", "openvino")
    assert engines.possible("auto", "cpu", "bfloat16") == engines.possible("auto", "cuda", "tf32") == ("torch",)


def test_openvino_reports_its_use_to_nobody():
    pytest.importorskip("openvino", reason="OpenVINO is not installed; it is an extra")
    work = (
        "import sys; from s2p_lib import engines, model as s2p; import torch; m, t = s2p.load_s2p('demo');"
        "list(engines.prepare('openvino', m.backbone, 128, 'cpu', 'float32')([torch.zeros(1, 3, 128, 128)]));"
        "print([name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module])"
    )
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
