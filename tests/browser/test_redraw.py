"""A card that is drawn anew under a person's hand: the press is not lost, and the keyboard stays where it was."""

START = '[data-do="start"]:visible'

COUNT = """() => {
    window.presses = [];
    document.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (!button) return;
        window.presses.push(button.dataset.do);
        event.stopImmediatePropagation(); // nothing is started
    }, true);
}"""

REDRAW = """([selector, wish]) => {
    const before = [...document.querySelectorAll(selector)].find((one) => one.offsetParent);
    const now = before.cloneNode(true);
    if (wish) now.dataset.do = wish;
    before.replaceWith(now);
}"""


def test_a_press_goes_to_the_same_button_drawn_anew_and_to_no_other(window):
    page = window("/en/?tab=train")
    button = page.locator(START)
    box = button.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.evaluate(COUNT)

    page.mouse.move(*middle)
    for redrawn, wish, counted in ((False, "", ["start"]), (True, "", ["start"]), (True, "stop", [])):
        page.mouse.down()
        if redrawn:
            page.evaluate(REDRAW, ['[data-do="start"]', wish])
        page.mouse.up()
        assert page.evaluate("window.presses.splice(0)") == counted


def test_the_focus_stays_on_a_button_that_is_drawn_anew_until_a_person_leaves_it(window):
    page = window("/en/?tab=train")
    page.locator(START).focus()
    for _ in range(2):
        page.evaluate(REDRAW, ['[data-do="start"]', ""])
        assert page.evaluate("document.activeElement.dataset.do") == "start"
    page.mouse.click(3, 3)
    page.evaluate(REDRAW, ['[data-do="start"]', ""])
    assert page.evaluate("document.activeElement.tagName") == "BODY"
