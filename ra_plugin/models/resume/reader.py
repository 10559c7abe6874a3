"""Reading of the training state from which a run is resumed; damaged ones are skipped with a warning."""
from collections import Counter
from pathlib import Path

import torch
from basicsr.utils import check_resume, get_root_logger

from ra_plugin.checkpoint import OWN_KEY, load_file
from ra_plugin.utils.atomic import is_intact


def load_resume_state(opt: dict) -> dict | None:
    """Load the training state selected by the options, and set ``pretrain_network_*`` to its networks.

    The file is read with ``weights_only``: it may contain tensors, numbers, text, lists, dicts and counters (the
    milestones of a schedule), but no code. Tensors are loaded to the CPU; the optimizer moves them to the device of its
    parameters.

    Args:
        opt: Parsed options. ``auto_resume`` selects the newest state of the experiment whose files are all intact, and
            warns about damaged ones; otherwise ``path.resume_state`` is used.

    Returns:
        The state, or None if there is nothing to resume.

    Raises:
        ValueError: There are states, but none is intact.
    """
    if opt['auto_resume']:
        states = [path for path in Path(opt['path']['training_states']).glob('*.state') if path.stem.isdigit()]
        states.sort(key=lambda path: int(path.stem), reverse=True)
    else:
        states = [Path(opt['path']['resume_state'])] if opt['path'].get('resume_state') else []
    if not opt['auto_resume'] and states and not states[0].is_file():
        raise ValueError(f'path.resume_state: no file {states[0]}.')
    for path in states:
        state = _read_state(path)
        damaged = path if state is None else _damaged_network(state, opt)
        if state is not None and damaged is None:
            opt['path']['resume_state'] = str(path)
            names = _networks(state, opt)
            others = {key: value for key, value in opt['path'].items()
                      if key.startswith('pretrain_network_') and key.removeprefix('pretrain_network_') not in names}
            check_resume(opt, state['iter'])
            for name in (key.removeprefix('network_') for key in opt if key.startswith('network_')):
                if name not in names:  # the run never saves it, so it is still the one from the start
                    opt['path'][f'pretrain_network_{name}'] = others.get(f'pretrain_network_{name}')
            return state
        get_root_logger().warning(f'{damaged}: missing or damaged, so {path.name} cannot be resumed from.')
    if states:
        raise ValueError(f'{states[0].parent}: no training state is intact. See the warnings above; to start again, '
                         "move this run's folder away.")
    return None


def _read_state(path: Path) -> dict | None:
    """Return a training state, or None for a damaged file; raise ValueError for another kind of file."""
    if not is_intact(path):
        return None
    with torch.serialization.safe_globals([Counter]):
        state = load_file(path, 'path.resume_state')
    if not isinstance(state, dict) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= state.keys():
        raise ValueError(f'path.resume_state: {path} is not a training state. Training states end in .state.')
    return state


def _networks(state: dict, opt: dict) -> list[str]:
    """Return the networks saved with a state that are to be resumed, e.g. ``['g', 'd']``."""
    kept = opt['path'].get('ignore_resume_networks') or ()
    saved = (state.get(OWN_KEY) or {}).get('networks')
    names = [key.removeprefix('network_') for key in opt if key.startswith('network_')] if saved is None else saved
    return [name for name in names if f'network_{name}' not in kept]


def _damaged_network(state: dict, opt: dict) -> Path | None:
    """Return the first network file of a state that is missing or damaged; None if all are intact."""
    files = (Path(opt['path']['models']) / f'net_{name}_{state["iter"]}.pth' for name in _networks(state, opt))
    return next((file for file in files if not is_intact(file)), None)
