"""The study's page as a person sees it, in a real browser; skipped where Debian's Chromium and its driver are not."""

import shutil
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.tracking.synthetic import SyntheticSweep
from tests.tracking.trackers import Store, follow
from tissueclock.storage.folders import StudyFolder
from tissueclock.tracking.columns import table_path, trials_view
from tissueclock.tracking.page import PageServer

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="apt-get install chromium chromium-driver")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1600,1000"),
)


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for option in _OPTIONS:
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def server(folder: StudyFolder) -> Iterator[PageServer]:
    for name, arm, auc, holdout in (("detection-1", "chain", 0.8, 0.75), ("tss_4h5-2", "scratch", 0.7, 0.61)):
        sweep = SyntheticSweep(folder, name, phase=name.split("-")[0], arms=(arm,))
        for trial in ("t0001", "t0002"):
            sweep.run(trial, auc=auc)
        sweep.promote(1, "t0001", digest=name, value=auc, holdout=holdout)
        sweep.append("closed")
    follow(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with PageServer(folder.default_tracking_uri, study="toy", host="127.0.0.1", port=port) as server:
        yield server


def shows(browser: Any, *texts: str) -> str:
    """The page's text, once it has all of these."""

    def text(driver: Any) -> str:
        return str(driver.find_element(By.TAG_NAME, "body").text)

    WebDriverWait(browser, 60).until(lambda driver: all(wanted in text(driver) for wanted in texts))
    return text(browser)


def test_the_page_opens_on_the_sweeps_and_leads_to_trials_and_models(
    browser: Any, server: PageServer, folder: StudyFolder
) -> None:
    browser.get(server.url)
    page = shows(browser, "detection (chain)", "tss_4h5 (scratch)", "holdout_auc", "0.75", "0.61")
    assert "detection t0001" not in page  # its trials are a click away, not in between

    experiment = Store(folder).client.get_experiment_by_name("toy").experiment_id
    base = server.url.partition("/#")[0]
    browser.get("about:blank")
    browser.get(f"{base}/{table_path(experiment, trials_view('detection'))}")
    page = shows(browser, "detection t0001", "detection t0002", "freeze_depth")
    assert "tss_4h5" not in page.partition("detection t0001")[2]

    runs = [run.info.run_id for run in Store(folder).runs if run.data.tags.get("level") == "trial"][:2]
    browser.get("about:blank")
    chosen = ",".join(f'"{run}"' for run in runs)
    browser.get(f"{base}/#/compare-runs?runs=[{chosen}]&experiments=[%22{experiment}%22]")
    shows(browser, "Comparing 2 Runs", "lr", "best_value")

    browser.get("about:blank")
    browser.get(f"{base}/#/models/tissueclock.toy.detection/versions/1")
    shows(browser, "holdout_auc", "lineage")
