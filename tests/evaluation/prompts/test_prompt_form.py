import pytest

from gsn.evaluation.prompts.prompt_form import (
    Marks,
    PixelForm,
    PromptError,
    TextForm,
    check_png_name,
    check_prompt_name,
    read_form,
)

HEAD = "version: 1\nobject: cup\n"
PIXELS = HEAD + "view: '007'\nimage_size_px: [504, 378]\n"


@pytest.fixture
def read(tmp_path):
    """Return what reads a text as a prompt file."""

    def read_text(text):
        path = tmp_path / "cup.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_form(path)

    return read_text


def test_all_keys_of_a_prompt_by_pixels_are_read(read):
    found = read(
        PIXELS
        + """
positive:
  strokes: [cup.png, more/cup.png]
  lines: [[[10, 20], [40.5, 25]], [[1, 2]]]
  line_width_px: 3
  points: [[100.5, 80]]
  rectangle: [40, 60, 120, 140]
  box: area.png
negative: {points: [[-3, 4.0]]}
reference: cup_mask.png
"""
    )
    positive = Marks(
        strokes=("cup.png", "more/cup.png"),
        lines=(((10.0, 20.0), (40.5, 25.0)), ((1.0, 2.0),)),
        line_width_px=3,
        points=((100.5, 80.0),),
        rectangle=(40.0, 60.0, 120.0, 140.0),
        box="area.png",
    )
    negative = Marks(points=((-3.0, 4.0),))
    assert found == PixelForm(1, "cup", "007", (504, 378), positive, negative, "cup_mask.png")
    named = [(100.5, 80), (10, 20), (40.5, 25), (1, 2), (40, 60), (120, 140)]
    assert found.positive.corners == named


def test_a_prompt_by_text_is_read(read):
    assert read(HEAD + "text: a purple cup") == TextForm(1, "cup", "a purple cup")


def test_a_reference_alone_is_a_prompt(read):
    form = read(PIXELS + "reference: cup.png")
    assert (form.positive, form.negative, form.reference) == (None, None, "cup.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected keys `version: 1`, .* got None"),
        ("- 1\n- 2", r"expected keys .* got \[1, 2\]"),
        ("version: [1", "broken YAML: .*expected ',' or ']'"),
        (b"version: \xff", "broken YAML"),
        ("object: 0b_", "broken YAML: '0b_' cannot be read as int"),
        ("? [1, 2]\n: 3", "broken YAML: key a list or mapping is no text"),
        ("&a [*a]", "broken YAML: alias 'a' stands in itself"),
        (HEAD + "object: jar\ntext: a jar", "broken YAML: key 'object' stands twice"),
        (PIXELS + "positive: {points: [], points: []}", "broken YAML: key 'points' stands twice"),
        ("version: 1\n---\nversion: 1", "broken YAML: expected a single document"),
        ("!!python/object:os.system {}", "broken YAML: tag 'tag:.*os.system' is not read"),
    ],
)
def test_what_is_no_mapping_of_keys_is_refused(read, text, message):
    with pytest.raises(PromptError, match=f"cup.yaml: {message}"):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("object: cup\ntext: a cup", "by text: key 'version' is missing"),
        ("version: 2\nobject: cup\ntext: a cup", "key 'version': expected 1, got 2"),
        (HEAD, "by pixels: key 'view' is missing; key 'image_size_px' is missing"),
        (HEAD + "text: ' '", "key 'text': .*match pattern"),
        (HEAD + "text: a cup\nview: a", r"unknown key 'view' \(known: version, object, text\)"),
        (PIXELS, "expected 'positive' or 'reference', or 'text' instead, got neither"),
        (PIXELS + "negative: {points: [[1, 2]]}", "expected 'positive' or 'reference'"),
        (PIXELS + "mask: a.png", r"unknown key 'mask' \(known: version, object, view, image"),
        (PIXELS.replace("'007'", "7"), "'view': .*valid string, got 7: put it in quotes"),
        (PIXELS.replace("504", "504.0"), r"'image_size_px.0': .*valid integer, got 504\.0"),
        (PIXELS.replace("504", "0"), "'image_size_px.0': .*greater than or equal to 1, got 0"),
        (PIXELS.replace("504, ", ""), "'image_size_px.1' is missing"),
    ],
)
def test_a_fault_of_a_key_is_told(read, text, message):
    with pytest.raises(PromptError, match=rf"cup\.yaml: a prompt .*{message}"):
        read(text)


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        ("{}", "'positive': expected at least one of strokes, lines, points, rectangle"),
        ("{points: []}", "'positive': expected at least one of strokes"),
        ("{dots: [[1, 2]]}", r"unknown key 'positive.dots' \(known: strokes, lines, line_width"),
        ("{points: [1, 2]}", "'positive.points.0': .*valid (tuple|array), got 1"),
        ("{points: [[1]]}", "'positive.points.0.1' is missing"),
        ("{points: [[1, .nan]]}", "'positive.points.0.1': .*finite number"),
        ("{points: [[1, 2.e+7]]}", "'positive.points.0.1': .*less than or equal to 1000000"),
        ("{points: [[1, '2']]}", "'positive.points.0.1': .*valid number, got '2'"),
        ("{points: [[1, true]]}", "'positive.points.0.1': .*valid number, got True"),
        ("{lines: [[[1, 2]]]}", "'positive': expected 'lines' and 'line_width_px' together"),
        ("{points: [[1, 2]], line_width_px: 3}", "expected 'lines' and 'line_width_px' together"),
        ("{lines: [[]], line_width_px: 3}", "'positive.lines.0': .*at least 1 item"),
        ("{lines: [[[1, 2]]], line_width_px: 0}", "'positive.line_width_px': .*equal to 1, got 0"),
        ("{rectangle: [5, 1, 4, 9]}", r"x0 <= x1 and y0 <= y1, got \[5.0, 1.0, 4.0, 9.0\]: name"),
        ("{rectangle: [5, 9, 6, 1]}", "name the upper left corner first"),
        ("{box: area.jpg}", "'positive': file 'area.jpg': expected the name of a PNG"),
        ("{strokes: [../cup.png]}", "'positive': file '../cup.png': expected the name of a PNG"),
    ],
)
def test_a_fault_of_the_marks_is_told(read, marks, message):
    with pytest.raises(PromptError, match=message):
        read(PIXELS + f"positive: {marks}")


def test_all_faults_of_a_file_are_told_at_once(read):
    with pytest.raises(PromptError, match=r"'object'.*'view'.*'image_size_px' is missing"):
        read("version: 1\nobject: 5\nview: 6\nreference: a.png")


@pytest.mark.parametrize(
    "name",
    ["/a.png", "../a.png", "b/../../a.png", "..\\a.png", "C:\\a.png", "C:a.png", "a.jpg", ".png"],
)
def test_a_path_that_is_no_png_inside_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="expected the name of a PNG in the folder"):
        check_png_name(name)


def test_a_reference_outside_of_the_folder_is_refused(read):
    with pytest.raises(PromptError, match=r"file '/etc/a\.png': expected the name of a PNG"):
        read(PIXELS + "reference: /etc/a.png")


@pytest.mark.parametrize("name", ["a.png", "a.b.png", "b/a.png", "a..png", "ä b.png"])
def test_a_png_inside_the_folder_passes(name):
    check_png_name(name)


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".cup", "a/cup", "a\\cup", "/cup", "C:cup"])
def test_a_name_that_leads_elsewhere_names_no_prompt(name):
    with pytest.raises(ValueError, match="expected a file name without folder"):
        check_prompt_name(name)
