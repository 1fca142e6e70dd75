"""Start Chromium or Chrome without a window for the tests of the page."""

import shutil

from selenium import webdriver

#: Options that keep the browser from using the network.
_OFFLINE_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
)


def start(profile, width=1200, height=900):
    """Start a browser with an empty profile that logs the messages of its console."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for argument in [*_OFFLINE_OPTIONS.split(), f"--user-data-dir={profile}", f"--window-size={width},{height}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
