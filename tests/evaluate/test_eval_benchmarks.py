"""Benchmarks in the layouts they are published in, made by hand and small; and what is refused of them."""

from __future__ import annotations

import base64
import csv
import io
import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from phantom_edge.errors import InputError
from phantom_edge.evaluate.benchmarks import BENCHMARKS, benchmark_suite, table
from phantom_edge.evaluate.items import Record
from phantom_edge.system import reading

LETTER = "\nAnswer with the option's letter from the given choices directly."
PHRASE = "\nAnswer the question using a single word or phrase."


def picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 8), colour).save(path)
    return path


def encoded(colour: str) -> str:
    data = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode()


def chunk(kind: bytes, data: bytes) -> bytes:
    """One part of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_json(path: Path, data) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    """As pandas writes it: quotes only where a cell needs them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def judged(suite, replies: list[str]) -> list[bool]:
    return [item.judge(reply) for item, reply in zip(suite.items, replies, strict=True)]


def colour(item) -> tuple[int, int, int]:
    return item.picture.load(448).getpixel((1, 1))


class TestScienceQA:
    @pytest.fixture
    def data(self, tmp_path):
        problem = {
            "question": "Which is a metal?",
            "choices": ["wood", "iron"],
            "answer": 1,
            "hint": "Look closely.",
            "image": "image.png",
            "grade": "grade2",
            "subject": "natural science",
            "topic": "physics",
            "category": "Materials",
            "skill": "",
            "lecture": "",
            "solution": "",
            "task": "closed choice",
            "split": "test",
        }
        problems = {
            "4": problem,
            "11": {**problem, "image": None},
            "5": {
                **problem,
                "hint": "",
                "subject": "social science",
                "choices": ["a", "b", "c"],
                "answer": 2,
            },
            "6": {**problem, "split": "train"},
        }
        write_json(tmp_path / "problems.json", problems)
        write_json(tmp_path / "pid_splits.json", {"train": ["6"], "val": [], "test": ["4", "11", "5"]})
        for name in ("4", "5"):
            picture(tmp_path / "images" / "test" / name / "image.png")
        return tmp_path

    def test_questions_with_a_picture_of_the_test_split(self, data):
        suite = benchmark_suite("scienceqa", data)
        assert [item.id for item in suite.items] == ["4", "5"]
        assert suite.tasks == ("natural science", "social science")
        first, second = suite.items
        assert first.question == "Look closely.\nWhich is a metal?\nA. wood\nB. iron" + LETTER
        assert (
            second.question == "\nWhich is a metal?\nA. a\nB. b\nC. c" + LETTER
        )  # as the published code joins them
        assert (first.answer, first.max_tokens) == ("B. iron", 5)
        assert first.picture.load(448).size == (12, 8)
        assert judged(suite, ["B", "C."]) == [True, True]
        assert judged(suite, ["C", "D"]) == [False, False]

    def test_it_may_lie_below_the_folder_of_all_data_sets(self, data, tmp_path_factory):
        root = tmp_path_factory.mktemp("datasets")
        (root / "ScienceQA").symlink_to(data)
        assert len(benchmark_suite("scienceqa", root).items) == 2

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (
                lambda p: (p / "problems.json").unlink(),
                r"no problems.json in it; expected is ScienceQA's problems.json",
            ),
            (lambda p: (p / "pid_splits.json").unlink(), r"pid_splits.json: not found"),
            (
                lambda p: (p / "images/test/5/image.png").unlink(),
                r"problem 5: its picture .*5/image.png is missing",
            ),
            (lambda p: write_json(p / "pid_splits.json", {"test": ["404"]}), r"'404' is missing"),
            (lambda p: write_json(p / "problems.json", []), r"holds a list, expected a dict"),
            (lambda p: (p / "problems.json").write_text("{"), r"not readable as JSON"),
            (lambda p: spoil_problem(p, answer=7), r"answer 7 is not among its 2 choices"),
            (lambda p: spoil_problem(p, answer=True), r"'answer' is missing or of another type"),
            (lambda p: spoil_problem(p, choices=[1, 2]), r"'choices' must be a list of texts"),
            (lambda p: spoil_problem(p, image="../../../../x.png"), r"no plain file name"),
            (lambda p: spoil_problem(p, image="..\\x.png"), r"no plain file name"),
        ],
    )
    def test_what_is_missing_or_odd_is_named(self, data, spoil, message):
        spoil(data)
        with pytest.raises(InputError, match=message):
            benchmark_suite("scienceqa", data)


