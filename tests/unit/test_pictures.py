"""Pictures as rows: digests in rows, bytes in packs, once; drawn truth; what is refused; export, audit and contamination."""

import base64
import collections
import hashlib
import io
import json
import struct
import zlib

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from PIL import Image

from lineal.audit.catalog import read_catalog
from lineal.audit.export.write import export_artifact
from lineal.audit.media import media_of, pictures_of
from lineal.audit.report.facts import run_facts
from lineal.audit.report.page import gather
from lineal.audit.report.render import render
from lineal.audit.report.thumbnails import _thumbnail
from lineal.audit.trace.target import find_target
from lineal.components.sources.bitmaps import CELL, COLOURS, LETTERS, SHAPES, SIGNS
from lineal.data import media
from lineal.data.media import PackWriter, Pictures
from lineal.data.pictures import Picture
from lineal.data.schema import arrow_schema
from lineal.errors import ArtifactError, DataError, DeclarationError, UsageError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.contamination import HeldOut, held_out_prompts
from lineal.step.runner import run_step
from tests.unit.lab import Lab, rows_of

METHOD = """
method: Pictured
summary: Questions about drawn shapes.
tasks:
  train: {use: drawn_shapes, size: 12, grid: 2, shapes: [2, 3]}
  test:  {use: drawn_shapes, size: 6, grid: 2, shapes: [2, 3]}
  many:  {use: drawn_shapes, size: 30, grid: 1, shapes: [1, 1], questions: [count], split: train}
start:
  checkpoint: {use: model, path: models/base}
round:
  reasked: {use: render, rows: tasks.train, prompt: "{prompt} Answer:"}
  kept:    {use: select, rows: reasked, sql: everything}
  pairs:   {use: select, rows: kept, sql: made}
"""
SQL = {
    "everything": "-- summary: All.\nSELECT row_id, 'kept' AS decision, '' AS reason FROM rows\n",
    "made": "-- summary: Answers to learn.\n-- needs: prompt_id, prompt, answer\n-- makes rows: prompt_id, prompt, completion\n"
    "SELECT [row_id] AS parents, prompt_id, prompt, answer AS completion FROM rows\n",
}


def write_project(root, method=METHOD):
    (root / "pipelines" / "selectors").mkdir(parents=True)
    (root / "models" / "base").mkdir(parents=True)
    (root / "models" / "base" / "config.json").write_text("{}")
    for name, sql in SQL.items():
        (root / "pipelines" / "selectors" / f"{name}.sql").write_text(sql)
    (root / "pipelines" / "seen.yaml").write_text(method)
    (root / "params.yaml").write_text("active: [seen]\nrounds: 2\nseed: 0\ncompute: {engine: fake}\n")
    return open_project(root)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    plan = make_plan(write_project(tmp_path_factory.mktemp("seen")))
    for step in plan.steps.values():
        if step.label != "checkpoint":
            run_step(plan, step.key)
    return plan


@pytest.fixture
def lab(tmp_path):
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    return Lab(tmp_path)


def png(colour=(200, 30, 30), size=(6, 4), mode="RGB", name="PNG", **save):
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, name, **save)
    return stream.getvalue()


