"""Where TransformersRecognizer takes models from: folders, which need no network, and the hub, which may refuse."""
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import numpy as np
import pytest
import tiny_transformers as tiny
import torch
import torch.nn.functional as F
import transformers as hf
from hub_stub import hub_that_answers
from PIL import Image

from ra_plugin.options import OptionError
from ra_plugin.recognizers import TransformersRecognizer

TIMM = {'backbone': 'test_resnet', 'backbone_config': None, 'use_timm_backbone': True, 'use_pretrained_backbone': True}
SMALL = {'d_model': 16, 'encoder_layers': 1, 'decoder_layers': 1, 'encoder_attention_heads': 2,
         'decoder_attention_heads': 2, 'encoder_ffn_dim': 32, 'decoder_ffn_dim': 32, 'num_queries': 5}
CLASSES = {'0': 'cat', '1': 'dog'}


@pytest.fixture
def refused(monkeypatch):
    """Refuse every connection; the list has the addresses that were tried."""
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError('no network in this test')

    for name in ('connect', 'connect_ex'):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, 'getaddrinfo', refuse)
    return tried


def write(folder, config, processor):
    """Write a folder with the config as an older version of the library saved it, and no weights."""
    processor.save_pretrained(folder)
    (Path(folder) / 'config.json').write_text(json.dumps({'id2label': CLASSES, **config}))
    return str(folder)


def detr(folder, **more):
    config = {'model_type': 'detr', 'architectures': ['DetrForObjectDetection'], **SMALL, **TIMM, **more}
    return write(folder, config, hf.DetrImageProcessor(size={'shortest_edge': 64, 'longest_edge': 96}))


def upernet(folder, **more):
    config = {'model_type': 'upernet', 'architectures': ['UperNetForSemanticSegmentation'], **TIMM, 'hidden_size': 16,
              'backbone_kwargs': {'out_indices': [1, 2, 3, 4]}, 'auxiliary_in_channels': 192, 'auxiliary_channels': 8,
              **more}
    return write(folder, config, hf.SegformerImageProcessor(size={'height': 64, 'width': 64}))


def saved(folder):
    """Save the weights of a model as it is built from its config, and the same config again."""
    record = (Path(folder) / 'config.json').read_text()
    TransformersRecognizer(folder, pretrained=False).model.save_pretrained(folder)
    (Path(folder) / 'config.json').write_text(record)


@pytest.mark.slow
@pytest.mark.parametrize('write_config', [
    detr, upernet, lambda folder: detr(folder, backbone_kwargs={'out_indices': [1, 2, 3, 4]}),
    lambda folder: upernet(folder, use_timm_backbone=False)], ids=['Detr', 'UperNet', 'Detr kwargs', 'UperNet by name'])
def test_a_folder_whose_config_names_a_backbone_needs_no_network(write_config, tmp_path, refused):
    folder = write_config(tmp_path)
    images = torch.rand(1, 3, 64, 64)
    TransformersRecognizer(folder, pretrained=False).predict(images)
    saved(folder)
    assert TransformersRecognizer(folder).model.config.backbone_config.backbone == 'test_resnet'
    assert not refused


def test_a_backbone_of_the_hub_that_is_named_alone_is_said(tmp_path, refused):
    folder = detr(tmp_path, backbone='microsoft/resnet-50', use_timm_backbone=False)
    with pytest.raises(OptionError, match=r'names a backbone, microsoft/resnet-50, .*backbone_config') as error:
        TransformersRecognizer(folder, pretrained=False)
    assert '\n' not in str(error.value) and not refused


@pytest.mark.slow
@pytest.mark.parametrize('family', ['ViT', 'Detr', 'Segformer'])
def test_a_folder_needs_no_network(family, tmp_path, refused):
    TransformersRecognizer(tiny.save(tmp_path, family)).predict(torch.rand(1, 3, 64, 64))
    assert not refused


# ------------------------------------------------------------------------------------------------- answers of the hub
ANSWERS = [
    (404, 'RepoNotFound', r'the hub has no model owner/net, or it is private\. Check the name'),
    (401, 'GatedRepo', r'owner/net is gated: .* https://huggingface\.co/owner/net, then log in'),
    (404, 'RevisionNotFound', r'owner/net has no revision v2 on the hub'),
    (404, 'EntryNotFound', r'owner/net has no config\.json on the hub'),
    (503, None, r'the hub answered 503 for owner/net'),
    (None, None, r'owner/net cannot be fetched, and is not in .* Fetch it where there is a network'),
]


@pytest.mark.parametrize('status, code, message', ANSWERS, ids=[str(code or status) for status, code, _ in ANSWERS])
def test_what_the_hub_answers_is_said(status, code, message, tmp_path, monkeypatch):
    def answer(request):
        if status is None:
            raise httpx.ConnectError('no route')
        return httpx.Response(status, headers={'X-Error-Code': code} if code else {}, request=request)

    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # between attempts
    with hub_that_answers(answer), pytest.raises(ValueError, match=message) as error:
        TransformersRecognizer('owner/net', revision='v2')
    assert '\n' not in str(error.value) and str(error.value).startswith('TransformersRecognizer(owner/net): ')


def test_a_model_without_safetensors_is_said(monkeypatch, tmp_path):
    folder = tiny.save(tmp_path, 'ViT')

    def without(*args, **kwargs):
        raise OSError('owner/net does not appear to have a file named model.safetensors or model.safetensors.index')

    monkeypatch.setattr(hf.ViTForImageClassification, 'from_pretrained', without)
    with pytest.raises(OptionError, match='has no weights in safetensors files, and loading others could run code'):
        TransformersRecognizer(folder)


