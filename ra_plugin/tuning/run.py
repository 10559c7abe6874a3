"""A tuning from a restorer's file to the tuned file, its report and its card; stopped and resumed at any time."""
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from ra_plugin.archs import save_restorer
from ra_plugin.builders.loaders import build_dataset
from ra_plugin.builders.option_file import import_own
from ra_plugin.builders.option_paths import resolve_paths
from ra_plugin.builders.run_networks import folder_of, last_weights
from ra_plugin.checkpoint import load_weights
from ra_plugin.data.class_check import check_classes
from ra_plugin.evaluation.program_flags import device_of
from ra_plugin.evaluation.records import OtherRecords
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.evaluation.write_report import evaluate
from ra_plugin.models.recog_budget import LANDING, MEASUREMENTS
from ra_plugin.options import OptionError
from ra_plugin.recognizers import Recognizer, build_recognizer
from ra_plugin.results import Results
from ra_plugin.training.train_if_needed import train
from ra_plugin.tuning.card import card, summary
from ra_plugin.tuning.image_plan import CHOOSE, REPORT, TRAIN, ImagePlan, image_names, plan_images
from ra_plugin.tuning.named_blocks import degradation_block, recognizer_block
from ra_plugin.tuning.option_files import (
    AUDITED,
    build_loss,
    measured_images,
    report_options,
    stays_near_original,
    training_options,
)
from ra_plugin.tuning.options import OF_REPORT, TuneOptions, checked, flag_of
from ra_plugin.tuning.probe import Probe, probe
from ra_plugin.tuning.source import Source, find_source
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.folder_lock import LOCK, lock_folder
from ra_plugin.utils.out_folder import check_out_folder, from_here
from ra_plugin.utils.text import how_many
from ra_plugin.utils.yaml_file import read_yaml

SETTINGS, TRAINING, REPORT_OPTIONS = 'settings.json', 'tuned.yml', 'report.yml'
_READINGS = 12  # of an image that is audited, by each recognizer


@dataclass(frozen=True)
class Tuned:
    """Result of a tuning.

    Attributes:
        file: The tuned restorer.
        results: Its evaluation beside the original.
        lines: The result in words.
    """

    file: Path
    results: Results
    lines: Sequence[str]


def tune(root: Path, options: TuneOptions, out: Path, command: str = '', device: str | None = None) -> Tuned:
    """Tune a restorer within a budget, and report on images that neither trained nor chose it.

    Args:
        root: Folder of ``experiments``, where a restorer that is a training is looked up.
        options: What is asked for.
        out: Folder of the results; of a tuning that was stopped, which goes on.
        command: Command that the results name.
        device: Device of it all; a training takes the first GPU, or the CPU. Default: a GPU where there is one.

    Raises:
        OptionError: Something that was asked for is not there or does not fit, or another tuning runs in the folder;
            nothing has been trained.
        ChildProcessError: The training failed.
    """
    options = checked(options)
    check_out_folder(out)
    place = device_of(device)
    blocks: dict[str, dict[str, Any]] = {}
    for named, flag in ((options.recognizer, '--recognizer'), *((judge, '--judge') for judge in options.judges)):
        block = recognizer_block(named, flag)
        blocks[_short(named, block, blocks)] = block
    used = next(iter(blocks))
    import_own({'recognizers': blocks})
    resolve_paths({'recognizers': blocks}, root, is_absolute=True)  # option files can be run from anywhere
    if options.loss == 'labels' and options.labels is None:
        raise OptionError('--loss labels: expected --labels, got none. Give them, or leave --loss out.')
    names = image_names(options)
    source = find_source(options.restorer, root)
    degradation = _degradation(options, source)
    recognizers = {name: build_recognizer(block, f'--recognizer {name}', fold_batch_norm=False)
                   for name, block in blocks.items()}
    images = plan_images(options, names, recognizers[used].info, source.scale, degradation, out)
    settings = {**asdict(options), 'judges': list(options.judges), 'images_digest': images.digest}
    _check_folder(out, settings)
    with lock_folder(out, f'--out: another tuning runs in {from_here(out)}. Wait for its end, or choose another '
                     'folder.'):
        atomic_write(json.dumps(settings, indent=1), out / SETTINGS)
        for file, lines in images.lists.items():
            atomic_write('\n'.join(lines) + '\n', out / file)
        if options.labels is not None:
            labeled = build_dataset({'name': REPORT, 'phase': 'test', 'scale': source.scale, **images.blocks[REPORT]},
                                    '--labels')
            check_classes(labeled, recognizers.values(), '--labels')
        run = _kept(out / TRAINING)
        _say(options, source, images, degradation, used, recognizers)
        if run is None:
            seen = probe(source.network, build_loss(options, recognizers[used]), images.blocks[TRAIN],
                         images.batch_size, source.scale, options.seed, place)
            _say_image_loss(options, seen)
            _say_time(options, images, seen, len(recognizers))
            run = training_options(options, source, images, blocks[used], seen, device)
        train(out, out / TRAINING, run)
        file = out / f'{source.name}_tuned.safetensors'
        _save(source, last_weights(folder_of(run, out)), file)
        report = report_options(options, source, images, blocks, used, file.absolute())
        atomic_write(yaml.safe_dump(report, sort_keys=False), out / REPORT_OPTIONS)
        print(f'== Report: {how_many(report["images"], "image")} that neither trained nor chose it', flush=True)
        results = _judged(Evaluation(out, report, device), out, images.batch_size, command)
        atomic_write(card(options, source, images, run, results, used, file), out / 'README.md')
    return Tuned(file, results, list(summary(results)))


