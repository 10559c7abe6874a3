"""The training loop: BasicSR's pipeline, made resumable bit for bit."""