# -------------------------------------------------------------------------------- weights that are not of a whole model
@pytest.mark.slow
@pytest.mark.parametrize('family', ['ViT', 'Deit'])
def test_the_tower_of_a_classifier_has_no_pooler_that_was_never_trained(family, tmp_path):
    if family == 'ViT':
        tiny.save(tmp_path, 'ViT')
    else:
        config = hf.DeiTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                               image_size=32, patch_size=8)
        hf.DeiTForImageClassification(config).save_pretrained(tmp_path)
        hf.ViTImageProcessor(size={'height': 32, 'width': 32}).save_pretrained(tmp_path)
    first, second = (TransformersRecognizer(str(tmp_path), task='embedding') for _ in range(2))
    images = torch.rand(2, 3, 32, 32)
    found = first.outputs(images)['embedding']
    assert torch.equal(found, second.outputs(images)['embedding'])
    names = 'ViTForImageClassification', 'DeiTForImageClassification'
    whole = getattr(hf, names[family == 'Deit']).from_pretrained(tmp_path).eval()
    states = whole.base_model(first.prepare(images)).last_hidden_state
    torch.testing.assert_close(found, F.normalize(states.mean(1), dim=1))


def test_other_weights_that_are_missing_are_refused(tmp_path):
    tiny.save(tmp_path, 'ViT')
    config = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**config, 'num_hidden_layers': 3}))
    with pytest.raises(ValueError, match=r'do not fit ViTModel: they lack \d+ tensors'):
        TransformersRecognizer(str(tmp_path), task='embedding')


# --------------------------------------------------------------------------------------------------- one channel
def gray(folder, **processor):
    config = hf.ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
                          image_size=32, patch_size=8, num_channels=1, id2label={0: 'zero', 1: 'one'})
    torch.manual_seed(0)
    hf.ViTForImageClassification(config).save_pretrained(folder)
    hf.ViTImageProcessor(size={'height': 32, 'width': 32}, **{
        'image_mean': [0.13], 'image_std': [0.31], **processor}).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize('task', ['classification', 'embedding'])
def test_a_model_of_one_channel_is_given_the_luma(task, tmp_path):
    recognizer = TransformersRecognizer(gray(tmp_path), task=task)
    picture = Image.radial_gradient('L').resize((40, 50))
    color = Image.merge('RGB', [picture, picture.rotate(90), picture.rotate(180)])
    images = torch.from_numpy(np.array(color))[None].permute(0, 3, 1, 2) / 255
    expected = hf.AutoImageProcessor.from_pretrained(tmp_path)(color.convert('L'), return_tensors='pt')['pixel_values']
    found = recognizer.prepare(images)
    assert recognizer.info.channels == 1 and found.shape == expected.shape == (1, 1, 32, 32)
    assert (found - expected).abs().max() < 1.6 / 255 / 0.31  # of 8 bits, rounded twice
    transform: Any = recognizer.own_preprocessing().transform
    torch.testing.assert_close(transform(color), expected)
    images.requires_grad_()
    value = (recognizer.loss(images, torch.tensor([1]))['cross_entropy'].sum() if task == 'classification' else
             recognizer.outputs(images)['embedding'].square()[:, 0].sum())
    value.backward()
    gradient: Any = images.grad
    weights = gradient.abs().sum((0, 2, 3))
    torch.testing.assert_close(weights / weights.sum(), torch.tensor([0.299, 0.587, 0.114]), rtol=1e-4, atol=1e-5)


def test_a_processor_of_another_number_of_channels_is_refused(tmp_path):
    with pytest.raises(ValueError, match='expected a processor of images of 1 channel, .* got 3'):
        TransformersRecognizer(gray(tmp_path, image_mean=[0.5] * 3, image_std=[0.5] * 3))


def test_a_model_of_many_channels_is_refused(tmp_path):
    gray(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**config, 'num_channels': 12}))
    with pytest.raises(ValueError, match='expected a model of images of 3 channels or 1, got num_channels: 12'):
        TransformersRecognizer(str(tmp_path), pretrained=False)


# ------------------------------------------------------------------------------------------- processors that pad a lot
@pytest.mark.slow
def test_a_processor_that_pads_to_far_more_than_the_image(tmp_path):
    folder = tiny.save(tmp_path, 'Detr')
    hf.DetrImageProcessor(size={'shortest_edge': 48, 'longest_edge': 96},
                          pad_size={'height': 300, 'width': 400}).save_pretrained(folder)
    recognizer = TransformersRecognizer(folder)
    assert recognizer.info.mean == pytest.approx((0.485, 0.456, 0.406))
    images = torch.rand(1, 3, 48, 96)
    assert recognizer.prepare(images).shape == (1, 3, 300, 400) and recognizer.resized(48, 96) == (48, 96)
    boxes = torch.tensor([[9.6, 4.8, 48.0, 36.0]])
    own = hf.AutoImageProcessor.from_pretrained(folder)(
        [images[0] * 255], return_tensors='pt', annotations=[{'image_id': 0, 'annotations': [
            {'bbox': [9.6, 4.8, 38.4, 31.2], 'category_id': 1, 'iscrowd': 0, 'image_id': 0, 'area': 1198.08}]}])
    expected = hf.DetrForObjectDetection.from_pretrained(folder).eval()(**own).loss
    found = recognizer.loss(images, [{'boxes': boxes, 'labels': torch.tensor([1])}])
    torch.testing.assert_close(sum(found.values()), expected, rtol=1e-4, atol=1e-5)

