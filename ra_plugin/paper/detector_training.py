"""Train a detector from scratch: python -m ra_plugin.paper.detector_training NETWORK --out FILE ..."""
import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset

from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.metrics.detection import DetectionScore
from ra_plugin.recognizers import build_recognizer
from ra_plugin.utils.atomic import atomic_save, written_aside
from ra_plugin.utils.command_line import run
from ra_plugin.utils.tensors import total

Labels = Sequence[Mapping[str, torch.Tensor]]
TrainingLoss = Callable[[Any, torch.Tensor, Labels], torch.Tensor]

_EMA_DECAY = 0.99  # of the weights: the last few epochs of a few hundred images
_STRIDE = 32  # of ultralytics' networks


def torchvision_loss(recognizer: Any, images: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Return the library's training loss of a batch, a scalar."""
    with torch.random.fork_rng(devices=[]):  # to ask a network in training mode for its size draws a number
        targets = recognizer.targets(labels, [(image.shape[-2], image.shape[-1]) for image in images], images.device)
    return total(recognizer.model(list(images), targets).values())


def ultralytics_loss(recognizer: Any, images: torch.Tensor, labels: Labels) -> torch.Tensor:
    """Return the library's training loss of a batch, a scalar; images are padded to whole strides.

    The border is at the right and at the bottom, where the recognizer centers images; its boxes have another last bit.
    """
    height, width = images.shape[-2:]
    images = F.pad(images, (0, -width % _STRIDE, 0, -height % _STRIDE), value=114 / 255)
    whole = images.new_tensor([images.shape[-1], images.shape[-2]])
    boxes = torch.cat([item['boxes'] for item in labels])
    corners = boxes.unflatten(1, (2, 2)) / whole
    terms, _ = recognizer.model.loss({
        'img': images, 'cls': torch.cat([item['labels'] for item in labels]).float()[:, None],
        'bboxes': torch.cat([corners.mean(1), corners[:, 1] - corners[:, 0]], 1),
        'batch_idx': torch.cat([torch.full((len(item['labels']),), float(i)) for i, item in enumerate(labels)])})
    return terms.sum() / len(images)


class _Upright(Dataset):
    """The images of a data set with their boxes, flipped upside down half of the time."""

    def __init__(self, dataset: DetectionDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        item = self.dataset[index]
        image, label = item['gt'], item['label']
        boxes = label['boxes'][~label['ignore']]
        if torch.rand(()) < 0.5:
            image, boxes = image.flip(1), boxes.clone()
            boxes[:, 1::2] = image.shape[1] - boxes[:, 1::2].flip(1)
        return image, {'boxes': boxes, 'labels': label['labels'][~label['ignore']]}


def train(block: Mapping[str, Any], data: Mapping[str, Any], val: Mapping[str, Any], out: Path, epochs: int, lr: float,
          batch_size: int, seed: int, log: Callable[[str], None]) -> None:
    """Train the network of a recognizer's block with random weights; a stopped training goes on where it stopped.

    AdamW, its rate rising for an epoch and then falling by a cosine; images are flipped; what is stored is the moving
    average of the weights.

    Args:
        block: Of a `TorchvisionRecognizer` or an `UltralyticsRecognizer`, with ``pretrained: false``.
        data: Block of `DetectionDataset`, of images of one size.
        val: Block of the data set that is scored at the end.
        out: The ``.safetensors`` file for the weights.
        epochs: Number of passes over the data.
        lr: Learning rate at its height.
        batch_size: Number of images in a batch.
        seed: Of weights, order and flips.
        log: Function that is given a line.
    """
    torch.manual_seed(seed)
    recognizer: Any = build_recognizer(block, fold_batch_norm=False)
    net = recognizer.model.train().requires_grad_(True)
    loss: TrainingLoss = ultralytics_loss if block['type'] == 'UltralyticsRecognizer' else torchvision_loss
    loader = DataLoader(_Upright(DetectionDataset({**data, 'phase': 'train'})), batch_size, shuffle=True,
                        drop_last=True, collate_fn=lambda items: (torch.stack([image for image, _ in items]),
                                                                  [label for _, label in items]))
    optimizer = torch.optim.AdamW(net.parameters(), lr, weight_decay=0.02)
    steps = epochs * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / len(loader), 0.5 + 0.5 * math.cos(math.pi * step / steps)))
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(_EMA_DECAY), use_buffers=True)
    state, first = out.with_suffix('.state'), 0
    parts = {'net': net, 'optimizer': optimizer, 'schedule': schedule, 'average': average}
    if state.exists():
        kept = torch.load(state, weights_only=True)
        first = kept['epoch']
        for name, part in parts.items():
            part.load_state_dict(kept[name])
    for epoch in range(first, epochs):
        torch.manual_seed(seed + epoch)
        started, losses = time.time(), []
        for images, labels in loader:
            optimizer.zero_grad()
            value = loss(recognizer, images, labels)
            value.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 10)
            optimizer.step()
            schedule.step()
            average.update_parameters(net)
            losses.append(value.item())
        log(f'epoch {epoch + 1}: loss {sum(losses) / len(losses):.3f}, {time.time() - started:.0f} s')
        atomic_save({'epoch': epoch + 1, **{name: part.state_dict() for name, part in parts.items()}}, state)

    net.load_state_dict(average.module.state_dict())
    net.eval().requires_grad_(False)
    with written_aside(out) as file:
        file.write(save({name: value.contiguous() for name, value in net.state_dict().items()}))
    score = DetectionScore(recognizer.info.num_classes)
    held_out = DetectionDataset({**val, 'phase': 'val'})
    for item in held_out:
        score.add(recognizer.predict(item['gt'][None]), [item['label']])
    log(f'{", ".join(f"{name}: {value:.4f}" for name, value in score.compute().items())} of the average (n = '
        f'{len(held_out)})')
    state.unlink()


def main() -> None:
    """Train the network that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('network', help='a detector of torchvision, or a yaml file of ultralytics: yolo11n.yaml')
    parser.add_argument('--data', default='datasets/bccd', help="folder in VOC's layout; lists train and val")
    parser.add_argument('--classes', nargs='+', default=['RBC', 'WBC', 'Platelets'])
    parser.add_argument('--resize', type=int, default=240, help='shorter side of the images')
    parser.add_argument('--epochs', type=int, default=60)
    parser.add_argument('--lr', type=float, default=2e-3)
    parser.add_argument('--batch-size', type=int, default=8)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, required=True, help='a .safetensors file')
    args = parser.parse_args()
    count = len(args.classes)
    if args.network.endswith('.yaml'):
        block = {'type': 'UltralyticsRecognizer', 'model': args.network, 'pretrained': False, 'classes': args.classes,
                 'resize': None}
    else:
        block = {'type': 'TorchvisionRecognizer', 'model_name': args.network, 'pretrained': False,
                 'resize': 'model', 'model_kwargs': {'num_classes': count + 1}}
    data = {'type': 'DetectionDataset', 'dataroot_gt': args.data, 'classes': args.classes, 'resize': args.resize,
            'scale': 1, 'degradation': {'type': 'GaussianNoise', 'sigma': 0.0}}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [f'{name}: {value}' for name, value in vars(args).items()]

    def log(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    train(block, {**data, 'split': 'train', 'use_hflip': True}, {**data, 'split': 'val'}, args.out, args.epochs,
          args.lr, args.batch_size, args.seed, log)
    args.out.with_suffix('.log').write_text('\n'.join(lines) + '\n')


if __name__ == '__main__':
    sys.exit(run(main, 'ra_plugin.paper.detector_training', 'the same command goes on'))
