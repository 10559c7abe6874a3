"""Requirements on a BasicSR model class for recognition losses to be added to its step."""
from collections.abc import Iterator
from types import CodeType

from basicsr.models.base_model import BaseModel
from basicsr.models.video_base_model import VideoBaseModel

# of the class's own: BaseModel leaves them empty, or lacks them
_METHODS = ('init_training_settings', 'setup_optimizers', 'feed_data', 'optimize_parameters', 'test',
            'get_current_visuals', 'save')
_ATTRIBUTES = ('net_g', 'optimizer_g', 'lq', 'gt', 'output', 'cri_pix')  # set or used by its methods


def why_not(base: type) -> str:
    """Return why a class cannot take recognition losses, and what to do; '' for one that can.

    The step has to call ``self.cri_pix`` once, on ``self.output``; that shows in the first step alone.
    """
    if not issubclass(base, BaseModel):
        return "it is not derived from BasicSR's BaseModel. Derive it from SRModel."
    if issubclass(base, VideoBaseModel):
        return ('it is for videos, whose images have a dimension more than recognizers take. Train on single images, '
                'with SRModel or a class derived from it.')
    own = [cls for cls in base.__mro__ if cls not in (object, BaseModel)]
    named = {name for cls in own for value in vars(cls).values() for name in _names(getattr(value, '__code__', None))}
    lacking = [f'{name}()' for name in _METHODS if not any(name in vars(cls) for cls in own)]
    lacking += [f'self.{name}' for name in _ATTRIBUTES if name not in named]
    return f'it has no {", ".join(lacking)}. Add them, or derive it from SRModel.' if lacking else ''


def _names(code: CodeType | None) -> Iterator[str]:
    """Yield the names of attributes in the code of a function and of those within it."""
    if code is None:
        return
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)
