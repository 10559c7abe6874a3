"""Boundary distances as tables, in Markdown and on a page with maps, and a check of the paper's claims."""
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ra_plugin.report.formats import images, listed
from ra_plugin.report.html_page import page, render
from ra_plugin.report.markdown_table import interval, percent, table
from ra_plugin.results import Estimate
from ra_plugin.studies.boundary.maps import DecisionMap, map_cards
from ra_plugin.studies.boundary.results import RA, RANDOM, BoundaryResults, PairScores
from ra_plugin.utils.atomic import atomic_write
from ra_plugin.utils.text import markdown_cell

_ROWS = {'source': 'BD(Rs)', 'target': 'BD(Rt)', 'ibd': 'IBD(Rs, Rt)', 'chance': 'IBD by chance'}
Rows = list[list[str]]
DEFINITIONS = ('BD(R), the boundary distance of a recognizer R: how far from an image, along a direction, R first '
               'answers another class. IBD(Rs, Rt), the inter-boundary distance: the absolute difference of BD(Rs) and '
               'BD(Rt) from the same image along the same direction; where it is small, what changes the answer of one '
               'changes that of the other.')


def boundary_markdown(results: BoundaryResults) -> str:
    """Return all distances as Markdown."""
    parts = [f'## {markdown_cell(results.name)}: decision boundaries', markdown_cell(facts(results))]
    parts += [markdown_cell(DEFINITIONS)]
    parts += ['\n'.join(f'- {markdown_cell(claim)}' for claim in claims(results))]
    for title, rows in tables(results):
        parts += [markdown_cell(title), table(rows)]
    return '\n\n'.join(parts) + '\n'


def write_boundary_page(results: BoundaryResults, maps: Sequence[DecisionMap], path: Path) -> None:
    """Write the distances as one HTML file, with the maps."""
    title = f'{results.name}: decision boundaries'
    body = render(
        'boundary', title=title, facts=facts(results), definitions=DEFINITIONS, claims=claims(results),
        tables=list(tables(results)),
        cards=map_cards(results, maps), plain=results.plain, ra=results.RA, command=results.command)
    atomic_write(page('boundary', title, body), path)


def facts(results: BoundaryResults) -> str:
    """Return a paragraph on the images and recognizers."""
    first = [name for name, seeds in results.seeds.items() if seeds > 1]
    of_seeds = f' Of the seeds of {listed(first)}, the first alone.' if first else ''
    return (f'{results.condition}, {images(results.n)}.{of_seeds} Source recognizer Rs: '
            f'{results.source}. From each image of {results.plain} that Rs and Rt read as the same wrong class: '
            f'along a random direction, and along the RA direction, towards the image of {results.RA}. Distances '
            'are L2 norms over all values of an image in [0, 1], not clipped; brackets are 95 % intervals over the '
            'images.')


def tables(results: BoundaryResults) -> Iterator[tuple[str, Rows]]:
    """Yield title and rows of each table; the first row is the head."""
    known = {target: scores for target, scores in results.targets.items() if scores}
    if not known:
        return
    yield ('Mean distances (laid out as table 6), over the images on which both boundaries were found. By chance: what '
           'IBD would be if each distance of Rt were that of another image.', _means(known))
    yield 'Differences on the same images.', _differences(known)
    yield ('No image dropped: a boundary that was not found up to a root mean square change of '
           f'{results.search["last"]:g} counts as infinitely far. Right: share of images whose first other label is '
           'the right one.', _all_images(known))


def _means(known: Mapping[str, PairScores]) -> Rows:
    rows = [['Rt', 'direction', RANDOM, RA]]
    for target, scores in known.items():
        directions = [scores.directions[direction] for direction in (RANDOM, RA)]
        rows.append([target, 'images', *(f'{entry.both_found} of {scores.n}' for entry in directions)])
        rows += [['', title, *(_distance(entry.mean.get(key)) for entry in directions)]
                 for key, title in _ROWS.items()]
    return rows


def _differences(known: Mapping[str, PairScores]) -> Rows:
    rows = [['Rt', 'difference', RANDOM, RA]]
    for target, scores in known.items():
        for i, key in enumerate(('source', 'target', 'chance')):
            rows.append([target if i == 0 else '', f'IBD - {_ROWS[key]}', *(
                _distance(scores.directions[direction].ibd_minus.get(key), '+') for direction in (RANDOM, RA))])
        rows += [['', f'{_ROWS[role]}: {RA} - {RANDOM}', '', _distance(_paired(scores, role), '+')]
                 for role in ('source', 'target')]
    return rows


def _all_images(known: Mapping[str, PairScores]) -> Rows:
    rows = [['Rt', 'all images', RANDOM, RA]]
    for target, scores in known.items():
        directions = [scores.directions[direction] for direction in (RANDOM, RA)]
        block = [['', f'{_ROWS[key]}, median', *(_distance(entry.median[key]) for entry in directions)]
                 for key in ('source', 'target', 'ibd')]
        block += [['', f'{_ROWS[role]}: {title}, %', *(percent(getattr(entry, key)[role]) for entry in directions)]
                  for key, title in (('found', 'found'), ('right', 'right')) for role in ('source', 'target')]
        rows += [[target, *block[0][1:]], *block[1:]]
    return rows


def _paired(scores: PairScores, role: str) -> Estimate | None:
    paired = scores.ra_minus_random[role]
    return paired and paired.estimate


def _distance(estimate: Estimate | None, sign: str = '') -> str:
    return '' if estimate is None else interval(estimate, f'{sign}.2f').replace('inf', '\u221e')


def claims(results: BoundaryResults) -> list[str]:
    """Return the paper's claims, and that IBD is below chance, with the recognizers that they hold for."""
    known = {target: scores for target, scores in results.targets.items() if scores}
    without = [target for target in results.targets if target not in known]
    found = [f'No image that Rs and {listed(without)} read as the same wrong class.'] if without else []
    if not known:
        return found

    def verdict(claim: str, estimates: Mapping[str, Sequence[Estimate | None]]) -> str:
        return f'{claim}: {_outcome(estimates)}.'

    found.append(verdict('BD is shorter along the RA direction than along a random one', {
        target: [_paired(scores, role) for role in scores.ra_minus_random] for target, scores in known.items()}))
    for direction in (RANDOM, RA):
        minus = {target: scores.directions[direction].ibd_minus for target, scores in known.items()}
        found.append(verdict(f'IBD is below BD(Rs) and BD(Rt), {direction} direction', {
            target: [entry.get(key) for key in ('source', 'target')] for target, entry in minus.items()}))
        found.append(verdict(f'IBD is below chance, {direction} direction', {
            target: [entry.get('chance')] for target, entry in minus.items()}))
    return found


def _outcome(estimates: Mapping[str, Sequence[Estimate | None]]) -> str:
    """Return the recognizers with all differences below zero, with one above it, and with neither."""
    groups: dict[str, list[str]] = {'holds for': [], 'refuted for': [], 'open for': []}
    for target, differences in estimates.items():
        if any(estimate and estimate.low > 0 for estimate in differences):
            groups['refuted for'].append(target)
        elif all(estimate and estimate.high < 0 for estimate in differences):
            groups['holds for'].append(target)
        else:
            groups['open for'].append(target)
    return '; '.join(f'{words} {listed(names)}' for words, names in groups.items() if names)