def spoil_problem(folder: Path, **fields) -> None:
    problems = json.loads((folder / "problems.json").read_text())
    write_json(folder / "problems.json", {**problems, "4": {**problems["4"], **fields}})


METADATA = {"abcLabel": False, "answerTexts": ["leaf", "stem"], "correctAnswer": 1, "questionId": "0.png-0"}


class TestAI2D:
    @pytest.fixture
    def data(self, tmp_path):
        picture(tmp_path / "images" / "0.png", "red")
        picture(tmp_path / "abc_images" / "0.png", "blue")
        return tmp_path

    def check(self, suite):
        plain, lettered = suite.items
        assert plain.question == "What is it?\nA. leaf B. stem" + LETTER
        assert plain.answer == "B. stem"
        assert (colour(plain), colour(lettered)) == ((255, 0, 0), (0, 0, 255))
        assert judged(suite, ["it is B", "A. leaf"]) == [True, True]
        assert judged(suite, ["A", "b"]) == [False, False]

    def test_the_list_of_the_published_evaluation(self, data):
        lettered = {**METADATA, "abcLabel": True, "correctAnswer": 0, "questionId": "0.png-1"}
        entries = [
            {"question": "What is it?", "imageName": "0.png", "metadata": METADATA},
            {"question": "What is X?", "imageName": "0.png", "metadata": lettered},
        ]
        write_json(data / "ai2d_test.json", entries)
        self.check(benchmark_suite("ai2d", data))

    def test_the_data_set_itself(self, data):
        lettered = {**METADATA, "abcLabel": True, "correctAnswer": 0, "questionId": "0.png-1"}
        questions = {"What is it?": METADATA, "What is X?": lettered}
        write_json(data / "questions" / "0.png.json", {"imageName": "0.png", "questions": questions})
        write_json(data / "questions" / "1.png.json", {"imageName": "1.png", "questions": questions})
        (data / "ai2d_test_ids.csv").write_text("0\n")
        self.check(benchmark_suite("ai2d", data))
        (data / "ai2d_test_ids.csv").unlink()
        with pytest.raises(
            InputError, match=r"ai2d_test_ids.csv: not found; it says which diagrams are the test"
        ):
            benchmark_suite("ai2d", data)

    def test_the_table(self, tmp_path):
        row = {
            "index": "0",
            "question": "What is it?",
            "answer": "B",
            "A": "leaf",
            "B": "stem",
            "C": "",
            "D": "",
        }
        rows = [
            {**row, "image": encoded("red")},
            {**row, "index": "1", "answer": "A", "image": encoded("blue")},
        ]
        write_table(tmp_path / "AI2D_TEST.tsv", rows)
        self.check(benchmark_suite("ai2d", tmp_path))

    def test_a_missing_lettered_picture_is_named(self, data):
        lettered = {**METADATA, "abcLabel": True}
        write_json(data / "ai2d_test.json", [{"question": "?", "imageName": "1.png", "metadata": lettered}])
        with pytest.raises(InputError, match=r"entry 0: its picture .*abc_images/1.png is missing"):
            benchmark_suite("ai2d", data)


