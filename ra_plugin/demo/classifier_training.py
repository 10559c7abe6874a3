"""Training of a classifier from scratch on a small folder of images, used for the shipped CIFAR-10 recognizers."""
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn


def read_class_folders(root: str | Path,
                       classes: Sequence[str] | None = None) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Read all images of ``root/<class>/*.png`` into memory.

    Args:
        root: Folder with the class folders.
        classes: Names of the folders to read, in the order of the labels. Default: all, sorted.

    Returns:
        Images ``(N, 3, H, W)`` uint8 RGB, labels ``(N,)`` long, and the class names in the order of the labels.
    """
    names = classes or sorted(path.name for path in Path(root).iterdir() if path.is_dir())
    folders = [Path(root) / name for name in names]
    images, labels = [], []
    for label, folder in enumerate(folders):
        for path in sorted(folder.iterdir()):
            with Image.open(path) as image:
                images.append(np.asarray(image.convert('RGB')))
            labels.append(label)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels), [f.name for f in folders]


def augment(images: torch.Tensor, generator: torch.Generator, pad: int = 4) -> torch.Tensor:
    """Apply a random horizontal flip and a shift of up to ``pad`` pixels to each image of ``(N, 3, H, W)``."""
    n, _, height, width = images.shape
    flip = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flip.view(n, 1, 1, 1), images.flip(3), images)
    padded = F.pad(images, (pad, pad, pad, pad), mode='reflect')
    top, left = torch.randint(0, 2 * pad + 1, (2, n, 1), generator=generator)
    rows = (top + torch.arange(height)).view(n, 1, height, 1)
    cols = (left + torch.arange(width)).view(n, 1, 1, width)
    return padded[torch.arange(n).view(n, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1), rows, cols]


def train_classifier(net: nn.Module, train: tuple, val: tuple, *, epochs: int, lr: float, optimizer: str = 'SGD',
                     weight_decay: float = 5e-4, batch_size: int = 128, seed: int = 0,
                     log: Callable[[str], None] = print) -> float:
    """Train ``net`` in place with a one-cycle schedule and label smoothing 0.1; score it on ``val`` after each epoch.

    Args:
        net: Network from normalized images to logits.
        train: Training set ``(images, labels)``: uint8 ``(N, 3, H, W)`` and long ``(N,)``.
        val: Validation set, likewise.
        epochs: Number of epochs.
        lr: Peak learning rate.
        optimizer: ``'SGD'`` (Nesterov momentum 0.9) or ``'AdamW'``.
        weight_decay: Weight decay of the optimizer.
        batch_size: Images per batch.
        seed: Seed of order and augmentation.
        log: Function that receives one line per epoch.

    Returns:
        Top-1 accuracy on ``val`` after the last epoch, in ``[0, 1]``; there is no selection of the best epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = train
    mean, std = channel_statistics(images)
    steps = len(labels) // batch_size
    if optimizer == 'SGD':
        opt = torch.optim.SGD(net.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    else:
        opt = torch.optim.AdamW(net.parameters(), lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, lr, epochs * steps, pct_start=0.25)
    net.to(memory_format=torch.channels_last)
    accuracy, started = 0.0, time.time()
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for index in torch.randperm(len(labels), generator=generator)[:steps * batch_size].split(batch_size):
            batch = normalize(augment(images[index], generator), mean, std)
            loss = F.cross_entropy(net(batch), labels[index], label_smoothing=0.1)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            schedule.step()
            total += loss.item()
        accuracy = score(net, val, mean, std)
        log(f'epoch {epoch + 1}/{epochs}  loss {total / steps:.4f}  val top-1 {accuracy:.4f}  '
            f'{time.time() - started:.0f} s')
    return accuracy


def channel_statistics(images: torch.Tensor) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of uint8 images ``(N, 3, H, W)``, on the ``[0, 1]`` scale."""
    pixels = images.permute(1, 0, 2, 3).flatten(1).double() / 255
    return [round(v, 4) for v in pixels.mean(1).tolist()], [round(v, 4) for v in pixels.std(1).tolist()]


def normalize(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    """Convert uint8 ``(N, 3, H, W)`` to normalized float in channels-last memory format."""
    images = images.to(memory_format=torch.channels_last).float().div_(255)
    return images.sub_(torch.tensor(mean).view(1, 3, 1, 1)).div_(torch.tensor(std).view(1, 3, 1, 1))


@torch.no_grad()
def score(net: nn.Module, data: tuple, mean: list[float], std: list[float], batch_size: int = 500) -> float:
    """Return the top-1 accuracy in ``[0, 1]``."""
    net.eval()
    right = 0
    for images, labels in zip(data[0].split(batch_size), data[1].split(batch_size), strict=True):
        right += (net(normalize(images, mean, std)).argmax(1) == labels).sum().item()
    return right / len(data[1])
