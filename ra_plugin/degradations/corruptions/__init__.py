"""The corruptions of ImageNet-C (Hendrycks & Dietterich, ICLR 2019, arXiv:1903.12261): the 17 that the paper uses.

Each is a function ``corruption(image, rng, *constants)``:

* ``image``: uint8 ``(H, W, 3)``, RGB, which is not modified;
* ``rng``: the only source of randomness;
* ``constants``: the constants of one severity, from :mod:`ra_plugin.degradations.corruptions.constants`;
* returns uint8 if the definition itself rounds, otherwise floats on the ``[0, 1]`` scale, not yet clamped to it.
"""
from ra_plugin.degradations.corruptions.blur import defocus_blur, gaussian_blur, glass_blur, motion_blur, zoom_blur
from ra_plugin.degradations.corruptions.constants import CONSTANTS
from ra_plugin.degradations.corruptions.digital import (
    brightness,
    contrast,
    elastic_transform,
    jpeg_compression,
    pixelate,
    saturate,
)
from ra_plugin.degradations.corruptions.noise import gaussian_noise, impulse_noise, shot_noise, speckle_noise
from ra_plugin.degradations.corruptions.weather import snow, spatter

__all__ = ['CONSTANTS', 'CORRUPTIONS']

CORRUPTIONS = {function.__name__: function for function in (
    brightness, contrast, defocus_blur, elastic_transform, gaussian_blur, gaussian_noise, glass_blur, impulse_noise,
    jpeg_compression, motion_blur, pixelate, saturate, shot_noise, snow, spatter, speckle_noise, zoom_blur)}
