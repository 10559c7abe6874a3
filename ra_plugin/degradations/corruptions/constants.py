"""Published constants of each corruption, per set of images and severity.

They are taken from the programs that made ImageNet-C (224 pixels) and CIFAR-10-C (32 pixels); the arguments of the
corruption functions say what they mean. Lengths are in pixels, independent of the image size.
"""
from typing import Any

_IMAGENET = {
    'brightness': (0.1, 0.2, 0.3, 0.4, 0.5),
    'contrast': (0.4, 0.3, 0.2, 0.1, 0.05),
    'defocus_blur': ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    'elastic_transform': ((488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88),
                          (29.28, 2.44, 4.88)),
    'gaussian_blur': (1, 2, 3, 4, 6),
    'gaussian_noise': (0.08, 0.12, 0.18, 0.26, 0.38),
    'glass_blur': ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    'impulse_noise': (0.03, 0.06, 0.09, 0.17, 0.27),
    'jpeg_compression': (25, 18, 15, 10, 7),
    'motion_blur': ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    'pixelate': (0.6, 0.5, 0.4, 0.3, 0.25),
    'saturate': ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    'shot_noise': (60, 25, 12, 5, 3),
    'snow': ((0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7), (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
             (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55)),
    'spatter': ((0.65, 0.3, 4, 0.69, 0.6, False), (0.65, 0.3, 3, 0.68, 0.6, False), (0.65, 0.3, 2, 0.68, 0.5, False),
                (0.65, 0.3, 1, 0.65, 1.5, True), (0.67, 0.4, 1, 0.65, 1.5, True)),
    'speckle_noise': (0.15, 0.2, 0.35, 0.45, 0.6),
    'zoom_blur': ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
}
_CIFAR10 = {
    'brightness': (0.05, 0.1, 0.15, 0.2, 0.3),
    'contrast': (0.75, 0.5, 0.4, 0.3, 0.15),
    'defocus_blur': ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    'elastic_transform': ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
    'gaussian_blur': (0.4, 0.6, 0.7, 0.8, 1),
    'gaussian_noise': (0.04, 0.06, 0.08, 0.09, 0.1),
    'glass_blur': ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    'impulse_noise': (0.01, 0.02, 0.03, 0.05, 0.07),
    'jpeg_compression': (80, 65, 58, 50, 40),
    'motion_blur': ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    'pixelate': (0.95, 0.9, 0.85, 0.75, 0.65),
    'saturate': ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    'shot_noise': (500, 250, 100, 75, 50),
    'snow': ((0.1, 0.2, 1, 0.6, 8, 3, 0.95), (0.1, 0.2, 1, 0.5, 10, 4, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
             (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8)),
    'spatter': ((0.62, 0.1, 0.7, 0.7, 0.5, False), (0.65, 0.1, 0.8, 0.7, 0.5, False), (0.65, 0.3, 1, 0.69, 0.5, False),
                (0.65, 0.1, 0.7, 0.69, 0.6, True), (0.65, 0.1, 0.5, 0.68, 0.6, True)),
    'speckle_noise': (0.06, 0.1, 0.12, 0.16, 0.2),
    'zoom_blur': ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
}


def _tuples(rows: dict[str, tuple]) -> dict[str, list[tuple[Any, ...]]]:
    return {name: [value if isinstance(value, tuple) else (value,) for value in row] for name, row in rows.items()}


CONSTANTS = {'imagenet': _tuples(_IMAGENET), 'cifar10': _tuples(_CIFAR10)}
