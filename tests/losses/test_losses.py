"""Recognition losses: against formulas in NumPy, with exact gradients that reach only the output."""
import dataclasses
import math
import re
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import warm_start
from torch import nn

from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.losses import distances
from ra_plugin.options import OptionError
from ra_plugin.registry import RECOGNIZER_REGISTRY, Registry

LABEL = torch.tensor([1, 3])
CONSISTENCY, FEATURE = list(distances.CONSISTENCY), list(distances.FEATURES)
LOSSES = {
    'recog': lambda recognizer, **kwargs: RecogLoss(recognizer, **kwargs),
    **{f'consistency_{d}': lambda recognizer, d=d, **kwargs: RecogConsistencyLoss(recognizer, distance=d, **kwargs)
       for d in CONSISTENCY},
    **{f'feature_{d}': lambda recognizer, d=d, **kwargs: RecogFeatureLoss(recognizer, distance=d, **kwargs)
       for d in FEATURE},
}
REFERENCE_LOSSES = [name for name in LOSSES if name != 'recog']


@pytest.fixture(params=LOSSES)
def make_loss(request, tiny_recognizer):
    return lambda **kwargs: LOSSES[request.param](tiny_recognizer(), **kwargs)


@pytest.fixture(params=REFERENCE_LOSSES)
def make_reference_loss(request, tiny_recognizer):
    return lambda **kwargs: LOSSES[request.param](tiny_recognizer(), **kwargs)


@pytest.fixture
def gt(images):
    return torch.rand(images.shape, dtype=images.dtype)


def target_of(loss, gt):
    return LABEL if loss.needs == 'label' else gt


# The formulas, in NumPy and float64

def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def np_probability(a, b, t):
    return ((softmax(a) - softmax(b)) ** 2).reshape(len(a), -1).mean(1)


def np_kl(a, b, t):
    p, q = softmax(a / t), softmax(b / t)
    return t * t * (q * np.log(q / p)).sum(1).reshape(len(a), -1).mean(1)


def np_l1(a, b, t):
    return np.abs(a - b).reshape(len(a), -1).mean(1)


def np_l2(a, b, t):
    return ((a - b) ** 2).reshape(len(a), -1).mean(1)


