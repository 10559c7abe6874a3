"""Files and names of ultralytics' networks: what is read, that nothing is run or fetched, and what is refused."""
import contextlib
import copy
import gc
import os
import re
import socket
import sys
import weakref
from pathlib import Path

import pytest
import torch
import ultralytics_networks as small
import warm_start
from safetensors.torch import save_file
from torch import nn
from ultralytics.nn import tasks
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.nn.modules.block import TorchVision
from ultralytics_networks import as_images, photograph

from ra_plugin.options import OptionError
from ra_plugin.recognizers import UltralyticsRecognizer, build_recognizer
from ra_plugin.recognizers.facts import TaskError
from ra_plugin.recognizers.ultralytics_models.architecture import build_network, read_layers, task_of
from ra_plugin.recognizers.ultralytics_models.detector import UltralyticsDetector
from ra_plugin.recognizers.ultralytics_models.saved_model import read_saved_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def made():
    return small.network('yolov8n.yaml')


@pytest.fixture
def saved(made, tmp_path):
    """``saved(change)``: a checkpoint of a copy of the network, which ``change`` has been called with."""

    def write(change=None, **further):
        own = copy.deepcopy(made)
        further |= (change and change(own)) or {}
        return small.save(own, tmp_path / 'net.pt', **further)

    return write


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError(f'network access: {args}')

    for name in ('connect', 'connect_ex'):
        monkeypatch.setattr(socket.socket, name, fail)
    monkeypatch.setattr(socket, 'getaddrinfo', fail)


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def recognizer(path, **options):
    return UltralyticsRecognizer(str(path), resize=None, **options)


# ------------------------------------------------------------ what is read
def test_weights_classes_and_settings_are_read(saved, made):
    content = read_saved_model(saved(), 'here')
    expected = {name: value.half() if value.is_floating_point() else value for name, value in
                made.state_dict().items()}
    assert content.weights.keys() == expected.keys()
    assert all(torch.equal(content.weights[name], value) for name, value in expected.items())
    assert content.names == small.CLASSES and content.settings['box'] == 6.5 and content.layers['nc'] == 3
    built = recognizer(saved())
    assert built.info.classes == small.CLASSES and built.dtype == torch.float32


def test_a_file_of_the_library_s_own_training(tmp_path):
    program = '''
import sys
import cv2, ultralytics
whole = cv2.imread(str(ultralytics.ASSETS / 'bus.jpg'))
for i in range(2):
    cv2.imwrite(f'images/{i}.jpg', cv2.resize(whole, (64, 64 + i)))
    open(f'labels/{i}.txt', 'w').write('1 0.5 0.5 0.4 0.4')
open('data.yaml', 'w').write('path: .\\ntrain: images\\nval: images\\nnames: {0: cat, 1: dog}')
ultralytics.YOLO('yolov8n.yaml').train(data='data.yaml', imgsz=32, epochs=1, batch=2, workers=0, plots=False, box=6.0,
                                       amp=False, device='cpu', project=sys.argv[1], name='run')
'''
    for name in ('images', 'labels'):
        (tmp_path / name).mkdir()
    environment = {**os.environ, 'YOLO_OFFLINE': 'true', 'YOLO_AUTOINSTALL': 'false', 'YOLO_CONFIG_DIR': str(tmp_path)}
    done = warm_start.run(['-c', program, tmp_path], tmp_path, environment)
    file = tmp_path / 'run/weights/best.pt'
    assert file.is_file(), done.stderr
    built, theirs = recognizer(file), small.of_library(file)
    assert built.info.classes == ('cat', 'dog') and built.size == (32, 32) and built.model.args.box == 6.0
    weights = theirs.state_dict()
    assert weights.keys() == built.model.state_dict().keys()
    assert all(torch.equal(value, weights[name]) for name, value in built.model.state_dict().items())
    images = as_images(photograph(64, 64))
    torch.testing.assert_close(built.model(images)[0], theirs(images)[0])