def lines(lab, rows, name="data/rows.jsonl"):
    (lab.path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


# -- drawn truth --------------------------------------------------------------------------------------------------------


def seen(image):
    """The (row, column, colour, form) of every shape, read from the pixels."""
    forms = {tuple(dots): name for name, dots in SHAPES.items()}
    inks = {rgb: name for name, rgb in COLOURS.items()}
    found = []
    for row in range(image.height // 8):
        for column in range(image.width // 8):
            dots = [[image.getpixel((column * 8 + x, row * 8 + y)) for x in range(8)] for y in range(8)]
            colours = {dot for line in dots for dot in line if dot != (0, 0, 0)}
            if colours:
                (colour,) = colours
                form = forms[tuple("".join("#" if dot == colour else "." for dot in line) for line in dots)]
                found.append((row, column, inks[colour], form))
    return found


def truth(prompt, shapes):
    """The answer to a question, from what is seen."""
    words = prompt.rstrip("?").split()
    if prompt.startswith("How many"):
        wanted = [
            word.removesuffix("es") if word == "crosses" else word.removesuffix("s") for word in words[2:]
        ]
        return str(sum({*wanted} <= {colour, form, "shape"} for _, _, colour, form in shapes))
    if prompt.startswith("Which"):
        return next(colour for _, _, colour, form in shapes if form == words[-1])
    (first,) = [shape for shape in shapes if shape[2:] == tuple(words[2:4])]
    (second,) = [shape for shape in shapes if shape[2:] == tuple(words[-2:])]
    axis = 0 if "above" in words else 1
    return "yes" if first[axis] < second[axis] else "no"


def test_drawn_shapes_answers_are_what_the_pixels_show(lab):
    made = lab.run("drawn_shapes", "tasks/train", size=150, grid=3, shapes=[2, 4])
    rows, pictures = rows_of(made[""]), Pictures([made["media"]])
    for row in rows:
        shapes = seen(pictures.decoded(row["images"][0]))
        assert row["answer"] == truth(row["prompt"], shapes) and len(shapes) == row["difficulty"], row
    kinds = collections.Counter(row["prompt"].split()[0] for row in rows)
    assert min(kinds[word] for word in ("How", "Which", "Is")) > 30
    assert collections.Counter(row["answer"] for row in rows)["yes"] > 12


SPIES = {"grid": 2, "shapes": [1, 2], "players": 3}


def properties(pictures, digest):
    return {word for shape in seen(pictures.decoded(digest)) for word in shape[2:]}


def test_clues_of_spies_are_true_of_pictures_that_differ_in_one_property(lab):
    made = lab.run("drawn_spies", "tasks/train", stage="clue", size=90, **SPIES)
    rows, pictures = rows_of(made[""]), Pictures([made["media"]])
    for game in (rows[start : start + 3] for start in range(0, 90, 3)):
        assert [row["player_number"] for row in game] == ["1", "2", "3"] and len(
            {row["game"] for row in game}
        ) == 1
        (spy,) = [row for row in game if row["player_number"] == row["spy"]]
        citizens = [row for row in game if row is not spy]
        assert {row["prompt"] for row in citizens} == {"Clue:"} and spy["prompt"] == "Spy's clue:"
        assert (
            {row["images"][0] for row in citizens}
            == {spy["others_picture"]}
            == {row["others_picture"] for row in game}
        )
        shapes = [set(seen(pictures.decoded(digest))) for digest in (spy["others_picture"], *spy["images"])]
        (before,), (after,) = shapes[0] - shapes[1], shapes[1] - shapes[0]
        assert before[:2] == after[:2] and (before[2] == after[2]) != (before[3] == after[3])
        assert all(row["answer"] in properties(pictures, row["images"][0]) for row in game)


def test_decisions_about_spies_can_be_told_from_the_picture(lab):
    made = lab.run("drawn_spies", "tasks/train", stage="decision", size=90, **SPIES)
    rows, pictures = rows_of(made[""]), Pictures([made["media"]])
    for row in rows:
        words = row["prompt"].removesuffix(" Spy?").split()
        shown = properties(pictures, row["images"][0])
        assert [
            number for number, clue in zip(words[::2], words[1::2], strict=True) if clue not in shown
        ] == [row["answer"]]
    assert min(collections.Counter(row["answer"] for row in rows).values()) > 15


def test_games_of_spies_are_of_one_split_with_both_pictures(lab):
    def shown(task):
        return {
            digest
            for row in rows_of(
                lab.run("drawn_spies", f"tasks/{task}", stage="clue", size=60, **{**SPIES, "grid": 4})[""]
            )
            for digest in row["images"]
        }

    assert not shown("test") & shown("train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 7, "stage": "clue"}, "size is 7, but clues come in games of 4. Write size: 8"),
        ({"size": 8, "stage": "clue", "edits": ["form", "form"]}, "names a property twice"),
        ({"size": 8, "stage": "clue", "shapes": [1, 4]}, "high <= 3"),
        ({"size": 8, "stage": "clue", "players": 2}, "players"),
        ({"size": 8}, "stage"),
    ],
)
def test_drawn_spies_settings_that_cannot_be_are_refused(lab, settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        lab.parse("drawn_spies", **settings)


def test_drawn_pictures_are_the_same_bytes_everywhere(lab):
    made = lab.run("drawn_shapes", "tasks/train", size=5, grid=2, shapes=[2, 2])
    assert rows_of(made[""])[0]["images"] == [
        "a7790db61f0a794b297a946d13e170db74217b2470f4abf378990fd0d74e7996"
    ]


def test_drawn_pictures_are_of_one_split_whatever_is_asked(lab):
    one = {"grid": 1, "shapes": [1, 1]}
    train = rows_of(lab.run("drawn_shapes", "tasks/train", size=40, questions=["count", "colour"], **one)[""])
    test = rows_of(lab.run("drawn_shapes", "tasks/test", size=3, questions=["count"], **one)[""])
    shown, held_out = ({row["images"][0] for row in rows} for rows in (train, test))
    assert held_out and not shown & held_out and len(shown) < 16 < len(train)


def test_drawn_letters_hold_out_what_letter_sort_holds_out(lab):
    made = lab.run("drawn_letters", "tasks/test", size=20, length=[1, 2])
    rows, pictures = rows_of(made[""]), Pictures([made["media"]])
    texts = {
        row["answer"] for row in rows_of(lab.run("letter_sort", "tasks/test", size=60, length=[1, 2])[""])
    }
    assert {row["answer"] for row in rows} <= texts
    assert {pictures[row["images"][0]].width for row in rows} == {16}
    assert {row["prompt"] for row in rows} == {"Sort the letters."}


GLYPHS = {dots: name for name, dots in {**LETTERS, **SIGNS}.items()}


def read(image):
    """What a page says in Markdown, read from the dots of its cells."""
    found = []
    for row in range(0, image.height, CELL):
        cells = [
            [
                "".join(
                    "#" if image.getpixel((column + x, row + y)) != (0, 0, 0) else "." for x in range(CELL)
                )
                for y in range(CELL)
            ]
            for column in range(0, image.width, CELL)
        ]
        ruled = all(line[0] == "#" for line in cells[0])
        titled = all(dot == "#" for dot in cells[0][-1])
        text = "".join(read_cell(cell, ruled) for cell in cells).rstrip()
        if ruled:
            text = f"|{'|'.join(text)}|"
        found.append(f"# {text}" if titled else f"${text}$" if {*text} & {*"+="} else text)
    return "\n".join(found).rstrip()


def read_cell(cell, ruled):
    lines = [*cell[:-1], "." * CELL]
    if ruled:
        lines = [f".{line[2:]}." for line in lines]
    return GLYPHS.get(tuple(lines), " ")


def test_drawn_documents_say_what_the_pixels_show(lab):
    made = lab.run("drawn_documents", "tasks/train", size=80, grid=5, lines=[2, 4])
    rows, pictures = rows_of(made[""]), Pictures([made["media"]])
    for row in rows:
        assert read(pictures.decoded(row["images"][0])) == row["answer"], row
        assert row["difficulty"] == len(row["answer"]) and row["prompt"] == "Read."
    kinds = collections.Counter(
        line[0] if line[0] in "#|$" else "a" for row in rows for line in row["answer"].split("\n")
    )
    assert kinds["#"] == 80 and min(kinds[mark] for mark in "|$a") > 20


def test_scanned_documents_say_the_same_and_are_held_out_alike(lab):
    def pages(task, **look):
        made = lab.run("drawn_documents", f"tasks/{task}", size=20, **look)
        rows, pictures = rows_of(made[""]), Pictures([made["media"]])
        return {row["answer"]: pictures[row["images"][0]] for row in rows}

    clean, scanned = pages("test"), pages("test", spread=True, moved=2, noise=0.04, scale=2)
    assert clean.keys() == scanned.keys() and not clean.keys() & pages("train").keys()
    assert {page.width for page in clean.values()} == {40} and {page.width for page in scanned.values()} == {
        80
    }


@pytest.mark.parametrize(("misread", "wrong"), [(0.0, (0, 0)), (0.2, (0.12, 0.28)), (1.0, (1, 1))])
def test_ocr_of_documents_has_so_many_characters_wrong(lab, misread, wrong):
    rows = rows_of(lab.run("drawn_documents", "tasks/train", size=80, misread=misread)[""])
    words = [
        " ".join(
            "".join(letter if letter.isalnum() or letter in "+=" else " " for letter in row["answer"]).split()
        )
        for row in rows
    ]
    pairs = [
        pair
        for row, told in zip(rows, words, strict=True)
        for pair in zip(row["ocr"], told, strict=True)
        if pair[1].isalnum()
    ]
    assert wrong[0] <= sum(one != other for one, other in pairs) / len(pairs) <= wrong[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"lines": [1, 2], "elements": ["table"]},
            r"lines begins at 1, but a table has 2 lines. Write lines: \[2, 2\]",
        ),
        ({"lines": [2, 6]}, "high <= 5"),
        ({"elements": ["text", "text"]}, "names an element twice"),
        ({"alphabet": "aé"}, "got 'é', which cannot be drawn; expected letters a to z and digits"),
        ({"alphabet": "aa"}, "each once; got 'aa'"),
        ({"grid": 2}, "grid"),
        ({"moved": 3}, "moved"),
    ],
)
def test_drawn_documents_settings_that_cannot_be_are_refused(lab, settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        lab.parse("drawn_documents", size=5, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shapes": [1, 2]}, r"relation needs two shapes .* shapes: \[2, 4\]"),
        ({"shapes": [2, 17]}, "high <= 16"),
        ({"questions": ["count", "count"]}, "names a question twice"),
        ({"grid": 9}, "grid"),
    ],
)
def test_drawn_shapes_settings_that_cannot_be_are_refused(lab, settings, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        lab.parse("drawn_shapes", size=5, **settings)


# -- packs --------------------------------------------------------------------------------------------------------------


def test_packs_are_few_files_and_hold_each_picture_once(tmp_path, monkeypatch):
    monkeypatch.setattr(media, "GROUP_BYTES", 300)
    monkeypatch.setattr(media, "PACK_BYTES", 1000)
    files = [bytes([number]) * 90 for number in range(40)]
    pictures = [Picture(hashlib.sha256(data).hexdigest(), "image/png", 1, 1, data) for data in files]
    with PackWriter(tmp_path) as packs:
        packs.add(pictures[:25])
        packs.add(pictures)
        counts = packs.close()
    assert counts == {
        "part-00000.parquet": 12,
        "part-00001.parquet": 12,
        "part-00002.parquet": 12,
        "part-00003.parquet": 4,
    }
    assert pq.ParquetFile(tmp_path / "part-00000.parquet").num_row_groups == 3
    read = [row for name in counts for row in pq.read_table(tmp_path / name).to_pylist()]
    assert [row["bytes"] for row in read] == files


def test_rounds_copy_no_picture(plan):
    root = plan.project.artifacts / "seen"
    assert {path.name for path in root.rglob("*.media")} == {"train.media", "test.media", "many.media"}
    train, pairs, packs = (
        pq.read_table(root / name / "part-00000.parquet")
        for name in ("tasks/train", "round_02/pairs", "tasks/train.media")
    )
    assert sorted(pairs["images"].to_pylist()) == sorted(train["images"].to_pylist())
    assert (
        pairs.schema.field("images").type
        == train.schema.field("images").type
        == arrow_schema(("images",)).field(0).type
    )
    assert sorted(packs["sha256"].to_pylist()) == sorted(
        {name for names in train["images"].to_pylist() for name in names}
    )
    assert [hashlib.sha256(data).hexdigest() for data in packs["bytes"].to_pylist()] == packs[
        "sha256"
    ].to_pylist()


def test_a_rendered_prompt_about_another_picture_has_another_id(plan):
    rows = rows_of(read_catalog(plan.project).artifacts["seen/round_01/reasked"])
    assert len({row["prompt"] for row in rows}) < len(rows) == len({row["prompt_id"] for row in rows})


def test_a_digest_that_no_pack_has_is_an_error_that_names_the_packs(plan):
    catalog = read_catalog(plan.project)
    pictures = pictures_of(catalog, catalog.artifacts["seen/round_02/pairs"])
    for digest in ("0" * 64, "no digest"):
        assert digest not in pictures
        with pytest.raises(ArtifactError, match=f"picture {digest} is not in seen/tasks/train.media"):
            pictures[digest]


# -- the user's own pictures --------------------------------------------------------------------------------------------

COLUMNS = {"prompt": "question", "answer": "solution", "images": "image"}


def load(lab, path, **settings):
    return lab.run("dataset", "tasks/train", path=path, **{"columns": COLUMNS, **settings})


def test_dataset_reads_pictures_from_paths_and_from_bytes_alike(lab):
    files = [png(), png((0, 0, 9), name="JPEG"), png((1, 2, 3), name="WEBP")]
    for number, data in enumerate(files):
        (lab.path / "data" / "pictures" / f"{number}.img").write_bytes(data)
    rows = [{"question": f"q{n}", "solution": "a", "image": f"{n}.img"} for n in range(3)]
    rows.append({"question": "both", "solution": "a", "image": ["0.img", "1.img"]})
    named = [[one] if isinstance(one, str) else one for one in (row["image"] for row in rows)]
    held = [
        {**row, "image": [{"bytes": files[int(name[0])], "path": name} for name in names]}
        for row, names in zip(rows, named, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(held), lab.path / "data" / "held.parquet")
    features = {"question": datasets.Value("string"), "solution": datasets.Value("string")}
    features = datasets.Features({**features, "image": datasets.List(datasets.Image())})
    datasets.Dataset.from_list(held, features=features).save_to_disk(lab.path / "data" / "saved")
    named = load(lab, lines(lab, rows), pictures="data/pictures")
    assert [row["images"] for row in rows_of(named[""])][3] == [
        hashlib.sha256(data).hexdigest() for data in files[:2]
    ]
    assert [row["mime"] for row in rows_of(named["media"])] == ["image/png", "image/jpeg", "image/webp"]
    assert [row["bytes"] for row in rows_of(named["media"])] == files
    for path in ("data/held.parquet", "data/saved"):
        made = load(lab, path)
        assert rows_of(made[""]) == rows_of(named[""]) and made["media"].digest == named["media"].digest


def test_dataset_pictures_decide_ids_splits_and_what_is_kept(lab):
    for number in range(30):
        (lab.path / "data" / "pictures" / f"{number}.png").write_bytes(png((number, 0, 0)))
    path = lines(lab, [{"question": "which?", "solution": "a", "image": f"{n}.png"} for n in range(30)])
    made = load(lab, path, pictures="data/pictures", split="test")
    rows = rows_of(made[""])
    assert 0 < len(rows) < 15 and len({row["prompt_id"] for row in rows}) == len(rows) == len(
        rows_of(made["media"])
    )
    with pytest.raises(DataError, match=r"line 2 has the same prompt id as line 1"):
        load(
            lab,
            lines(lab, [{"question": "which?", "solution": "a", "image": "0.png"}] * 2),
            pictures="data/pictures",
        )


def test_dataset_pictures_are_identity_and_a_dependency(lab):
    (lab.path / "data" / "pictures" / "a.png").write_bytes(png())
    path = lines(lab, [{"question": "q", "solution": "a", "image": "a.png"}])
    component = lab.parse("dataset", path=path, columns=COLUMNS, pictures="data/pictures")
    directory = component.files()["data/pictures"]
    before = component.file_identity(directory)
    (lab.path / "data" / "pictures" / ".hidden").write_text("x")
    assert component.file_identity(directory) == before
    (lab.path / "data" / "pictures" / "a.png").write_bytes(png((1, 1, 1)))
    assert component.file_identity(directory) != before
    assert "pictures" not in lab.parse("dataset", path=path, columns={"prompt": "question"}).identity()


def with_chunk(data, name, body):
    chunk = struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data[:33] + chunk + data[33:]


def deep():
    stream = io.BytesIO()
    Image.new("I;16", (4, 4)).save(stream, "PNG")
    return stream.getvalue()


def deep_colour():
    body = b"".join(b"\0" + b"\1\2" * 12 for _ in range(4))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(body)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks
    )


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return png(name="JPEG", exif=exif)


def animated():
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(
        stream,
        "WEBP",
        save_all=True,
        append_images=[Image.new("RGB", (4, 4), (255, 255, 255))],
        lossless=True,
    )
    return stream.getvalue()


def bomb():
    data = png()
    head = struct.pack(">II", 60_000, 60_000) + data[24:29]
    return data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]


