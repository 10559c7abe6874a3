"""Readers of docTR."""
import numpy as np
import pytest
import torch
from doctr.models.preprocessor import PreProcessor
from PIL import Image

from ra_plugin.losses import RecogConsistencyLoss, RecogLoss
from ra_plugin.recognizers import DoctrRecognizer, build_recognizer

VOCABULARY = 'abcdef'
NAMES = ['crnn_mobilenet_v3_small', 'viptr_tiny', 'vitstr_small', 'parseq', 'sar_resnet31', 'master']
WORDS = ['ab', 'fade']


@pytest.fixture(scope='module')
def readers():
    made = {}

    def make(name):
        if name not in made:
            shorter = {'max_length': 8} if name in ('sar_resnet31', 'master') else {}  # they write step by step
            made[name] = build_recognizer({'type': 'DoctrRecognizer', 'model_name': name, 'pretrained': False,
                                           'model_kwargs': {'vocab': VOCABULARY, **shorter}}, fold_batch_norm=False)
        return made[name]
    return make


@pytest.fixture
def images():
    return torch.rand(2, 3, 24, 70)


def pictures(images):
    return [Image.fromarray(pixels) for pixels in (images * 255).round().byte().permute(0, 2, 3, 1).numpy()]


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_the_loss_and_the_words_are_the_library_s_own(readers, images, name):
    recognizer = readers(name)
    images = (images * 255).round() / 255
    preprocess = PreProcessor((32, 128), 2, mean=recognizer.model.cfg['mean'], std=recognizer.model.cfg['std'],
                              preserve_aspect_ratio=True)
    prepared, = preprocess([np.asarray(picture) for picture in pictures(images)])
    ours = recognizer.prepare(images)
    assert (ours - prepared).abs().max() < 0.6 / 255 / 0.296  # docTR rounds the resized picture to 8 bits
    with torch.no_grad():
        theirs = recognizer.model(ours, target=WORDS)
        read = recognizer.model(ours, return_preds=True)['preds']
    torch.testing.assert_close(RecogLoss(recognizer)(images, WORDS), theirs['loss'], rtol=1e-4, atol=1e-5)
    for one, (word, score) in zip(recognizer.predict(images), read, strict=True):
        assert one['text'] == word.partition('<')[0] or '<pad>' in word and set(one['text']) <= set(VOCABULARY)
        assert one['score'] == pytest.approx(float(score))


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_the_gradient_reaches_the_image_and_repeats(readers, images, name):
    recognizer = readers(name)
    before = {key: value.clone() for key, value in recognizer.model.state_dict().items()}
    found = []
    for loss, target in ((RecogLoss(recognizer), WORDS), (RecogConsistencyLoss(recognizer), 1 - images)) * 2:
        restored = images.clone().requires_grad_()
        loss(restored, target).backward()
        assert restored.grad.isfinite().all() and restored.grad.any()
        found.append(restored.grad)
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], found[3])
    assert RecogConsistencyLoss(recognizer)(images, images).abs() < 1e-6
    assert all(torch.equal(value, before[key]) for key, value in recognizer.model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize('name', ['viptr_tiny', 'vitstr_small'])
def test_the_gradient_is_the_slope(name):
    recognizer = build_recognizer({'type': 'DoctrRecognizer', 'model_name': name, 'pretrained': False,
                                   'model_kwargs': {'vocab': VOCABULARY}}).double()
    images = torch.rand(1, 3, 32, 96, dtype=torch.double, requires_grad=True)
    direction = torch.randn_like(images)
    gradient, = torch.autograd.grad(sum(recognizer.loss(images, ['fade']).values()), images)

    def at(step):
        return sum(recognizer.loss(images.detach() + step * direction, ['fade']).values())
    numeric = (at(1e-6) - at(-1e-6)) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(numeric.item(), rel=1e-3)


@pytest.mark.slow
def test_the_size_that_a_word_is_resized_to_is_told(readers):
    recognizer = readers('crnn_mobilenet_v3_small')
    assert recognizer.resizing() == 'words resized to fit into 128x32 pixels'
    gray = recognizer.prepare(torch.full((1, 3, 32, 128), 0.5)).min()
    for height, width in ((24, 70), (8, 90), (32, 128), (50, 50)):
        white = recognizer.prepare(torch.ones(1, 3, height, width))[0, 0] > gray
        assert recognizer.resized(height, width) == (int(white.any(1).sum()), int(white.any(0).sum()))


@pytest.mark.slow
def test_steps_after_the_end_of_the_word_do_not_count(readers, images):
    recognizer = readers('vitstr_small')
    outputs = recognizer.outputs(images)
    lengths = [len(word) + 1 for word in outputs['words']]
    for weights, length in zip(outputs['logits_weights'], lengths, strict=True):
        assert weights[:length].tolist() == pytest.approx([1 / length] * length) and not weights[length:].any()


@pytest.mark.parametrize('options, message', [
    ({'model_name': 'crnn_vgg16'}, "docTR has no such reader. Did you mean 'crnn_vgg16_bn'"),
    ({'model_name': 'parseq'}, 'no weights. Set pretrained: true'),
    ({'model_name': 'parseq', 'pretrained': True, 'checkpoint': 'x.pt'}, 'both pretrained and checkpoint'),
    ({'model_name': 'parseq', 'pretrained': False, 'model_kwargs': {'pretrained_backbone': True}},
     "pretrained_backbone: is the recognizer's own")])
def test_what_cannot_be_is_refused_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        DoctrRecognizer(**options)
    assert '\n' not in str(error.value)


@pytest.mark.slow
def test_words_that_it_cannot_write(readers, images):
    with pytest.raises(ValueError, match="expected words of the 6 characters that it reads, got 'x'"):
        readers('parseq').loss(images, ['ab', 'x'])
    with pytest.raises(ValueError, match='expected words of at most 30 characters'):
        readers('parseq').loss(images, ['ab', 'a' * 31])


@pytest.mark.slow
@pytest.mark.parametrize('name, longest', [('crnn_mobilenet_v3_small', 32), ('viptr_tiny', 32), ('vitstr_small', 32),
                                           ('parseq', 30), ('sar_resnet31', 8), ('master', 6)])
def test_the_last_letter_of_the_longest_word_counts(readers, images, name, longest):
    """The library cuts longer words, or the ends of their labels, without a message."""
    recognizer = readers(name)
    assert recognizer.max_length == longest
    words = [('ab' * longest)[:longest - 1] + letter for letter in 'cf']
    with torch.no_grad():
        first, second = (recognizer.loss(images, [word, 'ab'])['loss'] for word in words)
    assert first.isfinite() and first != second
    encoded, _ = recognizer.model.build_target(words)
    end = len(VOCABULARY)
    shift = int(encoded[0, 0] == end + 1)  # the mark of the start
    assert VOCABULARY[encoded[0, longest - 1 + shift]] == 'c'
    assert recognizer._by_ctc or encoded[0, longest + shift] == end
    with pytest.raises(ValueError, match=f'expected words of at most {longest} characters, got'):
        recognizer.loss(images, [words[0] + 'a', 'ab'])


@pytest.mark.slow
@pytest.mark.parametrize('name, layer', [('crnn_mobilenet_v3_small', 'linear'), ('sar_resnet31', 'decoder')])
def test_layers_after_the_features_can_be_compared(readers, images, name, layer):
    recognizer = readers(name)
    found = recognizer.layer_outputs(images, [layer])[layer]
    scores = recognizer.model(recognizer.prepare(images), return_model_output=True)['out_map']
    torch.testing.assert_close(found, scores)


def test_words_that_need_more_steps_than_a_ctc_reader_has_are_counted(readers, images, no_log):
    no_log()
    recognizer = readers('crnn_mobilenet_v3_small')
    steps = recognizer.outputs(images)['logits'].shape[2]
    fits, long = 'ab' * (steps // 2), 'a' * (steps // 2 + 1)  # each further a needs a blank before it
    assert recognizer.too_long([fits, long, long[1:]]) == [long]
    with pytest.warns(UserWarning, match='1 of 2 words in a batch, and perhaps others, as .*, need more steps'):
        loss = recognizer.loss(images, ['ab', long])['loss']
    alone = recognizer.loss(images[:1], ['ab'])['loss']
    torch.testing.assert_close(loss, alone / 2)  # the library's mean counts it
    assert recognizer.words_without_loss == 1
    assert readers('vitstr_small').too_long(['a' * 30]) == []
