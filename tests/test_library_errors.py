"""What other packages raise is one line with its place; this package's own words stay, and so do its faults."""
import json
import os
import shutil
import socket
import time
import urllib.error

import httpx
import huggingface_hub
import pytest
import timm
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.losses.gan_loss import GANLoss
from basicsr.utils.registry import ARCH_REGISTRY
from hub_stub import hub_that_answers
from timm.models import save_for_hf
from torch import nn

from ra_plugin.builders.networks import trained_network
from ra_plugin.compat.hub import reached_or_offline
from ra_plugin.library_errors import told, translated
from ra_plugin.models.recog_aware_model import _built
from ra_plugin.options import OptionError, check_type
from ra_plugin.recognizers import build_recognizer
from ra_plugin.training import pipeline as runs
from ra_plugin.utils import command_line

NET = 'ra_plugin.recognizers.tiny_nets.TinyVGG'
HALF = {'mean': [0.5] * 3, 'std': [0.2] * 3}


def test_an_error_of_another_package_is_one_line_with_its_place():
    with pytest.raises(OptionError, match=r'^here: .*does not match|^here: .*shape') as caught:
        with translated('here'):
            nn.Linear(2, 3)(torch.zeros(1, 5))
    assert '\n' not in str(caught.value) and isinstance(caught.value.__cause__, RuntimeError)


def test_own_words_get_the_place_once_and_keep_their_class():
    with pytest.raises(OptionError, match=r'^an\.outer: an\.inner: expected a number'):
        with translated('an.outer'), translated('an.inner'), translated('an.inner'):
            check_type('a', float, 'an.inner')
    with pytest.raises(OptionError, match='^inner: expected a number'):  # from Python: no place in an option file
        with translated('outer'):
            check_type('a', float, 'inner')


@pytest.mark.parametrize('said, placed', [
    ('RecogLoss.recognizer: TimmRecognizer(a): no', 'train.recog_opt.recognizer: TimmRecognizer(a): no'),
    ('Compose.steps[1].kernel: no', 'train.recog_opt.steps[1].kernel: no'),
    ('RecogLoss: reduction: no', 'train.recog_opt.reduction: no'),
    ('RecogLoss: no', 'train.recog_opt: RecogLoss: no'), ('TimmRecognizer(a): fit: no', 'train.recog_opt: Timm'),
    ('train.recog_opt.recognizer: no', 'train.recog_opt.recognizer: no')])
def test_an_argument_of_a_class_is_a_key_of_its_block(said, placed):
    with pytest.raises(ValueError) as caught, translated('train.recog_opt'):
        raise OptionError(said)
    assert str(caught.value).startswith(placed)


def test_a_block_within_blocks_has_its_whole_place():
    members = [{'type': 'ModuleRecognizer', 'module': NET, **HALF, 'input_size': size} for size in (16, 'large')]
    with pytest.raises(ValueError, match=r'^train\.recog_opt\.recognizer\.recognizers\[1\]'):
        _built({'type': 'RecogLoss', 'recognizer': {'type': 'EnsembleRecognizer', 'recognizers': members}},
               'train.recog_opt')
    wrong = {'type': 'TimmRecognizer', 'model_name': 'test_resnet', 'pretrained': False, 'model_kwargs': {'stem': 1}}
    with pytest.raises(ValueError, match=r"^recognizers\.judge\.recognizers\[0\]: TimmRecognizer\(test_resnet\): "
                                         "model_kwargs: ResNet takes no 'stem'"):
        build_recognizer({'type': 'EnsembleRecognizer', 'recognizers': [wrong]}, 'recognizers.judge')
    with pytest.raises(ValueError, match=r'^train\.recog_opt\.recognizer: TimmRecognizer\(test_resnet\): .*no loss'):
        _built({'type': 'RecogLoss', 'recognizer': {'type': 'TimmRecognizer', 'model_name': 'test_resnet',
                                                    'pretrained': False, 'model_kwargs': {'num_classes': 0}}},
               'train.recog_opt')


