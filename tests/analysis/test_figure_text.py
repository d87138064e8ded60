import pytest

from analysis.figures import interval, number, plot_text, share
from analysis.figures.style import log_axis

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0031, "0.0031"),
        (0.00001, "1e-5"),
        (1024, "1024"),
        (12800, "12\u202f800"),
        (123.456, "123"),
        (0, "0"),
        (float("inf"), "∞"),
        (NAN, "–"),
        (None, "–"),
    ],
)
def test_numbers_as_words(value, words):
    assert number(value) == words


def test_intervals_as_words():
    assert interval(0.0031, 0.0025, 0.0038) == "0.0031 [0.0025, 0.0038]"
    assert interval(0.0027, 0.0023, 0.003) == "0.0027 [0.0023, 0.0030]"
    assert interval(130.0, 90.0, NAN) == "130 [90, –]"
    assert interval(NAN, 1.0, 2.0) == "–"
    assert [share(0.0004), share(0.5), share(0.9999), share(NAN)] == ["< 0.01", "0.50", "> 0.99", "–"]


def test_plot_text_disarms_what_plotly_reads():
    assert plot_text("<b>x</b> &amp; %{y}") == "&lt;b&gt;x&lt;/b&gt; &amp;amp; %&#123;y}"


@pytest.mark.parametrize("values", [(0.0004, 0.02), (2.28, 3.4), (50, 60), (1, 1e6), (3, 3), (1e-9, 1e9)])
def test_log_axes_have_a_few_ticks_in_the_range(values):
    ticks = [mark for mark in log_axis(values, "x")["tickvals"] if values[0] * 0.9 <= mark <= values[1] * 1.1]
    assert 1 <= len(ticks) <= 12