def test_a_checkpoint_before_averaging_and_one_of_an_old_version(saved, made):
    old = {'ema': None, 'model': copy.deepcopy(made).half(), 'train_args': {'imgsz': 64, 'box': 7.0}}
    built = recognizer(saved(**old))
    assert built.size == (64, 64) and built.model.args.box == 7.0 and built.model.args.cls == 0.5
    criterion = built.model.init_criterion()
    with_loss = saved(lambda own: vars(own).update(args=built.model.args, criterion=criterion))
    assert recognizer(with_loss).size == (128, 128)


@pytest.mark.parametrize('ending', ['safetensors', 'pth'])
def test_weights_alone_with_a_yaml_file(ending, made, tmp_path):
    weights, path = {name: value.contiguous() for name, value in made.state_dict().items()}, tmp_path / f'w.{ending}'
    save_file(weights, path) if ending == 'safetensors' else torch.save({'state_dict': weights}, path)
    built = UltralyticsRecognizer('yolov8n.yaml', checkpoint=str(path), classes=list(small.CLASSES), resize=None)
    images = as_images(photograph(64, 96))
    with torch.no_grad():
        theirs = made(images)[1]['scores']
    torch.testing.assert_close(built.outputs(images)['logits'][:, 0].view_as(theirs), theirs, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match='does not fit the model'):
        UltralyticsRecognizer('yolov8n.yaml', checkpoint=str(path), classes=4)


def test_a_yaml_file_of_one_s_own(tmp_path):
    (tmp_path / 'mine.yaml').write_text('nc: 2\nactivation: nn.LeakyReLU(0.1)\nbackbone:\n- [-1, 1, Conv, [8, 3, 4]]\n'
                                        '- [-1, 1, Conv, [16, 3, 8]]\nhead:\n- [[0, 1], 1, Detect, [nc]]\n')
    built = UltralyticsRecognizer(str(tmp_path / 'mine.yaml'), pretrained=False, resize=None)
    assert built.info.num_classes == 2 and any(isinstance(m, nn.LeakyReLU) for m in built.model.modules())


# ------------------------------------------------------------ nothing is run
def evil(tmp_path):
    return Call(os.system, f'touch {tmp_path}/ran'), Call(eval, f'open({str(tmp_path / "ran")!r}, "w")')


@pytest.mark.parametrize('which', [0, 1])
@pytest.mark.parametrize('place', ['instead', 'beside', 'layer', 'name', 'attribute'])
def test_code_in_a_file_is_not_run(which, place, saved, tmp_path):
    call = evil(tmp_path)[which]
    if place == 'name':
        path = saved(lambda own: vars(own).update(names={0: call}))
    elif place in ('layer', 'attribute'):
        path = saved(lambda own: vars(own.model[3] if place == 'layer' else own).update(forward=call))
    else:
        path = saved(**{'model' if place == 'instead' else 'date': call})
    with pytest.raises(ValueError, match=r'more than tensors \(a pickled \S+\), and loading it could run code'):
        recognizer(path)
    assert not (tmp_path / 'ran').exists()


def test_an_old_kind_of_file_with_code_is_not_run(tmp_path):
    torch.save({'model': evil(tmp_path)[0]}, tmp_path / 'old.pt', _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match='could run code|not a weights file'):
        recognizer(tmp_path / 'old.pt')
    assert not (tmp_path / 'ran').exists()


def test_constructors_of_the_library_are_not_called(saved, made, tmp_path):
    second = small.save(copy.deepcopy(made), tmp_path / 'second.pt', date=evil(tmp_path)[0])
    calls = Call(DistillationModel, str(second), copy.deepcopy(made)), Call(TorchVision, 'resnet18', 'DEFAULT')
    for call in calls:
        built = recognizer(saved(lambda own, call=call: {'stopper': call}))
        assert built.info.num_classes == 3
    assert not (tmp_path / 'ran').exists()


