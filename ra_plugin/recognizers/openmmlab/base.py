"""The base of detectors of mmdetection and segmenters of mmsegmentation as frozen losses."""
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ra_plugin.library_errors import translated
from ra_plugin.option_types import ConfigPath, WeightsPath
from ra_plugin.options import check_number
from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.facts import RecognizerInfo
from ra_plugin.recognizers.frozen.loss_mode import LossMode
from ra_plugin.recognizers.networks import widened
from ra_plugin.recognizers.openmmlab.geometry import PipelineGeometry, Size, fit_images, within_image
from ra_plugin.recognizers.openmmlab.model import (
    build_model,
    class_names,
    download,
    find_config,
    load_checkpoint,
    missing_operators,
    model_class,
    published_weights,
    read_config,
    test_pipeline,
)
from ra_plugin.recognizers.own_preprocessing import OwnPreprocessing
from ra_plugin.recognizers.resize_option import HasResize, Resize, check_resize
from ra_plugin.recognizers.size_errors import about_size
from ra_plugin.utils.optional import require
from ra_plugin.utils.random_streams import seeded
from ra_plugin.utils.tensors import total
from ra_plugin.utils.text import first_line, how_many

_LATE = 10 ** 9  # epochs or iterations, after any warm-up


class OpenMMLabRecognizer(HasResize, Recognizer):
    """A frozen model of OpenMMLab, with its own preprocessor, loss and decoding.

    Its loss is that of training: layers with running statistics or randomness stay in inference mode, the others in
    training mode, since some heads compute another loss, or none, in inference mode. Answers and predictions are those
    of inference. Random sampling of proposals starts from the same seed in each call, and leaves torch's, numpy's and
    Python's random states as they were: equal images have equal losses.

    A config is a Python file and is executed: name only configs that you trust. Checkpoints are not executed.

    Args:
        config: File, or name of a config that the installed package brings: ``faster-rcnn_r50_fpn_1x_coco``.
        checkpoint: File with the weights, as mmengine saves them, or ``.safetensors``.
        pretrained: Take the weights that the package's model zoo publishes for the config (downloaded once). ``False``
            without a checkpoint: random weights.
        resize: ``'model'``: as the config's test pipeline; right for whole images. A number: a factor on height and
            width; right for crops, which the pipeline would blow up to the size of whole images. ``~``: as they come.
        cfg_options: Dotted keys of the config with other values: ``{model.test_cfg.rcnn.score_thr: 0.3}``.
        seed: Seed of the random sampling within the loss.

    Raises:
        ImportError: A package is not installed.
        FileNotFoundError: No such config or checkpoint.
        ValueError: A config of another library or task (TaskError), no weights chosen, a checkpoint that does not fit,
            a layer that needs an operator which is not there.
    """

    own_resizing = "images resized as its config's test pipeline does"
    package: str  # 'mmdet' | 'mmseg', which is also the scope of its registries
    task: str  # from the class of the task

    def __init__(self, config: ConfigPath, checkpoint: WeightsPath | None = None, pretrained: bool | None = None,
                 resize: Resize = 'model', cfg_options: Mapping[str, Any] | None = None, seed: int = 0):
        where = f'{type(self).__name__}({Path(config).stem})'
        require(self.package, where)
        if not checkpoint and pretrained is None:
            raise ValueError(f'{where}: no weights. Set checkpoint: FILE, or pretrained: true.')
        if checkpoint and pretrained:
            raise ValueError(f'{where}: both pretrained and checkpoint are set. Keep one.')
        check_resize(resize, where)
        check_number(seed, f'{where}: seed', least=0, most=2 ** 32 - 1, whole=True)  # as numpy takes it
        path = find_config(config, self.package, where)
        settings = read_config(path, cfg_options, where)
        self.check_class(model_class(settings, self.package, where), settings.model, where)
        self.adapt_config(settings)
        model = build_model(settings, self.package, where, cfg_options)
        self.adapt_model(model)
        missing = missing_operators(model)
        if missing:
            raise ValueError(f'{where}: {path.name} needs {", ".join(missing)} of the compiled mmcv, which is not '
                             'installed here. Install mmcv instead of mmcv-lite, or choose another model.')
        classes, count = class_names(settings, self.package), self.count_classes(model)
        if classes and count and len(classes) != count:
            raise ValueError(f'{where}: {path.name} names {how_many(len(classes), "class")}, its head has {count}. '
                             'Set num_classes of the head, or metainfo.classes of test_dataloader.dataset.')
        if pretrained:
            url = published_weights(path, self.package, where)
            with translated(where, f'{torch.hub.get_dir()}/checkpoints'):
                checkpoint = download(url)
        if checkpoint:
            load_checkpoint(model, checkpoint, classes, where)
        mean, std = _normalization(model.data_preprocessor)
        super().__init__(model, RecognizerInfo(
            name=path.stem, task=self.task, num_classes=count or len(classes or ()), classes=classes,
            mean=mean, std=std, source=checkpoint or 'random weights',
            reduce_zero_label=self.reduces_zero_label(settings)))
        self._loss_mode = LossMode(model)
        self.resize, self.seed = resize, seed
        self.geometry = (PipelineGeometry.from_config(test_pipeline(settings), self.package) if resize == 'model'
                         else PipelineGeometry(factor=resize))

    @contextlib.contextmanager
    def _images_as_they_come(self) -> Iterator[None]:
        kept, self.geometry = self.geometry, PipelineGeometry()
        try:
            yield
        finally:
            self.geometry = kept

    def _large_part(self) -> torch.nn.Module:
        """Return the backbone: heads may draw random numbers, or compute something else in the forward pass of their
        loss.
        """
        return self.model.backbone

    # --------------------------------------------------- for subclasses
    def check_class(self, model_class: type, settings: Mapping[str, Any], where: str) -> None:
        """Raise TaskError where the model is of another task, or its loss needs more than this task's labels."""
        raise NotImplementedError(f'{type(self).__name__} has no check_class().')

    def adapt_config(self, config: Any) -> None:
        """Change settings that keep the model from serving as a loss; in place."""

    def adapt_model(self, model: torch.nn.Module) -> None:
        """Change a built model so that it can serve as a loss; in place."""

    def count_classes(self, model: torch.nn.Module) -> int:
        """Return the number of the model's classes."""
        raise NotImplementedError(f'{type(self).__name__} has no count_classes().')

    def reduces_zero_label(self, config: Any) -> bool | None:
        """Return ``RecognizerInfo.reduce_zero_label``."""
        return None

    def sample(self, size: Size, index: int) -> Any:
        """Return the library's data sample for an image of this size, without labels."""
        raise NotImplementedError(f'{type(self).__name__} has no sample().')

    # ------------------------------------------------------------ shared
    @contextlib.contextmanager
    def calling(self, images: torch.Tensor, for_loss: bool = False) -> Iterator[None]:
        """Prepare the model for a call within the context: its registry's scope, its layers' mode, its random stream.
        """
        scope = require('mmengine.registry', str(self)).DefaultScope.overwrite_default_scope(self.package)
        mode = self._loss_mode.on() if for_loss else contextlib.nullcontext()
        try:
            with about_size(images, str(self)), mode, scope, seeded(self.seed, images.device), _after_warm_up(), (
                    self.autocast(images)):
                yield
        except NotImplementedError as error:  # an operator that is reached only now
            raise ValueError(f'{self}: {error}') from error

    def feed(self, images: torch.Tensor, sizes: Sequence[tuple[int, int]] | None = None, training: bool = False,
             annotate: Any = None) -> tuple[torch.Tensor, list]:
        """Return images in the model's input format, and their data samples.

        Args:
            images: ``(N, 3, H, W)``, RGB, ``[0, 1]``.
            sizes: Height and width of each image within a padded batch. Default: all of it.
            training: Pad as the model's preprocessor does in training.
            annotate: Called with each sample, its size and its index to add the labels.
        """
        bgr = self.cast(images).flip(1) * 255  # as OpenMMLab's loaders give it; its preprocessor does the rest
        shapes = [tuple(images.shape[-2:])] * len(images) if sizes is None else list(sizes)
        measured = [self.geometry.size(*shape) for shape in shapes]
        if len(set(shapes)) == 1:
            height, width = shapes[0]
            inputs = list(fit_images(bgr[..., :height, :width], measured[0]))
        else:
            inputs = [fit_images(image[None, :, :size.original[0], :size.original[1]], size)[0]
                      for image, size in zip(bgr, measured, strict=True)]
        samples = [self.sample(size, i) for i, size in enumerate(measured)]
        if annotate:
            for i, (sample, size) in enumerate(zip(samples, measured, strict=True)):
                annotate(sample, size, i)
        preprocessor = self.model.data_preprocessor
        if preprocessor.device != images.device:  # nn.Module.to() of the model around it does not tell it
            preprocessor.to(images.device)
        data = preprocessor({'inputs': inputs, 'data_samples': samples}, training)
        return data['inputs'], data['data_samples']

    def resized(self, height: int, width: int) -> tuple[int, int]:
        return self.geometry.size(height, width).resized

    def own_preprocessing(self) -> OwnPreprocessing:
        """Return the library's own preprocessing: the geometric steps of the config's test pipeline, and the
        preprocessor.
        """

        def transform(picture: Image.Image) -> torch.Tensor:
            pixels = np.ascontiguousarray(np.asarray(picture)[..., ::-1])  # BGR, as its loaders read files
            size = self.geometry.size(*pixels.shape[:2])
            results = {'img': pixels, 'img_shape': pixels.shape[:2], 'ori_shape': pixels.shape[:2]}
            for step in self.geometry.transforms:
                results = step(results)
            inputs = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
            data = {'inputs': [inputs.to(self.mean.device)], 'data_samples': [self.sample(size, 0)]}
            return self.model.data_preprocessor(data, False)['inputs']

        return OwnPreprocessing(self.info.mean, self.info.std, transform if self.resize == 'model' else None)

    def prepare(self, images: torch.Tensor) -> torch.Tensor:
        """Return the model's input as its own test pipeline and preprocessor make it; differentiable."""
        return self.feed(images)[0]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the last (coarsest) level of the model's features, ``(N, C, h, w)``, without padding."""
        with self.calling(images):
            inputs, samples = self.feed(images)
            found = widened(last_tensor(self.model.extract_feat(inputs), str(self)))
        return within_image(found, inputs.shape[-2:], samples[0]) if found.dim() == 4 else found

    def native_loss(self, images: torch.Tensor, sizes: Sequence | None, annotate: Any) -> dict[str, torch.Tensor]:
        """Return the scalars that the model sums to its training loss, by the model's own names."""
        with self.calling(images, for_loss=True):
            batch = self.feed(images, sizes, training=True, annotate=annotate)
            try:
                losses = self.model.loss(*batch)
            except ImportError as error:
                raise ImportError(f'{self}: {first_line(error)}') from error
            except (AttributeError, KeyError, TypeError) as error:  # of the libraries, where a label is missing
                raise ValueError(f'{self}: its loss cannot be computed from labels of {self.task} '
                                 f'({type(error).__name__}: {first_line(error)}).') from error
        terms = {name: value for name, value in losses.items() if 'loss' in name}  # as mmengine picks them
        return {name: total(part.mean() for part in value) if isinstance(value, (list, tuple)) else value.mean()
                for name, value in terms.items()}


