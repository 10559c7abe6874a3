"""Files that come with the package: option files, configs of OpenMMLab, the demo's weights."""
