"""Readers of words that are trained by connectionist temporal classification."""
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from easyocr.config import recognition_models
from easyocr.recognition import AlignCollate
from easyocr.utils import CTCLabelConverter
from PIL import Image
from tiny_recognizers import TinyReader
from torch import nn

from ra_plugin.builders.block_classes import texts
from ra_plugin.losses import RecogConsistencyLoss, RecogFeatureLoss, RecogLoss
from ra_plugin.recognizers import CTCRecognizer, build_recognizer
from ra_plugin.recognizers.characters import CTCCoder, read_characters, spelled
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.frozen.resizing import judging
from ra_plugin.recognizers.probabilities import as_logits
from ra_plugin.utils.random_streams import seeded

CHARACTERS = 'abcdef'


def reader(channels=3, **options):
    with seeded(3, torch.device('cpu')):
        return CTCRecognizer(TinyReader(channels), characters=CHARACTERS, **options)


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 24)


def likelihood(steps, word, blank):
    """The sum over all alignments of one image, ``steps`` ``(T, C)`` probabilities, by going through every path."""
    total = 0.0
    for path in itertools.product(range(steps.shape[1]), repeat=len(steps)):
        kept = [number for i, number in enumerate(path) if number != blank and (i == 0 or number != path[i - 1])]
        if kept == word:
            total += math.prod(float(steps[i, number]) for i, number in enumerate(path))
    return total


@pytest.mark.parametrize('blank', [0, 3, -1])
def test_the_loss_is_the_sum_over_all_alignments(blank):
    network = TinyReader().double()
    recognizer = CTCRecognizer(network, characters=CHARACTERS, blank=blank)
    images = torch.rand(2, 3, 32, 16, dtype=torch.double)  # four steps
    place = blank % 7
    numbers = {character: i + (i >= place) for i, character in enumerate(CHARACTERS)}
    words = ['ab', 'cc']
    with torch.no_grad():
        probabilities = network((images - 0.5) / 0.5).softmax(2)
    expected = [-math.log(likelihood(steps, [numbers[c] for c in word], place)) / len(word)
                for steps, word in zip(probabilities, words, strict=True)]
    torch.testing.assert_close(recognizer.loss(images, words)['ctc'], torch.tensor(expected, dtype=torch.double))


@pytest.mark.slow
def test_the_gradient_is_the_slope():
    recognizer = CTCRecognizer(TinyReader().double(), characters=CHARACTERS)
    images = torch.rand(1, 3, 24, 20, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: recognizer.loss(x, ['abc'])['ctc'], images, eps=1e-6, atol=1e-6)


def test_the_mean_is_torch_s(images):
    recognizer, words = reader(), ['ab', 'f', 'deadbe']
    logits = recognizer.outputs(images)['logits']
    targets = torch.tensor([1 + CHARACTERS.index(c) for c in ''.join(words)])
    theirs = F.ctc_loss(logits.log_softmax(1).permute(2, 0, 1), targets, torch.full((3,), logits.shape[2]),
                        torch.tensor([2, 1, 6]), zero_infinity=True)
    torch.testing.assert_close(RecogLoss(recognizer)(images, words), theirs)


def test_a_word_longer_than_the_steps_has_no_loss_leaves_the_others_theirs_and_is_counted(images, no_log):
    no_log()
    recognizer = reader(width=24)  # six steps
    alone = recognizer.loss(images[:1], ['abc'])['ctc']
    given = images.clone().requires_grad_()
    with pytest.warns(UserWarning, match="2 of 3 words in a batch, and perhaps others, as 'abcdefa', need more steps"):
        found = recognizer.loss(given, ['abc', 'abcdefa', 'aabbc'])['ctc']
    assert found[1:].tolist() == [0, 0]
    torch.testing.assert_close(found[:1], alone)
    found.sum().backward()
    assert given.grad[0].any() and given.grad.isfinite().all() and not given.grad[1:].any()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        recognizer.loss(images, ['abc', 'abcdef', 'aabbcc'])
    assert recognizer.words_without_loss == 3
    assert recognizer.too_long(['abcdef', 'aabb', 'aabbc']) == ['aabbc']


class StepsFirst(TinyReader):
    """Scores ``(T, N, 7)``, by a layer that is given all steps of all images in a row or not."""

    def __init__(self, in_a_row):
        super().__init__()
        self.in_a_row = in_a_row

    def forward(self, images):
        steps = self.rnn(self.layers(images).mean(2).transpose(1, 2))[0].transpose(0, 1)
        count = len(steps)
        return self.head(steps.flatten(0, 1)).unflatten(0, (count, -1)) if self.in_a_row else self.head(steps)


