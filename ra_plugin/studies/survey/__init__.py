"""Pages that ask people, and the scores of their answers."""