def np_cosine(a, b, t):
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    return 1 - (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


FORMULAS = {'probability': np_probability, 'kl': np_kl, 'l1': np_l1, 'l2': np_l2, 'cosine': np_cosine}


@pytest.mark.parametrize('shape', [(3, 7), (2, 5, 3, 4)], ids=['vector', 'map'])
@pytest.mark.parametrize('name', FORMULAS)
def test_distance_equals_its_formula(name, shape):
    a, b = torch.randn(2, *shape, dtype=torch.float64) * 3
    value = getattr(distances, f'{name}_distance')(a, b)
    assert value.shape == shape[:1]
    np.testing.assert_allclose(value.numpy(), FORMULAS[name](a.numpy(), b.numpy(), 1.0), rtol=1e-12)


@pytest.mark.parametrize('name', CONSISTENCY)
def test_consistency_loss_is_the_formula_on_the_logits(name, tiny_recognizer, images, gt):
    recognizer = tiny_recognizer()
    temperature = 2.5 if name == 'kl' else None
    loss = RecogConsistencyLoss(recognizer, reduction='none', distance=name, temperature=temperature)
    a, b = (recognizer.outputs(x)['logits'].numpy() for x in (images, gt))
    np.testing.assert_allclose(loss(images, gt).numpy(), FORMULAS[name](a, b, temperature), rtol=1e-9)


@pytest.mark.parametrize('name', FEATURE)
def test_feature_loss_is_the_formula_on_the_features(name, tiny_recognizer, images, gt):
    recognizer = tiny_recognizer()
    a, b = (recognizer.features(x).numpy() for x in (images, gt))
    value = RecogFeatureLoss(recognizer, reduction='none', distance=name)(images, gt)
    np.testing.assert_allclose(value.numpy(), FORMULAS[name](a, b, 1.0), rtol=1e-9)


def test_distance_probability_is_the_papers_mse_of_probabilities_over_batch_and_classes(tiny_recognizer, images, gt):
    recognizer = tiny_recognizer()
    a, b = (recognizer.outputs(x)['logits'].softmax(1) for x in (images, gt))
    loss = RecogConsistencyLoss(recognizer, distance='probability')
    torch.testing.assert_close(loss(images, gt), nn.MSELoss()(a, b))


def test_the_default_distance_is_the_divergence_at_temperature_2(tiny_recognizer, images, gt):
    recognizer = tiny_recognizer()
    a, b = (recognizer.outputs(x)['logits'] / 2 for x in (images, gt))
    expected = 4 * nn.KLDivLoss(reduction='batchmean')(a.log_softmax(1), b.softmax(1))
    torch.testing.assert_close(RecogConsistencyLoss(recognizer)(images, gt), expected)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kl_is_torchs_divergence_of_the_softened_answers_times_the_squared_temperature(temperature):
    a, b = torch.randn(2, 3, 6, dtype=torch.float64)
    of = torch.distributions.Categorical
    expected = torch.distributions.kl_divergence(of(logits=b / temperature), of(logits=a / temperature))
    torch.testing.assert_close(distances.kl_distance(a, b, temperature), expected * temperature ** 2)


def test_kl_is_finite_for_answers_far_apart():
    value = distances.kl_distance(torch.tensor([[300., -300.]]), torch.tensor([[-300., 300.]]))
    assert value.item() == pytest.approx(600)


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_recog_loss_is_torchs_cross_entropy(smoothing, tiny_recognizer, images):
    recognizer = tiny_recognizer()
    expected = F.cross_entropy(recognizer.logits(images), LABEL, label_smoothing=smoothing)
    torch.testing.assert_close(RecogLoss(recognizer, label_smoothing=smoothing)(images, LABEL), expected)


# Gradients

def test_loss_and_gradient_are_zero_where_output_equals_gt(make_reference_loss, images):
    output = images.clone().requires_grad_()
    value = make_reference_loss()(output, images)
    value.backward()
    assert abs(value.item()) < 1e-15 and output.grad.abs().max() < 1e-9


def test_reference_losses_are_positive_where_images_differ(make_reference_loss, images, gt):
    assert (make_reference_loss(reduction='none')(images, gt) > 1e-9).all()


@pytest.mark.slow
def test_gradient_is_exact(make_loss):
    loss = make_loss()
    output, gt = torch.rand(2, 2, 3, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, target_of(loss, gt)), output.requires_grad_())


def test_gradient_is_exact_through_the_resize(tiny_recognizer):
    loss = RecogConsistencyLoss(tiny_recognizer(input_size=6), distance='kl')
    output, gt = torch.rand(2, 1, 3, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: loss(x, gt), output.requires_grad_())


def test_gradient_never_reaches_gt_or_the_recognizer(make_loss, images, gt):
    loss = make_loss()
    gt.requires_grad_()
    loss(images.requires_grad_(), target_of(loss, gt)).backward()
    assert images.grad.abs().max() > 0
    assert gt.grad is None and all(p.grad is None and not p.requires_grad for p in loss.recognizer.model.parameters())


def test_the_reference_side_builds_no_graph(make_reference_loss, images, gt):
    loss, graph = make_reference_loss(), []
    loss.recognizer.model.register_forward_hook(lambda *_: graph.append(torch.is_grad_enabled()))
    loss(images.requires_grad_(), gt)
    assert sorted(graph) == [False, True]


def test_an_output_outside_0_1_is_passed_on_with_its_gradient(make_loss, images, gt):
    loss = make_loss()
    output = (images * 3 - 1).requires_grad_()
    loss(output, target_of(loss, gt)).backward()
    assert (output.grad[(output < 0) | (output > 1)] != 0).any()


