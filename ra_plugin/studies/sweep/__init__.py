"""Trainings with several loss weights, and the choice among them."""
