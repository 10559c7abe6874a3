"""Noise that is independent for each value of the image."""
import numpy as np

from ra_plugin.degradations.corruptions.filters import as_unit


def gaussian_noise(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Add Gaussian noise of standard deviation ``sigma``."""
    return as_unit(image) + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)


def shot_noise(image: np.ndarray, rng: np.random.Generator, photons: float) -> np.ndarray:
    """Apply Poisson noise with an average of ``photons`` for white."""
    return rng.poisson(image * (photons / 255)) / np.float32(photons)


def impulse_noise(image: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """Replace a fraction ``amount`` of the values, half of them by 0 and half by 1."""
    draw = rng.random(image.shape, np.float32)
    noisy = image.copy()
    noisy[draw < amount / 2] = 0
    noisy[draw >= 1 - amount / 2] = 255
    return noisy


def speckle_noise(image: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Add Gaussian noise in proportion to the value, of standard deviation ``sigma`` at white."""
    return as_unit(image) * (1 + np.float32(sigma) * rng.standard_normal(image.shape, np.float32))
