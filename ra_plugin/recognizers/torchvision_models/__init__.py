"""Networks of torchvision as recognizers: classifiers, detectors and segmenters under one registered name."""
from ra_plugin.recognizers.torchvision_models.classifier import TorchvisionClassifier
from ra_plugin.recognizers.torchvision_models.detector import TorchvisionDetector
from ra_plugin.recognizers.torchvision_models.segmenter import TorchvisionSegmenter

__all__ = ['TorchvisionClassifier', 'TorchvisionDetector', 'TorchvisionSegmenter']
