"""Headless Chromium for the tests of pages; from Debian's packages chromium and chromium-driver."""
import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver


@contextlib.contextmanager
def chromium(downloads: Path, width: int = 1280, height: int = 900) -> Iterator[webdriver.Chrome]:
    """Start a browser with a download folder, without name resolution, that logs console and network."""
    options = webdriver.ChromeOptions()
    options.binary_location = _program('chromium')
    for argument in ('headless=new', 'no-sandbox', 'disable-dev-shm-usage', 'disable-gpu',
                     'disable-background-networking', 'disable-component-update', 'no-first-run',
                     'disable-features=RenderDocument',  # with it a reloaded file is now and then given no storage
                     'host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', f'window-size={width},{height}'):
        options.add_argument(f'--{argument}')
    options.add_experimental_option('prefs', {'download.default_directory': str(downloads)})
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    driver = webdriver.Chrome(options, webdriver.ChromeService(_program('chromedriver')))
    try:
        yield driver
    finally:
        driver.quit()


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise FileNotFoundError(f'{name}: not found. Install it with: apt-get install chromium chromium-driver')
    return path


def resize(driver: webdriver.Chrome, width: int, height: int, mobile: bool = False) -> None:
    """Show pages ``width`` CSS pixels wide: a window itself gets no narrower than 500."""
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': mobile})


def console(driver: webdriver.Chrome) -> list[str]:
    """Return console messages since the last call, including errors of the browser."""
    return [f'{entry["level"]}: {entry["message"]}' for entry in driver.get_log('browser')]


def requested(driver: webdriver.Chrome) -> list[str]:
    """Return the addresses requested by pages since the last call, without data addresses."""
    events = [json.loads(entry['message'])['message'] for entry in driver.get_log('performance')]
    addresses = [event['params']['request']['url'] for event in events
                 if event['method'] == 'Network.requestWillBeSent']
    return [address for address in addresses if not address.startswith(('data:', 'blob:'))]


def downloaded(folder: Path, pattern: str, seconds: float = 20) -> Path:
    """Wait for the only file of this name to be complete, and return it.

    Raises:
        TimeoutError: It did not come.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = list(folder.glob(pattern))
        if len(found) == 1 and not list(folder.glob('*.crdownload')):
            return found[0]
        time.sleep(0.05)
    raise TimeoutError(f'{folder}: no {pattern} within {seconds} s.')
