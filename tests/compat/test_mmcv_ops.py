"""``mmcv.ops`` with the replacement of its compiled module: against the compiled one, and against explicit formulas."""
import ast
import functools
import importlib
import math
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import warm_start
from golden.make_mmcv_ops import outputs

from ra_plugin.compat import mmcv_imports

ROOT = Path(__file__).parents[2]
GOLDEN = torch.load(Path(__file__).parents[1] / 'golden' / 'mmcv_ops.pt', weights_only=True)

ext = importlib.import_module('mmcv._ext')
if not hasattr(ext, 'missing_modules'):
    pytest.skip('a compiled mmcv is installed', allow_module_level=True)
import mmcv.ops  # noqa: E402

pytestmark = pytest.mark.mm

gradcheck = functools.partial(torch.autograd.gradcheck, fast_mode=True)


def run(code):
    """Run ``code`` in a process of its own."""
    done = warm_start.run(['-c', code], ROOT)
    assert done.returncode == 0, done.stderr


# Which module serves mmcv._ext

def test_import_of_ra_plugin_imports_nothing_of_openmmlab():
    run('import sys, ra_plugin\n'
        'loaded = {name.split(".")[0] for name in sys.modules}\n'
        'assert not loaded & {"mmcv", "mmengine", "mmdet", "mmseg"}, loaded\n'
        'assert "ra_plugin.compat.mmcv_ext" not in sys.modules\n')


@pytest.mark.slow
def test_the_stand_in_is_there_without_basicsr():
    run('import sys\n'
        'sys.modules["basicsr"] = None\n'
        'import ra_plugin\n'
        'import mmcv._ext\n'
        'assert mmcv._ext.__file__.endswith("mmcv_ext.py") and mmcv._ext.missing_modules\n')


def test_a_compiled_module_wins(tmp_path, monkeypatch):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    (tmp_path / 'mmcv' / '_ext.py').write_text('nms = "compiled"')
    for name in [name for name in sys.modules if name.split('.')[0] == 'mmcv']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert mmcv_imports.StandInFinder in sys.meta_path
    compiled = importlib.import_module('mmcv._ext')
    assert compiled.nms == 'compiled' and not hasattr(compiled, 'missing_modules')


def test_the_stand_in_is_looked_for_once_and_serves_one_name():
    before = list(sys.meta_path)
    mmcv_imports.apply()
    assert sys.meta_path == before and before.count(mmcv_imports.StandInFinder) == 1
    assert mmcv_imports.StandInFinder.find_spec('mmcv._ext2') is None


def test_mmcv_itself_finds_its_operators():
    from mmcv.utils import ext_loader
    assert ext_loader.check_ops_exist()


# What is missing

def operators_of_modules():
    """Return the operators that each submodule of mmcv.ops loads, read from its source."""
    for path in Path(mmcv.__file__).with_name('ops').glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == 'ext_loader.load_ext':
                yield f'mmcv.ops.{path.stem}', set(ast.literal_eval(node.args[1]))


def test_missing_modules_are_those_without_an_operator():
    provided = set(vars(ext))
    missing = {module for module, operators in operators_of_modules() if not operators & provided}
    assert ext.missing_modules == missing
    partly = {module for module, operators in operators_of_modules() if operators - provided} - missing
    assert partly == {'mmcv.ops.nms'}  # rotated boxes


