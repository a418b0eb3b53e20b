"""Advice follows its tables: directions, intervals, and what happens when a table turns."""

from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from dualdiff import report_decision as decision
from dualdiff import results
from dualdiff.overlap import shifted_table
from dualdiff.report_advice import ADVICE
from dualdiff.report_claims import CLAIMS, wrong
from dualdiff.report_decision import Claim, Measured

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
AWAY = {"scenario": shifted_table(7.0).name}


def rows(values: list[float], half: float = 0.01, first: int = 0) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"seed": first + n, "value": v, "low": v - half, "high": v + half}
            for n, v in enumerate(values)
        ]
    )


def test_a_difference_is_paired_by_seed() -> None:
    found = decision.paired(rows([0.5, 0.7, 0.9]), rows([0.4, 0.6, 0.8]), lower=True)
    assert found.value == pytest.approx(0.1)
    assert found.high - found.low < 1e-6  # each seed says the same, however far the seeds are apart
    assert found.better == -1
    assert decision.paired(rows([0.5, 0.7]), rows([0.4, 0.8]), lower=False).better == 0


def test_only_seeds_that_both_have_count() -> None:
    found = decision.paired(rows([1.0, 2.0, 3.0]), rows([0.0, 0.0], first=1), lower=False)
    assert found.seeds == (2.0, 3.0) and found.better == 1
    with pytest.raises(ValueError, match="seeds in common"):
        decision.paired(rows([1.0]), rows([1.0], first=5), lower=True)
    with pytest.raises(ValueError, match="one row for each seed"):
        decision.paired(pd.concat([rows([1.0])] * 2), rows([1.0]), lower=True)


def test_one_seed_has_the_intervals_of_both() -> None:
    found = decision.paired(rows([0.5], half=0.03), rows([0.6], half=0.04), lower=True)
    assert found.high - found.value == pytest.approx(0.05)
    assert found.better == 1
    assert decision.paired(rows([0.58], 0.03), rows([0.6], 0.04), lower=True).better == 0


@pytest.mark.parametrize("piece", ADVICE, ids=lambda piece: piece.key)
def test_every_claim_is_borne_out_by_its_table(piece: decision.Advice) -> None:
    found = decision.gather([piece])
    assert found[piece.key], "no evidence"
    assert not decision.broken(found)


def test_a_turned_table_turns_the_sentence_and_breaks_the_page() -> None:
    claim = Claim("cabinet", "joint", "specialised", "accuracy", 1, "Cabinet")
    holds = decision.measure(claim)
    assert holds.holds and "better in each of 3 seeds" in decision.sentence(holds)
    turned = decision.measure(replace(claim, ours="specialised", theirs="joint"))
    assert not turned.holds and "worse in each of 3 seeds" in decision.sentence(turned)
    (words,) = decision.broken({"weak": (turned,), "strong": (holds,)})
    assert words.startswith("weak: ") and words.endswith("expected: better")


def test_scores_of_which_less_is_better_are_known() -> None:
    claim = Claim("cabinet", "joint", "specialised", "total_variation", 1, "Cabinet")
    assert decision.measure(claim).difference.value < 0
    metrics = {c.metric for piece in ADVICE for c in piece.claims}
    lower = {"total_variation", "energy_distance", "memorisation"}
    assert metrics - lower <= set(decision.HIGHER)


def test_a_difference_whose_interval_holds_zero_says_so() -> None:
    found = decision.paired(rows([0.1, 0.5, 0.2]), rows([0.09, 0.1, 0.1]), lower=False)
    assert found.better == 1 and found.low < 0
    assert decision.verdict(found).endswith("though the interval holds zero")
    surer = decision.paired(rows([0.5, 0.51, 0.5]), rows([0.1, 0.1, 0.1]), lower=False)
    assert decision.verdict(surer) == "better in each of 3 seeds"


def test_tables_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    found = decision.gather(ADVICE, tmp_path)
    assert not any(found.values())
    assert "not made yet" in decision.overview(ADVICE, found)
    assert "have not been made yet" in decision.entry(ADVICE[0], found[ADVICE[0].key])


def test_a_claim_about_rows_that_are_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no accuracy of 'magic'"):
        decision.measure(Claim("cabinet", "magic", "joint", "accuracy", 1, "Cabinet"))