def test_faults_and_lack_of_memory_are_left_alone():
    with pytest.raises(KeyError):
        with translated('here'):
            eval('{}["nobody"]', {'__name__': 'ra_plugin.somewhere'})
    with pytest.raises(torch.OutOfMemoryError):
        with translated('here'):
            raise torch.OutOfMemoryError('no room')


def test_an_argument_that_nobody_takes_gets_the_nearest():
    for call, meant in ((lambda: RRDBNet(3, 3, num_feats=4), "RRDBNet takes no 'num_feats'. Did you mean 'num_feat'?"),
                        (lambda: GANLoss(gan_typ='x'), "GANLoss takes no 'gan_typ'. Did you mean 'gan_type'?")):
        with pytest.raises(TypeError) as caught:
            call()
        assert told(caught.value).startswith(meant)


@pytest.mark.parametrize('error', [urllib.error.URLError(socket.gaierror(-2, 'Name or service not known')),
                                   ConnectionResetError('reset')])
def test_what_cannot_be_fetched_names_the_folder_and_a_remedy(error):
    assert told(error, '/cache').startswith('its weights cannot be fetched, and are not in /cache (')
    assert told(error).endswith('Fetch them where there is a network, or set checkpoint: FILE.')


def test_the_traceback_is_shown_where_it_is_asked_for(monkeypatch, capsys):
    def fail():
        raise OptionError('one line')

    assert command_line.run(fail, 'x') == 2 and capsys.readouterr().err == 'x: one line\n'
    monkeypatch.setenv('RA_PLUGIN_DEBUG', '1')
    assert command_line.run(fail, 'x') == 2 and 'in fail' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ recognizers
