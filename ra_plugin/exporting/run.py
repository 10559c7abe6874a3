"""Export of a network: the file is made and checked in memory, then written with its card."""
from dataclasses import dataclass
from pathlib import Path

from ra_plugin.exporting.model_card import model_card
from ra_plugin.exporting.onnx_file import OnnxFile, onnx_file
from ra_plugin.exporting.safetensors_file import weights_file
from ra_plugin.options import OptionError
from ra_plugin.restoring.run_network import named_weights, network_with
from ra_plugin.utils.atomic import atomic_write, written_aside
from ra_plugin.utils.out_folder import check_out_file, from_here

ENDINGS = ('.onnx', '.safetensors')


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        out: File to write, whose ending is one of `ENDINGS`; the card is beside it.
        size: Height and width of all images that an ONNX file is for; None: any.
        machine: The transformer ``network_t`` runs after ``network_g``.
        overwrite: Files that are there already are replaced.
    """

    out: Path
    size: tuple[int, int] | None = None
    machine: bool = False
    overwrite: bool = False

    @property
    def card(self) -> Path:
        """File of the model card."""
        return self.out.with_suffix('.md')

    def __post_init__(self):
        ending = self.out.suffix
        if ending not in ENDINGS:
            raise OptionError(f"--out: expected a file that ends in {' or '.join(ENDINGS)}, got '{self.out}'.")
        if ending == '.safetensors' and self.machine:
            raise OptionError('--machine: a safetensors file has the weights of one network, and these are two. Write '
                              f'them as ONNX: --out {self.out.with_suffix(".onnx").name}.')
        if ending == '.safetensors' and self.size:
            raise OptionError('--size: weights are for images of any size. Leave it out, or write ONNX.')


def export(named: str, root: Path, options: ExportOptions) -> None:
    """Write the network of a run or a file, and its card.

    Args:
        named: As `named_network` takes it.
        root: Folder of ``experiments``.
        options: How.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        OptionError: There is no such network, a file cannot be written there, or the network cannot be exported so.
        ValueError: The file does not give what the network gives.
    """
    weights = named_weights(named, root)
    for file in (options.out, options.card):
        check_out_file(file, options.overwrite, (weights.file,))
    fitted = network_with(weights, root, options.machine, 'Networks for color are exported.')
    made = weights_file(fitted) if options.out.suffix == '.safetensors' else onnx_file(fitted, options.size, named)
    if isinstance(made, OnnxFile):
        sizes = ', '.join(dict.fromkeys(f'{height}x{width}' for _, height, width in made.shapes))
        free = 'images of any size' if 'H' in made.free else f'images of {made.shapes[0][1]}x{made.shapes[0][2]} pixels'
        many = 'any number at a time' if 'N' in made.free else 'one at a time'
        print(f'ONNX for {free}, {many}; checked on {sizes} (height x width): differs from PyTorch by at most '
              f'{made.difference:.1e} of the range [0, 1].', flush=True)
    else:
        reader = 'by spandrel' if made.opens_in_spandrel else 'into the same architecture, which spandrel does not know'
        print(f'Read back {reader}: differs by at most {made.difference:.1e} of the range [0, 1].', flush=True)
    card = model_card(options.out, made, fitted, weights, root)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(options.out) as file:
        file.write(made.content)
    atomic_write(card, options.card)
    print(f'Model card: {from_here(options.card)}.', flush=True)
