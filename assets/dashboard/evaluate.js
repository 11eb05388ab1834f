// The Evaluate tab: sends what the form says, fetches finished evaluations as pieces of HTML, and remembers in this
// window alone what is looked at. What runs is drawn by Gradio's timer, for every window alike.
"use strict";

window.studio = window.studio || {};

(() => {
  const language = document.documentElement.lang;
  const KEPT_FORM = "so-evaluate-form";
  const KEPT_VIEW = "so-evaluate-view";

  // chosen: "" follows the newest evaluation
  const view = { chosen: "", other: "", mode: "scored", ...studio.kept(KEPT_VIEW) };
  const nowhere = { expected: "", given: "", number: 0 };
  let cell = nowhere;
  let keys = [];
  let known = ""; // the list's keys as the results on view were drawn with
  let due = 0; // timer of the next refresh
  let send = null;

  const { tab, part, ask, load } = studio.fetched("#tab-evaluate .so-grid");
  const shown = () => part("results")?.querySelector(".so-evaluated");
  const keep = () => sessionStorage.setItem(KEPT_VIEW, JSON.stringify(view));
  const address = (path, values = {}) => `/evaluations${path}?${new URLSearchParams({ ...values, language })}`;

  // The form

  const form = () => tab().querySelector(".so-evaluate-form");
  const offer = (options) => studio.offer(form().querySelector("select"), options, studio.kept(KEPT_FORM).model);

  // The lists, and which evaluation is on view

  function refresh() {
    clearTimeout(due);
    due = setTimeout(readLists, 20); // several parts of the page ask for it at once
  }

  async function readLists() {
    if (studio.tab !== "evaluate" || !tab()) return; // it is read when the tab opens
    const answer = await ask("lists", address(""));
    if (!answer?.ok) return;
    const found = await answer.json();
    keys = found.keys;
    offer(found.models);
    part("list").innerHTML = found.list;
    part("interrupted").innerHTML = found.interrupted;
    if (!keys.length) part("results").innerHTML = found.empty;
    else show();
  }

  async function show() {
    const wanted = keys.includes(view.chosen) ? view.chosen : keys[0];
    for (const button of part("list").querySelectorAll("[data-evaluation]")) {
      button.setAttribute("aria-current", String(button.dataset.evaluation === wanted));
    }
    const same = shown()?.dataset.shown === wanted;
    if (same && known === keys.join()) return;
    known = keys.join();
    if (same) return renew(wanted);
    if (!(await load("results", address(`/${wanted}`)))) return;
    cell = nowhere;
    const root = shown();
    studio.takes(JSON.parse(root.dataset.figures));
    studio.slots(root);
    const select = root.querySelector("[data-compare]");
    if (select && [...select.options].some((option) => option.value === view.other)) select.value = view.other;
    else view.other = "";
    chooseMode(view.mode);
  }

  /** Another evaluation has come or gone: only the head tells of others, and what is read below stays. */
  async function renew(wanted) {
    const answer = await ask("results", address(`/${wanted}`));
    if (!answer?.ok || shown()?.dataset.shown !== wanted) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(".so-evaluated-head");
    shown().querySelector(".so-evaluated-head").replaceWith(fresh);
    const select = fresh.querySelector("[data-compare]");
    if (select) select.value = view.other;
  }

  // Inside one evaluation

  function chooseMode(wanted) {
    if (!studio.showMode(shown(), wanted)) return;
    cell = nowhere;
    drawCases();
    drawComparison();
  }

  function drawCases() {
    const root = shown();
    for (const button of root.querySelectorAll(".so-cells button")) {
      const on = button.dataset.expected === cell.expected && button.dataset.given === cell.given;
      button.setAttribute("aria-pressed", String(on && button.closest("[data-of]").dataset.of === root.dataset.mode));
    }
    return load("cases", address(`/${root.dataset.shown}/cases`, { mode: root.dataset.mode, ...cell }));
  }

  async function openCell(button) {
    cell = { expected: button.dataset.expected, given: button.dataset.given, number: 0 };
    if (!(await drawCases())) return;
    const card = shown().querySelector(".so-cases");
    card.scrollIntoView({ block: "nearest" });
    card.focus({ preventScroll: true });
  }

  async function drawComparison() {
    const root = shown();
    const place = part("comparison");
    if (!place) return;
    place.hidden = !view.other;
    if (!view.other) return place.replaceChildren();
    await load("comparison", address(`/${root.dataset.shown}/with/${view.other}`, { mode: root.dataset.mode }));
  }

  function compareWith(other) {
    view.other = other;
    keep();
    const select = shown().querySelector("[data-compare]");
    if (select) select.value = other;
    return drawComparison();
  }

  async function turnPage(button) {
    const number = Number(button.dataset.page);
    const place = button.closest("[data-part]").dataset.part;
    const root = shown();
    if (place === "cases") {
      cell = { ...cell, number };
      await drawCases();
    } else {
      const values = { mode: root.dataset.mode, number };
      await load("changed", address(`/${root.dataset.shown}/changed/${view.other}`, values));
    }
    part(place).querySelector(".so-case-list")?.focus();
  }

  // What a person does

  function wish(values) {
    if (values.do === "start") view.chosen = ""; // what comes out is then shown at once
    keep();
    send?.(values);
  }

  function press(button) {
    studio.busy(button);
    const { do: name, what } = button.dataset;
    wish(name === "start" ? { do: name, ...studio.answers(form()) } : { do: name, what });
  }

  function clicked(event) {
    const button = studio.pressed(event);
    if (!button) return;
    const { evaluation, mode, expected, page, unfold, uncompare } = button.dataset;
    if (button.dataset.do) press(button);
    else if (evaluation) {
      view.chosen = evaluation === keys[0] ? "" : evaluation;
      keep();
      show().then(() => matchMedia("(max-width: 900px)").matches && shown()?.scrollIntoView());
    } else if (mode) {
      view.mode = mode;
      keep();
      chooseMode(mode);
    } else if (expected !== undefined) openCell(button);
    else if (page) turnPage(button);
    else if (uncompare !== undefined) compareWith("");
    else if (unfold !== undefined) studio.unfold(button);
  }

  document.addEventListener("so-tab", refresh);

  studio.evaluation = {
    /** The card with the button: its event carries every wish of the tab to Python. */
    wishes(element, trigger) {
      send = (values) => trigger("click", values);
      element.addEventListener("click", clicked);
    },

    listens(element) {
      element.addEventListener("click", clicked);
      element.addEventListener("change", (event) => {
        if (event.target.matches("[data-compare]")) compareWith(event.target.value);
      });
      refresh();
    },

    remembers(element) {
      studio.remembers(element.querySelector(".so-evaluate-form"), KEPT_FORM);
    },

    /** The timer's word that the lists are others now. */
    follows(props, watch) {
      refresh();
      watch("value", refresh);
    },
  };
})();
