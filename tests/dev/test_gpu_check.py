"""dev/gpu_check.py: parts end in time, partial results are kept, and targets are compared with measurements."""
import importlib
import json
import signal
import sys
import time
from pathlib import Path

import pytest

DEV = Path(__file__).parents[2] / 'dev'


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(DEV))
    yield importlib.import_module
    for name in ('gpu_check', 'gpu_report', 'gpu_parts'):
        sys.modules.pop(name, None)


def case(seconds):
    return {'seconds': seconds, 'to_plain': [1, 1, 1], 'to_careless': [1, 1, 1], 'kept': 1.0, 'peak': 2.0}


def found(careless=0.030, fast=0.009, plain=0.008, reads=3000.0, failed=(), same=True):
    cases = {'plain': case(0.02), 'careless': case(careless), 'ours, bf16, channels_last, compiled': case(fast),
             'plain, bf16, channels_last, compiled': case(plain)}
    return {'machine': {'device': 'one'}, 'dry': False, 'parts': {
        'tests': {'status': 'done', 'seconds': 1, 'count': 9, 'skipped': 0, 'failed': list(failed)},
        'steps': {'status': 'done', 'seconds': 1, 'pairs': {'SRResNet, ResNet-18, batch of 20': {'cases': cases}}},
        'pipeline': {'status': 'done', 'seconds': 1, 'images_per_second': {'8': reads / 2, '16': reads},
                     'batch_size': 20},
        'training': {'status': 'done', 'seconds': 1, 'bit_for_bit': False, 'relative_difference': 1e-5},
        'nccl': {'status': 'done', 'seconds': 1, 'same': {'1': same}}}}


@pytest.mark.parametrize('change, missed', [
    ({}, None), ({'careless': 0.026}, 'careless takes at least 3'), ({'plain': 0.007}, 'ours takes at most 1.25'),
    ({'reads': 2000.0}, 'bottleneck'), ({'failed': [['test_x', 'no']]}, 'no test fails'),
    ({'same': False}, 'processes')])
def test_each_bar_can_be_missed(change, missed, module):
    report = module('gpu_report')
    rows = report.bars(found(**change))
    assert len(rows) == 6
    assert [name for name, _, good in rows if not good] == [name for name, _, _ in rows if missed and missed in name]
    assert report.is_good(found(**change)) == (missed is None)
    page = report.markdown(found(**change))
    assert page.count('| NO |') == (missed is not None)
    assert 'careless | 30.00' in page or 'careless | 26.00' in page


def test_a_page_of_a_run_that_was_stopped_early(module):
    report = module('gpu_report')
    early = {'machine': {'device': 'one'}, 'dry': False,
             'parts': {'tests': {'status': 'stopped: its time was over', 'seconds': 150.0}}}
    assert not report.is_good(early)
    assert report.markdown(early).count('unknown') == 6


@pytest.mark.slow
def test_what_a_part_found_before_its_time_was_over_is_kept(module, tmp_path, monkeypatch):
    check = module('gpu_check')
    (tmp_path / 'dev').mkdir()
    (tmp_path / 'dev' / 'gpu_parts.py').write_text(
        'import json, sys, time, pathlib, subprocess\n'
        'name, folder, seconds = sys.argv[1:4]\n'
        'subprocess.Popen(["sleep", "600"])\n'  # which is ended with it
        'pathlib.Path(folder, f"{name}.json").write_text(json.dumps({"pairs": {}, "started": True}))\n'
        'print("working", flush=True)\n'
        'time.sleep(600 if name == "steps" else 0)\n'
        'sys.exit(name == "nccl")\n')
    monkeypatch.setattr(check, 'ROOT', tmp_path)
    started = time.monotonic()
    assert check._run('steps', tmp_path, True, 2.0) == 'stopped: its time was over'
    assert time.monotonic() - started < 60
    assert json.loads((tmp_path / 'steps.json').read_text()) == {'pairs': {}, 'started': True}
    assert (tmp_path / 'steps.log').read_text() == 'working\n'
    assert check._run('pipeline', tmp_path, True, 60.0) == 'done'
    assert check._run('nccl', tmp_path, True, 60.0) == 'failed with exit status 1'


