// What stands beside the conversation: the history, the votes, the settings of the sampling, the prompt library.
"use strict";

window.studio = window.studio || {};

(() => {
  const words = window.studioWords;
  const { part, say, show, copyOf, fill, unchanged, isHidden, plainName, drawBadge } = studio.chatParts;

  // History

  function drawHistory(frame, picture, choices) {
    const list = part(frame, "history");
    const kept = choices.conversations;
    show(part(frame, "no-history"), !kept.length);
    if (unchanged(list, kept, picture.conversation)) return;
    list.replaceChildren(...kept.map((conversation) => {
      const row = copyOf(frame, "conversation");
      const open = row.querySelector('[data-chat="open"]');
      open.dataset.what = conversation.id;
      open.title = conversation.title;
      say(open.querySelector("span"), conversation.title || words["chat.untitled"]);
      const facts = [fill(words["chat.history.turns"], { n: conversation.turns })];
      if (conversation.blind) facts.push(words["chat.history.blind"]);
      open.querySelector("small").append(ageOf(conversation.created), ` · ${facts.join(" · ")}`);
      if (conversation.id === picture.conversation) open.setAttribute("aria-current", "true");
      const remove = row.querySelector('[data-chat="delete"]');
      remove.dataset.what = conversation.id;
      remove.dataset.title = conversation.title || words["chat.untitled"];
      remove.setAttribute("aria-label", `${remove.title}: ${remove.dataset.title}`);
      return row;
    }));
  }

  /** page.js keeps it true. */
  function ageOf(moment) {
    const time = document.createElement("time");
    time.dataset.at = moment;
    return time;
  }

  // Votes

  function drawResults(frame, picture, choices) {
    const note = part(frame, "no-results");
    const found = isHidden(picture) ? [] : choices.results;
    say(note, words[isHidden(picture) ? "chat.results.hidden" : "chat.results.empty"]);
    show(note, !found.length);
    const list = part(frame, "results");
    if (unchanged(list, found)) return;
    list.replaceChildren(...found.map((result) => resultRow(frame, result)));
  }

  function resultRow(frame, result) {
    const row = copyOf(frame, "result");
    const [left, right] = [plainName(result.left), plainName(result.right)];
    say(row.querySelector(".so-result-pair"), fill(words["chat.results.pair"], { left, right }));
    const share = row.querySelector(".so-result-share");
    say(share.querySelector("small"), fill(words["chat.results.share"], { left }));
    const percent = (value) => (100 * value).toFixed(1);
    say(share.querySelector("b"), result.share === null
      ? "—" : `${percent(result.share)} % [${percent(result.low)}, ${percent(result.high)}]`);
    const verdict = row.querySelector(".so-result-verdict");
    say(verdict, words[result.decided ? "chat.results.decided" : "chat.results.open"]);
    verdict.classList.toggle("so-decided", result.decided);
    for (const cell of row.querySelectorAll("[data-count]")) say(cell, String(result[cell.dataset.count]));
    return row;
  }

  // Settings of the sampling

  const helps = new WeakMap(); // the note under a field -> its help, while a fault stands there

  function noteOf(field) {
    return document.getElementById(field.getAttribute("aria-describedby"));
  }

  function drawTuning(frame, picture) {
    for (const field of frame.querySelectorAll("[data-tune]")) {
      const name = field.dataset.tune;
      const value = name === "system" ? picture.system ?? "" : String(picture.sampling[name]);
      const kept = field === document.activeElement || field.getAttribute("aria-invalid") === "true";
      if (!kept && field.value !== value) field.value = value;
    }
  }

  /** What the fields say: {"system", "sampling"}; text that is no number stays text, so that its fault can be told. */
  function tuning(frame) {
    const said = { system: null, sampling: {} };
    for (const field of frame.querySelectorAll("[data-tune]")) {
      const text = field.value.trim();
      if (field.dataset.tune === "system") said.system = text ? field.value : null;
      else said.sampling[field.dataset.tune] = text === "" ? null : Number.isFinite(Number(text)) ? Number(text) : text;
    }
    return said;
  }

  function drawFaults(frame, faults) {
    for (const field of frame.querySelectorAll("[data-tune]")) {
      const fault = faults.find((one) => one.field === `chat.${field.dataset.tune}`);
      const note = noteOf(field);
      if (!helps.has(note)) helps.set(note, note.textContent);
      field.setAttribute("aria-invalid", fault ? "true" : "false");
      note.classList.toggle("so-fault", Boolean(fault));
      say(note, fault ? `${fault.what} ${fault.hint}` : helps.get(note));
    }
  }

  // The prompt library

  function promptChip(frame, prompt) {
    const chip = copyOf(frame, "prompt");
    chip.dataset.what = prompt.text;
    say(part(chip, "words"), prompt.text);
    drawBadge(part(chip, "badge"), prompt.label, null);
    return chip;
  }

  function drawLibrary(frame, library) {
    part(frame, "offered").replaceChildren(...library.offered.map((prompt) => promptChip(frame, prompt)));
    part(frame, "prompts").replaceChildren(...library.groups.map((group) => {
      const section = document.createElement("section");
      const title = document.createElement("h3");
      title.textContent = group.name;
      section.append(title, ...group.prompts.map((prompt) => promptChip(frame, prompt)));
      return section;
    }));
    search(frame);
  }

  const plain = (text) => text.normalize("NFKC").toLowerCase();

  /** Leaves the prompts that hold every word of the search, by their text or their class. */
  function search(frame) {
    const wanted = plain(part(frame, "search").value).split(/\s+/).filter(Boolean);
    let any = false;
    for (const section of part(frame, "prompts").children) {
      let here = false;
      for (const chip of section.querySelectorAll(".so-chip")) {
        const found = wanted.every((word) => plain(chip.textContent).includes(word));
        show(chip, found);
        here ||= found;
      }
      show(section, here);
      any ||= here;
    }
    show(part(frame, "no-prompts"), !any);
  }

  studio.chatLists = { drawHistory, drawResults, drawTuning, tuning, drawFaults, drawLibrary, search };
})();
