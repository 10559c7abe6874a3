"""Settings of a tuning: the flags of ``ra-plugin tune``."""
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from ra_plugin.option_types import NonNegative, Positive
from ra_plugin.options import Limits, OptionError, build_block

Loss = Literal['consistency', 'labels', 'features']
ImageLoss = Literal['auto', 'clean', 'original']
OF_REPORT = ('judges', 'report_images')  # settings that a training does not depend on


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Settings of a tuning: the restorer, the recognizer, the images, the budget.

    Attributes:
        restorer: File of any restorer that spandrel knows; or a training: its name, folder or option file.
        images: Folder of clean images, at any depth.
        recognizer: Recognizer whose loss is added, see `recognizer_block`.
        labels: ``folders``: the folder of an image is its class; or a file or folder of labels for the recognizer's
            task. Default: none; answers are compared with those on the clean images.
        degradation: Degradation from clean images to the restorer's input, see `degradation_block`. Default: bicubic
            downsampling by the restorer's scale.
        lq: Folder of degraded images instead, with the names of the clean ones.
        max_psnr_drop: Budget in dB.
        judges: Recognizers that judge the result, beside the one that is used.
        loss: ``consistency``: the recognizer's answers on the clean image are the target; ``labels``: the labels are;
            ``features``: its features on the clean image are.
        image_loss: What restored images stay near: ``clean`` images, or those that the ``original`` restorer makes. By
            default the latter for a restorer that is below no processing in PSNR, as those trained for looks are.
        steps: Number of iterations.
        batch_size: Images in an iteration. Default: 16, less for large images.
        size: Side in pixels of the images that are trained on and judged: larger ones are resized to it, and cropped to
            squares. Default: the recognizer's input size for classifiers and embedding networks, else whole images of
            at most 480x640 or so.
        lr: Learning rate of Adam at its highest.
        report_images: Number of images of the report, at most.
        seed: Seed of the training and of the report's intervals.
    """

    restorer: str
    images: str
    recognizer: str
    labels: str | None = None
    degradation: str | None = None
    lq: str | None = None
    max_psnr_drop: Annotated[float, Limits(above=0)] = 0.1
    judges: Sequence[str] = ()
    loss: Loss = 'consistency'
    image_loss: ImageLoss = 'auto'
    steps: Annotated[int, Limits(least=24, whole=True)] = 600
    batch_size: Positive | None = None
    size: Annotated[int, Limits(least=16, whole=True)] | None = None
    lr: Annotated[float, Limits(above=0)] = 3e-4
    report_images: Annotated[int, Limits(least=2, whole=True)] = 2000
    seed: NonNegative = 0


def checked(options: TuneOptions) -> TuneOptions:
    """Return the settings, checked by their annotations.

    Raises:
        OptionError: A value is of another type, or out of range; with its flag.
    """
    try:
        return build_block(TuneOptions, asdict(options), '')
    except OptionError as error:
        key, colon, message = str(error).partition(': ')
        raise OptionError(f'{flag_of(key)}{colon}{message}') from None


def flag_of(key: str) -> str:
    """Return the flag of a setting."""
    return '--judge' if key == 'judges' else f'--{key.replace("_", "-")}'