@pytest.mark.parametrize('in_a_row', [False, True])
@pytest.mark.parametrize('count', [3, 6])  # as many images as steps, too
def test_a_network_that_gives_the_steps_first(in_a_row, count):
    plain, images = reader(), torch.rand(count, 3, 32, 24)
    with seeded(3, torch.device('cpu')):
        other = CTCRecognizer(StepsFirst(in_a_row), characters=CHARACTERS, batch_first=False)
    words = (['ab', 'c', 'fed'] * 2)[:count]
    torch.testing.assert_close(other.loss(images, words), plain.loss(images, words))
    torch.testing.assert_close(other.outputs(images), plain.outputs(images))
    torch.testing.assert_close(other.features(images), plain.features(images))
    assert other.predict(images) == plain.predict(images)
    for layer in ('layers', 'rnn', 'head'):
        with seeded(3, torch.device('cpu')):
            named = CTCRecognizer(StepsFirst(in_a_row), characters=CHARACTERS, batch_first=False, feature_layer=layer)
        torch.testing.assert_close(named.features(images), reader(feature_layer=layer).features(images))


def test_the_place_of_the_batch_is_told():
    with pytest.raises(TaskError, match=r'expected scores \(N, T, C\) .*\(32, 1, 7\) .* Set batch_first: false'):
        CTCRecognizer(StepsFirst(True), characters=CHARACTERS)
    with pytest.raises(TaskError, match=r'expected scores \(T, N, C\) .*\(1, 32, 7\) .* Set batch_first: true'):
        reader(batch_first=False)


@pytest.mark.parametrize('path, word', [
    ([0, 1, 1, 0, 1], 'aa'), ([1, 1, 1], 'a'), ([0, 0], ''), ([6, 0, 6, 5], 'ffe'), ([2, 3, 3, 2], 'bcb')])
def test_the_likeliest_path_is_decoded(path, word):
    probabilities = torch.full((1, len(path), 7), 0.05)
    for step, number in enumerate(path):
        probabilities[0, step, number] = 0.7
    (read, score), = CTCCoder(CHARACTERS, 0).decode(probabilities)
    assert read == word and score == pytest.approx(0.7)


def test_the_image_is_resized_to_the_height_and_filled_at_the_right(images, no_log):
    no_log()
    recognizer = reader(height=16, width=40)
    prepared = recognizer.prepare(images)
    assert prepared.shape == (3, 3, 16, 40)
    resized = (F.interpolate(images, (16, 12), mode='bicubic', antialias=True) - 0.5) / 0.5
    torch.testing.assert_close(prepared[..., :12], resized)
    assert not prepared[..., 12:].any()
    edge = reader(height=16, width=40, fill='edge').prepare(images)
    torch.testing.assert_close(edge[..., 12:], resized[..., -1:].expand(-1, -1, -1, 28))
    with pytest.warns(UserWarning, match='words in images of 24x32 pixels, and perhaps others, are squeezed into 8x16'):
        assert reader(height=16, width=8).prepare(images).shape == (3, 3, 16, 8)
    assert reader(height=16).prepare(images).shape == (3, 3, 16, 12)


def test_channels(images):
    torch.testing.assert_close(reader(channel_order='bgr').prepare(images), (images.flip(1) - 0.5) / 0.5)
    luma = (images * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    torch.testing.assert_close(reader(channels=1, mean=0.4, std=0.2).prepare(images), (luma - 0.4) / 0.2)


def test_the_preparation_is_that_of_the_libraries_on_a_picture(tmp_path):
    """EasyOCR's: gray, bicubic, 0.5 and 0.5, the last column repeated, as its AlignCollate does it."""
    pixels = np.asarray(Image.effect_noise((90, 40), 60))
    collate = AlignCollate(imgH=64, imgW=200, keep_ratio_with_pad=True)
    theirs = collate([Image.fromarray(pixels)])
    images = torch.from_numpy(pixels.copy())[None, None].expand(1, 3, -1, -1) / 255
    with judging():
        ours = reader(channels=1, mean=0.5, std=0.5, height=64, width=200, fill='edge').prepare(images)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1.5 / 127  # Pillow rounds to 8 bits after each axis


def test_probabilities_are_turned_into_their_logarithm(images):

    class Softmaxed(TinyReader):
        def forward(self, images):
            return super().forward(images).softmax(2)

    network = Softmaxed()
    plain = TinyReader()
    plain.load_state_dict(network.state_dict())
    ours = CTCRecognizer(network, characters=CHARACTERS, probabilities=True)
    theirs = CTCRecognizer(plain, characters=CHARACTERS)
    words = ['ab', 'cd', 'ef']
    torch.testing.assert_close(ours.loss(images, words), theirs.loss(images, words))
    torch.testing.assert_close(RecogConsistencyLoss(ours)(images, 1 - images),
                               RecogConsistencyLoss(theirs)(images, 1 - images))


def test_the_gradient_goes_through_small_probabilities(images):
    """A network that is sure of a wrong letter has the gradient of its logits."""

    class Sure(TinyReader):
        def __init__(self, softmax):
            super().__init__()
            self.softmax = softmax

        def forward(self, images):
            scores = 60 * super().forward(images)
            return scores.softmax(2) if self.softmax else scores

    gradients, losses = [], []
    for softmax in (True, False):
        with seeded(3, torch.device('cpu')):
            recognizer = CTCRecognizer(Sure(softmax), characters=CHARACTERS, probabilities=softmax)
        restored = images.clone().requires_grad_()
        loss = RecogLoss(recognizer)(restored, ['ab', 'cd', 'ef'])
        loss.backward()
        losses.append(loss)
        gradients.append(restored.grad)
    least = recognizer.logits(images).softmax(2).min()
    assert 1e-30 < least < 1e-12
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-6)


