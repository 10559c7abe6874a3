"""Studies around a restorer, a folder each: what it asks, how it measures, and its page."""
