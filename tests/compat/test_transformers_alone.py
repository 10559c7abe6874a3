"""Transformers within contexts in which it asks nobody, and after them."""
import pytest
import torch
from torch import nn
from transformers import backbone_utils
from transformers.loss import loss_for_object_detection, loss_lw_detr
from transformers.models.maskformer import modeling_maskformer

from ra_plugin.compat.transformers_alone import without_hub, without_other_processes

QUESTIONS = [(loss_lw_detr, '_is_torch_distributed_initialized'),
             (loss_for_object_detection, 'is_accelerate_available'), (modeling_maskformer, 'is_accelerate_available')]


class OfMaskFormer(nn.Module):
    """A network with a part of MaskFormer."""

    def __init__(self):
        super().__init__()
        self.part = modeling_maskformer.MaskFormerSinePositionEmbedding()


@pytest.mark.parametrize('fails', [False, True])
def test_losses_are_told_that_there_are_no_others_and_then_the_truth(fails):
    kept = [vars(module)[name] for module, name in QUESTIONS]
    try:
        with without_other_processes(OfMaskFormer()):
            assert not any(vars(module)[name]() for module, name in QUESTIONS)
            if fails:
                raise KeyError
    except KeyError:
        assert fails
    assert [vars(module)[name] for module, name in QUESTIONS] == kept


def test_what_a_network_is_not_made_of_is_left_alone():
    kept = modeling_maskformer.is_accelerate_available
    with without_other_processes(nn.Linear(1, 1)):
        assert modeling_maskformer.is_accelerate_available is kept and torch.distributed.is_initialized() is False


def test_the_hub_has_nothing_and_then_all_again():
    kept = backbone_utils.hf_api
    with pytest.raises(KeyError), without_hub():
        assert not backbone_utils.hf_api().repo_exists('microsoft/resnet-50')
        raise KeyError
    assert backbone_utils.hf_api is kept
