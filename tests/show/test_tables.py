"""Tables that are declared: which columns, under which titles, in which formats."""

import pandas as pd

from repro.show.tables import listed

FRAME = pd.DataFrame({"size": ["<a>", "b"], "median_error": [0.12345, float("nan")], "share": [0.5, 1.0], "other": 1})


def test_columns_are_shown_in_the_order_declared_under_their_titles_and_in_their_formats() -> None:
    columns = {"share": ("of all", "{:.0%}"), "not_there": "", "median_error": "{:.2f}", "size": "model size"}
    text = listed(FRAME, columns, "not measured").to_html()
    heads = [text.index(f">{head}<") for head in ("of all", "median error", "model size")]
    assert heads == sorted(heads)
    assert ">50%<" in text and ">0.12<" in text and "&lt;a&gt;" in text
    assert "other" not in text and "not_there" not in text


def test_what_cannot_be_seen_of_a_label_is_escaped() -> None:
    text = listed(pd.DataFrame({"size": ["a\x1b[31m\u202eb"]}), {"size": ""}, "not measured").to_html()
    assert r"a\x1b[31m\u202eb" in text


def test_what_is_missing_says_why() -> None:
    text = listed(FRAME, {"median_error": str}, "not measured").to_html()
    assert text.count('title="not measured"') == 1 and "nan" not in text
