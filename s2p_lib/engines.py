"""Engines that pass photos through a frozen backbone in eval mode: batches of photos -> batches of scene logits.

``torch`` is always there: BatchNorm folded into the convolutions, channels last, few photos at a time so that they stay
in the processor's caches; on a GPU several batches are in flight. ``openvino`` (``pip install .[openvino]``) is faster
on a processor, in float32. It starts in seconds, so ``auto`` takes it where there is enough to do. In float32 the
engines and devices agree to about 1e-5 in a logit.

Where BatchNorm's statistics are estimated anew (bn_mode released, adapted) nothing may be folded: see ``scenes``.
"""

import copy
import importlib.util
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.utils.flop_counter import FlopCounterMode

ENGINES = ("torch", "openvino")
PRECISIONS = ("float32", "tf32", "bfloat16")  # of the backbone's arithmetic; released: float32. tf32 is for GPUs
PIXELS_PER_PASS = 2**19  # on a processor: 2 photos of 448 x 448, 32 of 128 x 128 were fastest, and larger passes slower
IN_FLIGHT = 3  # batches that a GPU has been given before the first of them is waited for
# Floating-point operations for each thread; with two, 150 photos in ResNet-50 at 448. OpenVINO does not pay below: its
# start-up takes as long with more threads, and torch gets faster.
WORTH_OPENVINO_A_THREAD = 2.5e12
OPENVINO_IS_FASTER = 1.3  # times as many photos a second as torch, once it has started

Engine = Callable[[Iterable[torch.Tensor]], Iterator[torch.Tensor]]


def precisions_on(device: str) -> tuple[str, ...]:
    """Those of ``PRECISIONS`` that differ on this device."""
    return PRECISIONS if device == "cuda" else tuple(p for p in PRECISIONS if p != "tf32")


def possible(wanted: str, device: str, precision: str) -> tuple[str, ...]:
    """The engines among which ``auto`` may choose here, or the one that is wanted; ValueError if it cannot run."""
    if wanted not in ("auto", *ENGINES):
        raise ValueError(f"engine={wanted!r} is unknown; allowed: auto, {', '.join(ENGINES)}")
    if precision not in precisions_on(device):
        raise ValueError(
            f"precision={precision!r} is not there on {device}; allowed there: {', '.join(precisions_on(device))}"
        )
    problem = _why_not_openvino(device, precision)
    if wanted == "openvino" and problem:
        raise ValueError(f"engine='openvino' {problem}; or use engine='torch'")
    return (wanted,) if wanted != "auto" else ("torch",) if problem else ENGINES


def choose(wanted: str, device: str, precision: str, backbone: nn.Module, image_size: int, n_photos: int) -> str:
    """One of the engines that ``possible`` gives: the one that is done with so many photos first. Raises as it does."""
    return with_least_left(dict.fromkeys(possible(wanted, device, precision), n_photos), backbone, image_size)


def with_least_left(lacking: dict[str, int], backbone: nn.Module, image_size: int) -> str:
    """That engine which is done first with the photos that its cache lacks, ``lacking`` by engine.

    The work left is reckoned in torch's photos: with torch, the number that it lacks; with OpenVINO, that number by
    ``OPENVINO_IS_FASTER``, and its start-up. So of engines that lack the same number, OpenVINO is taken from about
    ``WORTH_OPENVINO_A_THREAD`` on. An engine that lacks none is taken. No clock is asked, so it is repeatable.
    """
    done = [name for name, n in lacking.items() if n == 0]
    if done or len(lacking) == 1:
        return (done or list(lacking))[0]
    worth = WORTH_OPENVINO_A_THREAD * torch.get_num_threads() / flops_per_photo(backbone, image_size)  # photos
    start_up = worth * (1 - 1 / OPENVINO_IS_FASTER)  # what so many photos gain
    left = {"torch": lacking["torch"], "openvino": lacking["openvino"] / OPENVINO_IS_FASTER + start_up}
    return min(left, key=left.get)


