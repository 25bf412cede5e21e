"""What all plots share: settings that matplotlib knows, colours that can be told apart."""

from io import BytesIO

from harness_bench.core.plotting import INK, LINE, MUTED, PALETTE, STYLE

WHITE = "#ffffff"
CONTRAST = 2.2  # orange's; lines are wide and told apart by dashes too


def channels(colour: str) -> list[float]:
    """Return red, green and blue of a colour as linear light."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]


def contrast(colour: str, other: str) -> float:
    """Return WCAG's contrast ratio of two colours."""
    weights = (0.2126, 0.7152, 0.0722)
    lights = sorted(
        sum(w * c for w, c in zip(weights, channels(each), strict=True)) for each in (colour, other)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def test_every_colour_stands_out_on_white() -> None:
    """WCAG asks 4.5 of text; a line of the palette must at least be seen."""
    assert min(contrast(ink, WHITE) for ink in (INK, MUTED)) > 4.5
    assert min(contrast(colour, WHITE) for colour in PALETTE) >= CONTRAST
    assert contrast(LINE, WHITE) < CONTRAST  # grids stay behind what is drawn


def test_matplotlib_takes_the_style_and_draws_the_same_twice() -> None:
    """A misspelt setting is an error there; without a salt the ids of an SVG change each time."""
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    files = []
    for _ in range(2):
        with rc_context(STYLE):
            figure = Figure()
            axes = figure.subplots()
            axes.plot([1, 2], marker="o", clip_on=True)
            assert not axes.spines["top"].get_visible()
            target = BytesIO()
            figure.savefig(target, format="svg", metadata={"Date": None})
            files.append(target.getvalue())
    assert files[0] == files[1]
