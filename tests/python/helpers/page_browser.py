"""Start Chromium or Chrome without a window for the tests of the page, and read and use the page in it."""

import shutil
import time

import numpy as np
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

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


def visible(browser, selector):
    return [item for item in browser.find_elements(By.CSS_SELECTOR, selector) if item.is_displayed()]


def names(browser):
    return browser.execute_script(
        "const cards = [...document.querySelectorAll('.card')].filter(card => !card.hidden);"
        "return cards.map(card => card.querySelector('h3').textContent)"
    )


def shown_ids(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('.f')].filter(f => !f.closest('[hidden]')).map(f => f.id)"
    )


def ids_of(findings, is_wanted):
    """Return the sorted ids of the findings of a mask."""
    return sorted(findings.frame["finding_id"][np.asarray(is_wanted)])


def finding(browser, finding_id):
    return browser.find_element(By.ID, finding_id)


def choose(browser, field, value):
    Select(browser.find_element(By.ID, field)).select_by_value(value)


def comes_into_view(browser, finding_id):
    """Return whether the top of a finding comes into the window within a few seconds, and stays there."""
    look = (
        "const box = document.getElementById(arguments[0]).getBoundingClientRect();"
        "return box.height > 0 && box.top >= -1 && box.top < innerHeight"
    )
    deadline, n_in_view = time.monotonic() + 5, 0
    while n_in_view < 5 and time.monotonic() < deadline:
        n_in_view = n_in_view + 1 if browser.execute_script(look, finding_id) else 0
        time.sleep(0.05)
    return n_in_view == 5


def open_page(browser, page, path):
    """Open a page, check that the browser's console has no messages, and return the text."""
    path.write_text(page, encoding="utf-8")
    browser.get("about:blank")
    browser.get(path.as_uri())
    assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []
    return browser.find_element(By.TAG_NAME, "body").text
