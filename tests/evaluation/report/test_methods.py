from gsn.evaluation.report.methods import STYLES, in_order, needs_photo, style_of
from gsn.evaluation.views.comparators import CARRIED, COLOUR, MEAN, MODEL, NEAREST, TEACHER


def luminance(colour):
    """Relative luminance of an sRGB colour (WCAG 2.1)."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_method_of_the_comparison_has_a_style_of_its_own():
    assert set(STYLES) == {MODEL, TEACHER, NEAREST, MEAN, CARRIED, COLOUR}
    for values in zip(*((s.label, s.colour, s.dashes) for s in STYLES.values()), strict=True):
        assert len(set(values)) == len(STYLES)


def test_colours_stand_out_from_white():
    for style in [*STYLES.values(), style_of("unheard of")]:
        assert 1.05 / (luminance(style.colour) + 0.05) > 2.0, style


def test_the_student_comes_first_and_what_needs_the_photo_last():
    given = [TEACHER, "unheard_of", NEAREST, MODEL, "another", CARRIED]
    assert in_order(given) == [MODEL, CARRIED, NEAREST, "unheard_of", "another", TEACHER]
    assert [method for method in given if needs_photo(method)] == [TEACHER]


def test_an_unknown_method_keeps_its_name():
    assert style_of("region_grown").label == "region grown"
