"""``eval`` as a user meets it, over a real checkpoint and a real bundle; its records; what it refuses."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from phantom_edge.cli import app, eval_command
from phantom_edge.errors import InputError
from phantom_edge.evaluate.items import Item, Record, Suite
from phantom_edge.evaluate.job import build_suite, evaluate_models
from phantom_edge.evaluate.result import EvalResult, read_records, write_records
from phantom_edge.evaluate.summary import report, to_dict
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.scenes.parts import COLOURS

EARLIER = json.dumps({"model": "m", "id": "q", "question": "?", "reply": "!"}) + "\n"
SIX = ("--tasks", "colour,sign,caption", "--samples", "2", "--max-tokens", "6")


def run(*arguments) -> Result:
    """The command in this process, as the program runs it."""
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


@pytest.fixture(scope="module")
def model(tiny_dirs) -> Path:
    return tiny_dirs["qwen2"]


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("eval") / "tiny-web"
    export(ExportRequest(target="web", model=str(model), output=output, context=200, verify=False))
    return output


class TestCommand:
    def test_a_bundle_against_its_checkpoint(self, model, bundle, tmp_path, monkeypatch):
        """Everything at once: the table's facts, the paired change, and one record per question and model."""
        monkeypatch.chdir(tmp_path)
        done = run(
            "-b", bundle, "--against", model, *SIX, "--json", "--records", "r.jsonl", "--html", "p.html"
        )
        assert done.exit_code == 0, done.stderr
        assert done.stderr == ""
        summary = json.loads(done.stdout)
        mine, other = summary["results"]
        assert (mine["model"], mine["target"], mine["recipe"]) == ("tiny-web", "web", "int8")
        assert (other["model"], other["format"]) == (str(model), "checkpoint")
        assert {name: task["questions"] for name, task in mine["tasks"].items()} == {
            "colour": 2,
            "sign": 2,
            "caption": 2,
        }
        assert mine["unanswered"] == 0
        assert mine["seconds"] > 0
        records = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
        assert [r["model"] for r in records] == ["tiny-web"] * 6 + [str(model)] * 6
        assert sum(r["correct"] for r in records[:6]) == mine["overall"]["right"]
        assert all(0 < r["tokens"] <= 6 and r["reply"] for r in records)
        lost = sum(b["correct"] and not a["correct"] for a, b in zip(records[:6], records[6:], strict=True))
        assert summary["changes"][0]["overall"]["lost"] == lost
        page = (tmp_path / "p.html").read_text()
        assert "bundle for web: int8, fold exact, in onnxruntime" in page
        assert sorted(p.name for p in tmp_path.iterdir()) == ["p.html", "r.jsonl"]

    def test_the_table(self, model):
        done = run("-m", model, "--tasks", "colour,count", "--limit", 3, "--max-tokens", 2)
        assert done.exit_code == 0, done.stderr
        for words in (
            "scenes, test split",
            "checkpoint, fp32 in torch",
            "colour",
            "mean of tasks",
            "greedy",
            "Wilson",
        ):
            assert words in done.stdout

    def test_constrained_replies_say_so(self, model, tmp_path, monkeypatch):
        """In the records, in JSON and in the table; open questions are asked as ever."""
        monkeypatch.chdir(tmp_path)
        done = run("-m", model, *SIX, "--constrain", "--json", "--records", "r.jsonl")
        assert done.exit_code == 0, done.stderr
        (mine,) = json.loads(done.stdout)["results"]
        assert mine["constrained"] == 2
        lines = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
        chosen = [line for line in lines if line.get("chosen")]
        assert [line["task"] for line in chosen] == ["colour"] * 2
        assert mine["confidence"] == pytest.approx(sum(line["confidence"] for line in chosen) / 2)
        assert all(line["reply"] in COLOURS for line in lines if line["task"] == "colour")
        done = run("-m", model, *SIX, "--constrain")
        assert "2 replies are the likeliest of their choices" in " ".join(done.stdout.split())
        plain = run("-m", model, *SIX, "--json", "--records", "plain.jsonl")
        assert "constrained" not in json.loads(plain.stdout)["results"][0]
        assert "chosen" not in Path("plain.jsonl").read_text()
        done = run("-m", model, "--tasks", "sign", "--samples", "1", "--constrain")
        assert done.exit_code == 2
        assert "none of these questions has a closed set of answers" in done.stderr

    def test_a_benchmark(self, model, tmp_path):
        (tmp_path / "png").mkdir()
        Image.new("RGB", (56, 56), "red").save(tmp_path / "png" / "1.png")
        questions = [{"imgname": "1.png", "query": f"How many? {n}", "label": "3"} for n in range(5)]
        (tmp_path / "test_human.json").write_text(json.dumps(questions))
        done = run("-m", model, "--benchmark", "chartqa", "--data", tmp_path, "--samples", 2, "--json")
        summary = json.loads(done.stdout)
        assert summary["suite"] == "ChartQA, test"
        assert summary["results"][0]["overall"]["questions"] == 2
        assert summary["results"][0]["pictures"] == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--tasks", "color"), "unknown task 'color'; there are colour, shape"),
            (("--split", "dev"), "unknown split 'dev'"),
            (("--samples", "0"), "'--samples': Input should be greater than or equal to 1"),
            (("--benchmark", "pope"), "--benchmark pope needs --data"),
            (("--benchmark", "vqa", "--data", "."), "unknown benchmark 'vqa'; there are scienceqa"),
            (("--benchmark", "pope", "--data", "."), "expected is POPE's coco_pope_random.json"),
            (("--benchmark", "pope", "--data", ".", "--split", "test"), "--split is for the scene tasks"),
            (("--data", "."), "say which with --benchmark"),
            (("-m", "nowhere/at/all", "--samples", "1"), "nowhere/at/all"),
            (("--against", "nowhere/at/all", "--samples", "1"), "nowhere/at/all"),
            (("--records", "no/such/folder.jsonl"), "its folder must exist"),
            (("--html", "."), "is no ordinary file"),
            (("--records", "/dev/null"), "is no ordinary file"),
        ],
    )
    def test_wrong_use_is_one_line(self, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        done = run(*arguments)
        assert done.exit_code == 2, done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_ctrl_c_leaves_the_earlier_records(self, model, tmp_path, monkeypatch):
        """The interrupt comes after the third question, where the progress is told."""

        @contextmanager
        def bar(*, quiet):
            def on_reply(done, total, right):
                if done == 3:
                    raise KeyboardInterrupt

            yield lambda name: on_reply

        monkeypatch.setattr(eval_command, "_bar", bar)
        path = tmp_path / "r.jsonl"
        path.write_text(EARLIER)
        done = run("-m", model, *SIX, "--records", path, "--html", tmp_path / "p.html")
        assert done.exit_code == 130
        assert (done.stdout, done.stderr) == ("", "error: stopped; nothing was changed\n")
        assert path.read_text() == EARLIER
        assert [p.name for p in tmp_path.iterdir()] == ["r.jsonl"]


class TestRecords:
    def suite(self) -> Suite:
        items = [
            Item(f"q{n}", "even" if n % 2 == 0 else "odd", f"{n}?", str(n), str(n).__eq__) for n in range(6)
        ]
        return Suite("numbers", tuple(items), "equal")

    def result(self, name: str, right: set[int]) -> EvalResult:
        records = [
            Record(
                i.id,
                i.task,
                f"picture {n}",
                i.question,
                i.answer,
                i.answer if n in right else "x",
                n in right,
                1,
                "end",
            )
            for n, i in enumerate(self.suite().items)
        ]
        return EvalResult(name, records, "made up", 1.5, 6)

    def test_how_often_it_is_right_when_sure_and_when_not(self, tmp_path):
        result = self.result("first", {0, 1, 4})
        known = [0.99, 0.5, 0.49, 0.2, 0.01, None]
        pairs = zip(result.records, known, strict=True)
        result.records = [replace(record, confidence=confidence) for record, confidence in pairs]
        assert asdict(result.calibration) == {"sure": 2, "sure_right": 2, "unsure": 3, "unsure_right": 1}
        assert (
            str(result.calibration) == "sure of 2, right in 2 (100.0 %); not sure of 3, right in 1 (33.3 %)"
        )
        assert result.to_dict()["calibration"]["unsure"] == 3
        path = tmp_path / "r.jsonl"
        write_records(path, [result])
        assert [record.confidence for record in read_records(path, self.suite()).records] == known
        assert "sure of 2, right in 2" in report(self.suite(), [result]).facts["confidence of first"]
        assert self.result("second", {0}).calibration is None

    def test_written_and_read_again_they_are_judged_anew(self, tmp_path):
        path = tmp_path / "r.jsonl"
        write_records(path, [self.result("first", {0, 1, 2}), self.result("second", {0})])
        records = read_records(path, self.suite())
        assert (records.model, records.runs_as) == ("first", "records of r.jsonl")
        assert [r.correct for r in records.records] == [True, True, True, False, False, False]
        mild = Suite(
            "mild", tuple(Item(i.id, i.task, i.question, i.answer, bool) for i in self.suite().items), ""
        )
        assert read_records(path, mild).overall.right == 6
        results = evaluate_models([path, path], self.suite())
        assert [r.model for r in results] == ["first", "first (2)"]
        assert results[0].changes_from(results[1])[0].points == 0

    def test_what_was_lost_and_gained(self):
        now, before = self.result("now", {0, 1, 2, 4}), self.result("before", {0, 3})
        overall, tasks = now.changes_from(before)
        assert (overall.lost, overall.gained, overall.questions) == (1, 3, 6)
        assert overall.points == pytest.approx(100 * 2 / 6)
        assert {name: (c.lost, c.gained) for name, c in tasks.items()} == {"even": (0, 2), "odd": (1, 1)}
        summary = to_dict(self.suite(), [now, before])
        assert summary["changes"][0]["against"] == "before"
        assert json.loads(json.dumps(summary)) == summary
        shown = report(self.suite(), [now, before])
        assert shown.facts["change against before"].startswith(str(overall))
        assert shown.tables[0].columns == ("task", "questions", "now", "before")
        assert [row[0] for row in shown.tables[0].rows] == ["even", "odd", "all questions", "mean of tasks"]
        assert "±" in shown.to_html()

    def test_results_of_other_questions_are_not_compared(self):
        now, before = self.result("now", {0}), self.result("before", {0})
        before.records = before.records[:-1]
        with pytest.raises(InputError, match="question 'q5' of now was not asked of before"):
            now.changes_from(before)
        with pytest.raises(InputError, match="now got 6 questions, before 5"):
            before.changes_from(now)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("nonsense\n", "line 1: not readable as JSON"),
            ('{"model": "m", "id": "q0"}\n', "line 1: no record of an evaluation"),
            (
                '{"model": "m", "id": "q0", "question": "other?", "reply": ""}\n',
                "question 'q0' is not among its records",
            ),
            ("", "question 'q0' is not among its records; use the --benchmark"),
        ],
    )
    def test_files_that_are_no_records_are_refused(self, tmp_path, text, message):
        (tmp_path / "r.jsonl").write_text(text)
        with pytest.raises(InputError, match=message):
            read_records(tmp_path / "r.jsonl", self.suite())

    def test_a_file_that_cannot_be_written_leaves_nothing(self, tmp_path):
        result = self.result("first", set())
        result.records[3] = Record("q3", "odd", "", "", "", object(), False)  # no JSON: fails in the middle
        with pytest.raises(TypeError):
            write_records(tmp_path / "r.jsonl", [result])
        assert list(tmp_path.iterdir()) == []


def test_the_same_options_give_the_same_questions():
    one, two = (build_suite(tasks=["gauge"], samples=3, limit=2, max_tokens=9) for _ in range(2))
    assert one == two
    assert [item.max_tokens for item in one.items] == [9, 9]