def test_a_training_parent_does_not_change_the_loss(make_loss, images, gt):
    loss = make_loss()
    before = loss(images, target_of(loss, gt))
    nn.ModuleList([loss]).train()
    assert torch.equal(loss(images, target_of(loss, gt)), before) and not loss.recognizer.training


# Reduction and weight

def test_none_gives_one_value_for_each_image(make_loss, images, gt):
    loss = make_loss(reduction='none')
    assert loss(images, target_of(loss, gt)).shape == (2,)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_mean_and_sum_are_those_of_the_values_of_the_images(reduction, make_loss, images, gt):
    loss, each = make_loss(reduction=reduction), make_loss(reduction='none')
    target = target_of(loss, gt)
    torch.testing.assert_close(loss(images, target), getattr(each(images, target), reduction)())


@pytest.mark.parametrize('reduction', ['mean', 'none'])
def test_loss_weight_is_a_factor(reduction, make_loss, images, gt):
    loss, weighted = make_loss(reduction=reduction), make_loss(reduction=reduction, loss_weight=1e-3)
    target = target_of(loss, gt)
    torch.testing.assert_close(weighted(images, target), 1e-3 * loss(images, target))


# Errors

@pytest.mark.parametrize('low, high', [(-2.12, 2.64), (0.0, 255.0), (-1.0, 1.0)])
def test_gt_off_the_0_1_scale_is_refused_with_the_remedy(make_reference_loss, images, low, high):
    loss = make_reference_loss()
    gt = torch.linspace(low, high, images.numel(), dtype=images.dtype).view(images.shape)
    message = (f'{type(loss).__name__}(TanhNet): expected gt in [0, 1], got [{low:.2f}, {high:.2f}]. '
               'Pass RGB that is not normalized; the recognizer normalizes.')
    with pytest.raises(ValueError, match=f'^{re.escape(message)}$'):
        loss(images, gt)


def test_the_range_of_gt_is_read_in_the_first_step_alone(make_reference_loss, images, gt):
    loss = make_reference_loss()
    loss(images, gt)
    loss(images, gt + 5)


@pytest.mark.parametrize('name', LOSSES)
def test_a_recognizer_without_gradient_is_refused(name, tiny_recognizer):
    recognizer = tiny_recognizer()
    recognizer.info = dataclasses.replace(recognizer.info, differentiable=False)
    with pytest.raises(ValueError, match=r'ModuleRecognizer\(TanhNet\) is not differentiable: it can be used for'):
        LOSSES[name](recognizer)


@pytest.mark.parametrize('name', LOSSES)
def test_an_unknown_reduction_is_refused(name, tiny_recognizer):
    with pytest.raises(ValueError, match="reduction: expected 'mean', 'sum' or 'none', got 'avg'"):
        LOSSES[name](tiny_recognizer(), reduction='avg')


@pytest.mark.parametrize('cls, names', [(RecogConsistencyLoss, CONSISTENCY), (RecogFeatureLoss, FEATURE)])
def test_an_unknown_distance_lists_the_known_ones(cls, names, tiny_recognizer):
    with pytest.raises(ValueError, match=f"^{cls.__name__}: distance: expected (.*), got 'js'.$") as error:
        cls(tiny_recognizer(), distance='js')
    assert all(f'{name} ' in f'{error.value} '.replace(',', ' ') for name in names)


@pytest.mark.parametrize('temperature', [0, -1.0])
def test_a_temperature_that_is_not_positive_is_refused(temperature, tiny_recognizer):
    with pytest.raises(ValueError, match=f'temperature: expected a positive number, .* got {temperature}'):
        RecogConsistencyLoss(tiny_recognizer(), distance='kl', temperature=temperature)


@pytest.mark.parametrize('distance', ['probability', 'l1', 'cosine'])
def test_a_temperature_that_would_do_nothing_is_refused(distance, tiny_recognizer):
    with pytest.raises(ValueError, match=f'with distance: kl; got 2 with {distance}'):
        RecogConsistencyLoss(tiny_recognizer(), distance=distance, temperature=2)


