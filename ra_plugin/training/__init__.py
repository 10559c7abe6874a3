"""Training pipeline and loop: BasicSR's sequence, resumable bit for bit."""
