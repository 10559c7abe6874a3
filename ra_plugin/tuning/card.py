"""The result in words, and the model card: a README.md as model hubs show it beside a file of weights."""
import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ra_plugin.report.formats import DASH
from ra_plugin.report.markdown_table import printed
from ra_plugin.report.table_types import Table
from ra_plugin.report.tables import color_scale, difference_table, score_table
from ra_plugin.report.verdict import Verdict, verdicts
from ra_plugin.results import Results
from ra_plugin.tuning.image_plan import CHOOSE, REPORT, TRAIN, ImagePlan
from ra_plugin.tuning.option_files import TUNED
from ra_plugin.tuning.options import TuneOptions
from ra_plugin.tuning.source import Source
from ra_plugin.utils.text import how_many
from ra_plugin.version import __version__

_CARD = '''---
library_name: spandrel
pipeline_tag: image-to-image
tags: [image-restoration, recognition-aware, ra_plugin]
---
# {name}

{kind} of scale {scale}, tuned from `{source}` so that {recognizer} reads its images better.

**{headline}.**

{sentences}

Figures are of {n} images that neither trained nor chose the network, with 95 % intervals over these images (one
training, seed {seed}); `report.html` has the pictures, `results.json` all numbers.

{scores}

{differences}

## How it was made

| what | value |
|---|---|
| command | `{command}` |
| original | `{source}`, SHA-256 {source_digest} |
| this file | `{file}`, SHA-256 {digest} |
| recognizer in the loss | {recognizer}, {loss} loss, weight {weight:g} at the start |
| image loss | squared error to {near} |
| budget | at most {budget:g} dB{counted}, held on {measured} images |
| images | {train} to train on, {choose} to choose by, {report} to report on (at most {most} of them), {size} |
| degradation | {degradation} |
| training | {steps} iterations of {batch}, Adam, rate {lr:g} |
| versions | ra_plugin {version} |

## Use it

{use}

## Limits

What it gains on other images, degradations and recognizers is not known from these figures. Its licence is that of the
original weights and of the images and recognizers used: look at them before you pass it on.
'''
_OF_FILE = '''The file opens where the original does, e.g. in chaiNNer and ComfyUI, and with

```sh
ra-plugin restore {file} FOLDER --out restored
```'''
_OF_RUN = '''The weights are for the network of the original training:

```yaml
{block}
```'''


def verdict(results: Results) -> Verdict:
    """Return what the report says of the tuned restorer."""
    condition = next(iter(results.conditions))
    return next(one for one in verdicts(results, condition) if one.restorer == TUNED)


def summary(results: Results) -> Iterator[str]:
    """Yield the result line by line."""
    found = verdict(results)
    yield f'{found.headline}.'
    for topic, sentence in found.sentences:
        yield f'  {topic}: {sentence}'


def card(options: TuneOptions, source: Source, images: ImagePlan, run: Mapping[str, Any], results: Results, used: str,
         file: Path) -> str:
    """Return the model card of a tuned restorer, in Markdown."""
    condition, found = next(iter(results.conditions)), verdict(results)
    train, is_own = run['train'], 'anchor_opt' in run['train']
    block = ''.join(f'{key}: {value}\n' for key, value in source.network_g.items()).rstrip()
    return _CARD.format(
        name=file.stem, kind=source.architecture, scale=source.scale,
        source=source.file.name, recognizer=used, headline=found.headline,
        sentences='\n'.join(f'- {topic}: {sentence}' for topic, sentence in found.sentences),
        n=results.conditions[condition].n, seed=options.seed,
        scores=_main(score_table(results, condition)),
        differences=_main(difference_table(results, condition, color_scale(results))),
        command=_without_folders(results.command) or DASH, source_digest=_digest(source.file), file=file.name,
        digest=_digest(file), loss=options.loss, weight=train['recog_opt']['loss_weight'], budget=options.max_psnr_drop,
        near="the original's own images" if is_own else 'clean images',
        counted=', counted by the change of the images (docs/RESTORERS.md)' if is_own else ' of PSNR',
        measured=train['recog_budget']['images'], train=images.counts[TRAIN],
        choose=images.counts[CHOOSE], report=images.counts[REPORT], most=options.report_images, size=images.size,
        degradation='files of --lq' if options.lq else options.degradation or f'bicubic, x{source.scale}',
        steps=train['total_iter'], batch=how_many(images.batch_size, 'image'), lr=train['optim_g']['lr'],
        version=__version__,
        use=(_OF_FILE if source.is_file_alone else _OF_RUN).format(file=shlex.quote(file.name), block=block))


def _main(table: Table) -> str:
    return printed(table.select(('quality',), ('main',), but=['ssim']))


def _without_folders(command: str) -> str:
    """Return a command line whose absolute paths are names alone: a card is passed on."""
    return shlex.join(Path(word).name if os.path.isabs(word) else word for word in shlex.split(command))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
