"""Files of settings of a user's own, in a working folder of the test's."""

import pytest


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes conf/GROUP/mine.yaml in a working folder of its own; gives the file."""
    monkeypatch.chdir(tmp_path)

    def write(group, content, name="mine"):
        file = tmp_path / "conf" / group / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """Makes a working folder of this name, with a file of settings of its own."""

    def make(folder, text, name="mine"):
        path = tmp_path / folder / "conf" / "model"
        path.mkdir(parents=True)
        (path / f"{name}.yaml").write_text(text)
        monkeypatch.chdir(tmp_path / folder)
        return path / f"{name}.yaml"

    return make