class TestChartQA:
    @pytest.fixture
    def data(self, tmp_path):
        human = [{"imgname": "1.png", "query": "How many bars?", "label": "14"}]
        augmented = [
            {"imgname": "1.png", "query": "What is the value of Iraq?", "label": "57.2"},
            {"imgname": "2.png", "query": "Which is the largest?", "label": "Iraq"},
        ]
        folder = tmp_path / "ChartQA Dataset" / "test"
        write_json(folder / "test_human.json", human)
        write_json(folder / "test_augmented.json", augmented)
        for name in ("1.png", "2.png"):
            picture(folder / "png" / name)
        return tmp_path

    def test_both_kinds_of_questions(self, data):
        suite = benchmark_suite("chartqa", data)
        assert suite.tasks == ("human", "augmented")
        assert [item.id for item in suite.items] == ["human/0", "augmented/0", "augmented/1"]
        assert suite.items[0].question == "How many bars?" + PHRASE
        assert suite.items[0].picture == suite.items[1].picture != suite.items[2].picture
        assert judged(suite, ["14", "57.2 million", "iraq"]) == [True, True, True]
        assert judged(suite, ["15", "60.1", "Iran"]) == [False, False, False]

    def test_one_file_is_enough_and_none_is_refused(self, data):
        folder = data / "ChartQA Dataset" / "test"
        (folder / "test_human.json").unlink()
        assert benchmark_suite("chartqa", folder).tasks == ("augmented",)
        (folder / "test_augmented.json").unlink()
        with pytest.raises(
            InputError, match=r"neither test_human.json nor test_augmented.json in it; expected is ChartQA"
        ):
            benchmark_suite("chartqa", data)


class TestPOPE:
    @pytest.fixture
    def data(self, tmp_path):
        name = "COCO_val2014_000000000042.jpg"
        for n, split in enumerate(("random", "popular", "adversarial")):
            lines = [
                {"question_id": 1, "image": name, "text": "Is there a dog in the image?", "label": "yes"},
                {"question_id": 2, "image": name, "text": f"Is there a thing {n}?", "label": "no"},
            ]
            path = tmp_path / "POPE" / f"coco_pope_{split}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        picture(tmp_path / "coco2014" / "val2014" / name)
        return tmp_path

    def test_three_sets_over_the_same_pictures(self, data):
        suite = benchmark_suite("pope", data)
        assert suite.tasks == ("random", "popular", "adversarial")
        assert len(suite.items) == 6
        assert len({item.picture.key for item in suite.items}) == 1
        assert suite.items[0].question == "Is there a dog in the image?" + PHRASE
        assert judged(suite, ["Yes", "no", "yes.", "No.", "Yes", "There is no"]) == [True] * 6
        assert judged(suite, ["No", "Yes"] * 3) == [False] * 6

    def test_its_own_measures(self, data):
        suite = benchmark_suite("pope", data)
        replies = {"random/1": "Yes", "random/2": "Yes", "popular/1": "no", "popular/2": "no"}
        records = [
            Record(i.id, i.task, "", i.question, i.answer, replies[i.id], i.judge(replies[i.id]))
            for i in suite.items
            if i.id in replies
        ]
        measures = suite.measures(records)
        assert measures["random"] == pytest.approx(
            {"precision": 50, "recall": 100, "F1": 200 / 3, "yes ratio": 100}
        )
        assert measures["popular"] == pytest.approx({"precision": 0, "recall": 0, "F1": 0, "yes ratio": 0})

    def test_what_is_missing_is_named(self, data):
        (data / "POPE" / "coco_pope_popular.json").unlink()
        with pytest.raises(InputError, match=r"coco_pope_popular.json: not found; expected is POPE's"):
            benchmark_suite("pope", data)
        (data / "coco2014").rename(data / "elsewhere")
        with pytest.raises(InputError, match="none of val2014, "):
            benchmark_suite("pope", data)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("[1]", "line 3: holds list, expected an object"),
            ("{", "line 3: not readable as JSON"),
            ('{"question_id": 3, "image": "a.jpg", "text": "x", "label": "maybe"}', "neither yes nor no"),
            ('{"question_id": 3, "image": "/etc/passwd", "text": "x", "label": "yes"}', "no plain file name"),
            (
                '{"question_id": 2, "image": "COCO_val2014_000000000042.jpg", "text": "x", "label": "no"}',
                "there twice",
            ),
            ('{"text": "' + "x" * reading.MAX_LINE_BYTES + '"}', "line 3: longer than 1 MiB"),
        ],
    )
    def test_odd_lines_are_refused(self, data, line, message):
        with (data / "POPE" / "coco_pope_random.json").open("a") as file:
            file.write(line + "\n")
        with pytest.raises(InputError, match=message):
            benchmark_suite("pope", data)


BENCH_ROW = {
    "index": "241",
    "question": "What is it?",
    "hint": "",
    "A": "a cat",
    "B": "a\tdog",
    "C": "",
    "D": "",
    "answer": "B",
    "category": "object_localization",
    "source": "x",
    "l2-category": "finegrained_perception",
    "comment": "",
    "split": "dev",
}