def flops_per_photo(backbone: nn.Module, image_size: int) -> int:
    """Floating-point operations (a multiply-add is two) of one photo; 32.7e9 for ResNet-50 at 448 pixels."""
    on_paper = copy.deepcopy(backbone).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        on_paper(torch.empty(1, 3, image_size, image_size, device="meta"))
    return counter.get_total_flops()


def numerics(engine: str, precision: str, device: str = "cpu") -> str:
    """What decides the last digits of scene logits beside backbone and photo; it is part of a cache's key.

    In float32 it does not matter on which device, to 1e-5 in a logit. Below, devices round in other places: their
    logits are kept apart.
    """
    return f"{precision} {engine}" if precision == "float32" else f"{precision} {engine} {device}"


def prepare(engine: str, backbone: nn.Module, image_size: int, device: str, precision: str) -> Engine:
    """A function from batches of photos [B, 3, image_size, image_size] float32 on the CPU to their scene logits
    [B, 365] float32 on the CPU, in the same order. On a GPU it takes the next batches while one is under way.

    The backbone's weights and statistics stay as they are; it is left in eval mode.
    """
    if engine == "openvino":
        return _openvino(backbone.eval(), image_size)
    network = on_device(fold_batchnorm(backbone), device)
    if device == "cpu":
        return lambda batches: _few_at_a_time(network, batches, precision)
    return lambda batches: _in_flight(network, batches, device, precision)


def fold_batchnorm(backbone: nn.Module) -> nn.Module:
    """A copy with each BatchNorm that follows a convolution folded into it: the same figures to 1e-5.

    A network that torch.fx cannot trace is returned as it is: then this engine is only slower.
    """
    try:
        return fuse(backbone.eval())
    except (torch.fx.proxy.TraceError, RuntimeError, TypeError):  # what tracing raises, by the kind of control flow
        return backbone


def on_device(backbone: nn.Module, device: str) -> nn.Module:
    """The backbone on its device, channels last: faster convolutions (see ``s2p bench``), the same figures to 1e-5."""
    return backbone.to(device, memory_format=torch.channels_last)


def scenes(backbone: nn.Module, photos: torch.Tensor, device: str, precision: str = "float32") -> torch.Tensor:
    """[B, 3, H, W] -> [B, 365] float32 on the CPU, without a graph; on a GPU with deterministic kernels, as released.

    The backbone may be in training mode. RuntimeError that names a batch size to try if memory runs out.
    """
    launched = _launch_if_it_fits(backbone, photos, device, precision)
    if launched is not None:
        return launched.ready()
    smaller = f"batch_size={len(photos) // 2} or " if len(photos) > 1 else ""
    raise OutOfMemory(
        f"out of memory on {device} with {len(photos)} photo(s) of {tuple(photos.shape[2:])} pixels in a batch. "
        f"Try {smaller}a smaller image_size. With bn_mode=released or adapted another batch size gives other "
        "BatchNorm statistics, so it is another experiment."
    )


class OutOfMemory(RuntimeError):
    """A batch of photos did not fit into the device's memory; the message names a batch size to try."""


def scenes_in_parts(backbone, photos: torch.Tensor, device: str, precision: str) -> torch.Tensor:
    """As ``scenes``, for a backbone in eval mode: there the batch may be halved until it fits into memory."""
    try:
        return scenes(backbone, photos, device, precision)
    except OutOfMemory:
        if len(photos) == 1:
            raise
    return torch.cat([scenes_in_parts(backbone, half, device, precision) for half in photos.chunk(2)])


