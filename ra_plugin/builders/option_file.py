"""Read a BasicSR option file from the command line, and check it."""
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.utils import set_random_seed
from basicsr.utils.options import parse_options as basicsr_parse_options

from ra_plugin.builders.file_check import BLOCKS, check_file, is_recognition_aware, leaves
from ra_plugin.builders.forced_options import check_forced
from ra_plugin.builders.option_paths import resolve_paths, training_file
from ra_plugin.builders.run_options import check_seed
from ra_plugin.builders.unread_keys import SET_BY_RUN
from ra_plugin.options import OptionError, check_type, missing
from ra_plugin.utils.processes import of_first
from ra_plugin.utils.yaml_file import read_yaml


def parse_options(root: str | Path, is_train: bool) -> tuple[dict, Any]:
    """Parse and validate an option file from BasicSR's command line before anything is built or written.

    The recognition-aware model is switched on where the file asks for it.

    Relative paths in the file are taken from the current folder, and where nothing is there, from ``root``: a shipped
    option file works from any folder.

    Returns:
        The options, and the parsed command line.

    Raises:
        OptionError: One line on what is wrong, with its place in the file.
    """
    if 'pytorch' in sys.argv and 'RANK' not in os.environ:
        raise OptionError('--launcher pytorch: start it with torchrun, e.g. torchrun --nproc_per_node 4 -m ra_plugin '
                          'train -opt FILE --launcher pytorch')
    check_forced(sys.argv[1:])
    try:
        with contextlib.redirect_stdout(None):  # 'Disable distributed.'
            opt, args = basicsr_parse_options(str(root), is_train=is_train)
    except (yaml.YAMLError, OSError) as error:
        raise OptionError(f'option file: {error}') from None
    except KeyError as error:
        content: Any = _content()
        lacks = isinstance(content, Mapping) and error.args[0] not in content
        raise missing(error.args[0], content if lacks else (), 'option file') from None
    except OptionError:  # one of ours, already in words
        raise
    except ValueError:  # a seed that numpy refuses
        _check_first_keys(_content())
        raise
    except (TypeError, AttributeError) as error:  # a list, a bare word or nothing where a block of keys belongs
        _check_first_keys(_content())
        raise OptionError(f"option file: expected blocks of keys, as in BasicSR's option files ({error}).") from error
    if opt['dist'] and opt['num_gpu'] == 0 and torch.distributed.get_backend() == 'nccl':
        raise OptionError('num_gpu: 0 with --launcher on a machine with GPUs: its processes talk through these. Set '
                          'CUDA_VISIBLE_DEVICES= (empty) before the command to train on the CPU.')
    # without manual_seed BasicSR draws one in each process, and they would share no order of the images
    opt['manual_seed'] = of_first(opt['manual_seed'])
    set_random_seed(opt['manual_seed'] + opt['rank'])  # BasicSR seeds before --force_yml can change the seed
    opt['root_path'] = str(root)
    import_own(opt)
    resolve_paths(opt, Path(root), training_file(opt))
    if isinstance(opt.get('logger'), dict):
        opt['logger'].setdefault('use_tb_logger', False)
    check_file(opt)
    if opt['model_type'] != 'RecogAwareModel' and is_recognition_aware(opt):
        opt['base_model_type'], opt['model_type'] = opt['model_type'], 'RecogAwareModel'
    return opt, args


def folders_not_taken(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each folder that the option file or the command line names, and BasicSR puts elsewhere."""
    content = _content()
    named = dict((content.get('path') or {}) if isinstance(content, Mapping) else {})
    for argument in sys.argv[1:]:
        key, is_forced, value = argument.partition('=')
        if is_forced and key.startswith('path:'):
            named[key.removeprefix('path:')] = None if value in ('~', 'null', 'none') else value
    for key in sorted(SET_BY_RUN['path',] & named.keys() & opt.get('path', {}).keys()):
        taken = Path(opt['path'].get(key) or '')
        if named[key] is not None and Path(str(named[key])) not in (taken, *taken.parents):
            yield (f'path.{key}: {named[key]!r} has no effect: BasicSR takes {taken}. '
                   'To keep it elsewhere, make that a link.')


def _check_first_keys(content: object) -> None:
    """Check what BasicSR uses while it reads the file, so that its own error need not be shown."""
    if not isinstance(content, Mapping):
        return
    check_type(content.get('name', ''), str, 'name')
    if content.get('manual_seed') is not None:
        check_seed(content['manual_seed'])
    for key, hint in BLOCKS.items():
        check_type(content.get(key, {}), hint | None, key)


def _content() -> object:
    """Return what the option file of the command line holds, before BasicSR has read it."""
    file = next((sys.argv[i + 1] for i, flag in enumerate(sys.argv[:-1]) if flag == '-opt'), None)
    return read_yaml(file, 'option file') if file else None


def import_own(opt: Mapping[str, Any]) -> None:
    """Import the modules of ``custom_imports``: a user's recognizers, losses, architectures register themselves."""
    check_type(opt.get('custom_imports'), Sequence[str] | None, 'custom_imports')
    if opt.get('custom_imports') or any(where.endswith('.module') for where, _ in leaves(opt)):
        sys.path.append(os.getcwd())  # a colleague's module beside the option file's data is found without PYTHONPATH
    for module in opt.get('custom_imports') or ():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f'{module}.'.startswith(f'{error.name}.'):
                raise  # it is there; something that it imports is not
            raise OptionError(f"custom_imports: no module '{error.name}'. Is its folder on PYTHONPATH?") from None
