"""Made-up results and examples in the schema of ``results.json``, with hostile names and missing parts."""
import copy

import numpy as np

from ra_plugin.results import SCHEMA, Answer, Example, Results

HOSTILE = '<script>alert(1)</script>'
HOSTILE_ATTRIBUTE = '"><img src=x onerror=alert(2)>'
HOSTILE_CLASS = "cat' onload=alert(3) &amp; \u202etac"
CLASSIFIERS = {'resnet': 0.0, 'vgg': -0.03, HOSTILE: 0.01, 'transformer': -0.1}  # recognizer -> shift of its scores
DETECTOR = 'fcos'
RECOGNIZERS = (*CLASSIFIERS, DETECTOR)
RESTORERS = {'plain': (1, []), 'RA': (3, ['resnet']), 'unsupervised RA': (1, ['resnet']), HOSTILE_ATTRIBUTE: (1, [])}
# restorer -> gain of the recognizer used and of the others, in shares, PSNR in dB
GAINS = {'RA': (0.223, 0.124, -0.23), 'unsupervised RA': (0.2, 0.001, -0.19), HOSTILE_ATTRIBUTE: (-0.041, -0.03, 0.02)}
VIEWS = ['8 bit', 'float', 'JPEG 95', 'JPEG 85', 'JPEG 75', 'shift by 1 px', 'blur', 'resize by 0.9']
CLASSES = ['dog', HOSTILE_CLASS]
CONDITIONS = ['cifar10 x2', f'noise {HOSTILE}']


def typed(data):
    """Return made-up results as the report takes them."""
    return Results.from_json({'schema': SCHEMA, **data})


def estimate(value, half=0.012):
    return {'value': round(value, 4), 'low': round(value - half, 4), 'high': round(value + half, 4)}


def gain(restorer, recognizer):
    """Return the gain of a restorer on a recognizer in the data."""
    used, others, _ = GAINS[restorer]
    return used if recognizer == 'resnet' else others + CLASSIFIERS.get(recognizer, -0.02) / 10


def results():
    """Return results with all sections, two conditions, four restorers and five recognizers."""
    return {
        'schema': 'ra_plugin.results/1', 'name': f'made up {HOSTILE}', 'seed': 0, 'baseline': 'plain',
        'command': 'python tools/evaluate.py -opt options/eval/cifar10.yml',
        'versions': {'ra_plugin': '0.5.0', 'python': '3.11.9', 'torch': '2.15.0'},
        'options': {'name': HOSTILE, 'restorers': {'RA': {'checkpoint': 'ra.pth', 'scale': 2}}, 'tiles': None},
        'recognizers': {
            **{name: {'name': name, 'task': 'classification', 'num_classes': 10,
                      'source': f'weights/{name}.safetensors', 'metrics': ['top1', 'top5']} for name in CLASSIFIERS},
            DETECTOR: {'name': DETECTOR, 'task': 'detection', 'num_classes': 3, 'source': 'mmdet',
                       'metrics': ['voc12_mAP']}},
        'restorers': {name: {'seeds': seeds, 'used': used} for name, (seeds, used) in RESTORERS.items()},
        'conditions': {CONDITIONS[0]: _condition(0.0), CONDITIONS[1]: _condition(0.03)},
    }


def _scores(base, seeds=1):
    scores = {name: {'top1': estimate(base + shift), 'top5': estimate(base + shift + 0.1)}
              for name, shift in CLASSIFIERS.items()}
    scores[DETECTOR] = {'voc12_mAP': estimate(base - 0.05)}
    for metrics in scores.values():
        for value in metrics.values():
            center = value['value']
            value['seeds'] = None if seeds == 1 else {
                'values': [center - 0.01, center, center + 0.01], 'mean': center, 'std': 0.01}
    return scores