@pytest.mark.parametrize('value', [-0.1, 1, 2.0])
def test_label_smoothing_outside_its_range_is_refused(value, tiny_recognizer):
    with pytest.raises(ValueError, match=rf'label_smoothing: expected a number in \[0, 1\), got {value}'):
        RecogLoss(tiny_recognizer(), label_smoothing=value)


def test_label_smoothing_is_refused_for_a_task_that_is_no_classification(tiny_recognizer):
    recognizer = tiny_recognizer()
    recognizer.info = dataclasses.replace(recognizer.info, task='segmentation')
    recognizer.smooths_labels = False
    with pytest.raises(ValueError, match=r'for classifiers; ModuleRecognizer\(TanhNet\) does segmentation'):
        RecogLoss(recognizer, label_smoothing=0.1)


def test_label_smoothing_of_a_classifier_of_your_own_says_how_it_is_switched_on(tiny_recognizer):
    recognizer = tiny_recognizer()
    recognizer.smooths_labels = False
    with pytest.raises(ValueError, match='ModuleRecognizer does, set smooths_labels = True in the class'):
        RecogLoss(recognizer, label_smoothing=0.1)


def test_none_is_refused_where_the_task_has_no_loss_for_each_image(tiny_recognizer, images):
    recognizer = tiny_recognizer()
    recognizer.loss = lambda images, label: {'box': images.sum()}
    with pytest.raises(ValueError, match="has no loss per image; reduction: none is not supported"):
        RecogLoss(recognizer, reduction='none')(images, None)


def test_several_loss_terms_are_added(tiny_recognizer, images):
    recognizer = tiny_recognizer()
    recognizer.loss = lambda images, label: {'box': images.sum(), 'label': images.mean()}
    torch.testing.assert_close(RecogLoss(recognizer)(images, None), images.sum() + images.mean())


@pytest.mark.parametrize('cls', [RecogLoss, RecogConsistencyLoss, RecogFeatureLoss])
def test_the_recognizers_block_is_checked_under_its_place_in_the_options(cls):
    registry = Registry('loss')
    registry.register(cls)
    block = {'type': cls.__name__, 'recognizer': {'type': 'TimRecognizer'}}
    with pytest.raises(OptionError, match=r"^train\.recog_opt\.recognizer\.type: no recognizer 'TimRecognizer'\. "
                                          r"Did you mean 'TimmRecognizer'\? Registered: BlackBoxRecognizer, "):
        registry.check(block, 'train.recog_opt')


def test_a_loss_builds_its_recognizer_from_options(images):
    block = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyResNet', 'mean': [0, 0, 0],
             'std': [1, 1, 1]}
    loss = RecogLoss(block)
    assert loss.recognizer.users_name() in RECOGNIZER_REGISTRY
    assert math.isfinite(loss(images.float(), LABEL))


# Without BasicSR

@pytest.mark.slow
def test_the_three_losses_work_from_python_without_basicsr():
    program = textwrap.dedent('''
        import sys

        class NoBasicSR:
            def find_spec(self, name, path=None, target=None):
                if name.split('.')[0] == 'basicsr':
                    raise ModuleNotFoundError(f"No module named '{name}'", name=name)

        sys.meta_path.insert(0, NoBasicSR())
        import torch
        from ra_plugin import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss

        recognizer = {'type': 'ModuleRecognizer', 'module': 'ra_plugin.recognizers.tiny_nets.TinyResNet',
                      'mean': [0.5, 0.5, 0.5], 'std': [0.2, 0.2, 0.2]}
        gt = torch.rand(2, 3, 32, 32)
        for loss, target in ((RecogLoss(recognizer), torch.tensor([0, 1])), (RecogConsistencyLoss(recognizer), gt),
                             (RecogFeatureLoss(recognizer), gt)):
            output = torch.rand(2, 3, 32, 32, requires_grad=True)
            loss(output, target).backward()
            assert output.grad.abs().max() > 0
        assert 'basicsr' not in sys.modules
    ''')
    result = warm_start.run(['-c', program])
    assert result.returncode == 0, result.stderr
