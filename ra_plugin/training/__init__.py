"""Training pipeline and loop: BasicSR's sequence, resumable bit for bit."""
import ra_plugin.basicsr  # noqa: F401 - patches BasicSR before its first import here
