"""Finished runs side by side: their networks restore the same images, and the recognizers of the option file judge."""
import copy
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import yaml
from basicsr.archs import build_network
from torch.utils.data import DataLoader, Subset

from ra_plugin.checkpoint import load_weights
from ra_plugin.engine.loaders import build_dataset
from ra_plugin.engine.option_file import resolve_paths
from ra_plugin.evaluation.quality import to_uint8
from ra_plugin.evaluation.scores import Processing, clean, evaluate, no_processing
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.report.comparison import CLEAN, NONE, PLAIN, compare, to_markdown
from ra_plugin.report.overlays import draw_boxes, draw_mask
from ra_plugin.report.pictures import picture_grid
from ra_plugin.utils.progress import progress
from ra_plugin.version import __version__

_SHOWN = 4  # images in the picture, drawn at random


def compare_runs(root: Path, files: Mapping[str, Path], source: str, out: Path, command: str) -> dict:
    """Score finished runs on the validation set and write ``results.json``, ``table.md`` and ``images.png``.

    Args:
        root: The repository; networks are in ``experiments``.
        files: Processing -> option file of its run; one is called ``plain``. The first file's ``datasets.val`` and
            ``val.recognizers`` are used.
        source: The one of ``val.recognizers`` that served as the loss.
        out: Folder for the results.
        command: What the results are said to be made by.

    Returns:
        What ``results.json`` holds.

    Raises:
        OptionError: No run called plain, or a source that is no recognizer of the file.
        FileNotFoundError: A run that is not finished.
    """
    options = {name: yaml.safe_load(Path(path).read_text()) for name, path in files.items()}
    opt = copy.deepcopy(next(iter(options.values())))
    resolve_paths(opt, root)
    blocks = opt['val'].get('recognizers') or {}
    if PLAIN not in files or source not in blocks:
        raise OptionError(f"compare: expected a run called '{PLAIN}' and a source of val.recognizers "
                          f"({', '.join(blocks)}), got {', '.join(files)} and '{source}'.")
    dataset = build_dataset({**opt['datasets']['val'], 'phase': 'val', 'scale': opt['scale']})
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    recognizers = {name: build_recognizer(block, f'val.recognizers.{name}').to(device)
                   for name, block in blocks.items()}
    networks = {name: load_network(root, path).to(device) for name, path in files.items()}
    processings: dict[str, Processing] = {CLEAN: clean, NONE: no_processing}
    processings.update({name: (lambda lq, gt, net=net: net(lq)) for name, net in networks.items()})
    loader = DataLoader(dataset, batch_size=1, collate_fn=getattr(dataset, 'collate_fn', None))
    scores = evaluate(progress(loader, 'Restoring and judging', unit='image'), processings, recognizers, device,
                      opt['val'].get('recognition_metrics'))
    results = {'command': command, 'options': options, **compare(scores, source),
               'versions': {'ra_plugin': __version__, 'python': platform.python_version(),
                            'torch': torch.__version__}}
    out.mkdir(parents=True, exist_ok=True)
    (out / 'results.json').write_text(json.dumps(results, indent=1))
    (out / 'table.md').write_text(to_markdown(results))
    _draw(dataset, processings, recognizers[source], source, device, out / 'images.png')
    return results


def load_network(root: Path, option_file: Path) -> torch.nn.Module:
    """The network that a finished run of an option file left in ``experiments``, for inference."""
    opt = yaml.safe_load(option_file.read_text())
    net = build_network(opt['network_g'])
    load_weights(net, root / 'experiments' / opt['name'] / 'models' / 'net_g_latest.pth', opt['name'])
    return net.eval().to(memory_format=torch.channels_last)  # faster on a CPU


@torch.no_grad()
def _draw(dataset, processings: Mapping[str, Processing], recognizer: Recognizer, source: str, device: torch.device,
          path: Path) -> None:
    """The answers of one recognizer on images drawn at random, beside the truth."""
    chosen = np.random.default_rng(0).choice(len(dataset), min(_SHOWN, len(dataset)), replace=False).tolist()
    loader = DataLoader(Subset(dataset, chosen), batch_size=1, collate_fn=getattr(dataset, 'collate_fn', None))
    columns: dict[str, list] = {name: [] for name in ('truth', *processings)}
    for batch in loader:
        lq, gt = batch['lq'].to(device), batch['gt'].to(device)
        columns['truth'].append(_drawn(gt, batch['label'], recognizer))
        for name, process in processings.items():
            images = to_uint8(process(lq, gt))
            columns[name].append(_drawn(images, recognizer.predict(images.float() / 255), recognizer))
    picture_grid(columns, {}, [str(i) for i in chosen],
                 f'What {source} sees; images drawn at random.', path, columns['truth'][0].shape[1])


def _drawn(images: torch.Tensor, answer, recognizer: Recognizer) -> np.ndarray:
    info = recognizer.info
    image = (images if images.dtype == torch.uint8 else to_uint8(images))[0].permute(1, 2, 0).cpu().numpy()
    if info.task == 'detection':
        return draw_boxes(image, {key: value.cpu() for key, value in answer[0].items()
                                  if isinstance(value, torch.Tensor)}, info.classes, info.num_classes)
    if info.task == 'segmentation':
        mask = answer if isinstance(answer, torch.Tensor) else answer['masks']
        return draw_mask(image, mask[0].cpu().numpy(), info.num_classes)
    return image
