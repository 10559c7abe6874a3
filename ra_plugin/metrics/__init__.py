"""Scores of restored images and of what recognizers make of them; BasicSR's word for both."""
