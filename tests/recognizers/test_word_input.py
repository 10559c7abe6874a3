"""The input of readers of words: sizes, what is at the right, and the libraries' own preprocessing."""
import math
import warnings

import cv2
import numpy as np
import pytest
import torch
from easyocr.model.vgg_model import Model
from easyocr.recognition import AlignCollate
from PIL import Image
from tiny_recognizers import TinyReader

from ra_plugin.recognizers import CTCRecognizer
from ra_plugin.recognizers.frozen.padding import repeat_edge
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.reader_preprocessing import of_paddleocr
from ra_plugin.recognizers.word_input import WordInput

SIZES = [(90, 40), (17, 31), (320, 48), (400, 37), (333, 50), (49, 48), (11, 12), (1, 60)]  # width, height


def picture(size, mode='RGB'):
    bands = [np.asarray(Image.effect_noise(size, 60 + 20 * i)) for i in range(3)]
    return Image.fromarray(np.stack(bands, 2)).convert(mode)


def tensor(image):
    pixels = np.asarray(image.convert('RGB'))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


def paddle_s(image, height=48):
    """PaddleOCR's input, ``(1, 3, 48, W)``, by its facts: OpenCV, BGR, (x / 255 - 0.5) / 0.5, zeros at the right."""
    pixels = cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)
    ratio = image.width / image.height
    whole = int(height * max(320 / 48, ratio))
    own = whole if math.ceil(height * ratio) > whole else math.ceil(height * ratio)
    found = np.zeros((1, 3, height, whole), np.float32)
    found[..., :own] = (cv2.resize(pixels, (own, height)).transpose(2, 0, 1) / 255 - 0.5) / 0.5
    return torch.from_numpy(found)


@pytest.mark.parametrize('size', SIZES)
def test_paddleocr_s_own_preprocessing(size):
    recognizer = CTCRecognizer(TinyReader(), characters='abcdef', height=48, min_width=320, interpolation='opencv',
                               channel_order='bgr')
    image = picture(size)
    theirs = paddle_s(image)
    with judging():
        ours = recognizer.prepare(tensor(image))
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1.01 / 127.5  # OpenCV rounds to 8 bits
    torch.testing.assert_close(of_paddleocr(48).transform(image), theirs)


@pytest.mark.parametrize('size, width', [((90, 40), 200), ((90, 40), None), ((17, 31), 64)])
def test_easyocr_s_own_preprocessing(size, width):
    fill = {'width': width, 'fill': 'edge'} if width else {}
    network = Model(input_channel=1, output_channel=16, hidden_size=8, num_class=7)
    recognizer = CTCRecognizer(network, characters='abcdef', height=64, forward_kwargs={'text': None}, **fill)
    image, own = picture(size), recognizer.own_preprocessing()
    theirs = AlignCollate(64, width or math.ceil(64 * size[0] / size[1]), True)([image.convert('L')])
    assert torch.equal(own.transform(image), theirs) and own.mean == own.std == (0.5, 0.5, 0.5)
    with judging():
        ours = recognizer.prepare(tensor(image.convert('L')))
    assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 1.5 / 127


def test_networks_of_nobody_known_have_no_preprocessing_on_record():
    assert CTCRecognizer(TinyReader(), characters='abcdef').own_preprocessing().transform is None


def test_an_input_may_have_a_least_width():
    given = WordInput(16, min_width=40)
    assert given.widths(16, 20) == (20, 40) and given.widths(16, 50) == (50, 50)
    assert given.widths(32, 101) == (50, 50) and WordInput(16).widths(32, 101) == (51, 51)
    assert WordInput(16, 40).widths(16, 50) == (40, 40)
    recognizer = CTCRecognizer(TinyReader(), characters='abcdef', height=16, min_width=40, fill='edge')
    prepared = recognizer.prepare(torch.rand(1, 3, 16, 20))
    assert prepared.shape == (1, 3, 16, 40)
    assert torch.equal(prepared[..., 20:], prepared[..., 19:20].expand(-1, -1, -1, 20))


def test_what_does_nothing_is_warned_of(no_log):
    no_log()
    with pytest.warns(UserWarning, match='fill: edge fills nothing, since without width or min_width'):
        recognizer = CTCRecognizer(TinyReader(), characters='abcdef', fill='edge')
    assert recognizer.prepare(torch.rand(1, 3, 32, 20)).shape == (1, 3, 32, 20)


def test_squeezed_words_are_warned_of_once(no_log):
    no_log()
    recognizer = CTCRecognizer(TinyReader(), characters='abcdef', width=64)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        recognizer.prepare(torch.rand(1, 3, 32, 80))  # by a fifth
    with pytest.warns(UserWarning, match='in images of 90x32 pixels, and perhaps others, are squeezed into 64x32'):
        recognizer.prepare(torch.rand(1, 3, 32, 90))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        recognizer.prepare(torch.rand(1, 3, 32, 91))


def test_the_size_that_a_word_is_resized_to_is_told():
    assert str(WordInput(48, min_width=320)).endswith('48 pixels, the input 320 wide at least')
    reader = CTCRecognizer(TinyReader(), characters='abcdef', height=16, width=40)
    assert reader.resizing() == 'words resized to a height of 16 pixels, 40 wide at most'
    assert reader.resized(32, 60) == (16, 30) and reader.resized(32, 100) == (16, 40)


def test_repeating_the_border_is_torch_s_own():
    images = torch.rand(2, 3, 5, 7, dtype=torch.double, requires_grad=True)
    assert torch.equal(repeat_edge(images, 2, 3), torch.nn.functional.pad(images, (0, 3, 0, 2), mode='replicate'))
    assert torch.equal(repeat_edge(images, 0, 0), images)
    assert torch.autograd.gradcheck(lambda x: repeat_edge(x, 2, 3), images)
