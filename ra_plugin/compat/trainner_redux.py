"""Two calls into a training with traiNNer-redux, which has no hooks: it passes neither paths nor models to its losses.

Written for its state of June 2026. What it computes stays as it is.
"""
from collections.abc import Callable, Mapping
from typing import Any

from ra_plugin.compat.patching import replace


def after_building(models: Any, check: Callable[[Any], object]) -> None:
    """Call ``check(model)`` for each model that ``build_model`` of the module ``traiNNer.models`` returns."""

    @replace(models, 'build_model')
    def build_model(original, opt):
        model = original(opt)
        check(model)
        return model


def before_each_batch(model: Any, take: Callable[[Mapping[str, Any]], object]) -> None:
    """Call ``take(data)`` before ``model.feed_data(data)`` in a training, not in its validations.

    ``feed_data`` keeps the images alone; ``data`` also has their paths. Replaced in this model, not in its class.
    """

    @replace(model, 'feed_data')
    def feed_data(original, data):
        if model.is_train:
            take(data)
        return original(data)
