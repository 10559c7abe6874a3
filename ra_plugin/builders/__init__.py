"""What training and evaluation both build with: option files, networks, data loaders, and their identity."""
import ra_plugin.basicsr  # noqa: F401 - mends BasicSR before its first import here, and registers what is built
