"""A network with one output channel for color images is rejected before its images are compared with clean ones."""
import numpy as np
import pytest
import test_recog_aware_model as classify
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.models.sr_model import SRModel

from ra_plugin.evaluation.judging import Batch
from ra_plugin.evaluation.restorer_network import Network
from ra_plugin.mm.restore_image import RestoreImage
from ra_plugin.models.builder import build_model, run_ready
from ra_plugin.models.channels import watch_channels
from ra_plugin.models.recog_aware_model import recog_aware
from ra_plugin.options import OptionError

SIZES = {'num_in_ch': 3, 'num_feat': 4, 'num_block': 1, 'num_grow_ch': 4, 'scale': 2}
GRAY = {'type': 'RRDBNet', 'num_out_ch': 1, **SIZES}
MESSAGE = 'expected images of 3 channels from the network, got 1. Set its number of output channels'


def model_of(tmp_path, network, recog_opt=None, **more):
    opt = classify.options(tmp_path, 'SRModel', **({'recog_opt': recog_opt} if recog_opt else {}), **more)
    opt['network_g'] = network
    if not recog_opt:
        opt['model_type'] = 'SRModel'
        opt['train'].pop('recog_opt', None)
    return build_model(opt)


@pytest.mark.parametrize('recog_opt', [None, classify.RECOG])
def test_training_and_validation_refuse_it_before_a_loss_or_a_metric(tmp_path, recog_opt):
    batch = classify.batches(1)[0]
    model = model_of(tmp_path, GRAY, recog_opt)
    before = {name: value.clone() for name, value in model.get_bare_model(model.net_g).state_dict().items()}
    model.feed_data(batch)
    for run in (lambda: model.optimize_parameters(1), model.test):
        with pytest.raises(OptionError, match=f'^network_g: {MESSAGE}'):
            run()
    for name, value in model.get_bare_model(model.net_g).state_dict().items():
        assert torch.equal(value, before[name])


def test_one_that_makes_color_is_looked_at_once(tmp_path):
    model = model_of(tmp_path, {**GRAY, 'num_out_ch': 3})
    assert model.get_bare_model(model.net_g)._forward_hooks
    model.feed_data(classify.batches(1)[0])
    model.optimize_parameters(1)
    assert not model.get_bare_model(model.net_g)._forward_hooks


def test_an_evaluation_refuses_it():
    network = RRDBNet(num_out_ch=1, **SIZES)
    for tile in (None, 4):
        with pytest.raises(OptionError, match=f'^restorers.a: {MESSAGE}'):
            Network(network, tile=tile, where='restorers.a')(Batch(torch.rand(1, 3, 8, 8), None, None, [], []))


def test_restore_image_refuses_it(tmp_path):
    torch.save({'params': RRDBNet(num_out_ch=1, **SIZES).state_dict()}, tmp_path / 'net.pth')
    restore = RestoreImage(network=dict(GRAY), scale=2, checkpoint=str(tmp_path / 'net.pth'))
    with pytest.raises(OptionError, match=rf'^RestoreImage\.network: {MESSAGE}'):
        restore({'img': np.zeros((8, 8, 3), np.uint8), 'ori_shape': (8, 8), 'img_shape': (8, 8)})


class OwnTargetModel(SRModel):
    """Model with a user's own step and test: the network returns a mean and a variance."""

    def optimize_parameters(self, current_iter):
        self.optimizer_g.zero_grad()
        self.output, _ = self.net_g(self.lq).chunk(2, dim=1)
        loss = self.cri_pix(self.output, self.gt)
        loss.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({'l_pix': loss})

    def test(self):
        super().test()
        self.output = self.output[:, :3]


@pytest.mark.parametrize('recog', [True, False])
def test_a_class_that_makes_images_of_what_its_network_gives_is_left_to_itself(tmp_path, recog):
    opt = classify.options(tmp_path, **({'recog_opt': classify.RECOG} if recog else {}))
    opt['network_g'] = {**GRAY, 'num_out_ch': 6}
    model = run_ready(recog_aware(OwnTargetModel) if recog else OwnTargetModel)(opt)
    watch_channels(model)
    model.feed_data(classify.batches(1)[0])
    model.optimize_parameters(1)
    model.test()
    assert model.output.shape == model.gt.shape
