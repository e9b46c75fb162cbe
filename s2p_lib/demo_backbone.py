"""Train the demo backbone: ``python -m s2p_lib.demo_backbone`` writes ``demo_backbone.safetensors``.

It is trained on scenes drawn for it alone, never on the demo dataset's photos or labels. Outputs of scenes that the
kit cannot draw are only ever pushed down. Put the printed sha256 into ``model.BACKBONES``.
"""

import io
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import nn

from s2p_lib.demo import SIZES
from s2p_lib.demo_scenes import SCENES as DRAWN
from s2p_lib.demo_scenes import draw_scene
from s2p_lib.model import BACKBONES, PACKAGE, SCENES, photo_transform
from s2p_lib.photos import file_sha256
from s2p_lib.progress import progress

SEED = 1  # the demo dataset's seeds begin with another number, so no photo is drawn twice
PHOTOS_PER_SCENE, EPOCHS, BATCH_SIZE, LR = 160, 14, 64, 4e-3


def draw(number: int) -> tuple[np.ndarray, int]:
    """Photo ``number`` of the training set: uint8 [3, 128, 128] after a JPEG's losses, and its scene's index."""
    scene = list(DRAWN)[number % len(DRAWN)]
    rng = np.random.default_rng([SEED, number])
    photo = draw_scene(scene, rng, SIZES[rng.integers(len(SIZES))], rng.choice(["none", "none", "one", "group"]))
    buffer = io.BytesIO()
    photo.save(buffer, format="JPEG", quality=88)
    size = BACKBONES["demo"].image_size
    small = Image.open(buffer).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small).transpose(2, 0, 1), SCENES.index(scene)


def draw_all(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 [n, 3, 128, 128] and int64 [n]."""
    with ProcessPoolExecutor() as pool:
        drawn = list(progress(pool.map(draw, range(n), chunksize=32), total=n, desc="drawing", unit="photo"))
    return torch.from_numpy(np.stack([photo for photo, _ in drawn])), torch.tensor([scene for _, scene in drawn])


def train(photos: torch.Tensor, scenes: torch.Tensor) -> nn.Module:
    """The network after ``EPOCHS`` epochs of AdamW with a one-cycle learning rate, mirrored photos included."""
    torch.manual_seed(SEED)
    net = torchvision.models.get_model(BACKBONES["demo"].arch, weights=None, num_classes=len(SCENES))
    net = net.to(memory_format=torch.channels_last)  # a third faster on a processor
    normalise = photo_transform(BACKBONES["demo"].image_size).transforms[-1]
    optimiser = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=0.02)
    steps = EPOCHS * -(-len(photos) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=LR, total_steps=steps)
    for epoch in range(EPOCHS):
        losses = []
        for batch in progress(torch.randperm(len(photos)).split(BATCH_SIZE), desc=f"epoch {epoch}", unit="batch"):
            x = normalise(photos[batch].float() / 255).contiguous(memory_format=torch.channels_last)
            x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
            loss = nn.functional.cross_entropy(net(x), scenes[batch], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss))
        print(f"epoch {epoch}: mean loss {np.mean(losses):.3f}")
    return net.eval()


def main() -> None:
    n = PHOTOS_PER_SCENE * len(DRAWN)
    photos, scenes = draw_all(n + n // 10)
    net = train(photos[:n], scenes[:n])
    normalise = photo_transform(BACKBONES["demo"].image_size).transforms[-1]
    with torch.inference_mode():
        predicted = net(normalise(photos[n:].float() / 255)).argmax(dim=1)
    print(f"scenes right on {len(predicted)} unseen photos: {(predicted == scenes[n:]).float().mean():.3f}")
    path = PACKAGE / BACKBONES["demo"].weights
    safetensors.torch.save_file({name: t.contiguous() for name, t in net.state_dict().items()}, path)
    print(f"{path}: {path.stat().st_size} bytes, sha256 {file_sha256(path)}")


if __name__ == "__main__":
    main()
