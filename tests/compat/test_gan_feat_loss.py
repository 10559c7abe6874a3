"""GANFeatLoss, which BasicSR's HiFaceGAN uses and BasicSR lacks."""
import numpy as np
import pytest
import torch

import ra_plugin.basicsr  # noqa: F401  (registers)
from ra_plugin.compat.gan_feat_loss import GANFeatLoss


@pytest.mark.parametrize('criterion, distance', [
    ('l1', np.abs), ('l2', np.square), ('charbonnier', lambda x: np.sqrt(x * x + 1e-12))])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_value_is_the_formulas(criterion, distance, reduction):
    shapes = [[(2, 3, 4, 5), (2, 6, 2, 3), (2, 1, 2, 3)], [(2, 3, 2, 2), (2, 1, 2, 2)]]  # the last is the prediction
    fake, real = ([[torch.randn(shape, dtype=torch.float64) for shape in net] for net in shapes] for _ in range(2))
    terms = [getattr(distance((f - r).numpy()), reduction)()
             for fakes, reals in zip(fake, real, strict=True) for f, r in list(zip(fakes, reals, strict=True))[:-1]]
    loss = GANFeatLoss(criterion, loss_weight=3.0, reduction=reduction)(fake, real)
    assert loss.item() == pytest.approx(3 * sum(terms) / 2)


def test_gradient_reaches_the_restored_image_alone():
    fake, real = ([[torch.rand(1, 2, 3, 3, requires_grad=True) for _ in range(2)]] for _ in range(2))
    GANFeatLoss()(fake, real).backward()
    assert fake[0][0].grad.any() and real[0][0].grad is None
    assert fake[0][1].grad is None  # the prediction


def test_an_unknown_criterion_is_named():
    with pytest.raises(ValueError, match=r"GANFeatLoss: criterion: expected one of l1, l2, charbonnier; got 'l3'"):
        GANFeatLoss('l3')


def test_basicsr_builds_it():
    from basicsr.losses import build_loss
    loss = build_loss({'type': 'GANFeatLoss', 'loss_weight': 10.0, 'criterion': 'l1'})
    assert loss.loss_weight == 10
