"""Examples of a report: the images that `shown_image_rules` has drawn, with the answers to them."""
from ra_plugin.evaluation.nearest_identity import with_nearest
from ra_plugin.evaluation.run import Evaluation, PreparedCondition
from ra_plugin.results import Example


def examples(evaluation: Evaluation) -> list[Example]:
    """Return the examples of every condition.

    Args:
        evaluation: It has run. Images that were judged in an earlier run and not kept are made again.
    """
    return [example for condition in evaluation.conditions for example in _examples(evaluation, condition)]


def _examples(evaluation: Evaluation, condition: PreparedCondition) -> list[Example]:
    shown, matrix = evaluation.shown[condition.name], evaluation.matrices[condition.name]
    classes = getattr(condition.dataset, 'classes', None)
    shown.make_missing(lambda numbers: evaluation.batches(condition, numbers, 1))
    names = [name for name, seed in evaluation.judging(condition).processings if seed == 0]
    found = []
    for number, rule in shown.drawn:
        truth, path = shown.label_and_name(number)
        found.append(Example(
            condition.name, number, rule.text, rule.kind, rule.restorer, rule.recognizer, truth,
            {name: shown.image(number, name).numpy() for name in names},
            {name: {judge: with_nearest(shown.answer(number, name, judge), matrix, name, judge, number, classes)
                    for judge in condition.recognizers} for name in names},
            path))
    return found