def test_no_probability_is_no_infinite_logit():
    found = as_logits(torch.tensor([[0.0, 1.0]]).half())
    assert found.dtype == torch.float32 and found.isfinite().all() and found[0, 0] < -80


def test_further_arguments_of_the_call(images):

    class Asks(TinyReader):
        def forward(self, images, text):
            assert text is None
            return super().forward(images)

    recognizer = CTCRecognizer(Asks(), characters=CHARACTERS, forward_kwargs={'text': None})
    assert recognizer.features(images).shape == (3, 6, 16)
    with pytest.raises(ValueError, match='cannot take an image of height 32'):
        CTCRecognizer(Asks(), characters=CHARACTERS)


def test_an_onnx_file(tmp_path, images):
    network = TinyReader().eval()
    network.rnn = nn.Identity()
    network.rnn.forward = lambda x: (torch.cat([x, x], 2),)
    file = tmp_path / 'reader.onnx'
    torch.onnx.export(network, (torch.rand(2, 3, 32, 64),), str(file), input_names=['x'], output_names=['y'],
                      dynamic_axes={'x': {0: 'n', 3: 'w'}, 'y': {0: 'n', 1: 't'}}, dynamo=False)
    ours = build_recognizer({'type': 'CTCRecognizer', 'file': str(file), 'characters': CHARACTERS})
    torch.testing.assert_close(ours.outputs(images)['logits'].transpose(1, 2), network((images - 0.5) / 0.5),
                               rtol=1e-4, atol=1e-5)
    judge = build_recognizer({'type': 'CTCRecognizer', 'file': str(file), 'characters': CHARACTERS,
                              'differentiable': False})
    assert [one['text'] for one in judge.predict(images)] == [one['text'] for one in ours.predict(images)]
    with pytest.raises(ValueError, match='not differentiable'):
        RecogLoss(judge)


class AsExported(nn.Module):
    """A reader as another framework exports it: channels last, of the luma, with a softmax at its end."""

    def __init__(self, channels, channels_last, softmax):
        super().__init__()
        with seeded(3, torch.device('cpu')):
            self.layers = nn.Sequential(nn.Conv2d(channels, 8, 4, 4), nn.Tanh())
            self.head = nn.Linear(8, 7)
        self.channels_last, self.softmax = channels_last, softmax

    def forward(self, images):
        images = images.permute(0, 3, 1, 2) if self.channels_last else images
        scores = self.head(self.layers(images).mean(2).transpose(1, 2))
        return scores.softmax(2) if self.softmax else scores