@pytest.mark.slow
@pytest.mark.parametrize('package', ['mmdet', 'mmseg'])
def test_mmdet_and_mmseg_use_nothing_that_is_missing(package):
    folder = Path(importlib.import_module(package).__file__).parent
    used = {(node.module, alias.name) for path in folder.rglob('*.py') if '.mim' not in path.parts
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mmcv.ops') for alias in node.names}
    assert ('mmcv.ops', 'point_sample') in used
    for module, name in used:
        operator = getattr(importlib.import_module(module), name)
        owner = getattr(operator, '__module__', None) or operator.__self__.__module__  # a function of autograd
        assert owner.startswith('mmcv.ops.') and owner not in ext.missing_modules, name


def test_a_missing_operator_says_what_it_needs():
    layer = mmcv.ops.CornerPool('top'), mmcv.ops.BorderAlign(2)
    assert [type(one).__module__ in ext.missing_modules for one in layer] == [False, True]
    with pytest.raises(ImportError) as error:
        layer[1](torch.rand(1, 8, 4, 4), torch.rand(1, 16, 4))
    assert str(error.value) == (
        'mmcv.ops: the operator border_align_forward needs the compiled package mmcv instead of mmcv-lite. '
        'Replace it with: pip uninstall mmcv-lite; pip install "mmcv>=2.1.0,<2.2"')


def test_special_names_are_no_operators():
    assert not hasattr(ext, '__path__') and callable(ext.some_operator)


# Against the compiled operators; sums in another order differ in the last digits

@pytest.mark.parametrize('name', GOLDEN)
def test_equals_the_compiled_operator(name):
    case = GOLDEN[name]
    given = outputs(case)
    assert len(given) == len(case['outputs'])
    for index, (value, expected) in enumerate(zip(given, case['outputs'], strict=True)):
        gradient = index > 0 and 'grad_output' in case
        # a convolution is a matrix product, which processors sum up in their own order
        rounded = gradient or 'gaussian' in name or 'conv2d' in name
        atol = 2e-6 * max(expected.abs().max().item(), 1) if rounded else 0
        torch.testing.assert_close(value, expected, rtol=0, atol=atol)


# Against formulas, in float64: mostly operators that the compiled module has on CUDA only

@pytest.mark.parametrize('offset', [0, 1])
def test_nms_counts_the_last_pixel_of_a_side_or_not(offset):
    corner, scores = torch.randint(0, 12, (60, 2)), torch.rand(60)
    boxes = torch.cat([corner, corner + torch.randint(1, 6, (60, 2))], 1)  # small: a pixel matters
    pixels = [{(x, y) for x in range(x1, x2 + offset) for y in range(y1, y2 + offset)}
              for x1, y1, x2, y2 in boxes.tolist()]
    expected = []
    for i in scores.argsort(descending=True).tolist():
        if all(len(pixels[i] & pixels[j]) <= 0.4321 * len(pixels[i] | pixels[j]) for j in expected):
            expected.append(i)
    assert mmcv.ops.nms(boxes.float(), scores, 0.4321, offset)[1].tolist() == expected


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


ROIS = torch.tensor([[0, 1, 2, 30, 25], [1, -9, 4.4, 12, 90], [0, 7, 7, 8, 8], [1, 60, 60, 70, 70.]]).double()


def bilinear(image, y, x):
    """Interpolate one channel ``(H, W)``: the border's value up to a pixel outside the map, 0 further away."""
    height, width = image.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), height - 2), min(int(x), width - 2)
    return sum(image[top + i, left + j].item() * (y - top if i else 1 - y + top) * (x - left if j else 1 - x + left)
               for i, j in product((0, 1), repeat=2))


def test_roi_pool_is_the_maximum_of_the_pixels_that_a_bin_touches():
    image, scale = double(2, 3, 8, 9), 0.25
    expected = torch.zeros(len(ROIS), 3, 2, 3, dtype=torch.float64)
    for k, channel, i, j in product(range(len(ROIS)), range(3), range(2), range(3)):
        number, x1, y1, x2, y2 = ROIS[k].tolist()
        x1, y1, width, height = x1 * scale, y1 * scale, (x2 + 1 - x1) * scale, (y2 + 1 - y1) * scale
        values = [image[int(number), channel, y, x].item() for y in range(8) for x in range(9)
                  if math.floor(y1 + i * height / 2) <= y < math.ceil(y1 + (i + 1) * height / 2)
                  and math.floor(x1 + j * width / 3) <= x < math.ceil(x1 + (j + 1) * width / 3)]
        expected[k, channel, i, j] = max(values, default=0)
    assert (expected == 0).any() and (expected != 0).any()  # bins outside the map, too
    torch.testing.assert_close(mmcv.ops.roi_pool(image, ROIS, (2, 3), scale), expected, rtol=0, atol=0)
    image.requires_grad_()
    assert gradcheck(lambda image: mmcv.ops.roi_pool(image, ROIS, (2, 3), scale), image)


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('moved', [True, False])
def test_deform_roi_pool_is_the_mean_of_moved_points(ratio, moved):
    image, scale, gamma = double(2, 3, 8, 9), 0.25, 0.1
    offset = double(len(ROIS), 2, 2, 3) if moved else None
    expected = torch.zeros(len(ROIS), 3, 2, 3, dtype=torch.float64)
    for k, channel, i, j in product(range(len(ROIS)), range(3), range(2), range(3)):
        number, x1, y1, x2, y2 = ROIS[k].tolist()
        x1, y1, width, height = x1 * scale - 0.5, y1 * scale - 0.5, (x2 - x1) * scale, (y2 - y1) * scale
        if moved:
            x1, y1 = x1 + gamma * width * offset[k, 0, i, j], y1 + gamma * height * offset[k, 1, i, j]
        rows, columns = ratio or math.ceil(height / 2), ratio or math.ceil(width / 3)
        expected[k, channel, i, j] = sum(
            bilinear(image[int(number), channel], float(y1 + (i + (a + .5) / rows) * height / 2),
                     float(x1 + (j + (b + .5) / columns) * width / 3))
            for a in range(rows) for b in range(columns)) / (rows * columns)

    def pool(image, *offset):
        return mmcv.ops.deform_roi_pool(image, ROIS, offset[0] if offset else None, (2, 3), scale, ratio, gamma)

    inputs = [image.requires_grad_(), *([offset.requires_grad_()] if moved else [])]
    torch.testing.assert_close(pool(*inputs), expected)
    assert gradcheck(pool, inputs)


