"""Statistics over images: intervals, tests, transfer matrix, audit, checks of the recognizers."""