@contextlib.contextmanager
def _after_warm_up() -> Iterator[None]:
    """Report a late iteration to heads that ask mmengine for it because of a warm-up."""
    hub = require('mmengine.logging', 'mmengine').MessageHub.get_current_instance()
    kept = {name: hub.get_info(name) for name in ('epoch', 'iter')}
    try:
        for name in kept:
            hub.update_info(name, _LATE)
        yield
    finally:
        for name, value in kept.items():
            hub.update_info(name, value)


def last_tensor(features: Any, where: str) -> torch.Tensor:
    """Return the last tensor in the output of a backbone or neck: a tensor, or nested sequences or mappings of them."""
    while not isinstance(features, torch.Tensor):
        if isinstance(features, Mapping):
            features = list(features.values())
        if not isinstance(features, (list, tuple)) or not features:
            raise ValueError(f'{where}: expected tensors as features, got {type(features).__name__}.')
        tensors = [item for item in features if item is not None]
        features = tensors[-1]
    return features


def _normalization(preprocessor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std in RGB on the ``[0, 1]`` scale, for the record: the preprocessor applies its own."""
    mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        return (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)
    flips = getattr(preprocessor, '_channel_conversion', None) or getattr(preprocessor, 'channel_conversion', False)
    order = slice(None) if flips else slice(None, None, -1)
    return tuple((mean.flatten() / 255).tolist()[order]), tuple((std.flatten() / 255).tolist()[order])
