"""Pages in a real browser; screenshots are kept in outputs/screenshots."""

import pytest
from test_failure_page import STRANGE, made_photos, made_run, write

from s2p_lib.run_folder import ROOT

SCREENSHOTS = ROOT / "outputs" / "screenshots"
MARGINS = [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0]
SIZES = [("light", 1100), ("dark", 1100), ("light", 390), ("dark", 390)]


class Opened:
    """``failures.html`` opened from disk, with all that it asked for or complained of."""

    def __init__(self, page):
        self.page = page
        self.requests, self.complaints = [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))

    def images(self) -> list[str]:
        """Names of the photos that are visible, in order."""
        return self.page.locator("figure:visible .clamp").all_text_contents()

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.ariaLabel || document.activeElement.id")

    def check_quiet(self) -> None:
        """Nothing but the page itself and its pictures was loaded, nothing failed, nothing foreign ran."""
        assert [url for url in self.requests if not url.startswith("data:image/jpeg")] == [self.page.url]
        assert self.page.url.startswith("file://")
        assert self.complaints == []
        assert self.page.evaluate("window.__pwned") is None


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens a failures page of the given photos; afterwards it must have been quiet."""
    opened = []

    def open_photos(photos, scheme="light", width=1100, javascript=True, **options) -> Opened:
        run = made_run(tmp_path)
        write(run, photos, **options)
        page = browser.new_page(
            color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=javascript
        )
        opened.append(Opened(page))
        page.goto(run.path("failures.html").as_uri())
        return opened[-1]

    yield open_photos
    for one in opened:
        one.check_quiet()
        one.page.close()


def seven():
    photos = made_photos(*"abcdefg", margins=MARGINS, label=["private", "public"] * 3 + ["private"])
    return photos.assign(
        source=["vispr", "picalert"] + ["vispr"] * 5, top_scene=["beach", "office", "beach", *["office"] * 4]
    )


def test_failures_are_shown_first_and_filters_say_how_many_pass(open_page):
    opened = open_page(seven())
    page = opened.page
    assert opened.images() == ["a", "b", "c"]
    assert "3 of 7 photos on this page: 2 missed private, 1 false private, 0 correct" in page.inner_text("#count")
    for name, value, images in (
        ("source", "picalert", ["b"]),
        ("source", "", ["a", "b", "c"]),
        ("outcome", "missed private", ["a", "c"]),
        ("outcome", "", ["g", "a", "f", "b", "e", "c", "d"]),
        ("top_scene", "beach", ["a", "c"]),
        ("label", "public", []),
    ):
        page.select_option(f"[name={name}]", value)
        assert opened.images() == images
    assert page.inner_text("#count").startswith("None of the 7")
    page.get_by_role("button", name="Reset").click()
    assert opened.images() == ["a", "b", "c"]
    page.select_option("[name=outcome]", "")
    page.fill("[name=low]", "0.9")
    page.fill("[name=high]", "0.96")  # the margin 3 has the confidence 0.953, 4 has 0.982
    assert opened.images() == ["a", "f"]


@pytest.mark.parametrize(
    ("order", "images"),
    [
        ("confidence up", "cdbeafg"),
        ("confidence down", "gafbecd"),
        ("loss down", "abcdefg"),
        ("loss up", "gfedcba"),
        ("margin up", "abcdefg"),
        ("margin down", "gfedcba"),
    ],
)
def test_photos_are_sorted_by_confidence_loss_and_margin(open_page, order, images):
    opened = open_page(seven())
    opened.page.select_option("[name=outcome]", "")
    opened.page.select_option("[name=sort]", order)
    assert opened.images() == list(images)  # of equal confidences the failure comes first


def test_the_keyboard_alone_goes_everywhere(open_page):
    opened = open_page(seven())
    page, press = opened.page, opened.page.keyboard.press
    page.get_by_role("button", name="Reset").focus()
    press("Tab")
    assert opened.focused() == "Details of a"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    press("ArrowRight")
    press("End")
    assert opened.focused() == "Details of c"
    press("ArrowRight")
    assert opened.focused() == "Details of c"
    press("Home")
    press("Enter")
    assert page.inner_text("#title") == "a"
    assert opened.focused() == "title"
    press("ArrowRight")
    assert page.inner_text("#title") == "b"
    press("Escape")
    assert page.locator("dialog").is_hidden()
    page.locator("[aria-label='Details of b']:focus").wait_for()  # the browser tells of closing later
    press("Tab")
    assert not opened.focused().startswith("Details")  # one stop for the whole gallery


def test_arrows_go_down_and_up_by_rows(open_page):
    opened = open_page(made_photos(*(f"p{i}" for i in range(9))), width=390)  # two columns
    opened.page.locator(".open:visible").first.focus()
    for key, image in (("ArrowDown", "p2"), ("ArrowRight", "p3"), ("ArrowUp", "p1"), ("ArrowUp", "p1")):
        opened.page.keyboard.press(key)
        assert opened.focused() == f"Details of {image}"


def numbers_in(page, table: str) -> list[float]:
    texts = page.locator(f"{table} td.n").all_inner_texts()
    return [float(text.replace("\N{MINUS SIGN}", "-")) for text in texts]


def test_details_show_the_picture_the_parts_and_their_sum(open_page):
    opened = open_page(seven())
    page = opened.page
    page.get_by_role("button", name="Details of b").click()
    assert page.get_attribute("#picture", "alt") == "b: public, called private"
    assert page.evaluate("document.querySelector('#picture').naturalWidth") == 448
    numbers, sums = numbers_in(page, "#why"), numbers_in(page, "#sums")
    assert len(numbers) == 9  # eight scenes and the rest
    assert sum(numbers) == pytest.approx(sums[0], abs=0.05)  # each of them is rounded to 0.01
    assert sums[0] + sums[1] == pytest.approx(sums[2], abs=0.02)
    assert sums[2] == 2.0  # labelled public and wrong by 2
    widths = page.locator("#why .axis i").evaluate_all("bars => bars.map(bar => bar.offsetWidth)")
    assert widths[0] / widths[5] == pytest.approx(12 / 7, rel=0.05)  # parts of 12 and 7 quarters; whole pixels
    sides = page.locator("#why .axis i").evaluate_all("bars => bars.map(bar => bar.className)")
    assert sides[:2] == ["public", "private"]
    page.mouse.click(5, 5)  # beside the details
    assert page.locator("dialog").is_hidden()


def test_a_screen_reader_finds_names_for_everything(open_page):
    page = open_page(seven()).page
    fields = page.locator("form :is(select, input, button)")
    labels = fields.evaluate_all("fs => fs.map(f => f.labels?.length || f.ariaLabel || f.textContent)")
    assert all(labels)
    assert page.get_by_role("img", name="a: private, called public").is_visible()
    page.get_by_role("button", name="Details of a").click()
    assert page.get_by_role("dialog", name="a").is_visible()


def test_without_javascript_every_photo_is_still_readable(open_page):
    opened = open_page(seven(), javascript=False)
    assert opened.images() == list("abcgfed")
    assert opened.page.locator("noscript p").is_visible()
    assert opened.page.locator("form").is_hidden()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_strange_names_are_shown_and_nothing_in_them_runs(open_page, n):
    opened = open_page(made_photos(*STRANGE[:n]))  # its scenes and reasons are hostile too
    assert opened.images() == sorted(STRANGE[:n])
    for image in opened.images():
        opened.page.get_by_role("button", name=f"Details of {image}", exact=True).click()
        assert opened.page.locator("#title").text_content() == image
        opened.page.keyboard.press("Escape")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 1100


def test_the_content_policy_stops_a_foreign_script(browser, tmp_path):
    run = made_run(tmp_path)
    foreign = write(run, made_photos("a")).replace("</main>", "<script>window.__pwned = 1</script></main>")
    run.write_text("failures.html", foreign)
    page = browser.new_page()
    page.goto(run.path("failures.html").as_uri())
    assert page.evaluate("window.__pwned") is None
    page.close()


@pytest.mark.parametrize(("scheme", "width"), SIZES)
def test_screenshots_to_look_at(open_page, scheme, width):
    opened = open_page(made_photos(*STRANGE, *"abcdefg", margins=[-5.0] * 5 + MARGINS), scheme, width)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.page.screenshot(path=SCREENSHOTS / f"failures_{scheme}_{width}.png", full_page=True)
    opened.page.locator(".open:visible").first.click()
    opened.page.screenshot(path=SCREENSHOTS / f"failure_details_{scheme}_{width}.png")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    dialog = "document.querySelector('dialog')"
    assert opened.page.evaluate(f"{dialog}.scrollWidth <= {dialog}.clientWidth")
