"""Runs that are opened again: the latest, its files, its spec."""

import pytest

from ablate.config.compose import compose, to_config
from ablate.config.overrides import ConfigError
from ablate.config.recorded import read_spec
from ablate.tasks.classify.spec import RunSpec
from ablate.tracking import Store, TrackingError, TrackingSpec, fetch_artifact, latest_run


@pytest.fixture
def store(store_uri):
    return Store(TrackingSpec(uri=store_uri))


def _run(store, status="finished", **artifacts):
    writer = store.start_run("r", {}, {})
    for name, content in artifacts.items():
        writer.artifact(f"{name}.txt", content)
    if status is not None:
        writer.finish(status)
    return writer.run_id


def test_latest_run_is_the_last_one_that_finished(store, store_uri):
    _run(store)
    last = _run(store)
    for status in ("diverged", "failed", "killed", None):
        _run(store, status)
    store.sweep_run("s", {"ablate.sweep": "{}"})
    assert latest_run(TrackingSpec(uri=store_uri)) == last


def test_latest_run_of_none_says_so(store, store_uri, tmp_path):
    with pytest.raises(TrackingError, match=r"a finished run must be in sqlite:///.*there is none"):
        latest_run(TrackingSpec(uri=store_uri))
    with pytest.raises(TrackingError, match="there are no records"):
        latest_run(TrackingSpec(uri=f"sqlite:///{tmp_path}/none.db"))
    assert not (tmp_path / "none.db").exists()


def test_fetch_artifact_copies_the_file_of_the_run_that_is_named(store, store_uri, tmp_path):
    first = _run(store, note="one")
    _run(store, note="two")
    path = fetch_artifact(TrackingSpec(uri=store_uri), first, "note.txt", tmp_path)
    assert path.parent == tmp_path and path.read_text() == "one"


def test_fetch_artifact_names_the_run_or_file_that_is_missing(store, store_uri, tmp_path):
    run = _run(store, note="one")
    with pytest.raises(TrackingError, match=r"run .* must hold the artifact model.keras, it has note.txt; .*log_model"):
        fetch_artifact(TrackingSpec(uri=store_uri), run, "model.keras", tmp_path)
    with pytest.raises(TrackingError, match="got 'nobody'; it has 1 runs"):
        fetch_artifact(TrackingSpec(uri=store_uri), "nobody", "note.txt", tmp_path)


def test_read_spec_gives_back_what_a_run_recorded(tmp_path):
    from omegaconf import OmegaConf

    spec = to_config(compose(["model=keras_io_cct", "data=digits", "train.epochs=3", "seed=4"])).point()
    path = tmp_path / "config.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.structured(spec)))
    assert read_spec(path) == spec
    path.write_text("train: {epochs: 7}\n")
    assert read_spec(path).train.epochs == 7 and read_spec(path).model == RunSpec().model
    path.write_text("train: {epoch: 7}\n")
    with pytest.raises(ConfigError, match=r"config.yaml must hold the spec of a run, but: .*epoch"):
        read_spec(path)
