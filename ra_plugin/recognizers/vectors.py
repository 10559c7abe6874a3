"""An embedding network of any library whose network gives a vector for each image."""
from typing import Any

import torch
from torch import nn

from ra_plugin.recognizers.classification import Fit
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import RecognizerInfo, TaskError
from ra_plugin.recognizers.feature_layers import captured, check_feature_layer
from ra_plugin.recognizers.first_answer import first_answer
from ra_plugin.recognizers.networks import unwrapped, widened
from ra_plugin.recognizers.size_errors import about_size

_FORMS = {3: 'tokens', 4: 'a map'}  # by the number of dimensions
# Images: from the answer to one it would not show that tokens, or a mean over the batch, stand in place of images.
_ASKED = 2
_SIZE = (64, 64)  # of images that it is asked about, where it takes any


class VectorRecognizer(EmbeddingRecognizer):
    """A network whose forward pass gives vectors ``(N, D)``.

    Args:
        feature_layer: Dotted name of the layer whose output is `features`. Default: the vectors.

    Raises:
        TaskError: It gives none. Where a subclass has features of another kind, it may serve for those: `check_gives`
            refuses the rest.
    """

    _no_vectors = ''  # why it has none
    _taken: tuple[int, int] | None = None  # a size of images that it takes
    _remedy = ('Name the part that is (output: pooler_output), or let the network pool: nn.Sequential(network, '
               'nn.AdaptiveAvgPool2d(1), nn.Flatten()). Maps and tokens are for RecogFeatureLoss, whose layer_weights '
               'names the layers that give them.')
    _has_own_features = False  # they need no vectors

    def __init__(self, model: nn.Module, info: RecognizerInfo, fit: Fit = 'crop', feature_layer: str | None = None):
        super().__init__(model, info, fit)
        check_feature_layer(model, feature_layer, str(self))
        self.feature_layer = feature_layer
        answer = first_answer(self, self._ask_once)
        if not isinstance(answer, torch.Tensor) or answer.dim() != 2 or len(answer) != _ASKED or (
                answer.shape[1] < 2 or not answer.is_floating_point()):
            got = type(answer).__name__
            if isinstance(answer, torch.Tensor):
                kind = 'a tensor' if answer.is_floating_point() else f'a tensor of {answer.dtype}'
                got = f'{_FORMS.get(answer.dim(), kind)} {tuple(answer.shape)} for {_ASKED} images'
            self._no_vectors = f'expected vectors (N, D) from the network, got {got}. {self._remedy}'
            if not self._has_own_features:
                raise TaskError(f'{self}: {self._no_vectors}')
        elif not (_have_direction(answer) or _have_direction(self._ask_about_noise())):
            raise ValueError(f'{self}: its vectors of gray and of random images are all zero, not finite, or too large '
                             'for float32, and have no direction. Check its weights, mean and std.')
        self._taken = self.info.input_size or _SIZE

    @torch.no_grad()
    def _ask_once(self) -> Any:
        return self.vectors(self.mean.new_full((_ASKED, 3, *(self.info.input_size or _SIZE)), 0.5))

    @torch.no_grad()
    def _ask_about_noise(self) -> Any:
        """Ask about images with something in them: of gray a sound network may give zeros."""
        noise = torch.rand(_ASKED, 3, *(self.info.input_size or _SIZE), generator=torch.Generator().manual_seed(0))
        return self.vectors(noise.to(self.mean))

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        if self._no_vectors:
            raise TaskError(f'{self}: {self._no_vectors}')
        if self._taken is None:  # it is being built
            return super().vectors(images)
        with about_size(images, str(self), 'set input_size', super().vectors, self._taken):
            return super().vectors(images)

    def check_gives(self, method: str, where: str) -> None:
        super().check_gives(method, where)
        if method == 'outputs' and self._no_vectors:
            raise TaskError(f'{where}: {self}: {self._no_vectors}')

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the output of ``feature_layer``; by default the vectors."""
        if self.feature_layer is None:
            return self.vectors(images)
        prepared = self.prepare(images)
        with self.autocast(images):
            return widened(captured(unwrapped(self.model), self.feature_layer, prepared, str(self)))


def _have_direction(vectors: torch.Tensor) -> bool:
    """True if any of the vectors ``(N, D)`` can be scaled to length 1."""
    lengths = vectors.norm(dim=1)
    return bool((lengths.isfinite() & (lengths > 0)).any())
