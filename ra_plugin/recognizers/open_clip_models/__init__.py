"""Networks of open_clip as recognizers: classifiers by their texts, and image towers."""