def test_classes_that_others_allowed_are_not_called(saved, made, tmp_path, monkeypatch):
    monkeypatch.setattr(DistillationModel, '__init__', lambda *args: (tmp_path / 'ran').touch())
    path = saved(lambda own: {'stopper': Call(DistillationModel, 'x.pt', 1)})
    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.add_safe_globals([DistillationModel, tasks.DetectionModel, nn.Conv2d, (nn.SiLU, 'own.X')])
        allowed = set(torch.serialization.get_safe_globals())
        assert read_saved_model(path, 'here').weights.keys() == made.state_dict().keys()
        assert set(torch.serialization.get_safe_globals()) == allowed
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    assert not (tmp_path / 'ran').exists()


def test_getattr_reaches_nothing(saved):
    content = read_saved_model(saved(lambda own: vars(own.model[0]).update(
        forward=Call(getattr, nn.Conv2d, '__init__'))), 'here')
    assert len(content.weights) > 100


@pytest.mark.parametrize('change, message', [
    ({'activation': '__import__("os").system("touch ran")'}, 'activation: expected a class of torch.nn with numbers'),
    ({'activation': 'nn.SiLU() or exec("1")'}, 'activation: expected a class'),
    ({'activation': 'nn.Module.__init__(1)'}, 'activation: expected a class'),
    ({'backbone': [[-1, 1, 'torch_load', ['second.pt']]]}, "its layer 'torch_load' is none of those that are known"),
    ({'backbone': [[-1, 1, 'TorchVision', [512, 'resnet18']]]}, 'its layer TorchVision downloads weights'),
    ({'backbone': [[-1, 1, 'nn.Module', []]]}, "layer 'nn.Module' is none of"),
    ({'backbone': [[-1, 1, ['Conv'], []]]}, r"layer \['Conv'\] is none of"),
    ({'backbone': 7}, "expected a table of layers"),
    ({'backbone': [[-1, 1, 'Conv', ['x y']]]}, "an argument of its layer Conv: expected numbers, .* got 'x y'"),
    ({'backbone': [[-1, 1, 'Conv', []]]}, r'its table of layers makes no network \(IndexError'),
    ({'nc': 'many'}, "nc: expected an integer, got \'many\'"),
    ({'channels': 4}, 'its first layer takes 4 channels'),
])
def test_a_table_of_layers_in_a_file_is_checked(change, message, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(lambda own: own.yaml.update(change))
    with pytest.raises(ValueError, match=message) as error:
        recognizer(path)
    assert '\n' not in str(error.value) and not (tmp_path / 'ran').exists()


# A mapping in place of a row: the library unpacks its keys.
ROWS = [{-1: None, 2: 'Conv', 'load_checkpoint': None, ('best.pt',): None},
        {-1: 'a', 2: 'Conv', 'guess_model_scale': 'b', 'w': 'c'}]


@pytest.mark.parametrize('row', [*ROWS, 'Conv', [-1, 1, 'Conv'], [-1, 1, 'Conv', [8], 1], [True, 1, 'Conv', [8]],
                                 [[-1, '0'], 1, 'Conv', [8]], [-1, '1', 'Conv', [8]], [-1, 1, 'Conv', {8: 3}]])
def test_rows_of_another_form(row, saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({'model': evil(tmp_path)[0]}, 'best.pt')
    path = saved(lambda own: own.yaml.update(backbone=[row]))
    with pytest.raises(ValueError, match=r'net\): expected a table of layers \[from, repeats, layer, arguments\]'):
        recognizer(path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('argument', ['d', 'ch', 'layers', 'best.pt', 'https://evil.example/x', '[' * 5000, b'nc',
                                      {'a': 1}, [[[[[[1]]]]]], [0] * 2000, 1j])
def test_arguments_that_are_not_plain(argument, saved, monkeypatch):
    path = saved(lambda own: own.yaml['backbone'][0].__setitem__(3, [64, 3, 2, argument]))
    with pytest.raises(ValueError, match='an argument of its layer Conv: expected numbers, lists of them or') as error:
        recognizer(path)
    assert len(str(error.value)) < 350


@pytest.mark.parametrize('change', [
    {'scales': {'n': 'abc'}}, {'scales': {'n': [1, 2, 'd']}}, {'scales': [1]}, {'end2end': 'ch'}, {'scale': 3},
    {'reg_max': [16]}, {'depth_multiple': 'd'}, {'kpt_shape': ['x']}, {'inplace': 1}, {'nc': True}, {'nc': 2.5}])
def test_entries_of_another_type(change, saved):
    with pytest.raises(ValueError, match=rf'net\): {next(iter(change))}: expected .+, got '):
        recognizer(saved(lambda own: own.yaml.update(change)))


@pytest.mark.parametrize('activation', [
    'nn.Module()', 'nn.Linear(3, 3)', 'nn.MultiheadAttention(8, 2)', 'nn.ReLU(__x=1)', 'nn.ReLU(１)', 'nn.ReLU()\n',
    'torch.nn.ReLU().x()', 'nn.ReLU(inplace=True)()', ['nn.ReLU()']])
def test_activations_that_are_none(activation, saved):
    with pytest.raises(ValueError, match='activation: expected a class'):
        recognizer(saved(lambda own: own.yaml.update(activation=activation)))


def test_the_network_is_built_from_a_copy(made):
    table = copy.deepcopy(made.yaml)
    before = copy.deepcopy(table)
    built = build_network({**table, 'unknown': print}, 'here')
    assert table == before and built.yaml is not table and 'unknown' not in built.yaml
    assert built.yaml['backbone'][0] is not table['backbone'][0]
    assert built.state_dict().keys() == made.state_dict().keys()


class UsersDetector(UltralyticsDetector):
    pass


@pytest.mark.parametrize('kind', [UltralyticsDetector, UsersDetector])
def test_classes_of_a_task_check_files_too(kind, saved, tmp_path):
    path = saved(lambda own: own.yaml.update(activation=f'__import__("os").system("touch {tmp_path}/ran")'))
    with pytest.raises(ValueError, match='activation: expected a class'):
        kind(str(path))
    assert not (tmp_path / 'ran').exists()
    with pytest.raises(TaskError, match=f'is for classification, {kind.__name__} is for detection. Use'):
        kind('yolov8n-cls.yaml', pretrained=False)


@pytest.mark.parametrize('kind', [UltralyticsRecognizer, UltralyticsDetector, UsersDetector])
def test_a_file_is_read_once_and_forgotten(kind, saved, monkeypatch):
    read, path = [], str(saved())

    def counted(*args, **kwargs):
        content = read_saved_model(*args, **kwargs)
        read.append(weakref.ref(content))
        return content

    monkeypatch.setattr('ra_plugin.recognizers.ultralytics_models.ultralytics_recognizer.read_saved_model', counted)
    for times in (1, 2):
        kind(path)
        gc.collect()
        assert len(read) == times and not any(content() for content in read)


def test_a_file_that_is_exchanged_while_it_is_read(saved, tmp_path, monkeypatch):
    path = saved()

    def exchanging(*args, **kwargs):
        content = read_saved_model(*args, **kwargs)
        saved(lambda own: own.yaml.update(activation=f'__import__("os").system("touch {tmp_path}/ran")'))
        return content

    monkeypatch.setattr('ra_plugin.recognizers.ultralytics_models.ultralytics_recognizer.read_saved_model', exchanging)
    with contextlib.suppress(ValueError):  # of the second content, where it is read again
        recognizer(path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('rows', [[[-1, 1, 'Conv', [8, 3, 4]]], [[-1, 1, 'Conv', [8, 3, 4]], [-1, 1, 'Conv', []]]])
def test_building_leaves_the_library_s_classes_as_they_were(rows):
    kept = [(owner, {name: value for name, value in vars(owner).items() if name in ('default_act', 'legacy')})
            for owner in (tasks.Conv, tasks.Detect, tasks.Segment, tasks.v10Detect)]
    table = {'nc': 2, 'activation': 'nn.ReLU()', 'backbone': rows, 'head': [[[0], 1, 'Segment', ['nc', 8, 16]]]}
    with contextlib.nullcontext() if len(rows) == 1 else pytest.raises(ValueError, match='makes no network'):
        assert any(isinstance(m, nn.ReLU) for m in build_network(table, 'here').modules())
    for owner, attributes in kept:
        assert {name: vars(owner).get(name) for name in ('default_act', 'legacy') if name in vars(owner)} == attributes
    assert any(isinstance(m, nn.SiLU) for m in build_network(read_layers('yolov8n.yaml', 'here'), 'here').modules())


def test_all_layers_of_the_library_s_own_tables_are_known_or_refused_by_name():
    import ultralytics
    for path in (Path(ultralytics.__file__).parent / 'cfg/models').rglob('*.yaml'):
        try:
            task_of(read_layers(str(path), 'here'), 'here')
        except TaskError as error:
            assert re.search('-(pose|obb|world|worldv2|sem|depth)|yoloe|rtdetr', path.stem), error
        except ValueError as error:
            assert path.stem == 'yolo11-cls-resnet18' and 'TorchVision downloads' in str(error)


# ------------------------------------------------------------ what is refused
def script(path):
    torch.jit.save(torch.jit.trace(nn.Conv2d(1, 1, 1), torch.rand(1, 1, 2, 2)), str(path))


@pytest.mark.parametrize('write, message', [
    (lambda path: path.write_bytes(b''), 'is damaged, or not a weights file'),
    (lambda path: path.write_bytes(b'\x89PNG\r\n\x1a\n' * 99), 'is damaged, or not a weights file'),
    (script, 'is a TorchScript program, and loading it could run code'),
    (lambda path: torch.save([1], path), 'is no checkpoint of ultralytics, but a list'),
    (lambda path: torch.save(nn.Linear(2, 2).state_dict(), path), "has no network of ultralytics under 'ema' or"),
])
def test_files_of_another_kind(write, message, tmp_path):
    write(tmp_path / 'x.pt')
    with pytest.raises(ValueError, match=rf'^UltralyticsRecognizer\(x\): .*{message}') as error:
        recognizer(tmp_path / 'x.pt')
    assert '\n' not in str(error.value)


def doubled(module, levels):
    for _ in range(levels):
        module = nn.Sequential(module, module)
    return module


def bare(own, modules):
    made = type(own).__new__(type(own))
    vars(made).update(vars(own), _modules=modules)
    return made


@pytest.mark.parametrize('change, message', [
    (lambda own: vars(own).update(names={0: 'a', 2: 'b'}), r'is damaged: its network has no layers or no class names'),
    (lambda own: {'ema': bare(own, {'model': 3})}, 'net.pt has no weights'),
    (lambda own: {'ema': bare(own, [3])}, 'is damaged: its network has no layers or no class names'),
    (lambda own: vars(own).update(names={0: 'a'}), 'names 1 class, its network has 3'),
    (lambda own: {'modelopt': {'a': 1}}, 'has a quantized network'),
    (lambda own: {'modelopt': torch.ones(2)}, 'has a quantized network'),
    (lambda own: {'ema': torch.ones(2)}, "has no network of ultralytics under 'ema' or 'model'"),
    (lambda own: {'train_args': {'box': '7.5'}}, "net.pt: box in the settings of its training: .* float, got '7.5'"),
    (lambda own: {'train_args': {'mask_ratio': 2.5}}, 'mask_ratio in the settings of its training: expected int'),
    (lambda own: vars(own)['_modules'].update(more=doubled(nn.BatchNorm2d(1), 18)), 'more than 20000 weights'),
    (lambda own: own.fuse(verbose=False) and None, 'does not fit the model'),
])
def test_checkpoints_that_are_not_whole(change, message, saved):
    with pytest.raises(ValueError, match=message) as error:
        recognizer(saved(change))
    assert '\n' not in str(error.value)


def test_modules_that_are_used_twice_are_counted_once(saved, made):
    shared = nn.Linear(1, 1)
    path = saved(lambda own: vars(own)['_modules'].update(empty=doubled(nn.ReLU(), 40), twice=nn.Sequential(
        shared, shared)))
    further = {f'twice.{i}.{name}' for i in (0, 1) for name in ('weight', 'bias')}
    assert read_saved_model(path, 'here').weights.keys() == made.state_dict().keys() | further


@pytest.mark.parametrize('text, message', [
    ('nc: 2\nbackbone: [\nhead: }', r'mine.yaml is not YAML: line 3: .+\.$'),
    ('nc: 2\nnc: 3\n', r"mine.yaml: line 2: duplicate key 'nc', first used in line 1. Keep one of them.$"),
    ('nc: !!python/object:os.system {}', 'mine.yaml is not YAML: line 1: could not determine a constructor'),
    ('[' * 5000, 'mine.yaml is not YAML'),
    ('7', 'expected a table of layers'),
    ('nc: 2\nbackbone:\n- {-1: a, 2: Conv, guess_model_scale: b, w: c}\nhead: [[-1, 1, Classify, [nc]]]',
     'expected a table of layers'),
    ('a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n'
     'c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n'
     'backbone: [[-1, 1, Conv, [*d]]]\nhead: [[-1, 1, Classify, [nc]]]', 'an argument of its layer Conv'),
])
def test_yaml_files_that_are_no_tables(text, message, tmp_path):
    (tmp_path / 'mine.yaml').write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        UltralyticsRecognizer(str(tmp_path / 'mine.yaml'), pretrained=False)
    assert '\n' not in str(error.value) and 'option file' not in str(error.value)
    assert str(error.value).startswith('UltralyticsRecognizer(mine): ')


@pytest.mark.parametrize('options, message', [
    ({'model': 'yolo11m.pt'}, 'model: no file yolo11m.pt, and none is downloaded. Fetch it from https://github.com'),
    ({'model': 'yolo11n.onnx'}, "model: expected a .pt file of ultralytics or a yaml file, got 'yolo11n.onnx'"),
    ({'model': 'yollo11n.yaml'}, "none of this name. Did you mean 'yolo11n.yaml'?"),
    ({'model': 'https://evil.example/yolo11n.yaml'}, 'model: no file https'),
    ({'model': 'yolo11n.yaml'}, 'no weights, and none are downloaded'),
    ({'model': 'yolo11n.yaml', 'pretrained': True}, 'no weights, and none are downloaded'),
    ({'model': 'yolo11n.yaml', 'pretrained': False, 'checkpoint': 'x.pth'}, 'both pretrained and checkpoint'),
    ({'model': 'yolo11n.yaml', 'checkpoint': 'x.pth'}, 'no checkpoint x.pth'),
    ({'model': 'yolo11n.yaml', 'pretrained': False, 'resize': 0}, "resize: expected 'model', a factor > 0 or ~, got 0"),
    ({'model': 'yolo11n.yaml', 'pretrained': False, 'imgsz': [64]}, "imgsz: expected 'model', a number or"),
    ({'model': 'yolo11n.yaml', 'pretrained': False, 'end2end': True}, 'end2end: its one head gives an object several'),
    ({'model': 'yolo11n-cls.yaml', 'pretrained': False, 'resize': 2}, "resize: expected 'model' or ~ for a classifier"),
    ({'model': 'yolo11n-cls.yaml', 'pretrained': False, 'conf': 0.5}, 'conf, iou and end2end are about objects'),
    ({'model': 'yolo11n-pose.yaml', 'pretrained': False}, 'the loss of Pose needs key points'),
    ({'model': 'yolo11n-obb.yaml', 'pretrained': False}, 'the loss of OBB needs rotated boxes'),
    ({'model': 'yolov8s-world.yaml', 'pretrained': False}, 'the loss of WorldDetect needs text'),
    ({'model': 'rtdetr-l.yaml', 'pretrained': False}, 'the loss of RTDETRDecoder needs denoising queries'),
])
def test_bad_options(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)) as error:
        build_recognizer({'type': 'UltralyticsRecognizer', **options})
    assert '\n' not in str(error.value) and 'Ultralytics' in str(error.value)


def test_a_file_brings_its_own_classes(saved):
    for options in ({'classes': 3}, {'pretrained': True}, {'checkpoint': 'x.pth'}):
        with pytest.raises(ValueError, match='has weights and classes of its own'):
            recognizer(saved(), **options)
    with pytest.raises(OptionError, match="unknown key 'imgs'.*imgsz"):
        build_recognizer({'type': 'UltralyticsRecognizer', 'model': str(saved()), 'imgs': 64})


def test_sizes_are_rounded_up_to_the_stride(saved):
    assert recognizer(saved(), imgsz=100).size == (128, 128)
    assert recognizer(saved(), imgsz=[64, 90]).size == (64, 96)


# ------------------------------------------------------------ the import
def test_importing_it_leaves_the_process_the_user_s_folder_and_the_network_alone(tmp_path):
    program = '''
import os, socket, sys, warnings
import cv2, numpy, torch
from PIL import Image
def fail(*args, **kwargs):
    raise SystemExit(f'network access: {args}')
socket.socket.connect = socket.getaddrinfo = fail
def state():
    return (dict(os.environ), torch.save, torch.load, Image.open, cv2.imread, cv2.getNumThreads(),
            numpy.get_printoptions(), vars(torch._tensor_str.PRINT_OPTS))
before = state()
before = [value.copy() if isinstance(value, dict) else value for value in before]
filters = list(warnings.filters)
from ra_plugin.recognizers import build_recognizer
assert 'ultralytics' not in sys.modules
build_recognizer({'type': 'UltralyticsRecognizer', 'model': 'yolo11n.yaml', 'pretrained': False})
build_recognizer({'type': 'UltralyticsRecognizer', 'model': 'yolo11n-cls.yaml', 'pretrained': False, 'imgsz': 32})
after = state()
assert list(after) == before, [(a, b) for a, b in zip(after, before) if a != b]
from ultralytics.utils import AUTOINSTALL, ONLINE
assert not ONLINE and not AUTOINSTALL
'''
    environment = {**os.environ, 'HOME': str(tmp_path), 'PYTHONPATH': str(ROOT)}
    for name in ('XDG_CONFIG_HOME', 'YOLO_CONFIG_DIR', 'OMP_NUM_THREADS'):
        environment.pop(name, None)
    done = warm_start.run(['-c', program], tmp_path, environment)
    assert done.returncode == 0, done.stderr + done.stdout
    assert not done.stdout and not done.stderr
    assert [path for path in tmp_path.rglob('*') if 'ltralytics' in path.name] == []


def test_a_missing_package_is_named_with_its_licence(monkeypatch):
    for name in [name for name in sys.modules if name.partition('.')[0] == 'ultralytics']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'ultralytics', None)
    with pytest.raises(ImportError, match=r'needs ultralytics>=8.4.190,<8.5, which is not installed. Install it with: '
                                          r'pip install "ultralytics>=8.4.190,<8.5". Its licence is AGPL-3.0.$'):
        UltralyticsRecognizer('yolo11n.yaml', pretrained=False)


class Without:
    """Finder of modules that does not find some."""

    def __init__(self, finder, names):
        self.finder, self.names = finder, names

    def find_spec(self, name, path=None, target=None):
        return None if name in self.names else self.finder.find_spec(name, path, target)


def test_a_missing_package_is_named_before_those_that_it_brings(monkeypatch):
    for name in [name for name in sys.modules if name.partition('.')[0] in ('ultralytics', 'cv2')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, 'meta_path', [Without(finder, ('ultralytics', 'cv2')) for finder in sys.meta_path])
    with pytest.raises(ImportError, match='pip install "ultralytics>='):
        UltralyticsRecognizer('yolo11n.yaml', pretrained=False)