def _condition(shift):
    differences = {}
    for name, (_, _, psnr) in GAINS.items():
        scores = {}
        for recognizer in RECOGNIZERS:
            difference, gap = gain(name, recognizer), 0.04 if recognizer == 'vgg' else 0.36
            scores[recognizer] = {'voc12_mAP' if recognizer == DETECTOR else 'top1': {
                **estimate(difference), 'mcnemar_p': None if recognizer == DETECTOR else [0.00001, 0.04, 0.31],
                'gap': gap, 'gap_recovered': estimate(difference / gap) if gap > 0.05 else None,
                'images_for_one_point': 4100}}
        differences[name] = {'psnr': estimate(psnr, 0.01), 'ssim': estimate(psnr / 40, 0.0004), 'scores': scores}
    restored = {name: {'psnr': 26.46 + shift + GAINS.get(name, (0, 0, 0))[2], 'ssim': 0.877,
                       'scores': _scores(0.494 + shift + GAINS.get(name, (0, 0, 0))[1], RESTORERS[name][0])}
                for name in RESTORERS}
    return {
        'n': 10000,
        'processings': {'clean': {'psnr': None, 'ssim': None, 'scores': _scores(0.858)},
                        'no processing': {'psnr': 26.06, 'ssim': 0.8574, 'scores': _scores(0.496 + shift)}, **restored},
        'differences': differences,
        'given': {'labels': True, 'clean': True},
        'differences_from_no_processing': {'plain': copy.deepcopy(differences['unsupervised RA']), **differences},
        'chance': {HOSTILE: {'processing': 'clean', 'metric': 'top1', 'score': 0.858, 'chance': 0.1,
                             'at_chance': False}},
        'harm': {name: {recognizer: {'hurt': estimate(0.0614 - 0.01 * i + 0.005 * j, 0.004),
                                     'helped': estimate(0.18 + 0.03 * i, 0.006),
                                     'by_class': {label: {'n': 1000, 'hurt': 0.051 + 0.002 * k, 'helped': 0.123}
                                                  for k, label in enumerate(CLASSES)}}
                        for j, recognizer in enumerate(CLASSIFIERS)} for i, name in enumerate(RESTORERS)},
        'clean_input': {'n': 1000, 'restorers': {name: {'psnr': 35.1, 'scores': {
            recognizer: {'top1': estimate(-0.013)} for recognizer in CLASSIFIERS}} for name in RESTORERS}},
        'audit': {'n': 1000, 'views': VIEWS, 'restorers': {name: {
            'gains': {recognizer: {view: estimate(gain(name, recognizer) - 0.01 * i)
                                   for i, view in enumerate(VIEWS)} for recognizer in RECOGNIZERS},
            'held_out_ratio': estimate(0.56, 0.1) if name == 'RA' else None, 'could_be': [],
            'spectrum': {'frequency': [0.05, 0.15, 0.25, 0.35, 0.45],
                         'difference': [1e-5, 4e-5, 9e-5, 2e-4, None], 'baseline_error': [2e-5, 3e-4, 9e-4, 2e-3, 0]},
            'verdict': verdict, 'reason': f'{verdict}, as made up by {HOSTILE}.'}
            for name, verdict in zip(GAINS, ('real', 'adversarial', 'no gain'), strict=True)}},
    }


def bare_results():
    """Return results of one condition with scores but without intervals."""
    full = results()
    condition = copy.deepcopy(full['conditions'][CONDITIONS[0]])
    for entry in condition['processings'].values():
        for metrics in entry['scores'].values():
            for value in metrics.values():
                value['low'] = value['high'] = None
    kept = {key: condition[key] for key in ('n', 'processings')}
    return {**{key: full[key] for key in ('schema', 'baseline')}, 'conditions': {'bare': kept}}


def examples(count=6, side=32, detector=True):
    """Return ``count`` examples of each kind, with images of one color and noise, and boxes for the detector."""
    rng = np.random.default_rng(0)
    made = []
    kinds = (('helped', 'plain wrong, RA right', 'RA', 'resnet'), ('hurt', 'right before, wrong after', 'RA', 'vgg'),
             ('any', 'any image', '', ''))
    for i in range(3 * count):
        kind, rule, restorer, recognizer = kinds[i % 3]
        images = {name: rng.integers(0, 256, (side, side + side // 2 * (i % 2), 3), dtype=np.uint8)
                  for name in ('clean', 'no processing', *RESTORERS)}
        answers = {name: {judge: Answer(CLASSES[(i + j + k) % 2], bool((i + j + k) % 2))
                          for k, judge in enumerate(CLASSIFIERS)} for j, name in enumerate(images)}
        if detector:
            for name, image in images.items():
                drawn = image.copy()
                drawn[4:8] = (255, 0, 0)
                answers[name][DETECTOR] = Answer('2 cells', None, drawn)
        made.append(Example(CONDITIONS[i % 2], 100 + i, rule, kind, restorer, recognizer, CLASSES[i % 2], images,
                            answers))
    return made