def _few_at_a_time(network: nn.Module, batches: Iterable[torch.Tensor], precision: str) -> Iterator[torch.Tensor]:
    for photos in batches:
        n = max(1, PIXELS_PER_PASS // photos[0, 0].numel())
        yield torch.cat([scenes_in_parts(network, part, "cpu", precision) for part in photos.split(n)])


def _in_flight(
    network: nn.Module, batches: Iterable[torch.Tensor], device: str, precision: str
) -> Iterator[torch.Tensor]:
    """While the device works on some batches, the next are decoded."""
    waiting = deque()
    for photos in batches:
        launched = _launch_if_it_fits(network, photos, device, precision)
        if launched is not None:
            waiting.append(launched)
        else:
            yield from (batch.ready() for batch in _emptied(waiting))  # they hold memory too
            yield scenes_in_parts(network, photos, device, precision)
        if len(waiting) == IN_FLIGHT:
            yield waiting.popleft().ready()
    yield from (batch.ready() for batch in _emptied(waiting))


def _emptied(waiting: deque) -> Iterator:
    while waiting:
        yield waiting.popleft()


class _Launched(NamedTuple):
    """Logits on their way from a device to the CPU."""

    logits: torch.Tensor
    done: torch.cuda.Event | None

    def ready(self) -> torch.Tensor:
        if self.done is not None:
            self.done.synchronize()
        return self.logits


def _launch_if_it_fits(network: nn.Module, photos: torch.Tensor, device: str, precision: str) -> _Launched | None:
    """None if memory runs out. What is done about that comes after this returns: while an error is handled, its
    traceback keeps the tensors of the failed pass in memory."""
    try:
        return _launch(network, photos, device, precision)
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
    return None


def _launch(network: nn.Module, photos: torch.Tensor, device: str, precision: str) -> _Launched:
    """Start one batch; on a GPU this returns before the figures are there, and the copies there and back wait for
    nothing."""
    is_cuda = device == "cuda"
    tf32 = precision == "tf32"
    kernels = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32)
    mixed = torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
    with torch.inference_mode(), kernels, mixed:
        photos = photos.pin_memory() if is_cuda else photos
        photos = photos.to(device, memory_format=torch.channels_last, non_blocking=is_cuda)
        logits = network(photos).float().to("cpu", non_blocking=is_cuda)
        done = torch.cuda.Event() if is_cuda else None
        if done is not None:
            done.record()
    return _Launched(logits, done)


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(error)


def _why_not_openvino(device: str, precision: str) -> str | None:
    if device != "cpu":
        return f"runs on a processor, not on {device}: use device='cpu'"
    if precision != "float32":
        return f"computes in float32, not in {precision}: use precision='float32'"
    if importlib.util.find_spec("openvino") is None:
        return "is not installed: pip install .[openvino]"
    return None


def _openvino(backbone: nn.Module, image_size: int) -> Engine:
    """One photo a request, so that a photo's logits do not depend on its neighbours; as many at once as pay."""
    openvino = _import_openvino()
    photo = torch.zeros(1, 3, image_size, image_size)
    network = _to_openvino(backbone, photo)
    network.reshape(list(photo.shape))
    how = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    how["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(network, "CPU", how))

    def run(batches: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
        for photos in batches:
            logits: Sequence = [None] * len(photos)
            queue.set_callback(lambda request, row, logits=logits: _keep(request, row, logits))
            for row, photo in enumerate(photos):
                queue.start_async([photo[None].numpy()], row)
            queue.wait_all()
            yield torch.stack(logits)

    return run


def _import_openvino():
    """OpenVINO without its telemetry: by default its very import is reported to its maker over the internet."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


def _keep(request, row: int, logits: list) -> None:
    logits[row] = torch.from_numpy(request.get_output_tensor().data[0].copy())  # the request is used again


def _to_openvino(backbone: nn.Module, photo: torch.Tensor):
    """By the frontend itself: openvino.convert_model does the same, but passes the photo through it four times."""
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and what OpenVINO reads
        traced = torch.jit.trace(backbone, photo, check_trace=False)
    decoder = TorchScriptPythonDecoder(traced)  # it has to live until the end of the conversion
    frontend = FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))