class TestMMBench:
    def rows(self):
        return [
            {**BENCH_ROW, "image": encoded("red")},
            {
                **BENCH_ROW,
                "index": "300",
                "hint": "A hint\nin two lines",
                "C": 'a "bird"',
                "image": encoded("lime"),
            },
            {**BENCH_ROW, "index": "1000241", "A": "a\tdog", "B": "a cat", "answer": "A", "image": "241"},
        ]

    def test_rows_and_their_pictures(self, tmp_path):
        suite = benchmark_suite("mmbench", write_table(tmp_path / "MMBench_DEV_EN.tsv", self.rows()))
        assert [item.id for item in suite.items] == ["241", "300", "1000241"]
        assert suite.tasks == ("finegrained_perception",)
        first, second, third = suite.items
        assert first.question == "What is it?\nA. a cat\nB. a\tdog" + LETTER
        assert (
            second.question == 'A hint\nin two lines\nWhat is it?\nA. a cat\nB. a\tdog\nC. a "bird"' + LETTER
        )
        assert [colour(item) for item in suite.items] == [(255, 0, 0), (0, 255, 0), (255, 0, 0)]
        assert first.picture == third.picture != second.picture
        assert judged(suite, ["B", "B. a dog", "A"]) == [True, True, True]
        assert judged(suite, ["A", "(B)", ""]) == [False, False, False]

    def test_circular_needs_every_rotation_right_and_asked(self, tmp_path):
        suite = benchmark_suite("mmbench", write_table(tmp_path / "mmbench_dev_20230712.tsv", self.rows()))

        def measured(**right: bool) -> dict:
            return suite.measures([Record(name[1:], "", "", "", "", "", ok) for name, ok in right.items()])

        assert measured(_241=True, _1000241=True, _300=False) == {"circular, 1 questions": {"accuracy": 100}}
        assert measured(_241=True, _1000241=False) == {"circular, 1 questions": {"accuracy": 0}}
        assert measured(_241=True, _300=True) == {}

    def test_the_table_is_found_in_a_folder_unless_there_are_two(self, tmp_path):
        write_table(tmp_path / "MMBench" / "MMBench_DEV_EN_V11.tsv", self.rows())
        write_table(tmp_path / "MMBench" / "MMBench_TEST_EN.tsv", self.rows())
        assert len(benchmark_suite("mmbench", tmp_path).items) == 3
        write_table(tmp_path / "mmbench_dev_cn_20231003.tsv", self.rows())
        with pytest.raises(InputError, match="give --data one of the files"):
            benchmark_suite("mmbench", tmp_path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"answer": ""}, "index 241 has no answer among its options; test splits have none"),
            ({"answer": "D"}, "has no answer among its options"),
            ({"image": "999"}, "index 241 has neither a picture nor the index of a row that has one"),
            ({"image": "300"}, None),
            ({"image": "1000241"}, "has neither a picture"),
            ({"index": "300"}, "row 3 has the index 300 of an earlier one"),
        ],
    )
    def test_odd_rows_are_refused(self, tmp_path, change, message):
        rows = self.rows()
        rows[0].update(change)
        path = write_table(tmp_path / "MMBench_DEV_EN.tsv", rows[:2] if message is None else rows)
        if message is None:
            assert colour(benchmark_suite("mmbench", path).items[0]) == (0, 255, 0)
            return
        with pytest.raises(InputError, match=message):
            benchmark_suite("mmbench", path)

    def test_a_test_table_without_answers_is_refused(self, tmp_path):
        rows = [{name: text for name, text in row.items() if name != "answer"} for row in self.rows()]
        with pytest.raises(InputError, match="no column 'answer'; its columns are index, question"):
            benchmark_suite("mmbench", write_table(tmp_path / "MMBench_TEST_EN.tsv", rows))


STAR_ROW = {
    "index": "0",
    "question": "Which option is it?\nOptions: A: in, B: on, C: under, D: by",
    "answer": "C",
    "category": "coarse perception",
    "l2_category": "image emotion",
    "bench": "MMBench",
}


