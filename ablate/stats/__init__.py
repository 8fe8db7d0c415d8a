"""Numbers -> estimates, intervals and verdicts; imports no other part of ablate.

What needs scipy.stats imports it at its call, so that a report without verdicts does not wait for them.
"""

from ablate.stats.contrasts import analyse as analyse
from ablate.stats.design import Observation as Observation
from ablate.stats.estimates import Estimate as Estimate
from ablate.stats.estimates import best_of as best_of
from ablate.stats.estimates import count_interval as count_interval
from ablate.stats.estimates import example_interval as example_interval
from ablate.stats.estimates import mean_interval as mean_interval
from ablate.stats.power import seeds_needed as seeds_needed
from ablate.stats.verdicts import Kind as Kind
from ablate.stats.verdicts import Verdict as Verdict
from ablate.stats.verdicts import alpha_spending as alpha_spending
from ablate.stats.verdicts import judge as judge
from ablate.stats.verdicts import verdict as verdict
