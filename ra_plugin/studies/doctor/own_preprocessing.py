"""What the makers of a recognizer's weights say of them: normalization, preprocessing, accuracy."""
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ra_plugin.checkpoint import read_record
from ra_plugin.recognizers import ModuleRecognizer, Recognizer, TimmRecognizer, TorchvisionRecognizer
from ra_plugin.recognizers.openmmlab.base import OpenMMLabRecognizer
from ra_plugin.utils.optional import require

_LOGGED = re.compile(r'test top-1 of the stored weights: (0\.\d+)')  # as ra-plugin train-recognizer writes it


@dataclass(frozen=True)
class OwnPreprocessing:
    """The weights' own record; None where it says nothing."""

    mean: tuple[float, ...] | None = None  # RGB, on the [0, 1] scale
    std: tuple[float, ...] | None = None
    transform: Callable[[Image.Image], torch.Tensor] | None = None  # RGB to what the network takes, (1, 3, h, w)
    score: float | None = None  # top-1 on the test images of the weights' own data set, in [0, 1]


def own_preprocessing(recognizer: Recognizer) -> OwnPreprocessing:
    """The record of the weights that the recognizer has, read anew from where it is kept.

    ``transform`` is the package's own for tests, but for the margin that it cuts off: how much of a file an image shows
    is the data set's to say (``resize``, ``crop_size``), and images of its making would be cut a second time. There is
    none where the recognizer's options take images in the size that they come in.
    """
    for kind in type(recognizer).__mro__:
        if kind in _READERS:
            return _READERS[kind](recognizer)
    return OwnPreprocessing()


def _of_timm(recognizer: Recognizer) -> OwnPreprocessing:
    data = require('timm', str(recognizer)).data
    config = data.resolve_data_config(model=recognizer.model)
    if recognizer.info.channels == 1:  # it is given the luma, as the recognizer weighs the record for it
        mean, std = recognizer.luma_normalization()
        config = {**config, 'mean': (mean,), 'std': (std,)}
    transform = data.create_transform(**{**config, 'crop_pct': 1.0})
    record = recognizer.model.pretrained_cfg
    return OwnPreprocessing(tuple(record['mean']), tuple(record['std']), _if_resized(recognizer, transform))


def _of_torchvision(recognizer: Recognizer) -> OwnPreprocessing:
    weights = require('torchvision', str(recognizer)).models.get_model_weights(recognizer.info.name)
    name = recognizer.published or recognizer.info.source.removeprefix('torchvision ')
    record = weights[name if name in weights.__members__ else 'DEFAULT']
    transform = record.transforms(resize_size=record.transforms().crop_size[0])
    measured = record.meta['_metrics'].get('ImageNet-1K', {}).get('acc@1') if name in weights.__members__ else None
    return OwnPreprocessing(tuple(transform.mean), tuple(transform.std), _if_resized(recognizer, transform),
                            measured and measured / 100)


def _if_resized(recognizer: Recognizer, transform: Callable) -> Callable | None:
    mode = 'L' if recognizer.info.channels == 1 else 'RGB'
    return (lambda image: transform(image.convert(mode))[None]) if recognizer.info.input_size else None


def _of_file(recognizer: Recognizer) -> OwnPreprocessing:
    """A checkpoint tells by its own metadata, and by the log of its training where that lies beside it."""
    path = Path(recognizer.info.source)
    record = read_record(path) if path.is_file() else {}
    log = path.with_suffix('.log')
    logged = _LOGGED.search(log.read_text(errors='replace')) if record and log.is_file() else None
    return OwnPreprocessing(record.get('mean') and tuple(record['mean']), record.get('std') and tuple(record['std']),
                            score=float(logged[1]) if logged else None)


def _of_openmmlab(recognizer: OpenMMLabRecognizer) -> OwnPreprocessing:
    """The geometric transforms of the config's test pipeline and the model's preprocessor, which the library runs."""

    def transform(image: Image.Image) -> torch.Tensor:
        pixels = np.ascontiguousarray(np.asarray(image)[..., ::-1])  # BGR, as its loaders read files
        size = recognizer.geometry.size(*pixels.shape[:2])
        results = {'img': pixels, 'img_shape': pixels.shape[:2], 'ori_shape': pixels.shape[:2]}
        for step in recognizer.geometry.transforms:
            results = step(results)
        inputs = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        data = {'inputs': [inputs.to(recognizer.mean.device)], 'data_samples': [recognizer.sample(size, 0)]}
        return recognizer.model.data_preprocessor(data, False)['inputs']

    return OwnPreprocessing(recognizer.info.mean, recognizer.info.std,
                            transform if recognizer.resize == 'model' else None)


_READERS: dict[type, Callable[..., OwnPreprocessing]] = {
    TimmRecognizer: _of_timm, TorchvisionRecognizer: _of_torchvision, ModuleRecognizer: _of_file,
    OpenMMLabRecognizer: _of_openmmlab,
}
