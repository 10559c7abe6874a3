"""Images of the page: drawn by rule while images are judged, kept, and never missing in silence."""
import copy

import numpy as np
import pytest
import small_evaluation
import torch

from ra_plugin.evaluation import judging
from ra_plugin.evaluation.judging import Judging
from ra_plugin.evaluation.report_examples import examples
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.shown_image_rules import Draw, Rule
from ra_plugin.utils.interruption import Interrupted

RULES = [Rule('a', 'helped', 4), Rule('b', 'hurt', 3), Rule('c', 'helped', 4), Rule('any image', 'any', 3)]


def fits(rng, count, share):
    return [(number, (*(rng.random(len(RULES) - 1) < share), True)) for number in range(0, 3 * count, 3)]


@pytest.mark.parametrize('share', [0.02, 0.3, 0.9])
@pytest.mark.parametrize('seed', range(5))
def test_the_images_drawn_on_the_way_are_those_drawn_of_all(share, seed):
    rng = np.random.default_rng(seed)
    images = fits(rng, 200, share)
    draw, kept, drawn = Draw(RULES, [number for number, _ in images], seed), {}, []
    while images:
        batch, images = images[:7], images[7:]
        limits = draw.limits(drawn)
        never = [number for number, _ in batch if not draw.could_be_drawn(number, limits)]
        drawn = draw.chosen([*kept.items(), *batch])
        assert not {number for number, _ in drawn} & set(never)
        known = {**kept, **dict(batch)}
        kept = {number: known[number] for number, _ in drawn}
        assert len(kept) <= 14
    assert drawn == draw.chosen(fits(np.random.default_rng(seed), 200, share))
    assert len({number for number, _ in drawn}) == len(drawn)


def test_each_fitting_image_is_drawn_as_often():
    images = fits(np.random.default_rng(0), 40, 0.5)
    fitting = [number for number, its in images if its[0]]
    times = dict.fromkeys(fitting, 0)
    for seed in range(400):
        for number, rule in Draw(RULES, [number for number, _ in images], seed).chosen(images):
            if rule is RULES[0]:
                times[number] += 1
    mean = 4 * 400 / len(fitting)
    assert sum(times.values()) == 4 * 400 and sum((n - mean) ** 2 / mean for n in times.values()) < 2.2 * len(fitting)


@pytest.fixture
def opt(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return small_evaluation.make(tmp_path)


def run(root, opt, out='out', **settings):
    """Examples of a run, and how many batches were restored again for them."""
    evaluation, again = Evaluation(root, copy.deepcopy(opt)), []
    show = Judging.show
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Judging, 'show', lambda *args: again.append(1) or show(*args))
        evaluation.run(root / out, 5, **settings)
        return examples(evaluation), len(again)


def same(some, others):
    assert [(e.index, e.rule, e.truth, e.name) for e in some] == [(e.index, e.rule, e.truth, e.name) for e in others]
    for one, other in zip(some, others, strict=True):
        assert one.answers == other.answers and list(one.images) == list(other.images)
        assert all(np.array_equal(one.images[name], other.images[name]) for name in one.images)


@pytest.mark.slow
def test_shown_images_are_restored_once(tmp_path, opt):
    found, again = run(tmp_path, opt)
    assert found and again == 0
    assert {e.kind for e in found} >= {'any'} and list(found[0].images) == ['clean', 'no processing', 'plain', 'RA']
    kept, again = run(tmp_path, opt)
    same(kept, found)
    assert again == 0


@pytest.mark.slow
def test_images_of_records_without_them_are_made_again_once(tmp_path, opt):
    found, _ = run(tmp_path, opt)
    (tmp_path / 'out' / 'records' / '0' / 'shown.pt').unlink()
    made, again = run(tmp_path, opt)
    same(made, found)
    assert again == len(found)
    assert run(tmp_path, opt)[1] == 0
    (tmp_path / 'out' / 'records' / '0' / 'shown.pt').write_bytes(b'cut off')
    same(run(tmp_path, opt)[0], found)


@pytest.mark.slow
def test_a_run_that_was_stopped_keeps_its_images(tmp_path, opt, monkeypatch):
    whole, _ = run(tmp_path, opt, 'whole')
    monkeypatch.setattr(judging, '_IMAGES_IN_FILE', 5)
    call, calls = Judging.__call__, []

    def stopping(self, batch):
        calls.append(batch.index)
        if len(calls) == 3:
            raise Interrupted(2)
        return call(self, batch)

    monkeypatch.setattr(Judging, '__call__', stopping)
    with pytest.raises(Interrupted):
        Evaluation(tmp_path, copy.deepcopy(opt)).run(tmp_path / 'out', 5)
    found, again = run(tmp_path, opt)
    same(found, whole)
    assert again == 0


@pytest.mark.slow
def test_after_a_change_the_images_that_still_hold_are_kept(tmp_path, opt):
    run(tmp_path, opt)
    changed = copy.deepcopy(opt)
    changed['restorers']['again'] = changed['restorers'].pop('RA')  # another name for the same images
    found, again = run(tmp_path, changed)
    same(found, run(tmp_path, changed, 'anew')[0])
    assert again == 0
    small_evaluation.save_weights(tmp_path / 'two.safetensors', 2)
    found, _ = run(tmp_path, changed)
    same(found, run(tmp_path, changed, 'anew', restart=True)[0])


def test_only_drawn_images_are_on_the_disk(tmp_path, opt):
    found, _ = run(tmp_path, {**opt, 'recognizers': {'one': opt['recognizers']['one']}})
    pieces = torch.load(tmp_path / 'out' / 'records' / '0' / 'shown.pt', weights_only=True)
    assert sum(isinstance(piece, torch.Tensor) for piece in pieces.values()) == len(found) * 4
    assert len(pieces) == len(found) * (1 + 4 + 4)
