"""Results of an evaluation as frozen dataclasses, from the statistics to the page, and as JSON."""
from ra_plugin.results.codec import MalformedResults, from_plain, to_plain
from ra_plugin.results.comparison import Audit, CleanInput, CleanInputEntry, RestorerAudit, Spectrum
from ra_plugin.results.condition import (
                                         CLEAN,
                                         NONE,
                                         Chance,
                                         ClassHarm,
                                         CommonestAnswer,
                                         Condition,
                                         DataGiven,
                                         Difference,
                                         Family,
                                         Harm,
                                         Processing,
                                         Variety,
)
from ra_plugin.results.estimate import LEAST_GAP, Change, Estimate, Score, Seeds
from ra_plugin.results.evaluation import (
                                         SCHEMA,
                                         MetricFacts,
                                         QualityFacts,
                                         RecognizerFacts,
                                         RestorerFacts,
                                         Results,
                                         main_metric,
)
from ra_plugin.results.examples import Answer, Example
from ra_plugin.results.sweep import Sweep, SweepChoice, Weighed

__all__ = [
    'CLEAN', 'LEAST_GAP', 'NONE', 'SCHEMA', 'Answer', 'Audit', 'Chance', 'Change', 'ClassHarm', 'CleanInput',
    'CleanInputEntry', 'CommonestAnswer', 'Condition', 'DataGiven', 'Difference', 'Estimate', 'Example', 'Family',
    'Harm', 'MalformedResults', 'MetricFacts', 'Processing', 'QualityFacts', 'RecognizerFacts', 'RestorerAudit',
    'RestorerFacts', 'Results', 'Score', 'Seeds', 'Spectrum', 'Sweep', 'SweepChoice', 'Variety', 'Weighed',
    'from_plain', 'main_metric', 'to_plain']
