"""The training loop: BasicSR's pipeline, made resumable bit for bit."""
import ra_plugin.basicsr  # noqa: F401 - mends BasicSR before its first import here