def test_pooling_of_no_region():
    for pool in (mmcv.ops.RoIPool(2), mmcv.ops.RoIAlign(2, pool_mode='max'), mmcv.ops.DeformRoIPool(2)):
        image = torch.rand(1, 3, 8, 8, requires_grad=True)
        output = pool(image, torch.zeros(0, 5))
        output.sum().backward()
        assert output.shape == (0, 3, 2, 2) and not image.grad.any()


def test_the_maximum_of_a_region_without_area_has_no_gradient():
    image = torch.rand(1, 2, 4, 4, requires_grad=True)
    output = mmcv.ops.roi_align(image, torch.tensor([[0, 1., 1, 1, 1], [0, 0, 0, 2, 2]]), 2, 1., 0, 'max')
    gradient, = torch.autograd.grad(output[0].sum(), image, retain_graph=True)
    assert output[0].eq(-10000).all() and not gradient.any()  # mmcv's number for it
    assert torch.autograd.grad(output[1].sum(), image)[0].any()


@pytest.mark.parametrize('kind', ['collect', 'distribute'])
@pytest.mark.parametrize('mask', [(3, 5), (9, 7)], ids=['smaller than the map', 'larger'])
def test_psa_mask_moves_attention_from_steps_to_places(kind, mask):
    height, width = 4, 3
    attention = double(2, mask[0] * mask[1], height, width)
    expected = torch.zeros(2, height * width, height, width, dtype=torch.float64)
    for y, x, i, j in product(range(height), range(width), range(mask[0]), range(mask[1])):
        place_y, place_x = y + i - (mask[0] - 1) // 2, x + j - (mask[1] - 1) // 2
        if 0 <= place_y < height and 0 <= place_x < width:
            at = (place_y * width + place_x, y, x) if kind == 'collect' else (y * width + x, place_y, place_x)
            expected[(slice(None), *at)] = attention[:, i * mask[1] + j, y, x]
    layer = mmcv.ops.PSAMask(kind, mask)
    torch.testing.assert_close(layer(attention), expected, rtol=0, atol=0)
    assert gradcheck(layer, attention.requires_grad_())


