"""cache_reference: outputs on clean images are cached by content, without any change of results."""
import pytest
import torch

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss
from ra_plugin.losses.reference_cache import ReferenceCache
from ra_plugin.recognizers.ensemble_recognizer import EnsembleRecognizer


@pytest.fixture
def asked(tiny_recognizer, monkeypatch):
    """Return a recognizer, and the number of clean images in each of its calls."""
    recognizer, counts = tiny_recognizer(), []
    for name in ('outputs', 'features'):
        original = getattr(recognizer, name)

        def ask(images, *args, original=original):
            if not images.requires_grad:
                counts.append(len(images))
            return original(images, *args)
        monkeypatch.setattr(recognizer, name, ask)
    return recognizer, counts


def gradient(loss, images, clean):
    output = images.clone().requires_grad_()
    value = loss(output, clean)
    return value, *torch.autograd.grad(value, output)


@pytest.mark.parametrize('cls', [RecogConsistencyLoss, RecogFeatureLoss])
def test_loss_and_gradient_are_those_without_it_and_each_image_costs_one_pass(cls, asked, images):
    recognizer, counts = asked
    clean = torch.rand((4, *images.shape[1:]), dtype=images.dtype)
    output = torch.rand_like(clean)
    kept, plain = cls(recognizer, cache_reference=True), cls(recognizer)
    for places, new in (([0, 1], 2), ([0, 1], 0), ([1, 2, 0, 3], 2), ([3, 3], 0)):
        expected = gradient(plain, output[places], clean[places])
        counts.clear()
        found = gradient(kept, output[places], clean[places])
        assert sum(counts) == new
        for value, other in zip(found, expected, strict=True):
            torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('change', [
    lambda clean: clean.flip(-1), lambda clean: clean.flip(-2), lambda clean: clean.roll(1, -1),
    lambda clean: clean.transpose(-1, -2), lambda clean: clean.index_fill(-1, torch.tensor([0]), 0.5),
    lambda clean: torch.nextafter(clean, torch.ones_like(clean))])
def test_another_crop_or_flip_is_another_image(change, asked):
    recognizer, counts = asked
    clean = torch.rand((2, 3, 32, 32), dtype=torch.float64)
    loss = RecogConsistencyLoss(recognizer, cache_reference=True)
    for images in (clean, change(clean)):
        loss(torch.rand_like(clean).requires_grad_(), images)
    assert counts == [2, 2]


def test_images_of_sixteen_bits_have_keys_of_their_own():
    cache, counts = ReferenceCache(), []
    images = torch.rand((3, 3, 5, 5)).bfloat16()
    for _ in range(2):
        cache('recognizer', images, lambda asked: counts.append(len(asked)) or {'logits': asked.flatten(1)})
    assert counts == [3]


def test_each_member_of_an_ensemble_has_answers_of_its_own(tiny_recognizer, images):
    members = [tiny_recognizer(seed=seed) for seed in (0, 1)]
    clean = torch.rand_like(images)
    ensemble = EnsembleRecognizer(members)
    kept = RecogConsistencyLoss(ensemble, cache_reference=True)
    for _ in range(2):
        torch.testing.assert_close(kept(images, clean), RecogConsistencyLoss(ensemble)(images, clean),
                                   rtol=1e-9, atol=1e-12)


def test_beyond_the_limit_answers_are_right_and_asked_for_each_time():
    cache, counts = ReferenceCache(limit=2 * (1024 + 40)), []

    def ask(asked):
        counts.append(len(asked))
        return {'logits': asked.flatten(1)[:, :10]}

    images = torch.rand((3, 3, 5, 5))
    for _ in range(3):
        assert torch.equal(cache('recognizer', images, ask)['logits'], ask(images)['logits'])
    assert counts == [3, 3, 1, 3, 1, 3]


def test_a_detector_is_refused(tiny_recognizer, monkeypatch):
    recognizer = tiny_recognizer()
    monkeypatch.setattr(type(recognizer), 'batch_independent', False)  # as of a detector
    with pytest.raises(ValueError, match='cache_reference: not supported for .* depend on the whole batch'):
        RecogConsistencyLoss(recognizer, cache_reference=True)