def test_entries_hold_both_scores_the_price_and_links_to_chapters() -> None:
    found = decision.gather(ADVICE)
    text = decision.entries(ADVICE, found, "weak", "strong")
    assert (
        "✓ Cabinet, recipe thesis: total variation 0.681 ± 0.077 of *joint*, 0.938 ± 0.014" in text
    )
    assert text.count("*It costs*") == text.count("*It fails*") == 2
    chapters = {chapter for piece in ADVICE for chapter in piece.chapters}
    written = {path.stem for path in NOTEBOOKS.glob("*.ipynb")} | {"02_round_table"}
    assert chapters <= written
    table = decision.overview(ADVICE, found)
    assert len(table.splitlines()) == 2 + len(ADVICE)
    assert "to the general law" in table


def test_all_advice_is_told_on_the_page() -> None:
    notebook = nbformat.read(NOTEBOOKS / "10_which_method.ipynb", 4)
    source = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert all(f'"{piece.key}"' in source for piece in ADVICE)
    assert len({piece.key for piece in ADVICE}) == len(ADVICE)


@pytest.mark.parametrize("chapter", CLAIMS)
def test_every_claim_of_a_chapter_is_borne_out_and_asserted_there(chapter: str) -> None:
    assert not wrong(chapter)
    assert all(decision.look(some) for some in CLAIMS[chapter].values())
    pages = [nbformat.read(path, 4) for path in NOTEBOOKS.glob("*.ipynb")]
    code = ["\n".join(c.source for c in page.cells if c.cell_type == "code") for page in pages]
    assert sum(f'assert not wrong("{chapter}")' in source for source in code) == 1


def test_no_win_of_a_longer_training_is_settled() -> None:
    """Budgets are compared: a win at a larger one says what has not been run."""
    for piece in ADVICE:
        for one in decision.look(piece.claims):
            if one.claim.expected == 1 and one.favoured == 1:
                assert piece.still, decision.sentence(one)


def test_budgets_are_those_of_the_rows() -> None:
    def epochs(ours: str, theirs: str, **where: object) -> Measured:
        at = {"scenario": "cabinet", "n_specialised": 128, "finetune_epochs": 200}
        place = Claim("adaptation_tuned", ours, theirs, "total_variation", 1, "", at)
        return decision.measure(replace(place, theirs_where=where))

    long = results.load("adaptation_tuned")[1]["specialised_epochs"]
    unequal = epochs("specialised", "finetuned", finetune_epochs=500)
    assert unequal.epochs == (long, 500) and unequal.favoured == 1
    for number in (f"{long:,}", "500"):
        assert f"{number} epochs" in decision.sentence(unequal)
    for same in (epochs("finetuned", "lora_joint"), epochs("joint", "specialised")):
        assert same.favoured == 0 and "epochs" not in decision.sentence(same)
    assert epochs("lora", "specialised").favoured == -1
    exact = Claim("sweep", "joint", "specialised", "accuracy", 1, "", {"recipe": "exact"})
    assert decision.measure(replace(exact, where={**AWAY, "recipe": "exact"})).epochs == (0, 0)


def test_floors_are_told_where_they_differ() -> None:
    at = {"scenario": "cabinet", "finetune_epochs": 500}
    claim = Claim("weights", "stacked", "finetuned", "total_variation", 0, "", {"recipe": "tuned"})
    claim = replace(claim, where={**claim.where, "scenario": "cabinet"}, theirs_where=at)
    found = decision.measure(replace(claim, theirs_part="adaptation_tuned"))
    assert found.floors[0] < found.floors[1]  # more samples, a lower floor
    assert all(f"{floor:.3f}" in decision.sentence(found) for floor in found.floors)


def test_names_of_claims() -> None:
    assert decision.name("smc", "robot") == "joint, SMC"
    assert decision.name("specialised", "cabinet") == "specialised alone"
    general = Claim("adaptation", "a", "b", "total_variation", 1, "", {"target": "general"})
    assert decision.metric_name(general) == "total variation to the general law"
    other = Measured(
        replace(general, ours="lora", theirs="lora", theirs_where={"recipe": "tuned"}),
        (0.5, 0.4, 0.6),
        (0.6, 0.5, 0.7),
        decision.paired(rows([0.5]), rows([0.6]), lower=True),
    )
    assert "of *LoRA (tuned)*" in decision.sentence(other)


def test_further_numbers_are_folded() -> None:
    piece = ADVICE[0]
    found = decision.gather([piece])[piece.key]
    text = decision.entry(piece, found)
    folded = text.split("<details>")[1]
    assert f"{len(found) - 1} more numbers" in folded and folded.count("\n- ") == len(found) - 1
    assert "<details>" not in decision.entry(piece, found[:1])
