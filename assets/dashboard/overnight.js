// The Overnight tab: shows the draft in the form and sends what is changed there, fetches chains as pieces of HTML, and
// tells of the chain that runs by sound and notice. What runs is drawn by Gradio's timer, for every window alike.
"use strict";

window.studio = window.studio || {};

(() => {
  const language = document.documentElement.lang;
  const KEPT_SHOWN = "so-overnight-shown";
  const KEPT_NOTICES = "so-overnight-notices"; // of this browser, not of the draft: it is the browser that is asked
  const KEPT_TOLD = "so-overnight-told"; // what the windows of this browser have told
  const TYPED = 400; // milliseconds until what is typed counts
  const HELD = 2000; // milliseconds in which a change must have reached the draft; until then it leaves the field alone
  const TRIES = 5; // a change that is sent while the page still comes up may be lost

  let chosen = sessionStorage.getItem(KEPT_SHOWN) ?? ""; // "" follows the newest chain, or the one that runs
  let keys = [];
  let told = { values: {}, plan: {}, active: false, revision: "" };
  let seen = ""; // the revision that the results on view were drawn at
  let due = 0; // timer of the next refresh
  let send = null;
  let pulse = null;
  const typing = new Map(); // field -> timer
  const held = new Map(); // field -> timer

  const { tab, part, ask, load } = studio.fetched("#tab-overnight .so-grid");
  const form = () => tab()?.querySelector(".so-overnight-form");
  const field = (name) => form().querySelector(`[name="${name}"]`);
  const address = (path, values = {}) => `/overnight${path}?${new URLSearchParams({ ...values, language })}`;

  // The form

  function fill() {
    if (!form()) return;
    for (const [name, value] of Object.entries(told.values)) {
      const input = field(name);
      if (held.has(name) && value === said(input)) release(name); // the change has arrived
      if (held.has(name)) continue;
      if (input.type === "checkbox") input.checked = value;
      else if (input.matches("select")) choose(input, value);
      else if (input !== document.activeElement) input.value = value;
    }
    for (const [stage, words] of Object.entries(told.plan)) {
      form().querySelector(`[data-about="${stage}"]`).textContent = words;
    }
    reveal();
  }

  /** A run that the settings name and that is not among those on the disk is shown all the same. */
  function choose(select, value) {
    if (![...select.options].some((option) => option.value === value)) select.add(new Option(value, value));
    select.value = value;
  }

  function reveal() {
    part("run").hidden = field("stage-train").checked;
    part("pushing").hidden = !field("stage-ollama").checked;
  }

  function changed({ target }) {
    const { name } = target;
    if (name === "notices") {
      askNotices(target);
      return;
    }
    hold(name, TRIES);
    clearTimeout(typing.get(name));
    typing.set(name, setTimeout(tell, target.type === "text" ? TYPED : 0, name));
    reveal();
  }

  /** Until the draft says what this field says, it is sent again; in the end the field shows what the draft says. */
  function hold(name, tries) {
    clearTimeout(held.get(name));
    held.set(name, setTimeout(() => {
      if (tries > 1) {
        if (!typing.has(name)) tell(name);
        hold(name, tries - 1);
      } else {
        release(name);
        fill();
      }
    }, HELD));
  }

  function release(name) {
    clearTimeout(held.get(name));
    held.delete(name);
  }

  const said = (input) => (input.type === "checkbox" ? input.checked : input.value.trim());

  function tell(name) {
    clearTimeout(typing.get(name));
    typing.delete(name);
    send?.({ do: "change", what: name, value: said(field(name)) });
  }

  async function askOllama() {
    part("ollama").setAttribute("aria-busy", "true");
    const answer = await ask("ollama", `/exports/ollama?${new URLSearchParams({ language })}`);
    const found = answer?.ok ? await answer.json() : null;
    if (!found || !part("ollama")) return;
    part("ollama").removeAttribute("aria-busy");
    part("ollama").innerHTML = found.html;
    part("thinking").textContent = found.thinking;
  }

  // The lists, and which chain is on view

  function refresh() {
    clearTimeout(due);
    due = setTimeout(readLists, 20); // several parts of the page ask for it at once
  }

  async function readLists() {
    if (studio.tab !== "overnight" || !form()) return; // it is read when the tab opens
    const now = told.revision;
    const answer = await ask("lists", address(""));
    if (!answer?.ok) return;
    const found = await answer.json();
    keys = found.keys;
    studio.offer(field("retrained"), found.runs, told.values.retrained);
    fill();
    const from = part("unfinished").querySelector("select")?.value;
    part("unfinished").innerHTML = found.unfinished;
    const select = part("unfinished").querySelector("select");
    if (select && [...select.options].some((option) => option.value === from)) select.value = from;
    part("list").innerHTML = found.list;
    show(now, found.empty);
  }

  async function show(now = seen, empty = "") {
    const wanted = keys.includes(chosen) ? chosen : told.active ? "" : (keys[0] ?? "");
    for (const button of part("list").querySelectorAll("[data-chain]")) {
      button.setAttribute("aria-current", String(button.dataset.chain === wanted));
    }
    const place = part("results");
    if (!wanted) {
      if (!told.active && empty) place.innerHTML = empty;
      place.hidden = told.active; // the chain that runs stands above
      return;
    }
    if (place.querySelector(".so-chain")?.dataset.shown === wanted && seen === now && !place.hidden) return;
    const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.keep));
    const same = place.querySelector(".so-chain")?.dataset.shown === wanted;
    await load("results", address(`/${wanted}`));
    for (const one of place.querySelectorAll("details")) if (same && open.has(one.dataset.keep)) one.open = true;
    place.hidden = false;
    seen = now;
  }

  function look(key) {
    chosen = key === keys[0] && !told.active ? "" : key;
    sessionStorage.setItem(KEPT_SHOWN, chosen);
  }

  // What a person does

  function press(button) {
    studio.busy(button);
    const { do: name, what } = button.dataset;
    for (const waiting of [...typing.keys()]) tell(waiting);
    if (name === "start" || name === "go_on") look("");
    send?.({ do: name, what, again: button.closest("[data-card]")?.querySelector("[name=from]")?.value ?? "" });
  }

  function clicked(event) {
    const button = studio.pressed(event);
    if (!button) return;
    if (button.dataset.do) press(button);
    else if (button.dataset.chain) {
      look(button.dataset.chain);
      show().then(() => matchMedia("(max-width: 900px)").matches && part("results").scrollIntoView());
    } else if (button.dataset.askOllama !== undefined) askOllama();
    else if (button.dataset.trySound !== undefined) play("stage_done");
  }

  // Sound and notice. One window of this browser tells each thing; without one that can, the machine does.

  const able = () => navigator.userActivation?.hasBeenActive ?? true; // else the browser lets no page play

  function play(kind) {
    new Audio(`/static/sounds/${kind}.wav`).play().then(() => silenced(false), () => silenced(true));
  }

  function silenced(yes) {
    const place = part("silenced"); // there once the tab was open
    if (place) place.hidden = !yes;
  }

  /** A chain runs: ask for news of it until it has ended, whichever tab is open. */
  function beat({ detail }) {
    if (detail.state !== "running" || detail.tab !== "overnight" || pulse) return;
    pulse = new Worker("/static/dashboard/overnight_pulse.js");
    pulse.onmessage = hear;
    hear();
  }

  async function hear() {
    let said;
    try {
      said = await (await fetch(address("/news", { able: able() }), { method: "POST", cache: "no-store" })).json();
    } catch {
      return; // the dashboard has ended: page.js says so
    }
    if (said.sound && !able()) silenced(true);
    else if (said.news && (await first(said.news.key))) tellNews(said);
    if (!said.active) {
      pulse?.terminate();
      pulse = null;
    }
  }

  /** Whether no window of this browser has told this yet; it counts as told now. A database settles it: what one window
   * puts into localStorage may reach another one late. */
  function first(key) {
    return new Promise((settle) => {
      const opening = indexedDB.open(KEPT_TOLD);
      opening.onupgradeneeded = () => opening.result.createObjectStore("told");
      opening.onerror = () => settle(true); // a browser that keeps nothing
      opening.onsuccess = () => {
        const change = opening.result.transaction("told", "readwrite");
        change.oncomplete = () => settle(true);
        change.onabort = () => settle(false); // it is there
        change.objectStore("told").add(true, key);
        opening.result.close(); // once the change is through
      };
    });
  }

  function tellNews({ sound, news }) {
    if (sound) play(news.kind);
    if (!noticesOn()) return;
    const notice = new Notification(news.title, { body: news.body, tag: news.key, lang: language });
    notice.onclick = () => {
      focus();
      document.getElementById("tab-overnight-button")?.click();
    };
  }

  const noticesOn = () => localStorage.getItem(KEPT_NOTICES) === "on" && Notification.permission === "granted";

  async function askNotices(input) {
    if (input.checked) await Notification.requestPermission();
    localStorage.setItem(KEPT_NOTICES, input.checked ? "on" : "off");
    part("denied").hidden = !input.checked || Notification.permission === "granted";
    input.checked = noticesOn();
  }

  document.addEventListener("so-state", beat);
  document.addEventListener("so-tab", () => {
    refresh();
    if (studio.tab === "overnight" && form()) askOllama();
  });

  studio.overnight = {
    /** The card with the button: its event carries every wish of the tab to Python. */
    wishes(element, trigger) {
      send = (values) => trigger("click", values);
      element.addEventListener("click", clicked);
    },

    listens(element) {
      element.addEventListener("click", clicked);
      refresh();
    },

    form(element) {
      element.addEventListener("click", clicked);
      element.addEventListener("input", changed);
      fill();
      field("notices").checked = noticesOn();
      if (studio.tab === "overnight") askOllama();
    },

    /** The timer's word of the draft, of the chain that runs, and that the lists are others now. */
    follows(props, watch) {
      const hears = () => {
        const before = told;
        told = { ...told, ...JSON.parse(props.value) };
        fill();
        if (told.active && !before.active && part("results")) part("results").hidden = true;
        if (told.revision !== before.revision) refresh();
      };
      hears();
      watch("value", hears);
    },
  };
})();
