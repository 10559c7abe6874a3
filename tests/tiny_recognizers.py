"""A detector, a segmenter and an embedding network of a few lines: the least that a subclass has to write."""
import torch
import torch.nn.functional as F
from torch import nn

from ra_plugin.recognizers.detection import DetectionRecognizer
from ra_plugin.recognizers.embedding import EmbeddingRecognizer
from ra_plugin.recognizers.facts import IGNORED, RecognizerInfo
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.segmentation import SegmentationRecognizer

_FACTS = {'mean': (0.5, 0.4, 0.3), 'std': (0.2, 0.3, 0.4), 'source': 'random weights'}
_CLASSES = ('cat', 'dog', 'bird')


def tiny_network(channels: int, stride: int) -> nn.Module:
    """Return a network that gives a map of some channels."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, channels, stride, stride))


def tiny_embedding_network() -> nn.Module:
    """Return a network that gives vectors ``(N, 5)``."""
    return nn.Sequential(tiny_network(5, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class TinyDetector(DetectionRecognizer):
    """A box and the sigmoid scores of three classes at each cell of 8x8 pixels."""

    stride = 8

    def __init__(self):
        super().__init__(tiny_network(len(_CLASSES) + 4, self.stride), RecognizerInfo(
            'tiny', self.task, len(_CLASSES), _CLASSES, **_FACTS))

    def features(self, images):
        return self.model(self.prepare(images))

    def outputs(self, images, reference=None):
        scores, sides = self.features(images).flatten(2).split([len(_CLASSES), 4], 1)
        found = (reference or {}).get('found', scores.detach().sigmoid().amax(1, keepdim=True))
        flat = scores.flatten(1)
        return {'logits': torch.stack([flat, torch.zeros_like(flat)], 1), 'regression': (sides * found).flatten(1),
                'found': found}

    def loss(self, images, label):
        self.check_label(label, len(images), str(self))
        answers = self.features(images)
        wanted, sides = torch.zeros_like(answers[:, :3]), answers.new_zeros(())
        for i, item in enumerate(label):
            for box, kind in zip(item['boxes'], item['labels'], strict=True):
                column, row = ((box[:2] + box[2:]) / 2 // self.stride).long()
                wanted[i, kind, row, column] = 1
                sides = sides + F.l1_loss(answers[i, 3:, row, column].exp() * self.stride,
                                          (box[2:] - box[:2]).repeat(2))
        return {'scores': F.binary_cross_entropy_with_logits(answers[:, :3], wanted), 'sides': sides}

    @torch.no_grad()
    def predict(self, images):
        scores, sides = self.features(images).split([len(_CLASSES), 4], 1)
        rows, columns = torch.meshgrid(*map(torch.arange, scores.shape[-2:]), indexing='ij')
        center = (torch.stack([columns, rows, columns, rows]) + 0.5) * self.stride
        boxes = (center + torch.tensor([-1, -1, 1, 1]).view(4, 1, 1) * sides.exp() * self.stride).flatten(2)
        found = []
        for one, places in zip(scores.sigmoid().flatten(2), boxes, strict=True):
            best, kinds = one.max(0)
            best, order = best.sort(descending=True, stable=True)
            found.append({'boxes': places.T[order], 'labels': kinds[order], 'scores': best})
        return found


class TinySegmenter(SegmentationRecognizer):
    """Scores of three classes at half the resolution."""

    def __init__(self):
        super().__init__(tiny_network(len(_CLASSES), 2),
                         RecognizerInfo('tiny', self.task, len(_CLASSES), _CLASSES, **_FACTS))

    def features(self, images):
        return self.model[:2](self.prepare(images))

    def outputs(self, images, reference=None):
        return {'logits': self.model(self.prepare(images))}

    def loss(self, images, label):
        self.check_label(label, len(images), str(self))
        self.check_label_size(label, images)
        logits = F.interpolate(self.outputs(images)['logits'], images.shape[-2:], mode='bilinear')
        return {'cross_entropy': F.cross_entropy(logits, label, ignore_index=IGNORED)}

    @torch.no_grad()
    def predict(self, images):
        with judging():
            logits = self.outputs(images)['logits']
        return {'masks': F.interpolate(logits, images.shape[-2:], mode='bilinear').argmax(1)}


class TinyEmbedder(EmbeddingRecognizer):
    """A vector of five numbers."""

    def __init__(self):
        super().__init__(tiny_embedding_network(), RecognizerInfo('tiny', self.task, **_FACTS))


class TinyReader(nn.Module):
    """Scores ``(N, T, 7)`` of a blank and six characters, one step for each four columns."""

    def __init__(self, channels=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, 8, 4, 4), nn.Tanh())
        self.rnn = nn.LSTM(8, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 7)

    def forward(self, images):
        return self.head(self.rnn(self.layers(images).mean(2).transpose(1, 2))[0])
