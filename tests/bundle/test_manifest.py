"""The manifest: written and read back, refused field by field, and the same as its published schema."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from sample_manifest import sample_manifest

from phantom_edge.bundle.manifest import SCHEMA_FILE, Manifest, schema_text
from phantom_edge.errors import InputError
from phantom_edge.images import check_tile_policy
from recipes.synthetic import TINY_FAMILIES

VALIDATOR = Draft202012Validator(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
ENTRY = {"bytes": 1, "sha256": "0" * 64}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "manifest.json").write_text(sample_manifest().to_json(), encoding="utf-8")
    return tmp_path / "manifest.json"


def changed(path: Path, change) -> dict:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return values


@pytest.mark.parametrize("family", TINY_FAMILIES)
@pytest.mark.parametrize("parts", [{}, {"verification": None, "quantization": None, "knows": "Shapes 🔴."}])
def test_a_manifest_survives_its_file(tmp_path, family, parts):
    """All three decoders, whose rotary embeddings differ."""
    manifest = sample_manifest(family, **parts)
    (tmp_path / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    assert Manifest.read(tmp_path / "manifest.json") == manifest
    VALIDATOR.validate(json.loads(manifest.to_json()))


def test_the_published_schema_is_that_of_the_classes():
    Draft202012Validator.check_schema(VALIDATOR.schema)
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text(), "python -m phantom_edge.bundle.manifest"


def test_the_schema_describes_what_it_names():
    """Every object has a sentence, and every field of the manifest has its own or is such an object."""
    schema = VALIDATOR.schema
    assert all(kind["description"] for kind in (schema, *schema["$defs"].values()))
    assert all("description" in value or "$ref" in value for value in schema["properties"].values())
    assert schema["$defs"]["TilePolicy"]["properties"]["size"]["description"] == "Side of a tile in pixels."


DAMAGES = [
    (lambda m: m.pop("ids"), "ids is missing"),
    (lambda m: m["tiles"].pop("max"), "tiles.max is missing"),
    (lambda m: m["config"]["decoder"]["rope"].pop("theta"), "config.decoder.rope.theta is missing"),
    (lambda m: m.pop("verification"), "verification is missing"),
    (lambda m: m.update(contxt=64), "contxt is not a known field .did you mean 'context'"),
    (lambda m: m["tiles"].update(sise=1), "tiles.sise is not a known field .did you mean 'size'"),
    (lambda m: m["prompt"].update(system="x"), "prompt.system is not a known field"),
    (lambda m: m.update(context="64"), "context is '64', expected integer"),
    (lambda m: m.update(context=64.5), "context is 64.5, expected integer"),
    (lambda m: m.update(knows=""), "knows is '', expected a sentence of up to 200 characters"),
    (lambda m: m.update(knows="x" * 201), "knows is 'xxx.*', expected a sentence of up to 200 characters"),
    (lambda m: m.update(knows="two\nlines"), "knows is 'two.*', expected a sentence"),
    (lambda m: m.update(knows=["shapes"]), r"knows is \['shapes'\], expected string"),
    (lambda m: m.update(browser=1), "browser is 1, expected boolean"),
    (lambda m: m.update(ids=[1, 5]), r"ids is \[1, 5\], expected an object"),
    (lambda m: m["ids"].update(end=2), "ids.end is 2, expected a list"),
    (lambda m: m["ids"].update(end=[2, None]), r"ids.end\[1\] is None, expected integer"),
    (lambda m: m["recipe"].update(rules={}), "recipe.rules is {}, expected a list"),
    (lambda m: m["recipe"]["rules"][0].update(to=4), r"recipe.rules\[0\].to is 4, expected string"),
    (lambda m: m["prompt"].update(user_end=""), "prompt.user_end is '', expected minLength 1"),
    (lambda m: m.update(context=0), "context is 0, expected minimum 1, maximum 16777216"),
    (lambda m: m["ids"].update(end=[]), "ids.end is .., expected minItems 1"),
    (lambda m: m.update(kv_cache="int4"), "kv_cache is 'int4', expected enum .'float', 'int8'"),
    (lambda m: m["config"]["decoder"].update(type="gpt2"), "config.decoder.type is 'gpt2', expected enum"),
    (lambda m: m["tiles"].update(max=10**6), "tiles.max is 1000000, expected minimum 1, maximum 64"),
    (lambda m: m["config"]["decoder"].update(layers=131_072), "config.decoder.layers is 131072, expected"),
    (lambda m: m["config"]["vision"].update(layers=131_072), "config.vision.layers is 131072, expected"),
    (lambda m: m.update(context=10**39), "context is 10{39}, expected"),
    (lambda m: m.update(context="x" * 10**6), "context is 'xxx.* … .*', expected integer"),
    (lambda m: m["files"].update({"x" * 5000: ENTRY}), "a path that stays inside the bundle"),
    (lambda m: m["files"].update({"a\nb": ENTRY}), "a path that stays inside the bundle"),
    (lambda m: m["graphs"].update(text_decoder=["a"]), r"graphs.text_decoder is \['a'\], expected string"),
    (lambda m: m["files"].update({"../x": ENTRY}), "files is '../x', expected a path that stays inside"),
    (lambda m: m["files"].update({"/etc/passwd": ENTRY}), "a path that stays inside the bundle"),
    (lambda m: m["files"].update({"a//b": ENTRY}), "a path that stays inside the bundle"),
    (
        lambda m: m["graphs"].update(text_decoder="a/../../b"),
        "graphs.text_decoder is 'a/../../b', expected a path",
    ),
    (lambda m: m["files"].update({"a": {"bytes": 7}}), "files.a.sha256 is missing"),
    (
        lambda m: m["files"].update({"a": {"bytes": 7, "sha256": "X"}}),
        "files.a.sha256 is 'X', expected a SHA-256",
    ),
]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(knows="a line\n"), "knows is 'a line.*', expected a sentence"),
        (lambda m: m["source"].update(sha256={"a": "0" * 64 + "\n"}), "expected a SHA-256"),
        (lambda m: m["files"].update({"a\n": ENTRY}), "a path that stays inside the bundle"),
    ],
)
def test_a_line_break_at_the_end_is_no_part_of_a_line(path, change, message):
    """``$`` ends a text in JSON Schema; Python's own lets a line break follow."""
    changed(path, change)
    with pytest.raises(InputError, match=message):
        Manifest.read(path)