def _judged(evaluation: Evaluation, out: Path, batch_size: int, command: str) -> Results:
    """Return the report's results; of the records of an earlier one, what holds is reused."""
    try:
        return evaluate(evaluation, out, batch_size, command=command)
    except OtherRecords:
        print('The records of the earlier report are of other options or of another version of ra_plugin: all images '
              'are judged again.', flush=True)
        return evaluate(evaluation, out, batch_size, restart=True, command=command)


def _check_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Check that a folder is new, or that of the same training on the same images; a report may be of other judges.

    Raises:
        OptionError: It holds something else.
    """
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    if there - {LOCK} and SETTINGS not in there:
        raise OptionError(f'--out: {from_here(out)} has files that are not of a tuning. Choose another folder.')
    if TRAINING not in there:  # nothing has begun
        return
    kept = json.loads((out / SETTINGS).read_text(encoding='utf-8'))
    changed = [f'{flag_of(key)}: {kept.get(key)} there, {value} now' for key, value in settings.items()
               if kept.get(key) != value and key not in (*OF_REPORT, 'images_digest')]
    if kept.get('images_digest') != settings['images_digest']:
        changed.append('--images: other files there')
    if changed:
        raise OptionError(f'--out: {from_here(out)} has another tuning ({", ".join(changed)}). Choose another folder, '
                          'or remove it.')


def _kept(file: Path) -> dict[str, Any] | None:
    """Return the options of the training that was begun; None for a new one."""
    return read_yaml(file, str(file)) if file.is_file() else None


def _short(named: str, block: Mapping[str, Any], taken: Collection[str]) -> str:
    """Return a short name for a recognizer that a command line names, other than those that are taken."""
    path = Path(named)
    if named.lstrip().startswith('{'):
        name = str(next((block[key] for key in Recognizer.options_of_name if block.get(key)), block['type']))
        name = name.rpartition('.')[2] if block.get('module') else name
    else:
        name = path.stem if path.suffix in ('.yml', '.yaml', '.pt') or path.is_dir() else named
    while name in taken:
        name += "'"
    return name


def _degradation(options: TuneOptions, source: Source) -> dict[str, Any] | None:
    if options.lq is not None:
        if options.degradation is not None:
            raise OptionError('--lq: expected no --degradation beside it, since its images are degraded already. Leave '
                              'one of them out.')
        return None
    if options.degradation is None and source.scale == 1:
        raise OptionError('--degradation: a restorer of scale 1 does not say what it restores. Give one, e.g. '
                          'noise:25/255, jpeg:10 or real; or --lq FOLDER with degraded images.')
    return degradation_block(options.degradation or 'bicubic', source.scale, '--degradation')


def _save(source: Source, weights: Path, file: Path) -> None:
    """Write the trained weights as the restorer's own file has them."""
    load_weights(source.network, weights, 'tuned')
    save_restorer(source.network, file)


def _say(options: TuneOptions, source: Source, images: ImagePlan, degradation: Mapping | None, used: str,
         recognizers: Mapping[str, Recognizer]) -> None:
    """Print what will be done."""
    weights = sum(parameter.numel() for parameter in source.network.parameters())
    print(f'Restorer: {source.name} ({source.architecture}, x{source.scale}, {weights:,} weights), to lose at most '
          f'{options.max_psnr_drop:g} dB.')
    print(f'Recognizer: {used} ({recognizers[used].info.task}), {options.loss} loss. Judges that are never used: '
          f'{", ".join(name for name in recognizers if name != used) or "none (--judge NAME adds one)"}.')
    counts = images.counts
    print(f'Images: {counts[TRAIN]} to train on, {counts[CHOOSE]} to choose by, {counts[REPORT]} to report on; '
          f'{images.size}; degraded by {"--lq" if degradation is None else _words(degradation)}.', flush=True)


def _words(block: Mapping[str, Any]) -> str:
    """Return a degradation in words."""
    if block['type'] == 'Compose':
        return ', then '.join(map(_words, block['steps']))
    values = ', '.join(f'{key} {value:g}' if isinstance(value, float) else f'{key} {value}'
                       for key, value in block.items() if key != 'type')
    return f'{block["type"]}({values})'


def _say_image_loss(options: TuneOptions, seen: Probe) -> None:
    """Print what restored images stay near."""
    near = "the original's own images" if stays_near_original(options, seen) else 'clean images'
    than = 'less' if seen.psnr < seen.psnr_without else 'more'
    print(f'Image loss: the squared error to {near} (--image-loss). The restorer has {seen.psnr:.2f} dB of PSNR, '
          f'{than} than no processing ({seen.psnr_without:.2f} dB).', flush=True)


def _say_time(options: TuneOptions, images: ImagePlan, seen: Probe, judges: int) -> None:
    """Print how long it will take."""
    measured = measured_images(options, images, seen) * seen.restoring * (MEASUREMENTS + LANDING)
    judged = min(options.report_images, images.counts[REPORT])
    readings = 4 * judged + _READINGS * min(AUDITED, judged)  # clean, degraded and from two restorers; the audit's
    report = judged * 2 * seen.restoring + readings * judges * seen.reading
    total = options.steps * seen.step + measured + report
    print(f'Time: about {_duration(total)}: {options.steps} iterations of {how_many(images.batch_size, "image")} in '
          f'{_duration(options.steps * seen.step)}, PSNR in {_duration(measured)}, report in {_duration(report)}. '
          'It can be stopped; the same command goes on.', flush=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'
