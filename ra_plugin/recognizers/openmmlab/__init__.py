"""Detectors and segmenters of mmdetection and mmsegmentation."""
