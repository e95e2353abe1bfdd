"""Report pages in a headless Chromium; skipped where there is none."""

import dataclasses
import shutil

import numpy as np
import pytest

from object_detection_mtl.reporting.comparison_report import write_comparison
from object_detection_mtl.reporting.detector_comparison import compare_detectors
from object_detection_mtl.reporting.evaluated_images import NO_DETECTIONS, MainBranch
from object_detection_mtl.reporting.html_report import write_report
from object_detection_mtl.reporting.report_contents import report_contents
from tests.reporting.hand_made import random_set
from tests.reporting.test_thumbnails import encoded

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="needs chromium and chromedriver"),
]


def with_images(chosen):
    """Return the set with an image and main scores for each image."""
    images = []
    for item in chosen.images:
        found = item.detections
        branch = MainBranch(np.roll(found.classes, 1), np.roll(found.scores, 1))
        images.append(
            dataclasses.replace(item, read_bytes=lambda: encoded(320, 320), main_branch=branch)
        )
    return dataclasses.replace(chosen, images=images)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    chosen = with_images(random_set(4))
    contents = report_contents(chosen, figures={"auxiliary 0 0": encoded(60, 40)})
    report = write_report(contents, tmp_path_factory.mktemp("report"))
    nothing = [
        dataclasses.replace(item, detections=NO_DETECTIONS, main_branch=None)
        for item in chosen.images
    ]
    other = dataclasses.replace(chosen, images=nothing)
    comparison = compare_detectors([("none", [other]), ("some", [chosen])], num_resamples=20)
    compared = write_comparison(comparison, tmp_path_factory.mktemp("comparison"), 20)
    return {"report": report.as_uri(), "comparison": compared.as_uri()}


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


def show(browser, url, width=1200, scheme="light"):
    """Open a page at a width and in a color scheme."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get_log("browser")
    browser.get(url)


def column(browser, table, place):
    """Return the texts of a column of the rows that are shown."""
    return browser.execute_script(
        f"return [...document.querySelectorAll('#{table} tbody tr')].map("
        f"row => row.cells[{place}].textContent.trim())"
    )


@pytest.mark.parametrize("page", ["report", "comparison"])
def test_a_page_opens_without_errors_and_images_load(browser, pages, page):
    show(browser, pages[page])
    assert browser.get_log("browser") == []
    widths = browser.execute_async_script(
        """const done = arguments[0];
        const images = [...document.images];
        images.forEach((image) => { image.loading = "eager"; });
        Promise.all(images.map((image) => image.decode())).then(
          () => done(images.map((image) => image.naturalWidth)), () => done([0]));"""
    )
    assert widths
    assert 0 < min(widths) <= max(widths) <= 96
    assert browser.find_elements("css selector", "svg.chart")


def test_a_table_sorts_by_mouse_and_keyboard(browser, pages):
    show(browser, pages["report"])
    heading = browser.find_element("css selector", "#class-table th:nth-child(4) button")
    heading.click()
    values = [float(text) for text in column(browser, "class-table", 3)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) > 1
    browser.execute_script("arguments[0].focus()", heading)
    browser.switch_to.active_element.send_keys("\n")
    assert [float(text) for text in column(browser, "class-table", 3)] == sorted(values)
    sort = heading.find_element("xpath", "..").get_attribute("aria-sort")
    assert sort == "ascending"


def test_filters_of_the_gallery(browser, pages):
    show(browser, pages["report"])

    def shown():
        return browser.execute_script(
            "return [...document.querySelectorAll('#gallery-items > li:not([hidden])')]"
            ".map(item => [item.dataset.kinds, item.textContent])"
        )

    assert len(shown()) == 30
    choose(browser, '[data-key="kinds"]', "Redundancy")
    some = shown()
    assert 0 < len(some) < 30
    assert all("Redundancy" in kinds.split() for kinds, _ in some)
    count = browser.find_element("css selector", '[data-count="gallery-items"]').text
    assert int(count) == len(some)
    search = browser.find_element("css selector", 'input[type="search"]')
    search.send_keys("image01")
    assert all("image01" in text for _, text in shown())
    assert len(shown()) < len(some)


def choose(browser, selector, value):
    """Choose an option of a select element."""
    option = f'{selector} option[value="{value}"]'
    browser.find_element("css selector", option).click()


def test_a_score_threshold_filters_the_kinds_of_errors(browser, pages):
    show(browser, pages["report"])

    def thresholds():
        return set(
            browser.execute_script(
                "return [...document.querySelectorAll('#error-rows > tr:not([hidden])')]"
                ".map(row => row.dataset.score)"
            )
        )

    assert thresholds() == {"0.5"}
    choose(browser, '[data-filters="error-rows"]', "0.9")
    assert thresholds() == {"0.9"}


def test_boxes_of_one_kind_can_be_hidden(browser, pages):
    show(browser, pages["report"])
    display = "return getComputedStyle(document.querySelector('.shot .{}')).display"
    assert browser.execute_script(display.format("truth")) == "inline"
    browser.find_element("css selector", '[data-hides="hide-truth"]').click()
    assert browser.execute_script(display.format("truth")) == "none"
    assert browser.execute_script(display.format("wrong")) == "inline"


def test_the_keyboard_reaches_the_sections(browser, pages):
    show(browser, pages["report"])
    keys = webdriver.ActionChains(browser)
    keys.send_keys("\t").perform()
    assert browser.switch_to.active_element.text == "Skip to the report"
    webdriver.ActionChains(browser).send_keys("\t").perform()
    link = browser.switch_to.active_element
    assert link.get_attribute("href").endswith("#classes")


@pytest.mark.parametrize("page", ["report", "comparison"])
def test_a_page_fits_a_phone(browser, pages, page):
    show(browser, pages[page], width=390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", ["report", "comparison"])
def test_contrast_and_roles_follow_the_guidelines(browser, pages, page, scheme):
    axe = pytest.importorskip("axe_core_python.selenium", reason="needs axe-core-python").Axe()
    show(browser, pages[page], scheme=scheme)
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(15, 19, 24)"}[scheme]
    tags = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]}}
    result = axe.run(browser, options=tags)
    assert "color-contrast" in {item["id"] for item in result["passes"]}
    violations = result["violations"]
    assert [(item["id"], item["nodes"][0]["html"][:200]) for item in violations] == []
