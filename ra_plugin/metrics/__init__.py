"""Metrics (BasicSR's word) of restored images and of recognizers' predictions on them."""
