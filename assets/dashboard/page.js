// What the page does by itself: tabs in the address, title and favicon, buttons of cards, ages, keys, lost connection.
"use strict";

window.studio = window.studio || {};

(() => {
  const words = window.studioWords;
  const language = document.documentElement.lang;
  const $ = (selector) => document.querySelector(selector);

  // Gradio's own words and the page's lang attribute follow the browser; here they follow the address.

  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });

  // Gradio reports its own requests as failed when the page is left.

  addEventListener("beforeunload", () => {
    console.error = () => {};
  });

  // Gradio sends what a person does in requests that may overtake each other, and shows the answer of the one whose
  // request is acknowledged last. One request at a time: what was done first arrives first, and the newest answer stays.

  const send = window.fetch.bind(window);
  let acknowledged = Promise.resolve();

  window.fetch = (resource, options) => {
    if (!String(resource.url ?? resource).includes("/queue/join")) return send(resource, options);
    const answer = acknowledged.then(() => send(resource, options));
    acknowledged = answer.then((response) => response.clone().text()).catch(() => {});
    return answer;
  };

  // Buttons inside cards: gr.HTML's own click event carries the wish to Python.

  studio.presses = (element, trigger) => {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (!button || button.disabled || button.classList.contains("so-busy")) return;
      studio.busy(button);
      trigger("click", { do: button.dataset.do, what: button.dataset.what || "" });
    });
  };

  document.addEventListener("click", async (event) => {
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      await navigator.clipboard.writeText(copy.dataset.copy);
      const name = copy.getAttribute("aria-label");
      copy.classList.add("so-done");
      copy.setAttribute("aria-label", copy.dataset.done);
      copy.title = copy.dataset.done;
      setTimeout(() => {
        copy.classList.remove("so-done");
        copy.setAttribute("aria-label", name);
        copy.title = name;
      }, 1500);
    }
    const link = event.target.closest("[data-open-tab]");
    if (link && !event.ctrlKey && !event.metaKey && tabButton(link.dataset.openTab)) {
      event.preventDefault();
      openTab(link.dataset.openTab);
      scrollTo({ top: 0 });
    }
  });

  // The open tab is in the address: it survives a reload, and Back goes to the one before.

  const tabButton = (name) => name && document.getElementById(`tab-${name}-button`);
  const wantedTab = () => new URLSearchParams(location.search).get("tab");
  const shownTab = () => {
    const button = $('#so-tabs [role="tab"][aria-selected="true"]');
    return button ? button.id.replace(/^tab-|-button$/g, "") : null;
  };

  function openTab(name) {
    const button = tabButton(name);
    if (button && shownTab() !== name) button.click();
  }

  let settled = false; // from then on the address follows the tab; before, the tab follows the address

  function tabChanged() {
    const name = shownTab();
    if (!name) return;
    const wanted = wantedTab();
    if (!settled && wanted && tabButton(wanted) && wanted !== name) return;
    settled = true;
    document.documentElement.classList.add("so-ready");
    if (studio.tab !== name) {
      studio.tab = name;
      document.dispatchEvent(new Event("so-tab"));
    }
    linkLanguages(name);
    if (name === wanted) return;
    const address = new URL(location.href);
    address.searchParams.set("tab", name);
    history[wanted && tabButton(wanted) ? "pushState" : "replaceState"](null, "", address);
  }

  function linkLanguages(tab) {
    for (const link of document.querySelectorAll("a[data-language]")) {
      const target = `/${link.dataset.language}/?tab=${tab}`;
      if (link.getAttribute("href") !== target) link.setAttribute("href", target);
    }
  }

  function settleTabs() {
    if (!$('#so-tabs [role="tablist"]') || !shownTab()) return false;
    new MutationObserver(tabChanged).observe($("#so-tabs"), {
      attributes: true, attributeFilter: ["aria-selected"], subtree: true,
    });
    addEventListener("popstate", () => openTab(wantedTab()));
    let tries = 40; // a click before Gradio has wired its tabs is lost
    const trying = setInterval(() => {
      if (!settled) openTab(wantedTab());
      if (tries-- === 0) settled = true;
      tabChanged();
      if (settled) clearInterval(trying);
    }, 50);
    return true;
  }

  // Title and favicon say what the header says.

  function headerChanged() {
    const row = $("#so-header [data-state]");
    if (!row) return;
    const { state, percent, command, tab } = row.dataset;
    const share = state === "running" && percent ? `${percent}%` : "";
    const ended = tab === "overnight" && state !== "idle" ? (words[`state.${state}`] ?? "") : ""; // looked for in the morning
    const title = [...(share || ended ? [`${share || ended} ${command}`] : []), "SO8T Studio"].join(" · ");
    if (document.title !== title) document.title = title;
    const icon = `data:image/svg+xml,${encodeURIComponent(drawIcon(state, Number(percent) || 0))}`;
    const link = document.getElementById("so-icon");
    if (link && link.href !== icon) link.href = icon;
    for (const button of document.querySelectorAll('#so-tabs [role="tab"]')) {
      if (button.id === "tab-chat-button") continue; // its dot is chat.js's
      button.classList.toggle("so-tab-runs", state === "running" && button.id === `tab-${tab}-button`);
    }
    linkLanguages(shownTab()); // the header was drawn anew
    document.dispatchEvent(new CustomEvent("so-state", { detail: { state, tab } }));
  }

  function drawIcon(state, percent) {
    const color = { running: "#2F6FEB", failed: "#C8362B", finished: "#009E73" }[state] || "#7A828C";
    const round = 2 * Math.PI * 12;
    const done = state === "running" ? (Math.max(percent, 4) / 100) * round : round;
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="12" fill="none"
      stroke="#9AA3AD" stroke-opacity=".4" stroke-width="6"/><circle cx="16" cy="16" r="12" fill="none"
      stroke="${color}" stroke-width="6" stroke-dasharray="${done} ${round}" transform="rotate(-90 16 16)"/>
      ${state === "failed" ? `<circle cx="16" cy="16" r="5" fill="${color}"/>` : ""}</svg>`;
  }

  // "3分前" stays true without asking the server.

  function age(seconds) {
    for (const [unit, size] of [["days", 86400], ["hours", 3600], ["minutes", 60], ["seconds", 1]]) {
      if (seconds >= size) return words[`age.${unit}`].replace("{n}", Math.floor(seconds / size));
    }
    return words["age.now"];
  }

  function tellAges() {
    for (const time of document.querySelectorAll("time[data-at]")) {
      const text = age(Date.now() / 1000 - Number(time.dataset.at));
      if (time.textContent !== text) time.textContent = text;
    }
  }

  // Keys.

  document.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // Enter that ends a kana conversion starts nothing
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const button = [...document.querySelectorAll('[data-do="start"]')].find((b) => b.offsetParent && !b.disabled);
      if (button) {
        event.preventDefault();
        button.click();
      }
    }
    const typing = event.target.closest("input, textarea, select, [contenteditable='true'], .cm-editor");
    if (event.key === "?" && !typing) $("#so-shortcuts dialog")?.showModal();
  });

  // A dashboard that has ended: say so, and come back when it does.

  let lost = false;

  async function listen() {
    if (document.hidden) return;
    let answers = false;
    try {
      answers = (await fetch("/alive", { cache: "no-store" })).ok;
    } catch {
      answers = false;
    }
    if (lost && answers) location.reload();
    lost = !answers;
    document.documentElement.classList.toggle("so-offline", lost);
    document.documentElement.style.setProperty("--so-offline-text", JSON.stringify(words["header.offline"]));
  }

  // Gradio builds the page after this script ran.

  const started = new MutationObserver(() => {
    if (!$("#so-header [data-state]") || !settleTabs()) return;
    started.disconnect();
    new MutationObserver(headerChanged).observe($("#so-header"), { attributes: true, childList: true, subtree: true });
    new MutationObserver(tellAges).observe($("#so-tabs"), { childList: true, subtree: true });
    headerChanged();
    tellAges();
    setInterval(tellAges, 5000);
    setInterval(listen, 3000);
  });
  addEventListener("DOMContentLoaded", () => started.observe(document.body, { childList: true, subtree: true }));
})();
