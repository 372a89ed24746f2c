"""The documentation in a browser without internet access. The screenshots are in `build/screenshots`."""

from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urljoin

import pytest
from selenium.webdriver.common.keys import Keys

from .browser import Browser, open_browser
from .service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("documents"))
    try:
        yield service.start()
    finally:
        service.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


def test_search_in_the_api_reference_finds_an_operation(service: Service, browser: Browser) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/spec")
    browser.find("h1", "luna-image-store")
    browser.find("input.search-input").send_keys("preview")
    browser.click(browser.find("[role=search] li label", "Get a preview of an image"))
    response = browser.find("[id='tag/imageThumbnail/operation/getImageThumbnail'] button", "404")
    browser.click(response)
    browser.find("[id='tag/imageThumbnail/operation/getImageThumbnail']", "error_code")
    browser.save_screenshot("interface")
    assert browser.pop_errors() == []


def test_search_in_the_manual_opens_a_page(service: Service, browser: Browser) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/dev")
    browser.find("h1", "luna-image-store")
    browser.save_screenshot("manual")
    box = browser.find("input[name=q]")
    box.send_keys("fsync", Keys.ENTER)
    browser.click(browser.find("#search-results a"))
    browser.find("article h1, article h2")
    browser.save_screenshot("manual-found")
    assert browser.pop_errors() == []


def test_search_for_an_error_code_leads_to_its_row(service: Service, browser: Browser) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/dev")
    browser.find("input[name=q]").send_keys("13907", Keys.ENTER)
    browser.find("#search-results li", "Insufficient storage")
    browser.save_screenshot("manual-search")
    browser.click(browser.find("#search-results a", "Errors"))
    assert browser.find("tr:target", "df -i").location_once_scrolled_into_view
    browser.save_screenshot("manual-errors")
    assert browser.pop_errors() == []


@pytest.mark.parametrize("name", ["settings", "troubleshooting"])
def test_page_with_wide_tables_fits_into_the_window(service: Service, browser: Browser, name: str) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/dev/{name}.html")
    browser.find("table")
    browser.save_screenshot(f"manual-{name}")
    assert browser.horizontal_overflow() <= 0
    assert browser.pop_errors() == []


class Links(HTMLParser):
    """The links of a page, and the ids of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.ids.add(attributes.get("id") or "")
        self.links += [attributes[name] or "" for name in ("href", "src") if name in attributes]


def test_every_link_of_the_manual_has_a_target(service: Service) -> None:
    home = f"http://127.0.0.1:{service.port}"
    queue, pages = [f"{home}/docs/dev/index.html"], {}
    links: set[tuple[str, str, str]] = set()
    while queue:
        url = queue.pop()
        answer = service.get(url.removeprefix(home))
        assert answer.status_code == 200, url
        pages[url] = Links(answer.text if url.endswith(".html") else "")
        for link in pages[url].links:
            target, fragment = urldefrag(urljoin(answer.url, link))
            if target.startswith(home):
                links.add((url, target, unquote(fragment)))
                queue += [target] if target not in pages and target not in queue else []
    assert len(pages) > 20
    assert [link for link in links if link[2] and link[2] not in pages[link[1]].ids] == []
