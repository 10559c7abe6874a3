"""Data sets that give a label with each pair of clean and degraded image."""
from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.data.segmentation_dataset import SegmentationDataset

__all__ = ['DetectionDataset', 'LabeledImageDataset', 'SegmentationDataset']
