"""Chromium without a window, for the tests of the page."""

import shutil

from selenium import webdriver

#: What keeps it from asking the network for anything.
_QUIET = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
)


def start(profile, width=1200, height=900):
    """A browser with an empty profile that logs what its console says."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in [*_QUIET.split(), f"--user-data-dir={profile}", f"--window-size={width},{height}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
