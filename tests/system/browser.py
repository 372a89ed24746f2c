"""A headless Chromium that connects to this machine only and records the errors of each page."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from ..machine import tool

SCREENSHOTS = Path(__file__).parents[2] / "build/screenshots"
TIMEOUT = 30  # seconds
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # Chromium has no sandbox for root
    "--disable-gpu",
    "--disable-smooth-scrolling",  # scroll to a link target before the screenshot
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1400,1000",
)


class Browser:
    """A browser window with the log of its requests and scripts."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver

    def visit(self, url: str) -> None:
        self.pop_errors()  # discard the errors of the previous page
        self._driver.get(url)

    def find(self, selector: str, text: str = "") -> WebElement:
        """Wait for a displayed element that contains a text, and return it."""

        def search(driver: WebDriver) -> WebElement | None:
            elements = driver.find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in elements if element.is_displayed() and text in element.text), None)

        wait = WebDriverWait[WebDriver](self._driver, TIMEOUT, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(search, f"no {selector} with {text!r}")

    def click(self, element: WebElement) -> None:
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", element)

    def horizontal_overflow(self) -> int:
        """Return the number of pixels by which the page is wider than the window."""
        page = "document.documentElement"
        return int(self._driver.execute_script(f"return {page}.scrollWidth - {page}.clientWidth"))

    def save_screenshot(self, name: str) -> None:
        """Save a screenshot of the page in SCREENSHOTS."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        assert self._driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

    def pop_errors(self) -> list[str]:
        """Return the failed requests, error responses and script errors since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._driver.get_log("performance")]  # type: ignore[no-untyped-call]
        failed = [str(event["params"]) for event in events if event["method"] == "Network.loadingFailed"]
        responses = [event["params"]["response"] for event in events if event["method"] == "Network.responseReceived"]
        refused = [f"{response['status']} {response['url']}" for response in responses if response["status"] >= 400]
        return failed + refused + [entry["message"] for entry in self._driver.get_log("browser")]  # type: ignore[no-untyped-call]


@contextmanager
def open_browser() -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = tool("chromium")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    for option in OPTIONS:
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Driver(tool("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