def test_a_tile_too_large_for_any_picture():
    with pytest.raises(InputError, match="at most 64, and 64 megapixels in all"):
        check_tile_policy(30_000, 1)
    with pytest.raises(InputError, match="at most 64"):
        check_tile_policy(1, 65)
    check_tile_policy(448, 64)


@pytest.mark.parametrize(("change", "message"), DAMAGES)
def test_damage_is_named_by_its_field_and_its_file(path, change, message):
    """And whatever is refused here, the published schema refuses as well."""
    values = changed(path, change)
    with pytest.raises(InputError, match=message) as caught:
        Manifest.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("; export the bundle again")
    assert "\n" not in str(caught.value)
    assert not VALIDATOR.is_valid(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["tiles"].update(size=60), "tiles.size is 60, and config makes it 56"),
        (lambda m: m["ids"].update(image=6), "ids.image is 6, and config makes it 5"),
        (lambda m: m["shape"].update(cache_widths=[32]), "the length of shape.cache_widths is 1"),
        (lambda m: m.update(chunk=m["context"] + 1), "is more than the context of"),
        (lambda m: m["shape"].update(cache_widths=[2**20, 2**20]), "cache_widths are not all in 16..32"),
        (lambda m: m["ids"].update(first=99999), "ids: 99999 is no id below a vocabulary of"),
    ],
)
def test_a_contradiction_is_named(path, change, message):
    changed(path, change)
    with pytest.raises(InputError, match=message):
        Manifest.read(path)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (1, "schema 1 is of an earlier phantom-edge, and this one reads 2; export the bundle again"),
        (3, r"schema 3 is newer than this phantom-edge reads \(2\); update it"),
        (None, "not the manifest of a phantom-edge bundle"),
        ("2", "not the manifest of a phantom-edge bundle"),
        (True, "not the manifest of a phantom-edge bundle"),
    ],
)
def test_another_schema_says_what_to_do(path, schema, message):
    changed(path, lambda m: m.update(schema=schema))
    with pytest.raises(InputError, match=message) as caught:
        Manifest.read(path)
    assert str(path) in str(caught.value)


def test_the_documentation_names_every_field_of_what_an_app_reads():
    page = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")
    schema = VALIDATOR.schema
    unread = {"CalibratedQuantization", "DecoderConfig", "ModuleRow", "RopeConfig", "VisionConfig"}
    kinds = [schema, *(kind for name, kind in schema["$defs"].items() if name not in unread)]
    names = {name for kind in kinds for name in kind["properties"]}
    assert not {name for name in names if f"`{name}`" not in page}
