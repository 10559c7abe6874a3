"""An evaluation from its option file to its report: ``results.json``, ``tables.md`` and ``report.html``."""
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ra_plugin.builders.forced_options import as_arguments
from ra_plugin.evaluation.options import read_options
from ra_plugin.evaluation.program_flags import check_loading
from ra_plugin.evaluation.report_examples import examples
from ra_plugin.evaluation.run import Evaluation
from ra_plugin.report.markdown import to_markdown
from ra_plugin.report.page import write_page
from ra_plugin.results import Results
from ra_plugin.shipped.find import shown_name
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.out_folder import check_out_folder


def run_evaluation(root: Path, file: Path, out: Path | None, batch_size: int, num_workers: int,
                   device: str | None = None, restart: bool = False, force_yml: Sequence[str] | None = None
                   ) -> tuple[str, Path]:
    """Evaluate as an option file says, and return the tables and the folder.

    Args:
        root: Folder of ``experiments`` and ``results``; relative paths are looked up below it.
        file: The option file.
        out: Folder of the results. Default: ``results/NAME`` below ``root``.
        batch_size: Images at a time.
        num_workers: Processes that read and degrade images.
        device: Device of torch. Default: a GPU where there is one.
        restart: Remove earlier records instead of going on from them.
        force_yml: Changes of the options, see `forced`.
    """
    check_loading(batch_size, num_workers)
    opt = read_options(file, force_yml)
    check_out_folder(out or root / 'results')
    evaluation = Evaluation(root, opt, device)
    out = out or root / 'results' / evaluation.options.name
    command = shlex.join(['ra-plugin', 'evaluate', '-opt', shown_name(file), *as_arguments(force_yml)])
    results = evaluate(evaluation, out, batch_size, num_workers, restart, command)
    return to_markdown(results), out


def evaluate(evaluation: Evaluation, out: Path, batch_size: int, num_workers: int = 0, restart: bool = False,
             command: str = '', **more: Any) -> Results:
    """Run an evaluation, write its files to ``out``, and return the results; ``more`` is added to them."""
    results, _ = evaluation.run(out, batch_size, num_workers, restart, command)
    results = replace(results, more=more)
    write_results(evaluation, results, out)
    return results


def write_results(evaluation: Evaluation, results: Results, out: Path) -> None:
    """Write what `Evaluation.run` gave: figures, tables and page."""
    atomic_write(json.dumps(results.to_json(), indent=1), out / 'results.json')
    atomic_write(to_markdown(results), out / 'tables.md')
    write_page(results, examples(evaluation), out / 'report.html')
