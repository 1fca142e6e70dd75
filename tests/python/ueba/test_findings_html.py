"""Test in a browser that findings are legible in light and dark notebooks, and that their page works within one."""

import re

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from isoxide._common import notebook
from page_browser import open_page, shown_ids, visible

pytestmark = [
    pytest.mark.browser,
    pytest.mark.not_parallel(reason="one browser for all"),
    pytest.mark.current_versions(reason="the report does not depend on scikit-learn"),
]

#: Text and background of notebooks: JupyterLab, VS Code and GitHub, light and dark.
THEMES = {
    "light": ("#212121", "#ffffff"), "dark": ("#ffffffde", "#111111"), "editor": ("#cccccc", "#1e1e1e"),
    "host": ("#1f2328", "#ffffff"), "dimmed": ("#d1d7e0", "#212830"),
}  # fmt: skip


def rgba(colour):
    """Return a computed colour as red, green and blue from 0 to 1, and its opacity."""
    numbers = [float(number) for number in re.findall(r"[\d.]+(?:e-?\d+)?", colour.replace("srgb", ""))]
    scale = 1 if colour.startswith("color(") else 255
    return np.array(numbers[:3]) / scale, numbers[3] if len(numbers) > 3 else 1.0


def luminance(channels):
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(text, background):
    """Return the contrast ratio of a text, which may be translucent, to an opaque background."""
    (colour, opacity), (behind, _) = rgba(text), rgba(background)
    dark, light = sorted([luminance(opacity * colour + (1 - opacity) * behind), luminance(behind)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_findings_are_legible_in_light_and_dark_notebooks(browser, page_findings, tmp_path, theme):
    text, background = THEMES[theme]
    block = page_findings._repr_html_()
    page = f'<!doctype html><title>t</title><body style="color:{text};background:{background}">{block}'
    open_page(browser, page, tmp_path / "notebook.html")
    items = browser.find_elements(By.CSS_SELECTOR, ".isoxide p, .isoxide th, .isoxide td, .isoxide small")
    # Cells of a column look the same.
    items = [*items[:12], *items[-12:]]
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    colours = browser.execute_script("return arguments[0].map(e => getComputedStyle(e).color)", items)
    assert min(contrast(colour, back) for colour in colours) >= 4.5
    backs = browser.execute_script("return arguments[0].map(e => getComputedStyle(e).backgroundColor)", items)
    assert set(backs) == {"rgba(0, 0, 0, 0)"}


def test_a_narrow_notebook_scrolls_the_table_and_not_the_notebook(browser, page_findings, tmp_path):
    open_page(browser, f"<!doctype html><title>t</title>{page_findings._repr_html_()}", tmp_path / "narrow.html")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 780, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
        assert browser.execute_script("return document.querySelector('.isoxide').scrollWidth") > 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def framed(browser, page_findings, tmp_path, monkeypatch):
    """Open the output of `show` in a page, and go into its frame; check afterwards that the console has no messages."""
    outputs = []
    display = type("Display", (), {"display": lambda data, raw: outputs.append(data["text/html"])})
    monkeypatch.setattr(notebook, "_is_notebook", lambda: True)
    monkeypatch.setattr(notebook.importlib, "import_module", lambda name: display)
    assert page_findings.show(height=500) is None
    [output] = outputs
    open_page(browser, f"<!doctype html><title>t</title><p id=own>notebook</p>{output}", tmp_path / "shown.html")
    assert browser.execute_script("return document.querySelector('iframe').clientHeight") == 500
    browser.switch_to.frame(0)
    yield browser
    assert browser.execute_script("return location.href").startswith("about:srcdoc")
    browser.switch_to.default_content()
    assert browser.find_element(By.ID, "own").text == "notebook"
    assert browser.get_log("browser") == []


def test_the_page_works_in_the_frame_of_a_notebook(framed, page_findings):
    assert len(shown_ids(framed)) == len(page_findings)
    entity = page_findings.frame["actor"].iloc[0]
    framed.find_element(By.ID, "text").send_keys(entity)
    expected = int((page_findings.frame["actor"] == entity).sum())
    assert f"{expected} of {len(page_findings)} findings" in framed.find_element(By.ID, "status").text
    # The filters are in the address of the frame, which has no other.
    assert framed.execute_script("return location.href") == f"about:srcdoc#text={entity}"
    framed.find_element(By.ID, "text").send_keys(Keys.BACKSPACE * len(entity))
    assert len(shown_ids(framed)) == len(page_findings)


def test_links_in_the_frame_of_a_notebook_lead_to_findings(framed, page_findings):
    wanted = page_findings.frame["finding_id"].iloc[-1]
    for _ in range(2):
        framed.execute_script("scrollTo(0, 0)")
        framed.execute_script("document.querySelector(`.f h4 a[href='#${arguments[0]}']`).click()", wanted)
        assert framed.execute_script("return location.hash") == f"#{wanted}"
        top = framed.execute_script("return document.getElementById(arguments[0]).getBoundingClientRect().top", wanted)
        assert -1 <= top < 500
    framed.execute_script("document.querySelector('a.name').click()")
    assert framed.find_element(By.ID, "person").is_displayed()
    framed.execute_script("document.getElementById('back').click()")


def test_a_ticket_from_a_notebook_has_no_address(framed):
    framed.execute_script("document.querySelector('.f').scrollIntoView()")
    # Buttons are made when a finding comes into view.
    control = WebDriverWait(framed, 5).until(lambda browser: visible(browser, ".do [data-copy]"))[0]
    framed.execute_script("document.execCommand = () => false")
    framed.execute_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    framed.execute_script("arguments[0].click()", control)
    text = framed.find_element(By.CSS_SELECTOR, ".do textarea").get_attribute("value")
    assert "anomaly score" in text
    assert "about:" not in text
    assert "#" not in text
