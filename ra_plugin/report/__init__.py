"""Scores as people read them: tables, JSON, pictures."""