@pytest.mark.parametrize('name', ['carafe', 'carafe_naive'])
def test_carafe_weighs_a_window_of_the_features(name):
    upsample = getattr(mmcv.ops, name)
    kernel, groups, scale, height, width = 3, 2, 2, 4, 3
    features, weights = double(2, 4, height, width), double(2, groups * kernel**2, scale * height, scale * width)
    expected = torch.zeros(2, 4, scale * height, scale * width, dtype=torch.float64)
    for channel, y, x, i, j in product(range(4), range(scale * height), range(scale * width), *[range(kernel)] * 2):
        row, column = y // scale + i - kernel // 2, x // scale + j - kernel // 2
        if 0 <= row < height and 0 <= column < width:
            weight = weights[:, (channel // 2) * kernel**2 + i * kernel + j, y, x]
            expected[:, channel, y, x] += features[:, channel, row, column] * weight
    torch.testing.assert_close(upsample(features, weights, kernel, groups, scale), expected)
    if name == 'carafe':  # mmcv's own backward of the other wants CUDA; the operators are the same
        inputs = [features.requires_grad_(), weights.requires_grad_()]
        assert gradcheck(lambda *inputs: upsample(*inputs, kernel, groups, scale), inputs)


@pytest.mark.parametrize('gamma, alpha', [(2., 0.25), (0.5, 0.5), (0., 0.3)])
@pytest.mark.parametrize('weighted', [True, False])
def test_sigmoid_focal_loss(gamma, alpha, weighted):
    logits, target = 3 * double(6, 4), torch.tensor([0, 3, 4, 1, 4, 2])  # 4 is background
    weight = torch.rand(4, dtype=torch.float64) + 0.5 if weighted else None
    expected = torch.zeros(6, 4, dtype=torch.float64)
    for n, c in product(range(6), range(4)):
        p = 1 / (1 + math.exp(-logits[n, c]))
        factor = weight[target[n]].item() if weighted and target[n] < 4 else 1
        expected[n, c] = factor * (-alpha * (1 - p)**gamma * math.log(p) if target[n] == c else
                                   -(1 - alpha) * p**gamma * math.log(1 - p))

    def loss(logits, reduction='sum'):
        return mmcv.ops.sigmoid_focal_loss(logits, target, gamma, alpha, weight, reduction)

    torch.testing.assert_close(loss(logits, 'none'), expected)
    assert gradcheck(loss, logits.requires_grad_())


@pytest.mark.parametrize('gamma, alpha', [(2., 0.25), (0.5, 0.5), (1., 0.3)])
@pytest.mark.parametrize('weighted', [True, False])
def test_softmax_focal_loss(gamma, alpha, weighted):
    logits, target = 3 * double(6, 4), torch.tensor([0, 3, -1, 1, 2, 2])  # -1 costs nothing
    weight = torch.rand(4, dtype=torch.float64) + 0.5 if weighted else None
    expected = torch.zeros(6, dtype=torch.float64)
    for n in (0, 1, 3, 4, 5):
        p = math.exp(logits[n, target[n]]) / sum(math.exp(x) for x in logits[n])
        factor = weight[target[n]].item() if weighted else 1
        expected[n] = -factor * alpha * (1 - p)**gamma * math.log(p)

    def loss(logits, reduction='sum'):
        return mmcv.ops.softmax_focal_loss(logits, target, gamma, alpha, weight, reduction)

    torch.testing.assert_close(loss(logits, 'none'), expected)
    assert gradcheck(loss, logits.requires_grad_())


def test_focal_losses_are_finite_for_certain_answers():
    logits, target = torch.tensor([[200., -200.], [-200., 200.]], requires_grad=True), torch.tensor([0, 0])
    for loss in (mmcv.ops.sigmoid_focal_loss, mmcv.ops.softmax_focal_loss):
        value = loss(logits, target, 2., 0.25, None, 'sum')
        gradient, = torch.autograd.grad(value, logits)
        assert value.isfinite() and gradient.isfinite().all()


def test_multi_scale_deformable_attention_on_the_way_that_cuda_tensors_take():
    shapes = [(4, 5), (2, 3)]
    value, weights = double(2, 26, 2, 3), torch.rand(2, 4, 2, 2, 3, dtype=torch.float64)
    places = torch.rand(2, 4, 2, 2, 3, 2, dtype=torch.float64) * 1.2 - 0.1
    expected = torch.zeros(2, 4, 2, 3, dtype=torch.float64)
    for n, query, head, level, point, channel in product(*map(range, (2, 4, 2, 2, 3, 3))):
        height, width = shapes[level]
        level_map = value[n, 20 * level:20 * level + height * width, head, channel].view(height, width)
        padded = F.pad(level_map, (1, 1, 1, 1))  # zeros around the map
        x, y = places[n, query, head, level, point].tolist()
        expected[n, query, head, channel] += weights[n, query, head, level, point] * bilinear(
            padded, y * height + 0.5, x * width + 0.5)

    def attention(value, places, weights):
        return mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(
            value, torch.tensor(shapes), torch.tensor([0, 20]), places, weights, 64)

    inputs = [tensor.requires_grad_() for tensor in (value, places, weights)]
    torch.testing.assert_close(attention(*inputs), expected.flatten(2))
    assert gradcheck(attention, inputs)


@pytest.mark.parametrize('kernel, padding', [(3, 1), ((1, 3), (0, 1))])
def test_masked_convolution_is_the_convolution_where_the_mask_is(kernel, padding):
    layer = mmcv.ops.MaskedConv2d(3, 4, kernel, padding=padding)
    image, mask = torch.rand(1, 3, 6, 7), torch.rand(1, 6, 7) > 0.5
    with torch.no_grad():
        torch.testing.assert_close(layer(image, mask.float()), layer(image) * mask)


# Types and devices

@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align_of_16_bits_is_the_rounded_one_of_32(mode, dtype):
    image = torch.rand(2, 3, 8, 9).to(dtype)
    given = mmcv.ops.roi_align(image, ROIS.to(dtype), 2, 0.25, 0, mode)
    expected = mmcv.ops.roi_align(image.float(), ROIS.to(dtype).float(), 2, 0.25, 0, mode)
    assert given.dtype == dtype and torch.equal(given, expected.to(dtype))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_deformable_convolution_of_16_bits_has_a_gradient(dtype):
    image, offset, weight = (tensor.to(dtype).requires_grad_() for tensor in (
        torch.rand(2, 3, 6, 7), torch.rand(2, 18, 6, 7), torch.rand(4, 3, 3, 3)))
    output = mmcv.ops.deform_conv2d(image, offset, weight, 1, 1)
    expected = mmcv.ops.deform_conv2d(image.float(), offset.float(), weight.float(), 1, 1)
    assert output.dtype == dtype and torch.equal(output, expected.to(dtype))
    gradients = (torch.autograd.grad(value.sum(), (image, offset, weight)) for value in (output, expected))
    for given, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(given, exact, rtol=2e-2, atol=2e-2)


def all_calls():
    """Return one call of each operator, forward and backward, on CPU tensors."""
    def attention(value, places, weights):
        return mmcv.ops.multi_scale_deform_attn.MultiScaleDeformableAttnFunction.apply(
            value, torch.tensor([[2, 3]], device='cpu'), torch.tensor([0], device='cpu'), places, weights, 64)

    rand = torch.rand
    rois, target = ROIS.float(), torch.tensor([0, 2, 1])
    image, weight, mask = rand(2, 4, 6, 6), rand(4, 4, 3, 3), rand(2, 9, 6, 6)
    offset, pool_offset, windows = rand(2, 18, 6, 6), rand(4, 2, 2, 2), rand(2, 9, 12, 12)
    ops, logits = mmcv.ops, rand(3, 2)
    gradient_calls = {
        'roi_align avg': ([image], lambda x: ops.roi_align(x, rois, 2, 0.25, 0, 'avg')),
        'roi_align max': ([image], lambda x: ops.roi_align(x, rois, 2, 0.25, 0, 'max')),
        'roi_pool': ([image], lambda x: ops.roi_pool(x, rois, 2, 0.25)),
        'deform_roi_pool': ([image, pool_offset], lambda x, o: ops.deform_roi_pool(x, rois, o, 2, 0.25)),
        'deform_conv2d': ([image, offset, weight], lambda *x: ops.deform_conv2d(*x, 1, 1)),
        'modulated_deform_conv2d': (
            [image, offset, mask, weight], lambda *x: ops.modulated_deform_conv2d(*x, None, 1, 1)),
        'sigmoid_focal_loss': ([logits], lambda x: ops.sigmoid_focal_loss(x, target, 2., 0.25, rand(2, device='cpu'))),
        'softmax_focal_loss': ([logits], lambda x: ops.softmax_focal_loss(x, target.clamp(max=1))),
        'attention': ([rand(2, 6, 2, 3), rand(2, 4, 2, 1, 3, 2), rand(2, 4, 2, 1, 3)], attention),
        'psa_mask': ([rand(2, 9, 6, 6)], ops.PSAMask('collect', (3, 3))),
        'carafe': ([image, windows], lambda *x: ops.carafe(*x, 3, 1, 2)),
    }
    boxes, scores, map_mask = rand(5, 4).cumsum(1), rand(5), rand(1, 6, 6)
    plain_calls = {
        'nms': lambda: ops.nms(boxes, scores, 0.5, 1), 'soft_nms': lambda: ops.soft_nms(boxes, scores),
        'nms_match': lambda: ops.nms_match(torch.cat([boxes, scores[:, None]], 1), 0.5),
        'masked_conv2d': lambda: [ops.masked_conv2d(image[:1], map_mask, weight, weight[:, 0, 0, 0], 1)],
    }
    return gradient_calls, plain_calls


def test_tensors_are_made_where_the_inputs_are(monkeypatch):
    """A tensor made without naming the inputs' device would land on the default device, here one without values."""
    def elsewhere(operator):  # autograd calls backward operators outside of a default device
        def call(*args, **kwargs):
            with torch.device('meta'):
                return operator(*args, **kwargs)
        return call

    for name in [name for name in vars(ext) if 'backward' in name and not name.startswith('_')]:
        monkeypatch.setattr(ext, name, elsewhere(getattr(ext, name)))
    gradient_calls, plain_calls = all_calls()
    for inputs, call in gradient_calls.values():
        with torch.device('meta'):
            output = call(*(tensor.requires_grad_() for tensor in inputs))
        gradients = torch.autograd.grad(output.sum(), inputs)
        assert all(result.device.type == 'cpu' for result in (output, *gradients))
    for call in plain_calls.values():
        with torch.device('meta'):
            assert all(result.device.type == 'cpu' for result in call())
