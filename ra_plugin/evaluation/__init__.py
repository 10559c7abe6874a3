"""Evaluation: recognizers judge restored images; scores of each image, and their statistics."""
