"""Parsing of a black box's JSON: the output of another program, of which nothing is taken for granted."""
import json
from collections.abc import Mapping
from typing import Any

from ra_plugin.utils.text import printable

Answer = list[tuple[str | int, float | None]]  # label (a name or a class id) and score, best first

_LONGEST_LABEL = 500
_LARGEST_SCORE = 1e12


def read_json(content: bytes) -> Any:
    """Parse JSON; the ValueError raised where it is none shows how the content begins."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f'expected JSON, got {shown(content)}') from None


def read_answer(answer: Any, path: str, label_key: str, score_key: str) -> Answer:
    """Return labels with their scores, best first; in the order of the answer where not all have a score.

    Args:
        answer: A list of labels, or of ``{label, score}``, one of these alone, or an object that holds it.
        path: Where: keys and indexes with dots between them, ``responses.0.labels``. ``''``: the answer itself, or
            what it has under ``labels``.
        label_key: Key of the label in an object.
        score_key: Key of its score; without it there is none.

    Raises:
        ValueError: It is something else.
    """
    items = _found(answer, path)
    read = [_read_item(item, label_key, score_key) for item in (items if isinstance(items, list) else [items])]
    if all(score is not None for _, score in read):
        read.sort(key=lambda item: item[1] or 0, reverse=True)
    return read


def _found(answer: Any, path: str) -> Any:
    if not path:
        return answer['labels'] if isinstance(answer, Mapping) and 'labels' in answer else answer
    for key in path.split('.'):
        if isinstance(answer, Mapping) and not answer:
            return []  # an object with nothing in it: nothing was seen
        if isinstance(answer, list) and key.isdecimal() and int(key) < len(answer):
            answer = answer[int(key)]
        elif isinstance(answer, Mapping) and key in answer:
            answer = answer[key]
        else:
            raise ValueError(f"no '{key}' of answer: {path} in {shown(answer)}. Set answer to where the labels are")
    return answer


def _read_item(item: Any, label_key: str, score_key: str) -> tuple[str | int, float | None]:
    label, score = (item.get(label_key), item.get(score_key)) if isinstance(item, Mapping) else (item, None)
    is_number = isinstance(score, (int, float)) and not isinstance(score, bool)
    if isinstance(label, bool) or not isinstance(label, (str, int)) or len(str(label)) > _LONGEST_LABEL:
        raise ValueError(f"expected a label, or an object with '{label_key}', got {shown(item)}. Set answer and "
                         'label_key to where the labels are')
    if score is not None and not (is_number and abs(score) < _LARGEST_SCORE):
        raise ValueError(f"expected a number for '{score_key}', got {shown(item)}. Set score_key to where it is")
    if isinstance(label, str):
        label = label.encode(errors='replace').decode()  # JSON may hold halves of characters, which nothing can write
    return label, None if score is None else float(score)


def shown(content: Any, most: int = 120) -> str:
    """Return the beginning of some content, safe to print to a terminal."""
    text = content.decode(errors='replace') if isinstance(content, bytes) else content
    text = text if isinstance(text, str) else repr(text)
    text = printable(' '.join(text[:10 * most].split()))
    return f'{text[:most]} ...' if len(text) > most else text or 'nothing'
