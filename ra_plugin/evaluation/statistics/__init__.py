"""Intervals and tests over images, and what is derived from them: transfer, audit, checks of the recognizers."""