def test_what_was_found_by_a_signal_is_on_the_page(module, tmp_path, monkeypatch):
    check = module('gpu_check')

    def ended_by_signal(name, folder, dry, seconds):
        folders.append(folder)
        (folder / f'{name}.json').write_text('{"images_per_second": {"8": 123.0}, "batch_size": 20}')
        (folder / f'{name}.log').write_text('the last words')
        sys.exit(143)
    folders = []
    monkeypatch.setattr(check, '_run', ended_by_signal)
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', str(tmp_path), '--dry', '--only', 'pipeline', 'nccl'])
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match='143'):
        check.main()
    assert signal.getsignal(signal.SIGTERM) is before
    found, = json.loads((tmp_path / 'gpu_check.json').read_text())['parts'].values()
    assert found['status'] == 'stopped from outside' and found['images_per_second'] == {'8': 123.0}
    page = (tmp_path / 'gpu_check.md').read_text()
    assert 'the last words' in page and '| 8 | 123.0 |' in page
    assert (tmp_path / 'gpu_check.log').read_text() == '== pipeline\nthe last words'
    assert {path.name for path in tmp_path.iterdir()} == {f'gpu_check.{kind}' for kind in ('json', 'log', 'md')}
    assert not folders[0].exists()


def test_a_part_that_fails_says_why(module, tmp_path):
    check = module('gpu_check')
    (tmp_path / 'steps.log').write_text('x' * 2000 + 'no compiler')
    assert check._found_by('steps', tmp_path, 'failed with exit status 1')['said'].endswith('no compiler')
    assert check._found_by('steps', tmp_path, 'done') == {}


@pytest.mark.parametrize('fails, pairs, errors', [
    (lambda pair, compiled: compiled, 4,
     [f'SRResNet, {name}, batch of 20, compiled' for name in ('ResNet-18', 'VGG-16')]),
    (lambda pair, compiled: pair == ('SRResNet', 'VGG-16'), 2,
     [f'SRResNet, VGG-16, batch of {case}' for case in ('20', '4', '20, compiled')])])
def test_a_step_that_fails_costs_no_other(fails, pairs, errors, module, tmp_path, monkeypatch):
    parts, report = module('gpu_parts'), module('gpu_report')
    monkeypatch.setattr(parts, 'PAIRS', parts.PAIRS[:2])
    monkeypatch.setattr(parts.Part, 'device', None)

    def benchmark(root, device, rounds, size, chosen, compiled, count):
        if fails(*chosen, compiled):
            raise RuntimeError('no')
        return {'pair': {'cases': {'plain': case(0.02)}}}, 'table'
    monkeypatch.setattr('dev.benchmarks.steps.steps_benchmark', benchmark)
    part = parts.Part('steps', tmp_path, 600, dry=False)
    parts.steps(part)
    assert len(part.found['pairs']) == pairs and list(part.found['errors']) == errors
    whole = found()
    whole['parts']['steps'] = {'status': 'done', 'seconds': 1, **part.found}
    assert not report.is_good(whole) and f'- steps, {errors[0]}: RuntimeError: no' in report.markdown(whole)


def test_bars_of_another_pair_are_not_taken_for_those_of_the_first(module):
    report, whole = module('gpu_report'), found()
    pairs = whole['parts']['steps']['pairs']
    whole['parts']['steps']['pairs'] = {'SRResNet, VGG-16, batch of 20': pairs.popitem()[1]}
    assert [good for name, _, good in report.bars(whole) if 'take' in name] == [None, None]


def test_tests_that_are_all_skipped_or_cut_short_are_no_success(module):
    report, whole = module('gpu_report'), found()
    whole['parts']['tests']['skipped'] = 9
    assert report.bars(whole)[0][2] is False
    whole['parts']['tests'].update(skipped=0, cut_short=True)
    assert report.bars(whole)[0][2] is None


def test_a_machine_without_nvidia_smi(module, monkeypatch):
    for name, value in {'get_device_name': 'one', 'device_count': 1}.items():
        monkeypatch.setattr(f'torch.cuda.{name}', lambda value=value: value)
    monkeypatch.setenv('PATH', '')
    assert module('gpu_report').machine(dry=False)['driver'] == 'not known'


def test_parts_are_functions_and_have_their_time(module):
    check, parts = module('gpu_check'), module('gpu_parts')
    assert all(callable(getattr(parts, name)) for name in check.PARTS)
    assert list(check.PARTS)[:2] == ['tests', 'steps']


def test_packages_that_are_not_there_are_named_at_once(module, tmp_path, monkeypatch, capsys):
    check = module('gpu_check')
    monkeypatch.setattr(check, 'NEEDED', ('json', 'no_such_package', 'nor_this_one'))
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', str(tmp_path / 'out'), '--dry'])
    with pytest.raises(SystemExit):
        check.main()
    assert 'this Python lacks no_such_package, nor_this_one.' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_without_a_gpu_it_says_so(module, tmp_path, monkeypatch, capsys):
    check = module('gpu_check')
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['gpu_check.py', str(tmp_path)])
    with pytest.raises(SystemExit):
        check.main()
    assert 'torch finds no GPU. Add --dry' in capsys.readouterr().err
