// What the tabs share that fetch their finished results: places filled with HTML from the server, presses that reach
// Python once, forms that are remembered in this window.
"use strict";

window.studio = window.studio || {};

(() => {
  const BUSY = 600; // milliseconds: longer than between the presses of a double click

  /** The places of one tab. asked: place -> number of its last request, for an older answer comes too late. */
  studio.fetched = (selector) => {
    const asked = new Map();
    const tab = () => document.querySelector(selector);
    const part = (name) => tab()?.querySelector(`[data-part="${name}"]`);

    async function ask(name, url) {
      const number = (asked.get(name) ?? 0) + 1;
      asked.set(name, number);
      try {
        const answer = await fetch(url, { cache: "no-store" });
        return asked.get(name) === number ? answer : null;
      } catch {
        return null; // the dashboard has ended: page.js says so and comes back with it
      }
    }

    /** Fetches HTML into a place; what stands there stays until the new one has come. True when it was put there. */
    async function load(name, url) {
      part(name)?.setAttribute("aria-busy", "true");
      const answer = await ask(name, url);
      const html = await answer?.text();
      const place = part(name);
      if (html === undefined || !place) return false;
      place.innerHTML = html;
      place.removeAttribute("aria-busy");
      return answer.ok;
    }

    return { tab, part, ask, load };
  };

  /** The button that was pressed; null for none, and for one that can't be pressed now. */
  studio.pressed = (event) => {
    const button = event.target.closest("button");
    return !button || button.disabled || button.classList.contains("so-busy") ? null : button;
  };

  /** The second press of a double click is no second wish. */
  studio.busy = (button) => {
    button.classList.add("so-busy");
    button.setAttribute("aria-disabled", "true");
    setTimeout(() => {
      button.classList.remove("so-busy");
      button.removeAttribute("aria-disabled");
    }, BUSY);
  };

  studio.unfold = (button) => {
    button.nextElementSibling.hidden = false;
    button.remove();
  };

  /** Puts options into a select once they differ. What a person has chosen stays; else it is the options' own choice. */
  studio.offer = (select, options, chosen) => {
    if (select.dataset.offered === options) return;
    select.innerHTML = select.dataset.offered = options;
    if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
  };

  /** Shows what belongs to one of the modes of `root` and hides the rest. The mode that is shown; "" where there is none. */
  studio.showMode = (root, wanted) => {
    const modes = root.dataset.modes.split(" ").filter(Boolean);
    if (!modes.length) return "";
    const mode = (root.dataset.mode = modes.includes(wanted) ? wanted : modes[0]);
    for (const one of root.querySelectorAll("[data-of]")) one.hidden = one.dataset.of !== mode;
    for (const button of root.querySelectorAll("[data-mode]")) {
      button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    }
    return mode;
  };

  // Forms with a choice between the test rows and a file

  const rows = (form) => form.querySelector("[data-rows]:checked");

  /** Everything that a form says, by the names of its fields. */
  studio.answers = (form) => {
    const values = { rows: rows(form).value };
    for (const input of form.querySelectorAll("select, input:not([data-rows])")) {
      values[input.name] = input.type === "checkbox" ? input.checked : input.value;
    }
    return values;
  };

  studio.kept = (name) => JSON.parse(sessionStorage.getItem(name) ?? "{}");

  /** Fills a form with what was kept under `name`, and keeps each field that is changed in it. */
  studio.remembers = (form, name) => {
    const values = studio.kept(name);
    const file = form.querySelector("[name=file]");
    for (const input of form.querySelectorAll("input")) {
      if (input.type === "radio") input.checked = input.value === (values.rows ?? "test");
      else if (values[input.name] === undefined) continue;
      else if (input.type === "checkbox") input.checked = values[input.name];
      else input.value = values[input.name];
    }
    const follow = () => (file.disabled = rows(form).value !== "file");
    follow();
    form.addEventListener("input", ({ target }) => {
      const field = target.matches("[data-rows]") ? "rows" : target.name;
      sessionStorage.setItem(name, JSON.stringify({ ...studio.kept(name), [field]: studio.answers(form)[field] }));
      follow();
    });
    form.addEventListener("change", (event) => event.target.value === "file" && file.focus());
  };
})();