class TestMMStar:
    def test_options_in_the_question_or_in_columns(self, tmp_path):
        columns = {**STAR_ROW, "question": "Which?", "A": "in", "B": "on", "C": "under", "D": ""}
        for row, question in ((STAR_ROW, STAR_ROW["question"]), (columns, "Which?\nA. in\nB. on\nC. under")):
            rows = [{**row, "image": encoded("red")}, {**row, "index": "1", "category": "math", "image": "0"}]
            suite = benchmark_suite("mmstar", write_table(tmp_path / "MMStar.tsv", rows))
            assert suite.items[0].question == question + LETTER
            assert suite.tasks == ("coarse perception", "math")
            assert judged(suite, ["c", "The answer is C"]) == [True, True]
            assert judged(suite, ["B", "it is C"]) == [False, False]


class TestTables:
    def test_cells_with_line_ends_of_every_kind(self, tmp_path):
        text = "one\ntwo\r\nthree \u2028 four"
        rows = [
            {"index": str(n), "question": text, "image": encoded(c)}
            for n, c in enumerate(("red", "lime", "blue"))
        ]
        rows_read = table.read_table(write_table(tmp_path / "t.tsv", rows), ("question",))
        assert [row.texts["question"] for row in rows_read] == [text] * 3
        assert [colour(row) for row in rows_read] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]

    def test_a_byte_order_mark_and_large_pictures(self, tmp_path):
        data = io.BytesIO()
        Image.effect_noise((600, 500), 90).convert("RGB").save(data, "PNG")
        large = base64.b64encode(data.getvalue()).decode()
        assert len(large) > csv.field_size_limit()
        path = write_table(tmp_path / "t.tsv", [{"index": "0", "image": large}])
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        (row,) = table.read_table(path, ())
        assert row.picture.load(448).size == (600, 500)
        assert csv.field_size_limit() == 131072  # as it was

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "no column 'index'; its columns are"),
            (b"index\tquestion\n", "no column 'image'"),
            (b"index\timage\n1\n", "row 2 has 1 cells, the header 2"),
            (b"index\timage\n1\t\xff\xfe\n", "not readable as tab-separated UTF-8 near line"),
            (b"index\timage\n1\t\n", "has neither a picture"),
        ],
    )
    def test_broken_tables_are_refused(self, tmp_path, content, message):
        path = tmp_path / "t.tsv"
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            table.read_table(path, ())

    def test_rows_beyond_the_limit_are_refused(self, tmp_path, monkeypatch):
        path = write_table(tmp_path / "t.tsv", [{"index": "0", "image": "A" * 5000}])
        monkeypatch.setattr(table, "MAX_ROW_BYTES", 4000)
        with pytest.raises(InputError, match="a line is longer than"):
            table.read_table(path, ())

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            ("!" * 100, "the picture of index 0 in .* is not base64"),
            (base64.b64encode(b"no picture at all" * 10).decode(), "is not a picture in a known format"),
            (encoded("red")[:80] + "=" * (-80 % 4), "damaged|not a picture"),
        ],
    )
    def test_pictures_that_are_none_are_refused_when_their_turn_comes(self, tmp_path, image, message):
        (row,) = table.read_table(write_table(tmp_path / "t.tsv", [{"index": "0", "image": image}]), ())
        with pytest.raises(InputError, match=message):
            row.picture.load(448)

    def test_a_decompression_bomb_is_refused_unseen(self, tmp_path):
        """A PNG that claims 400 megapixels, and holds next to nothing."""
        header = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99)))
        rows = [{"index": "0", "image": base64.b64encode(data).decode()}]
        (row,) = table.read_table(write_table(tmp_path / "t.tsv", rows), ())
        with pytest.raises(InputError, match="far more than 64 megapixels"):
            row.picture.load(448)


def test_unknown_names_and_missing_folders_say_what_there_is(tmp_path):
    with pytest.raises(InputError, match="unknown benchmark 'vqa'; there are scienceqa, ai2d"):
        benchmark_suite("vqa", tmp_path)
    for name in BENCHMARKS:
        with pytest.raises(InputError, match=r"not found; give --data|expected is"):
            benchmark_suite(name, tmp_path / "nowhere")
        with pytest.raises(InputError, match="expected is"):
            benchmark_suite(name, tmp_path)
