"""A study's name outlives a later version's fields of a search."""

from dataclasses import asdict, field, make_dataclass, replace

from ablate.design.search import Objective, Search
from ablate.design.sweep import Pruner, Sampler
from ablate.sweep.study_name import study_name

SEARCH = Search((), (Objective("final.val_top1_percent", True),), 3, Sampler.tpe, Pruner.none, 2)


def test_a_study_keeps_its_name_in_a_version_whose_search_has_a_field_more():
    later = make_dataclass("Later", [("warm", int, field(default=0))], bases=(Search,), frozen=True)
    search = later(**asdict(SEARCH) | {"objectives": SEARCH.objectives})
    assert study_name("s", [], search) == study_name("s", [], SEARCH)
    assert study_name("s", [], replace(search, warm=1)) != study_name("s", [], SEARCH)
