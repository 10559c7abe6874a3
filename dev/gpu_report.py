"""Report of gpu_check.py in Markdown, with a comparison to targets."""
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

FIRST = 'SRResNet, ResNet-18, batch of '
FAST, PLAIN_FAST = 'ours, bf16, channels_last, compiled', 'plain, bf16, channels_last, compiled'


def machine(dry: bool) -> dict[str, Any]:
    """Return the facts about the machine, device and versions."""
    import torch
    facts = {'python': platform.python_version(), 'torch': torch.__version__, 'cores': os.cpu_count(),
             'cudnn_tf32': torch.backends.cudnn.allow_tf32, 'matmul_tf32': torch.backends.cuda.matmul.allow_tf32}
    if dry:
        return {'device': 'CPU (dry)', **facts}
    try:
        driver = subprocess.run(['nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader'],
                                capture_output=True, text=True, timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):  # a container may have the driver without nvidia-smi
        driver = 'not known'
    return {'device': torch.cuda.get_device_name(), 'devices': torch.cuda.device_count(), 'cuda': torch.version.cuda,
            'cudnn': torch.backends.cudnn.version(), 'driver': driver, **facts}


def bars(found: Mapping[str, Any]) -> list[tuple[str, str, bool | None]]:
    """Return rows of target, measured value, and True if the target is met; None for an unknown value."""
    parts = found['parts']
    pairs = parts.get('steps', {}).get('pairs') or {}
    cases = next((pair['cases'] for name, pair in pairs.items() if name.startswith(FIRST)), {})
    rows: list[tuple[str, str, bool | None]] = []

    tests = parts.get('tests', {})
    counts = ''
    if 'count' in tests:
        counts = f'{len(tests["failed"])} of {tests["count"]} failed, {tests["skipped"]} skipped'
    good = tests['count'] > tests['skipped'] and not tests['failed'] if 'count' in tests else None
    if good and tests.get('cut_short'):
        counts, good = f'{counts}; no time for the others', None
    rows.append(('no test fails', counts, good))
    fast, plain = cases.get(_name(cases, FAST)), cases.get(_name(cases, PLAIN_FAST))
    if fast and 'careless' in cases:
        times = cases['careless']['seconds'] / fast['seconds']
        rows.append((f'careless takes at least 3 times as long as {_name(cases, FAST)}', f'{times:.2f} times',
                     times >= 3))
        ratio = fast['seconds'] / plain['seconds']
        rows.append(('ours takes at most 1.25 of plain in bfloat16', f'{ratio:.2f}', ratio <= 1.25))
    else:
        rows += [('careless takes at least 3 times as long as ours in bfloat16, compiled', '', None),
                 ('ours takes at most 1.25 of plain in bfloat16', '', None)]
    reads = parts.get('pipeline', {}).get('images_per_second')
    if reads and fast:
        count = parts['pipeline']['batch_size']
        eats = count / fast['seconds']
        most = max(reads.values())
        rows.append(('the data pipeline is not the bottleneck',
                     f'{most:.0f} images/s read, {eats:.0f} images/s trained on', most >= eats))
    else:
        rows.append(('the data pipeline is not the bottleneck', '', None))
    training = parts.get('training', {})
    rows.append(('an interrupted and resumed training ends like an uninterrupted one',
                 f'relative difference {training["relative_difference"]:.1e}, '
                 f'{"" if training["bit_for_bit"] else "not "}bit for bit' if 'bit_for_bit' in training else '',
                 training['relative_difference'] < 1e-3 if 'bit_for_bit' in training else None))
    same = parts.get('nccl', {}).get('same')
    rows.append(('several processes give the result of one',
                 ', '.join(f'{number}: {"yes" if yes else "no"}' for number, yes in (same or {}).items()),
                 all(same.values()) if same else None))
    return rows


def is_good(found: Mapping[str, Any]) -> bool:
    """Return True if all parts finished and, on a GPU, no target was missed."""
    ran = all(part['status'] == 'done' and not part.get('errors') for part in found['parts'].values())
    judged = [good for name, _, good in bars(found) if not found['dry'] or 'test' in name]
    return ran and all(good is not False for good in judged)


def markdown(found: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    lines = ['# On a GPU', '', ', '.join(f'{key} {value}' for key, value in found['machine'].items()), '',
             *_table(['target', 'measured', ''], [[name, text, {True: 'yes', False: 'NO', None: 'unknown'}[good]]
                                                  for name, text, good in bars(found)]),
             '', *_table(['part', 'status', 'seconds'], [[name, part['status'], part['seconds']]
                                                         for name, part in found['parts'].items()]), '']
    parts = found['parts']
    for name, part in parts.items():
        if part.get('said'):
            lines += [f'End of the output of {name}:', '', '```', part['said'].strip(), '```', '']
        lines += [f'- {name}, {of}: {" ".join(message.split())}' for of, message in part.get('errors', {}).items()]
    for name, message in parts.get('tests', {}).get('failed', ()):
        lines.append(f'- failed: `{name}`: {" ".join(message.split())}')
    for pair, figures in (parts.get('steps', {}).get('pairs') or {}).items():
        lines += ['', f'## {pair}', '', *_table(
            ['step', 'ms', 'to plain', 'to careless', 'kept, MiB', 'peak, MiB'],
            [[case, f'{1000 * values["seconds"]:.2f}', _spread(values['to_plain']), _spread(values['to_careless']),
              f'{values["kept"]:.0f}', f'{values["peak"]:.0f}'] for case, values in figures['cases'].items()])]
    reads = parts.get('pipeline', {}).get('images_per_second')
    if reads:
        lines += ['', '## Data', '', *_table(['workers', 'images per second'], reads.items())]
    if 'whole' in parts.get('training', {}):
        part = parts['training']
        lines += ['', '## Training', '', *_table(['', 'seconds', 'interrupted at', 'first losses', 'last losses'], [
            [name, part[name]['seconds'], part[name]['interrupted_at'] or '', part[name]['first'], part[name]['last']]
            for name in ('whole', 'resumed') if name in part])]
    for recognizer, kernels in (parts.get('profile', {}).get('kernels') or {}).items():
        lines += ['', f'## Kernels of a step with {recognizer}', '', *_table(
            ['kernel', 'calls', 'share'], [[f'`{name}`', count, f'{share:.1%}'] for name, count, share in kernels])]
    if 'tables' in parts.get('demo', {}):
        lines += ['', '## The demo', '', parts['demo']['tables']]
    return '\n'.join(lines) + '\n'


def _name(cases: Mapping[str, Any], wanted: str) -> str:
    """Return the name of a case, without bf16 on a device that has no bfloat16 instructions."""
    return wanted if wanted in cases else wanted.replace('bf16, ', '')


def _spread(ratio: Sequence[float]) -> str:
    middle, low, high = ratio
    return f'{middle:.2f} ({low:.2f} to {high:.2f})'


def _table(head: Sequence[str], rows: Any) -> list[str]:
    return ['| ' + ' | '.join(map(str, cells)) + ' |' for cells in (head, ['---'] * len(head), *rows)]
