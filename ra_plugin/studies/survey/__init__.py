"""Surveys of people, and the scores of their answers."""