@pytest.mark.slow
@pytest.mark.parametrize('channels', [3, 1])
@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize('batch', [None, 1])
def test_onnx_files_of_any_layout(tmp_path, images, channels, channels_last, batch):
    network, file = AsExported(channels, channels_last, batch == 1).eval(), tmp_path / 'reader.onnx'
    example = torch.rand((1, 32, 48, channels) if channels_last else (1, channels, 32, 48))
    columns = 2 if channels_last else 3
    axes = {} if batch else {'dynamic_axes': {'x': {0: 'n', columns: 'w'}, 'y': {0: 'n', 1: 't'}}}
    torch.onnx.export(network, (example,), str(file), input_names=['x'], output_names=['y'], dynamo=False, **axes)
    block = {'type': 'CTCRecognizer', 'file': str(file), 'characters': CHARACTERS, 'probabilities': batch == 1,
             **({} if batch else {'width': 48})}
    ours, judge = build_recognizer(block), build_recognizer({**block, 'differentiable': False})
    assert (ours.input.height, ours.input.width) == (32, 48)
    prepared = ours.prepare(images)
    assert prepared.shape == (3, channels, 32, 48)
    expected = network(prepared.permute(0, 2, 3, 1) if channels_last else prepared)
    for one in (ours, judge):
        found = one.outputs(images)['logits'].transpose(1, 2).softmax(2)
        torch.testing.assert_close(found, expected if batch else expected.softmax(2), rtol=1e-4, atol=1e-5)
    restored = images.clone().requires_grad_()
    RecogLoss(ours)(restored, ['ab', 'c', 'fed']).backward()
    assert restored.grad.isfinite().all() and all(image.any() for image in restored.grad)
    ours.feature_layer = next(name for name, _ in ours.model.named_modules() if 'Tanh' in name)
    expected = network.layers(prepared)
    torch.testing.assert_close(ours.features(images), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.layer_outputs(images, [ours.feature_layer])[ours.feature_layer], expected,
                               rtol=1e-4, atol=1e-5)
    if batch:
        with pytest.raises(ValueError, match='width: expected 48, which is fixed in the file, got 96. Leave it out'):
            build_recognizer({**block, 'width': 96})


def test_characters(tmp_path):
    assert read_characters('abc', 'here') == ('a', 'b', 'c')
    (tmp_path / 'keys.txt').write_text('a\n \nß\r\n', encoding='utf-8')
    assert read_characters(str(tmp_path / 'keys.txt'), 'here') == ('a', ' ', 'ß')
    with pytest.raises(ValueError, match='^here: characters: expected some, got none'):
        read_characters('', 'here')
    with pytest.raises(ValueError, match='^here: characters: expected some, got an empty one'):
        read_characters(['a', ''], 'here')
    with pytest.raises(ValueError, match='^here: characters: no file'):
        read_characters('nowhere.txt', 'here')


def test_a_file_of_characters_is_found_as_other_files_are(tmp_path):
    (tmp_path / 'keys.txt').write_text('\n'.join(CHARACTERS))
    block = {'recognizer': {'type': 'CTCRecognizer', 'characters': 'keys.txt'},
             'dataset': {'type': 'TextDataset', 'characters': 'keys.txt'}, 'text': {'characters': CHARACTERS}}
    for place in ('recognizer', 'dataset'):
        found, = (text for text in texts(block[place]) if text.key == 'characters')
        assert found.names.resolved(found.text, tmp_path) == str(tmp_path / 'keys.txt')
        assert found.names.resolved(CHARACTERS, tmp_path) == CHARACTERS
        assert found.names.resolved('~/missing.txt', tmp_path).endswith('/missing.txt')
    recognizer = CTCRecognizer(TinyReader(), characters=str(tmp_path / 'keys.txt'))
    assert recognizer.info.classes == tuple(CHARACTERS)


def test_a_character_that_is_there_twice_is_written_with_the_last_and_read_with_either(no_log):
    """EasyOCR's alphabet of Devanagari has some twice; its own converter is the reference."""
    no_log()
    own = recognition_models['gen1']['devanagari_g1']['characters']
    assert len(set(own)) < len(own)
    theirs, ours = CTCLabelConverter(own), CTCCoder(own, 0)
    word = '\u0905\u0902.\u0915'
    assert ours.encode([word], torch.device('cpu'))[0].tolist() == theirs.encode([word])[0].tolist()
    path = [own.index('\u0905') + 1, 0, len(own) - own[::-1].index('\u0905')]
    probabilities = F.one_hot(torch.tensor([path]), len(own) + 1).float()
    assert ours.decode(probabilities)[0][0] == '\u0905\u0905' == theirs.decode_greedy(np.array(path), [3])[0]
    with pytest.warns(UserWarning, match="characters: expected each once, got 'a' more than once. Words are written"):
        recognizer = CTCRecognizer(TinyReader(), characters='abcade')
    assert recognizer.coder.encode(['ab'], torch.device('cpu'))[0].tolist() == [4, 2]


