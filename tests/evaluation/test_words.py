"""Words from an option file to a report: training with a reader's loss, validation, evaluation."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file
from tiny_recognizers import TinyReader

from ra_plugin.evaluation.records import OtherRecords
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.write_report import evaluate
from ra_plugin.metrics.text import edit_distance
from ra_plugin.recognizers import build_recognizer
from ra_plugin.utils.random_streams import seeded

WORDS = ['abba', 'cafe', 'dad', 'fed', 'bead', 'face', 'decaf', 'ace']
DEGRADATION = {'type': 'BicubicDownsample', 'scale': 2}


@pytest.fixture
def block(tmp_path):
    with seeded(5, torch.device('cpu')):
        save_file({key: 3 * value for key, value in TinyReader().state_dict().items()}, tmp_path / 'reader.safetensors')
    return {'type': 'CTCRecognizer', 'module': 'tiny_recognizers.TinyReader', 'characters': 'abcdef', 'height': 16,
            'checkpoint': str(tmp_path / 'reader.safetensors')}


@pytest.fixture
def data(tmp_path, block):
    """Images of words; each second one is labeled with what the reader reads, so that some answers are right."""
    folder, rng = tmp_path / 'words', np.random.default_rng(0)
    folder.mkdir()
    for i, word in enumerate(WORDS):
        image = Image.fromarray(rng.integers(150, 256, (20, 14 * len(word), 3), np.uint8))
        ImageDraw.Draw(image).text((3, 3), word, fill=(20, 20, 60), font=ImageFont.load_default(14))
        image.save(folder / f'{i}.png')
    reader = build_recognizer(block)
    lines = [f'{i}.png, "{label_of(reader, folder / f"{i}.png", i)}"' for i in range(len(WORDS))]
    (tmp_path / 'gt.txt').write_text('\n'.join(lines))
    return {'type': 'TextDataset', 'dataroot_gt': str(folder), 'label_file': str(tmp_path / 'gt.txt'),
            'degradation': DEGRADATION}


def label_of(reader, path, i):
    return WORDS[i] if i % 2 else reader.predict(as_images(Image.open(path)))[0]['text'] or 'f'


def fitted(path, size):
    """The clean image that the data set gives."""
    picture = Image.open(path)
    if not size:
        return picture
    width = min(64, round(picture.width * 16 / picture.height))
    pixels = np.asarray(picture.resize((width, 16), Image.Resampling.BICUBIC))
    return Image.fromarray(np.concatenate([pixels, np.repeat(pixels[:, -1:], 64 - width, 1)], 1))


def as_images(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def processed(picture):
    """Images by name: the clean one, the degraded one enlarged, and a darker one that stands for a restored one."""
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)
    enlarged = F.interpolate(as_images(small), picture.size[::-1], mode='bicubic', antialias=True)
    return {'clean': as_images(picture), 'no processing': (enlarged.clamp(0, 1) * 255).round() / 255,
            'darker': as_images(darker(picture))}


def darker(picture):
    return Image.fromarray(np.asarray(picture) // 2)


@pytest.mark.slow
@pytest.mark.parametrize('size', [None, [16, 64]], ids=['own sizes', 'one size'])
def test_an_evaluation_scores_the_words_of_the_saved_images(tmp_path, block, data, size):
    data = {**data, **({'size': size} if size else {})}
    (tmp_path / 'darker').mkdir()
    for i in range(len(WORDS)):
        darker(fitted(tmp_path / f'words/{i}.png', size)).save(tmp_path / f'darker/{i}.png')
    opt = {'name': 'words', 'datasets': {'signs': data}, 'recognizers': {'reader': block}, 'baseline': 'darker',
           'restorers': {'darker': {'folder': str(tmp_path / 'darker')}},
           'recognition_metrics': {'text': ['exact_match', 'cer', 'text_agreement']}}
    results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', batch_size=3)
    recognizer, counts, characters = build_recognizer(block), {}, 0
    for i in range(len(WORDS)):
        word = label_of(recognizer, tmp_path / f'words/{i}.png', i)
        characters += len(word)
        images = processed(fitted(tmp_path / f'words/{i}.png', size))
        clean = recognizer.predict(images['clean'])[0]['text']
        for name, image in images.items():
            read = recognizer.predict(image)[0]['text']
            counts[name] = counts.get(name, 0) + np.array([read == word, edit_distance(read, word), read == clean])
    condition, = results.to_json()['conditions'].values()
    for name, (right, edits, same) in counts.items():
        scores = condition['processings'][name]['scores']['reader']
        assert scores['exact_match']['value'] == pytest.approx(right / len(WORDS))
        assert scores['cer']['value'] == pytest.approx(edits / characters)
        assert scores['text_agreement']['value'] == pytest.approx(same / len(WORDS))
    if not size:
        assert counts['clean'][0] >= 4  # else the test could not fail
    page = (tmp_path / 'out' / 'report.html').read_text()
    assert sum(f'“{word}”' in page for word in WORDS) >= 1


@pytest.mark.slow
def test_words_that_changed_are_scored_anew(tmp_path, block, data):
    (tmp_path / 'darker').mkdir()
    for i in range(len(WORDS)):
        darker(fitted(tmp_path / f'words/{i}.png', None)).save(tmp_path / f'darker/{i}.png')
    opt = {'name': 'words', 'datasets': {'signs': data}, 'recognizers': {'reader': block}, 'baseline': 'darker',
           'restorers': {'darker': {'folder': str(tmp_path / 'darker')}}}

    def score():
        results = evaluate(Evaluation(tmp_path, opt), tmp_path / 'out', batch_size=3)
        condition, = results.to_json()['conditions'].values()
        return condition['processings']['clean']['scores']['reader']['exact_match']['value']

    before = score()
    lines = (tmp_path / 'gt.txt').read_text().splitlines()
    (tmp_path / 'gt.txt').write_text('\n'.join(['0.png, "another"', *lines[1:]]))  # the reader reads its label
    assert score() == pytest.approx(before - 1 / len(WORDS))
    (tmp_path / 'gt.txt').write_text('\n'.join(f'{i}.png, "none"' for i in range(len(WORDS))))
    with pytest.raises(OtherRecords, match='--restart'):
        score()