def large():
    data = png()
    head = struct.pack(">II", 8_000, 8_000) + data[24:29]
    return data[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + data[33:]


REFUSED = {
    "broken": (png(size=(60, 60), name="JPEG")[:-200], "no picture that can be read .*Truncated"),
    "no picture": (b"hello", "no picture that can be read .* expected one of PNG, JPEG, WEBP"),
    "gif": (png(0, mode="P", name="GIF"), "no picture that can be read"),
    "cmyk": (png((0, 0, 0, 0), mode="CMYK", name="JPEG"), "has the colours CMYK, expected 8 bits"),
    "16 bits of grey": (deep(), "16 bits a colour"),
    "16 bits of a colour": (deep_colour(), "16 bits a colour, expected 8 bits"),
    "turned": (turned(), r"turned by its EXIF orientation \(6\).* Save it upright"),
    "animated": (animated(), "holds 2 pictures"),
    "transparent": (png((9, 9, 9, 100), mode="RGBA"), "transparent in places"),
    "bomb": (bomb(), "no picture that can be read .*decompression bomb"),
    "large": (large(), r"8,000 x 8,000 pixels, more than 33,554,432 in all"),
    "text bomb": (
        with_chunk(png(), b"zTXt", b"k\0\0" + zlib.compress(b"0" * (1 << 22))),
        "no picture that can be read",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_dataset_picture_that_models_would_not_see_alike_is_refused_with_its_row(lab, kind):
    data, message = REFUSED[kind]
    for name, file in (("a.png", png()), ("b.png", data)):
        (lab.path / "data" / "pictures" / name).write_bytes(file)
    path = lines(
        lab, [{"question": f"q {name}", "solution": "a", "image": name} for name in ("a.png", "b.png")]
    )
    with pytest.raises(DataError, match=rf"data/rows.jsonl: line 2, column 'image' .*{message}"):
        load(lab, path, pictures="data/pictures")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("https://a.b/c.png", "is the address 'https://a.b/c.png', expected a file"),
        ("data:image/png;base64,AAAA", "is the address"),
        ("//host/c.png", "is the address"),
        ("../rows.jsonl", "leads out of pictures/"),
        ("/etc/passwd", "leads out of pictures/"),
        ("aa.png", r"'aa.png' cannot be read: No such file or directory. Did you mean 'a.png'"),
        ("", "holds '', expected a path, bytes, or both"),
        ([7], "holds 7, expected a path"),
        ({"bytes": None, "path": None}, "holds None, expected a path"),
        (["a.png", ""], ", picture 2 holds ''"),
        (None, "is null; every row needs a value"),
    ],
)
def test_dataset_value_that_is_no_picture_is_refused_with_its_row(lab, value, message):
    (lab.path / "data" / "pictures" / "a.png").write_bytes(png())
    path = lines(lab, [{"question": "q", "solution": "a", "image": value}])
    with pytest.raises(DataError, match=f"data/rows.jsonl: line 1, column 'image'.*{message}"):
        load(lab, path, pictures="data/pictures")


def test_dataset_pictures_need_a_directory_of_the_project(lab):
    path = lines(lab, [{"question": "q", "solution": "a", "image": "a.png"}])
    with pytest.raises(
        DataError, match=r"names the file 'a.png', but not where it is\. .* pictures: data/pictures"
    ):
        load(lab, path)
    for name, message in (
        ("../x", "not a directory inside"),
        (path, "is a file"),
        ("data/none", "no such directory"),
    ):
        with pytest.raises(ValueError, match=message):
            lab.parse("dataset", path=path, columns=COLUMNS, pictures=name)
    with pytest.raises(ValueError, match="pictures is about a column of pictures"):
        lab.parse("dataset", path=path, columns={"prompt": "question"}, pictures="data/pictures")


def test_dataset_rows_without_a_picture_may_stand_beside_others(lab):
    (lab.path / "data" / "pictures" / "a.png").write_bytes(png())
    rows = [{"question": "q", "solution": "a", "image": "a.png"}, {"question": "p", "solution": "a"}]
    made = rows_of(load(lab, lines(lab, rows), pictures="data/pictures", optional=["images"])[""])
    assert [row["images"] and len(row["images"]) for row in made] == [1, None]


# -- the plan and the audit ---------------------------------------------------------------------------------------------


def test_a_step_whose_model_would_not_see_the_pictures_is_refused_in_the_plan(tmp_path):
    scored = "  likely: {use: likelihood, rows: pairs, scorer: start.checkpoint}\n"
    project = write_project(tmp_path, METHOD + scored)
    with pytest.raises(
        DeclarationError,
        match=r"seen\.yaml:\d+: .*rows.*the rows have pictures .* likelihood gives a model texts alone",
    ):
        make_plan(project)


def test_exported_pictures_are_decoded_by_datasets(plan, tmp_path):
    catalog = read_catalog(plan.project)
    artifact = catalog.artifacts["seen/round_02/pairs"]
    export_artifact(plan.project, catalog, artifact, tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["images"] == datasets.List(datasets.Image())
    pictures = pictures_of(catalog, artifact)
    for row, own in zip(loaded, rows_of(artifact), strict=True):
        shown = [image.convert("RGB").tobytes() for image in row["images"]]
        assert shown == [pictures.decoded(digest).tobytes() for digest in own["images"]]
    document = json.loads((tmp_path / "out" / "croissant.json").read_text())
    file, field = (
        document["distribution"][0],
        {one["name"]: one for one in document["recordSet"][0]["field"]}["images"],
    )
    data = (tmp_path / "out" / file["contentUrl"]).read_bytes()
    assert (file["sha256"], file["contentSize"]) == (hashlib.sha256(data).hexdigest(), f"{len(data)} B")
    assert (field["dataType"], field["repeated"], field["source"]["transform"]) == (
        "sc:ImageObject",
        True,
        {"jsonPath": "$[*].bytes"},
    )


def test_a_pictures_digest_is_traced_to_the_prompt_that_shows_it(plan):
    catalog, compute = read_catalog(plan.project), plan.project.params.compute
    row = rows_of(catalog.artifacts["seen/tasks/train"])[3]
    found = find_target(catalog, row["images"][0][:20], compute)
    assert (found.kind, found.name, found.held_in) == ("row", row["prompt_id"], ("seen/tasks/train",))
    shown = collections.Counter(one["images"][0] for one in rows_of(catalog.artifacts["seen/tasks/many"]))
    digest, count = shown.most_common(1)[0]
    with pytest.raises(
        UsageError,
        match=rf"picture {digest[:12]} is in {count} prompts: .*list_contains\(images, '{digest}'\)",
    ):
        find_target(catalog, digest, compute)
    with pytest.raises(UsageError, match="no row, prompt, artifact or digest begins with"):
        find_target(catalog, "0123456789abcdef", compute)


def test_the_report_shows_the_pictures_of_its_rows(plan):
    page = gather(plan)
    (thumbnails,) = (one.thumbnails for one in page.samples.values())
    rows = [row for one in page.samples["seen"].rounds for row in one.rows]
    assert rows and {digest for row in rows for digest in row.images} == thumbnails.keys()
    html = render(page, run_facts(plan, page.summary))
    catalog = read_catalog(plan.project)
    pictures = pictures_of(catalog, catalog.artifacts["seen/tasks/train"])
    for digest in thumbnails:
        assert f'src="data:image/png;base64,{base64.b64encode(pictures[digest].data).decode()}"' in html
    large = Picture("0" * 64, "image/png", 600, 300, png(size=(600, 300)) + b" " * (1 << 14))
    smaller = _thumbnail(large).source.removeprefix("data:image/png;base64,")
    assert Image.open(io.BytesIO(base64.b64decode(smaller))).size == (160, 80)


def test_media_are_found_through_what_rows_were_made_from(plan):
    catalog = read_catalog(plan.project)
    assert [one.key for one in media_of(catalog, catalog.artifacts["seen/round_02/pairs"])] == [
        "seen/tasks/train.media"
    ]
    assert not media_of(catalog, catalog.artifacts["seen/tasks/train.media"])


def test_a_test_picture_in_training_rows_is_contamination_and_shared_words_are_none(plan):
    held_out, catalog = held_out_prompts(plan, "seen"), read_catalog(plan.project)
    assert not list(held_out.matches(catalog.artifacts["seen/round_01/pairs"]))
    asked = {prompt.pictures[0]: prompt for prompt in held_out.prompts}
    found = list(HeldOut(held_out.prompts, 13).matches(catalog.artifacts["seen/tasks/test"]))
    assert {(match.rule, match.column) for match in found} == {("prompt_id", "prompt"), ("picture", "images")}
    assert len(asked) == len({match.row for match in found})
