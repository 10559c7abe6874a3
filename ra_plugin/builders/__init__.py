"""Option files, networks and data loaders, as training and evaluation both build them, and their identity."""
import ra_plugin.basicsr  # noqa: F401 - mends BasicSR before its first import here, and registers what is built
