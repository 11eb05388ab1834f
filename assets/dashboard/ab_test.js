// The A/B test tab: sends what the form says, fetches finished tests as pieces of HTML, and remembers in this window
// alone what is looked at. What runs is drawn by Gradio's timer, for every window alike.
"use strict";

window.studio = window.studio || {};

(() => {
  const language = document.documentElement.lang;
  const KEPT_FORM = "so-ab-test-form";
  const KEPT_VIEW = "so-ab-test-view";
  const SIDES = ["base", "retrained"];

  // chosen: "" follows the newest test; mode: "" is the one that decided it
  const view = { chosen: "", mode: "", change: "differ", ...studio.kept(KEPT_VIEW) };
  const nowhere = { side: "", expected: "", given: "" };
  let cell = nowhere;
  let number = 0; // page of the cases
  let keys = [];
  let coming = ""; // the test that is being fetched: drawn twice, it would take the focus from a reader
  let due = 0; // timer of the next refresh
  let send = null;

  const { tab, part, ask, load } = studio.fetched("#tab-ab_test .so-grid");
  const form = () => tab().querySelector(".so-ab-form");
  const shown = () => part("results")?.querySelector(".so-ab-tested");
  const keep = () => sessionStorage.setItem(KEPT_VIEW, JSON.stringify(view));
  const address = (path, values = {}) => `/ab_tests${path}?${new URLSearchParams({ ...values, language })}`;

  // The lists, and which test is on view

  function refresh() {
    clearTimeout(due);
    due = setTimeout(readLists, 20); // several parts of the page ask for it at once
  }

  async function readLists() {
    if (studio.tab !== "ab_test" || !tab()) return; // it is read when the tab opens
    const answer = await ask("lists", address(""));
    if (!answer?.ok) return;
    const found = await answer.json();
    keys = found.keys;
    const chosen = studio.kept(KEPT_FORM);
    for (const side of SIDES) studio.offer(form().querySelector(`[name=${side}]`), found.models[side], chosen[side]);
    part("no-runs").innerHTML = found.no_runs;
    part("list").innerHTML = found.list;
    part("interrupted").innerHTML = found.interrupted;
    if (keys.length) show();
    else part("results").innerHTML = found.empty;
  }

  async function show() {
    const wanted = keys.includes(view.chosen) ? view.chosen : keys[0];
    for (const button of part("list").querySelectorAll("[data-ab-test]")) {
      button.setAttribute("aria-current", String(button.dataset.abTest === wanted));
    }
    if (shown()?.dataset.shown === wanted || coming === wanted) return;
    coming = wanted;
    const there = await load("results", address(`/${wanted}`));
    if (coming === wanted) coming = "";
    if (!there) return;
    const root = shown();
    studio.takes(JSON.parse(root.dataset.figures));
    studio.slots(root);
    chooseMode(view.mode || root.dataset.decides);
  }

  // Inside one test

  function chooseMode(wanted) {
    if (!studio.showMode(shown(), wanted)) return;
    cell = nowhere;
    number = 0;
    drawCases();
  }

  function drawCases() {
    const root = shown();
    for (const button of root.querySelectorAll(".so-cells button")) {
      const here = button.closest("[data-of]").dataset.of === root.dataset.mode;
      const { expected, given } = button.dataset;
      const on = here && button.closest("[data-side]").dataset.side === cell.side && expected === cell.expected;
      button.setAttribute("aria-pressed", String(on && given === cell.given));
    }
    const asked = { mode: root.dataset.mode, change: view.change, ...cell, number };
    return load("cases", address(`/${root.dataset.shown}/cases`, asked));
  }

  /** Draws other cases and takes the person there. */
  async function openCases() {
    number = 0;
    if (!(await drawCases())) return;
    const card = shown().querySelector(".so-cases");
    card.scrollIntoView({ block: "nearest" });
    card.focus({ preventScroll: true });
  }

  function filter(change, go) {
    view.change = change;
    cell = nowhere;
    number = 0;
    keep();
    if (go) return openCases();
    return drawCases().then(() => part("cases").querySelector(`[data-change="${change}"]`)?.focus());
  }

  async function turnPage(wanted) {
    number = wanted;
    await drawCases();
    part("cases").querySelector(".so-case-list")?.focus();
  }

  // What a person does

  function press(button) {
    studio.busy(button);
    const { do: name, what } = button.dataset;
    if (name === "start") {
      view.chosen = view.mode = ""; // what comes out is then shown at once, as it was decided
      keep();
    }
    send?.(name === "start" ? { do: name, ...studio.answers(form()) } : { do: name, what });
  }

  function choose(key) {
    view.chosen = key === keys[0] ? "" : key;
    keep();
    show().then(() => matchMedia("(max-width: 900px)").matches && shown()?.scrollIntoView());
  }

  function askForFile() {
    const choice = form().querySelector('[data-rows][value="file"]');
    choice.checked = true;
    choice.dispatchEvent(new Event("input", { bubbles: true }));
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    form().scrollIntoView({ block: "nearest" });
  }

  function clicked(event) {
    const winner = event.target.closest("[data-winner]");
    if (winner) return studio.exporting.choose(winner.dataset.winner); // page.js opens the tab
    const button = studio.pressed(event);
    if (!button) return;
    const { abTest, mode, expected, given, page, unfold, change, moreRows } = button.dataset;
    if (button.dataset.do) press(button);
    else if (abTest) choose(abTest);
    else if (mode) {
      view.mode = mode;
      keep();
      chooseMode(mode);
    } else if (expected !== undefined) {
      cell = { side: button.closest("[data-side]").dataset.side, expected, given };
      openCases();
    } else if (change) filter(change, button.dataset.go !== undefined);
    else if (page) turnPage(Number(page));
    else if (moreRows !== undefined) askForFile();
    else if (unfold !== undefined) studio.unfold(button);
  }

  document.addEventListener("so-tab", refresh);

  studio.abTest = {
    /** The card with the button: its event carries every wish of the tab to Python. */
    wishes(element, trigger) {
      send = (values) => trigger("click", values);
      element.addEventListener("click", clicked);
    },

    listens(element) {
      element.addEventListener("click", clicked);
      refresh();
    },

    remembers(element) {
      studio.remembers(element.querySelector(".so-ab-form"), KEPT_FORM);
    },

    /** The timer's word that the lists are others now. */
    follows(props, watch) {
      refresh();
      watch("value", refresh);
    },
  };
})();
