"""Restored images judged by recognizers: scores for each image, and how certain their differences are."""
