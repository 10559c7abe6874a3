"""Data sets of clean and degraded images with labels; either clean images or labels may be missing."""
from ra_plugin.data.detection_dataset import DetectionDataset
from ra_plugin.data.labeled_image_dataset import LabeledImageDataset
from ra_plugin.data.segmentation_dataset import SegmentationDataset
from ra_plugin.data.text_dataset import TextDataset
from ra_plugin.data.unlabeled_image_dataset import UnlabeledImageDataset

__all__ = ['DetectionDataset', 'LabeledImageDataset', 'SegmentationDataset', 'TextDataset', 'UnlabeledImageDataset']
