from gsn.text_table import text_table


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_on_the_right():
    rows = [("fern", "20", "ok"), ("a", "3", "")]
    assert text_table(("scene", "views", "verdict"), rows, ("views",)) == [
        "scene  views  verdict",
        "fern      20  ok",
        "a          3",
    ]
