"""The documents as a reader sees them: in a browser on a machine without internet. `build/screenshots` keeps what showed."""

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


def test_an_operation_of_the_interface_is_found_and_read(service: Service, browser: Browser) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/spec")
    browser.find("h1", "luna-image-store")
    browser.find("input.search-input").send_keys("thumbnail")
    browser.click(browser.find("[role=search] li label", "Get a picture as a thumbnail"))
    answer = browser.find("[id='tag/imageThumbnail/operation/getImageThumbnail'] button", "404")
    browser.click(answer)
    browser.find("[id='tag/imageThumbnail/operation/getImageThumbnail']", "error_code")
    browser.keep("interface")
    assert browser.faults() == []


def test_the_manual_is_read_and_searched(service: Service, browser: Browser) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/dev")
    browser.find("h1", "luna-image-store")
    browser.keep("manual")
    box = browser.find("input[name=q]")
    box.send_keys("fsync", Keys.ENTER)
    browser.click(browser.find("#search-results a"))
    browser.find("article h1, article h2")
    browser.keep("manual-found")
    assert browser.faults() == []


def test_a_code_is_searched_and_what_to_do_about_it_is_found(service: Service, browser: Browser) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/dev")
    browser.find("input[name=q]").send_keys("13907", Keys.ENTER)
    browser.find("#search-results li", "Insufficient storage")
    browser.keep("manual-search")
    browser.click(browser.find("#search-results a", "Errors"))
    assert browser.find("tr:target", "df -i").location_once_scrolled_into_view
    browser.keep("manual-errors")
    assert browser.faults() == []


@pytest.mark.parametrize("name", ["settings", "troubleshooting"])
def test_a_page_with_wide_tables_fits_into_the_window(service: Service, browser: Browser, name: str) -> None:
    browser.visit(f"http://127.0.0.1:{service.port}/docs/dev/{name}.html")
    browser.find("table")
    browser.keep(f"manual-{name}")
    assert browser.overhang() <= 0
    assert browser.faults() == []


class Links(HTMLParser):
    """The links of a page, and the names in it that links may lead to."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names.add(given.get("id") or "")
        self.links += [given[name] or "" for name in ("href", "src") if name in given]


def test_no_link_of_the_manual_is_dead(service: Service) -> None:
    home = f"http://127.0.0.1:{service.port}"
    waiting, pages = [f"{home}/docs/dev/index.html"], {}
    wanted: set[tuple[str, str, str]] = set()
    while waiting:
        url = waiting.pop()
        answer = service.get(url.removeprefix(home))
        assert answer.status_code == 200, url
        pages[url] = Links(answer.text if url.endswith(".html") else "")
        for link in pages[url].links:
            target, name = urldefrag(urljoin(answer.url, link))
            if target.startswith(home):
                wanted.add((url, target, unquote(name)))
                waiting += [target] if target not in pages and target not in waiting else []
    assert len(pages) > 20
    assert [link for link in wanted if link[2] and link[2] not in pages[link[1]].names] == []
