"""Data sets of clean and degraded images, with a label for each, or with either of the two left out."""
from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.data.segmentation_dataset import SegmentationDataset
from ra_plugin.data.unlabeled_image_dataset import UnlabeledImageDataset

__all__ = ['DetectionDataset', 'LabeledImageDataset', 'SegmentationDataset', 'UnlabeledImageDataset']
