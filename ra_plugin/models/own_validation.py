"""Evaluation by recognizers within a model class's own validation, e.g. of HAT and DRCT, which pad, tile or average."""
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from basicsr.utils import get_root_logger

from ra_plugin.metrics.task_scores import TaskScore
from ra_plugin.options import OptionError

if TYPE_CHECKING:
    from ra_plugin.models.recog_validation import RecogValidationMixin as Host
else:
    Host = object

_ENTRIES = 'validation', 'nondist_validation', 'dist_validation'


def has_own_validation(model: type) -> bool:
    """Return True if a class overrides BasicSR's validation."""
    return any(not _is_basicsrs(getattr(model, name, None)) for name in _ENTRIES)


def check_own_validation(model: type) -> None:
    """Check that recognizers can be evaluated in a class's own validation.

    Raises:
        OptionError: Its code does not call ``get_current_visuals``, through which recognizers see the images.
    """
    own = [cls for cls in model.__mro__ if not cls.__module__.startswith('basicsr.') and cls is not object]
    try:
        source = '\n'.join(inspect.getsource(cls) for cls in own)
    except (OSError, TypeError):  # defined interactively, or compiled
        return
    if 'get_current_visuals' not in source and not _is_basicsrs(model.nondist_validation):
        raise OptionError(f'val.recognizers: the validation of {model.__name__} does not call get_current_visuals, so '
                          'recognizers do not see its images. Call it once per image, as SRModel does, or remove '
                          'val.recognizers and use ra-plugin evaluate.')


def _is_basicsrs(function: Any) -> bool:
    return (getattr(function, '__module__', None) or '').startswith('basicsr.')


@dataclass
class _Watched:
    """State of a running validation: the last batch, the scores, and the number of batches evaluated."""

    dataset: Any
    current_iter: Any
    scores: dict[str, TaskScore]
    data: Mapping | None = None
    judged: int = 0
    reported: bool = False


class OwnValidationMixin(Host):
    """Mixin that evaluates recognizers in the class's own validation; put it before `RecogValidationMixin`.

    The code of the class runs unchanged, with its images, metrics and files, one image at a time. A restored image is
    evaluated when the class calls ``get_current_visuals``, as BasicSR's loop does; the scores are added to its metrics
    when it logs them.
    """

    host: type  # the original class
    _watched: _Watched | None = None
    _score_names: Collection[str] = ()

    def build_eval_recognizers(self) -> None:
        super().build_eval_recognizers()
        if self.eval_recognizers:
            check_own_validation(self.host)
            if self.opt.get('dist') and not _is_basicsrs(self.host.dist_validation):
                raise OptionError(f'val.recognizers: not supported with the distributed validation of '
                                  f'{self.host.__name__}. Train in one process, or use ra-plugin evaluate.')

    def validation(self, dataloader, current_iter, tb_logger, save_img: bool = False) -> None:
        watched = self._watched = _Watched(dataloader.dataset, current_iter,
                                           self._scores_of(dataloader.dataset))
        for name in self._score_names:  # the class averages all results present, and compares them with the best
            self.metric_results.pop(name, None)
        try:
            with self.judging():
                self.host.validation(self, dataloader, current_iter, tb_logger, save_img)
            if watched.scores and not self.opt.get('rank'):
                self._finish(watched, len(dataloader), tb_logger)
        finally:
            self._watched = None

    def nondist_validation(self, *args, **kwargs) -> None:
        self.host.nondist_validation(self, *args, **kwargs)

    def dist_validation(self, *args, **kwargs) -> None:
        self.host.dist_validation(self, *args, **kwargs)

    def feed_data(self, data: Mapping) -> None:
        if self._watched is not None:
            self._watched.data = data
            if 'gt' not in data and hasattr(self, 'gt'):
                del self.gt  # left over from another data set
        super().feed_data(data)

    def get_current_visuals(self):
        watched = self._watched
        if watched is not None and watched.data is not None:
            self.transform()
            self._judge(watched.data, watched.dataset.opt, watched.scores)
            watched.data, watched.judged = None, watched.judged + 1
        return super().get_current_visuals()

    def _log_validation_metric_values(self, current_iter, dataset_name, tb_logger) -> None:
        watched = self._watched
        if watched is not None and watched.judged and not watched.reported:
            self._add_scores(watched)
        super()._log_validation_metric_values(current_iter, dataset_name, tb_logger)

    def _finish(self, watched: _Watched, batches: int, tb_logger) -> None:
        """Report the scores if the class did not, since it logs nothing without ``val.metrics``."""
        if watched.judged != batches:
            get_root_logger().warning(
                f'{self.host.__name__}: its validation called get_current_visuals for {watched.judged} of {batches} '
                'images; the scores of recognizers are based on those.')
        if watched.judged and not watched.reported:
            self.metric_results = {}
            self._add_scores(watched)
            super()._log_validation_metric_values(watched.current_iter, watched.dataset.opt['name'], tb_logger)

    def _add_scores(self, watched: _Watched) -> None:
        watched.reported = True
        own, of_judges = dict(getattr(self, 'metric_results', None) or {}), self.score_results(watched.scores)
        self._tell_little_variety(watched.scores, watched.dataset.opt['name'])
        self.metric_results, self._score_names = of_judges, tuple(of_judges)
        self._keep_best(watched.dataset.opt['name'], self.score_facts(watched.scores), watched.current_iter)
        self.metric_results = {**own, **of_judges}
        best = self.best_metric_results[watched.dataset.opt['name']]
        for name in own:  # without an entry for each of its metrics, the class's log would raise
            if name not in best:
                best[name] = {'better': 'higher', 'val': own[name], 'iter': watched.current_iter}
