// What a card that is drawn anew under a person's hand must not take away: a press between its down and its up, and the
// focus of the keyboard. Both go to the button that stands in the old one's place, if it is the same one.
"use strict";

(() => {
  const BUTTONS = "button, summary, a";
  const identity = (button) => JSON.stringify([button.tagName, button.disabled, { ...button.dataset }, button.textContent]);
  const same = (one, other) => identity(one) === identity(other);

  let pressed = null; // since the pointer went down on it
  let focused = null;
  let home = null; // the nearest part of the page around `focused` that stays

  document.addEventListener("pointerdown", (event) => {
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    pressed = plain ? event.target.closest(BUTTONS) : null;
    focused = null; // a press beside every button gives the focus up
  }, true);

  document.addEventListener("pointerup", (event) => {
    const before = pressed;
    pressed = null;
    if (!before || before.isConnected) return; // the browser makes a click of it
    const now = document.elementFromPoint(event.clientX, event.clientY)?.closest(BUTTONS);
    if (now && same(now, before)) now.click();
  }, true);

  document.addEventListener("pointercancel", () => (pressed = null), true);

  document.addEventListener("focusin", ({ target }) => {
    focused = target.closest(BUTTONS);
    home = focused?.parentElement.closest("[id]");
  });

  function keepFocus() {
    if (!focused || focused.isConnected || document.activeElement !== document.body) return;
    const before = focused;
    focused = null;
    [...(home?.querySelectorAll(BUTTONS) ?? [])].find((one) => same(one, before))?.focus({ preventScroll: true });
  }

  addEventListener("DOMContentLoaded", () => {
    new MutationObserver(keepFocus).observe(document.body, { childList: true, subtree: true });
  });
})();