@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and nothing fetched before."""
    def nobody(*args, **kwargs):
        raise socket.gaierror(-2, 'Name or service not known')

    monkeypatch.setattr(socket, 'getaddrinfo', nobody)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr('huggingface_hub.file_download.HF_HUB_CACHE', str(tmp_path / 'hub'), raising=False)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    return tmp_path


@pytest.mark.parametrize('block, message', [
    ({'type': 'TimmRecognizer', 'model_name': 'resnet18.a1_in22k', 'pretrained': True},
     r"TimmRecognizer\(resnet18.a1_in22k\): timm .* with the tag 'a1_in22k'. Did you mean 'resnet18.a1_in1k'\?"),
    ({'type': 'TimmRecognizer', 'model_name': 'resnt18', 'pretrained': False},
     "no such model. Did you mean 'resnet18'"),
    ({'type': 'TimmRecognizer', 'model_name': 'resnet18', 'pretrained': False, 'model_kwargs': {'num_class': 10}},
     "ResNet takes no 'num_class'. Did you mean 'num_classes'"),
    ({'type': 'TimmRecognizer', 'model_name': 'timm/resnet18', 'pretrained': True}, 'hf-hub:timm/resnet18'),
    ({'type': 'TorchvisionRecognizer', 'model_name': 'resnet18', 'checkpoint': 'x.pth',
      'model_kwargs': {'num_class': 10}}, "ResNet takes no 'num_class'. Did you mean 'num_classes'"),
    ({'type': 'ModuleRecognizer', 'module': NET, **HALF, 'module_kwargs': {'num_class': 10}},
     "module_kwargs: TinyVGG takes no 'num_class'. Did you mean 'num_classes'"),
    ({'type': 'ModuleRecognizer', 'module': NET, **HALF, 'module_kwargs': {'num_classes': 'ten'}},
     "module_kwargs.num_classes: expected a whole number, got 'ten'"),
])
def test_a_slip_in_a_recognizer_is_one_line_with_its_place(block, message):
    with pytest.raises(ValueError, match=f'^recognizers.judge: .*{message}') as caught:
        build_recognizer(block, 'recognizers.judge')
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('block, name', [
    ({'type': 'TimmRecognizer', 'model_name': 'resnet18.a1_in1k', 'pretrained': True}, 'resnet18.a1_in1k'),
    ({'type': 'TimmRecognizer', 'model_name': 'hf-hub:nobody/mine', 'pretrained': True}, 'hf-hub:nobody/mine'),
    ({'type': 'TorchvisionRecognizer', 'model_name': 'resnet18', 'weights': 'DEFAULT'}, 'resnet18')])
def test_without_a_network_one_line_says_whose_weights_are_missing_and_where(block, name, offline):
    with pytest.raises(OptionError, match=rf'^val.recognizers.a: {block["type"]}\({name}\): its weights cannot be '
                                          rf'fetched, and are not in {offline}.*set checkpoint: FILE\.$'):
        build_recognizer(block, 'val.recognizers.a')


def test_without_a_network_the_hub_is_asked_once_and_stays_as_it_was(offline, monkeypatch):
    waited = []
    monkeypatch.setattr(time, 'sleep', waited.append)
    with pytest.raises(OptionError, match=r'are not in .* \(\[Errno -2\] Name or service not known\)\. Fetch them'):
        build_recognizer({'type': 'TimmRecognizer', 'model_name': 'resnet18.a1_in1k', 'pretrained': True})
    assert not waited  # its client would wait before each further try
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_where_the_hub_is_reached_its_client_does_as_usual():
    modes = []

    def answer(request):
        modes.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        return httpx.Response(404)

    with hub_that_answers(answer), reached_or_offline():
        assert modes == [False] and not huggingface_hub.constants.HF_HUB_OFFLINE


def saved(folder, **config):
    network = timm.create_model('test_resnet', num_classes=5)
    save_for_hf(network, str(folder), model_config={'num_classes': 5, 'label_names': list('abcde')}, **config)
    return network


def test_a_model_from_a_folder_brings_classes_and_normalization(tmp_path):
    network = saved(tmp_path / 'mine')
    file = tmp_path / 'mine' / 'config.json'
    content = json.loads(file.read_text())
    content['pretrained_cfg'].update(mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    file.write_text(json.dumps(content))
    recognizer = build_recognizer({'type': 'TimmRecognizer', 'model_name': f'local-dir:{tmp_path / "mine"}',
                                   'pretrained': True, 'input_size': None}, fold_batch_norm=False)
    assert recognizer.info.classes == tuple('abcde') and recognizer.info.name == 'mine'
    assert recognizer.info.mean == (0.1, 0.2, 0.3) and recognizer.info.std == (0.4, 0.5, 0.6)
    images = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]))
    torch.testing.assert_close(recognizer.logits(images), network.eval()((images - mean) / std))


class Harm:
    def __reduce__(self):
        return os.mkdir, ('harmed',)


def test_code_in_a_folder_of_weights_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / 'mine')
    (tmp_path / 'theirs').mkdir()
    shutil.copy(tmp_path / 'mine' / 'config.json', tmp_path / 'theirs')
    torch.save({'fc.weight': Harm()}, tmp_path / 'theirs' / 'pytorch_model.bin')
    with pytest.raises(ValueError, match=r'TimmRecognizer\(local-dir:theirs\): .*weights_only'):
        build_recognizer({'type': 'TimmRecognizer', 'model_name': 'local-dir:theirs', 'pretrained': True})
    assert not (tmp_path / 'harmed').exists()


def test_a_folder_that_is_none_of_timm_s(tmp_path):
    with pytest.raises(ValueError, match='expected a folder with config.json .*got no folder'):
        build_recognizer({'type': 'TimmRecognizer', 'model_name': f'local-dir:{tmp_path}/x', 'pretrained': True})


# ------------------------------------------------------------------------------------- networks, losses, models
class Odd(nn.Module):
    def __init__(self, num_feat: int = 4):
        super().__init__()
        assert num_feat % 2 == 1, 'num_feat has to be odd'


def test_what_a_network_or_a_loss_raises_as_it_is_built_has_its_place(monkeypatch):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'Odd', Odd)
    with pytest.raises(OptionError, match='^restorers.a: Odd: num_feat has to be odd'):
        trained_network({'type': 'Odd'}, None, 'restorers.a')
    opt = {'model_type': 'SRModel', 'is_train': False, 'num_gpu': 0, 'dist': False, 'path': {}, 'val': {},
           'network_g': {'type': 'Odd', 'num_feat': 2}}
    with pytest.raises(OptionError, match='^network_g: Odd: num_feat has to be odd'):
        runs._build_model(opt)
