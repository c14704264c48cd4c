"""The conventions of BIDS Apps, as far as words go: nothing is preprocessed here."""

from pathlib import Path

import pytest

from tests.e2e.in_process import call


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw" / "sub-01").mkdir(parents=True)
    return tmp_path / "raw"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["both"], "the level is 'both'; allowed: participant, group"),
        (["participant", "--participant-label", "02"], "no sub-02; it has sub-01 to sub-01 (1)"),
        (["participant", "--participant_label", "01", "sub-02"], "no sub-02; it has sub-01 to sub-01 (1)"),
        (["participant", "02"], "'02' found after the level; allowed: options"),
        (["group", "--participant-label", "01"], "--participant-label is of level participant"),
        (["group", "--grid", "1x2x3"], "--grid is of level participant; leave it out"),
        (["participant", "--participant-label", ""], "--participant-label is empty"),
        (["participant", "--model", "nothing", "--b", "900"], "--b is the model's own"),
        (["group"], "nobody was preprocessed yet; run level participant first"),
        (["participant", "--model", "nothing"], "nothing: neither a study that was started, nor a promoted checkpoint"),
        (["participant"], "1 patients refused (above); none is done"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    answer = call(capsys, "bids", str(raw), str(tmp_path / "out"), *words)

    assert answer.code == 2
    assert said in " ".join(answer.err.split())
    assert "Traceback" not in answer.err
    assert [path.name for path in raw.iterdir()] == ["sub-01"]
