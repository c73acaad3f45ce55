"""The page in a real browser: every screen clicked through, at two widths, by its rules of access.

It needs Debian's packages chromium and chromium-driver; EVENTSRC_REQUIRE=browser makes a skip a
failure.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from eventsrc import MemoryStore, world
from eventsrc.testing.servers import NoServer, skip
from eventsrc.views.memory import MemoryViews
from eventsrc.web import page
from tests.kits.seen_shop import MARKUP, Placed, asking_twice, fill, order, orders, sales

SHOTS = os.environ.get("EVENTSRC_SCREENSHOTS")
"""A folder in which pictures of the screens are kept."""

SCREENS = {
    "overview": "/",
    "streams": "/streams",
    "stream": "/streams/orders/1?fold=order",
    "feed": "/feed",
    "event": "/events/3",
    "correlation": "/correlations/request%201",
    "views": "/views",
    "view": "/views/sales/1",
    "runs": "/runs",
    "run": "/runs/asking/chair",
    "health": "/health",
    "wrong": "/events/9999",
}
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def app() -> Any:
    view = sales()
    app: Any = MemoryStore(store_id="shop") | MemoryViews([view]) | world
    fill(app, view)
    return app


@pytest.fixture(scope="module")
def url(app: Any) -> Iterator[str]:
    shown = page(app, views=[sales()], folds={"order": order}, runs=[asking_twice], title="shop")
    server = uvicorn.Server(uvicorn.Config(shown, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    pause = threading.Event()
    while not server.started:
        assert thread.is_alive()
        pause.wait(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        if chromium is None or driver is None:
            raise NoServer("there is no browser: apt-get install chromium chromium-driver")
        if find_spec("selenium") is None or find_spec("axe_core_python") is None:
            raise NoServer("selenium is not installed: pip install 'eventsrc[test-servers]'")
    except NoServer as missing:
        skip(missing, "browser")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        *("headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
        *("disable-background-networking", "disable-component-update", "disable-sync"),
        f"user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    found.set_page_load_timeout(30)
    yield found
    found.quit()


def narrowed(browser: Any, width: int) -> None:
    """Gives the browser a width, also one that no window has."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_screen_keeps_the_rules_of_access_and_fits(
    browser: Any, url: str, screen: str, width: str
) -> None:
    from axe_core_python.selenium import Axe

    narrowed(browser, WIDTHS[width])
    for scheme in ("light", "dark"):
        preferred = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
        browser.get(url + SCREENS[screen])
        if SHOTS:
            browser.save_screenshot(str(Path(SHOTS) / f"{screen}-{width}-{scheme}.png"))
        violations = Axe().run(browser)["violations"]
        told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations]
        assert told == []
    wide = browser.execute_script("return document.documentElement.scrollWidth > innerWidth")
    assert not wide, "it scrolls sideways"


def test_it_is_clicked_through_without_an_error(browser: Any, url: str) -> None:
    from selenium.webdriver.common.by import By

    narrowed(browser, 1280)
    browser.get_log("browser")
    browser.get(url)
    for text, heading in (
        ("Streams", "Streams"),
        ("orders/7", "orders/7"),
        ("order", "orders/7"),
        ("request 7", "request 7"),
        ("Feed", "Feed"),
        ("24", "eventsrc/run.waits"),
        ("Views", "Views"),
        ("sales 1", "sales 1"),
        ("orders/1", "orders/1"),
    ):
        browser.find_element(By.LINK_TEXT, text).click()
        assert browser.find_element(By.TAG_NAME, "h1").text == heading
    browser.find_element(By.NAME, "q").send_keys("orders/2\n")
    wait_for(lambda: browser.find_element(By.TAG_NAME, "h1").text == "orders/2")
    assert [each for each in browser.get_log("browser") if each["level"] == "SEVERE"] == []


def test_the_slider_goes_back_in_time(browser: Any, url: str) -> None:
    from selenium.webdriver.common.by import By

    browser.get(url + "/streams")
    assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 10
    browser.execute_script(
        "const s = document.getElementById('as_of'); s.value = 4;"
        "s.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    wait_for(lambda: len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2)
    assert "as_of=4" in browser.current_url


def test_new_events_appear_in_the_feed_by_themselves(browser: Any, url: str, app: Any) -> None:
    from selenium.webdriver.common.by import By

    browser.get(url + "/feed")
    before = browser.find_element(By.CSS_SELECTOR, "tbody tr td").text
    app.run(orders[99].append(Placed(MARKUP, 1)))
    wait_for(lambda: browser.find_element(By.CSS_SELECTOR, "tbody tr td").text != before)
    assert MARKUP in browser.find_element(By.TAG_NAME, "tbody").text
    assert browser.execute_script("return document.scripts.length") == 1


def wait_for(holds: Any) -> None:
    """Waits until something holds; within twenty seconds."""
    from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

    pause = threading.Event()
    for _ in range(400):
        try:
            if holds():
                return
        except (NoSuchElementException, StaleElementReferenceException):
            pass
        pause.wait(0.05)
    pytest.fail("not within 20 seconds")


def test_control_a_picture_without_words_is_seen(browser: Any, url: str) -> None:
    from axe_core_python.selenium import Axe

    browser.get(url)
    browser.execute_script("document.querySelector('main').append(document.createElement('img'))")
    assert [each["id"] for each in Axe().run(browser)["violations"]] == ["image-alt"]
