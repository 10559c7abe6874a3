"""The contract of embedding networks: faces, identities, and image towers without a classifier."""
from typing import Any, NoReturn

import torch
import torch.nn.functional as F

from ra_plugin.recognizers.base import Recognizer
from ra_plugin.recognizers.facts import Outputs
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.networks import widened

_NO_LABELS = ('an embedding has no classes, so no loss against labels. Use RecogConsistencyLoss, which compares with '
              'the embedding of the clean image, or RecogFeatureLoss.')


class EmbeddingRecognizer(Recognizer):
    """A network whose forward pass gives a vector ``(N, D)`` for each image; only its direction counts.

    It needs no labels: the clean image's embedding is the reference, and the distance to it one minus the cosine. A
    subclass with a loss of its own has identities ``(N,)`` long as labels, and overrides `loss` and `check_gives`.
    """

    task = 'embedding'
    compared_output = 'embedding'
    _length: int | None = None  # of the vectors that it has given

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        """Return the vectors as the network gives them, ``(N, D)``."""
        prepared = self.prepare(images)
        with self.autocast(images):
            return widened(self.read(self.model(prepared)))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Return the vectors as the network gives them, ``(N, D)``."""
        return self.vectors(images)

    def outputs(self, images: torch.Tensor, reference: Outputs | None = None) -> Outputs:
        """Return ``{'embedding': (N, D)}``, each vector of length 1."""
        return {'embedding': F.normalize(self.vectors(images), dim=1)}

    @torch.no_grad()
    def predict(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return ``{'embeddings': (N, D)}``, each vector of length 1, without gradient.

        Raises:
            ValueError: D is another than that of earlier images, so that the vectors cannot be compared.
        """
        with judging():
            found = self.outputs(images)['embedding']
        if self._length not in (None, found.shape[1]):
            raise ValueError(f'{self}: expected vectors of {self._length} numbers, as of earlier images, got '
                             f'{found.shape[1]} for images of {images.shape[-1]}x{images.shape[-2]} pixels: it '
                             'flattens what depends on their size. Set input_size.')
        self._length = found.shape[1]
        return {'embeddings': found}

    def loss(self, images: torch.Tensor, label: Any) -> NoReturn:
        raise ValueError(f'{self}: {_NO_LABELS}')

    def check_gives(self, method: str, where: str) -> None:
        if method == 'loss':
            raise ValueError(f'{where}: {self}: {_NO_LABELS}')
