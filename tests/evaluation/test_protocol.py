"""The protocol names what differs between two evaluations."""

from lorarec.evaluation.protocol import differences, protocol_lines
from lorarec.pipeline.assemble import gather_run_data, open_recipe
from lorarec.pipeline.evaluate import measure


def rules(tiny_checkpoint, *overrides):
    source = {"name": "synthetic", "users": 30, "items": 40, "events": 300}
    recipe = {
        "name": "p",
        "data": {"source": source, "split": {"by": "time", "validation": 0.2, "test": 0.2}},
        "backbone": {"name": "text", "checkpoint": str(tiny_checkpoint("bert"))},
        "adapter": "lora",
        "head": "next_item",
    }
    run_data = gather_run_data(open_recipe(recipe, overrides))
    return measure(run_data, {}, None)["protocol"]


def test_it_is_readable_and_the_same_for_the_same_data(tiny_checkpoint):
    expected = rules(tiny_checkpoint)
    assert expected["evaluated"] == "each held-out item among all 40 items of the catalog"
    assert expected["seen items"].startswith("masked")
    assert expected["ties"] == "count against the model"
    assert expected["split"] == "by time: the latest events are held out (20% validation, 20% test)"
    assert rules(tiny_checkpoint, "adapter=frozen", "seed=4", "train.epochs=1") == expected
    assert "split fingerprint: " + expected["split fingerprint"][:16] in protocol_lines(expected)


def test_another_split_task_or_history_differs_and_is_named(tiny_checkpoint):
    expected = rules(tiny_checkpoint)

    def named(*overrides):
        return {line.split(":")[0] for line in differences(expected, rules(tiny_checkpoint, *overrides))}

    assert named("data.split={by: last}") == {"split", "rows", "split fingerprint", "test fingerprint"}
    assert named("head={name: ctr}") == {"evaluated", "seen items", "ties", "test fingerprint"}
    assert named("data.history.at_least=8") >= {"rows", "test fingerprint"}


def test_items_drawn_by_another_seed_are_named(tiny_checkpoint, tmp_path):
    lines = [f"u{event % 5},i{event % 41},{event}" for event in range(60)]
    (tmp_path / "interactions.csv").write_text("\n".join(["user,item,time", *lines]))
    given = (f"data.source={{name: files, path: {tmp_path}}}", "head={name: ctr, negatives: 1}")
    first, second = (rules(tiny_checkpoint, *given, f"seed={seed}") for seed in (1, 2))
    assert [line.split(":")[0] for line in differences(first, second)] == ["evaluated", "test fingerprint"]
    assert "seed 1" in first["evaluated"]


def test_rules_of_former_runs_are_the_same_under_their_present_names() -> None:
    former = {
        "split": "by user: the last event is test, the one before it validation, of the users whose 'judged' is true",
        "judged": "each held-out item among all 9 items of the catalogue",
    }
    present = {
        "split": former["split"].replace("judged", "eval_users"),
        "evaluated": "each held-out item among all 9 items of the catalog",
    }
    assert differences(former, present) == []
