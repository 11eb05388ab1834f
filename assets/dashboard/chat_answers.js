// The columns of the Chat tab: who answers, the turns, and each answer as far as it may be shown.
"use strict";

window.studio = window.studio || {};

(() => {
  const words = window.studioWords;
  const CLASSES = ["ALLOW", "ESCALATION", "DENY", "REFUSE"];
  const SIDES = ["left", "right"];
  const drawn = new WeakMap(); // element -> what it shows, as JSON: only what has changed is touched

  const fill = (text, facts) => text.replace(/\{(\w+)\}/g, (whole, name) => facts[name] ?? whole);
  const part = (node, name) => node.querySelector(`[data-part="${name}"]`);
  const say = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };
  const show = (node, shown) => {
    if (node.hidden === shown) node.hidden = !shown;
  };
  const copyOf = (frame, name) => {
    const template = frame.querySelector(`template[data-template="${name}"]`);
    return template.content.firstElementChild.cloneNode(true);
  };
  const unchanged = (node, ...what) => {
    const now = JSON.stringify(what);
    if (drawn.get(node) === now) return true;
    drawn.set(node, now);
    return false;
  };

  const seconds = (value) => value.toFixed(value < 10 ? 2 : 1);
  const count = (value) => value.toLocaleString("en-US");

  // Who answers

  const isHidden = (picture) => picture.blind && !picture.revealed;
  const kindOf = (side) => (side.key ? side.key.split(":")[0] : "blind");
  const plainName = (name) => (name === "original" ? words["chat.name.original"] : name);
  const nameOf = (side) => plainName(side.name);
  const letters = [words["chat.blind.a"], words["chat.blind.b"]];

  function columnName(picture, i) {
    if (isHidden(picture)) return letters[i];
    const name = nameOf(picture.sides[i]);
    return picture.blind ? `${letters[i]} · ${name}` : name;
  }

  function drawSides(frame, picture, choices) {
    SIDES.forEach((side, i) => {
      const head = frame.querySelector(`[data-side="${side}"]`);
      head.dataset.kind = isHidden(picture) ? "blind" : kindOf(picture.sides[i]);
      show(part(head, "letter"), picture.blind);
      const select = head.querySelector("select");
      show(select, !isHidden(picture));
      const offered = isHidden(picture) ? [] : choices.sides;
      if (!unchanged(select, offered, picture.sides[i])) fillSelect(select, offered, picture.sides[i]);
      const answers = picture.turns.map((turn) => turn.answers[i]).filter((answer) => answer.weights);
      const weights = answers.length ? answers[answers.length - 1].weights : "";
      const note = part(head, "weights");
      const hash = fill(words["chat.weights"], { hash: weights.slice(0, 8) });
      say(note, isHidden(picture) ? words["chat.blind.hidden"] : weights ? hash : detailOf(offered, picture.sides[i]));
      if (note.title !== weights) note.title = weights;
    });
  }

  const detailOf = (offered, side) => offered.find((choice) => choice.key === side.key)?.detail || "";

  function fillSelect(select, offered, chosen) {
    const all = offered.some((side) => side.key === chosen.key) || !chosen.key ? offered : [chosen, ...offered];
    const groups = new Map();
    for (const side of all) {
      const kind = kindOf(side);
      if (!groups.has(kind)) groups.set(kind, []);
      groups.get(kind).push(side);
    }
    const made = [...groups].map(([kind, sides]) => {
      const group = document.createElement("optgroup");
      group.label = words[`chat.group.${kind}`] ?? kind;
      group.append(...sides.map((side) => new Option(nameOf(side), side.key)));
      return group;
    });
    select.replaceChildren(...made);
    select.value = chosen.key;
    select.title = nameOf(chosen);
  }

  // The turns

  function drawTurns(frame, picture) {
    const list = part(frame, "turns");
    while (list.children.length > picture.turns.length) list.lastElementChild.remove();
    picture.turns.forEach((turn, i) => {
      const item = list.children[i] ?? list.appendChild(newTurn(frame));
      const last = i === picture.turns.length - 1;
      say(part(item, "prompt"), turn.prompt);
      show(item.querySelector(".so-prompt-tools"), last && !picture.speaking && !picture.revealed);
      turn.answers.forEach((answer, side) => {
        const article = item.querySelector(".so-answers").children[side];
        drawAnswer(article, answer, columnName(picture, side), isHidden(picture) ? "blind" : kindOf(picture.sides[side]));
      });
    });
  }

  function newTurn(frame) {
    const turn = copyOf(frame, "turn");
    turn.querySelector(".so-answers").append(copyOf(frame, "answer"), copyOf(frame, "answer"));
    return turn;
  }

  // One answer

  function drawAnswer(article, answer, name, kind) {
    if (unchanged(article, answer, name, kind)) return;
    const done = answer.state === "done";
    const said = Boolean(answer.label || answer.reason || answer.answer);
    article.dataset.kind = kind;
    article.dataset.state = answer.state;
    article.dataset.label = answer.label;
    article.setAttribute("aria-label", fill(words["chat.answer"], { name }));
    say(part(article, "name"), name);
    const state = part(article, "state");
    show(state, !done && !said);
    say(state.querySelector("span"), stateWords(answer));
    show(part(article, "verdict"), said);
    drawBadge(part(article, "badge"), answer.label, answer.confidence);
    say(part(article, "reason"), answer.reason);
    const text = part(article, "text");
    say(text, said ? answer.answer : answer.text);
    text.classList.toggle("so-muted", !said);
    const note = done ? endNote(answer, said) : "";
    say(part(article, "ended"), note);
    show(part(article, "ended"), Boolean(note));
    drawTrouble(part(article, "trouble"), answer);
    say(part(article, "figures"), figures(answer));
    const copy = part(article, "copy");
    show(copy, done && said);
    copy.dataset.copy = answer.answer || answer.text;
  }

  function stateWords(answer) {
    if (answer.state === "thinking" && answer.tokens) {
      return fill(words["chat.state.thinking_tokens"], { tokens: count(answer.tokens) });
    }
    return words[`chat.state.${answer.state}`] ?? "";
  }

  function drawBadge(badge, label, confidence) {
    const known = CLASSES.includes(label);
    show(badge, Boolean(label));
    badge.className = `so-badge so-${known ? label.toLowerCase() : "other"}`;
    say(badge.children[0], known ? label[0] : "?");
    say(badge.children[1], label);
    const value = confidence === null || confidence === undefined ? "" : confidence.toFixed(2);
    say(badge.children[2], value);
    badge.title = value ? fill(words["chat.told.confidence"], { value }) : label;
  }

  function endNote(answer, said) {
    if (answer.ended === "failed") return "";
    if (answer.ended !== "complete") return words[`chat.ended.${answer.ended}`] ?? "";
    if (!said) return words["chat.told.no_final"];
    return answer.formal ? "" : words["chat.told.not_formal"];
  }

  function drawTrouble(place, answer) {
    if (answer.ended !== "failed") return place.replaceChildren();
    place.replaceChildren(troubleCard({ what: answer.what, hint: answer.hint, where: answer.facts.where }));
  }

  /** What happened, where, every single fault, and what to do; with buttons if there are any. */
  function troubleCard({ what, where, hint, faults = [] }, ...buttons) {
    const card = document.createElement("section");
    card.className = "so-card so-trouble";
    card.setAttribute("role", "alert");
    const all = faults.map((fault) => ["so-hint", `${fault.what} ${fault.hint}`]);
    for (const [kind, text] of [["so-what", what], ["so-where", where], ...all, ["so-hint", hint]]) {
      if (!text) continue;
      const line = document.createElement("p");
      line.className = kind;
      line.textContent = text;
      card.append(line);
    }
    const actions = document.createElement("div");
    actions.className = "so-actions";
    actions.append(...buttons);
    if (buttons.length) card.append(actions);
    return card;
  }

  function figures(answer) {
    if (answer.state === "answering") {
      const told = answer.tokens ? fill(words["chat.told.tokens"], { value: count(answer.tokens) }) : "";
      return [words["chat.state.answering"], told].filter(Boolean).join(" · ");
    }
    if (answer.state !== "done") return "";
    const told = [
      answer.first_token === null ? "" : fill(words["chat.told.first_token"], { value: seconds(answer.first_token) }),
      answer.first_shown === null ? "" : fill(words["chat.told.first_shown"], { value: seconds(answer.first_shown) }),
      answer.tokens_per_second === null
        ? "" : fill(words["chat.told.speed"], { value: count(Math.round(answer.tokens_per_second)) }),
      answer.tokens ? fill(words["chat.told.tokens"], { value: count(answer.tokens) }) : "",
    ];
    return told.filter(Boolean).join(" · ");
  }

  /** What a screen reader is told of an answer that has come to its end. */
  function spoken(answer, name) {
    const text = [answer.reason, answer.answer].filter(Boolean).join(" ") || answer.what || answer.text;
    return fill(words["chat.answer_done"], { name, label: answer.label || "?", text });
  }

  studio.chatParts = {
    part, say, show, copyOf, fill, unchanged, isHidden, columnName, nameOf, plainName, drawSides, drawTurns, drawBadge,
    troubleCard, spoken, letters,
  };
})();
