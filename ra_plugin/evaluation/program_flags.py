"""Checks of flags that several programs have: device, batch size and workers."""
import torch

from ra_plugin.options import OptionError, check_number


def device_of(name: str | None) -> torch.device:
    """Return the device of that name, or a GPU where there is one.

    Raises:
        OptionError: torch has no such device, or cannot use it here.
    """
    try:
        device = torch.device(name or ('cuda' if torch.cuda.is_available() else 'cpu'))
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(f"--device: expected a device that torch can use here, e.g. cpu, got '{name}' "
                          f'({str(error).splitlines()[0][:120]}).') from None
    return device


def check_loading(batch_size: int, num_workers: int = 0) -> None:
    """Check how images are loaded.

    Raises:
        OptionError: No image at a time, or less than no process.
    """
    check_number(batch_size, '--batch-size', least=1, whole=True)
    check_number(num_workers, '--num-workers', least=0, whole=True)
