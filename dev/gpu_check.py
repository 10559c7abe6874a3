"""Check of correctness and speed on a GPU in eight minutes, most important parts first; results are saved at once.

Example:
    python dev/gpu_check.py results/gpu
    python dev/gpu_check.py results/gpu --dry --only steps
"""
import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))
import gpu_report  # noqa: E402

# time limit of each part in seconds, within that of the whole
PARTS = {'tests': 150, 'steps': 170, 'pipeline': 60, 'training': 75, 'nccl': 60, 'profile': 60, 'demo': 120}
# imports of all parts, checked before the time starts
NEEDED = ('torch', 'torchvision', 'timm', 'numpy', 'scipy', 'cv2', 'PIL', 'yaml', 'tqdm', 'matplotlib', 'rich',
          'requests', 'safetensors', 'pytest', 'hypothesis', 'basicsr', 'mmcv', 'mmengine', 'mmdet', 'mmseg',
          'pycocotools')
_LAST_WORDS = 3  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path,
                        help='folder for gpu_check.json, gpu_check.md and gpu_check.log, updated after each part')
    parser.add_argument('--dry', action='store_true', help='small run on the CPU, to see that the parts work')
    parser.add_argument('--only', nargs='+', choices=PARTS, metavar='PART', help=f'parts to run: {", ".join(PARTS)}')
    parser.add_argument('--seconds', type=int, help='time limit of all parts together. Default: 460; dry: no limit')
    args = parser.parse_args()

    lacking = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    if lacking:
        parser.error(f'this Python lacks {", ".join(lacking)}. Install them, or copy .gpu (made by dev/gpu_pack.sh) '
                     'with the packages in dev/gpu_wheels.txt, and start dev/gpu_check.sh.')
    import torch
    if not args.dry and not torch.cuda.is_available():
        parser.error('torch finds no GPU. Add --dry to run on the CPU.')
    args.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + (args.seconds or (3600 if args.dry else 460))
    found = {'machine': gpu_report.machine(args.dry), 'dry': args.dry, 'parts': {}}
    (args.out / 'gpu_check.log').unlink(missing_ok=True)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # results so far are written
    try:
        with tempfile.TemporaryDirectory(prefix='gpu_check_', ignore_cleanup_errors=True) as folder:
            _run_all(args, found, end, Path(folder))
    finally:
        signal.signal(signal.SIGTERM, before)
    print((args.out / 'gpu_check.md').read_text())
    return 0 if gpu_report.is_good(found) else 1


def _run_all(args: argparse.Namespace, found: dict, end: float, folder: Path) -> None:
    """Run the parts, which write files to ``folder``, and collect their results in ``found``."""
    for name in args.only or PARTS:
        seconds = min(3600 if args.dry else PARTS[name], end - time.monotonic())
        print(f'== {name} (at most {max(seconds, 0):.0f} s)', flush=True)
        started = time.monotonic()
        status = 'stopped from outside'
        try:
            status = _run(name, folder, args.dry, seconds) if seconds > 10 else 'no time left'
        finally:  # also if a signal ends this program: keep the results of the part so far
            found['parts'][name] = {'status': status, 'seconds': round(time.monotonic() - started, 1),
                                    **_found_by(name, folder, status)}
            print(f'   {status} after {found["parts"][name]["seconds"]} s', flush=True)
            (args.out / 'gpu_check.json').write_text(json.dumps(found, indent=1) + '\n')
            (args.out / 'gpu_check.md').write_text(gpu_report.markdown(found))
            with open(args.out / 'gpu_check.log', 'a') as log:
                log.write(f'== {name}\n{_said(folder / f"{name}.log")}')


def _said(log: Path) -> str:
    return log.read_text(errors='replace') if log.exists() else ''


def _found_by(name: str, folder: Path, status: str) -> dict:
    """Return the results in the part's file, and for a failed part also the end of its output."""
    file, said = folder / f'{name}.json', _said(folder / f'{name}.log')
    return {**(json.loads(file.read_text()) if file.exists() else {}),
            **({'said': said[-1500:]} if status != 'done' and said else {})}


def _run(name: str, folder: Path, dry: bool, seconds: float) -> str:
    """Run a part in its own process group, with its output in a file in ``folder``, and return its status."""
    command = [sys.executable, str(ROOT / 'dev' / 'gpu_parts.py'), name, str(folder), str(seconds),
               *(['--dry'] if dry else [])]
    environment = {**os.environ, 'PYTHONUNBUFFERED': '1',
                   'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]).rstrip(os.pathsep),
                   **({'CUDA_VISIBLE_DEVICES': ''} if dry else {})}
    with open(folder / f'{name}.log', 'w') as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment,
                                   start_new_session=True)
        try:
            status = process.wait(seconds)
            return 'done' if status == 0 else f'failed with exit status {status}'
        except subprocess.TimeoutExpired:
            return 'stopped: its time was over'
        finally:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """End the remaining processes of the part's group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            continue


if __name__ == '__main__':
    sys.exit(main())
