"""Classifiers, detectors and segmenters of transformers."""
