"""Build with the folder options/ inside the package, where `ra_plugin.shipped` looks for it."""
import os
import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithOptions(build_py):
    """Copy options/ to ra_plugin/shipped/options; an editable install finds it at the top of the repository."""

    def run(self):
        """Build the package, then add the option files."""
        super().run()
        if not self.editable_mode:
            folder = os.path.join(self.build_lib, 'ra_plugin', 'shipped', 'options')
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
            shutil.copytree('options', folder, ignore=shutil.ignore_patterns('__pycache__'))


setup(cmdclass={'build_py': BuildWithOptions})
