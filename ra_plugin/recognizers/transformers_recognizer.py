"""TransformersRecognizer with its class for each task."""
from ra_plugin.recognizers.transformers_models.base import TransformersRecognizer
from ra_plugin.recognizers.transformers_models.classifier import TransformersClassifier, TransformersEmbedder
from ra_plugin.recognizers.transformers_models.detector import TransformersDetector
from ra_plugin.recognizers.transformers_models.segmenter import TransformersSegmenter

__all__ = ['TransformersClassifier', 'TransformersDetector', 'TransformersEmbedder', 'TransformersRecognizer',
           'TransformersSegmenter']
