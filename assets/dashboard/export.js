// The Export tab: sends what the form says, fetches finished exports as pieces of HTML, asks how Ollama stands, and
// remembers in this window alone what is looked at. What runs is drawn by Gradio's timer, for every window alike.
"use strict";

window.studio = window.studio || {};

(() => {
  const language = document.documentElement.lang;
  const KEPT_FORM = "so-export-form";
  const KEPT_SHOWN = "so-export-shown";

  let chosen = sessionStorage.getItem(KEPT_SHOWN) ?? ""; // "" follows the newest export
  let keys = [];
  let sizes = {}; // model -> kind -> words
  let seen = ""; // the revision that the results on view were drawn at
  let revision = "";
  let due = 0; // timer of the next refresh
  let ollamaDue = 0;
  let send = null;

  const { tab, part, ask } = studio.fetched("#tab-export .so-grid");
  const form = () => tab().querySelector(".so-export-form");
  const address = (path) => `/exports${path}?${new URLSearchParams({ language })}`;

  // The form

  function asks() {
    const values = {};
    for (const input of form().querySelectorAll("select, input")) {
      values[input.name] = input.type === "checkbox" ? input.checked : input.value;
    }
    values.consent &&= !part("consent").hidden;
    return values;
  }

  /** Everything but the consent: that is given anew each time the page is opened. */
  function remember() {
    const { consent, ...values } = asks();
    sessionStorage.setItem(KEPT_FORM, JSON.stringify(values));
  }

  function recall(element) {
    const values = studio.kept(KEPT_FORM);
    for (const input of element.querySelectorAll("input")) {
      if (input.name === "consent" || values[input.name] === undefined) continue;
      if (input.type === "checkbox") input.checked = values[input.name];
      else input.value = values[input.name];
    }
  }

  function offer(options) {
    studio.offer(form().querySelector("select"), options, studio.kept(KEPT_FORM).model);
    tellSizes();
  }

  function tellSizes() {
    const known = sizes[form().querySelector("select").value] ?? {};
    for (const place of form().querySelectorAll("[data-size]")) place.textContent = known[place.dataset.size] ?? "";
  }

  const tellConsent = () => {
    part("consent").hidden = !form().querySelector("[name=name]").value.trim();
  };

  async function askOllama() {
    clearTimeout(ollamaDue);
    part("ollama").setAttribute("aria-busy", "true");
    const answer = await ask("ollama", address("/ollama"));
    const found = answer?.ok ? await answer.json() : null;
    if (!found || !part("ollama")) return;
    part("ollama").removeAttribute("aria-busy");
    part("ollama").innerHTML = found.html;
    part("thinking").textContent = found.thinking;
  }

  // The list, and which export is on view

  function refresh() {
    clearTimeout(due);
    due = setTimeout(readLists, 20); // several parts of the page ask for it at once
  }

  async function readLists() {
    if (studio.tab !== "export" || !tab()) return; // it is read when the tab opens
    const now = revision;
    const answer = await ask("lists", address(""));
    if (!answer?.ok) return;
    const found = await answer.json();
    ({ keys, sizes } = found);
    offer(found.models);
    part("list").innerHTML = found.list;
    if (keys.length) await show(now);
    else part("results").innerHTML = found.empty;
  }

  async function show(now = seen) {
    const wanted = keys.includes(chosen) ? chosen : keys[0];
    for (const button of part("list").querySelectorAll("[data-export-shown]")) {
      button.setAttribute("aria-current", String(button.dataset.exportShown === wanted));
    }
    const place = part("results");
    if (place.querySelector(".so-exported")?.dataset.shown === wanted && seen === now) return;
    place.setAttribute("aria-busy", "true");
    const answer = await ask("results", address(`/${wanted}`));
    const html = await answer?.text();
    if (html === undefined) return;
    const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.keep));
    const same = place.querySelector(".so-exported")?.dataset.shown === wanted;
    place.innerHTML = html;
    for (const one of place.querySelectorAll("details")) if (same && open.has(one.dataset.keep)) one.open = true;
    place.removeAttribute("aria-busy");
    seen = now;
  }

  // What a person does

  function choose(key) {
    chosen = key === keys[0] ? "" : key;
    sessionStorage.setItem(KEPT_SHOWN, chosen);
  }

  function press(button) {
    studio.busy(button);
    const { do: name, what } = button.dataset;
    if (name === "start") choose(""); // what comes out is then shown at once
    if (name === "push" && !form().querySelector("[name=name]").value.trim()) form().querySelector("[name=name]").focus();
    send?.({ ...asks(), do: name, what });
  }

  function clicked(event) {
    const button = studio.pressed(event);
    if (!button) return;
    if (button.dataset.do) press(button);
    else if (button.dataset.exportShown) {
      choose(button.dataset.exportShown);
      show().then(() => matchMedia("(max-width: 900px)").matches && part("results").scrollIntoView());
    } else if (button.dataset.askOllama !== undefined) askOllama();
  }

  document.addEventListener("so-tab", () => {
    refresh();
    if (studio.tab === "export" && tab()) askOllama();
  });

  studio.exporting = {
    /** Another tab's word of what is to be exported next: the form has it chosen when the tab opens. */
    choose(model) {
      sessionStorage.setItem(KEPT_FORM, JSON.stringify({ ...studio.kept(KEPT_FORM), model }));
      const select = tab()?.querySelector("[name=model]");
      if (![...(select?.options ?? [])].some((option) => option.value === model)) return;
      select.value = model;
      tellSizes();
    },

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
      recall(element);
      tellConsent();
      element.addEventListener("click", clicked);
      element.addEventListener("input", () => {
        remember();
        tellSizes();
        tellConsent();
      });
      if (studio.tab === "export") ollamaDue = setTimeout(askOllama, 20);
    },

    /** The timer's word that the lists are others now. */
    follows(props, watch) {
      const told = () => {
        revision = props.value;
        refresh();
      };
      told();
      watch("value", told);
    },
  };
})();
