"""The engine's own settings: apart from those of a run, and refused where they make no sense."""

from dataclasses import fields

import pytest

from ablate.config.overrides import ConfigError
from ablate.config.schema import EngineConfig, StudySpec
from ablate.contract import task


def test_a_configuration_is_the_tasks_run_and_then_the_engines_settings():
    run, engine = ([field.name for field in fields(kind)] for kind in (task().run, EngineConfig))
    assert [field.name for field in fields(task().config)] == run + engine
    assert issubclass(task().config, EngineConfig) and not set(run) & set(engine)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers": 0}, "workers must be at least 1 and at most 10,000, got 0."),
        ({"retries": 1001}, "retries must be at least 0 and at most 1,000, got 1,001."),
        ({"study": StudySpec(heartbeat_seconds=0)}, "study.heartbeat_seconds must be at least 1"),
        ({"study": StudySpec(storage="redis://here")}, "study.storage must be a SQLite or PostgreSQL database"),
    ],
)
def test_settings_of_the_engine_are_checked_without_a_run(settings, said):
    EngineConfig().check_places()
    with pytest.raises(ConfigError) as told:
        EngineConfig(**settings).check_places()
    assert said in str(told.value)
