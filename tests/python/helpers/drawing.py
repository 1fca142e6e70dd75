"""Draw displays in tests."""


def draw(display):
    """Render a display, so that matplotlib raises any error in its texts."""
    display.figure_.canvas.draw()