def test_characters_of_several_code_points(images):
    characters = ('a', 'b', 'ch', '\u0915\u094d\u0937', '\u0915', '\u094d')
    recognizer = CTCRecognizer(TinyReader(), characters=characters)
    classes, lengths = recognizer.coder.encode(['chab', '\u0915\u094d\u0937\u0915'], torch.device('cpu'))
    assert classes.tolist() == [3, 1, 2, 4, 5] and lengths.tolist() == [3, 2]
    logits = recognizer.outputs(images)['logits'].log_softmax(1).permute(2, 0, 1)
    theirs = F.ctc_loss(logits[:, :1], torch.tensor([3, 1, 2]), torch.tensor([len(logits)]), torch.tensor([3]))
    torch.testing.assert_close(recognizer.loss(images[:1], ['chab'])['ctc'][0], theirs)
    with pytest.raises(ValueError, match="got 'c' in 'cab'"):
        recognizer.check_label(['cab'], 1, 'here')


def test_the_space_is_added_as_paddle_does():
    recognizer = CTCRecognizer(TinyReader(), characters='abcde')
    assert recognizer.info.classes == ('a', 'b', 'c', 'd', 'e', ' ')


@pytest.mark.parametrize('change, message', [
    ({'characters': 'abc'}, r'expected characters for 6 classes and a blank within them, got 3 characters'),
    ({'characters': None}, 'no characters. Set characters: TEXT, in the order of its 7 classes'),
    ({'blank': 7}, 'got 6 characters and blank 7'),
    ({'module': None}, 'set one of module and file'),
    ({'module_kwargs': {'channels': 3}}, 'module_kwargs are for a dotted path'),
    ({'differentiable': False}, 'differentiable: false is for a file'),
    ({'feature_layer': 'heads'}, "feature_layer: no layer 'heads'. Did you mean 'head'"),
    ({'height': 2}, 'cannot take an image of height 2'),
    ({'width': 64, 'min_width': 32}, 'width and min_width: expected one of them')])
def test_what_cannot_be_is_refused_in_one_line(change, message):
    options = {'module': TinyReader(), 'characters': CHARACTERS, **change}
    with pytest.raises(ValueError, match=message) as error:
        CTCRecognizer(**options)
    assert '\n' not in str(error.value)


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(TaskError, match=r'expected scores \(N, T, C\) of characters from the network, got \(1, 3\)'):
        CTCRecognizer(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), characters='ab')


def test_a_word_of_other_characters_is_refused(images):
    with pytest.raises(ValueError, match="expected words of the 6 characters that it reads, got 'x' in 'fax'"):
        reader().loss(images, ['ab', 'fax', 'c'])


def test_layers_of_a_network_without_linear_ones_can_be_named(images):
    class Convolutions(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Tanh(), nn.Conv2d(8, 7, (8, 1)))

        def forward(self, x):
            return self.layers(x).squeeze(2).transpose(1, 2)

    recognizer = CTCRecognizer(Convolutions(), characters=CHARACTERS)
    found = recognizer.layer_outputs(images, ['layers.1'])['layers.1']
    torch.testing.assert_close(found, recognizer.model.layers[:2](recognizer.prepare(images)))
    loss = RecogFeatureLoss(recognizer, layer_weights={'layers.1': 1.0})
    assert loss(images, images) == 0 < loss(images, 1 - images)


def test_a_recurrent_layer_can_be_that_of_the_features(images):
    recognizer = reader(feature_layer='rnn')
    torch.testing.assert_close(recognizer.features(images), reader().features(images))


def test_letters_with_accents_count_in_either_form(images):
    composed, decomposed = 'caf\u00e9', 'cafe\u0301'
    with seeded(3, torch.device('cpu')):
        recognizer = CTCRecognizer(TinyReader(), characters='acf\u00e9xy')
    torch.testing.assert_close(recognizer.loss(images[:1], [decomposed]), recognizer.loss(images[:1], [composed]))
    ohm = CTCCoder(['\u2126', 'a'], 0)  # a character that is never written so in composed text
    assert ohm.encode(['\u03a9a', '\u2126'], torch.device('cpu'))[0].tolist() == [1, 2, 1]


@pytest.mark.parametrize('characters, word, expected', [
    ('caf\u00e9', 'cafe\u0301', 'caf\u00e9'), ('cafe\u0301', 'caf\u00e9', 'cafe\u0301'),
    ('\u0958\u0915\u093c', '\u0915\u093c\u0915', '\u0958\u0915'), ('\u0915\u093c', '\u0958', '\u0915\u093c'),
    ('\u2126a', '\u03a9a', '\u2126a'), ('\u2126\u03a9', '\u03a9', '\u03a9')])
def test_words_are_spelled_with_the_characters_of_the_reader(characters, word, expected):
    assert spelled(word, tuple(characters)) == expected
