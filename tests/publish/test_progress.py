"""What a run says where there is no terminal."""

import pytest

from dualdiff.publish import progress


@pytest.mark.parametrize("quiet", [False, True])
def test_a_long_piece_says_now_and_then_where_it_is(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.Progress("run", "page", 1, quiet) as shown:
        shown.begin()
        shown.at("a")
        for cell, seconds in enumerate((1, 15, 10, 1, 30, 1), 1):
            now[0] += seconds
            shown.at("a", cell, 6)
        shown.finish("a")
    lines = capsys.readouterr().err.splitlines()
    said = [line for line in lines if "cell" in line]
    assert said == ([] if quiet else ["a: cell 3 of 6", "a: cell 5 of 6"])
