"""How long each corruption takes: ``python -m ra_plugin.degradations.timing`` prints a Markdown table."""
import argparse
import time

import cv2
import numpy as np

from ra_plugin.degradations.corruptions import CORRUPTIONS
from ra_plugin.degradations.imagenet_c import ImageNetC


def milliseconds(size: int = 224, repeats: int = 20) -> dict[str, list[float]]:
    """Median CPU time of each corruption at severities 1 to 5, on a smooth, grainy image of ``size`` pixels."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.uniform(32, 224, (8, 8, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    image = (smooth + rng.normal(0, 8, smooth.shape)).clip(0, 255).astype(np.uint8)
    return {name: [_median(ImageNetC(name, severity), image, repeats) for severity in range(1, 6)]
            for name in CORRUPTIONS}


def _median(corruption: ImageNetC, image: np.ndarray, repeats: int) -> float:
    times = []
    for i in range(repeats + 1):  # the first fills caches, and does not count
        start = time.process_time()
        corruption(image, np.random.default_rng(i))
        times.append((time.process_time() - start) * 1000)
    return float(np.median(times[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, default=224, help='side of the image in pixels (default: 224)')
    parser.add_argument('--repeats', type=int, default=20, help='of each, of which the median counts (default: 20)')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print(f'Milliseconds of one core for an image of {args.size}x{args.size} pixels.\n')
    print('| corruption | 1 | 2 | 3 | 4 | 5 |\n|---|---|---|---|---|---|')
    for name, times in milliseconds(args.size, args.repeats).items():
        print(f'| `{name}` | {" | ".join(f"{value:.1f}" for value in times)} |')


if __name__ == '__main__':
    main()
